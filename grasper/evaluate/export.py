"""Results and outputs of runs as files: tidy CSV, Markdown, LaTeX, JSON lines, parquet. Reads the run folders alone.

Bold is what is better than every other method of its run by paired intervals, not merely the largest number. Texts come from strangers: LaTeX and
Markdown are escaped, and cells of CSV files that a spreadsheet would take for a formula get an apostrophe in front (JSON lines and parquet hold
everything as it is).
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grasper.errors import ConfigError, MissingFileError, RunMismatchError
from grasper.evaluate.tables import ResultTable, result_tables
from grasper.files import atomic_path, read_json, write_text
from grasper.metrics.metric import Metric
from grasper.records import TASKS
from grasper.registry import nearest_first
from grasper.rows import safe_cell

RESULT_FORMATS = {"csv": ".csv", "markdown": ".md", "latex": ".tex"}
OUTPUT_FORMATS = {"csv": ".csv", "jsonl": ".jsonl", "parquet": ".parquet"}
CSV_COLUMNS = ("run", "dataset", "split", "task", "method", "metric", "value", "low", "high", "n", "clearly_best")

_LATEX = {
    **{mark: f"\\{mark}" for mark in "&%$#_{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}"},
    **{"|": r"\textbar{}", '"': r"\textquotedbl{}", "·": r"\textperiodcentered{}", "–": "--", "−": "$-$", "…": r"\dots{}"},
}


@dataclass(frozen=True)
class Selection:
    """What of a run is exported; None for all that there is."""

    methods: tuple[str, ...] | None = None
    tasks: tuple[str, ...] | None = None
    metrics: tuple[str, ...] | None = None
    """None for the main ones, `("all",)` for every one."""


# ---- results -----------------------------------------------------------------------------------------------------------------------


def export_results(folders: Sequence[Path], out: Path | None, form: str | None, selection: Selection) -> str:
    """The results of runs as text; also written to `out` where that is given.

    Raises:
        MissingFileError: A run was not evaluated.
        ConfigError: A format, method, task or metric that there is not.
    """
    write = {"csv": results_csv, "markdown": results_markdown, "latex": results_latex}[_format(form, out, RESULT_FORMATS, "markdown")]
    tables = [(folder.name, table) for folder in folders for table in select_tables(read_results(folder), selection)]
    if not tables:
        raise ConfigError("no result is left to export; choose other --methods, --tasks or --metrics")
    text = write(tables)
    if out is not None:
        write_text(out, text)
    return text


def read_results(folder: Path) -> dict[str, Any]:
    """The results of a run.

    Raises:
        MissingFileError: It was not evaluated.
    """
    path = folder / "evaluate" / "metrics.json"
    if not path.is_file():
        raise MissingFileError(f"{folder} has no results ({path} does not exist); run `grasper evaluate --run {folder.name}` first")
    return dict(read_json(path))


def select_tables(results: dict[str, Any], selection: Selection) -> list[ResultTable]:
    """The chosen rows and columns of a run's tables. `meteor` is the METEOR that the run has, with WordNet or without, as its label says.

    Raises:
        ConfigError: The run has no such method, task or metric; the message lists what it has, the nearest first.
    """
    tables = result_tables(results, detail=selection.metrics is not None)
    known = list(dict.fromkeys(metric.name for table in tables for metric in table.metrics))
    wanted = None if selection.metrics in (None, ("all",)) else selection.metrics
    if wanted and "meteor" not in known:
        wanted = tuple("meteor_no_wordnet" if name == "meteor" else name for name in wanted)
    for kind, names, there in (("method", selection.methods, list(results["methods"])), ("task", selection.tasks, TASKS), ("metric", wanted, known)):
        _require(kind, names, list(there))
    chosen = []
    for table in tables:
        metrics = [metric for metric in table.metrics if wanted is None or metric.name in wanted]
        kept = results["methods"] if selection.methods is None else selection.methods
        rows = {method: row for method, row in table.rows.items() if method in kept}
        failed = {method: reason for method, reason in table.failed.items() if method in kept}
        if metrics and (rows or failed) and (selection.tasks is None or table.task in selection.tasks):
            chosen.append(ResultTable(table.task, table.dataset, table.split, metrics, rows, failed, table.clearly_best))
    return chosen


Tables = Sequence[tuple[str, ResultTable]]


def results_csv(tables: Tables) -> str:
    """One line per run, task, method and metric, numbers unrounded: what programs and spreadsheets read."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for run, table in tables:
        for method, row in table.rows.items():
            for metric in table.metrics:
                if entry := row.get(metric.name):
                    names = (safe_cell(name) for name in (run, table.dataset, table.split, table.task, method, metric.name))
                    numbers = (entry["value"], entry["low"], entry["high"], entry["n"])
                    writer.writerow([*names, *numbers, str((method, metric.name) in table.clearly_best).lower()])
    return text.getvalue()


