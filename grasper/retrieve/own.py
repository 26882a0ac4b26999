"""The user's other reviews, best first (LaMP; PGraphRAG's `user` mode)."""

from __future__ import annotations

from grasper.records import Example, Request, Review
from grasper.retrieve.pool import ReviewPool
from grasper.retrieve.rank import Ranker, best, query_of


class OwnReviews:
    """Chooses among what the user wrote elsewhere; empty for users without history. Reviews without a text show taste alone, and come last."""

    def __init__(self, pool: ReviewPool, ranker: Ranker) -> None:
        self._pool, self._ranker = pool, ranker

    def retrieve(self, request: Request, example: Example, k: int) -> list[Review]:
        reviews = self._pool.own(example)
        ranked = best(reviews, self._ranker.scores(query_of(request), reviews), len(reviews))
        return sorted(ranked, key=lambda review: not review.text.strip())[:k]
