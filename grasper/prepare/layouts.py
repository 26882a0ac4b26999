"""What the public review collections have in common: JSON lines with reviews, JSON lines with items, joined by the item's id.

A collection is a `Layout`: which keys hold which field, and what must be known beyond that (milliseconds, a zero that means "not rated").
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

from grasper.config import PrepareConfig
from grasper.errors import DataFormatError, MissingFileError
from grasper.prepare.batches import Batch, gather
from grasper.prepare.formats import SKIP_ADVICE, parse_json
from grasper.prepare.lines import numbered_lines
from grasper.prepare.sources import Input
from grasper.rows import without_halves

Record = dict[str, Any]
_REVIEW_FIELDS = ("user_id", "item_id", "text", "title", "rating", "timestamp")
_ITEM_FIELDS = ("item_id", "name", "category", "brand")


@dataclass(frozen=True)
class Layout:
    """One version of a collection. Every field takes the first key that a record has."""

    name: str
    reviews: Mapping[str, tuple[str, ...]]
    items: Mapping[str, tuple[str, ...]]
    change: Callable[[Record], Record] = lambda record: record
    """What is done to a review's fields after they were picked."""

    def fits(self, record: Record) -> bool:
        """Whether a review of this layout looks so: ids and text are there."""
        return all(any(key in record for key in self.reviews[name]) for name in ("user_id", "item_id", "text"))


def review_input(path: Path, layouts: Iterable[Layout], label: str) -> Input:
    """A file of reviews."""
    return Input(label, partial(_read_reviews, path, tuple(layouts)), path)


def item_input(path: Path, layouts: Iterable[Layout]) -> Input:
    """A file of items."""
    return Input(path.name, partial(_read_items, path, tuple(layouts)), path, holds="metadata")


def _read_reviews(path: Path, layouts: tuple[Layout, ...], config: PrepareConfig) -> Iterator[Batch]:
    skipped = Counter[str]()
    lines = records(path, config, skipped)
    first = list(islice(lines, 1))
    if not first:
        raise DataFormatError(f"{path} holds no reviews")
    layout = next((layout for layout in layouts if layout.fits(first[0][1])), None)
    if layout is None:
        expected = " or ".join(f"{one.name}: {', '.join(keys[0] for keys in one.reviews.values())}" for one in layouts)
        raise DataFormatError(f"{path} line {first[0][0]} has the keys {', '.join(first[0][1])[:300]}; expected those of {expected}")
    picked = ((number, layout.change(_pick(record, layout.reviews))) for number, record in chain(first, lines))
    yield from gather(path, "line", picked, {name: name for name in _REVIEW_FIELDS}, skipped)


def _read_items(path: Path, layouts: tuple[Layout, ...], config: PrepareConfig) -> Iterator[Batch]:
    keys = {name: tuple(dict.fromkeys(key for layout in layouts for key in layout.items.get(name, ()))) for name in _ITEM_FIELDS}
    skipped = Counter[str]()
    picked = ((number, _pick(record, keys)) for number, record in records(path, config, skipped))
    yield from gather(path, "line", picked, {name: name for name in _ITEM_FIELDS}, skipped)


def records(path: Path, config: PrepareConfig, skipped: Counter[str]) -> Iterator[tuple[int, Record]]:
    """Line number and object of every line: JSON, or the Python literals of the oldest Amazon files.

    Args:
        skipped: Counts broken lines where `invalid_rows` is `skip`.
    """
    for number, line in enumerate(numbered_lines(path, config, skipped), start=1):
        if not (text := line.strip()):
            continue
        try:
            value = _literal(text, path, number) if text.startswith("{'") else parse_json(text, path, first_line=number)
        except DataFormatError as error:
            if config.invalid_rows != "skip":
                raise DataFormatError(f"{error}{SKIP_ADVICE}") from None
            skipped["json"] += 1
            continue
        if not isinstance(value, dict):
            raise DataFormatError(f"{path} line {number} holds a {type(value).__name__}, expected one object per line")
        yield number, without_halves(value) if "\\u" in text else value


def _literal(text: str, path: Path, number: int) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        raise DataFormatError(f"{path} line {number}: neither JSON nor a Python literal") from None


def _pick(record: Record, keys: Mapping[str, tuple[str, ...]]) -> Record:
    picked = {}
    for name, names in keys.items():
        value = None
        for key in names:
            value = record.get(key)
            if value or value == 0:
                break
        picked[name] = value if type(value) is str else _plain(value)
    return picked


def _plain(value: Any) -> Any:
    """Lists, such as paths of categories or paragraphs, as one text; of several paths the first."""
    while isinstance(value, list) and value and isinstance(value[0], list):
        value = value[0]
    if isinstance(value, list):
        return " > ".join(str(entry) for entry in value if isinstance(entry, str | int | float)) or None
    return None if isinstance(value, dict) else value


def find_files(folder: Path, patterns: Iterable[str], what: str) -> list[Path]:
    """The files of a folder that fit one of the patterns, by name; a file stands for itself.

    Raises:
        MissingFileError: There is none.
    """
    if folder.is_file():
        return [folder]
    found = sorted({path for pattern in patterns for path in folder.glob(pattern) if path.is_file()}) if folder.is_dir() else []
    if not found:
        raise MissingFileError(f"{folder} holds no {what}: expected {' or '.join(patterns)} (`grasper data info` says where from)")
    return found


def stem(path: Path) -> str:
    """A file's name without its suffixes."""
    return path.name.split(".")[0]