def results_markdown(tables: Tables) -> str:
    """A table per task, runs below one another where there are several."""
    return _by_task(tables, _markdown_table)


def _markdown_table(title: str, metrics: Sequence[Metric], lines: Sequence[Line]) -> str:
    columns = ["method", *(f"{_markdown(metric.label)}{_arrow(metric)}" for metric in metrics)]
    rows = [f"| {' | '.join(columns)} |", f"|---|{'--:|' * len(metrics)}"]
    for line in lines:
        cells = [f"**{cell.value}** {cell.interval}" if cell.is_best else f"{cell.value} {cell.interval}" for cell in line.cells]
        rows.append(f"| {_markdown(line.name)} | {' | '.join(cell.strip() for cell in cells)} |")
    return "\n".join([f"**{_markdown(title)}**", "", *rows])


def _arrow(metric: Metric) -> str:
    return "" if metric.higher_is_better is None else " ↑" if metric.higher_is_better else " ↓"


def results_latex(tables: Tables) -> str:
    """A `booktabs` table per task; the document needs `\\usepackage{booktabs}` and UTF-8."""
    return "% needs \\usepackage{booktabs}; bold: better than every other method, paired intervals leave out zero\n" + _by_task(tables, _latex_table)


def _latex_table(title: str, metrics: Sequence[Metric], lines: Sequence[Line]) -> str:
    arrows = {None: "", True: r" $\uparrow$", False: r" $\downarrow$"}
    head = " & ".join(["Method", *(f"{escape_latex(metric.label)}{arrows[metric.higher_is_better]}" for metric in metrics)])
    rows = []
    for line in lines:
        cells = []
        for cell in line.cells:
            value = rf"\textbf{{{escape_latex(cell.value)}}}" if cell.is_best else escape_latex(cell.value)
            cells.append(rf"{value} {{\scriptsize {escape_latex(cell.interval)}}}" if cell.interval else value)
        rows.append(f"{' & '.join([escape_latex(line.name), *cells])} \\\\")
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{escape_latex(title)}.}}",
            rf"\begin{{tabular}}{{l{'r' * len(metrics)}}}",
            r"\toprule",
            f"{head} \\\\",
            r"\midrule",
            *rows,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
    )


@dataclass(frozen=True)
class Cell:
    """A value and its interval as they are printed."""

    value: str
    interval: str = ""
    is_best: bool = False


@dataclass(frozen=True)
class Line:
    """One row of a printed table."""

    name: str
    cells: Sequence[Cell]


def _by_task(tables: Tables, draw: Callable[[str, Sequence[Metric], Sequence[Line]], str]) -> str:
    """The tables of a task under one another, each task drawn once."""
    drawn = []
    is_shared = len({run for run, _ in tables}) > 1
    for task in TASKS:
        mine = [(run, table) for run, table in tables if table.task == task]
        if not mine:
            continue
        metrics = list({metric.name: metric for _, table in mine for metric in table.metrics}.values())
        lines = [line for run, table in mine for line in _lines(f"{run} · " if is_shared else "", table, metrics)]
        facts = "; ".join(dict.fromkeys(f"{table.dataset}, {table.split}, n = {table.count}" for _, table in mine))
        drawn.append(draw(f"{task} ({facts})", metrics, lines))
    return "\n\n".join(drawn) + "\n"


def _lines(prefix: str, table: ResultTable, metrics: Sequence[Metric]) -> list[Line]:
    lines = []
    for method, row in table.rows.items():
        cells = []
        for metric in metrics:
            entry = row.get(metric.name)
            if entry is None:
                cells.append(Cell("–"))
                continue
            interval = "" if entry["low"] is None else f"[{metric.format(entry['low'])}, {metric.format(entry['high'])}]"
            cells.append(Cell(metric.format(entry["value"]), interval, (method, metric.name) in table.clearly_best))
        lines.append(Line(prefix + method, cells))
    return lines + [Line(prefix + method, [Cell("failed"), *[Cell("–")] * (len(metrics) - 1)]) for method in table.failed]


