"""The intervals of correlations: inside of −1 and 1, and around what is planted."""

from __future__ import annotations

import numpy as np
import pytest

from experiments.style import correlations


def test_correlations_and_their_bounds_are_possible_ones() -> None:
    rng = np.random.default_rng(0)
    rare = np.zeros(60)
    rare[:4] = 1
    noisy = rng.normal(0, 1, 60)
    first, second = np.stack([rare, noisy, noisy], axis=1), np.stack([rare, noisy + rng.normal(0, 1, 60), rng.normal(0, 1, 60)], axis=1)
    same, related, unrelated = correlations(first, second, seed=1)
    assert (same["value"], same["low"], same["high"]) == (1, 1, 1)
    assert related["value"] == pytest.approx(float(np.corrcoef(noisy, second[:, 1])[0, 1]), abs=1e-6)
    assert 0.3 < related["low"] < related["value"] < related["high"] < 1
    assert unrelated["low"] < 0 < unrelated["high"]
