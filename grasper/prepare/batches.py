"""Batches of rows, as every source yields them: the mapped fields as text, and where each row stands in its file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from grasper.errors import DataFormatError
from grasper.prepare.fields import Place
from grasper.prepare.lines import MIB
from grasper.registry import nearest_first

BATCH_ROWS = 50_000
BATCH_CHARACTERS = 64 * MIB
LARGEST_EXACT = 2**53
"""Above, a floating-point number may stand for several whole ones."""
Columns = Mapping[str, str]
"""Field → column name in the file."""


class MappedColumns(dict[str, str]):
    """Columns that the configuration names, in its section `section`; those of other kinds of mappings are fixed by their format."""

    def __init__(self, columns: Mapping[str, str | None], section: str = "prepare.columns", *, is_of_table: bool = True) -> None:
        """Keep the fields that have a column; `is_of_table` says whether it is a column of a file that `grasper init` can look at."""
        super().__init__({name: column for name, column in columns.items() if column is not None})
        self.section, self.is_of_table = section, is_of_table


class Batch(NamedTuple):
    """Some rows of a file, the mapped fields as they stand there, and where each row stands."""

    rows: pd.DataFrame
    place: Place
    skipped: int = 0
    """Lines before or among them that were left out (`prepare.invalid_rows: skip`)."""


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
        return len(self.numbers) >= BATCH_ROWS or self._characters > BATCH_CHARACTERS

    def take(self) -> Batch:
        """The whole rows gathered; the next batch begins."""
        count = len(self.numbers)
        place = Place(self._path, self._unit, np.array(self.numbers, dtype=np.int64), self._columns)
        batch = Batch(pd.DataFrame({name: values[:count] for name, values in self.values.items()}, dtype="str"), place, self.skipped.total())
        self.skipped.clear()
        self.values, self.numbers, self._characters = {name: [] for name in self.values}, [], 0
        return batch


def gather(path: Path, unit: str, records: Iterable[tuple[int, Any]], columns: Columns, skipped: Counter[str] | None = None) -> Iterator[Batch]:
    """Batches of JSON objects, given as number and value; `skipped` counts what `records` leave out."""
    gathering, seen, is_first, named = Gathering(path, unit, columns), dict[str, None](), True, list(columns.items())
    gathering.skipped = Counter[str]() if skipped is None else skipped
    try:
        for number, record in records:
            if not isinstance(record, dict):
                raise DataFormatError(f"{path} {unit} {number} holds a JSON {type(record).__name__}, expected one object per {unit}")
            if len(seen) < 1_000:
                seen.update(dict.fromkeys(record))
            values, characters = gathering.values, 0
            for name, column in named:
                value = record.get(column)
                text = value if type(value) is str else as_text(value, path, unit, number, column)
                values[name].append(text)
                characters += len(text) if text else 0
            gathering.numbers.append(number)
            if gathering.is_full(characters):
                if is_first:
                    require_columns(path, columns, list(seen), only=("user_id", "item_id", "text"))
                is_first = False
                yield gathering.take()
    except DataFormatError:
        yield gathering.take()  # so that what is wrong with the rows before is told, too
        raise
    if seen:
        require_columns(path, columns, list(seen))
    yield gathering.take()


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
    return str(int(value)) if isinstance(value, float) and value.is_integer() and abs(value) <= LARGEST_EXACT else str(value)


def require_columns(path: Path, columns: Columns, found: list[str], only: Sequence[str] = ()) -> None:
    """Refuse a mapping that names columns which are not there, or not once; all of them in one message, the nearest names first.

    Args:
        only: The fields that are looked at; all where it is empty.

    Raises:
        DataFormatError: The message says what the file has, and what to set or add.
    """
    missing = {name: column for name, column in columns.items() if column not in found and (not only or name in only)}
    twice = sorted({column for column in columns.values() if found.count(column) > 1})
    if twice:
        raise DataFormatError(f"{path} has {len(twice)} of its columns twice: {', '.join(twice)}; rename one of each")
    if missing:
        told = ", ".join(f"for {name}" if column == "null" else f"'{column}' for {name}" for name, column in missing.items())
        existing = ", ".join(nearest_first(next(iter(missing.values())), list(dict.fromkeys(map(str, found))))[:40]) or "none"
        remedy = "its names are fixed by the format: add it, empty where there is none"
        if isinstance(columns, MappedColumns):
            is_required = all(name in ("user_id", "item_id", "text") for name in missing)
            keys = ", ".join(f"{columns.section}.{name}" for name in missing)
            proposed = f"; `grasper init {path}` proposes them" if columns.is_of_table else ""
            remedy = f"set {keys}{'' if is_required else ', or to null if there is none'}{proposed}"
        raise DataFormatError(f"{path} has no column {told}; it has: {existing} ({remedy})")


def with_targets(batches: Iterator[Batch], are_asked: bool) -> Iterator[Batch]:
    """The batches with `is_target` as truth values; none where nothing is asked."""
    for batch in batches:
        yield batch._replace(rows=batch.rows.assign(is_target=(batch.rows["is_target"] == "1") & are_asked))
