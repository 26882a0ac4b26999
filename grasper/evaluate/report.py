"""One self-contained HTML page: results, plots, and a browser of examples. No external resource, no framework.

Reviews, ids and completions are untrusted: everything goes through Jinja's autoescape or the plots' own escaping, and the page's content
security policy allows no script but the one of this package.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import jinja2
from markupsafe import Markup

from grasper.evaluate.blocks import (
    behaviour_table,
    cost_table,
    forest,
    full_tables,
    known_pairs,
    pair_row,
    predicted_facts,
    predicted_table,
    quality_over_cost,
    sparsity_bars,
    sparsity_plots,
    swap_table,
    synthetic_row,
    task_block,
)
from grasper.evaluate.browser import browse_examples
from grasper.evaluate.report_data import ReportData
from grasper.evaluate.sparsity import LEVELS
from grasper.evaluate.tables import warnings_of
from grasper.metrics.choose import metric_of

MAX_BYTES = 1_400_000
"""Size that the page stays below; texts of the browser are cut shorter until it does."""

MAX_PAIRS = 1000
"""Rows of comparisons that a page which is too large keeps."""

NUM_COLOURS = 10

SECTIONS = {
    "results": "Results",
    "differences": "Differences",
    "sparsity": "Sparsity",
    "synthetic": "Predicted & synthetic",
    "cost": "Cost",
    "provenance": "Provenance",
    "examples": "Examples",
    "terms": "Terms",
}
TERMS = (
    (
        "Interval",
        "Expanded percentiles of a bootstrap, which hold for few items, too; whole items are drawn, since reviews of one item are alike.",
    ),
    ("Synthetic review", "A review that the model wrote in the user’s stead about an item that the link predictor expects the user to meet."),
)


def render_report(metrics: Mapping[str, Any], data: ReportData, *, max_examples: int) -> str:
    """The page, below `MAX_BYTES`: where it would be larger, texts are cut shorter, then examples and the rarer comparisons are left out."""
    view = _view(metrics, data)
    clips = [*((clip, max_examples) for clip in (1200, 700, 400, 250, 150)), *((150, max_examples // share) for share in (2, 4, 16))]
    for clip, count in clips:
        examples = browse_examples(data, _series(metrics), count, clip=clip)
        page = _render(view, examples)
        if len(page.encode("utf-8")) <= MAX_BYTES:
            return page
    baseline = metrics["comparison"]["baseline"]
    return _render(view | {"pairs": [pair for pair in view["pairs"] if pair["other"] == baseline][:MAX_PAIRS]}, examples)


def _render(view: Mapping[str, Any], examples: Sequence[Any]) -> str:
    sections = [(name, title) for name, title in SECTIONS.items() if _has(name, view, examples)]
    return _template().render(view, examples=examples, sections=sections)


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    return environment.from_string(_resource("report.html.jinja"))


def _resource(name: str) -> str:
    return files("grasper.evaluate").joinpath(name).read_text(encoding="utf-8")


def _has(section: str, view: Mapping[str, Any], examples: Sequence[Any]) -> bool:
    if section == "synthetic":
        return bool(view["predicted_facts"] or view["predicted_table"] or view["synthetic_rows"])
    if section == "provenance":
        return bool(view["provenance"])
    return section != "examples" or bool(examples)


def _series(metrics: Mapping[str, Any]) -> dict[str, int]:
    """The colour of each method, the same in every plot."""
    return {method: place % NUM_COLOURS for place, method in enumerate(metrics["methods"])}


def _view(metrics: Mapping[str, Any], data: ReportData) -> dict[str, Any]:
    script = _resource("report.js")
    series = _series(metrics)
    confidence = f"{100 * metrics['bootstrap']['confidence']:g}\N{NO-BREAK SPACE}%"
    pairs = [pair_row(pair) for pair in known_pairs(metrics) if metric_of(pair["metric"]).shown != "detail"]
    return {
        "metrics": metrics,
        "style": Markup(_resource("report.css")),
        "script": Markup(script),
        "script_hash": "sha256-" + base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii"),
        "confidence": confidence,
        "methods": [{"name": method, "series": colour} for method, colour in series.items()],
        "facts": _facts(metrics),
        "tasks": [block for task in data.tasks if (block := task_block(task, metrics, series))],
        "num_repeated": metrics["n_examples"] - metrics["without_repeated"]["n_examples"],
        "full_tables": full_tables(metrics, data.tasks, series),
        "forest": forest(metrics, series),
        "pairs": pairs,
        "sparsity_bars": sparsity_bars(metrics),
        "sparsity_plots": sparsity_plots(metrics, data.tasks, series),
        "predicted_facts": predicted_facts(metrics),
        "predicted_table": predicted_table(data.prediction),
        "synthetic_rows": [synthetic_row(method, entry, series[method]) for method, entry in metrics["synthetic"].items()],
        "swap_table": swap_table(metrics, series),
        "cost_table": cost_table(metrics, series),
        "behaviour_table": behaviour_table(metrics, series),
        "cost_plot": quality_over_cost(metrics, series),
        "levels": LEVELS,
        "terms": [*_terms(metrics), *TERMS],
        "warnings": warnings_of(metrics),
        "tokenization": _tokenization(metrics),
        "provenance": _provenance(metrics["provenance"], metrics.get("judge", "")),
        "settings": [(name, _shown(value)) for name, value in (metrics["provenance"].get("settings") or {}).items()],
    }


def _facts(metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
    data = metrics["sparsity"]["data"]
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


def _terms(metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What each metric says; metrics that share a sentence share an entry."""
    meanings: dict[str, list[str]] = {}
    for name in metrics["metrics"]:
        if (metric := metric_of(name)).meaning:
            meanings.setdefault(metric.meaning, []).append(metric.label)
    return [(", ".join(labels), meaning) for meaning, labels in meanings.items()]


def _tokenization(metrics: Mapping[str, Any]) -> str:
    """A sentence where not all references could be compared as published."""
    others = {task: counts["unicode"] for task, counts in metrics["tokenization"].items() if counts["unicode"]}
    if not others:
        return ""
    which = ", ".join(f"{count:,} of {sum(metrics['tokenization'][task].values()):,} ({task})" for task, count in others.items())
    return f"The published tokenizers know Latin letters only; {which} references are compared by words, or characters, of any script."


def _provenance(facts: Mapping[str, Any], judge: str) -> list[tuple[str, str]]:
    """What the outputs were made with, in words."""
    if not facts:
        return []
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    finished = " – ".join(dict.fromkeys(moment.replace("T", " ").removesuffix("Z") + " UTC" for moment in facts["finished"]))
    limit = "all targets" if facts["limit"] is None else f"at most {facts['limit']:,} targets"
    rows = [("model", facts["model"]), ("judge", judge), ("seed", str(facts["seed"])), ("targets", f"{facts['split']}, {limit}"), ("made", finished)]
    rows += [("commit", ", ".join(facts["commits"])), ("versions", versions)]
    return [(name, value) for name, value in rows if value]


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 200 else text[:199] + "…"
