"""The weights of signals."""

from __future__ import annotations

import numpy as np

from grasper.predict.mixture import Mixture, _Loss, _newton, fit_mixture

RNG = np.random.default_rng(0)


def drawn(num_users: int, weights: np.ndarray, slopes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Signals whose first candidate was drawn from the softmax with the given weights."""
    signals = RNG.normal(size=(num_users, 20, len(weights))).astype(np.float32)
    degree = RNG.integers(1, 9, num_users)
    scores = np.einsum("unf,uf->un", signals, weights + np.log(degree)[:, None] * slopes)
    target = np.argmax(scores + RNG.gumbel(size=scores.shape), axis=1)
    rows = np.arange(num_users)
    signals[rows, 0], signals[rows, target] = signals[rows, target].copy(), signals[rows, 0].copy()
    return signals, np.zeros(signals.shape[:2], np.float32), degree


def test_planted_weights_come_back() -> None:
    """4,000 users choose by two signals, the second worth more the more is known; the third is noise."""
    signals, offset, degree = drawn(4000, np.array([1.5, 0.2, 0.0]), np.array([0.0, 0.6, 0.0]))
    fitted = fit_mixture(signals, offset, degree, np.zeros(3, np.float32)).mixture
    np.testing.assert_allclose(fitted.base / fitted.scale, [1.5, 0.2, 0.0], atol=0.15)
    np.testing.assert_allclose(fitted.slope / fitted.scale, [0.0, 0.6, 0.0], atol=0.12)


def test_without_evidence_the_prior_stays() -> None:
    """Targets drawn at random say nothing of the signals' prior direction when there are few of them: the strong ridge wins."""
    signals, offset, degree = drawn(10, np.zeros(2), np.zeros(2))
    fitted = fit_mixture(signals * 1e-4, offset, degree, np.array([1.0, 0.0], np.float32))
    assert abs(float(fitted.mixture.base[1])) < 0.5


def test_derivatives_equal_finite_differences() -> None:
    """Gradient and Hessian of the loss, base and slope together."""
    signals, offset, degree = drawn(30, np.array([1.0, -0.5]), np.array([0.3, 0.0]))
    loss = _Loss(signals, offset, np.log(degree).astype(np.float32), np.ones(30, bool))
    point = np.array([0.4, -0.2, 0.1, 0.3])
    _, gradient, curvature = loss.derivatives(point)
    step = 1e-2
    for axis in range(4):
        shift = step * np.eye(4)[axis]
        up, down = loss.derivatives(point + shift), loss.derivatives(point - shift)
        np.testing.assert_allclose(gradient[axis], (up[0] - down[0]) / (2 * step), atol=2e-3)
        np.testing.assert_allclose(curvature[axis], (up[1] - down[1]) / (2 * step), atol=2e-3)


def test_a_step_that_only_makes_things_worse_is_not_taken() -> None:
    """However short it is made: the weights stay where they were."""

    class Cliff(_Loss):
        def derivatives(self, weights: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
            return float(weights.any()), np.ones(2), np.eye(2)

    nothing = np.zeros((0, 0, 1), np.float32)
    assert not _newton(Cliff(nothing, nothing, nothing, nothing), np.zeros(1), 1e-9, np.zeros(2)).any()


def test_weights_grow_with_the_logarithm_of_the_history() -> None:
    """w + v · log h, divided by the scale; an empty history counts as one edge."""
    mixture = Mixture(np.array([1.0], np.float32), np.array([2.0], np.float32), np.array([4.0], np.float32))
    np.testing.assert_allclose(mixture.weights(np.array([0, 1, 3]))[:, 0], [0.25, 0.25, (1 + 2 * np.log(3)) / 4], rtol=1e-6)
