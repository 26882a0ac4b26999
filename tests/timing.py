"""How processor time grows with the size of the input."""

from __future__ import annotations

import time
from collections.abc import Callable


def growth(work: Callable[[str], object], make: Callable[[int], str], *, size: int = 5_000, factor: int = 8) -> float:
    """Time per character at `factor` times `size` over that at `size`: about 1 where time is linear, about `factor` where it is quadratic.

    The best of several runs; two milliseconds, below which nobody cares, are added to both.
    """
    return _seconds(work, make(size * factor)) / (_seconds(work, make(size)) * factor)


def _seconds(work: Callable[[str], object], text: str) -> float:
    best = float("inf")
    for _ in range(3):
        started = time.process_time()
        work(text)
        best = min(best, time.process_time() - started)
    return best + 0.002
