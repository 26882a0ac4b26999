"""Tables of results as text: CSV, Markdown, LaTeX.

Bold is what is better than every other method of its run by paired intervals, not merely the largest number. Names come from strangers: LaTeX and
Markdown are escaped, and names in CSV that a spreadsheet would take for a formula get an apostrophe in front.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from grasper.evaluate.tables import ResultTable
from grasper.metrics.metric import Metric
from grasper.records import TASKS
from grasper.rows import safe_cell

RunTables = Sequence[tuple[str, ResultTable]]
"""Each with the name of its run."""
CSV_COLUMNS = ("run", "dataset", "split", "task", "method", "metric", "value", "low", "high", "n", "clearly_best")

_LATEX = {
    **{mark: f"\\{mark}" for mark in "&%$#_{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}"},
    **{"|": r"\textbar{}", '"': r"\textquotedbl{}", "·": r"\textperiodcentered{}", "–": "--", "−": "$-$", "…": r"\dots{}"},
}


def results_csv(tables: RunTables) -> str:
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


def results_markdown(tables: RunTables) -> str:
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


def results_latex(tables: RunTables) -> str:
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


def _by_task(tables: RunTables, draw: Callable[[str, Sequence[Metric], Sequence[Line]], str]) -> str:
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


def escape_latex(text: str) -> str:
    """Text that LaTeX prints as it is."""
    return "".join(_LATEX.get(character, character) for character in " ".join(text.split()))


def _markdown(text: str) -> str:
    return re.sub(r"([\\`*_{}\[\]<>|#])", r"\\\1", " ".join(text.split()))
