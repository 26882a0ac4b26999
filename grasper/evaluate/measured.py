"""Numbers that need a model: measured apart from the evaluation, kept in a folder of the run, and joined with the others by the evaluation.

`measure/<method>/<metric>.jsonl`: a line `{"example_id", "task", "metric", "value"}` for every number, whole batches at a time. Where it is about the
written text, `"output"` holds that text's `stable_hash`; where it is about a method's prompts, `"source"` holds the fingerprint of the stage that
asked them. So a number never outlives what it was measured on.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from grasper.errors import GrasperError, RunMismatchError
from grasper.files import read_jsonl
from grasper.metrics.choose import metric_of
from grasper.metrics.metric import METRICS
from grasper.records import Task

Measured = Mapping[tuple[str, Task, str], float]
"""Numbers of one method by example, task and column."""


def measured_files(folder: Path) -> list[Path]:
    """The files of measured numbers in a method's folder `measure/<method>`."""
    return sorted(folder.glob("*.jsonl"))


def read_measured(
    paths: Iterable[Path], hashes: Mapping[tuple[str, Task], str] | None = None, source: str | None = None
) -> dict[tuple[str, Task, str], float]:
    """Numbers of one method that were measured with a model: JSON lines of `example_id`, `task`, `metric`, `value`.

    Args:
        hashes: The hash of each text as it is now; numbers about another one are left out.
        source: The fingerprint of the method's generate stage as it is now; numbers about another one are left out.

    Raises:
        RunMismatchError: A line is of another form, or a value no finite number.
        UnknownNameError: Nobody registered its metric.
    """
    measured: dict[tuple[str, Task, str], float] = {}
    for path in paths:
        for record in read_jsonl(path):
            if "batch" in record:
                continue
            try:
                name, value = METRICS.get(metric_of(record["metric"]).name).column, float(record["value"])
                key, is_current = (record["example_id"], record["task"], name), _is_current(record, hashes, source)
            except (KeyError, TypeError, ValueError) as error:
                if isinstance(error, GrasperError):
                    raise
                raise RunMismatchError(f"{path} holds a line that is no measured number; delete the file and measure again") from None
            if not math.isfinite(value):
                raise RunMismatchError(f"{path}: {record['metric']} of example {key[0]!r} ({key[1]}) is {value}; delete the file and measure again")
            if is_current:
                measured[key] = value
    return measured


def _is_current(record: Mapping[str, Any], hashes: Mapping[tuple[str, Task], str] | None, source: str | None) -> bool:
    """Whether a number is about the text, and goes back to the stage, that there is now."""
    is_of_text = hashes is None or record.get("output") in (None, hashes.get((record["example_id"], record["task"])))
    return is_of_text and (source is None or record.get("source") in (None, source))


def paths_in(paths: Iterable[Path], source: str | None = None) -> list[int]:
    """Over how many sampled paths the bits in files of measured numbers are averaged; empty for a method that does not think.

    Args:
        source: As in `read_measured`.
    """
    records = (record for path in paths for record in read_jsonl(path) if "paths" in record)
    return sorted({int(record["paths"]) for record in records if _is_current(record, None, source)})


def judges_in(paths: Iterable[Path], hashes: Mapping[tuple[str, Task], str] | None = None) -> set[str]:
    """The models that gave the grades in files of measured numbers (`evaluate.judge`).

    Args:
        hashes: As in `read_measured`.
    """
    records = (record for path in paths for record in read_jsonl(path) if "judge" in record)
    return {str(record["judge"]) for record in records if _is_current(record, hashes, None)}
