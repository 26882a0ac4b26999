"""Log-linear mixing of signals: a softmax over the catalogue whose few weights are learned on withheld edges.

The score of item i for a user with h visible edges is Σ_f (w_f + v_f · log h) · signal_f(user, i): what a signal is worth depends on how much is
known of the user. The loss is convex, so Newton's method finds its one minimum in a few steps, the same on every machine.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from grasper.predict.calibrate import log_softmax
from grasper.predict.graph import FloatArray, IndexArray

RIDGES = (1.0, 0.1, 0.01, 0.001)
"""Candidates for the pull towards the prior, strong to weak; two-fold cross-validation on the withheld edges chooses."""
NUM_FOLDS = 2
STEP_SIZES = tuple(0.5**halvings for halvings in range(11))
"""Shares of a Newton step that are tried until the objective does not rise."""
BLOCK_NUMBERS = 1_000_000


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
    """The fitted mixture, the ridge that cross-validation chose, and the mixtures that each fold's users got from the others."""

    mixture: Mixture
    ridge: float
    fold: IndexArray
    """Which fold each user is in, `[num_users]`."""
    without_fold: list[Mixture]
    """Mixtures learned without each fold."""


def fit_mixture(signals: FloatArray, offset: FloatArray, degree: IndexArray, prior: FloatArray) -> MixtureFit:
    """Learn the weights from each user's withheld item and other candidates.

    Args:
        signals: `[num_users, num_candidates, num_signals]`, the withheld item first; overwritten (scaled).
        offset: Added to the candidates' scores, `[num_users, num_candidates]`: −inf for what is no answer, else the log of how many items a sampled
            candidate stands for.
        degree: Visible edges of each user, `[num_users]`.
        prior: Weights of the raw signals that the ridge pulls towards, `[num_signals]`.
    """
    scale = signals.std(axis=(0, 1)) + 1e-6
    signals /= scale
    prior = (prior * scale).astype(np.float64)
    log_degree = np.log(np.maximum(degree, 1)).astype(np.float32)
    fold = np.arange(len(signals)) % NUM_FOLDS
    everyone = np.ones(len(signals), bool)
    start = np.concatenate([prior, np.zeros_like(prior)])
    paths = [_ridge_path(signals, offset, log_degree, fold != held, prior, start) for held in range(NUM_FOLDS)]
    losses = []
    for step in range(len(RIDGES)):
        held_out = [_Loss(signals, offset, log_degree, fold == held).value(paths[held][step]) * (fold == held).sum() for held in range(NUM_FOLDS)]
        losses.append(sum(held_out))
    best = int(np.argmin(losses))
    weights = _newton(_Loss(signals, offset, log_degree, everyone), prior, RIDGES[best], np.mean([path[best] for path in paths], axis=0))
    mixtures = [_mixture(chosen, scale) for chosen in (weights, *(path[best] for path in paths))]
    return MixtureFit(mixtures[0], RIDGES[best], fold, mixtures[1:])


def _mixture(weights: np.ndarray, scale: FloatArray) -> Mixture:
    base, slope = np.split(weights.astype(np.float32), 2)
    return Mixture(base, slope, scale.astype(np.float32))


def _ridge_path(
    signals: FloatArray, offset: FloatArray, log_degree: FloatArray, chosen: np.ndarray, prior: np.ndarray, start: np.ndarray
) -> list[np.ndarray]:
    """The solutions for all ridges, each started from the one before."""
    loss, path = _Loss(signals, offset, log_degree, chosen), []
    for ridge in RIDGES:
        start = _newton(loss, prior, ridge, start)
        path.append(start)
    return path


def _newton(loss: _Loss, prior: np.ndarray, ridge: float, start: np.ndarray) -> np.ndarray:
    """Weights `[base, slope]` that minimise mean loss + ridge · squared distance from the prior; slopes are pulled to 0, four times as hard."""
    centre = np.concatenate([prior, np.zeros_like(prior)])
    pull = np.repeat([ridge, 4 * ridge], len(prior))
    weights = start.copy()
    value, gradient, curvature = loss.derivatives(weights)
    objective = value + float(pull @ (weights - centre) ** 2)
    for _ in range(12):
        step = np.linalg.solve(curvature + np.diag(2 * pull), gradient + 2 * pull * (weights - centre))
        for size in STEP_SIZES:
            trial = weights - size * step
            value, gradient, curvature = loss.derivatives(trial)
            new_objective = value + float(pull @ (trial - centre) ** 2)
            if new_objective <= objective:
                break
        else:  # rounding hides what is left to gain
            break
        gain, weights, objective = objective - new_objective, trial, new_objective
        if gain < 1e-4:
            break
    return weights


@dataclass(frozen=True)
class _Loss:
    """Mean negative log-likelihood of the first candidate over the chosen users, in blocks of users."""

    signals: FloatArray
    offset: FloatArray
    log_degree: FloatArray
    chosen: np.ndarray

    def value(self, weights: np.ndarray) -> float:
        return self._sum(weights, with_derivatives=False)[0]

    def derivatives(self, weights: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        """Value, gradient and Hessian over `[base, slope]`."""
        return self._sum(weights, with_derivatives=True)

    def _sum(self, weights: np.ndarray, *, with_derivatives: bool) -> tuple[float, np.ndarray, np.ndarray]:
        base, slope = np.split(weights.astype(np.float32), 2)
        num = len(base)
        value, gradient, curvature = 0.0, np.zeros(2 * num), np.zeros((2 * num, 2 * num))
        users = np.flatnonzero(self.chosen)
        size = max(1, BLOCK_NUMBERS // max(1, self.signals.shape[1] * num))
        for start in range(0, len(users), size):
            part = users[start : start + size]
            block, log_h = self.signals[part], self.log_degree[part]
            scores = np.matmul(block, (base + log_h[:, None] * slope)[:, :, None])[:, :, 0] + self.offset[part]
            log_p = log_softmax(scores)
            value -= float(log_p[:, 0].sum())
            if with_derivatives:
                p = np.exp(log_p)
                mean = np.matmul(p[:, None, :], block)[:, 0]
                difference = mean - block[:, 0]
                gradient += np.concatenate([difference.sum(0), log_h @ difference])
                covariance = np.matmul((block * p[:, :, None]).transpose(0, 2, 1), block) - mean[:, :, None] * mean[:, None, :]
                moments = [np.tensordot(log_h**power, covariance, axes=1) for power in range(3)]
                curvature += np.block([[moments[0], moments[1]], [moments[1], moments[2]]])
        return value / len(users), gradient / len(users), curvature / len(users)
