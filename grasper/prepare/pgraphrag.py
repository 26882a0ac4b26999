"""The splits of the PGraphRAG benchmark (arXiv 2501.02157), in its own JSON layout or as parquet.

JSON: `<name>_{train,dev,test}.json`, a list of `{id, profile: [{title, text, rating, pid}]}`; the first profile entry is the target.
Parquet: `{train,dev,test}.parquet`; the rows of a user are contiguous and the first one is the target.
Training profiles have no target: pairs are formed by leaving one out (split.py). Missing splits are fine, as long as there is dev or test.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from grasper.config import PrepareConfig
from grasper.errors import DataFormatError, MissingFileError
from grasper.prepare.arrays import elements
from grasper.prepare.batches import Batch, gather, with_targets
from grasper.prepare.formats import is_list, read_batches
from grasper.prepare.sources import SOURCES, Input, Source, items_of, require_data
from grasper.prepare.table import mapped_columns
from grasper.rows import without_halves

SplitName = Literal["train", "dev", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "dev", "test")
_KEYS = {
    "title": ("title", "review_title"),
    "text": ("text", "review_text"),
    "rating": ("rating", "overall_rating"),
    "item_id": ("pid", "product_id"),
}
"""The benchmark's files name the same field in two ways."""
FIELDS = ("user_id", *_KEYS)


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


def find_benchmark(config: PrepareConfig) -> list[Input]:
    """The split files of `prepare.data` and its items."""
    folder = require_data(config)
    splits = find_splits(folder, config.name)
    inputs = [
        Input(f"{config.name}-{split}", partial(read_split, path, split if config.split == "given" else "train"), path, pool=_pool(split, config))
        for split, path in splits.items()
    ]
    return inputs + items_of(folder)


def _pool(split: SplitName, config: PrepareConfig) -> SplitName | None:
    return split if config.split == "given" else None


def read_split(path: Path, split: SplitName, config: PrepareConfig) -> Iterator[Batch]:
    """The rows of one split file, with `is_target` on the reviews that the benchmark asks for."""
    if path.suffix == ".parquet":
        yield from _read_parquet(path, split, config)
    else:
        yield from _read_profiles(path, split, config)


def _read_parquet(path: Path, split: SplitName, config: PrepareConfig) -> Iterator[Batch]:
    before, seen = "", set[str]()
    for batch in read_batches(path, dict(mapped_columns(PrepareConfig())), config):
        users = batch.rows["user_id"].fillna("").astype("object")
        starts = (users != users.shift(fill_value=before)) & (users != "")
        if split != "train":
            for index in np.flatnonzero(starts.to_numpy()):
                if users.iloc[index] in seen:
                    raise DataFormatError(
                        f"{batch.place.of(int(index))}: user '{users.iloc[index]}' appears again after other users; "
                        "the rows of a user must stand together, the target first"
                    )
                seen.add(users.iloc[index])
        before = str(users.iloc[-1]) if len(users) else before
        yield batch._replace(rows=batch.rows.assign(is_target=starts if split != "train" else False))


def _read_profiles(path: Path, split: SplitName, config: PrepareConfig) -> Iterator[Batch]:
    """The entries of all profiles in file order; the first of each is its target."""
    if not is_list(path):
        raise DataFormatError(f"{path} holds no list of profiles, expected [{{id, profile: [{{title, text, rating, pid}}]}}, …]")
    yield from with_targets(
        gather(path, "entry", _reviews_of(elements(path, config), path), {name: name for name in (*FIELDS, "is_target")}), split != "train"
    )


def _reviews_of(entries: Iterator[tuple[int, Any]], path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, entry in entries:
        where = f"{path} entry {number}"
        profile = entry.get("profile") if isinstance(entry, dict) else None
        if not isinstance(profile, list) or not profile or "id" not in entry:
            raise DataFormatError(f"{where}: expected an object with 'id' and a non-empty list 'profile'")
        for position, review in enumerate(profile):
            if not isinstance(review, dict):
                raise DataFormatError(f"{where}: a profile entry is a {type(review).__name__}, expected an object")
            fields = {name: without_halves(_first(review, names, where)) for name, names in _KEYS.items()}
            yield number, {"user_id": without_halves(entry["id"]), **fields, "is_target": "1" if position == 0 else "0"}


def _first(review: dict[str, Any], names: tuple[str, ...], where: str) -> Any:
    for name in names:
        if name in review:
            return review[name]
    raise DataFormatError(f"{where}: a profile entry has no '{names[0]}'; it has: {', '.join(map(str, review)) or 'nothing'}")


SOURCES.register(
    "pgraphrag",
    Source(
        "pgraphrag",
        "a folder: <name>_{train,dev,test}.json (or .json.gz), or {train,dev,test}.parquet",
        find_benchmark,
        origin="https://github.com/PGraphRAG-benchmark/PGraphRAG",
        licence="the repository names none; the reviews keep their own",
        splits=True,
    ),
)
