"""Edges, order, histories, ids."""

from __future__ import annotations

import numpy as np
import pytest

from grasper.errors import UnknownIdError
from grasper.predict.graph import Interactions, Vocabulary

USERS = np.array([1, 0, 1, 1, 0, 1])
ITEMS = np.array([2, 0, 1, 2, 3, 0])
DAYS = np.array([5.0, 9.0, 3.0, 1.0, 2.0, np.nan])
TEXT = np.arange(6, dtype=np.float32)[:, None]


def test_edges_are_sorted_by_user_and_time_and_repeats_merged() -> None:
    """User 1's undated row comes first; the repeated pair (1, 2) keeps its first day and the sum of its words."""
    graph = Interactions.build(USERS, ITEMS, 2, 4, DAYS, TEXT)
    assert graph.user_index.tolist() == [0, 0, 1, 1, 1]
    assert graph.item_index.tolist() == [3, 0, 0, 2, 1]
    assert graph.day is not None
    assert np.nan_to_num(graph.day, nan=-1).tolist() == [2, 9, -1, 1, 3]
    assert np.asarray(graph.text)[:, 0].tolist() == [4, 1, 5, 0 + 3, 2]


@pytest.mark.parametrize("row", [0, 3])
def test_a_repeated_pair_is_a_target_where_one_of_its_rows_is(row: int) -> None:
    """The words of (1, 2) are one sum, so that either row hides them from what user 1 is known by."""
    graph = Interactions.build(USERS, ITEMS, 2, 4, DAYS, TEXT, is_target=np.arange(6) == row)
    assert graph.is_target is not None
    assert graph.is_target.tolist() == [False, False, False, True, False]
    assert graph.of_users([1]).is_target.tolist() == [False, True, False]  # type: ignore[union-attr]


def test_leave_last_out_takes_each_users_latest_edge() -> None:
    """The withheld edges are absent from the rest; users with one edge keep it."""
    graph = Interactions.build(np.array([0, 0, 1]), np.array([1, 0, 1]), 2, 3, np.array([2.0, 1.0, 3.0]))
    rest, users, targets = graph.leave_last_out()
    assert (users.tolist(), targets.tolist()) == ([0], [1])
    assert list(zip(rest.user_index.tolist(), rest.item_index.tolist(), strict=True)) == [(0, 0), (1, 1)]


def test_histories_follow_the_asked_order_and_may_repeat() -> None:
    """`of_users` gives each asked user's edges as a row of its own."""
    graph = Interactions.build(USERS, ITEMS, 3, 4, DAYS, TEXT)
    asked = graph.of_users([1, 2, 0, 1])
    assert np.array_equal(asked.matrix.toarray(), graph.matrix.toarray()[[1, 2, 0, 1]])
    assert asked.edges_after.tolist() == [2, 1, 0, 1, 0, 2, 1, 0]
    assert asked.last_day[[0, 2]].tolist() == [3.0, 9.0]
    assert np.isnan(asked.last_day[1])


def test_vocabulary_maps_both_ways_and_names_the_unknown() -> None:
    """Indices follow first appearance; an unknown id is an error, or −1 where asked for."""
    vocabulary = Vocabulary(["b", "a", "b"])
    assert vocabulary.index(["a", "b"]).tolist() == [1, 0]
    assert vocabulary.find(["a", "c"]).tolist() == [1, -1]
    with pytest.raises(UnknownIdError, match="user 'c'"):
        vocabulary.index(["c"], "user")
