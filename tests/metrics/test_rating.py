"""Rating metrics: known answers."""

from __future__ import annotations

import numpy as np
import pytest

from grasper.errors import ShapeError
from grasper.metrics.rating import mae, rating_from_probabilities, rmse


def test_errors_by_hand() -> None:
    """Errors 0, 1 and 2 stars: MAE 1, RMSE √(5/3)."""
    predicted, true = np.array([5, 4, 3]), np.array([5, 5, 5])
    assert mae(predicted, true) == 1.0
    assert rmse(predicted, true) == pytest.approx((5 / 3) ** 0.5)


def test_rmse_is_never_below_mae() -> None:
    """RMSE ≥ MAE, equal only when all errors are."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        predicted, true = rng.uniform(1, 5, 30), rng.integers(1, 6, 30)
        assert rmse(predicted, true) >= mae(predicted, true)
    assert rmse(np.full(4, 3.0), np.full(4, 5.0)) == mae(np.full(4, 3.0), np.full(4, 5.0)) == 2.0


def test_rules_by_hand() -> None:
    """A skewed distribution whose expectation, median and argmax all differ."""
    row = np.array([[0.35, 0.1, 0.1, 0.15, 0.3]])
    assert rating_from_probabilities(row, "expectation")[0] == pytest.approx(0.35 + 0.2 + 0.3 + 0.6 + 1.5)
    assert rating_from_probabilities(row, "median")[0] == 3.0
    assert rating_from_probabilities(row, "argmax")[0] == 1.0


@pytest.mark.parametrize(("rule", "error"), [("expectation", rmse), ("median", mae)])
def test_each_rule_minimises_its_error(rule: str, error: object) -> None:
    """Over many draws from a distribution no constant guess beats the expectation in RMSE or the median in MAE."""
    rng = np.random.default_rng(1)
    for _ in range(5):
        probabilities = rng.dirichlet(np.ones(5))
        draws = rng.choice(np.arange(1.0, 6.0), p=probabilities, size=20_000)
        guess = rating_from_probabilities(probabilities[None], rule)[0]  # type: ignore[arg-type]
        best = min(error(np.full(draws.size, value), draws) for value in np.arange(1, 5.01, 0.25))  # type: ignore[operator]
        assert error(np.full(draws.size, guess), draws) <= best + 0.03  # type: ignore[operator]


def test_the_median_survives_rounding() -> None:
    """Half of the mass exactly at 2 is found although 0.1 + 0.4 may fall short of 0.5 in binary."""
    assert rating_from_probabilities(np.array([[0.1, 0.4, 0.2, 0.2, 0.1]]))[0] == 2.0
    assert rating_from_probabilities(np.array([[1, 4, 2, 2, 1]]) * 0.3)[0] == 2.0


@pytest.mark.parametrize("bad", [np.ones((2, 4)), np.zeros((1, 5)), np.array([[1, 1, 1, 1, -1]]), np.full((1, 5), np.nan)])
def test_what_is_no_distribution_is_an_error(bad: np.ndarray) -> None:
    """Four columns, no mass, negative or missing probabilities are refused."""
    with pytest.raises(ShapeError):
        rating_from_probabilities(bad)


def test_unpaired_ratings_are_an_error() -> None:
    """Predictions and truths must pair up."""
    with pytest.raises(ShapeError):
        mae(np.ones(2), np.ones(3))


def test_no_pairs_give_nan() -> None:
    """The mean of nothing is not zero."""
    assert np.isnan(mae(np.array([]), np.array([])))
    assert np.isnan(rmse(np.array([]), np.array([])))
