"""Exact top-k by blocks, and calibrated scores."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from grasper.errors import ShapeError
from grasper.predict.calibrate import expected_calibration_error, fit_temperature, log_softmax, reliability
from grasper.predict.graph import Interactions
from grasper.predict.topk import hide, scores_of, top_k
from grasper.topk import stable_top_k

RNG = np.random.default_rng(0)
SCORES = np.round(RNG.normal(size=(37, 19)), 1).astype(np.float32)
GRAPH = Interactions.from_matrix(RNG.random((37, 19)) < 0.3)


def scorer(sizes: list[int] | None = None):
    position = {"start": 0}

    def score(block: Interactions) -> np.ndarray:
        start = position["start"]
        position["start"] += block.num_users
        if sizes is not None:
            sizes.append(block.num_users * block.num_items)
        return SCORES[start : start + block.num_users].copy()

    return score


@pytest.mark.parametrize("block_scores", [1, 19 * 5, 10_000])
def test_blocks_equal_a_naive_loop(block_scores: int) -> None:
    """Whatever the block, the lists are those of sorting every row, ties in catalogue order, and no block is larger than allowed."""
    sizes: list[int] = []
    items, scores = top_k(scorer(sizes), GRAPH, 6, block_scores=block_scores)
    seen = GRAPH.matrix.toarray() > 0
    for user in range(37):
        best = sorted((item for item in range(19) if not seen[user, item]), key=lambda item: (-SCORES[user, item], item))[:6]
        assert items[user].tolist() == best
        assert scores[user].tolist() == SCORES[user, best].tolist()
    assert max(sizes) <= max(block_scores, 19)


@pytest.mark.parametrize("k", [1, 4, 12])
@pytest.mark.parametrize("special", [[], [-np.inf], [np.inf], [np.nan]])
def test_ties_are_those_of_sorting_whole_rows(k: int, special: list[float]) -> None:
    rng = np.random.default_rng(k)
    scores = rng.choice(np.array([0, 1, 2, *3 * special], np.float32), size=(200, 12))
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    values, columns = stable_top_k(scores, k)
    is_clear = ~np.isnan(scores).any(axis=1)  # where to put a number that is none is open
    np.testing.assert_array_equal(columns[is_clear], order[is_clear])
    np.testing.assert_array_equal(values, np.take_along_axis(scores, columns, axis=1))


def test_forbidden_items_and_empty_places() -> None:
    """Only allowed items appear; places that nothing is left for are −1."""
    allowed = np.zeros(19, bool)
    allowed[:3] = True
    score = scorer()

    def score_allowed(block: Interactions) -> np.ndarray:
        scores = score(block)
        hide(scores, block, allowed)
        return scores

    items, scores = top_k(score_allowed, GRAPH, 5)
    assert set(items.ravel()) <= {-1, 0, 1, 2}
    assert np.isneginf(scores[items == -1]).all()


def test_wrong_shape_is_an_error() -> None:
    """A scorer must cover the catalogue."""
    with pytest.raises(ShapeError, match="expected"):
        top_k(lambda block: np.zeros((block.num_users, 3), np.float32), GRAPH, 2)


def test_temperature_is_found_again() -> None:
    """Targets drawn from softmax(scores / 3) ask for temperature 3."""
    scores = RNG.normal(scale=6, size=(4000, 12)).astype(np.float32)
    p = np.exp(log_softmax(scores / 3))
    targets = np.array([RNG.choice(12, p=row / row.sum()) for row in p.astype(np.float64)])
    assert fit_temperature(scores, targets) == pytest.approx(3, rel=0.1)


def test_nothing_withheld_leaves_the_temperature() -> None:
    """Data without a user of two edges have nothing to calibrate on; no warning of numpy's reaches the user."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert fit_temperature(np.zeros((0, 12), np.float32), np.zeros(0, np.int64)) == 1.0


def test_reliability_of_honest_probabilities_is_a_diagonal() -> None:
    """Hits drawn with their predicted probability lie on it; doubling the probabilities shows."""
    p = RNG.random(20_000)
    hits = RNG.random(20_000) < p
    assert expected_calibration_error(reliability(p, hits)) < 0.02
    assert expected_calibration_error(reliability(np.minimum(2 * p, 1), hits)) > 0.15
    assert sum(point["count"] for point in reliability(p, hits)) == 20_000


def test_scores_that_a_predictor_keeps_are_not_overwritten() -> None:
    """Somebody else's may look them up in a table of its own: what one user has seen must not be hidden from the next."""
    kept = np.zeros((37, 19), np.float32)
    hide(scores_of(lambda histories: kept, GRAPH), GRAPH)
    assert (kept == 0).all()
    assert scores_of(lambda histories: kept.astype(int), GRAPH).dtype == np.float32


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_a_score_that_is_no_number_is_refused(wrong: float) -> None:
    scores = SCORES.copy()
    scores[3, 4] = wrong
    with pytest.raises(ShapeError, match=r"a score is (nan|inf), expected a number"):
        scores_of(lambda histories: scores, GRAPH)
