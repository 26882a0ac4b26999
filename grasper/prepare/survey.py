"""A look at somebody's table: what is in it, what of it must be declared, and which settings read it. Nothing is changed.

Everything is told at once, with counts and examples. What is proposed is only what the data show; where two readings fit (is 01/02 January or
February?), the finding says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd

from grasper.config import PrepareConfig
from grasper.errors import DataFormatError
from grasper.prepare.fields import clean_text, rating_in
from grasper.prepare.formats import format_of, read_batches
from grasper.prepare.guess import guess_columns
from grasper.prepare.lines import numbered_lines, open_bytes

MAX_ROWS = 200_000
DATE_FORMATS = (
    "%d.%m.%Y",
    "%d.%m.%Y %H:%M",
    "%d.%m.%Y %H:%M:%S",
    "%d.%m.%y",
    "%d/%m/%Y",
    "%m/%d/%Y",
    "%d/%m/%Y %H:%M",
    "%m/%d/%Y %H:%M",
    "%d-%m-%Y",
    "%Y/%m/%d",
    "%Y%m%d",
    "%B %d, %Y",
    "%b %d, %Y",
    "%d %B %Y",
    "%d %b %Y",
    "%a %b %d %H:%M:%S %z %Y",
)
"""Tried in this order; of two that read the same dates, the one that reads more comes first."""
_TEXT_FORMATS = (".csv", ".tsv", ".jsonl", ".ndjson", ".json")
_HTML = r"</?[a-zA-Z][^<>]*>|&(?:[a-z]+|#\d+);"


@dataclass
class Survey:
    """What was found, and the settings that follow."""

    path: Path
    findings: list[str] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    """Keys of `prepare`, in the order of writing."""
    missing: list[str] = field(default_factory=list)
    """Fields that grasper needs and that no column seems to hold."""
    item_ids: frozenset[str] = frozenset()
    """Of the reviews that were looked at."""


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
    if format_of(path) in _TEXT_FORMATS:
        _look_at_bytes(path, survey)
    if format_of(path) in (".csv", ".tsv"):
        _look_at_delimiter(path, survey)
    rows = _read(path, _config(survey))
    if rows.empty:
        raise DataFormatError(f"{path} holds no reviews")
    told = f"the first {MAX_ROWS:,} rows" if len(rows) == MAX_ROWS else f"{len(rows):,} rows"
    survey.findings.append(f"{told}, {len(rows.columns)} columns: {', '.join(map(str, rows.columns[:30]))}")
    columns = guess_columns(rows)
    survey.settings["columns"] = columns
    if unused := [str(column) for column in rows.columns if column not in columns.values()]:
        survey.findings.append(f"not read: {', '.join(unused[:30])}")
    survey.missing = [name for name in ("user_id", "item_id", "text") if columns.get(name) is None]
    if (column := columns.get("rating")) is not None:
        _look_at_ratings(rows[column], column, survey)
    if (column := columns.get("timestamp")) is not None:
        _look_at_dates(rows[column], column, survey)
    _look_at_texts(rows, columns, survey)
    _look_at_people(rows, columns, survey)
    if (column := columns.get("item_id")) is not None:
        survey.item_ids = frozenset(clean_text(rows[column]).dropna())
    return survey


def survey_further(path: Path, survey: Survey) -> None:
    """Look at a further file: more reviews, if it has the columns of the first, else a table of the items that the reviews are about.

    Raises:
        MissingFileError, DataFormatError: The file cannot be read, or is neither; the message says what it has.
    """
    own = Survey(path)
    if format_of(path) in _TEXT_FORMATS:
        _look_at_bytes(path, own)
    if format_of(path) in (".csv", ".tsv"):
        _look_at_delimiter(path, own)
    rows = _read(path, _config(own))
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
    guessed = guess_columns(rows.drop(columns=[key]), only=("name", "category", "brand"))
    settings = {name: value for name, value in own.settings.items() if name in ("encoding", "delimiter")}
    survey.settings["items"] = {"data": str(path.resolve()), **settings, "columns": {"item_id": key, **guessed}}


def _config(survey: Survey) -> PrepareConfig:
    return PrepareConfig.model_validate({key: value for key, value in survey.settings.items() if key in ("encoding", "delimiter")})


def _look_at_bytes(path: Path, survey: Survey) -> None:
    """Is it UTF-8, all of it?"""
    with open_bytes(path) as stream:
        lines = list(islice(stream, MAX_ROWS))
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
    survey.findings.append(f"encoding: {len(wrong):,} lines are not UTF-8, first line {wrong[0]} ({example}); read as {encoding}{mixed}")


def _look_at_delimiter(path: Path, survey: Survey) -> None:
    header = next(numbered_lines(path, _config(survey)))
    counts = {mark: header.count(mark) for mark in (",", ";", "\t", "|")}
    mark = max(counts, key=lambda one: counts[one])
    usual = "\t" if format_of(path) == ".tsv" else ","
    if counts[mark] and mark != usual:
        survey.settings["delimiter"] = mark
        survey.findings.append(f"delimiter: {mark!r} ({counts[mark] + 1} columns in the header)")


def _read(path: Path, config: PrepareConfig) -> pd.DataFrame:
    parts: list[pd.DataFrame] = []
    columns = {name: name for name in _column_names(path, config)}
    for batch in read_batches(path, columns, config):
        parts.append(batch.rows)
        if sum(map(len, parts)) >= MAX_ROWS:
            break
    return pd.concat(parts, ignore_index=True).head(MAX_ROWS)


def _column_names(path: Path, config: PrepareConfig) -> list[str]:
    """The columns that hold plain values."""
    suffix = format_of(path)
    if suffix in (".parquet", ".pq"):
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            schema = pq.read_schema(path)
        except (pa.ArrowException, OSError) as error:
            raise DataFormatError(f"{path} is not a readable parquet file ({str(error).splitlines()[0]})") from None
        return [column.name for column in schema if not pa.types.is_nested(column.type) and not pa.types.is_binary(column.type)]
    if suffix == ".xlsx":
        frame = pd.read_excel(path, nrows=0)
        return [str(name) for name in frame.columns]
    if suffix in (".csv", ".tsv"):
        import csv

        from grasper.prepare.formats import delimiter_of

        return [name.strip() for name in next(csv.reader(numbered_lines(path, config), delimiter=delimiter_of(path, config)))]
    return list(_plain_keys(path, config))


def _plain_keys(path: Path, config: PrepareConfig) -> dict[str, None]:
    from grasper.prepare.formats import json_lines, parse_json
    from grasper.prepare.lines import head

    if head(path, 64).lstrip().startswith(b"["):
        records: Iterator[Any] = iter(parse_json("".join(numbered_lines(path, config)), path))
    else:
        records = (value for _, _, value in json_lines(numbered_lines(path, config), path))
    keys: dict[str, None] = {}
    nested: set[str] = set()
    for record in islice(records, 1000):
        if isinstance(record, dict):
            keys.update(dict.fromkeys(record))
            nested |= {key for key, value in record.items() if isinstance(value, list | dict | bool)}
    return {key: None for key in keys if key not in nested}


def _look_at_ratings(values: pd.Series, column: str, survey: Survey) -> None:
    """Decimal commas, words, the scale, fractions, and what is left over."""
    text = values.dropna().astype("str").str.strip()
    text = text[(text != "") & (text.str.lower() != "nan")]
    if len(text) < len(values):
        survey.findings.append(f"'{column}': {len(values) - len(text):,} ratings are missing; such reviews are kept without one")
    if text.str.fullmatch(r"-?\d+,\d+").any():
        survey.settings["decimal"] = ","
        survey.findings.append(f"'{column}': decimal commas, for example {text[text.str.contains(',')].iloc[0]}")
        text = text.str.replace(",", ".", regex=False)
    numbers = pd.to_numeric(text, errors="coerce")
    words = text[numbers.isna()]
    if (in_words := words.map(rating_in)).notna().any():
        survey.settings["rating_in_words"] = True
        survey.findings.append(f"'{column}': {int(in_words.notna().sum()):,} ratings are words, for example {words[in_words.notna()].iloc[0]!r}")
        numbers = numbers.fillna(in_words.astype("float64"))
    known = numbers.dropna()
    known = known[known.between(-1e6, 1e6)]
    if known.empty:
        return
    low, high = _scale(known)
    if high != 5:
        survey.settings["rating_scale"] = high
    if low != 1:
        survey.settings["rating_lowest"] = low
    off = (~numbers.between(low, high)) | numbers.isna()
    survey.findings.append(
        f"'{column}': a scale of {low}–{high} ({known.min():g} to {known.max():g} found)" + (", mapped to 1–5" if (low, high) != (1, 5) else "")
    )
    if ((known % 1) != 0).any():
        survey.settings["rating_fractions"] = True
        survey.findings.append(f"'{column}': ratings between whole numbers, for example {known[known % 1 != 0].iloc[0]:g}; they are rounded")
    if off.any():
        survey.settings["invalid_rating"] = "null"
        example = text[off].iloc[0]
        survey.findings.append(
            f"'{column}': {int(off.sum()):,} ratings are not on the scale, for example {example!r:.40}; such reviews lose their rating"
        )


def _scale(known: pd.Series) -> tuple[int, int]:
    """The usual scale that holds all but one in a hundred of the ratings."""
    low, high = known.quantile(0.005), known.quantile(0.995)
    ends = next(((first, last) for first, last in ((1, 5), (0, 5), (1, 10), (0, 10), (1, 100), (0, 100)) if first <= low and high <= last), None)
    return ends or (int(known.min()), max(int(known.max()), int(known.min()) + 1))


def _look_at_dates(values: pd.Series, column: str, survey: Survey) -> None:
    text = values.dropna().astype("str").str.strip()
    text = text[(text != "") & (text.str.lower() != "nan")]
    if len(text) < len(values):
        survey.findings.append(f"'{column}': {len(values) - len(text):,} reviews have no date; they are kept for training")
    numbers = pd.to_numeric(text, errors="coerce")
    is_compact = numbers.between(19_000_101, 21_001_231) & text.str.fullmatch(r"\d{8}")
    plausible = numbers.dropna()
    if len(plausible) and not is_compact.any():
        size = plausible.abs().median()
        unit = "us" if size > 1e14 else "ms" if size > 1e11 else None
        if unit:
            survey.settings["timestamp_unit"] = unit
            survey.findings.append(f"'{column}': numbers in {'micro' if unit == 'us' else 'milli'}seconds, for example {text[plausible.index[0]]}")
    left = text[numbers.isna()]
    left = left[pd.to_datetime(left, format="ISO8601", utc=True, errors="coerce").isna()]
    used: list[str] = []
    while len(left):
        reads = {pattern: pd.to_datetime(left, format=pattern, utc=True, errors="coerce").notna() for pattern in DATE_FORMATS}
        best = max(reads, key=lambda pattern: int(reads[pattern].sum()))
        if not reads[best].any():
            break
        used.append(best)
        twin = best.replace("%d/%m", "%m/%d") if "%d/%m" in best else best.replace("%m/%d", "%d/%m")
        same = twin != best and twin in reads and int(reads[twin].sum()) == int(reads[best].sum())
        doubt = f"; {twin} reads as many: check which is meant" if same else ""
        survey.findings.append(f"'{column}': {int(reads[best].sum()):,} dates as {best}, for example {left[reads[best]].iloc[0]}{doubt}")
        left = left[~reads[best]]
    if used:
        survey.settings["date_formats"] = used
    if len(left):
        survey.settings["invalid_timestamp"] = "null"
        survey.findings.append(f"'{column}': {len(left):,} dates cannot be read, for example {left.iloc[0]!r:.40}; such reviews are kept without one")


def _look_at_texts(rows: pd.DataFrame, columns: dict[str, str | None], survey: Survey) -> None:
    for name in ("title", "text"):
        if (column := columns.get(name)) is None:
            continue
        marked = rows[column].astype("str").str.contains(_HTML, regex=True, na=False)
        if marked.any():
            survey.settings["strip_html"] = True
            example = re.search(_HTML, str(rows.loc[marked, column].iloc[0]))
            survey.findings.append(f"'{column}': HTML in {int(marked.sum()):,} rows, for example {example[0] if example else ''!r}; it is taken off")
        empty = int((rows[column].isna() | (rows[column].astype("str").str.strip() == "")).sum())
        if empty:
            fate = "such reviews are left out" if name == "text" else "such reviews are kept"
            survey.findings.append(f"'{column}': {empty:,} rows are empty; {fate}")


def _look_at_people(rows: pd.DataFrame, columns: dict[str, str | None], survey: Survey) -> None:
    """Missing ids, duplicates, how cold the users are, and the split that follows."""
    for name in ("user_id", "item_id"):
        if (column := columns.get(name)) is not None:
            values = rows[column].astype("str").str.strip()
            missing = int((values.isna() | (values == "")).sum())
            if missing:
                survey.findings.append(f"'{column}': {missing:,} rows without an id; they are left out")
            once_numbers = values[values.str.fullmatch(r"\d+\.0", na=False)]
            if len(once_numbers):
                survey.findings.append(f"'{column}': ids such as {once_numbers.iloc[0]} were numbers once; they stay text as they are")
    compared = [column for name in ("user_id", "item_id", "rating", "title", "text") if (column := columns.get(name)) is not None]
    named = rows[compared].apply(clean_text).dropna(subset=[column for column in (columns.get("user_id"), columns.get("item_id")) if column])
    if compared and (repeated := int(named.duplicated().sum())):  # as `prepare` compares them
        survey.findings.append(f"{repeated:,} rows are exact duplicates; each is kept once")
    if columns.get("user_id") is None:
        return
    sizes = clean_text(rows[columns["user_id"]]).value_counts()
    if sizes.empty:
        return
    cold = float((sizes == 1).mean())
    dated = columns.get("timestamp") is not None and (rows[columns["timestamp"]].fillna("").astype("str").str.strip() != "").mean() > 0.5
    survey.settings["split"] = "last-out" if dated and cold < 0.3 else "users"
    why = {
        "users": "users are held out, those with a single review among them",
        "last-out": "the last review of everybody with two or more is asked for",
    }[survey.settings["split"]]
    survey.findings.append(f"{len(sizes):,} users, {cold:.0%} of them with one review; proposed split: {survey.settings['split']} ({why})")
