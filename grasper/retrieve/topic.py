"""People with similar taste, and what they wrote about the wanted item and items like it: the evidence of PAT's topic trajectory (arXiv 2604.24996).

A person's taste is the graph encoder's user vector, a function of the visible edges alone; people are compared by cosine, exactly and in blocks.
Only those who met two items or more are asked: among people of one item the nearest are those of the same item, who know nothing else.
Whoever has no history is placed by the item in mind. How PAT chooses preference-aligned users beyond "from GraphSAGE embeddings" is not public.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from grasper.errors import ConfigError
from grasper.records import Example, Request, Review
from grasper.retrieve.pool import POOLS, ReviewPool
from grasper.retrieve.rank import Ranker, best, query_of
from grasper.retrieve.similar import SimilarUser, unit
from grasper.topk import stable_top_k

if TYPE_CHECKING:
    from grasper.predict import Predictor
    from grasper.predict.predictor import Era

FLOOR = 0.3
"""Cosine below which nobody counts as similar; random vectors of the default width seldom reach it."""
NUM_PEOPLE = 50
"""People whose reviews are looked through for one request."""
BLOCK_ROWS = 65_536
"""People compared at once."""


class SimilarTaste:
    """Finds people with similar taste, and of each the review that says most about the wanted item.

    Args:
        ranker: Chooses among reviews of equally similar items, and among the item's audience.
        predictor: Opens the fitted link predictor, whose encoder must have user vectors.
        floor: Cosine below which nobody counts as similar, −1 … 1.

    Raises:
        ConfigError: A floor outside of −1 … 1, or no predictor.
    """

    def __init__(self, pool: ReviewPool, ranker: Ranker, predictor: Callable[[], Predictor] | None, *, floor: float = FLOOR) -> None:
        if not -1.0 <= floor <= 1.0:
            raise ConfigError(f"the floor of taste similarity is {floor}, expected a cosine from -1 to 1")
        if predictor is None:
            raise ConfigError("people with similar taste are found by the link predictor, and there is none; run `grasper predict` first")
        self._pool, self._ranker, self._open, self._floor = pool, ranker, predictor, floor
        self._spaces: dict[tuple[float, tuple[str, ...]], TasteSpace] = {}
        self._lock = threading.Lock()

    def retrieve(self, request: Request, example: Example, k: int) -> list[Review]:
        """One review of each of at most `k` people, about the wanted item or the item most like it; where there is none, the item's audience."""
        if found := self._telling(example)[:k]:
            return [review for _, review in found]
        audience = [review for review in self._pool.neighbours(example) if review.text.strip()]
        return best(audience, self._ranker.scores(query_of(request), audience), k)

    def _telling(self, example: Example) -> list[tuple[SimilarUser, Review]]:
        """People with similar taste and of each the review that says most about the wanted item, best first; none that says nothing of it."""
        space = self._space(example)
        if space is None:
            return []
        found: list[tuple[float, SimilarUser, Review]] = []
        for user in space.nearest(example, NUM_PEOPLE, self._floor):
            reviews = [review for review in self._pool.of_user(user.user_id, example) if review.text.strip()]
            if reviews:
                likeness = space.likeness(example.item_id, [review.item_id for review in reviews])
                found.append((user.similarity * float(likeness.max()), user, reviews[int(likeness.argmax())]))
        return [(user, review) for worth, user, review in sorted(found, key=lambda one: -one[0]) if worth > 0]

    def find(self, example: Example, k: int) -> tuple[SimilarUser, ...]:
        """The `k` people whose taste is nearest to the user's, none of them the user; nobody below the floor."""
        space = self._space(example)
        return () if space is None else space.nearest(example, k, self._floor)

    def explain(self, request: Request, example: Example, k: int) -> str:
        """One line for records and reports: whose reviews `retrieve` shows."""
        if found := self._telling(example)[:k]:
            similarities = [user.similarity for user, _ in found]
            return f"{len(found)} people with similar taste, cosine {max(similarities):.2f} to {min(similarities):.2f}"
        why = (
            "nobody with similar taste wrote about anything like it"
            if self.find(example, 1)
            else f"no other person's taste is nearer than {self._floor:g}"
        )
        return f"{why}; the item's audience is shown instead"

    def _space(self, example: Example) -> TasteSpace | None:
        """The vectors of everybody whom the request may see; None before anything is known."""
        found = self._open().era_for(example)
        if found is None:
            return None
        until, era = found
        key = until, POOLS[example.split]
        with self._lock:
            if key not in self._spaces:
                self._spaces[key] = TasteSpace(era, key[1])
            return self._spaces[key]


