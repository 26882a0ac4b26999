"""The swap test: what the right evidence saves against the wrong one, in bits of the real answer.

Numbers come from `measure.bits`: the same prompts as they are, with another user's own reviews, and with another item's neighbours.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pandas as pd

from grasper.evaluate.compare import Bootstrap

Swap = Literal["bits", "bits_other_user", "bits_other_item"]
"""The prompts as they are, with another user's own reviews, with another item's neighbours; the names of the metrics."""
SWAPS: tuple[Swap, ...] = ("bits", "bits_other_user", "bits_other_item")

EVIDENCE = {"bits_other_user": "own reviews", "bits_other_item": "neighbours"}
"""What was swapped, by metric."""


def swap_test(values: pd.DataFrame, bootstrap: Bootstrap) -> dict[str, dict[str, dict[str, dict[str, Any]]]]:
    """`{method: {task: {evidence: {value, low, high, n}}}}`: the share of bits that the right evidence saves, over the examples that show some.

    Args:
        values: One row per example; columns (method, task, metric).
    """
    found: dict[str, dict[str, dict[str, dict[str, Any]]]] = {}
    names = set(values.columns)
    for method, task, metric in (map(str, name) for name in values.columns):
        if metric in EVIDENCE and (method, task, "bits") in names:
            pair = values[[(method, task, "bits"), (method, task, metric)]].copy()
            pair[pair.isna().any(axis=1)] = np.nan
            estimate = bootstrap.estimate(pair)
            if estimate.count[0]:
                low, high = estimate.interval(1 - estimate.draws[:, 0] / estimate.draws[:, 1], 0)
                value = round(float(1 - estimate.value[0] / estimate.value[1]), 6)
                entry = {"value": value, "low": low, "high": high, "n": int(estimate.count[0])}
                found.setdefault(method, {}).setdefault(task, {})[EVIDENCE[metric]] = entry
    return found
