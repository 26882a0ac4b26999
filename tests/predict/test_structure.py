"""Closed-form signals against naive loops."""

from __future__ import annotations

import numpy as np
import pytest

from grasper.predict.graph import Interactions
from grasper.predict.recency import RecentPopularity, usable_bandwidths
from grasper.predict.structure import cooccurrence, cosine_weights, ease_weights, keep_strongest, order_weights, walk_weights

LIKED = np.random.default_rng(0).random((30, 9)) < 0.35
LIKED[:, 8] = False
LIKED[0] = False
LIKED[0, 8] = True  # an item that shares no user with another
GRAPH = Interactions.from_matrix(LIKED)
X = LIKED.astype(float)


def test_ease_solves_its_ridge_problem() -> None:
    """Every column is the ridge regression of that item on the others, the isolated item stays out."""
    weights = ease_weights(cooccurrence(GRAPH), 3.0)
    for item in range(8):
        others = [other for other in range(8) if other != item]
        a = X[:, others].T @ X[:, others] + 3.0 * np.eye(7)
        np.testing.assert_allclose(weights[others, item], np.linalg.solve(a, X[:, others].T @ X[:, item]), atol=1e-5)
    assert not np.diag(weights).any()
    assert not weights[8].any()
    assert not weights[:, 8].any()


def test_cosine_and_walk_by_loops() -> None:
    """Cosine shrinks by the given users; the walk goes item → user → item with equal chances."""
    cosine, walk = cosine_weights(cooccurrence(GRAPH), 2.0), walk_weights(GRAPH, 2.0)
    degree = X.sum(0)
    for i in range(8):
        for j in range(8):
            if i == j:
                continue
            shared = X[:, i] @ X[:, j]
            assert cosine[i, j] == pytest.approx(shared / (np.sqrt(degree[i] * degree[j]) + 2.0), rel=1e-5)
            steps = sum(X[u, i] * X[u, j] / max(X[u].sum(), 1) for u in range(30))
            assert walk[i, j] == pytest.approx(steps / (degree[i] + 2.0), rel=1e-5, abs=1e-7)


def test_order_counts_pairs_by_their_gap() -> None:
    """One history a, b, c: after a comes b (1) and c (1/2); before c came b (1) and a (1/2)."""
    graph = Interactions.build(np.zeros(3, np.int64), np.array([2, 0, 1]), 1, 3, np.array([1.0, 2.0, 3.0]))
    after, before = order_weights(graph, 0.5)
    np.testing.assert_allclose(after[2], np.array([1, 0.5, 0]) / 2)
    np.testing.assert_allclose(before[1], np.array([1, 0, 0.5]) / 2)
    assert not after[1].any()


def test_strongest_neighbours_by_column() -> None:
    """Two of four weights of each column are left."""
    weights = np.arange(16, dtype=np.float32).reshape(4, 4)
    assert (keep_strongest(weights, 2) != 0).sum(0).tolist() == [2, 2, 2, 2]
    assert keep_strongest(weights, 2)[3, 0] == 12


def test_recent_popularity_equals_a_naive_kernel() -> None:
    """Activity on one side of a user's last day is the sum of exp(−rows apart / 4) over its edges, smoothed by overall shares."""
    rng = np.random.default_rng(1)
    days = np.where(rng.random(120) < 0.1, np.nan, rng.uniform(0, 90, 120))
    graph = Interactions.build(rng.integers(0, 20, 120), rng.integers(0, 6, 120), 20, 6, days)
    recent = RecentPopularity(graph, (10.0, 40.0))
    assert recent.names == ["behind-10d", "ahead-10d", "behind-40d", "ahead-40d"]
    scores = recent.table[recent.rows(graph)]
    assert graph.day is not None
    known = ~np.isnan(graph.day)
    day, item, first = graph.day[known], graph.item_index[known], graph.day[known].min()
    share = (graph.item_degree + 0.1) / (graph.item_degree + 0.1).sum()
    for column, (width, sign) in enumerate([(10, 1), (10, -1), (40, 1), (40, -1)]):
        step = width / 4
        for user in np.flatnonzero(~np.isnan(graph.last_day)):
            apart = sign * ((graph.last_day[user] - first) // step - (day - first) // step)
            activity = np.bincount(item, np.where(apart >= 0, np.exp(-apart / 4), 0.0), minlength=6)
            np.testing.assert_allclose(scores[user, column], np.log((activity + 5 * share) / (activity.sum() + 5)), rtol=1e-3, atol=1e-4)
    weights = rng.normal(size=(20, 4)).astype(np.float32)
    np.testing.assert_allclose(recent.mix(graph, weights), np.einsum("us,usi->ui", weights, scores), rtol=1e-4, atol=1e-4)


def test_no_day_no_recency() -> None:
    """Without times no bandwidth is used; undated users get overall shares."""
    assert usable_bandwidths(GRAPH) == ()
    recent = RecentPopularity(GRAPH, (7.0,))
    np.testing.assert_allclose(np.exp(recent.table[recent.rows(GRAPH)]).sum(2), 1.0, rtol=1e-5)
    share = np.log((GRAPH.item_degree + 0.1) / (GRAPH.item_degree + 0.1).sum())
    np.testing.assert_allclose(recent.table[recent.rows(GRAPH)][0, 0], share, rtol=1e-5)
