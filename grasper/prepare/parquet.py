"""Rows of a parquet file in batches, read no further ahead than a batch, and no more unpacked than the file's size explains."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from grasper.config import PrepareConfig
from grasper.errors import DataFormatError
from grasper.prepare.batches import BATCH_CHARACTERS, BATCH_ROWS, LARGEST_EXACT, Batch, Columns, require_columns
from grasper.prepare.fields import Place
from grasper.prepare.lines import MIB, refuse_bomb


def read_parquet(path: Path, columns: Columns, config: PrepareConfig) -> Iterator[Batch]:
    """The mapped columns of a parquet file as text; what unpacks to far more than the file's size is refused before it does."""
    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            require_columns(path, columns, names)
            wanted = [column for column in file.schema_arrow if column.name in columns.values()]
            for column in wanted:
                if not is_plain(column.type):
                    raise DataFormatError(f"{path}: column '{column.name}' holds {column.type}, expected text or numbers")
            sizes = _encoded_sizes(file.metadata, [column.name for column in wanted])
        unpacked, first = sum(map(sum, sizes.values())), 1
        refuse_bomb(path, unpacked, config)
        # Values that a page names by number are not written out before it is known how much that makes.
        numbered = [column.name for column in wanted if _is_text(column.type) and max(sizes[column.name], default=0) <= BATCH_CHARACTERS]
        unpacked = 0
        with pq.ParquetFile(path, pre_buffer=False, buffer_size=MIB, read_dictionary=numbered) as file:  # else whole row groups come into memory
            for part in file.iter_batches(batch_size=BATCH_ROWS, columns=[column.name for column in wanted]):
                characters = np.cumsum(_sizes_of_rows(part))
                unpacked += int(characters[-1]) if len(characters) else 0
                refuse_bomb(path, unpacked, config)
                for start, end in _cuts(characters):
                    piece = part.slice(start, end - start)
                    rows = pd.DataFrame({name: as_text_column(piece.column(piece.schema.names.index(column))) for name, column in columns.items()})
                    yield Batch(rows, Place(path, "row", np.arange(first, first + len(rows)), columns))
                    first += len(rows)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataFormatError(f"{path} is not a readable parquet file ({str(error).splitlines()[0]})") from None


def _encoded_sizes(metadata: pq.FileMetaData, names: list[str]) -> dict[str, list[int]]:
    """Bytes of each column in every row group, decompressed, but with values that repeat named by number."""
    sizes: dict[str, list[int]] = {name: [] for name in names}
    for group in range(metadata.num_row_groups):
        for number in range(metadata.num_columns):
            column = metadata.row_group(group).column(number)
            if column.path_in_schema in sizes:
                sizes[column.path_in_schema].append(column.total_uncompressed_size)
    return sizes


def _sizes_of_rows(part: pa.RecordBatch) -> np.ndarray:
    """Bytes of the texts of every row, written out."""
    total = np.zeros(part.num_rows, dtype=np.int64)
    for column in part.columns:
        if pa.types.is_dictionary(column.type):
            if _is_text(column.type.value_type):
                lengths = pc.fill_null(pc.binary_length(column.dictionary), 0)
                total += pc.fill_null(lengths.take(column.indices), 0).to_numpy(zero_copy_only=False)
        elif _is_text(column.type):
            total += pc.fill_null(pc.binary_length(column), 0).to_numpy(zero_copy_only=False)
    return total


def _cuts(characters: np.ndarray) -> Iterator[tuple[int, int]]:
    """First and last row (exclusive) of pieces that hold about a batch's characters, or one row."""
    start = 0
    while start < len(characters):
        before = int(characters[start - 1]) if start else 0
        end = max(start + 1, int(np.searchsorted(characters, before + BATCH_CHARACTERS, side="right")))
        yield start, end
        start = end


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def is_plain(kind: pa.DataType) -> bool:
    """Whether values of a type are read: texts, numbers and dates are."""
    is_bytes = pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind)
    return not (is_bytes or pa.types.is_nested(kind))


def as_text_column(values: pa.Array) -> pd.Series:
    """An Arrow column as text, dates aside: whole numbers exactly, also where they are floating-point or decimals; NaN is missing."""
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if pa.types.is_date(values.type) or pa.types.is_timestamp(values.type):
        return values.cast(pa.timestamp("s", tz=getattr(values.type, "tz", None)), safe=False).to_pandas()
    if pa.types.is_floating(values.type):
        values = values.cast(pa.float64())
        values = pc.if_else(pc.is_nan(values), pa.scalar(None, pa.float64()), values)
        is_whole = pc.and_(pc.equal(pc.trunc(values), values), pc.less_equal(pc.abs(values), float(LARGEST_EXACT)))
        whole = pc.if_else(is_whole, values, 0.0).cast(pa.int64()).cast(pa.string())
        values = pc.if_else(is_whole, whole, values.cast(pa.string()))
    elif pa.types.is_decimal(values.type):
        values = pc.replace_substring_regex(values.cast(pa.string()), r"\.0+$", "")
    elif not pa.types.is_large_string(values.type):
        values = values.cast(pa.string())
    return pd.Series(values.to_pandas(), dtype="str")
