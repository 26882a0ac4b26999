"""Ratings: from digit probabilities to one number, and how far that lies from the truth."""

from __future__ import annotations

from typing import Literal

import numpy as np

from grasper.errors import ShapeError

RATINGS = np.arange(1.0, 6.0)
"""The scale, 1–5."""

RatingRule = Literal["expectation", "median", "argmax"]


def absolute_error(predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    """|predicted − true| of each pair, `[n]`, stars."""
    return np.abs(_difference(predicted, true))


def squared_error(predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    """(predicted − true)² of each pair, `[n]`, stars²."""
    return _difference(predicted, true) ** 2


def rating_from_probabilities(probabilities: np.ndarray, rule: RatingRule = "median") -> np.ndarray:
    """One rating per row of probabilities over 1–5, `[n]`.

    The expectation is the best guess under squared error, the median (the first rating at which half of the mass is reached) under absolute
    error, the argmax under "right or wrong".

    Args:
        probabilities: `[n, 5]`, non-negative; rows are normalised here.

    Raises:
        ShapeError: Not five columns, or a row that is no distribution (negative, not finite, or without mass).
    """
    probabilities = np.asarray(probabilities, dtype=float)
    if probabilities.ndim != 2 or probabilities.shape[1] != RATINGS.size:
        raise ShapeError(f"expected probabilities [n, {RATINGS.size}] of the ratings 1–5, got {list(probabilities.shape)}")
    mass = probabilities.sum(axis=1, keepdims=True)
    if not np.isfinite(probabilities).all() or (probabilities < 0).any() or (mass <= 0).any():
        raise ShapeError("every row of probabilities must be finite, non-negative and have a positive sum")
    probabilities = probabilities / mass
    if rule == "expectation":
        return probabilities @ RATINGS
    if rule == "median":
        reached = probabilities.cumsum(axis=1) >= 0.5 - 1e-12  # five sums of rounded numbers may end just below a half
        return RATINGS[reached.argmax(axis=1)]
    return RATINGS[probabilities.argmax(axis=1)]


def _difference(predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    predicted, true = np.asarray(predicted, dtype=float), np.asarray(true, dtype=float)
    if predicted.shape != true.shape:
        raise ShapeError(f"predicted {list(predicted.shape)} and true {list(true.shape)} ratings must match")
    return predicted - true
