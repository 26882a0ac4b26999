"""Metrics → the tables and plots of the report, as the values that its template reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from grasper.evaluate.plots import Point, bar_plot, cost_plot, dot_plot, level_plot
from grasper.evaluate.sparsity import LEVELS
from grasper.evaluate.swap import EVIDENCE
from grasper.evaluate.tables import failed_methods
from grasper.metrics.choose import metric_of
from grasper.metrics.metric import Metric
from grasper.records import Task

TASK_TITLES: dict[Task, tuple[str, str]] = {
    "long": ("Review text", "written from the given title"),
    "title": ("Title", "written from the given text"),
    "rating": ("Rating", "from title and text, in stars; lower is better"),
}
# ---- results -----------------------------------------------------------------------------------------------------------------------


def task_block(task: Task, metrics: Mapping[str, Any], series: Mapping[str, int]) -> dict[str, Any] | None:
    """A task’s results: its main table and a plot for each plotted metric; None where no method did the task."""
    done = {method: tasks[task] for method, tasks in metrics["methods"].items() if task in tasks}
    if not done:
        return None
    failed = failed_methods(metrics, task)
    rows = {method: row for method, row in done.items() if method not in failed}
    title, hint = TASK_TITLES[task]
    count = max(entry["n"] for row in done.values() for entry in row.values())
    main = [metric for metric in metrics_of(rows) if metric.shown != "detail"]
    plots = [_metric_plot(metric, rows, series) for metric in main if metric.shown == "plot"]
    table = _table(title, main, rows, series)
    table["rows"] += [{"name": method, "series": series[method], "cells": [], "failed": reason} for method, reason in failed.items()]
    return {"title": title, "hint": f"{hint} · n\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}{count}", "table": table, "plots": plots}


def metrics_of(rows: Mapping[str, Mapping[str, Any]]) -> list[Metric]:
    """The metrics that any row has, in the order of the results file."""
    return [metric_of(name) for name in dict.fromkeys(name for row in rows.values() for name in row)]


def _is_plotted(name: str) -> bool:
    return metric_of(name).shown == "plot"


def _table(caption: str, metrics: Sequence[Metric], rows: Mapping[str, Mapping[str, Any]], series: Mapping[str, int]) -> dict[str, Any]:
    """A results table, best values marked."""
    best = {metric.name: metric.best([row[metric.name]["value"] for row in rows.values() if metric.name in row]) for metric in metrics}
    return {
        "caption": caption,
        "first": "method",
        "columns": [metric.label for metric in metrics],
        "rows": [
            {"name": method, "series": series[method], "cells": [_cell(metric, row.get(metric.name), best[metric.name]) for metric in metrics]}
            for method, row in rows.items()
        ],
    }


def _cell(metric: Metric, entry: Mapping[str, float] | None, best: float | None) -> dict[str, Any]:
    if entry is None:
        return {"value": "", "range": "", "is_best": False}
    return {"value": metric.format(entry["value"]), "range": _span(entry, metric.format, " – "), "is_best": entry["value"] == best}


def _span(entry: Mapping[str, Any], form: Callable[[float], str], joint: str) -> str:
    """The interval in words; empty where it cannot be told."""
    return "" if entry["low"] is None else f"{form(entry['low'])}{joint}{form(entry['high'])}"


def _metric_plot(metric: Metric, rows: Mapping[str, Mapping[str, Any]], series: Mapping[str, int]) -> dict[str, Any]:
    name = metric.name
    best = metric.best([row[name]["value"] for row in rows.values() if name in row])
    points = [_point(method, row[name], series[method], best) for method, row in rows.items() if name in row]
    return {"title": metric.label, "hint": _hint(metric), "svg": dot_plot(metric.label, points, reference=metric.chance)}


def _hint(metric: Metric) -> str:
    return "lower is better" if metric.higher_is_better is False else "dashed: chance" if metric.chance is not None else ""


def _point(label: str, entry: Mapping[str, float], colour: int, best: float | None = None) -> Point:
    return Point(label, entry["value"], *_bounds(entry, entry["value"]), colour, best is not None and entry["value"] == best)


def _bounds(entry: Mapping[str, Any], value: float) -> tuple[float, float]:
    """The ends of an entry's bar, which has no length where the interval cannot be told."""
    return (value, value) if entry["low"] is None else (entry["low"], entry["high"])


