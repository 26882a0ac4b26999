"""Log-linear mixing of signals: a softmax over the catalogue whose few weights are learned on withheld edges.

The score of item i for a user with h visible edges is Σ_f (w_f + v_f · log h) · signal_f(user, i): what a signal is worth depends on how much is known
of the user. The loss is convex, so Newton's method finds its one minimum in a few steps, the same on every machine.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from grasper.predict.calibrate import log_softmax
from grasper.predict.graph import FloatArray, IndexArray

RIDGES = (0.001, 0.01, 0.1, 1.0)
"""Candidates for the pull towards the prior; two-fold cross-validation on the withheld edges chooses."""
NUM_FOLDS = 2
BLOCK_NUMBERS = 4_000_000


@dataclass(frozen=True)
class Mixture:
    """Weights of signals that were divided by `scale`; all three are `[num_signals]`."""

    base: FloatArray
    slope: FloatArray
    scale: FloatArray

    def weights(self, degree: IndexArray) -> FloatArray:
        """Weight of each raw signal for users with this many visible edges, `[num_users, num_signals]`."""
        return ((self.base + np.log(np.maximum(degree, 1))[:, None] * self.slope) / self.scale).astype(np.float32)


@dataclass(frozen=True)
class MixtureFit:
    """A fitted mixture, the ridge that cross-validation chose, and what each withheld edge's user got from the other fold's weights."""

    mixture: Mixture
    ridge: float
    out_of_fold: FloatArray
    """Scores, `[num_users, num_items]`, −inf where hidden."""


def fit_mixture(signals: FloatArray, degree: IndexArray, targets: IndexArray, hidden: np.ndarray, prior: FloatArray) -> MixtureFit:
    """Learn the weights.

    Args:
        signals: `[num_users, num_items, num_signals]`; overwritten (scaled).
        degree: Visible edges of each user, `[num_users]`.
        targets: The withheld item of each user, `[num_users]`.
        hidden: Items that are no answer for a user (seen, or unknown in the graph), `[num_users, num_items]`.
        prior: Weights of the raw signals that the ridge pulls towards, `[num_signals]`.
    """
    scale = signals.std(axis=(0, 1)) + 1e-6
    prior = prior * scale
    signals /= scale
    log_degree = np.log(np.maximum(degree, 1)).astype(np.float32)
    fold = np.arange(len(targets)) % NUM_FOLDS
    best: tuple[float, float, FloatArray] | None = None
    for ridge in RIDGES:
        scores = np.full(hidden.shape, -np.inf, np.float32)
        for held in range(NUM_FOLDS):
            train, test = fold != held, fold == held
            base, slope = _newton(signals[train], log_degree[train], targets[train], hidden[train], prior, ridge)
            scores[test] = _scores(signals[test], log_degree[test], hidden[test], base, slope)
        loss = -float(log_softmax(scores)[np.arange(len(targets)), targets].mean())
        if best is None or loss < best[0]:
            best = (loss, ridge, scores)
    assert best is not None
    base, slope = _newton(signals, log_degree, targets, hidden, prior, best[1])
    return MixtureFit(Mixture(base, slope, scale), best[1], best[2])


def _scores(signals: FloatArray, log_degree: FloatArray, hidden: np.ndarray, base: FloatArray, slope: FloatArray) -> FloatArray:
    weights = base + log_degree[:, None] * slope
    scores = np.matmul(signals, weights[:, :, None].astype(np.float32))[:, :, 0]
    scores[hidden] = -np.inf
    return scores


def _newton(
    signals: FloatArray, log_degree: FloatArray, targets: IndexArray, hidden: np.ndarray, prior: FloatArray, ridge: float
) -> tuple[FloatArray, FloatArray]:
    """Base weights and slopes that minimise mean negative log-likelihood + ridge · distance from the prior (slopes pulled to 0, four times as hard)."""
    num_signals = signals.shape[2]
    centre = np.concatenate([prior, np.zeros(num_signals)])
    pull = np.concatenate([np.full(num_signals, ridge), np.full(num_signals, 4 * ridge)])
    weights = centre.copy()
    loss, gradient, curvature = _derivatives(signals, log_degree, targets, hidden, weights)
    objective = loss + float(pull @ (weights - centre) ** 2)
    for _ in range(15):
        step = np.linalg.solve(curvature + np.diag(2 * pull), gradient + 2 * pull * (weights - centre))
        size = 1.0
        while True:
            trial = weights - size * step
            loss, new_gradient, new_curvature = _derivatives(signals, log_degree, targets, hidden, trial)
            new_objective = loss + float(pull @ (trial - centre) ** 2)
            if new_objective <= objective or size < 1e-3:
                break
            size /= 2
        gain = objective - new_objective
        weights, objective, gradient, curvature = trial, new_objective, new_gradient, new_curvature
        if gain < 1e-5:
            break
    return weights[:num_signals].astype(np.float32), weights[num_signals:].astype(np.float32)


def _derivatives(
    signals: FloatArray, log_degree: FloatArray, targets: IndexArray, hidden: np.ndarray, weights: np.ndarray
) -> tuple[float, np.ndarray, np.ndarray]:
    """Mean negative log-likelihood with gradient and Hessian over [base, slope], in blocks of users."""
    num_users, num_items, num_signals = signals.shape
    base, slope = weights[:num_signals], weights[num_signals:]
    loss, gradient, curvature = 0.0, np.zeros(2 * num_signals), np.zeros((2 * num_signals, 2 * num_signals))
    size = max(1, BLOCK_NUMBERS // max(1, num_items * num_signals))
    for start in range(0, num_users, size):
        block, log_h = signals[start : start + size], log_degree[start : start + size].astype(np.float64)
        rows, target = np.arange(len(block)), targets[start : start + size]
        log_p = log_softmax(_scores(block, log_degree[start : start + size], hidden[start : start + size], base, slope))
        loss -= float(log_p[rows, target].sum())
        p = np.exp(log_p)
        mean = np.matmul(p[:, None, :], block)[:, 0]
        difference = mean - block[rows, target]
        covariance = np.matmul((block * p[:, :, None]).transpose(0, 2, 1), block) - mean[:, :, None] * mean[:, None, :]
        gradient += np.concatenate([difference.sum(0), (log_h[:, None] * difference).sum(0)])
        moments = [np.tensordot(log_h**power, covariance, axes=1) for power in range(3)]
        curvature += np.block([[moments[0], moments[1]], [moments[1], moments[2]]])
    return loss / num_users, gradient / num_users, curvature / num_users
