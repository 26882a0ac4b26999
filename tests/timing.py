"""How processor time grows with the size of the input."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Input = TypeVar("Input")


def growth(work: Callable[[Input], object], make: Callable[[int], Input], *, size: int = 5_000, factor: int = 8) -> float:
    """Time per unit of size at `factor` times `size` over that at `size`: about 1 where time is linear, about `factor` where it is quadratic.

    The best of several runs; two milliseconds, below which nobody cares, are added to both.
    """
    return _seconds(work, make(size * factor)) / (_seconds(work, make(size)) * factor)


def _seconds(work: Callable[[Input], object], given: Input) -> float:
    best = float("inf")
    for _ in range(3):
        started = time.process_time()
        work(given)
        best = min(best, time.process_time() - started)
    return best + 0.002
