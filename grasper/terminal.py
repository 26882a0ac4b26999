"""What the commands print: statistics, models, results, and one user's story."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from grasper.errors import RunMismatchError
from grasper.files import read_json
from grasper.runs import read_manifest

if TYPE_CHECKING:
    from grasper.api import LoadedRun
    from grasper.evaluate.tables import ResultTable
    from grasper.metrics.metric import Metric
    from grasper.models.catalogue import Entry
    from grasper.models.measure import Speed
    from grasper.records import Review, SyntheticReview

_CELL_PADDING = 3


def plain_console() -> Console:
    """A console that takes what it prints literally, and does not squeeze tables when the output goes into a file."""
    console = Console(highlight=False, markup=False, emoji=False)
    return console if console.is_terminal else Console(highlight=False, markup=False, emoji=False, width=140)


def print_statistics(prepare_dir: Path) -> None:
    """The statistics of the prepared data as a table."""
    from grasper.prepare.statistics import render

    plain_console().print(render(read_json(prepare_dir / "statistics.json")))


def print_models(entries: Sequence[Entry], speeds: Mapping[str, Speed]) -> None:
    """The models that can be had as a table; with speeds, also tokens per second of reading and writing."""
    table = Table(title="language models (model.name)", title_justify="left")
    for column in ("name", "state", "disk MB", "memory MB", *(("reads/s", "writes/s") if speeds else ()), "licence", "what it is"):
        table.add_column(column, justify="right" if column[-1] in "Bs" and column != "what it is" else "left")
    for entry in entries:
        sizes = ("-" if size is None else f"{size / 1e6:.0f}" for size in (entry.num_bytes, entry.memory_bytes))
        speed = speeds.get(entry.name)
        rates = ((f"{speed.reading:.0f}", f"{speed.writing:.0f}") if speed else ("-", "-")) if speeds else ()
        table.add_row(*map(Text, (entry.name, entry.state, *sizes, *rates, entry.licence, entry.description)))
    plain_console().print(table)


def print_metrics(evaluate_dir: Path) -> None:
    """The results: a table per task with as many main metrics as the terminal is wide, the cost, and what should be read with care."""
    from grasper.evaluate.tables import result_tables

    results = read_json(evaluate_dir / "metrics.json")
    console = plain_console()
    for table in result_tables(results):
        console.print(_results(table, console.width))
    if results.get("swap"):
        console.print(_swaps(results["swap"]))
    console.print(_costs(results["cost"]))
    _warn(console, results)


def print_bits(found: Mapping[str, Any], dataset: str, split: str) -> None:
    """Bits per byte by method and task, each beside its difference from the baseline, and what the right evidence saves."""
    console = plain_console()
    baseline = found["baseline"]
    tasks = list(dict.fromkeys(task for entries in found["methods"].values() for task in entries))
    differences = {(pair["method"], pair["task"]): pair for pair in found["pairs"] if pair["metric"] == "bits"}
    for task in tasks:
        count = max(entries[task]["bits"]["n"] for entries in found["methods"].values() if task in entries)
        table = Table(title=f"bits per byte, {task} · {dataset} · {split} · n = {count}", title_justify="left")
        table.add_column("method", overflow="fold")
        for column in ("bits", f"minus {baseline}"):
            table.add_column(column, justify="right", no_wrap=True)
        for method, entries in found["methods"].items():
            if task in entries:
                table.add_row(method, _bounded(entries[task]["bits"]), _bounded(differences.get((method, task)), "difference", "+.3f"))
        console.print(table)
    if found["swap"]:
        console.print(_swaps(found["swap"]))
    _warn(console, found)


def _warn(console: Console, results: Mapping[str, Any]) -> None:
    from grasper.evaluate.tables import warnings_of

    for warning in warnings_of(results):
        console.print(f"warning: {warning}", style="yellow")


def _bounded(entry: Mapping[str, Any] | None, name: str = "value", form: str = ".3f") -> str:
    """A number with its interval; a dash where there is none."""
    if entry is None:
        return "–"
    bounds = "" if entry["low"] is None else f" [{entry['low']:{form}}, {entry['high']:{form}}]"
    return f"{entry[name]:{form}}{bounds}"


def _results(table: ResultTable, width: int) -> Table:
    """Value and interval in one line where they fit, else the interval below its value; metrics that do not fit at all are named."""
    names = [*table.rows, *table.failed]
    room = width - max(map(len, [*names, "method"])) - _CELL_PADDING - 1
    is_wide = len(table.metrics) * (len("0.000 [0.000, 0.000]") + _CELL_PADDING) <= room
    joint, cell = (" ", len("0.000 [0.000, 0.000]")) if is_wide else ("\n", len("[0.000, 0.000]"))
    shown: list[Metric] = []
    left_out: list[Metric] = []
    for metric in table.metrics:
        room -= max(cell, len(metric.label)) + _CELL_PADDING
        (shown if room >= 0 or not shown else left_out).append(metric)
    caption = f"not shown here: {', '.join(metric.label for metric in left_out)}" if left_out else None
    rich = Table(title=f"{table.task} · {table.dataset} · {table.split} · n = {table.count}", title_justify="left", caption=caption)
    rich.add_column("method", no_wrap=True)
    for metric in shown:
        rich.add_column(metric.label, justify="right", no_wrap=True)
    for method, row in table.rows.items():
        rich.add_row(method, *(_cell(metric, row.get(metric.name), joint, is_best=(method, metric.name) in table.clearly_best) for metric in shown))
    for method, reason in table.failed.items():
        rich.add_row(method, Text(reason.partition(":")[0], style="yellow"))
    return rich


def _cell(metric: Metric, entry: Mapping[str, Any] | None, joint: str, *, is_best: bool) -> Text:
    if entry is None:
        return Text("–")
    text = Text(metric.format(entry["value"]), style="bold" if is_best else "")
    if entry["low"] is not None:
        text.append(f"{joint}[{metric.format(entry['low'])}, {metric.format(entry['high'])}]", style="not bold dim")
    return text


def _swaps(found: Mapping[str, Mapping[str, Mapping[str, Mapping[str, Any]]]]) -> Table:
    table = Table(title="swap test: bits of the real answer that the right evidence saves against the wrong one", title_justify="left")
    columns = list(dict.fromkeys(evidence for tasks in found.values() for entries in tasks.values() for evidence in entries))
    for column in ("method", "task", *columns):
        table.add_column(column, justify="right" if column in columns else "left", no_wrap=True)
    for method, tasks in found.items():
        for task, entries in tasks.items():
            table.add_row(method, task, *(_bounded(entries.get(column), form="+.1%") for column in columns))
    return table


def _costs(cost: Mapping[str, Mapping[str, Any]]) -> Table:
    table = Table(title="cost", title_justify="left", caption="alignment: tokens sampled for it; methods that share an adapter show them all")
    table.add_column("method", overflow="fold")
    for column in ("seconds", "tokens in", "tokens out", "alignment"):
        table.add_column(column, justify="right", no_wrap=True)
    for method, spent in cost.items():
        seconds = "–" if spent["seconds"] is None else f"{spent['seconds']:,.1f}"
        aligned = (spent.get("align_tokens_in") or 0) + (spent.get("align_tokens_out") or 0)
        table.add_row(method, seconds, f"{spent['tokens_in']:,.0f}", f"{spent['tokens_out']:,.0f}", f"{aligned:,.0f}" if aligned else "–")
    return table


_USERS_ARE_LISTED = "whoever wrote a review is listed in prepare/reviews.parquet"


def print_user(loaded: LoadedRun, user_id: str) -> None:
    """A user's history, predicted items, synthetic reviews and texts of every method, then the references."""
    user_id = loaded.asker.known_user(user_id, advice=_USERS_ARE_LISTED)
    console, tables = plain_console(), loaded.tables
    examples = tables.examples
    targets = examples[(examples["user_id"] == user_id) & ~examples["split"].isin(["align", "held-out"])]
    hidden, wanted = set(targets["review_id"]), set(targets["example_id"])
    own = [review for review in tables.reviews_by_id.values() if review.user_id == user_id]
    names = {item_id: name for item_id, name in loaded.names.items() if isinstance(name, str)}

    def say(kind: str, text: str) -> None:
        console.print(f"  {kind:<10} {text}")

    def review_line(review: Review | SyntheticReview, item_id: str) -> str:
        rating = f"[{review.rating:g}] " if review.rating is not None else ""
        return f"{rating}{review.title or ''} | {review.text}  ({names.get(item_id, item_id)})"

    console.print(f"{user_id}: {len(own) - len(hidden)} visible reviews, {len(targets)} targets", style="bold")
    for review in own:
        if review.review_id not in hidden:
            say("real", review_line(review, review.item_id))
    if read_manifest(loaded.run.folder("predict")):
        candidates = loaded.candidates()
        candidates = candidates[candidates["example_id"].isin(wanted)]
        for item_id, rank, score in zip(candidates["item_id"], candidates["rank"], candidates["score"], strict=True):
            say("predicted", f"{rank:2d}. {names.get(item_id, item_id)}  score {score:.3f}")
    for method in loaded.methods():
        try:
            written = [output for output in loaded.outputs(method) if output.example_id in wanted]
        except RunMismatchError as error:
            console.print(f"{method}: not shown; {error}", style="yellow")
            continue
        if not written:
            continue
        console.print(method, style="bold")
        for entry in loaded.synthetic(method):
            if entry.example_id in wanted:
                gate = f"  — rejected: {entry.rejected}" if entry.rejected else ""
                say("synthetic", review_line(entry, entry.item.item_id) + gate)
        for output in written:
            if output.path:
                say("reasoning", " / ".join(output.path.splitlines()))
            say(output.task, output.text if output.text is not None else str(output.rating))
    if len(targets):
        console.print("reference", style="bold")
    for review_id in targets["review_id"]:
        target = tables.reviews_by_id[review_id]
        say("real", review_line(target, target.item_id))