# ---- outputs -----------------------------------------------------------------------------------------------------------------------


def export_outputs(folders: Sequence[Path], out: Path | None, form: str | None, selection: Selection, *, references: bool = False) -> str:
    """The outputs of runs, one record each; written to `out` where that is given, else given back as text.

    Raises:
        MissingFileError: A run is not prepared or has no outputs.
        ConfigError: A format, method or task that there is not, or parquet without a file.
    """
    form = _format(form, out, OUTPUT_FORMATS, "jsonl")
    _require("task", selection.tasks, list(TASKS))
    records = [record for folder in folders for record in _records(folder, selection, references=references)]
    if form == "parquet":
        if out is None:
            raise ConfigError("parquet is no text; give a file with --out")
        import pandas as pd

        with atomic_path(out) as path:
            pd.DataFrame(records).to_parquet(path, index=False, compression="zstd")
        return ""
    text = _outputs_csv(records) if form == "csv" else "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    if out is not None:
        write_text(out, text)
    return text


def _records(folder: Path, selection: Selection, *, references: bool) -> list[dict[str, Any]]:
    from grasper.evaluate.score import read_outputs
    from grasper.records import Tables as Prepared
    from grasper.runs import Run, read_manifest

    run = Run(folder)
    run.require(run.folder("prepare"))
    finished = sorted(path.parent.name for path in folder.glob("generate/*/outputs.jsonl"))
    if not finished:
        raise MissingFileError(f"{folder} has no outputs; run `grasper generate --run {folder.name}` first")
    _require("method", selection.methods, finished)
    prepared = Prepared.load(run.folder("prepare"))
    targets = dict(zip(prepared.examples["example_id"], prepared.examples["review_id"], strict=True))
    records = []
    for method in selection.methods or finished:
        if read_manifest(run.folder("generate", method)) is not None:  # what is written so far may be looked at, too
            run.require_current(run.folder("generate", method))
        for output in read_outputs(run.folder("generate", method) / "outputs.jsonl").values():
            if selection.tasks is not None and output.task not in selection.tasks:
                continue
            if output.example_id not in targets:
                raise RunMismatchError(f"{folder} has outputs for '{output.example_id}', which its data do not hold; run `grasper pipeline` again")
            target = prepared.reviews_by_id[targets[output.example_id]]
            record: dict[str, Any] = {
                "run": folder.name,
                "method": method,
                "task": output.task,
                "example_id": output.example_id,
                "user_id": target.user_id,
            }
            record |= {"item_id": target.item_id, "item_name": prepared.item(target.item_id).name, "text": output.text, "rating": output.rating}
            record |= {"is_parsed": output.is_parsed, "path": output.path, "tokens_in": output.tokens_in, "tokens_out": output.tokens_out}
            if references:
                record["reference_text"] = {"long": target.text, "title": target.title}.get(output.task)
                record["reference_rating"] = target.rating if output.task == "rating" else None
            records.append(record)
    return records


def _outputs_csv(records: Sequence[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if records:
        writer.writerow(records[0])
        writer.writerows([safe_cell(value) for value in record.values()] for record in records)
    return text.getvalue()


# ---- escaping ----------------------------------------------------------------------------------------------------------------------


def escape_latex(text: str) -> str:
    """Text that LaTeX prints as it is."""
    return "".join(_LATEX.get(character, character) for character in " ".join(text.split()))


def _markdown(text: str) -> str:
    return re.sub(r"([\\`*_{}\[\]<>|#])", r"\\\1", " ".join(text.split()))


def _format(form: str | None, out: Path | None, known: dict[str, str], usual: str) -> str:
    """The format that was asked for, or that the file's suffix tells."""
    by_suffix = {suffix: name for name, suffix in known.items()} | {".markdown": "markdown", ".latex": "latex", ".ndjson": "jsonl"}
    name = form or (usual if out is None else by_suffix.get(out.suffix.lower(), out.suffix))
    if name not in known:
        raise ConfigError(f"unknown format {name!r}; known: {', '.join(nearest_first(name, list(known)))}")
    return name


def _require(kind: str, names: Sequence[str] | None, there: list[str]) -> None:
    for name in names or ():
        if name not in there:
            raise ConfigError(f"unknown {kind} {name!r}; this run has {', '.join(nearest_first(name, there))}")
