"""Scores that mean something: a softmax over the unseen catalogue at the temperature that held-out edges ask for."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar

from grasper.predict.graph import FloatArray, IndexArray

BLOCK_SCORES = 2_000_000
"""Scores looked at together, so that all of them are never copied."""


def log_softmax(scores: FloatArray) -> FloatArray:
    """Row-wise log probabilities; −inf stays −inf, also where a whole row is."""
    best = scores.max(1, keepdims=True)
    shifted = scores - np.where(np.isneginf(best), 0, best)
    return shifted - np.log(np.maximum(np.exp(shifted).sum(1, keepdims=True), 1))  # the best alone gives 1


def fit_temperature(scores: FloatArray, targets: IndexArray) -> float:
    """The temperature at which held-out targets are most likely.

    Args:
        scores: `[num_users, num_items]`, seen items −inf.
        targets: The withheld item of each user, `[num_users]`, scored finite.
    """
    spread = _deviation(scores[np.isfinite(scores)]) if len(targets) else 0.0
    if spread == 0:
        return 1.0
    size = max(1, BLOCK_SCORES // scores.shape[1])
    blocks = [(scores[start : start + size], targets[start : start + size]) for start in range(0, len(targets), size)]

    def loss(log_temperature: float) -> float:
        kept = (log_softmax(part / np.float32(np.exp(log_temperature)))[np.arange(len(part)), asked] for part, asked in blocks)
        return -sum(float(values.sum()) for values in kept)

    result = minimize_scalar(loss, bounds=(-6 + np.log(spread), 6 + np.log(spread)), method="bounded")
    return float(np.exp(result.x))


def _deviation(values: FloatArray) -> float:
    """`np.std(values)`, to the bit, in the memory of `values`, which is overwritten."""
    values -= values.mean()
    np.multiply(values, values, out=values)
    return float(np.sqrt(values.mean()))


def probabilities(scores: FloatArray, temperature: float) -> FloatArray:
    """The softmax of each row over its finite scores, one row behind the other, `[number of finite scores]`; nothing else is ever held whole."""
    shown = np.isfinite(scores)
    found, filled = np.empty(np.count_nonzero(shown), np.float32), 0
    size = max(1, BLOCK_SCORES // max(1, scores.shape[1]))
    for start in range(0, len(scores), size):
        part = np.exp(log_softmax(scores[start : start + size] / temperature))[shown[start : start + size]]
        found[filled : filled + len(part)] = part
        filled += len(part)
    return found


def reliability(probabilities: FloatArray, hits: np.ndarray, num_bins: int = 10) -> list[dict[str, Any]]:
    """The reliability curve: predictions in bins of equal size, each with mean predicted probability, share of hits and count.

    Args:
        probabilities, hits: Any shape, aligned; hits are true where the predicted item was the withheld one.
    """
    flat = probabilities.ravel()
    ordered = np.sort(flat)  # without the places, which would take twice as much memory
    bounds = np.cumsum([0, *(len(flat) // num_bins + (number < len(flat) % num_bins) for number in range(num_bins))])
    places = np.flatnonzero(hits)
    lowest, highest = (np.searchsorted(ordered, flat[places], side=side) for side in ("left", "right"))
    for index in np.flatnonzero(np.searchsorted(bounds, lowest, side="right") != np.searchsorted(bounds, highest - 1, side="right")):
        lowest[index] += np.count_nonzero(flat[: places[index]] == flat[places[index]])  # equal ones on both sides of a bound stand as they came
    num_hits, _ = np.histogram(lowest, bounds)
    return [
        {"predicted": float(ordered[start:stop].mean()), "observed": float(found / (stop - start)), "count": int(stop - start)}
        for start, stop, found in zip(bounds[:-1], bounds[1:], num_hits, strict=True)
        if stop > start
    ]


def expected_calibration_error(curve: list[dict[str, Any]]) -> float:
    """Mean distance between predicted probability and share of hits over the bins, weighted by count."""
    total = sum(point["count"] for point in curve)
    return sum(abs(point["predicted"] - point["observed"]) * point["count"] for point in curve) / max(total, 1)
