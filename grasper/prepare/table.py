"""A review table of any user, its columns mapped to our fields by `prepare.columns`."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from grasper.config import PrepareConfig
from grasper.errors import MissingFileError
from grasper.prepare.formats import Batch, read_batches
from grasper.prepare.sources import SOURCES, Input, Source, require_data


def mapped_columns(config: PrepareConfig) -> dict[str, str]:
    """Field → column, for the fields that have one."""
    return {name: column for name, column in config.columns.model_dump().items() if column is not None}


def read_table(path: Path, config: PrepareConfig) -> Iterator[Batch]:
    """The rows of one file."""
    return read_batches(path, mapped_columns(config), config)


def find_table(config: PrepareConfig) -> list[Input]:
    """The one file of a table."""
    path = require_data(config)
    if not path.is_file():
        raise MissingFileError(f"prepare.data is {path}, expected a CSV, JSONL, parquet or Excel file" + (" there" if not path.exists() else ""))
    return [Input(config.name, partial(read_table, path), path)]


SOURCES.register("table", Source("table", "a file: .csv .tsv .jsonl .ndjson .json .parquet .pq .xlsx, plain, gzip or zstd", find_table))
