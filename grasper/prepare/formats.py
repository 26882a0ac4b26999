"""Rows of a file in batches: CSV, TSV, JSON lines and JSON, plain, gzip or zstd, parquet and Excel; memory does not grow with the file.

Text formats are read line by line, so that every complaint names the line. Every value becomes text exactly as the file holds it: ids are never
taken through floating-point numbers, and whatever a format calls missing (null, NaN, an empty cell) is missing.
"""

from __future__ import annotations

import csv
import json
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from grasper.config import PrepareConfig
from grasper.errors import DataFormatError, MissingFileError
from grasper.prepare.arrays import elements
from grasper.prepare.batches import Batch as Batch  # also for the sources of others
from grasper.prepare.batches import Columns, Gathering, gather, require_columns
from grasper.prepare.lines import MIB, head, numbered_lines, refuse_bomb
from grasper.prepare.parquet import read_parquet
from grasper.rows import MISSING_CELLS, excel_cells, excel_rows, without_halves

if TYPE_CHECKING:
    from _csv import Reader

_DECODER = json.JSONDecoder()
_SEPARATOR = re.compile(r"\"?sep=(.)\"?\r?\n?", re.IGNORECASE)
_COMPRESSIONS = (".gz", ".gzip", ".zst", ".zstd")
_SQLITE = (".db", ".sqlite", ".sqlite3")
_SPREAD_ADVICE = "; if it goes on in the next line: expected one object per line, or one array of them"
_QUOTED_ADVICE = "--set prepare.quoted=false if the file quotes nothing and quotes are letters like any other"
SKIP_ADVICE = " (--set prepare.invalid_rows=skip leaves such lines out)"


def read_batches(path: Path, columns: Columns, config: PrepareConfig) -> Iterator[Batch]:
    """The mapped columns of a file in any of the known formats, uncleaned.

    Raises:
        MissingFileError: The file does not exist.
        DataFormatError: Unknown format, empty or binary file, broken line, missing column, or a value that is no text, number or date.
    """
    if not path.is_file():
        raise MissingFileError(f"{path} does not exist" + (" as a file, but as a folder" if path.is_dir() else ""))
    if path.stat().st_size == 0:
        raise DataFormatError(f"{path} is empty, expected reviews")
    is_empty = True
    for batch in READERS[format_of(path)](path, columns, config):
        is_empty &= batch.rows.empty
        yield batch
    if is_empty:
        raise DataFormatError(f"{path} holds no reviews")


def format_of(path: Path) -> str:
    """The suffix that tells a file's format, in lower case, compression aside.

    Raises:
        DataFormatError: It is none of the known ones.
    """
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() not in _COMPRESSIONS]
    suffix = suffixes[-1] if suffixes else ""
    if suffix not in READERS:
        remedy = "; a SQLite database is read with prepare.source=sql and prepare.query" if suffix in _SQLITE else ""
        raise DataFormatError(f"{path}: unknown format '{suffix}', expected one of {', '.join(READERS)} (text also as .gz or .zst){remedy}")
    return suffix


def csv_lines(path: Path, config: PrepareConfig, skipped: Counter[str] | None = None) -> tuple[Iterator[str], str, int]:
    """The lines of a CSV file from its header on, what separates its cells, and how many lines stand before the header.

    Excel's `sep=;` in the first line is no row, and says what separates.
    """
    lines = numbered_lines(path, config, skipped)
    first = next(lines)
    usual = config.delimiter or ("\t" if format_of(path) == ".tsv" else ",")
    if told := _SEPARATOR.fullmatch(first):
        return lines, config.delimiter or told[1], 1
    return chain([first], lines), usual, 0


def csv_cells(lines: Iterable[str], delimiter: str, config: PrepareConfig) -> Reader:
    """The cells of each row; where `config.quoted` is false, a quote is a letter like any other."""
    csv.field_size_limit(config.max_line_mib * MIB)
    return csv.reader(lines, delimiter=delimiter, strict=True, quoting=csv.QUOTE_NONE if config.quoted is False else csv.QUOTE_MINIMAL)


def swallowed_rows(row: list[str], delimiter: str) -> bool:
    """Whether a cell between tabs holds what looks like the ends of rows: in a file that quotes nothing, two texts with a quote at an end of theirs
    would make one cell of all that stands between them."""
    return delimiter == "\t" and any("\n" in cell and cell.count("\t") >= len(row) - 1 for cell in row)


