"""Random visible reviews of anybody else about anything: what retrieval is worth, seen from below (PGraphRAG's `random` mode)."""

from __future__ import annotations

import random
from collections.abc import Iterator

from grasper.records import Example, Request, Review
from grasper.retrieve.pool import ReviewPool, is_visible
from grasper.runs import derive_seed


class RandomReviews:
    """Draws with a seed of its own for each example, so that the draw does not depend on which other examples are asked."""

    def __init__(self, pool: ReviewPool, seed: int) -> None:
        self._reviews = [review for reviews in pool.by_item.values() for review in reviews]
        self._seed = seed

    def retrieve(self, request: Request, example: Example, k: int) -> list[Review]:
        order = random.Random(derive_seed(self._seed, "random", example.example_id))
        chosen: list[Review] = []
        for position in _shuffled(len(self._reviews), order):
            if len(chosen) >= k:
                break
            review = self._reviews[position]
            if review.user_id != example.user_id and review.text and is_visible(review, example):
                chosen.append(review)
        return chosen


def _shuffled(size: int, order: random.Random) -> Iterator[int]:
    """All positions in random order, made one at a time, since the first few are nearly always enough."""
    moved: dict[int, int] = {}
    for last in range(size - 1, -1, -1):
        drawn = order.randint(0, last)
        yield moved.get(drawn, drawn)
        moved[drawn] = moved.get(last, last)