class TasteSpace:
    """Unit vectors of the users and items of one graph."""

    def __init__(self, era: Era, pool: tuple[str, ...]) -> None:
        self._era, self._pool = era, pool
        self._model, graph = era.bind(pool)
        known = np.flatnonzero(graph.user_degree > 1)  # whoever met one item alone says no more than that item does
        blocks = [known[start : start + BLOCK_ROWS] for start in range(0, len(known), BLOCK_ROWS)]
        vectors = [unit(user_vectors(self._model, graph.of_users(block))) for block in blocks]
        self._user_ids = era.catalogue.users.ids.to_numpy()[known]
        self._users = np.concatenate(vectors) if vectors else np.zeros((0, 1), np.float32)
        self._items = unit(self._model.item_vectors())  # type: ignore[attr-defined]

    def nearest(self, example: Example, k: int, floor: float) -> tuple[SimilarUser, ...]:
        """The people nearest to what the example's user is known by, best first, equal ones in order of the table."""
        query = unit(user_vectors(self._model, self._era.histories([example], self._pool)))
        if not len(self._users) or not query.any():
            return ()
        places, similarities = nearest_rows(query, self._users, k + 1)
        found = [SimilarUser(self._user_ids[place], float(value)) for place, value in zip(places[0], similarities[0], strict=True)]
        return tuple(user for user in found if user.user_id != example.user_id and user.similarity >= floor)[:k]

    def likeness(self, item_id: str, others: list[str]) -> np.ndarray:
        """Cosine of each of the other items to an item, `[len(others)]`: 1 for the item itself, 0 where one is not known yet."""
        item, indices = (self._era.catalogue.items.find(ids) for ids in ([item_id], others))
        vector = self._items[item[0]] if item[0] >= 0 else np.zeros(self._items.shape[1], np.float32)
        likeness = np.where(indices >= 0, self._items[indices] @ vector, 0.0)
        return np.where(np.array(others, dtype=object) == item_id, 1.0, likeness)


def user_vectors(model: object, histories: object) -> np.ndarray:
    """What the encoder makes of histories, `[num_users, embedding_dim]`.

    Raises:
        ConfigError: The encoder has no user vectors.
    """
    encode = getattr(model, "user_vectors", None)
    if encode is None:
        name = getattr(model, "name", type(model).__name__)
        raise ConfigError(f"the encoder {name!r} has no user vectors, which similar taste needs; set predict.encoder to hybrid, lightgcn or sage")
    vectors: np.ndarray = encode(histories)
    return vectors


def nearest_rows(queries: np.ndarray, rows: np.ndarray, k: int, block_rows: int = BLOCK_ROWS) -> tuple[np.ndarray, np.ndarray]:
    """The `k` rows of highest dot product with each query, best first, equal ones in order: places and products, `[num_queries, k]`."""
    places, values = np.zeros((len(queries), 0), np.int64), np.zeros((len(queries), 0), np.float32)
    for start in range(0, len(rows), block_rows):
        products = queries @ rows[start : start + block_rows].T
        best_values, best_places = stable_top_k(products, min(k, products.shape[1]))
        values = np.concatenate([values, best_values], axis=1)
        places = np.concatenate([places, best_places + start], axis=1)
        order = np.argsort(-values, axis=1, kind="stable")[:, :k]  # earlier blocks stand first among equals
        places, values = np.take_along_axis(places, order, axis=1), np.take_along_axis(values, order, axis=1)
    return places, values
