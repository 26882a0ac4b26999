"""A review table of any user: CSV, JSONL or parquet, plain, gzip or zstd, with its columns mapped to our fields.

Text formats are read line by line, so that every complaint names the line. Compression is told by content, not by name.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from grasper.config import ColumnMapping, PrepareConfig
from grasper.errors import DataFormatError, MissingFileError
from grasper.prepare.fields import Place, clean_ratings, clean_text, clean_timestamps

TEXT_FIELDS = ("user_id", "item_id", "title", "text", "name", "category", "brand")
_SURROGATE = re.compile("[\ud800-\udfff]")
_COMPRESSIONS = (".gz", ".gzip", ".zst", ".zstd")


class RawTable(NamedTuple):
    """The mapped columns of a file as they stand there, and where each row stands."""

    rows: pd.DataFrame
    place: Place


def read_reviews(path: Path, columns: ColumnMapping, config: PrepareConfig) -> pd.DataFrame:
    """The reviews of one file, cleaned: our fields, with `is_invalid_rating` where a rating was set to null.

    Raises:
        MissingFileError: The file does not exist.
        DataFormatError: Unknown format, empty or binary file, broken line, missing column, or a bad rating or date.
    """
    return clean_rows(read_table(path, {field: column for field, column in columns.model_dump().items() if column is not None}), config)


def clean_rows(table: RawTable, config: PrepareConfig) -> pd.DataFrame:
    """The rows with every field cleaned and absent fields added as missing; `number` keeps each row's place."""
    rows, place = table
    cleaned = pd.DataFrame(index=pd.RangeIndex(len(rows)))
    for field in TEXT_FIELDS:
        cleaned[field] = clean_text(rows[field]) if field in rows else pd.Series(None, index=cleaned.index, dtype="str")
    if "rating" in rows:
        cleaned["rating"] = clean_ratings(rows["rating"], place, scale=config.rating_scale, invalid=config.invalid_rating)
        cleaned["is_invalid_rating"] = cleaned["rating"].isna()
    else:
        cleaned["rating"], cleaned["is_invalid_rating"] = np.nan, False
    if "timestamp" in rows:
        cleaned["timestamp"] = clean_timestamps(rows["timestamp"], place)
    else:
        cleaned["timestamp"] = pd.Series(pd.NA, index=cleaned.index, dtype="Int64")
    cleaned["number"] = place.numbers
    return cleaned


def read_table(path: Path, columns: Mapping[str, str]) -> RawTable:
    """The mapped columns (field → column name) of a file in any of the known formats, uncleaned."""
    if not path.is_file():
        raise MissingFileError(f"{path} does not exist" + (" as a file, but as a folder" if path.is_dir() else ""))
    if path.stat().st_size == 0:
        raise DataFormatError(f"{path} is empty, expected reviews")
    table = _reader(path)(path, columns)
    if table.rows.empty:
        raise DataFormatError(f"{path} holds no reviews")
    return table


def numbered_lines(path: Path) -> Iterator[str]:
    """The decoded lines of a plain, gzip or zstd text file.

    Raises:
        DataFormatError: The file is empty, truncated, damaged, binary or not UTF-8; the message names the line.
    """
    number = 0
    try:
        with _open(path) as stream:
            for raw in stream:
                number += 1
                if b"\x00" in raw:
                    raise DataFormatError(f"{path} line {number} holds binary data, expected text (CSV or JSONL)")
                yield raw.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        raise DataFormatError(f"{path} line {number} is not UTF-8 text ({error.reason}); convert the file to UTF-8") from None
    except EOFError:
        raise DataFormatError(f"{path} is a truncated gzip file: it breaks off after line {number}; fetch it again") from None
    except (gzip.BadGzipFile, zlib.error, pa.ArrowException, OSError) as error:
        raise DataFormatError(f"{path} cannot be decompressed beyond line {number} ({error})") from None
    if number == 0:
        raise DataFormatError(f"{path} is empty, expected reviews")


def _open(path: Path) -> BinaryIO:
    with path.open("rb") as handle:
        magic = handle.read(4)
    if magic.startswith(b"\x1f\x8b"):
        return gzip.open(path, "rb")  # type: ignore[return-value]
    if magic == b"\x28\xb5\x2f\xfd":
        return io.BufferedReader(pa.CompressedInputStream(pa.OSFile(str(path)), "zstd"))
    return path.open("rb")


