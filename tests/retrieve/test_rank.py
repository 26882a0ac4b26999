"""Queries, recency, and the order among equals."""

from __future__ import annotations

import numpy as np
import pytest

from grasper.errors import ConfigError
from grasper.records import Item, Request, Review
from grasper.retrieve.rank import RecencyRanker, best, query_of
from grasper.retrieve.rankers import make_ranker

REVIEWS = [Review(f"r{number}", "u", "i", "text", timestamp=time) for number, time in enumerate([20, None, 30, None, 20])]


def test_recency_prefers_later_times_then_later_rows() -> None:
    order = best(REVIEWS, RecencyRanker().scores("", REVIEWS), 5)
    assert [review.review_id for review in order] == ["r2", "r4", "r0", "r3", "r1"]


def test_a_review_from_before_1970_is_later_than_an_undated_one() -> None:
    """Its time is below zero."""
    old = Review("old", "u", "i", "text", timestamp=-86_400)
    order = best([old, *REVIEWS], RecencyRanker().scores("", [old, *REVIEWS]), 6)
    assert [review.review_id for review in order] == ["r2", "r4", "r0", "old", "r3", "r1"]


def test_equal_scores_keep_the_order_of_the_table() -> None:
    assert best(REVIEWS, np.array([1.0, 2.0, 1.0, 2.0, 1.0]), 3) == [REVIEWS[1], REVIEWS[3], REVIEWS[0]]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"title": "Good", "text": "Very good."}, "Good Very good."),
        ({"title": "Good"}, "Good"),
        ({"rating": 4.0}, "Gull Inn"),
    ],
)
def test_the_query_is_what_is_given(given: dict, expected: str) -> None:
    """A rating says nothing to search for: the item's name stands in."""
    assert query_of(Request("e", "long", "u", Item("inn", "Gull Inn"), **given)) == expected


def test_an_unknown_ranker_names_the_known() -> None:
    with pytest.raises(ConfigError, match="bm25, embedding, recency"):
        make_ranker("pagerank")  # type: ignore[arg-type]
