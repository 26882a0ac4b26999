"""One self-contained HTML page: results, plots, and a browser of examples. No external resource, no framework.

Reviews, ids and completions are untrusted: everything goes through Jinja's autoescape or the plots' own escaping, and the page's content
security policy allows no script but the one of this package.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup

from grasper.evaluate.browser import browse_examples
from grasper.evaluate.compare import LOWER_IS_BETTER
from grasper.evaluate.plots import Point, bar_plot, cost_plot, dot_plot, level_plot
from grasper.evaluate.score import Answers, Scores
from grasper.evaluate.sparsity import LEVELS
from grasper.records import Example, SyntheticReview, Tables, Task
from grasper.retrieve.pool import ReviewPool

MAX_BYTES = 1_400_000
"""Size that the page stays below; texts of the browser are cut shorter until it does."""

LABELS = {
    "rouge1": "ROUGE-1",
    "rougeL": "ROUGE-L",
    "meteor": "METEOR",
    "meteor_no_wordnet": "METEOR (no WordNet)",
    "rouge1_unicode": "ROUGE-1 Unicode",
    "rougeL_unicode": "ROUGE-L Unicode",
    "personalization": "Personalization",
    "style_match": "Style match",
    "copied": "Copied",
    "words": "Words",
    "parsed": "Parsed",
    "reasoned": "With reasoning",
    "mae": "MAE",
    "rmse": "RMSE",
}
TASK_TITLES: dict[Task, tuple[str, str]] = {
    "long": ("Review text", "written from the given title"),
    "title": ("Title", "written from the given text"),
    "rating": ("Rating", "from title and text, in stars; lower is better"),
}
MAIN_METRICS: dict[Task, tuple[str, ...]] = {
    "long": ("rouge1", "rougeL", "meteor", "meteor_no_wordnet", "personalization", "style_match"),
    "title": ("rouge1", "rougeL", "meteor", "meteor_no_wordnet", "personalization"),
    "rating": ("mae", "rmse"),
}
PLOTTED: dict[Task, tuple[str, ...]] = {
    "long": ("rouge1", "meteor", "meteor_no_wordnet", "personalization"),
    "title": ("rouge1", "meteor", "meteor_no_wordnet"),
    "rating": ("mae", "rmse"),
}
SHARES = frozenset({"parsed", "reasoned", "copied"})
HIGHER_IS_BETTER = frozenset(LABELS) - LOWER_IS_BETTER - {"copied", "words", "reasoned"}
CHANCE = {"personalization": 0.5, "style_match": 0.5}
NUM_COLOURS = 10

SECTIONS = {
    "results": "Results",
    "differences": "Differences",
    "sparsity": "Sparsity",
    "synthetic": "Predicted & synthetic",
    "cost": "Cost",
    "examples": "Examples",
    "terms": "Terms",
}
TERMS = (
    ("ROUGE-1, ROUGE-L", "F-measure of shared words, and of the longest common subsequence of words; rouge-score’s default tokenizer, no stemming."),
    ("ROUGE … Unicode", "The same with a tokenizer that keeps words of any script whole; the one to read for languages other than English."),
    ("METEOR", "Matches of words, stems and (where WordNet is installed) synonyms, with a penalty for scattered matches."),
    (
        "Personalization",
        "Share of other people’s texts about the same item that the written text resembles less than the user’s own, by characters. 50 % is chance: "
        "a text that anyone could have written.",
    ),
    ("Style match", "The same, by habits of writing alone: function words, punctuation, lengths, capitals."),
    ("Copied", "Share of the text’s 8-word sequences that stand in a real review of its prompt."),
    ("Parsed", "Share of answers in the expected format. Others are scored on what can be read of them, never dropped."),
    ("MAE, RMSE", "Mean absolute error and root mean squared error in stars."),
    ("Interval", "Percentile bootstrap; whole items are drawn with replacement, since reviews of one item are alike."),
    ("Synthetic review", "A review that the model wrote in the user’s stead about an item that the link predictor expects the user to meet."),
)


@dataclass(frozen=True)
class Evidence:
    """What the page shows besides the numbers."""

    examples: Sequence[Example]
    tables: Tables
    pool: ReviewPool
    tasks: tuple[Task, ...]
    answers: Mapping[str, Answers]
    synthetic: Mapping[str, Mapping[str, Sequence[SyntheticReview]]]
    candidates: pd.DataFrame | None
    prediction: Mapping[str, Any] | None
    scores: Scores


def render_report(metrics: Mapping[str, Any], evidence: Evidence, *, max_examples: int) -> str:
    """The page, below `MAX_BYTES` where the texts of the browser can be cut to that."""
    view = _view(metrics, evidence)
    for clip in (1200, 700, 400, 250, 150):
        examples = browse_examples(evidence, _series(metrics), max_examples, clip=clip)
        page = _template().render(view, examples=examples, sections=[(name, title) for name, title in SECTIONS.items() if _has(name, view, examples)])
        if len(page.encode("utf-8")) <= MAX_BYTES:
            break
    return page


def _template() -> jinja2.Template:
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    return environment.from_string(_resource("report.html.jinja"))


def _resource(name: str) -> str:
    return files("grasper.evaluate").joinpath(name).read_text(encoding="utf-8")


def _has(section: str, view: Mapping[str, Any], examples: Sequence[Any]) -> bool:
    if section == "synthetic":
        return bool(view["predicted_facts"] or view["predicted_table"] or view["synthetic_rows"])
    return section != "examples" or bool(examples)


def _series(metrics: Mapping[str, Any]) -> dict[str, int]:
    """The colour of each method, the same in every plot."""
    return {method: place % NUM_COLOURS for place, method in enumerate(metrics["methods"])}


def _view(metrics: Mapping[str, Any], evidence: Evidence) -> dict[str, Any]:
    script = _resource("report.js")
    series = _series(metrics)
    confidence = f"{metrics['bootstrap']['confidence']:.0%}".replace("%", " %")
    data = metrics["sparsity"]["data"]
    pairs = [_pair_row(pair) for pair in metrics["comparison"]["pairs"]]
    return {
        "metrics": metrics,
        "style": Markup(_resource("report.css")),
        "script": Markup(script),
        "script_hash": "sha256-" + base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii"),
        "confidence": confidence,
        "methods": [{"name": method, "series": colour} for method, colour in series.items()],
        "facts": _facts(metrics, data),
        "tasks": [block for task in evidence.tasks if (block := _task_block(task, metrics["methods"], series))],
        "num_repeated": metrics["n_examples"] - metrics["without_repeated"]["n_examples"],
        "full_tables": _full_tables(metrics, evidence.tasks, series),
        "forest": _forest(metrics, series),
        "pairs": pairs,
        "sparsity_bars": _sparsity_bars(metrics),
        "sparsity_plots": _sparsity_plots(metrics, evidence.tasks, series),
        "predicted_facts": _predicted_facts(metrics),
        "predicted_table": _predicted_table(evidence.prediction),
        "synthetic_rows": [_synthetic_row(method, entry, series[method]) for method, entry in metrics["synthetic"].items()],
        "cost_table": _cost_table(metrics, series),
        "cost_plot": _cost_plot(metrics, series),
        "levels": LEVELS,
        "terms": TERMS,
    }


def _facts(metrics: Mapping[str, Any], data: Mapping[str, Any]) -> list[tuple[str, str]]:
    zero = metrics["sparsity"]["n_examples"][LEVELS[0]]
    return [
        ("targets", f"{metrics['n_examples']:,}"),
        ("targets without history", f"{zero / max(metrics['n_examples'], 1):.0%}"),
        ("users", f"{data['users']:,}"),
        ("items", f"{data['items']:,}"),
        ("reviews", f"{data['reviews']:,}"),
        ("density", f"{data['density']:.2%}"),
        ("bootstrap draws", f"{metrics['bootstrap']['samples']:,}"),
    ]


# ---- results -----------------------------------------------------------------------------------------------------------------------


def _task_block(task: Task, methods: Mapping[str, Any], series: Mapping[str, int]) -> dict[str, Any] | None:
    rows = {method: tasks[task] for method, tasks in methods.items() if task in tasks}
    if not rows:
        return None
    title, hint = TASK_TITLES[task]
    count = max(entry["n"] for metrics in rows.values() for entry in metrics.values())
    plots = [_metric_plot(metric, rows, series) for metric in PLOTTED[task] if any(metric in row for row in rows.values())]
    return {"title": title, "hint": f"{hint} · n = {count}", "table": _table(title, MAIN_METRICS[task], rows, series), "plots": plots}


def _table(caption: str, wanted: Iterable[str], rows: Mapping[str, Mapping[str, Any]], series: Mapping[str, int]) -> dict[str, Any]:
    """A results table: the chosen metrics that exist, best values marked."""
    metrics = [metric for metric in wanted if any(metric in row for row in rows.values())]
    best = {metric: _best(metric, [row[metric]["value"] for row in rows.values() if metric in row]) for metric in metrics}
    return {
        "caption": caption,
        "first": "method",
        "columns": [LABELS.get(metric, metric) for metric in metrics],
        "rows": [
            {"name": method, "series": series[method], "cells": [_cell(metric, row.get(metric), best[metric]) for metric in metrics]}
            for method, row in rows.items()
        ],
    }


def _best(metric: str, values: Sequence[float]) -> float | None:
    if len(values) < 2 or metric not in LOWER_IS_BETTER | HIGHER_IS_BETTER:
        return None
    return min(values) if metric in LOWER_IS_BETTER else max(values)


def _cell(metric: str, entry: Mapping[str, float] | None, best: float | None) -> dict[str, Any]:
    if entry is None:
        return {"value": "", "range": "", "is_best": False}
    value, low, high = (_format(metric, entry[part]) for part in ("value", "low", "high"))
    return {"value": value, "range": f"{low} – {high}", "is_best": best is not None and entry["value"] == best}


def _format(metric: str, value: float) -> str:
    if metric in SHARES:
        return f"{value:.1%}"
    return f"{value:.1f}" if metric == "words" else f"{value:.3f}"


def _metric_plot(metric: str, rows: Mapping[str, Mapping[str, Any]], series: Mapping[str, int]) -> dict[str, Any]:
    best = _best(metric, [row[metric]["value"] for row in rows.values() if metric in row])
    points = [_point(method, row[metric], series[method], best) for method, row in rows.items() if metric in row]
    hint = "lower is better" if metric in LOWER_IS_BETTER else "dashed: chance" if metric in CHANCE else ""
    return {"title": LABELS[metric], "hint": hint, "svg": dot_plot(LABELS[metric], points, reference=CHANCE.get(metric))}


def _point(label: str, entry: Mapping[str, float], colour: int, best: float | None = None) -> Point:
    return Point(label, entry["value"], entry["low"], entry["high"], colour, best is not None and entry["value"] == best)


def _full_tables(metrics: Mapping[str, Any], tasks: Sequence[Task], series: Mapping[str, int]) -> list[dict[str, Any]]:
    tables = []
    for task in tasks:
        for part, methods in (("all targets", metrics["methods"]), ("without repeated targets", metrics["without_repeated"]["methods"])):
            if rows := {method: entries[task] for method, entries in methods.items() if task in entries}:
                tables.append(_table(f"{TASK_TITLES[task][0]}, {part}", LABELS, rows, series))
    return tables


# ---- differences -------------------------------------------------------------------------------------------------------------------


def _forest(metrics: Mapping[str, Any], series: Mapping[str, int]) -> list[dict[str, Any]]:
    baseline = metrics["comparison"]["baseline"]
    groups: dict[tuple[Task, str], list[Point]] = {}
    for pair in metrics["comparison"]["pairs"]:
        if pair["other"] == baseline and pair["metric"] in PLOTTED[pair["task"]]:
            point = Point(pair["method"], pair["difference"], pair["low"], pair["high"], series[pair["method"]])
            groups.setdefault((pair["task"], pair["metric"]), []).append(point)
    plots = []
    for (task, metric), points in groups.items():
        title = f"{LABELS[metric]} · {TASK_TITLES[task][0].lower()}"
        hint = "lower is better" if metric in LOWER_IS_BETTER else ""
        plots.append({"title": title, "hint": hint, "svg": dot_plot(f"Difference of {title} from {baseline}", points, reference=0.0, signed=True)})
    return plots


def _pair_row(pair: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "method": pair["method"],
        "other": pair["other"],
        "task": pair["task"],
        "metric": LABELS[pair["metric"]],
        "difference": _signed(pair["difference"]),
        "range": f"{_signed(pair['low'])} to {_signed(pair['high'])}",
        "is_clear": pair["low"] > 0 or pair["high"] < 0,
        "p": f"{pair['p']:.3f}",
        "wins": f"{pair['wins']:.0%}",
        "ties": f"{pair['ties']:.0%}",
        "n": pair["n"],
    }


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−")


# ---- sparsity ----------------------------------------------------------------------------------------------------------------------


def _sparsity_bars(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    counts, total = metrics["sparsity"]["n_examples"], max(metrics["n_examples"], 1)
    targets = [(level, counts[level] / total, f"{counts[level]:,} ({counts[level] / total:.0%})") for level in LEVELS]
    bars = [{"title": "Targets", "hint": "by own reviews", "svg": bar_plot("Targets by own reviews", targets)}]
    for kind in ("user", "item"):
        shares = metrics["sparsity"]["data"][f"{kind}_shares"]
        rows = [(level, share, f"{share:.1%}") for level, share in shares.items()]
        bars.append({"title": f"{kind.title()}s of the data set", "hint": "by reviews", "svg": bar_plot(f"{kind.title()}s by reviews", rows)})
    return bars


def _sparsity_plots(metrics: Mapping[str, Any], tasks: Sequence[Task], series: Mapping[str, int]) -> list[dict[str, Any]]:
    levels = [level for level in LEVELS if metrics["sparsity"]["n_examples"][level]]
    by_method = metrics["sparsity"]["methods"]
    plots = []
    for task in tasks:
        for metric in PLOTTED[task][:1] + (("personalization",) if task == "long" else ()):
            lines = []
            for method, entries in by_method.items():
                row = entries.get(task, {}).get(metric, {})
                if row:
                    lines.append((series[method], method, [_point(method, row[level], series[method]) if level in row else None for level in levels]))
            if lines:
                title = f"{LABELS[metric]} · {TASK_TITLES[task][0].lower()}"
                hint = "lower is better" if metric in LOWER_IS_BETTER else "dashed: chance" if metric in CHANCE else ""
                plots.append({"title": title, "hint": hint, "svg": level_plot(title, levels, lines, reference=CHANCE.get(metric))})
    return plots


# ---- predicted items and synthetic reviews -----------------------------------------------------------------------------------------


def _predicted_facts(metrics: Mapping[str, Any]) -> str:
    predicted = metrics.get("predicted")
    if not predicted:
        return ""
    text = f"{predicted['per_example']:.1f} items predicted per target."
    if predicted["recall"] is not None:
        text += (
            f" Of {predicted['known']:,} items that these users are known to have reviewed out of sight, {predicted['recall']:.1%} are among them."
        )
    return text


def _predicted_table(prediction: Mapping[str, Any] | None) -> dict[str, Any] | None:
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


def _synthetic_row(method: str, entry: Mapping[str, Any], colour: int) -> dict[str, Any]:
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


def _cost_table(metrics: Mapping[str, Any], series: Mapping[str, int]) -> dict[str, Any]:
    shares = ("parsed", "reasoned", "copied", "words")
    rows = []
    for method, cost in metrics["cost"].items():
        cells = [_plain("–" if cost["seconds"] is None else f"{cost['seconds']:,.1f}"), _plain(_per_target(cost["seconds"], metrics["n_examples"]))]
        cells.append(_plain(f"{cost['align_seconds']:,.1f}" if cost.get("align_seconds") else "–"))
        cells += [_plain(f"{cost[name]:,.0f}") for name in ("tokens_in", "tokens_out")]
        entries = metrics["methods"][method]
        cells.append(_plain(_mean_share(entries, "parsed")))
        long = entries.get("long", {})
        cells += [_plain(_format(name, long[name]["value"]) if name in long else "–") for name in shares[1:]]
        rows.append({"name": method, "series": series[method], "cells": cells})
    columns = ["seconds", "per target", "alignment", "tokens in", "tokens out", "parsed", "with reasoning", "copied", "words"]
    return {"caption": "Cost", "first": "method", "columns": columns, "rows": rows}


def _plain(value: str) -> dict[str, Any]:
    return {"value": value, "range": "", "is_best": False}


def _per_target(seconds: float | None, count: int) -> str:
    if seconds is None or not count:
        return "–"
    each = seconds / count
    return f"{each:.2f} s" if each >= 0.1 else f"{each:.2g} s"


def _mean_share(entries: Mapping[str, Any], name: str) -> str:
    """A share over all answers of all tasks."""
    found = [entry[name] for entry in entries.values() if name in entry]
    total = sum(entry["n"] for entry in found)
    return f"{sum(entry['value'] * entry['n'] for entry in found) / total:.1%}" if total else "–"


def _cost_plot(metrics: Mapping[str, Any], series: Mapping[str, int]) -> dict[str, Any] | None:
    points = []
    for method, cost in metrics["cost"].items():
        entry = metrics["methods"][method].get("long", {}).get("rouge1")
        if entry and cost["seconds"]:
            points.append((cost["seconds"] / metrics["n_examples"], _point(method, entry, series[method])))
    if len(points) < 2:
        return None
    return {"title": "ROUGE-1 of the review text over time", "hint": "up and left is better", "svg": cost_plot("Quality over cost", points)}
