"""Who likes what somebody likes: people near to one another in the vectors of the link predictor's encoder.

A person's taste is the encoder's user vector, a function of the visible edges alone; people are compared by cosine, exactly and in blocks.
Only those who met two items or more are compared: among people of one item the nearest are those of the same item, who know nothing else.
Whoever has no history is placed by the item in mind.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from grasper.errors import ConfigError
from grasper.predict.baselines import ItemPredictor
from grasper.predict.catalogue import Catalogue, Pool
from grasper.predict.graph import Interactions
from grasper.predict.train import BoundEncoder
from grasper.records import Example
from grasper.retrieve.similar import SimilarUser, unit
from grasper.topk import stable_top_k

BLOCK_ROWS = 65_536
"""People compared at once."""


class TasteSpace:
    """Unit vectors of the users and items of one graph (`retrieve.similar.Tastes`). It keeps nothing else of the model, nor any words.

    Args:
        model: A fitted link predictor.
        catalogue: Names the users and items of the graph, and tells what an example's user is known by.
        pool: Whose edges make the graph.

    Raises:
        ConfigError: The model has no user vectors.
    """

    def __init__(self, model: ItemPredictor, catalogue: Catalogue, pool: Pool) -> None:
        graph = catalogue.graph(pool, with_target_words=not model.propagates_words)
        self._encoder, self._catalogue, self._pool = encoder_over(model, graph), catalogue.without_words(), pool
        known = np.flatnonzero(graph.user_degree > 1)  # whoever met one item alone says no more than that item does
        blocks = [known[start : start + BLOCK_ROWS] for start in range(0, len(known), BLOCK_ROWS)]
        vectors = [unit(self._encoder.users(graph.of_users(block))) for block in blocks]
        self._user_ids = catalogue.users.ids.to_numpy()[known]
        self._users = np.concatenate(vectors) if vectors else np.zeros((0, 1), np.float32)
        self._items = unit(self._encoder.items)

    def nearest(self, example: Example, k: int, floor: float) -> tuple[SimilarUser, ...]:
        """The people nearest to what the example's user is known by, best first, equal ones in order of the table."""
        query = unit(self._encoder.users(self._catalogue.histories([example], self._pool)))
        if not len(self._users) or not query.any():
            return ()
        places, similarities = nearest_rows(query, self._users, k + 1)
        found = [SimilarUser(self._user_ids[place], float(value)) for place, value in zip(places[0], similarities[0], strict=True)]
        return tuple(user for user in found if user.user_id != example.user_id and user.similarity >= floor)[:k]

    def likeness(self, item_id: str, others: Sequence[str]) -> np.ndarray:
        """Cosine of each of the other items to an item, `[len(others)]`: 1 for the item itself, 0 where one is not known yet."""
        item, indices = (self._catalogue.items.find(ids) for ids in ([item_id], others))
        vector = self._items[item[0]] if item[0] >= 0 else np.zeros(self._items.shape[1], np.float32)
        likeness = np.where(indices >= 0, self._items[indices] @ vector, 0.0)
        return np.where(np.array(others, dtype=object) == item_id, 1.0, likeness)


def encoder_over(model: ItemPredictor, graph: Interactions) -> BoundEncoder:
    """What makes the vectors of users and items over a graph.

    Raises:
        ConfigError: The model has none.
    """
    vectors_over: Callable[[Interactions], BoundEncoder] | None = getattr(model, "vectors_over", None)
    if vectors_over is None:
        name = getattr(model, "name", type(model).__name__)
        raise ConfigError(f"the encoder {name!r} has no user vectors, which similar taste needs; set predict.encoder to hybrid, lightgcn or sage")
    return vectors_over(graph)


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
