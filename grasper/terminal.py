"""What the commands print: statistics, results, one user's story, and the checks of `doctor`."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from grasper.config import Config
from grasper.errors import GrasperError
from grasper.runs import read_json

if TYPE_CHECKING:
    from grasper.api import LoadedRun
    from grasper.records import Review, SyntheticReview

_METRICS = {"long": ("rouge1", "rougeL", "meteor"), "title": ("rouge1", "rougeL", "meteor"), "rating": ("mae", "rmse")}


def _console() -> Console:
    """A console that does not squeeze tables when the output goes into a file."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=140)


def print_statistics(prepare_dir: Path) -> None:
    """The statistics of the prepared data as a table."""
    from grasper.prepare.statistics import render

    _console().print(render(read_json(prepare_dir / "statistics.json")))


def print_metrics(evaluate_dir: Path) -> None:
    """The results table: one row per method, value and 95 % interval per metric."""
    metrics = read_json(evaluate_dir / "metrics.json")
    console = _console()
    for task, names in _METRICS.items():
        rows = {method: tasks[task] for method, tasks in metrics["methods"].items() if task in tasks}
        if not rows:
            continue
        present = [found for name in names for found in (name, f"{name}_no_wordnet") if any(found in row for row in rows.values())]
        count = max(entry["n"] for row in rows.values() for name, entry in row.items() if name in present)
        table = Table(title=f"{task} · {metrics['dataset']} · {metrics['split']} · n = {count}", title_justify="left")
        table.add_column("method")
        for name in present:
            table.add_column(name, justify="right")
        for method, row in rows.items():
            table.add_row(method, *(_cell(row.get(name)) for name in present))
        console.print(table)
    table = Table(title="cost", title_justify="left")
    for column in ("method", "seconds", "tokens in", "tokens out"):
        table.add_column(column, justify="left" if column == "method" else "right")
    for method, cost in metrics["cost"].items():
        table.add_row(method, f"{cost['seconds']:.1f}", f"{cost['tokens_in']:,.0f}", f"{cost['tokens_out']:,.0f}")
    console.print(table)


def _cell(entry: dict[str, float | None] | None) -> str:
    if entry is None:
        return "–"
    return f"{entry['value']:.3f}" if entry["low"] is None else f"{entry['value']:.3f} [{entry['low']:.3f}, {entry['high']:.3f}]"


def print_user(loaded: LoadedRun, user_id: str) -> None:
    """A user's history, predicted items, synthetic reviews and texts of every method, then the references."""
    user_id = loaded.asker.known_user(user_id)
    console, tables = _console(), loaded.tables
    examples = tables.examples
    targets = examples[(examples["user_id"] == user_id) & ~examples["split"].isin(["align", "held-out"])]
    hidden, wanted = set(targets["review_id"]), set(targets["example_id"])
    own = [review for review in tables.reviews_by_id.values() if review.user_id == user_id]
    names = {item_id: name for item_id, name in loaded.names.items() if isinstance(name, str)}

    def say(kind: str, text: str) -> None:
        console.print(f"  {kind:<10} {escape(text)}")

    def review_line(review: Review | SyntheticReview, item_id: str) -> str:
        rating = f"[{review.rating:g}] " if review.rating is not None else ""
        return f"{rating}{review.title or ''} | {review.text}  ({names.get(item_id, item_id)})"

    console.print(f"[bold]{escape(user_id)}[/bold]: {len(own) - len(hidden)} visible reviews, {len(targets)} targets")
    for review in own:
        if review.review_id not in hidden:
            say("real", review_line(review, review.item_id))
    if loaded.run.manifest(loaded.run.folder("predict")):
        candidates = loaded.candidates()
        candidates = candidates[candidates["example_id"].isin(wanted)]
        for item_id, rank, score in zip(candidates["item_id"], candidates["rank"], candidates["score"], strict=True):
            say("predicted", f"{rank:2d}. {names.get(item_id, item_id)}  score {score:.3f}")
    for method in loaded.methods():
        written = [output for output in loaded.outputs(method) if output.example_id in wanted]
        if not written:
            continue
        console.print(f"[bold]{method}[/bold]")
        for entry in loaded.synthetic(method):
            if entry.example_id in wanted:
                gate = f"  — rejected: {entry.rejected}" if entry.rejected else ""
                say("synthetic", review_line(entry, entry.item.item_id) + gate)
        for output in written:
            if output.path:
                say("reasoning", " / ".join(output.path.splitlines()))
            say(output.task, output.text if output.text is not None else str(output.rating))
    console.print("[bold]reference[/bold]")
    for review_id in targets["review_id"]:
        target = tables.reviews_by_id[review_id]
        say("real", review_line(target, target.item_id))


def print_checks(config: Config) -> bool:
    """One line per check of the installation, the model and the data; whether all went well."""
    checks: list[tuple[str, Callable[[], str]]] = [
        ("packages", _check_packages),
        ("METEOR's WordNet", _check_wordnet),
        ("language model", lambda: _check_model(config)),
        ("data", lambda: _check_data(config)),
        ("device", _check_device),
    ]
    console, is_fine = _console(), True
    for name, check in checks:
        try:
            console.print(f"ok    {name}: {escape(check())}")
        except (GrasperError, ImportError) as error:
            is_fine = False
            console.print(f"FAIL  {name}: {escape(str(error))}")
    return is_fine


def _check_packages() -> str:
    from grasper.runs import versions

    for module in ("torch", "torch_geometric", "transformers", "peft", "accelerate", "networkx", "pandas", "sklearn", "rouge_score"):
        importlib.import_module(module)
    return ", ".join(f"{name} {version}" for name, version in versions().items())


def _check_wordnet() -> str:
    from grasper.metrics.text import meteor_name

    advice = "not found; METEOR runs without synonyms and is named meteor_no_wordnet (set NLTK_DATA to a folder with corpora/wordnet.zip)"
    return "found" if meteor_name() == "meteor" else advice


def _check_model(config: Config) -> str:
    from grasper.models import open_model
    from grasper.models.base import Message, Prompt

    if config.model.kind == "endpoint" and not os.environ.get(config.model.api_key_env):
        key = f"; {config.model.api_key_env} is not set"
    else:
        key = ""
    model = open_model(config.model)
    completion: Any = model.generate([Prompt((Message("user", "Task: write the review title."),))], max_new_tokens=8, temperature=0.0)[0][0]
    return f"{model.name} answers ({completion.tokens_out} tokens), context {model.context_tokens}{key}"


def _check_data(config: Config) -> str:
    from grasper.prepare import check_data

    return check_data(config.prepare, seed=config.seed)


def _check_device() -> str:
    import torch

    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads"
