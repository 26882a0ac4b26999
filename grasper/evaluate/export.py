"""Results and outputs of runs as files: tidy CSV, Markdown, LaTeX, JSON lines, parquet. Reads the run folders alone.

Texts come from strangers: cells of CSV files that a spreadsheet would take for a formula get an apostrophe in front; JSON lines and parquet hold
everything as it is. How tables of results are written, and what is in bold there, is in `table_formats.py`.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from grasper.errors import ConfigError, RunMismatchError
from grasper.evaluate.score import load_answers
from grasper.evaluate.table_formats import results_csv, results_latex, results_markdown
from grasper.evaluate.tables import ResultTable, result_tables
from grasper.files import atomic_path, read_json, write_text
from grasper.records import TASKS, Tables
from grasper.registry import nearest_first
from grasper.rows import safe_cell
from grasper.runs import Run, read_manifest

RESULT_FORMATS = {"csv": ".csv", "markdown": ".md", "latex": ".tex"}
OUTPUT_FORMATS = {"csv": ".csv", "jsonl": ".jsonl", "parquet": ".parquet"}


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
    tables = [(name, table) for name, folder in _named(folders) for table in select_tables(read_results(folder), selection)]
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
        raise Run(folder).missing(path.parent)
    return dict(read_json(path))


def select_tables(results: dict[str, Any], selection: Selection) -> list[ResultTable]:
    """The chosen rows and columns of a run's tables, columns in the order that is asked for.

    `meteor` is the METEOR that the run has, with WordNet or without, as its label says.

    Raises:
        ConfigError: The run has no such method, task or metric; the message lists what it has, the nearest first.
    """
    tables = result_tables(results, detail=selection.metrics is not None)
    known = list(dict.fromkeys(metric.name for table in tables for metric in table.metrics))
    wanted = None if selection.metrics in (None, ("all",)) else selection.metrics
    if wanted and "meteor" not in known:
        wanted = tuple("meteor_no_wordnet" if name == "meteor" else name for name in wanted)
    _require("method", selection.methods, results["methods"])
    _require("task", selection.tasks, TASKS)
    _require("metric", wanted, known)
    chosen = []
    for table in tables:
        by_name = {metric.name: metric for metric in table.metrics}
        metrics = table.metrics if wanted is None else [by_name[name] for name in dict.fromkeys(wanted) if name in by_name]
        kept = results["methods"] if selection.methods is None else selection.methods
        rows = {method: row for method, row in table.rows.items() if method in kept}
        failed = {method: reason for method, reason in table.failed.items() if method in kept}
        if metrics and (rows or failed) and (selection.tasks is None or table.task in selection.tasks):
            chosen.append(replace(table, metrics=metrics, rows=rows, failed=failed))
    return chosen


# ---- outputs -----------------------------------------------------------------------------------------------------------------------


def export_outputs(folders: Sequence[Path], out: Path | None, form: str | None, selection: Selection, *, references: bool = False) -> str:
    """The outputs of runs, one record each; written to `out` where that is given, else given back as text.

    Raises:
        MissingFileError: A run is not prepared or has no outputs.
        ConfigError: A format, method or task that there is not, or parquet without a file.
    """
    form = _format(form, out, OUTPUT_FORMATS, "jsonl")
    _require("task", selection.tasks, TASKS)
    records = [record for name, folder in _named(folders) for record in _records(name, folder, selection, references=references)]
    if form == "parquet":
        if out is None:
            raise ConfigError("parquet is no text; give a file with --out")
        with atomic_path(out) as path:
            pd.DataFrame(records).to_parquet(path, index=False, compression="zstd")
        return ""
    text = _outputs_csv(records) if form == "csv" else "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    if out is not None:
        write_text(out, text)
    return text


def _records(name: str, folder: Path, selection: Selection, *, references: bool) -> list[dict[str, Any]]:
    run = Run(folder)
    run.require(run.folder("prepare"))
    finished = sorted(path.parent.name for path in folder.glob("generate/*/outputs.jsonl"))
    if not finished:
        raise run.missing(run.folder("generate"))
    _require("method", selection.methods, finished)
    tables = Tables.load(run.folder("prepare"))
    targets = dict(zip(tables.examples["example_id"], tables.examples["review_id"], strict=True))
    records = []
    for method in selection.methods or finished:
        if read_manifest(run.folder("generate", method)) is not None:  # what is written so far may be looked at, too
            run.require_current(run.folder("generate", method))
        for output in load_answers(run.folder("generate", method) / "outputs.jsonl").values():
            if selection.tasks is not None and output.task not in selection.tasks:
                continue
            if output.example_id not in targets:
                raise RunMismatchError(f"{folder} has outputs for '{output.example_id}', which its data do not hold; run `grasper pipeline` again")
            target = tables.reviews_by_id[targets[output.example_id]]
            record: dict[str, Any] = {
                "run": name,
                "method": method,
                "task": output.task,
                "example_id": output.example_id,
                "user_id": target.user_id,
                "item_id": target.item_id,
                "item_name": tables.item(target.item_id).name,
                "text": output.text,
                "rating": output.rating,
                "is_parsed": output.is_parsed,
                "path": output.path,
                "tokens_in": output.tokens_in,
                "tokens_out": output.tokens_out,
            }
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


# ---- what was asked for ------------------------------------------------------------------------------------------------------------


def _named(folders: Sequence[Path]) -> list[tuple[str, Path]]:
    """Each run with what it is called: by its folder, or by the whole path where several folders have one name."""
    names = [folder.resolve().name for folder in folders]
    return list(zip(names if len(set(names)) == len(names) else map(str, folders), folders, strict=True))


def _format(form: str | None, out: Path | None, known: dict[str, str], usual: str) -> str:
    """The format that was asked for, or that the file's suffix tells."""
    by_suffix = {suffix: name for name, suffix in known.items()} | {".markdown": "markdown", ".latex": "latex", ".ndjson": "jsonl"}
    name = form or (usual if out is None else by_suffix.get(out.suffix.lower(), out.suffix))
    if name not in known:
        raise ConfigError(f"unknown format {name!r}; known: {', '.join(nearest_first(name, list(known)))}")
    return name


def _require(kind: str, names: Sequence[str] | None, there: Collection[str]) -> None:
    for name in names or ():
        if name not in there:
            raise ConfigError(f"unknown {kind} {name!r}; this run has {', '.join(nearest_first(name, list(there)))}")
