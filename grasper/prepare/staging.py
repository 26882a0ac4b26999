"""Texts wait on disk while the splits are decided: cleaned batches go to parquet, what decisions need stays in memory as a narrow table.

The narrow table has one row per review: ids, rating, date, and 64-bit hashes in place of title and text. Two of five million texts share a hash
by chance with a probability below 1e-6, and a duplicate must also share user, item and rating. Joining and sorting are DuckDB's, which goes to disk
where `prepare.memory_mib` is not enough.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from grasper.errors import DataFormatError
from grasper.records import ITEM_COLUMNS, REVIEW_COLUMNS
from grasper.retrieve.pool import normalized

_STAGED = pa.schema(
    [
        ("row", pa.int64()),
        *((name, pa.large_string()) for name in ("user_id", "item_id", "title", "text")),
        ("rating", pa.float64()),
        ("timestamp", pa.int64()),
    ]
)
_ITEMS = pa.schema([("place", pa.int64()), ("is_wanted", pa.bool_()), *((name, pa.large_string()) for name in ITEM_COLUMNS)])
_REVIEWS = pd.DataFrame({name: pd.Series(dtype="str") for name in REVIEW_COLUMNS}).astype({"rating": "float64", "timestamp": "Int64"})
_NARROW = ("user_id", "item_id", "rating", "timestamp", "is_target")
_NARROW_SCHEMA = pa.schema(
    [
        ("user_id", pa.large_string()),
        ("item_id", pa.large_string()),
        ("rating", pa.float64()),
        ("timestamp", pa.int64()),
        ("is_target", pa.bool_()),
        ("row", pa.int64()),
        ("has_text", pa.bool_()),
        ("has_title", pa.bool_()),
        *((name, pa.uint64()) for name in ("title_key", "text_key", "folded_key")),
    ]
)
_WRITTEN_ROWS = 100_000


def review_ids(reviews: pd.DataFrame) -> pd.Series:
    """The names of reviews: label of their input and number of the row there, at least six digits."""
    if "review_id" in reviews:
        return reviews["review_id"]
    names = [f"{label}-{number:06d}" for label, number in zip(reviews["label"], reviews["number"], strict=True)]
    return pd.Series(names, index=reviews.index, dtype="str")


def keyed(reviews: pd.DataFrame) -> pd.DataFrame:
    """The reviews with `has_text`, `has_title` and hashes of title, text and normalized text, added where they are not there yet."""
    if "folded_key" in reviews:
        return reviews
    text, title = reviews["text"].astype("object"), reviews["title"].astype("object")
    folded = text.map(lambda value: normalized(value) if isinstance(value, str) else None).astype("object")
    return reviews.assign(
        has_text=text.notna() & (text != ""), has_title=title.notna(), title_key=_hashes(title), text_key=_hashes(text), folded_key=_hashes(folded)
    )


def _hashes(values: pd.Series) -> np.ndarray:
    """64-bit hashes; missing and empty texts share one."""
    return pd.util.hash_array(values.where(values.notna(), "").to_numpy(dtype=object), categorize=False)


class Staging:
    """A folder with the reviews and items read so far."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._reviews = pq.ParquetWriter(folder / "staged.parquet", _STAGED, compression="zstd", compression_level=1)
        self._items = pq.ParquetWriter(folder / "items.parquet", _ITEMS, compression="zstd", compression_level=1)
        self._narrow: list[pa.Table] = []
        self._segments: list[tuple[str, str | None, int]] = []
        self._rows, self._places = 0, 0

    def add_reviews(self, rows: pd.DataFrame, label: str, pool: str | None) -> None:
        """Take cleaned rows of one file; their ids count on from the rows of this label before them."""
        if rows.empty:
            return
        numbered = rows.assign(row=np.arange(self._rows, self._rows + len(rows)))
        self._rows += len(rows)
        self._reviews.write_table(pa.Table.from_pandas(numbered[_STAGED.names], schema=_STAGED, preserve_index=False))
        self.add_items(rows[list(ITEM_COLUMNS)], is_wanted=True)
        kept = keyed(numbered)[[*_NARROW, "row", "has_text", "has_title", "title_key", "text_key", "folded_key"]]
        self._narrow.append(pa.Table.from_pandas(kept, schema=_NARROW_SCHEMA, preserve_index=False))
        self._segments.append((label, pool, len(rows)))

    def add_items(self, rows: pd.DataFrame, *, is_wanted: bool) -> None:
        """Take what is known of items; those that are not `is_wanted` stay only where a review names them."""
        known = rows[rows["item_id"].notna()].drop_duplicates()
        placed = known.assign(place=np.arange(self._places, self._places + len(known)), is_wanted=is_wanted)
        self._places += len(known)
        self._items.write_table(pa.Table.from_pandas(placed[_ITEMS.names], schema=_ITEMS, preserve_index=False))

    def narrow(self) -> pd.DataFrame:
        """One row per review in the order of reading, without its texts, and with what names it: `label` of its input and `number` of the row there.

        Reading is over. Ids are categories.
        """
        self._reviews.close()
        self._items.close()
        if not self._narrow:
            raise DataFormatError("no input holds a review")
        table, self._narrow = pa.concat_tables(self._narrow), []
        for position, name in enumerate(_NARROW[:2]):  # every id once in memory
            table = table.set_column(position, name, table.column(name).dictionary_encode())
        reviews = table.to_pandas(self_destruct=True, split_blocks=True).astype({"timestamp": "Int64"})
        del table
        labels, pools, sizes = zip(*self._segments, strict=True)
        reviews["label"] = pd.Categorical(np.repeat(np.array(labels, dtype=object), sizes))
        reviews["split"] = np.repeat(np.array(pools, dtype=object), sizes)
        reviews["number"] = reviews.groupby("label", observed=True).cumcount() + 1
        return reviews

    def write(self, reviews: pd.DataFrame, out_dir: Path, memory_mib: int) -> int:
        """`reviews.parquet` with the chosen rows in their order and `items.parquet`; the number of items.

        Args:
            reviews: Narrow rows that stay, with `row`, `label`, `number` and `split`.
        """
        chosen = self._folder / "chosen.parquet"
        reviews[["row", "label", "number", "split"]].assign(place=np.arange(len(reviews))).to_parquet(chosen, index=False)
        with _duckdb(self._folder, memory_mib) as database:
            places = {"staged": self._folder / "staged.parquet", "chosen": chosen, "items": self._folder / "items.parquet"}
            for name, path in places.items():
                database.read_parquet(str(path)).create_view(name)
            written = database.sql(
                """
                SELECT format('{}-{:06d}', label, number) AS review_id, user_id, item_id, rating, title,
                       coalesce(text, '') AS text, "timestamp", chosen.split
                FROM staged JOIN chosen USING (row) ORDER BY chosen.place
                """
            )
            _write(written.to_arrow_reader(_WRITTEN_ROWS), pa.Schema.from_pandas(_REVIEWS, preserve_index=False), out_dir / "reviews.parquet")
            # Each field is the first that any source gives, in the order of reading.
            firsts = ", ".join(f"arg_min({name}, place) FILTER ({name} IS NOT NULL) AS {name}" for name in ITEM_COLUMNS[1:])
            items = database.sql(
                f"""
                SELECT item_id, {firsts} FROM items GROUP BY item_id
                HAVING bool_or(is_wanted) OR item_id IN (SELECT item_id FROM staged) ORDER BY min(place)
                """
            )
            empty = pd.DataFrame({name: pd.Series(dtype="str") for name in ITEM_COLUMNS})
            return _write(items.to_arrow_reader(_WRITTEN_ROWS), pa.Schema.from_pandas(empty, preserve_index=False), out_dir / "items.parquet")


def _duckdb(folder: Path, memory_mib: int) -> Any:
    import duckdb

    settings: dict[str, Any] = {"memory_limit": f"{memory_mib}MiB", "temp_directory": str(folder / "spilled"), "preserve_insertion_order": "false"}
    return duckdb.connect(":memory:", config=settings)


def _write(batches: Iterator[pa.RecordBatch], schema: pa.Schema, path: Path) -> int:
    count = 0
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for batch in batches:
            count += batch.num_rows
            writer.write_table(pa.Table.from_batches([batch]).cast(schema))
    return count
