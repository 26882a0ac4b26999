"""`grasper export`: what runs found, or what they wrote, as files for papers, spreadsheets and programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

RunsArgument = Annotated[list[str], typer.Argument(help="Names or paths of runs; several stand below one another.")]
OutOption = Annotated[Path | None, typer.Option("--out", "-o", help="File; its suffix tells the format. Without it, to the terminal.")]
FormatOption = Annotated[str | None, typer.Option("--format", help="csv, markdown or latex; for --outputs csv, jsonl or parquet.")]
OutputsOption = Annotated[bool, typer.Option("--outputs", help="The written texts and ratings instead of the numbers.")]
ReferencesOption = Annotated[bool, typer.Option("--references", help="With --outputs: what the users really wrote, beside it.")]
MethodsOption = Annotated[str | None, typer.Option("--methods", help="Comma-separated methods; all by default.")]
TasksOption = Annotated[str | None, typer.Option("--tasks", help="Comma-separated tasks: long, title, rating.")]
MetricsOption = Annotated[str | None, typer.Option("--metrics", help="Comma-separated metrics; the main ones by default, `all` for every one.")]


def export(
    runs: RunsArgument,
    out: OutOption = None,
    format: FormatOption = None,
    outputs: OutputsOption = False,
    references: ReferencesOption = False,
    methods: MethodsOption = None,
    tasks: TasksOption = None,
    metrics: MetricsOption = None,
) -> None:
    """Results of finished runs as CSV, Markdown or LaTeX, with intervals; or their outputs as CSV, JSON lines or parquet."""
    from grasper.commands.plan import listed
    from grasper.errors import ConfigError
    from grasper.evaluate.export import Selection, export_outputs, export_results
    from grasper.runs import run_folder

    if references and not outputs:
        raise ConfigError("--references belongs to --outputs")
    if metrics and outputs:
        raise ConfigError("--metrics belongs to the numbers, not to --outputs")
    folders = [run_folder(name) for name in runs]
    chosen = Selection(listed(methods), listed(tasks), listed(metrics))
    text = export_outputs(folders, out, format, chosen, references=references) if outputs else export_results(folders, out, format, chosen)
    print(text if out is None else f"written: {out}", end="" if out is None else "\n")
