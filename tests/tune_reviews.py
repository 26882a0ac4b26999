"""Reviews for the tests of the tuning."""

from __future__ import annotations

import random

from grasper.records import Review
from grasper.retrieve.pool import reserved_split

WORDS = ["the", "room", "was", "clean", "and", "staff", "kind", "breakfast", "cold", "pool", "warm", "view", "quiet"]


def _sentence(chooser: random.Random, number: int) -> str:
    return " ".join(chooser.choices(WORDS, k=12)) + f" {number}"


def make_reviews(count: int, seed: int = 0, prefix: str = "user") -> list[Review]:
    chooser = random.Random(seed)
    return [
        Review(
            f"{prefix}-r{number}",
            f"{prefix}-{number}",
            f"i{number % 4}",
            " ".join(chooser.choices(WORDS, k=12)) + f" {number}",
            f"Title {number}",
            4.0,
        )
        for number in range(count)
    ]


def user_of(split: str | None, start: int = 0) -> str:
    """A user name whose hash reserves it for `split`."""
    return next(name for name in map("person-{}".format, range(start, start + 1000)) if reserved_split(name) == split)
