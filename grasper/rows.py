"""Files of rows that people bring and take away, whole or not at all; every complaint names file and row."""

from __future__ import annotations

import csv
import json
import re
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

from grasper.errors import ConfigError, DataFormatError, MissingFileError
from grasper.files import atomic_path
from grasper.records import none_if_missing

FORMATS = (".csv", ".jsonl", ".parquet")
"""Of the files that are written; others are read, too."""
MAX_CELL_CHARACTERS = 64 * 2**20
"""Of a cell of CSV: a history of some hundred reviews has more than the 131,072 that Python allows by itself."""
MISSING_CELLS = frozenset(["", "NA", "N/A", "n/a", "#N/A", "<NA>", "NULL", "null", "NaN", "nan"])
"""Cells of CSV, which has no sign of its own for what is missing, that programs write in its place."""
_EXCEL_ERRORS = frozenset(["#NULL!", "#DIV/0!", "#VALUE!", "#REF!", "#NAME?", "#NUM!", "#N/A"])
_SURROGATE = re.compile("[\ud800-\udfff]")
_FORMULA = re.compile(r"\s*[=+\-@\t\r|%]")


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a file as mappings of what JSON can hold: missing values are None, dates ISO 8601, decimals text.

    The format is told by the suffix: CSV, JSON lines, a JSON list, parquet, or the first sheet of an Excel file.

    Raises:
        MissingFileError: The file does not exist.
        DataFormatError: It cannot be read, or holds no row; a line of CSV has more or fewer cells than the header; a value is binary, or nested
            too deeply.
    """
    if not path.is_file():
        raise MissingFileError(f"{path} does not exist")
    suffix = path.suffix.lower()
    if suffix not in _READERS:
        raise DataFormatError(f"{path}: unknown format '{suffix}', expected one of {', '.join(_READERS)}")
    rows = []
    try:
        for number, row in enumerate(_READERS[suffix](path), start=1):
            rows.append({name: none_if_missing(_plain(value, f"{path} row {number}: '{name}'")) for name, value in row.items()})
    except (UnicodeDecodeError, OSError) as error:
        raise DataFormatError(f"{path} cannot be read ({error}); expected UTF-8 {suffix[1:].upper()}") from None
    except RecursionError:  # the reader of JSON goes deeper than we do
        raise DataFormatError(f"{path} row {len(rows) + 1} is nested too deeply") from None
    if not rows:
        raise DataFormatError(f"{path} holds no rows")
    return rows


def _plain(value: Any, place: str) -> Any:
    """The value as JSON can hold it, without half characters."""
    if isinstance(value, dict):
        return {without_halves(str(name)): _plain(entry, place) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry, place) for entry in value]
    if isinstance(value, date | time):  # a datetime is a date
        return value.isoformat()
    if isinstance(value, Decimal | UUID | timedelta):
        return str(value)
    if isinstance(value, bytes):
        raise DataFormatError(f"{place} is binary, expected text or a number; leave the column out")
    return without_halves(value)


def without_halves(value: Any) -> Any:
    """The value without half characters (lone surrogates), which JSON can escape but no file can hold."""
    if isinstance(value, str):
        return _SURROGATE.sub("", value)
    if isinstance(value, dict):
        return {without_halves(key): without_halves(entry) for key, entry in value.items()}
    return [without_halves(entry) for entry in value] if isinstance(value, list) else value


def _read_csv(path: Path) -> Iterator[dict[str, Any]]:
    csv.field_size_limit(MAX_CELL_CHARACTERS)
    with path.open(encoding="utf-8-sig", newline="") as handle:
        reader = csv.reader(handle, strict=True)
        try:
            header = next(reader, [])
            _refuse_repeated(path, header)
            for cells in filter(None, reader):
                if len(cells) != len(header):
                    told = f"{path} line {reader.line_num} has {len(cells)} cells, the header {len(header)}"
                    raise DataFormatError(f"{told}{_other_mark(header) or '; put cells that hold commas between double quotes'}")
                yield {name: None if cell in MISSING_CELLS else cell for name, cell in zip(header, cells, strict=True)}
        except csv.Error as error:
            raise DataFormatError(f"{path} line {reader.line_num}: broken CSV ({error}); quote cells that hold quotes or line breaks") from None


def _refuse_repeated(path: Path, header: Sequence[str]) -> None:
    if repeated := sorted({name for name in header if header.count(name) > 1}):
        raise DataFormatError(f"{path} has the column '{repeated[0]}' more than once; give each a name of its own")


def _read_json(path: Path) -> Iterator[dict[str, Any]]:
    """One list of objects, or one object per line."""
    text = path.read_text(encoding="utf-8-sig")
    if not text.lstrip().startswith("["):
        yield from _read_jsonl(path)
        return
    try:
        entries = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataFormatError(f"{path}: broken JSON ({error})") from None
    for number, row in enumerate(entries, start=1):
        if not isinstance(row, dict):
            raise DataFormatError(f"{path} entry {number} holds a JSON {type(row).__name__}, expected an object")
        yield row


def _read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8-sig") as handle:
        for number, line in enumerate(handle, start=1):
            if line.strip():
                try:
                    row = json.loads(line)
                except (ValueError, RecursionError) as error:
                    raise DataFormatError(f"{path} line {number}: broken JSON ({error})") from None
                if not isinstance(row, dict):
                    raise DataFormatError(f"{path} line {number} holds a JSON {type(row).__name__}, expected one object per line")
                yield row


def _read_parquet(path: Path) -> Iterator[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        for batch in pq.ParquetFile(path).iter_batches():
            yield from batch.to_pylist()
    except pa.ArrowException as error:
        raise DataFormatError(f"{path} is not a readable parquet file ({str(error).splitlines()[0]})") from None


def _read_excel(path: Path) -> Iterator[dict[str, Any]]:
    with excel_rows(path) as rows:
        header = excel_cells(next(rows, ()))
        _refuse_repeated(path, list(filter(None, header)))
        for cells in rows:
            if any(cell is not None for cell in cells):
                yield {name: cell for name, cell in zip(header, cells, strict=False) if name}


@contextmanager
def excel_rows(path: Path, admit: Callable[[int], None] = lambda unpacked: None) -> Iterator[Iterator[tuple[Any, ...]]]:
    """The rows of an Excel file's first sheet; whatever is wrong with the file while they are read is told in one line.

    Args:
        admit: Refuses a file by the bytes that it unpacks to.

    Raises:
        DataFormatError: It cannot be read, or the extra `excel` is not installed.
    """
    try:
        import openpyxl
    except ImportError:
        raise DataFormatError(f"{path}: Excel files need the extra `excel` (pip install 'grasper[excel]')") from None
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
        admit(unpacked)
        yield _sheet_rows(openpyxl.load_workbook(path, read_only=True, data_only=True).worksheets[0])
    except DataFormatError:
        raise
    # A damaged part shows as whatever openpyxl stumbles over: broken XML is a SyntaxError.
    except (zipfile.BadZipFile, zlib.error, SyntaxError, LookupError, ValueError, AttributeError, OSError) as error:
        raise DataFormatError(f"{path} is not a readable Excel file ({str(error)[:200]})") from None


def _sheet_rows(sheet: Any) -> Iterator[tuple[Any, ...]]:
    """All rows of a sheet, none narrower than the first; a formula that failed, such as a look-up without a match, gives nothing."""
    sheet.reset_dimensions()  # the extent that some programs write down is too small, and rows and columns beyond it would be lost
    width = 0
    for row in sheet.iter_rows(values_only=True):
        width = width or len(row)
        yield (*(None if isinstance(cell, str) and cell in _EXCEL_ERRORS else cell for cell in row), *[None] * (width - len(row)))


def excel_cells(header: Iterable[Any]) -> list[str]:
    """The names of columns as text, without outer white space; empty where there is none."""
    return ["" if cell is None else str(cell).strip() for cell in header]


_READERS: dict[str, Callable[[Path], Iterable[dict[str, Any]]]] = {
    ".csv": _read_csv,
    ".jsonl": _read_jsonl,
    ".json": _read_json,
    ".parquet": _read_parquet,
    ".xlsx": _read_excel,
}


def require_column(rows: Sequence[Mapping[str, Any]], name: str) -> None:
    """Refuse rows of which none has a column.

    Raises:
        DataFormatError: The message says what they have.
    """
    found = list(dict.fromkeys(column for row in rows for column in row))
    if rows and name not in found:
        raise DataFormatError(f"no column '{name}'; the columns are: {', '.join(found)}{_other_mark(found)}")


def _other_mark(header: Sequence[str]) -> str:
    """A hint where a header seems to be separated by another mark than commas; else empty."""
    mark = next((mark for mark in (";", "\t", "|") if len(header) == 1 and mark in header[0]), None)
    return f" (separated by {mark!r}? save it with commas)" if mark else ""


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]], columns: Sequence[str] = ()) -> None:
    """A CSV, JSONL or parquet file of rows, at once or not at all; its columns are `columns`, also without any row, and those of all rows.

    In CSV, text that a spreadsheet would run as a formula gets an apostrophe before it; ids stay as they are. In parquet, a column whose rows hold
    values of several kinds becomes text.

    Raises:
        ConfigError: An unknown format.
    """
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise ConfigError(f"{path}: unknown format '{path.suffix}', expected one of {', '.join(FORMATS)}")
    names = list(dict.fromkeys([*columns, *(name for row in rows for name in row)]))
    with atomic_path(path) as temporary:
        if suffix == ".jsonl":
            temporary.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
        elif suffix == ".csv":
            with temporary.open("w", encoding="utf-8", newline="") as handle:
                writer = csv.DictWriter(handle, fieldnames=names)
                writer.writeheader()
                writer.writerows({name: _csv_cell(name, value) for name, value in row.items()} for row in rows)
        else:
            import pyarrow as pa
            import pyarrow.parquet as pq

            pq.write_table(pa.table({name: _arrow_column([row.get(name) for row in rows]) for name in names}), temporary)


def _csv_cell(name: str, value: Any) -> Any:
    return _json(value) if isinstance(value, list | dict) else value if name.endswith("_id") else safe_cell(value)


def safe_cell(value: Any) -> Any:
    """A cell that no spreadsheet takes for a formula: text that begins like one gets an apostrophe in front; numbers stay numbers.

    Reference: OWASP, CSV Injection.
    """
    return f"'{value}" if isinstance(value, str) and _FORMULA.match(value) else "" if value is None else value


def _arrow_column(values: Sequence[Any]) -> Any:
    """An Arrow array of the values, or of their text where they are of several kinds."""
    import pyarrow as pa

    try:
        return pa.array(values)
    except (pa.ArrowException, OverflowError):
        return pa.array([value if value is None or isinstance(value, str) else _json(value) for value in values])


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
