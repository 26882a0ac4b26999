"""Rows of a file in batches: CSV, TSV, JSON lines, JSON, parquet and Excel, plain, gzip or zstd; memory does not grow with the file.

Text formats are read line by line, so that every complaint names the line. Every value becomes text exactly as the file holds it: ids are never
taken through floating-point numbers, and whatever a format calls missing (null, NaN, an empty cell) is missing.
"""

from __future__ import annotations

import csv
import json
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from grasper.config import PrepareConfig
from grasper.errors import DataFormatError, MissingFileError
from grasper.prepare.arrays import elements
from grasper.prepare.fields import Place
from grasper.prepare.lines import ALWAYS_ALLOWED, MIB, head, numbered_lines
from grasper.registry import nearest_first

_DECODER = json.JSONDecoder()
_SURROGATE = re.compile("[\ud800-\udfff]")
_COMPRESSIONS = (".gz", ".gzip", ".zst", ".zstd")
_BATCH_ROWS = 50_000
_BATCH_CHARACTERS = 64 * MIB
_SKIP = " (--set prepare.invalid_rows=skip leaves such lines out)"
_LARGEST_EXACT = 2**53
"""Above, a floating-point number may stand for several whole ones."""
Columns = Mapping[str, str]
"""Field → column name in the file."""


class Batch(NamedTuple):
    """Some rows of a file, the mapped fields as they stand there, and where each row stands."""

    rows: pd.DataFrame
    place: Place
    skipped: int = 0
    """Lines before or among them that were left out (`prepare.invalid_rows: skip`)."""


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
        raise DataFormatError(f"{path}: unknown format '{suffix}', expected one of {', '.join(READERS)} (plain, .gz or .zst)")
    return suffix


def delimiter_of(path: Path, config: PrepareConfig) -> str:
    """What separates the cells of a CSV file."""
    return config.delimiter or ("\t" if format_of(path) == ".tsv" else ",")


class Gathering:
    """Rows on their way into batches.

    Args:
        path: The file, for messages.
        unit: What rows are counted in.
    """

    def __init__(self, path: Path, unit: str, columns: Columns) -> None:
        self._path, self._unit, self._columns = path, unit, columns
        self._characters = 0
        self.values: dict[str, list[str | None]] = {name: [] for name in columns}
        self.numbers: list[int] = []
        self.skipped = Counter[str]()

    def is_full(self, added: int) -> bool:
        """Whether the batch should go, after `added` more characters."""
        self._characters += added
        return len(self.numbers) >= _BATCH_ROWS or self._characters > _BATCH_CHARACTERS

    def take(self) -> Batch:
        """The whole rows gathered; the next batch begins."""
        count = len(self.numbers)
        place = Place(self._path, self._unit, np.array(self.numbers, dtype=np.int64), self._columns)
        batch = Batch(pd.DataFrame({name: values[:count] for name, values in self.values.items()}, dtype="str"), place, self.skipped.total())
        self.skipped.clear()
        self.values, self.numbers, self._characters = {name: [] for name in self.values}, [], 0
        return batch


def _read_csv(path: Path, columns: Columns, config: PrepareConfig) -> Iterator[Batch]:
    csv.field_size_limit(config.max_line_mib * MIB)
    gathering, start = Gathering(path, "line", columns), 1
    reader = csv.reader(numbered_lines(path, config, gathering.skipped), delimiter=delimiter_of(path, config), strict=True)
    try:
        header = [name.strip() for name in next(reader)]
        require_columns(path, columns, header)
        picks = [(name, header.index(column)) for name, column in columns.items()]
        width, start = len(header), reader.line_num + 1
        for row in reader:
            if row and len(row) != width and config.invalid_rows == "skip":
                gathering.skipped["cells"] += 1
            elif row:
                if len(row) != width:
                    hint = f" (separated by {_likely(header[0])!r}? --set prepare.delimiter=…)" if width == 1 and _likely(header[0]) else ""
                    raise DataFormatError(f"{path} line {start}: {len(row)} cells, expected {width} as in the header{hint or _SKIP}")
                for name, position in picks:
                    gathering.values[name].append(row[position])
                gathering.numbers.append(start)
                if gathering.is_full(sum(map(len, row))):
                    yield gathering.take()
            start = reader.line_num + 1
    except DataFormatError:
        yield gathering.take()  # so that what is wrong with the rows before is told, too
        raise
    except csv.Error as error:
        yield gathering.take()
        raise DataFormatError(f"{path} line {start}: broken CSV ({error}); quote cells that hold quotes or line breaks") from None
    yield gathering.take()


