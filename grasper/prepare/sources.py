"""The door for data: what a source is, which sources there are, and which files a configuration reads.

A data set is a list of inputs: its own splits (or table), then the sets of `prepare.train`, whose rows all join the training pool.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from grasper.config import PrepareConfig
from grasper.errors import ConfigError, MissingFileError
from grasper.files import fingerprint_file
from grasper.prepare.batches import Batch
from grasper.registry import Registry
from grasper.runs import fingerprint

Pool = Literal["train", "dev", "test"]


@dataclass(frozen=True)
class Input:
    """One file (or query) and how its rows are read."""

    label: str
    """Starts its review ids."""
    read: Callable[[PrepareConfig], Iterator[Batch]]
    """Its rows in batches; a column `is_target` marks the reviews that a benchmark asks for."""
    path: Path | None = None
    identity: str | None = None
    """Stands for the content in the fingerprint where there is no file, or where its bytes say less than its rows."""
    pool: Pool | None = None
    """Where its rows belong; None where `prepare.split` decides."""
    holds: Literal["reviews", "items", "metadata"] = "reviews"
    """`metadata` describes items, of which only those with reviews are kept."""

    def fingerprint(self) -> str:
        return self.identity or (fingerprint_file(self.path) if self.path else "")


@dataclass(frozen=True)
class Source:
    """A layout of data that grasper reads."""

    name: str
    reads: str
    """What `prepare.data` is, in one line."""
    find: Callable[[PrepareConfig], list[Input]]
    """The inputs of a configuration.

    Raises:
        ConfigError: A setting that this source needs is missing.
        MissingFileError: A file or folder does not exist.
    """
    origin: str = "your own"
    licence: str = "your own"
    extra: str | None = None
    """The optional dependency (`pip install 'grasper[…]'`) that it needs."""
    splits: bool = False
    """Whether it brings splits of its own (`prepare.split: given`)."""


SOURCES: Registry[Source] = Registry("source (prepare.source)", ConfigError)


def sources() -> Registry[Source]:
    """All sources: the shipped ones, those of installed packages and of plugins."""
    for name in ("bundled", "pgraphrag", "table", "amazon", "yelp", "goodreads", "lamp", "hub", "sql"):
        importlib.import_module(f"grasper.prepare.{name}")
    return SOURCES


def find_inputs(config: PrepareConfig) -> list[Input]:
    """All that the configuration reads.

    Raises:
        ConfigError: An unknown source, `prepare.data` is not set, or two inputs have one name.
        MissingFileError: A file or folder does not exist.
    """
    source = sources().get(config.source)
    if config.split == "given" and not source.splits:
        bringing = ", ".join(name for name, other in sources().items() if other.splits)
        raise ConfigError(f"prepare.split is 'given', but a {source.name} brings no splits (only {bringing}); use last-out, users or none")
    inputs = source.find(config)
    folder = _folder(config)
    for entry in config.train:
        inputs += _training_inputs(folder / entry, config)
    labelled: dict[str, list[str]] = {}
    for given in inputs:
        if given.holds == "reviews":
            labelled.setdefault(given.label, []).append(str(given.path))
    for label, paths in labelled.items():
        if len(paths) > 1:
            raise ConfigError(f"several inputs are called '{label}': {', '.join(paths)}; keep one of them, or rename the others")
    return inputs


def fingerprint_data(config: PrepareConfig) -> str:
    """A short hash of the content of all inputs."""
    return fingerprint([(given.label, given.holds, given.fingerprint()) for given in find_inputs(config)])


def require_data(config: PrepareConfig) -> Path:
    """Where the data are.

    Raises:
        ConfigError: The configuration does not say it.
    """
    if config.data is None:
        example = "reviews.csv" if config.source == "table" else f"../shared/data/{config.name}"
        raise ConfigError(f"prepare.data is not set: say where the {config.name} data are, for example --data {example}")
    return config.data


def _folder(config: PrepareConfig) -> Path:
    if config.data is None:
        from grasper.prepare.bundled import harbour_folder

        return harbour_folder() if config.is_bundled else Path()
    return config.data.parent if config.data.is_file() else config.data


def items_of(folder: Path) -> list[Input]:
    """The `items.parquet` of a folder, if there is one."""
    path = folder / "items.parquet"
    return [Input(folder.name, partial(read_items, path), path, holds="items")] if path.is_file() else []


def read_items(path: Path, config: PrepareConfig) -> Iterator[Batch]:
    """The rows of an items table in our own columns."""
    from grasper.prepare.formats import read_batches
    from grasper.records import ITEM_COLUMNS

    return read_batches(path, {name: name for name in ITEM_COLUMNS}, config)


def _training_inputs(path: Path, config: PrepareConfig) -> list[Input]:
    """The files of one entry of `prepare.train`: a folder in the parquet layout, or a single file."""
    from grasper.prepare.pgraphrag import read_split
    from grasper.prepare.table import read_table

    if path.is_dir():
        for stem in ("train", "reviews"):
            if (file := path / f"{stem}.parquet").is_file():
                return [Input(f"{path.resolve().name}-{stem}", partial(read_split, file, "train"), file, pool="train"), *items_of(path)]
        raise MissingFileError(f"prepare.train: {path} holds neither train.parquet nor reviews.parquet")
    if not path.is_file():
        raise MissingFileError(f"prepare.train: {path} does not exist (paths are relative to prepare.data)")
    label = f"{path.resolve().parent.name}-{path.name.split('.')[0]}"
    read = partial(read_table, path) if config.source == "table" else partial(read_split, path, "train")
    return [Input(label, read, path, pool="train")]
