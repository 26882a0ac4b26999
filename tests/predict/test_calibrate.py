"""What calibration holds in memory, and that it gives what the plain computation gives, to the bit."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from grasper.predict import calibrate
from grasper.predict.calibrate import log_softmax, probabilities, reliability
from grasper.predict.stage import describe
from grasper.predict.validation import Validation


def make_scores(num_users: int, num_items: int, *, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(num_users, num_items)).astype(np.float32)
    scores[rng.random(scores.shape) < 0.1] = -np.inf
    return scores


def plain_reliability(p: np.ndarray, hit: np.ndarray, num_bins: int) -> list[dict[str, float]]:
    order = np.argsort(p, axis=None, kind="stable")
    p, hit = p.ravel()[order], hit.ravel()[order]
    parts = [part for part in np.array_split(np.arange(len(p)), num_bins) if len(part)]
    return [{"predicted": float(p[part].mean()), "observed": float(hit[part].mean()), "count": len(part)} for part in parts]


@pytest.mark.parametrize("size", [0, 3, 10, 1000, 4001])
@pytest.mark.parametrize("decimals", [1, 7])
def test_the_curve_is_that_of_a_stable_sort(size: int, decimals: int) -> None:
    """Also where many predictions are equal and stand on both sides of a bin's bound."""
    rng = np.random.default_rng(size)
    p, hits = rng.random(size).astype(np.float32).round(decimals), rng.random(size) < 0.3
    assert reliability(p, hits) == plain_reliability(p, hits, 10)


def test_probabilities_are_the_finite_ones_of_every_row(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = make_scores(37, 50)
    expected = np.exp(log_softmax(scores / 0.7))[np.isfinite(scores)]
    monkeypatch.setattr(calibrate, "BLOCK_SCORES", 200)
    assert np.array_equal(probabilities(scores, 0.7), expected)


def test_the_deviation_is_numpys() -> None:
    values = np.random.default_rng(0).normal(3, 2, 12_345).astype(np.float32)
    assert calibrate._deviation(values.copy()) == float(np.std(values))


def test_a_report_takes_less_than_three_times_the_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scores of all users for the whole catalogue are the largest array of a fit; it took over six times as much before."""
    scores = make_scores(1000, 1000)
    scores[:, 0] = 1.0
    monkeypatch.setattr(calibrate, "BLOCK_SCORES", 20_000)
    validation = Validation(scores, np.zeros(len(scores), np.int64))
    describe(validation, 1.0)
    tracemalloc.start()
    try:
        describe(validation, 1.0)
        assert tracemalloc.get_traced_memory()[1] < 3 * scores.nbytes
    finally:
        tracemalloc.stop()