def _likely(header: str) -> str | None:
    return next((mark for mark in (";", "\t", "|") if mark in header), None)


def _read_jsonl(path: Path, columns: Columns, config: PrepareConfig) -> Iterator[Batch]:
    if format_of(path) == ".json" and is_list(path):
        yield from gather(path, "entry", ((number, 0, without_halves(entry)) for number, entry in elements(path, config)), columns)
    else:
        skipped = Counter[str]()
        lines = numbered_lines(path, config, skipped)
        yield from gather(path, "line", json_lines(lines, path, skipped if config.invalid_rows == "skip" else None), columns, skipped)


def is_list(path: Path) -> bool:
    """Whether a JSON file begins as a list, and not with its first object."""
    try:
        return head(path, 64).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"[")
    except (EOFError, OSError, zlib.error, pa.ArrowException):
        return False  # told when the lines are read


def json_lines(lines: Iterable[str], path: Path, skipped: Counter[str] | None = None) -> Iterator[tuple[int, int, Any]]:
    """Line number, characters and value of every line that is not blank; broken ones are left out and counted where `skipped` is given."""
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                value = parse_json(line.rstrip(), path, first_line=number)
            except DataFormatError as error:
                if skipped is None:
                    raise DataFormatError(f"{error}{_SKIP}") from None
                skipped["json"] += 1
                continue
            yield number, len(line), without_halves(value) if "\\u" in line else value


def gather(path: Path, unit: str, records: Iterable[tuple[int, int, Any]], columns: Columns, skipped: Counter[str] | None = None) -> Iterator[Batch]:
    """Batches of JSON objects, given as number, characters and value; `skipped` counts what `records` leave out."""
    gathering, seen, is_first, named = Gathering(path, unit, columns), dict[str, None](), True, list(columns.items())
    gathering.skipped = Counter[str]() if skipped is None else skipped
    try:
        for number, characters, record in records:
            if not isinstance(record, dict):
                raise DataFormatError(f"{path} {unit} {number} holds a JSON {type(record).__name__}, expected one object per {unit}")
            if len(seen) < 1_000:
                seen.update(dict.fromkeys(record))
            values = gathering.values
            for name, column in named:
                value = record.get(column)
                values[name].append(value if type(value) is str else as_text(value, path, unit, number, column))
            gathering.numbers.append(number)
            if gathering.is_full(characters):
                if is_first:
                    require_columns(path, {name: columns[name] for name in ("user_id", "item_id", "text") if name in columns}, list(seen))
                is_first = False
                yield gathering.take()
    except DataFormatError:
        yield gathering.take()  # so that what is wrong with the rows before is told, too
        raise
    if seen:
        require_columns(path, columns, list(seen))
    yield gathering.take()


