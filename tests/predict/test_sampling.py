"""Negatives, neighbourhoods, and training on them."""

from __future__ import annotations

import numpy as np
import pytest

from grasper.errors import ShapeError
from grasper.predict.graph import Interactions
from grasper.predict.sampling import NegativeSampler

ALL = 10_000


def graph_of(seed: int = 0, num_users: int = 40, num_items: int = 25, density: float = 0.2) -> Interactions:
    liked = np.random.default_rng(seed).random((num_users, num_items)) < density
    liked[:, 0] |= ~liked.any(1)
    return Interactions.from_matrix(liked)


def test_the_edges_are_sorted_once_for_all_samplers() -> None:
    """Every fold of every epoch makes one over the same graph."""
    graph = graph_of()
    keys = graph.pair_keys
    assert keys.tolist() == sorted(graph.user_index * graph.num_items + graph.item_index)
    NegativeSampler(graph).draw(np.arange(5), 3, np.random.default_rng(0))
    assert graph.pair_keys is keys


def test_negatives_are_never_positives() -> None:
    """Even a user who met all items but two gets only these two."""
    liked = np.random.default_rng(0).random((30, 12)) < 0.5
    liked[7] = True
    liked[7, [3, 8]] = False
    graph = Interactions.from_matrix(liked)
    users = np.repeat(np.arange(30), 4)
    users = users[graph.user_degree[users] < 12]
    items = NegativeSampler(graph).draw(users, 20, np.random.default_rng(1))
    assert not liked[users[:, None], items].any()
    assert set(items[users == 7].ravel()) == {3, 8}


def test_no_negative_to_draw_is_an_error() -> None:
    """A user who met everything cannot be given a negative."""
    with pytest.raises(ShapeError, match="no negative"):
        NegativeSampler(Interactions.from_matrix(np.ones((2, 3)))).draw(np.array([0]), 1, np.random.default_rng(0))
