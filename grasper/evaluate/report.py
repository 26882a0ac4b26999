"""One self-contained HTML page: results, plots, and a browser of examples. No external resource, no framework.

Reviews, ids and completions are untrusted: everything goes through Jinja's autoescape or the plots' own escaping, and the page's content
security policy allows no script but the one of this package.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup

from grasper.evaluate.blocks import (
    cost_table,
    forest,
    full_tables,
    pair_row,
    predicted_facts,
    predicted_table,
    quality_over_cost,
    sparsity_bars,
    sparsity_plots,
    synthetic_row,
    task_block,
)
from grasper.evaluate.browser import browse_examples
from grasper.evaluate.score import Answers, Scores
from grasper.evaluate.sparsity import LEVELS
from grasper.records import Example, SyntheticReview, Tables, Task
from grasper.retrieve.pool import ReviewPool

MAX_BYTES = 1_400_000
"""Size that the page stays below; texts of the browser are cut shorter until it does."""

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
    pairs = [pair_row(pair) for pair in metrics["comparison"]["pairs"]]
    return {
        "metrics": metrics,
        "style": Markup(_resource("report.css")),
        "script": Markup(script),
        "script_hash": "sha256-" + base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii"),
        "confidence": confidence,
        "methods": [{"name": method, "series": colour} for method, colour in series.items()],
        "facts": _facts(metrics, data),
        "tasks": [block for task in evidence.tasks if (block := task_block(task, metrics["methods"], series))],
        "num_repeated": metrics["n_examples"] - metrics["without_repeated"]["n_examples"],
        "full_tables": full_tables(metrics, evidence.tasks, series),
        "forest": forest(metrics, series),
        "pairs": pairs,
        "sparsity_bars": sparsity_bars(metrics),
        "sparsity_plots": sparsity_plots(metrics, evidence.tasks, series),
        "predicted_facts": predicted_facts(metrics),
        "predicted_table": predicted_table(evidence.prediction),
        "synthetic_rows": [synthetic_row(method, entry, series[method]) for method, entry in metrics["synthetic"].items()],
        "cost_table": cost_table(metrics, series),
        "cost_plot": quality_over_cost(metrics, series),
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
