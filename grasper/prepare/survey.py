"""A look at somebody's table: what is in it, what of it must be declared, and which settings read it. Nothing is changed.

Everything is told at once, with counts and examples. What is proposed is only what the data show; where two readings fit (is 01/02 January or
February?), the finding says so.
"""

from __future__ import annotations

import csv
import re
import zlib
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from grasper.config import PrepareConfig
from grasper.errors import DataFormatError, MissingFileError
from grasper.prepare.arrays import elements
from grasper.prepare.fields import clean_text
from grasper.prepare.formats import csv_cells, csv_lines, excel_header, format_of, is_list, json_lines, read_batches, swallowed_rows
from grasper.prepare.guess import guess_columns, rivals
from grasper.prepare.lines import MIB, numbered_lines, open_bytes
from grasper.prepare.parquet import is_plain
from grasper.prepare.values import Survey, look_at_dates, look_at_people, look_at_ratings, look_at_texts

MAX_ROWS = 200_000
MAX_BYTES = 64 * MIB
"""Of a JSON list, which may be a single line."""
_NOT_ASCII = bytes(range(0x80, 0x100))
"""Where the bytes end in the middle of a letter, it is left out."""
_KINDS = {list: "lists", dict: "objects", bool: "truth values"}
_OF_TEXT_FILES = ("encoding", "delimiter", "quoted")
_TEXT_FORMATS = (".csv", ".tsv", ".jsonl", ".ndjson", ".json")


def survey_table(path: Path) -> Survey:
    """Look at up to 200,000 rows of a file in any of the known formats.

    Raises:
        MissingFileError, DataFormatError: The file cannot be read at all.
    """
    survey = Survey(path)
    survey.settings |= {
        "source": "table",
        "name": re.sub(r"[^\w-]+", "-", path.name.split(".")[0]).strip("-") or "table",
        "data": str(path.resolve()),
    }
    rows = _open(path, survey)
    if rows.empty:
        raise DataFormatError(f"{path} holds no reviews")
    told = f"the first {MAX_ROWS:,} rows" if len(rows) == MAX_ROWS else f"{len(rows):,} rows"
    survey.findings.append(f"{told}, {len(rows.columns)} columns: {', '.join(map(str, rows.columns[:30]))}")
    columns = guess_columns(rows)
    survey.settings["columns"] = columns
    if unused := [str(column) for column in rows.columns if column not in columns.values()]:
        survey.findings.append(f"not read: {', '.join(unused[:30])}")
    survey.findings += _doubts(rows, columns)
    survey.missing = [name for name in ("user_id", "item_id", "text") if columns.get(name) is None]
    if (column := columns.get("rating")) is not None:
        look_at_ratings(rows[column], column, survey)
    if (column := columns.get("timestamp")) is not None:
        look_at_dates(rows[column], column, survey)
    look_at_texts(rows, columns, survey)
    look_at_people(rows, columns, survey)
    if (column := columns.get("item_id")) is not None:
        survey.item_ids = frozenset(clean_text(rows[column]).dropna())
    return survey


def survey_further(path: Path, survey: Survey) -> None:
    """Look at a further file: more reviews, if it has the columns of the first, else a table of the items that the reviews are about.

    Raises:
        MissingFileError, DataFormatError: The file cannot be read, or is neither; the message says what it has.
    """
    own = Survey(path)
    rows = _open(path, own)
    columns = survey.settings["columns"]
    if all(column in rows.columns for column in columns.values() if column is not None):
        survey.settings.setdefault("train", []).append(str(path.resolve()))
        survey.findings.append(f"{path.name}: {len(rows):,} rows with the same columns; they join the training pool")
        return
    shares = {str(name): clean_text(rows[name].astype("str")).isin(survey.item_ids) for name in rows.columns}
    found = {name: set(clean_text(rows.loc[is_known, name].astype("str"))) for name, is_known in shares.items()}
    key = max(found, key=lambda name: len(found[name]), default=None)
    if key is None or not found[key]:
        told = f"neither the columns of {survey.path.name} nor one with the ids of its items ({', '.join(sorted(survey.item_ids)[:3])} …)"
        raise DataFormatError(f"{path} has {told}; it has: {', '.join(map(str, rows.columns[:40]))}")
    if "items" in survey.settings:
        raise DataFormatError(f"{path} and {survey.settings['items']['data']} are both tables of items; join them into one")
    ids = clean_text(rows[key].astype("str"))
    survey.findings += [f"{path.name}: {finding}" for finding in own.findings]
    known = f"{len(found[key]):,} of the {len(survey.item_ids):,} items with reviews are among them"
    survey.findings.append(f"{path.name}: {len(rows):,} rows about items, by '{key}': {known}")
    if repeated := int(ids.dropna().duplicated().sum()):
        survey.findings.append(f"{path.name}: {repeated:,} rows have an id that stood before; of each field the first value counts")
    others = rows.drop(columns=[key])
    guessed = guess_columns(others, only=("name", "category", "brand"))
    survey.findings += [f"{path.name}: {doubt}" for doubt in _doubts(others, guessed)]
    settings = {name: value for name, value in own.settings.items() if name in _OF_TEXT_FILES}
    survey.settings["items"] = {"data": str(path.resolve()), **settings, "columns": {"item_id": key, **guessed}}


