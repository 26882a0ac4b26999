"""Random visible reviews of anybody else about anything: what retrieval is worth, seen from below (PGraphRAG's `random` mode)."""

from __future__ import annotations

import random
from collections.abc import Iterator

from grasper.records import Example, Request, Review
from grasper.retrieve.pool import ReviewPool, is_visible
from grasper.runs import derive_seed


class RandomReviews:
    """Draws with a seed of its own for each example, so that the draw does not depend on which other examples are asked.

    Args:
        name: Retrievers of other names draw others.
        is_by_user: Whether nobody is drawn twice: random people, with a review of each.
    """

    def __init__(self, pool: ReviewPool, seed: int, name: str = "random", *, is_by_user: bool = False) -> None:
        self._reviews = [review for reviews in pool.by_item.values() for review in reviews]
        self._seed, self._name, self._is_by_user = seed, name, is_by_user

    def retrieve(self, request: Request, example: Example, k: int) -> list[Review]:
        order = random.Random(derive_seed(self._seed, self._name, example.example_id))
        chosen: list[Review] = []
        people: set[str] = set()
        for position in _shuffled(len(self._reviews), order):
            if len(chosen) >= k:
                break
            review = self._reviews[position]
            if self._is_by_user and review.user_id in people:
                continue
            if review.user_id != example.user_id and review.text and is_visible(review, example):
                chosen.append(review)
                people.add(review.user_id)
        return chosen


def _shuffled(size: int, order: random.Random) -> Iterator[int]:
    """All positions in random order, made one at a time, since the first few are nearly always enough."""
    moved: dict[int, int] = {}
    for last in range(size - 1, -1, -1):
        drawn = order.randint(0, last)
        yield moved.get(drawn, drawn)
        moved[drawn] = moved.get(last, last)
