"""`metrics.json` → tables of numbers, for the terminal and for files: which metrics, what stands in a cell, what is best and by how sure a margin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from grasper.metrics.choose import metric_of
from grasper.metrics.metric import METRICS, Metric
from grasper.records import TASKS, Task

Entry = Mapping[str, Any]
"""`value`, `low`, `high`, `n`."""

WARNED_SHARE = 0.05
"""Share of unreadable answers above which a method's numbers tell as much of the format as of the texts."""

FEW_ITEMS = 10
"""Up to so many items, intervals hold the truth less often than they say."""


@dataclass(frozen=True)
class ResultTable:
    """The results of one task."""

    task: Task
    dataset: str
    split: str
    count: int
    """Targets that the task was asked of."""
    metrics: Sequence[Metric]
    rows: Mapping[str, Mapping[str, Entry]]
    """Method → metric → entry; methods that failed are not among them."""
    failed: Mapping[str, str]
    """Method → why it has no results."""
    clearly_best: frozenset[tuple[str, str]]
    """(method, metric): better than every other method that has the metric, and no paired interval holds zero."""

    def best(self, metric: Metric) -> float | None:
        """The best value of a column."""
        return metric.best([row[metric.name]["value"] for row in self.rows.values() if metric.name in row])


def result_tables(results: Mapping[str, Any], *, detail: bool = False) -> list[ResultTable]:
    """The tables of a results file, one for each task that was done.

    Args:
        detail: With every metric, and not the main ones alone.
    """
    tables = []
    for task in TASKS:
        done = {method: tasks[task] for method, tasks in results["methods"].items() if task in tasks}
        if done:
            failed = failed_methods(results, task)
            rows = {method: row for method, row in done.items() if method not in failed}
            names = dict.fromkeys(name for row in (rows or done).values() for name in row)
            count = max(entry["n"] for row in done.values() for entry in row.values())
            metrics = [described(results, name) for name in names if detail or described(results, name).shown != "detail"]
            clear = clearly_best(results, task, list(rows), metrics)
            tables.append(ResultTable(task, results["dataset"], results["split"], count, metrics, rows, failed, clear))
    return tables


def described(results: Mapping[str, Any], name: str) -> Metric:
    """The metric as the results file describes it, so that numbers of a plugin are read without it; else as it is registered."""
    facts = results.get("metrics", {}).get(name)
    if facts is None or name in METRICS:
        return metric_of(name)
    return Metric(name, **{key: tuple(value) if isinstance(value, list) else value for key, value in facts.items()} | _silent(facts))


def _silent(facts: Mapping[str, Any]) -> dict[str, Any]:
    """A description leaves out what is None, and None is not what a metric is by default."""
    return {} if "higher_is_better" in facts else {"higher_is_better": None}


def clearly_best(results: Mapping[str, Any], task: Task, methods: Sequence[str], metrics: Sequence[Metric]) -> frozenset[tuple[str, str]]:
    """The (method, metric) whose paired difference from every other method has an interval on the better side of zero."""
    wins: dict[tuple[str, str], set[str]] = {}
    for pair in results["comparison"]["pairs"]:
        if pair["task"] != task or pair["low"] is None:
            continue
        sign = 1 if described(results, pair["metric"]).higher_is_better else -1
        if min(sign * pair["low"], sign * pair["high"]) > 0:
            wins.setdefault((pair["method"], pair["metric"]), set()).add(pair["other"])
        elif max(sign * pair["low"], sign * pair["high"]) < 0:
            wins.setdefault((pair["other"], pair["metric"]), set()).add(pair["method"])
    measured = {metric.name: {method for method in methods if metric.name in results["methods"][method][task]} for metric in metrics}
    return frozenset(key for key, beaten in wins.items() if len(measured.get(key[1], ())) > 1 and beaten >= measured[key[1]] - {key[0]})


def failed_methods(results: Mapping[str, Any], task: Task) -> dict[str, str]:
    """The methods none of whose answers was in the expected format, each with a sentence; what they wrote by chance is no result."""
    counts = {method: tasks[task] for method, tasks in results.get("unparsed", {}).items() if task in tasks}
    return {
        method: f"failed: none of {entry['n']:,} answers is in the expected format"
        for method, entry in counts.items()
        if entry["n"] and entry["unparsed"] == entry["n"]
    }


def warnings_of(results: Mapping[str, Any]) -> list[str]:
    """What a reader must know before the numbers are compared, in sentences."""
    return [*items_warnings(results), *unparsed_warnings(results), *judge_warnings(results), *paths_warnings(results)]


def items_warnings(results: Mapping[str, Any]) -> list[str]:
    """A sentence where the targets are about too few items for their intervals, and the p that follow from them, to be trusted."""
    count = results.get("bootstrap", {}).get("num_clusters", 0)
    if not 2 <= count <= FEW_ITEMS:
        return []
    return [f"the targets are about {count} items: with {FEW_ITEMS} or fewer, intervals are too narrow and p values too small"]


def unparsed_warnings(results: Mapping[str, Any]) -> list[str]:
    """A sentence for every method and task with more unreadable answers than can be passed over."""
    return [
        f"{method}, {task}: {entry['unparsed']:,} of {entry['n']:,} answers ({entry['unparsed'] / entry['n']:.0%}) are not in the expected format"
        for method, tasks in results.get("unparsed", {}).items()
        for task, entry in tasks.items()
        if entry["n"] and entry["unparsed"] / entry["n"] > WARNED_SHARE
    ]


def judge_warnings(results: Mapping[str, Any]) -> list[str]:
    """A sentence for every method and task of whose answers the judge graded only some."""
    counts = results.get("unparsed", {})
    return [
        f"{method}, {task}: the judge graded {entry['n']:,} of {counts[method][task]['n']:,} answers; the others are left out of its mean"
        for method, tasks in results["methods"].items()
        for task, metrics in tasks.items()
        if (entry := metrics.get("judge")) and task in counts.get(method, {}) and entry["n"] < counts[method][task]["n"]
    ]


def paths_warnings(results: Mapping[str, Any]) -> list[str]:
    """A sentence where bits are averaged over different numbers of paths: a mixture of more of them spells out any text with fewer."""
    averaged = results.get("bits_paths", {})
    if len({number for numbers in averaged.values() for number in numbers}) < 2:
        return []
    each = ", ".join(f"{method} over {' and '.join(map(str, numbers))}" for method, numbers in averaged.items())
    return [f"bits are averaged over different numbers of sampled paths ({each}), and more of them cost fewer bits: measure with the same --paths"]
