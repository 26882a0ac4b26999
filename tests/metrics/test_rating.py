"""Rating metrics: known answers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from grasper.errors import ShapeError
from grasper.metrics.rating import absolute_error, rating_from_probabilities, squared_error


def test_errors_by_hand() -> None:
    predicted, true = np.array([5, 4, 3]), np.array([5, 5, 5])
    assert absolute_error(predicted, true).tolist() == [0, 1, 2]
    assert squared_error(predicted, true).tolist() == [0, 1, 4]


def test_rules_by_hand() -> None:
    """A skewed distribution whose expectation, median and argmax all differ."""
    row = np.array([[0.35, 0.1, 0.1, 0.15, 0.3]])
    assert rating_from_probabilities(row, "expectation")[0] == pytest.approx(0.35 + 0.2 + 0.3 + 0.6 + 1.5)
    assert rating_from_probabilities(row, "median")[0] == 3.0
    assert rating_from_probabilities(row, "argmax")[0] == 1.0


@pytest.mark.parametrize(("rule", "error"), [("expectation", squared_error), ("median", absolute_error)])
def test_each_rule_minimises_its_error(rule: str, error: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> None:
    """Over many draws from a distribution no constant guess beats the expectation in squared error or the median in absolute error."""
    rng = np.random.default_rng(1)
    for _ in range(5):
        probabilities = rng.dirichlet(np.ones(5))
        draws = rng.choice(np.arange(1.0, 6.0), p=probabilities, size=20_000)
        guess = rating_from_probabilities(probabilities[None], rule)[0]  # type: ignore[arg-type]
        best = min(error(np.full(draws.size, value), draws).mean() for value in np.arange(1, 5.01, 0.25))
        assert error(np.full(draws.size, guess), draws).mean() <= best + 0.03


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
        absolute_error(np.ones(2), np.ones(3))