def full_tables(metrics: Mapping[str, Any], tasks: Sequence[Task], series: Mapping[str, int]) -> list[dict[str, Any]]:
    """All metrics of all tasks, with and without repeated targets; methods that failed have no numbers."""
    tables = []
    for task in tasks:
        failed = failed_methods(metrics, task)
        for part, methods in (("all targets", metrics["methods"]), ("without repeated targets", metrics["without_repeated"]["methods"])):
            if rows := {method: entries[task] for method, entries in methods.items() if task in entries and method not in failed}:
                tables.append(_table(f"{TASK_TITLES[task][0]}, {part}", metrics_of(rows), rows, series))
    return tables


# ---- differences -------------------------------------------------------------------------------------------------------------------


def known_pairs(metrics: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The paired comparisons of methods neither of which failed in the task."""
    failed = {task: failed_methods(metrics, task) for task in TASK_TITLES}
    return [pair for pair in metrics["comparison"]["pairs"] if failed[pair["task"]].keys().isdisjoint((pair["method"], pair["other"]))]


def forest(metrics: Mapping[str, Any], series: Mapping[str, int]) -> list[dict[str, Any]]:
    """Differences of every method from the baseline, a plot for each task and plotted metric."""
    baseline = metrics["comparison"]["baseline"]
    groups: dict[tuple[Task, str], list[Point]] = {}
    for pair in known_pairs(metrics):
        if pair["other"] == baseline and _is_plotted(pair["metric"]):
            point = Point(pair["method"], pair["difference"], *_bounds(pair, pair["difference"]), series[pair["method"]])
            groups.setdefault((pair["task"], pair["metric"]), []).append(point)
    plots = []
    for (task, name), points in groups.items():
        title = f"{metric_of(name).label} · {TASK_TITLES[task][0].lower()}"
        hint = "lower is better" if metric_of(name).higher_is_better is False else ""
        plots.append({"title": title, "hint": hint, "svg": dot_plot(f"Difference of {title} from {baseline}", points, reference=0.0, signed=True)})
    return plots


def pair_row(pair: Mapping[str, Any]) -> dict[str, Any]:
    """A paired comparison as a row of the table of differences."""
    return {
        "method": pair["method"],
        "other": pair["other"],
        "task": pair["task"],
        "metric": metric_of(pair["metric"]).label,
        "difference": _signed(pair["difference"]),
        "range": _span(pair, _signed, " to "),
        "is_clear": pair["low"] is not None and (pair["low"] > 0 or pair["high"] < 0),
        "p": "–" if pair["p"] is None else f"{pair['p']:.3f}",
        "wins": f"{pair['wins']:.0%}",
        "ties": f"{pair['ties']:.0%}",
        "n": pair["n"],
    }


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−")


# ---- sparsity ----------------------------------------------------------------------------------------------------------------------


def sparsity_bars(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """How many reviews targets, users and items have."""
    counts, total = metrics["sparsity"]["n_examples"], max(metrics["n_examples"], 1)
    targets = [(level, counts[level] / total, f"{counts[level]:,} ({counts[level] / total:.0%})") for level in LEVELS]
    bars = [{"title": "Targets", "hint": "by own reviews", "svg": bar_plot("Targets by own reviews", targets)}]
    for kind in ("user", "item"):
        shares = metrics["sparsity"]["data"][f"{kind}_shares"]
        rows = [(level, share, f"{share:.1%}") for level, share in shares.items()]
        bars.append({"title": f"{kind.title()}s of the data set", "hint": "by reviews", "svg": bar_plot(f"{kind.title()}s by reviews", rows)})
    return bars


def sparsity_plots(metrics: Mapping[str, Any], tasks: Sequence[Task], series: Mapping[str, int]) -> list[dict[str, Any]]:
    """Results by the number of own reviews, a line for each method."""
    levels = [level for level in LEVELS if metrics["sparsity"]["n_examples"][level]]
    by_method = metrics["sparsity"]["methods"]
    plots = []
    for task in tasks:
        plotted = [
            metric for metric in metrics_of({method: entries.get(task, {}) for method, entries in by_method.items()}) if metric.shown == "plot"
        ]
        for metric in plotted[:1] + [metric for metric in plotted[1:] if metric.chance is not None and task == "long"]:
            lines = []
            for method, entries in by_method.items():
                row = entries.get(task, {}).get(metric.name, {})
                if row and method not in failed_methods(metrics, task):
                    lines.append((series[method], method, [_point(method, row[level], series[method]) if level in row else None for level in levels]))
            if lines:
                title = f"{metric.label} · {TASK_TITLES[task][0].lower()}"
                plots.append({"title": title, "hint": _hint(metric), "svg": level_plot(title, levels, lines, reference=metric.chance)})
    return plots


# ---- predicted items and synthetic reviews -----------------------------------------------------------------------------------------


def predicted_facts(metrics: Mapping[str, Any]) -> str:
    """A sentence on how many items were predicted and how many of them the user is known to have met; empty without prediction."""
    predicted = metrics.get("predicted")
    if not predicted:
        return ""
    text = f"{predicted['per_example']:.1f} items predicted per target."
    if predicted["recall"] is not None:
        text += (
            f" Of {predicted['known']:,} items that these users are known to have reviewed out of sight, {predicted['recall']:.1%} are among them."
        )
    if suitability := predicted.get("suitability"):
        ours, popular, difference = (suitability[name] for name in ("predicted", "popular", "difference"))
        span = _span(difference, _signed, " to ")
        text += (
            f" By the planted truth they suit their user better than {ours['value']:.0%} of all items; as many popular items,"
            f" better than {popular['value']:.0%} (difference {_signed(difference['value'])}{span and ', '}{span})."
        )
    return text


def predicted_table(prediction: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The link predictor's ranking metrics on training edges that were withheld from it."""
    if prediction is None:
        return None
    validation = prediction["validation"]
    metrics = {name: value for name, value in validation.items() if "@" in name or name == "calibration_error"}
    if not metrics:
        return None
    cells = [_plain(f"{validation['num_edges']:,}"), *(_plain(f"{value:.3f}") for value in metrics.values())]
    columns = ["withheld edges", *(name.replace("_", " ") for name in metrics)]
    rows = [{"name": prediction["encoder"], "series": None, "cells": cells}]
    return {"caption": "Link prediction", "first": "predictor", "columns": columns, "rows": rows}


def synthetic_row(method: str, entry: Mapping[str, Any], colour: int) -> dict[str, Any]:
    """How many synthetic reviews a method wrote and kept, and how they read beside chance."""
    written = entry["written"]
    return {
        "name": method,
        "series": colour,
        "written": f"{written:,}",
        "kept": f"{entry['kept']:,} ({entry['kept'] / written:.0%})" if written else "–",
        "rejected": ", ".join(f"{reason} {count}" for reason, count in entry["rejected"].items()) or "–",
        "words": f"{entry['words']:.1f}" if "words" in entry else "–",
        "item": _beside_chance(entry.get("item_likeness"), entry.get("item_chance")),
        "user": _beside_chance(entry.get("user_likeness"), entry.get("user_chance")),
        "style": _beside_chance(entry.get("style_match"), {"value": 0.5}),
    }


def _beside_chance(found: Mapping[str, float] | None, chance: Mapping[str, float] | None) -> dict[str, str] | None:
    if found is None:
        return None
    return {"value": f"{found['value']:.3f}", "hint": f"chance {chance['value']:.3f}" if chance else ""}


# ---- cost --------------------------------------------------------------------------------------------------------------------------


def cost_table(metrics: Mapping[str, Any], series: Mapping[str, int]) -> dict[str, Any]:
    """Time and tokens of writing and of what went before it, a row for each method."""
    rows = []
    for method, cost in metrics["cost"].items():
        seconds = cost["seconds"]
        cells = [_plain("–" if seconds is None else f"{seconds:,.1f}"), _plain(_per_target(seconds, metrics["n_examples"]))]
        cells += [_plain(f"{cost[name]:,.0f}") for name in ("tokens_in", "tokens_out")]
        cells.append(_plain(f"{cost['align_seconds']:,.1f}" if cost.get("align_seconds") else "–"))
        spent = (cost.get("align_tokens_in") or 0) + (cost.get("align_tokens_out") or 0)
        cells += [_plain(f"{spent:,.0f}" if spent else "–"), _plain(f"{spent + cost['tokens_in'] + cost['tokens_out']:,.0f}")]
        rows.append({"name": method, "series": series[method], "cells": cells})
    columns = ["seconds", "per target", "tokens in", "tokens out", "alignment: seconds", "alignment: tokens", "tokens in all"]
    return {"caption": "Cost", "first": "method", "columns": columns, "rows": rows}


def swap_table(metrics: Mapping[str, Any], series: Mapping[str, int]) -> dict[str, Any] | None:
    """What the right evidence saves against the wrong one, a row for each method, a column for each task and evidence; None where not measured."""
    found = metrics.get("swap") or {}
    columns = list(dict.fromkeys((task, evidence) for tasks in found.values() for task, entries in tasks.items() for evidence in entries))
    if not columns:
        return None
    rows = []
    for method, tasks in found.items():
        entries = [tasks.get(task, {}).get(evidence) for task, evidence in columns]
        cells = [{"value": _percent(e["value"]), "range": _span(e, _percent, " to "), "is_best": False} if e else _plain("–") for e in entries]
        rows.append({"name": method, "series": series[method], "cells": cells})
    return {"caption": "Swap test", "first": "method", "columns": [f"{task}: {evidence}" for task, evidence in columns], "rows": rows}


def _percent(value: float) -> str:
    return f"{value:+.1%}".replace("-", "−")


def behaviour_table(metrics: Mapping[str, Any], series: Mapping[str, int]) -> dict[str, Any]:
    """Form of the answers: unreadable ones of all tasks, and what describes the review texts without judging them."""
    long = {method: tasks.get("long", {}) for method, tasks in metrics["methods"].items()}
    described = [metric for metric in metrics_of(long) if not metric.is_compared and metric.name not in ("parsed", *EVIDENCE)]
    rows = []
    for method, row in long.items():
        cells = [_plain(_unparsed_share(metrics["unparsed"].get(method, {})))]
        cells += [_plain(metric.format(row[metric.name]["value"]) if metric.name in row else "–") for metric in described]
        rows.append({"name": method, "series": series[method], "cells": cells})
    return {"caption": "Behaviour", "first": "method", "columns": ["Unparsed", *(metric.label for metric in described)], "rows": rows}


def _plain(value: str) -> dict[str, Any]:
    return {"value": value, "range": "", "is_best": False}


def _per_target(seconds: float | None, count: int) -> str:
    if seconds is None or not count:
        return "–"
    each = seconds / count
    return f"{each:.2f} s" if each >= 0.1 else f"{each:.2g} s"


def _unparsed_share(counts: Mapping[str, Mapping[str, int]]) -> str:
    """The share over all answers of all tasks."""
    total = sum(entry["n"] for entry in counts.values())
    return f"{sum(entry['unparsed'] for entry in counts.values()) / total:.1%}" if total else "–"


def quality_over_cost(metrics: Mapping[str, Any], series: Mapping[str, int]) -> dict[str, Any] | None:
    """ROUGE-1 of the review text over seconds per target; None for fewer than two methods."""
    points = []
    for method, cost in metrics["cost"].items():
        entry = metrics["methods"][method].get("long", {}).get("rouge1")
        if entry and cost["seconds"] and method not in failed_methods(metrics, "long"):
            points.append((cost["seconds"] / metrics["n_examples"], _point(method, entry, series[method])))
    if len(points) < 2:
        return None
    return {"title": "ROUGE-1 of the review text over time", "hint": "up and left is better", "svg": cost_plot("Quality over cost", points)}
