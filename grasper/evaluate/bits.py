"""What was measured in bits (`measure.bits`), summed up before any text is written: means, paired differences, the swap test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from grasper.config import EvaluateConfig
from grasper.evaluate.compare import Bootstrap, compare, summarize
from grasper.evaluate.measured import paths_in, read_measured
from grasper.evaluate.score import sizes_of
from grasper.evaluate.swap import SWAPS, swap_test
from grasper.records import Example, Task


def summarize_bits(
    examples: Sequence[Example], tasks: Sequence[Task], measured: Mapping[str, Path], config: EvaluateConfig, *, seed: int
) -> dict[str, Any]:
    """Means with intervals, paired differences from the first method, and the swap test, without any text having been written.

    Gives `methods` (`{method: {task: {metric: entry}}}`), `pairs` (see `compare.compare`), `swap` (see `swap.swap_test`), and `bits_paths`, over how
    many sampled paths the methods that think are averaged.

    Args:
        measured: The file of each method.
    """
    rows = [example.example_id for example in examples]
    columns: dict[tuple[str, Task, str], pd.Series] = {}
    for method, path in measured.items():
        numbers = read_measured([path])
        for task in tasks:
            for swap in SWAPS:
                values = pd.Series([numbers.get((row, task, swap), np.nan) for row in rows], index=rows)
                if values.notna().any():
                    columns[method, task, swap] = values
    frame = pd.DataFrame(columns, index=rows)
    items, sizes = [example.item_id for example in examples], sizes_of(examples, tasks)
    bootstrap = Bootstrap(items, sizes=sizes, samples=config.bootstrap_samples, confidence=config.confidence, seed=seed)
    estimate = bootstrap.estimate(frame)
    baseline = config.baseline if config.baseline in measured else next(iter(measured))
    pairs = [pair for pair in compare(frame, bootstrap, baseline, estimate) if pair["other"] == baseline]
    averaged = {method: found for method, path in measured.items() if (found := paths_in([path]))}
    return {"methods": summarize(estimate), "baseline": baseline, "pairs": pairs, "swap": swap_test(frame, bootstrap), "bits_paths": averaged}