def _read_csv(path: Path, columns: Columns, config: PrepareConfig) -> Iterator[Batch]:
    gathering = Gathering(path, "line", columns)
    lines, delimiter, before = csv_lines(path, config, gathering.skipped)
    reader, start = csv_cells(lines, delimiter, config), before + 1
    try:
        header = [name.strip() for name in next(reader, [])]
        require_columns(path, columns, header)
        picks = [(name, header.index(column)) for name, column in columns.items()]
        width, start = len(header), before + reader.line_num + 1
        for row in reader:
            if row and len(row) != width and config.invalid_rows == "skip":
                gathering.skipped["cells"] += 1
            elif row:
                if len(row) != width:
                    hint = f" (separated by {_likely(header[0])!r}? --set prepare.delimiter=…)" if width == 1 and _likely(header[0]) else ""
                    raise DataFormatError(f"{path} line {start}: {len(row)} cells, expected {width} as in the header{hint or SKIP_ADVICE}")
                if config.quoted is None and swallowed_rows(row, delimiter):
                    what = f"a cell in quotes that ends in line {before + reader.line_num} and holds what looks like rows"
                    raise DataFormatError(f"{path} line {start}: {what}; {_QUOTED_ADVICE}, =true if the cell is right")
                for name, position in picks:
                    gathering.values[name].append(None if row[position] in MISSING_CELLS else row[position])
                gathering.numbers.append(start)
                if gathering.is_full(sum(map(len, row))):
                    yield gathering.take()
            start = before + reader.line_num + 1
    except DataFormatError:
        yield gathering.take()  # so that what is wrong with the rows before is told, too
        raise
    except csv.Error as error:
        yield gathering.take()
        advice = f"quote cells that hold quotes or line breaks, or {_QUOTED_ADVICE}"
        raise DataFormatError(f"{path} line {start}: broken CSV ({error}); {advice}") from None
    yield gathering.take()


def _likely(header: str) -> str | None:
    return next((mark for mark in (";", "\t", "|") if mark in header), None)


def _read_jsonl(path: Path, columns: Columns, config: PrepareConfig) -> Iterator[Batch]:
    if format_of(path) == ".json" and is_list(path):
        yield from gather(path, "entry", ((number, without_halves(entry)) for number, entry in elements(path, config)), columns)
    else:
        skipped = Counter[str]()
        lines = numbered_lines(path, config, skipped)
        yield from gather(path, "line", json_lines(lines, path, skipped if config.invalid_rows == "skip" else None), columns, skipped)


def is_list(path: Path) -> bool:
    """Whether a JSON file begins as a list, and not with its first object."""
    try:
        letters = head(path, 64).replace(b"\0", b"")  # of wide encodings half or more of the bytes
        return letters.lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n").startswith(b"[")
    except (EOFError, OSError, zlib.error, pa.ArrowException):
        return False  # told when the lines are read


def json_lines(lines: Iterable[str], path: Path, skipped: Counter[str] | None = None) -> Iterator[tuple[int, Any]]:
    """Line number and value of every line that is not blank; broken ones are left out and counted where `skipped` is given."""
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                value = parse_json(line.rstrip(), path, first_line=number)
            except DataFormatError as error:
                if skipped is None:
                    raise DataFormatError(f"{error}{_SPREAD_ADVICE if line.rstrip().endswith(('{', '[', ',')) else SKIP_ADVICE}") from None
                skipped["json"] += 1
                continue
            yield number, without_halves(value) if "\\u" in line else value


def excel_header(path: Path, config: PrepareConfig) -> list[str]:
    """The cells of the first row of an Excel file's first sheet, empty ones included.

    Raises:
        DataFormatError: It cannot be read.
    """
    with excel_rows(path, partial(refuse_bomb, path, config=config)) as rows:
        return excel_cells(next(rows, ()))


def _read_excel(path: Path, columns: Columns, config: PrepareConfig) -> Iterator[Batch]:
    with excel_rows(path, partial(refuse_bomb, path, config=config)) as rows:
        header = excel_cells(next(rows, ()))
        require_columns(path, columns, header)
        records = ((number, dict(zip(header, row, strict=False))) for number, row in enumerate(rows, start=2))
        yield from gather(path, "row", ((number, record) for number, record in records if any(v is not None for v in record.values())), columns)


READERS: dict[str, Callable[[Path, Columns, PrepareConfig], Iterator[Batch]]] = {
    ".csv": _read_csv,
    ".tsv": _read_csv,
    ".jsonl": _read_jsonl,
    ".ndjson": _read_jsonl,
    ".json": _read_jsonl,
    ".parquet": read_parquet,
    ".pq": read_parquet,
    ".xlsx": _read_excel,
}


def parse_json(text: str, path: Path, *, first_line: int = 1) -> Any:
    """The value of a JSON text.

    Raises:
        DataFormatError: Broken JSON; the message names line and column of the file.
    """
    try:
        value, end = _DECODER.raw_decode(text)  # the usual case, in half the time
        if end == len(text):
            return value
    except (ValueError, RecursionError):
        pass  # told below
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise DataFormatError(f"{path} line {first_line + error.lineno - 1}: broken JSON at column {error.colno} ({error.msg})") from None
    except (ValueError, RecursionError) as error:
        raise DataFormatError(f"{path} line {first_line}: unusable JSON ({error})") from None
