"""The splits of the PGraphRAG benchmark (arXiv 2501.02157), in its own JSON layout or as parquet.

JSON: `<name>_{train,dev,test}.json`, a list of `{id, profile: [{title, text, rating, pid}]}`; the first profile entry is the target.
Parquet: `{train,dev,test}.parquet`; the rows of a user are contiguous and the first one is the target.
Training profiles have no target: pairs are formed by leaving one out (split.py). Missing splits are fine, as long as there is dev or test.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from grasper.config import ColumnMapping, PrepareConfig
from grasper.errors import DataFormatError, MissingFileError
from grasper.prepare.fields import Place
from grasper.prepare.table import RawTable, as_text, clean_rows, numbered_lines, parse_json, read_reviews

SplitName = Literal["train", "dev", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "dev", "test")
_KEYS = {
    "title": ("title", "review_title"),
    "text": ("text", "review_text"),
    "rating": ("rating", "overall_rating"),
    "item_id": ("pid", "product_id"),
}
"""The benchmark's files name the same field in two ways."""


def find_splits(folder: Path, name: str) -> dict[SplitName, Path]:
    """The split files of a folder, in the order train, dev, test.

    Raises:
        MissingFileError: There is no such folder, or neither a dev nor a test split in it.
    """
    if not folder.is_dir():
        hint = " (--set prepare.source=table reads a table of your own)" if folder.is_file() else ""
        raise MissingFileError(f"{folder} is no folder; prepare.data (--data) expects one with dev.parquet or {name}_dev.json{hint}")
    found: dict[SplitName, Path] = {}
    for split in SPLITS:
        candidates = (f"{split}.parquet", f"{name}_{split}.json", f"{name}_{split}.json.gz")
        if path := next((folder / file for file in candidates if (folder / file).is_file()), None):
            found[split] = path
    if "dev" not in found and "test" not in found:
        raise MissingFileError(f"{folder} has neither dev nor test: expected dev.parquet or {name}_dev.json (prepare.name is the prefix)")
    return found


def read_split(path: Path, split: SplitName, config: PrepareConfig) -> pd.DataFrame:
    """The cleaned rows of one split file, with `is_target` on the reviews that the benchmark asks for."""
    if path.suffix == ".parquet":
        rows = read_reviews(path, ColumnMapping(), config)
        starts = (rows["user_id"] != rows["user_id"].shift()) & rows["user_id"].notna()
        if split != "train":
            _require_contiguous(rows, starts, path)
    else:
        table, starts = _read_profiles(path)
        rows = clean_rows(table, config)
    rows["is_target"] = starts if split != "train" else False
    return rows


def _require_contiguous(rows: pd.DataFrame, starts: pd.Series, path: Path) -> None:
    repeated = starts & rows["user_id"].where(starts).duplicated()
    if repeated.any():
        row = rows[repeated].iloc[0]
        raise DataFormatError(
            f"{path} row {row['number']}: user '{row['user_id']}' appears again after other users; "
            "the rows of a user must stand together, the target first"
        )


def _read_profiles(path: Path) -> tuple[RawTable, pd.Series]:
    """The entries of all profiles in file order, and which of them come first in theirs."""
    entries = parse_json("".join(numbered_lines(path)), path)
    if not isinstance(entries, list) or not entries:
        raise DataFormatError(f"{path} holds no list of profiles, expected [{{id, profile: [{{title, text, rating, pid}}]}}, …]")
    values: dict[str, list[str | None]] = {field: [] for field in ("user_id", *_KEYS)}
    numbers, starts = [], []
    for number, entry in enumerate(entries, start=1):
        where = f"{path} entry {number}"
        profile = entry.get("profile") if isinstance(entry, dict) else None
        if not isinstance(profile, list) or not profile or "id" not in entry:
            raise DataFormatError(f"{where}: expected an object with 'id' and a non-empty list 'profile'")
        for position, review in enumerate(profile):
            if not isinstance(review, dict):
                raise DataFormatError(f"{where}: a profile entry is a {type(review).__name__}, expected an object")
            values["user_id"].append(as_text(entry["id"], where, "id"))
            for field, names in _KEYS.items():
                values[field].append(as_text(_first(review, names, where), where, field))
            numbers.append(number)
            starts.append(position == 0)
    rows = pd.DataFrame(values, dtype="str")
    return RawTable(rows, Place(path, "entry", np.array(numbers, dtype=np.int64))), pd.Series(starts)


def _first(review: dict[str, Any], names: tuple[str, ...], where: str) -> Any:
    for name in names:
        if name in review:
            return review[name]
    raise DataFormatError(f"{where}: a profile entry has no '{names[0]}'; it has: {', '.join(map(str, review)) or 'nothing'}")