def _read_parquet(path: Path, columns: Columns, config: PrepareConfig) -> Iterator[Batch]:
    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            require_columns(path, columns, names)
            wanted = [column for column in file.schema_arrow if column.name in columns.values()]
            for column in wanted:
                if pa.types.is_nested(column.type) or _is_bytes(column.type):
                    raise DataFormatError(f"{path}: column '{column.name}' holds {column.type}, expected text or numbers")
            sizes = _encoded_sizes(file.metadata, [column.name for column in wanted])
        unpacked, first = sum(map(sum, sizes.values())), 1
        _refuse_bomb(path, unpacked, config)
        # Values that a page names by number are not written out before it is known how much that makes.
        numbered = [column.name for column in wanted if _is_text(column.type) and max(sizes[column.name], default=0) <= _BATCH_CHARACTERS]
        unpacked = 0
        with pq.ParquetFile(path, pre_buffer=False, buffer_size=MIB, read_dictionary=numbered) as file:  # else whole row groups come into memory
            for part in file.iter_batches(batch_size=_BATCH_ROWS, columns=[column.name for column in wanted]):
                characters = np.cumsum(_sizes_of_rows(part))
                unpacked += int(characters[-1]) if len(characters) else 0
                _refuse_bomb(path, unpacked, config)
                for start, end in _cuts(characters):
                    piece = part.slice(start, end - start)
                    rows = pd.DataFrame({name: as_text_column(piece.column(piece.schema.names.index(column))) for name, column in columns.items()})
                    yield Batch(rows, Place(path, "row", np.arange(first, first + len(rows)), columns))
                    first += len(rows)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataFormatError(f"{path} is not a readable parquet file ({str(error).splitlines()[0]})") from None


def _encoded_sizes(metadata: pq.FileMetaData, names: list[str]) -> dict[str, list[int]]:
    """Bytes of each column in every row group, decompressed, but with values that repeat named by number."""
    sizes: dict[str, list[int]] = {name: [] for name in names}
    for group in range(metadata.num_row_groups):
        for number in range(metadata.num_columns):
            column = metadata.row_group(group).column(number)
            if column.path_in_schema in sizes:
                sizes[column.path_in_schema].append(column.total_uncompressed_size)
    return sizes


def _refuse_bomb(path: Path, unpacked: int, config: PrepareConfig) -> None:
    if unpacked > max(ALWAYS_ALLOWED, path.stat().st_size * config.max_unpacked_ratio):
        told = f"more than {config.max_unpacked_ratio} times its size"
        raise DataFormatError(f"{path} unpacks to {told}; if that is meant, --set prepare.max_unpacked_ratio=…")


def _sizes_of_rows(part: pa.RecordBatch) -> np.ndarray:
    """Bytes of the texts of every row, written out."""
    total = np.zeros(part.num_rows, dtype=np.int64)
    for column in part.columns:
        if pa.types.is_dictionary(column.type):
            if _is_text(column.type.value_type):
                lengths = pc.fill_null(pc.binary_length(column.dictionary), 0)
                total += pc.fill_null(lengths.take(column.indices), 0).to_numpy(zero_copy_only=False)
        elif _is_text(column.type):
            total += pc.fill_null(pc.binary_length(column), 0).to_numpy(zero_copy_only=False)
    return total


def _cuts(characters: np.ndarray) -> Iterator[tuple[int, int]]:
    """First and last row (exclusive) of pieces that hold about a batch's characters, or one row."""
    start = 0
    while start < len(characters):
        before = int(characters[start - 1]) if start else 0
        end = max(start + 1, int(np.searchsorted(characters, before + _BATCH_CHARACTERS, side="right")))
        yield start, end
        start = end


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind))


def as_text_column(values: pa.Array) -> pd.Series:
    """An Arrow column as text, dates aside: whole numbers exactly, also where a null made them floating-point; NaN is missing."""
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if pa.types.is_date(values.type) or pa.types.is_timestamp(values.type):
        return values.cast(pa.timestamp("s", tz=getattr(values.type, "tz", None)), safe=False).to_pandas()
    if pa.types.is_floating(values.type):
        values = values.cast(pa.float64())
        values = pc.if_else(pc.is_nan(values), pa.scalar(None, pa.float64()), values)
        is_whole = pc.and_(pc.equal(pc.trunc(values), values), pc.less_equal(pc.abs(values), float(_LARGEST_EXACT)))
        whole = pc.if_else(is_whole, values, 0.0).cast(pa.int64()).cast(pa.string())
        values = pc.if_else(is_whole, whole, values.cast(pa.string()))
    elif not pa.types.is_large_string(values.type):
        values = values.cast(pa.string())
    return pd.Series(values.to_pandas(), dtype="str")


