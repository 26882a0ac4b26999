"""Which files a configuration reads, and their rows as one table.

A data set is a list of inputs: its own splits (or table), then the sets of `prepare.train`, whose rows all join the training pool.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd

from grasper.config import PrepareConfig
from grasper.errors import ConfigError, MissingFileError
from grasper.prepare.bundled import harbour_folder
from grasper.prepare.fields import clean_text
from grasper.prepare.pgraphrag import SplitName, find_splits, read_split
from grasper.prepare.table import read_reviews, read_table
from grasper.records import ITEM_COLUMNS
from grasper.runs import fingerprint, fingerprint_file


@dataclass(frozen=True)
class Input:
    """One file. `label` starts its review ids; `pool` is where its rows belong, None where `prepare.split` decides."""

    path: Path
    label: str
    kind: Literal["split", "table", "items"]
    pool: SplitName | None = None


def find_inputs(config: PrepareConfig) -> list[Input]:
    """All files that the configuration reads.

    Raises:
        ConfigError: `prepare.data` is not set, or a training set is listed twice.
        MissingFileError: A file or folder does not exist.
    """
    if config.source == "table":
        base = _require_data(config)
        if not base.is_file():
            raise MissingFileError(f"prepare.data is {base}, expected a CSV, JSONL or parquet file")
        inputs, folder = [Input(base, config.name, "table")], base.parent
    else:
        folder = harbour_folder() if config.is_bundled else _require_data(config)
        inputs = [
            Input(path, f"{config.name}-{split}", "split", split if config.split == "given" else None)
            for split, path in find_splits(folder, config.name).items()
        ]
        inputs += _items_of(folder)
    for entry in config.train:
        inputs += _training_inputs(folder / entry, config)
    labels = [given.label for given in inputs if given.kind != "items"]
    if twice := sorted({label for label in labels if labels.count(label) > 1}):
        raise ConfigError(f"prepare.train names the same set twice: {', '.join(twice)}")
    return inputs


def fingerprint_data(config: PrepareConfig) -> str:
    """A short hash of the content of all input files."""
    return fingerprint([(given.label, given.kind, fingerprint_file(given.path)) for given in find_inputs(config)])


def read_inputs(inputs: list[Input], config: PrepareConfig) -> tuple[pd.DataFrame, pd.DataFrame]:
    """All reviews and all items of the inputs, cleaned.

    Reviews have `review_id` (label and row number in its file), `split` (None where still to be decided), `is_target` and their fields.
    """
    parts, items = [], []
    for given in inputs:
        if given.kind == "items":
            items.append(_read_items(given.path))
            continue
        if given.kind == "split":
            rows = read_split(given.path, given.pool or "train", config)
        else:
            rows = read_reviews(given.path, config.columns, config).assign(is_target=False)
        rows["review_id"] = [f"{given.label}-{row:06d}" for row in range(1, len(rows) + 1)]
        rows["split"] = pd.Series(given.pool, index=rows.index, dtype="object")
        items.append(rows[list(ITEM_COLUMNS)])
        parts.append(rows.drop(columns=["name", "category", "brand", "number"]))
    return pd.concat(parts, ignore_index=True), _merge_items(items)


def _require_data(config: PrepareConfig) -> Path:
    if config.data is None:
        example = "reviews.csv" if config.source == "table" else f"../shared/data/{config.name}"
        raise ConfigError(f"prepare.data is not set: say where the {config.name} data are, for example --data {example}")
    return config.data


def _items_of(folder: Path) -> list[Input]:
    path = folder / "items.parquet"
    return [Input(path, folder.name, "items")] if path.is_file() else []


def _training_inputs(path: Path, config: PrepareConfig) -> list[Input]:
    """The files of one entry of `prepare.train`: a folder in the parquet layout, or a single file."""
    if path.is_dir():
        for stem in ("train", "reviews"):
            if (file := path / f"{stem}.parquet").is_file():
                return [Input(file, f"{path.resolve().name}-{stem}", "split", "train"), *_items_of(path)]
        raise MissingFileError(f"prepare.train: {path} holds neither train.parquet nor reviews.parquet")
    if not path.is_file():
        raise MissingFileError(f"prepare.train: {path} does not exist (paths are relative to prepare.data)")
    label = f"{path.resolve().parent.name}-{path.name.split('.')[0]}"
    return [Input(path, label, "table" if config.source == "table" else "split", "train")]


def _read_items(path: Path) -> pd.DataFrame:
    rows = read_table(path, {column: column for column in ITEM_COLUMNS}).rows
    return rows.apply(clean_text)


def _merge_items(parts: list[pd.DataFrame]) -> pd.DataFrame:
    """One row per item, in order of first appearance; each field is the first that any source gives."""
    rows = pd.concat(parts, ignore_index=True).dropna(subset=["item_id"])
    return rows.groupby("item_id", sort=False, as_index=False).first()[list(ITEM_COLUMNS)]
