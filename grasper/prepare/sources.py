"""The door for data: what a source is, and what one needs to be written. `inputs.py` says which there are, and which files a configuration reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from grasper.config import PrepareConfig
from grasper.errors import ConfigError
from grasper.files import fingerprint_file
from grasper.prepare.batches import Batch
from grasper.prepare.formats import read_batches
from grasper.records import ITEM_COLUMNS
from grasper.registry import Registry

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


def require_data(config: PrepareConfig) -> Path:
    """Where the data are.

    Raises:
        ConfigError: The configuration does not say it.
    """
    if config.data is None:
        example = "reviews.csv" if config.source == "table" else f"../shared/data/{config.name}"
        raise ConfigError(f"prepare.data is not set: say where the {config.name} data are, for example --data {example}")
    return config.data


def items_of(folder: Path) -> list[Input]:
    """The `items.parquet` of a folder, if there is one."""
    path = folder / "items.parquet"
    return [Input(folder.name, partial(read_items, path), path, holds="items")] if path.is_file() else []


def read_items(path: Path, config: PrepareConfig) -> Iterator[Batch]:
    """The rows of an items table in our own columns."""
    return read_batches(path, {name: name for name in ITEM_COLUMNS}, config)
