"""People with similar taste, and what they wrote about the wanted item and items like it: the evidence of PAT's topic trajectory (arXiv 2604.24996).

The link predictor names the people (`predict.tastes`), by the user vectors of its encoder. How PAT chooses preference-aligned users beyond "from
GraphSAGE embeddings" is not public.
"""

from __future__ import annotations

from collections.abc import Callable

from grasper.errors import ConfigError
from grasper.records import Example, Request, Review, with_text
from grasper.retrieve.pool import ReviewPool
from grasper.retrieve.rank import Ranker, best, query_of
from grasper.retrieve.similar import LinkPredictor, SimilarUser

FLOOR = 0.3
"""Cosine below which nobody counts as similar; random vectors of the default width seldom reach it."""
NUM_PEOPLE = 50
"""People whose reviews are looked through for one request."""


class SimilarTaste:
    """Finds people with similar taste, and of each the review that says most about the wanted item.

    Args:
        ranker: Chooses among the item's audience.
        predictor: Opens the fitted link predictor, whose encoder must have user vectors.
        floor: Cosine below which nobody counts as similar, −1 … 1.

    Raises:
        ConfigError: A floor outside of −1 … 1, or no predictor.
    """

    def __init__(self, pool: ReviewPool, ranker: Ranker, predictor: Callable[[], LinkPredictor] | None, *, floor: float = FLOOR) -> None:
        if not -1.0 <= floor <= 1.0:
            raise ConfigError(f"the floor of taste similarity is {floor}, expected a cosine from -1 to 1")
        if predictor is None:
            raise ConfigError("people with similar taste are found by the link predictor, and there is none; run `grasper predict` first")
        self._pool, self._ranker, self._open, self._floor = pool, ranker, predictor, floor
        self._last: tuple[tuple[Request, Example], list[tuple[SimilarUser, Review]]] | None = None

    def retrieve(self, request: Request, example: Example, k: int) -> list[Review]:
        """One review of each of at most `k` people, about the wanted item or the item most like it; where there is none, the item's audience."""
        if found := self._telling(request, example)[:k]:
            return [review for _, review in found]
        audience = with_text(self._pool.of_item(request.item.item_id, example))
        return best(audience, self._ranker.scores(query_of(request), audience), k)

    def _telling(self, request: Request, example: Example) -> list[tuple[SimilarUser, Review]]:
        """People with similar taste and of each the review that says most about the wanted item, best first; none that says nothing of it. The last
        answer is kept for whoever explains it."""
        last, asked = self._last, (request, example)  # one attribute, so that threads find an answer with its own question
        if last is None or last[0] != asked:
            last = self._last = asked, self._search(request, example)
        return last[1]

    def _search(self, request: Request, example: Example) -> list[tuple[SimilarUser, Review]]:
        space = self._open().tastes(example)
        if space is None:
            return []
        found: list[tuple[float, SimilarUser, Review]] = []
        for user in space.nearest(example, NUM_PEOPLE, self._floor):
            reviews = with_text(self._pool.of_user(user.user_id, example))
            if reviews:
                likeness = space.likeness(request.item.item_id, [review.item_id for review in reviews])
                found.append((user.similarity * float(likeness.max()), user, reviews[int(likeness.argmax())]))
        return [(user, review) for worth, user, review in sorted(found, key=lambda one: -one[0]) if worth > 0]

    def find(self, example: Example, k: int) -> tuple[SimilarUser, ...]:
        """The `k` people whose taste is nearest to the user's, none of them the user; nobody below the floor."""
        space = self._open().tastes(example)
        return () if space is None else space.nearest(example, k, self._floor)

    def explain(self, request: Request, example: Example, k: int) -> str:
        """One line for records and reports: whose reviews `retrieve` shows."""
        if found := self._telling(request, example)[:k]:
            similarities = [user.similarity for user, _ in found]
            return f"{len(found)} people with similar taste, cosine {max(similarities):.2f} to {min(similarities):.2f}"
        why = (
            "nobody with similar taste wrote about anything like it"
            if self.find(example, 1)
            else f"no other person's taste is nearer than {self._floor:g}"
        )
        return f"{why}; the item's audience is shown instead"