def _doubts(rows: pd.DataFrame, columns: dict[str, str | None]) -> list[str]:
    """Which choices between columns a person should look at."""
    return [
        f"'{columns[name]}' is read as {name}, {', '.join(like[:10])} could be, too: check which is meant"
        for name, like in rivals(rows, columns).items()
    ]


def _open(path: Path, survey: Survey) -> pd.DataFrame:
    """The rows, read as the survey finds that they are written."""
    if not path.is_file():
        raise MissingFileError(f"{path} does not exist" + (" as a file, but as a folder; name a table in it" if path.is_dir() else ""))
    if format_of(path) in _TEXT_FORMATS:
        _look_at_bytes(path, survey)
    if format_of(path) in (".csv", ".tsv"):
        _look_at_delimiter(path, survey)
        _look_at_quotes(path, survey)
    return _read(path, _config(survey), survey)


def _config(survey: Survey) -> PrepareConfig:
    return PrepareConfig.model_validate({key: value for key, value in survey.settings.items() if key in _OF_TEXT_FILES})


def _look_at_bytes(path: Path, survey: Survey) -> None:
    """Is it UTF-8, all of it?"""
    try:
        with open_bytes(path) as stream:
            lines = stream.read(MAX_BYTES).rstrip(_NOT_ASCII).splitlines(keepends=True) if is_list(path) else list(islice(stream, MAX_ROWS))
    except (EOFError, OSError, zlib.error, pa.ArrowException):
        return  # told when the rows are read
    if not lines or b"\x00" in lines[0]:
        return  # a wide encoding is told by its mark, or refused as binary
    wrong, accented = [], 0
    for number, line in enumerate(lines, start=1):
        try:
            accented += not line.decode("utf-8").isascii()
        except UnicodeDecodeError:
            wrong.append(number)
    if not wrong:
        survey.findings.append("encoding: UTF-8" + (" with a byte order mark" if lines[0].startswith(b"\xef\xbb\xbf") else ""))
        return
    encoding = "cp1252"
    try:
        b"".join(lines).decode(encoding)
    except UnicodeDecodeError:
        encoding = "latin-1"
    survey.settings["encoding"] = encoding
    mixed = f"; {accented:,} other lines are UTF-8 and will look wrong: the file mixes encodings" if accented else ""
    example = lines[wrong[0] - 1].decode(encoding).strip()[:60]
    read = f"read as {encoding}, which is right if the letters are; else set prepare.encoding, for example to cp1251"
    survey.findings.append(f"encoding: {len(wrong):,} lines are not UTF-8, first line {wrong[0]} ({example}); {read}{mixed}")


def _look_at_delimiter(path: Path, survey: Survey) -> None:
    lines, said, before = csv_lines(path, _config(survey))
    if before:
        survey.findings.append(f"delimiter: {said!r}, as the first line says")
        return
    header = next(lines)
    counts = {mark: header.count(mark) for mark in (",", ";", "\t", "|")}
    mark = max(counts, key=lambda one: counts[one])
    usual = "\t" if format_of(path) == ".tsv" else ","
    if counts[mark] and mark != usual:
        survey.settings["delimiter"] = mark
        survey.findings.append(f"delimiter: {mark!r} ({counts[mark] + 1} columns in the header)")


