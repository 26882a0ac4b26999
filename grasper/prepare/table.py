"""A review table of any user, its columns mapped to our fields by `prepare.columns`."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from grasper.config import ItemTable, PrepareConfig
from grasper.errors import MissingFileError
from grasper.prepare.batches import Batch, MappedColumns
from grasper.prepare.formats import read_batches
from grasper.prepare.sources import SOURCES, Input, Source, require_data


def mapped_columns(config: PrepareConfig) -> MappedColumns:
    """Field → column, for the fields that have one."""
    return MappedColumns(config.columns.model_dump(), is_of_table=config.source == "table")


def read_table(path: Path, config: PrepareConfig) -> Iterator[Batch]:
    """The rows of one file."""
    return read_batches(path, mapped_columns(config), config)


def read_item_table(path: Path, items: ItemTable, config: PrepareConfig) -> Iterator[Batch]:
    """The rows of a table of items, which has an encoding and a delimiter of its own."""
    columns = MappedColumns(items.columns.model_dump(), "prepare.items.columns")
    own = {name: getattr(items, name) for name in ("encoding", "delimiter", "quoted")}
    return read_batches(path, columns, config.model_copy(update=own))


def find_table(config: PrepareConfig) -> list[Input]:
    """The one file of a table, and the table of its items where there is one."""
    path = require_data(config)
    if not path.is_file():
        raise MissingFileError(f"prepare.data is {path}, expected a CSV, JSONL, parquet or Excel file" + (" there" if not path.exists() else ""))
    found = [Input(config.name, partial(read_table, path), path)]
    if config.items is not None:
        items = path.parent / config.items.data
        if not items.is_file():
            raise MissingFileError(f"prepare.items.data: {items} does not exist as a file")
        found.append(Input(items.name, partial(read_item_table, items, config.items), items, holds="metadata"))
    return found


SOURCES.register("table", Source("table", "a file: .csv .tsv .jsonl .ndjson .json, plain, gzip or zstd, .parquet .pq .xlsx", find_table))