def _reader(path: Path) -> Callable[[Path, Mapping[str, str]], RawTable]:
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() not in _COMPRESSIONS]
    suffix = suffixes[-1] if suffixes else ""
    if suffix not in _READERS:
        raise DataFormatError(f"{path}: unknown format '{suffix}', expected one of {', '.join(_READERS)} (plain, .gz or .zst)")
    return _READERS[suffix]


def _read_csv(path: Path, columns: Mapping[str, str]) -> RawTable:
    lines = numbered_lines(path)
    reader = csv.reader(lines, delimiter="\t" if ".tsv" in path.suffixes else ",", strict=True)
    values: dict[str, list[str]] = {field: [] for field in columns}
    numbers, start = [], 1
    try:
        header = [name.strip() for name in next(reader)]
        _require(path, columns, header)
        picks = [(values[field].append, header.index(column)) for field, column in columns.items()]
        start = reader.line_num + 1
        for row in reader:
            if row:
                if len(row) != len(header):
                    raise DataFormatError(f"{path} line {start}: {len(row)} cells, expected {len(header)} as in the header")
                for append, position in picks:
                    append(row[position])
                numbers.append(start)
            start = reader.line_num + 1
    except csv.Error as error:
        raise DataFormatError(f"{path} line {start}: broken CSV ({error}); quote cells that hold quotes or line breaks") from None
    return RawTable(pd.DataFrame(values, dtype="str"), Place(path, "line", np.array(numbers, dtype=np.int64)))


def _read_jsonl(path: Path, columns: Mapping[str, str]) -> RawTable:
    values: dict[str, list[str | None]] = {field: [] for field in columns}
    numbers: list[int] = []
    seen: dict[str, None] = {}
    for number, line in enumerate(numbered_lines(path), start=1):
        if not line.strip():
            continue
        record = parse_json(line.rstrip(), path, first_line=number)
        if not isinstance(record, dict):
            raise DataFormatError(f"{path} line {number} holds a JSON {type(record).__name__}, expected one object per line")
        seen.update(dict.fromkeys(record))
        for field, column in columns.items():
            values[field].append(as_text(record.get(column), f"{path} line {number}", column))
        numbers.append(number)
    _require(path, columns, list(seen))
    return RawTable(pd.DataFrame(values, dtype="str"), Place(path, "line", np.array(numbers, dtype=np.int64)))


def _read_parquet(path: Path, columns: Mapping[str, str]) -> RawTable:
    try:
        file = pq.ParquetFile(path)
        _require(path, columns, file.schema_arrow.names)
        table = file.read(columns=list(dict.fromkeys(columns.values())))
    except (pa.ArrowException, OSError) as error:
        raise DataFormatError(f"{path} is not a readable parquet file ({str(error).splitlines()[0]})") from None
    for column in table.schema:
        if pa.types.is_nested(column.type) or pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type):
            raise DataFormatError(f"{path}: column '{column.name}' holds {column.type}, expected text or numbers")
    frame = table.to_pandas()
    rows = pd.DataFrame({field: frame[column] for field, column in columns.items()})
    return RawTable(rows, Place(path, "row", np.arange(1, len(rows) + 1)))


_READERS: dict[str, Callable[[Path, Mapping[str, str]], RawTable]] = {
    ".csv": _read_csv,
    ".tsv": _read_csv,
    ".jsonl": _read_jsonl,
    ".ndjson": _read_jsonl,
    ".json": _read_jsonl,
    ".parquet": _read_parquet,
    ".pq": _read_parquet,
}


def parse_json(text: str, path: Path, *, first_line: int = 1) -> Any:
    """The value of a JSON text.

    Raises:
        DataFormatError: Broken JSON; the message names line and column of the file.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise DataFormatError(f"{path} line {first_line + error.lineno - 1}: broken JSON at column {error.colno} ({error.msg})") from None
    except (ValueError, RecursionError) as error:
        raise DataFormatError(f"{path} line {first_line}: unusable JSON ({error})") from None


def as_text(value: Any, where: str, field: str) -> str | None:
    """A JSON scalar as text, None for null; half characters (lone surrogates), which no file can hold, are dropped."""
    if value is None or isinstance(value, str):
        return _SURROGATE.sub("", value) if value else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise DataFormatError(f"{where}: '{field}' is a {type(value).__name__}, expected text or a number")
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _require(path: Path, columns: Mapping[str, str], found: list[str]) -> None:
    for field, column in columns.items():
        if column not in found:
            optional = "" if field in ("user_id", "item_id", "text") else ", or to null if there is none"
            existing = ", ".join(map(str, found)) or "none"
            raise DataFormatError(f"{path} has no column '{column}' for {field}; it has: {existing} (set prepare.columns.{field}{optional})")