def _look_at_quotes(path: Path, survey: Survey) -> None:
    """Are they letters like any other? So it is where only then all rows are as wide as the header."""

    def goes_wrong(quoted: bool | None) -> int | None:
        """The first line of a row that cannot be right."""
        config = _config(survey).model_copy(update={"quoted": quoted})
        lines, delimiter, before = csv_lines(path, config)
        rows, start, width = csv_cells(lines, delimiter, config), before + 1, 0
        try:
            for row in islice(rows, MAX_ROWS):
                width = width or len(row)
                if (row and len(row) != width) or swallowed_rows(row, delimiter):
                    return start
                start = before + rows.line_num + 1
        except csv.Error:
            return start
        return None

    if (line := goes_wrong(None)) and not goes_wrong(quoted=False):
        survey.settings["quoted"] = False
        survey.findings.append(f"quotes: letters like any other, no cell is in quotes (line {line} could not be read otherwise)")


def _read(path: Path, config: PrepareConfig, survey: Survey) -> pd.DataFrame:
    parts: list[pd.DataFrame] = []
    names = Counter(_column_names(path, config, survey))
    if twice := [name for name, count in names.items() if count > 1]:
        survey.findings.append(f"not read, since more than one column has the name: {', '.join(twice)}; rename one of each")
    columns = {name: name for name, count in names.items() if count == 1}
    if not columns:
        raise DataFormatError(f"{path} has no column that can be read")
    for batch in read_batches(path, columns, config):
        parts.append(batch.rows)
        if sum(map(len, parts)) >= MAX_ROWS:
            break
    return pd.concat(parts, ignore_index=True).head(MAX_ROWS)


def _column_names(path: Path, config: PrepareConfig, survey: Survey) -> list[str]:
    """The columns that hold plain values."""
    suffix = format_of(path)
    if suffix in (".parquet", ".pq"):
        try:
            schema = pq.read_schema(path)
        except (pa.ArrowException, OSError) as error:
            raise DataFormatError(f"{path} is not a readable parquet file ({str(error).splitlines()[0]})") from None
        _tell_of_others({column.name: str(column.type) for column in schema if not is_plain(column.type)}, survey)
        return [column.name for column in schema if is_plain(column.type)]
    if suffix == ".xlsx":
        return [name for name in excel_header(path, config) if name]
    if suffix in (".csv", ".tsv"):
        try:
            lines, delimiter, _ = csv_lines(path, config)
            return [name for cell in next(csv_cells(lines, delimiter, config), []) if (name := cell.strip())]
        except csv.Error as error:
            told = "expected text whose lines end with a line feed; is it binary, or are its line ends those of an old Mac (bare carriage returns)?"
            raise DataFormatError(f"{path} has no header that can be read as CSV ({error}): {told}") from None
    return _plain_keys(path, config, survey)


def _plain_keys(path: Path, config: PrepareConfig, survey: Survey) -> list[str]:
    """The keys of JSON objects that hold plain values; what the others hold is told.

    Raises:
        DataFormatError: All of them hold lists or objects.
    """
    if is_list(path):
        records: Iterator[Any] = (value for _, value in elements(path, config))
    else:
        records = (value for _, value in json_lines(numbered_lines(path, config), path))
    keys: dict[str, None] = {}
    nested: dict[str, str] = {}
    for record in islice(records, 1000):
        if isinstance(record, dict):
            keys.update(dict.fromkeys(record))
            nested |= {key: _KINDS[type(value)] for key, value in record.items() if isinstance(value, list | dict | bool)}
    if plain := [key for key in keys if key not in nested]:
        _tell_of_others(nested, survey)
        return plain
    if keys:
        raise DataFormatError(
            f"{path} wraps or nests its reviews: {_kinds(nested)}; expected objects whose values are text and numbers, one for each review"
        )
    return []


def _tell_of_others(kinds: dict[str, str], survey: Survey) -> None:
    """What columns hold that are not plain."""
    if kinds:
        survey.findings.append(f"not read, since the values are not plain: {_kinds(kinds)}; what is wanted of them needs a column of its own")


def _kinds(kinds: dict[str, str]) -> str:
    return ", ".join(f"'{name}' ({kind})" for name, kind in list(kinds.items())[:30])