def _read_excel(path: Path, columns: Columns, config: PrepareConfig) -> Iterator[Batch]:
    try:
        import openpyxl
    except ImportError:
        raise DataFormatError(f"{path}: Excel files need the extra `excel` (pip install 'grasper[excel]')") from None
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
        _refuse_bomb(path, unpacked, config)
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
        rows = book.worksheets[0].iter_rows(values_only=True)
        header = ["" if cell is None else str(cell).strip() for cell in next(rows, ())]
        records = ((number, sum(len(str(cell)) for cell in row), dict(zip(header, row, strict=False))) for number, row in enumerate(rows, start=2))
        require_columns(path, columns, header)
        yield from gather(path, "row", ((n, size, record) for n, size, record in records if any(v is not None for v in record.values())), columns)
    except (zipfile.BadZipFile, KeyError, ValueError, OSError) as error:
        if isinstance(error, DataFormatError):
            raise
        raise DataFormatError(f"{path} is not a readable Excel file ({str(error)[:200]})") from None


READERS: dict[str, Callable[[Path, Columns, PrepareConfig], Iterator[Batch]]] = {
    ".csv": _read_csv,
    ".tsv": _read_csv,
    ".jsonl": _read_jsonl,
    ".ndjson": _read_jsonl,
    ".json": _read_jsonl,
    ".parquet": _read_parquet,
    ".pq": _read_parquet,
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


def without_halves(value: Any) -> Any:
    """The value without half characters (lone surrogates), which JSON can escape but no file can hold."""
    if isinstance(value, str):
        return _SURROGATE.sub("", value)
    if isinstance(value, dict):
        return {without_halves(key): without_halves(entry) for key, entry in value.items()}
    return [without_halves(entry) for entry in value] if isinstance(value, list) else value


def as_text(value: Any, path: Path, unit: str, number: int, column: str) -> str | None:
    """A JSON or Excel scalar as text, None for null and NaN.

    Raises:
        DataFormatError: A list, an object or a truth value; the message names the place.
    """
    if value is None or isinstance(value, str):
        return value or None
    if hasattr(value, "isoformat"):
        return str(value.isoformat())
    if isinstance(value, Decimal) and value.is_nan():
        return None
    if isinstance(value, Decimal) and value.is_finite():
        return str(value.to_integral_value()) if value == value.to_integral_value() else str(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise DataFormatError(f"{path} {unit} {number}: '{column}' is a {type(value).__name__}, expected text or a number")
    if value != value:
        return None
    return str(int(value)) if isinstance(value, float) and value.is_integer() and abs(value) <= _LARGEST_EXACT else str(value)


def require_columns(path: Path, columns: Columns, found: list[str]) -> None:
    """Refuse a mapping that names columns which are not there, or not once; all of them in one message, the nearest names first."""
    missing = {name: column for name, column in columns.items() if column not in found}
    twice = sorted({column for column in columns.values() if found.count(column) > 1})
    if twice:
        raise DataFormatError(f"{path} has {len(twice)} of its columns twice: {', '.join(twice)}; rename one of each")
    if missing:
        told = ", ".join(f"'{column}' for {name}" for name, column in missing.items())
        existing = ", ".join(nearest_first(next(iter(missing.values())), list(dict.fromkeys(map(str, found))))[:40]) or "none"
        is_required = all(name in ("user_id", "item_id", "text") for name in missing)
        keys = ", ".join(f"prepare.columns.{name}" for name in missing)
        optional = "" if is_required else ", or to null if there is none"
        raise DataFormatError(f"{path} has no column {told}; it has: {existing} (set {keys}{optional}; `grasper init {path}` proposes them)")
