"""All real reviews, and the one rule for which of them a request may see (DESIGN: leakage rules).

Every retriever, feature and pseudo-reference reads through `ReviewPool`, so that a target record cannot reach its own prompt by another path.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from grasper.records import Example, Review, with_text
from grasper.runs import stable_hash

POOLS = {
    "align": ("train",),
    "held-out": ("train",),
    "dev-a": ("train", "dev"),
    "dev-b": ("train", "dev"),
    "dev": ("train", "dev"),
    "test": ("train", "test"),
}
"""Which review splits an example of each split may see: training and its own evaluation split. PGraphRAG itself uses the latter alone."""

SAMPLED_REVIEWS, TYPICAL_REVIEWS = 1000, 9
"""Training reviews, at most, among which the usual length is looked for, and how many of that length stand for it."""


def reserved_split(user_id: str) -> Literal["align", "held-out"] | None:
    """What a training user's reviews are reserved for, by the first hex digit of the user's hash; None for 11 of 16 users."""
    digit = int(stable_hash(user_id)[0], 16)
    return "align" if digit < 3 else "held-out" if digit < 5 else None


@dataclass(frozen=True)
class ItemCounts:
    """How many reviews each of some items has."""

    item_ids: np.ndarray
    """In order, `[n]`."""
    counts: np.ndarray
    """`[n]`, 1 or more."""

    @cached_property
    def most_first(self) -> np.ndarray:
        """Places of the items, `[n]`: most reviews first, then by id."""
        return np.argsort(-self.counts, kind="stable")


class ReviewPool:
    """Reviews indexed by user and by item, in table order."""

    def __init__(self, reviews: Iterable[Review]) -> None:
        self.by_user: dict[str, list[Review]] = defaultdict(list)
        self.by_item: dict[str, list[Review]] = defaultdict(list)
        self._dated_of: dict[tuple[str, ...], tuple[np.ndarray, np.ndarray]] = {}
        self._counted: tuple[tuple[tuple[str, ...], int | None] | None, ItemCounts] = None, ItemCounts(np.array([]), np.array([]))
        for review in reviews:
            self.by_user[review.user_id].append(review)
            self.by_item[review.item_id].append(review)

    def review_counts(self, example: Example) -> ItemCounts:
        """Reviews per item in the example's pools and up to its cut-off; items without any are left out."""
        key = POOLS[example.split], example.cutoff
        known, counts = self._counted
        if key != known:
            times, codes = self._dated(key[0])
            seen = len(times) if example.cutoff is None else int(np.searchsorted(times, example.cutoff, side="right"))
            found = np.bincount(codes[:seen], minlength=len(self._item_ids))
            there = np.flatnonzero(found)
            counts = ItemCounts(self._item_ids[there], found[there])
            self._counted = key, counts  # in one step, for threads
        return counts

    @cached_property
    def _item_ids(self) -> np.ndarray:
        return np.array(sorted(self.by_item), dtype=object)

    def _dated(self, splits: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
        """When the reviews of some splits were written, in order, undated ones before all others, and the items by their place in `_item_ids`."""
        if splits not in self._dated_of:
            found = [(review.when, code) for code, item_id in enumerate(self._item_ids) for review in self.by_item[item_id] if review.split in splits]
            times, codes = np.array([time for time, _ in found]), np.array([code for _, code in found], np.int64)
            order = np.argsort(times, kind="stable")
            self._dated_of[splits] = times[order], codes[order]
        return self._dated_of[splits]

    def own(self, example: Example) -> list[Review]:
        """The user's other reviews, or those that a newcomer brings along, oldest first; undated ones come before, as in the table."""
        reviews = self.by_user.get(example.user_id, ()) if example.history is None else example.history
        visible = [review for review in reviews if is_visible(review, example)]
        return sorted(visible, key=lambda review: review.when)

    def neighbours(self, example: Example) -> list[Review]:
        """Other users' reviews of the requested item, in file order (PGraphRAG, Sec. 3.1)."""
        return self.of_item(example.item_id, example)

    def of_item(self, item_id: str, example: Example) -> list[Review]:
        """Other users' visible reviews of any item."""
        reviews = self.by_item.get(item_id, ())
        return [review for review in reviews if review.user_id != example.user_id and is_visible(review, example)]

    def of_user(self, user_id: str, example: Example) -> list[Review]:
        """Visible reviews of any known user, in table order."""
        return [review for review in self.by_user.get(user_id, ()) if is_visible(review, example)]

    def typical(self, example: Example) -> list[Review]:
        """Visible training reviews whose texts are of the median length, by anybody about anything: how long a text is where nothing else tells."""
        visible = sorted((review for review in self._sampled if is_visible(review, example)), key=lambda review: len(review.text))
        start = max(0, len(visible) - TYPICAL_REVIEWS) // 2
        return visible[start : start + TYPICAL_REVIEWS]

    @cached_property
    def _sampled(self) -> tuple[Review, ...]:
        """Training reviews with a text, evenly from all over the table."""
        found = [review for reviews in self.by_user.values() for review in reviews if review.split == "train"]
        return with_text(found[:: -(-len(found) // SAMPLED_REVIEWS) or 1])


def is_visible(review: Review, example: Example) -> bool:
    """Whether a request for `example` may see `review`: never the target record, only its pools, nothing after the cut-off.

    A training pair also never sees a record that repeats its own text; evaluation keeps such records, as the benchmark does, and flags the target.
    A request that names user and item, and no record, sees nothing that the user wrote about the item.
    """
    target = example.target
    if review.review_id == target.review_id or review.split not in POOLS[example.split]:
        return False
    if example.is_request and review.user_id == target.user_id and review.item_id == target.item_id:
        return False
    if example.split in ("align", "held-out") and is_same_text(review.text, target.text):
        return False
    return example.cutoff is None or review.timestamp is None or review.timestamp <= example.cutoff


def is_same_text(one: str, other: str) -> bool:
    """Whether two texts are the same but for case and white space."""
    if one.lstrip()[:1].lower() != other.lstrip()[:1].lower():  # nearly all pairs end here, and quickly
        return False
    return one == other or normalized(one) == normalized(other)


def normalized(text: str) -> str:
    """A text in lower case with single spaces: what counts when texts are looked up elsewhere."""
    return " ".join(text.lower().split())
