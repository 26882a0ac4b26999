"""Texts wait on disk while the splits are decided: cleaned batches go to parquet, and what decisions need comes back as a narrow table.

The narrow table has one row per review: numbers in place of ids, rating, date, and 64-bit hashes in place of title and text. Two of five million
texts share a hash by chance with a probability below 1e-6, and a duplicate must also share user, item and rating. What is written is brought into
order by parcels (see `_in_order`); items are DuckDB's, which goes to disk where `prepare.memory_mib` is not enough.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from grasper.errors import DataFormatError
from grasper.prepare.lines import MIB
from grasper.records import ITEM_COLUMNS, REVIEW_COLUMNS
from grasper.retrieve.pool import normalized

_IDS = ("user_id", "item_id")
_STAGED = pa.schema(
    [
        *((name, pa.large_string()) for name in (*_IDS, "title", "text")),
        ("rating", pa.float64()),
        ("timestamp", pa.int64()),
        *((name, pa.bool_()) for name in ("is_target", "has_text", "has_title")),
        *((name, pa.uint64()) for name in ("title_key", "text_key", "folded_key")),
    ]
)
_NARROW = tuple(name for name in _STAGED.names if name not in (*_IDS, "title", "text"))
_ITEMS = pa.schema([("place", pa.int64()), ("is_wanted", pa.bool_()), *((name, pa.large_string()) for name in ITEM_COLUMNS)])
_REVIEWS = pd.DataFrame({name: pd.Series(dtype="str") for name in REVIEW_COLUMNS}).astype({"rating": "float64", "timestamp": "Int64"})
_TEXTS = (*_IDS, "rating", "title", "text", "timestamp")
_WRITTEN_ROWS = 100_000
_PARTED_ROWS = 50_000
_MOST_PARCELS = 256
"""Files that are open at once."""


def review_ids(reviews: pd.DataFrame) -> pd.Series:
    """The names of reviews: label of their input and number of the row there, at least six digits."""
    if "review_id" in reviews:
        return reviews["review_id"]
    label, number = pa.array(reviews["label"].astype("category")), pa.array(reviews["number"]).cast(pa.string())
    names = pc.binary_join_element_wise(label.cast(pa.string()), pc.utf8_lpad(number, 6, "0"), "-")
    return pd.Series(names.to_pandas().array, index=reviews.index, dtype="str")


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
        self._segments: list[tuple[str, str | None, int]] = []
        self._places = 0
        self._hand = ThreadPoolExecutor(max_workers=1)  # writes one batch while the next is read
        self._pending: deque[Future[None]] = deque()
        self.names: dict[str, pa.Array] = {}
        """Of users and items, by their number in the narrow table."""

    def add_reviews(self, rows: pd.DataFrame, label: str, pool: str | None) -> None:
        """Take cleaned rows of one file; their ids count on from the rows of this label before them."""
        if rows.empty:
            return
        self._write(self._reviews, pa.Table.from_pandas(keyed(rows)[_STAGED.names], schema=_STAGED, preserve_index=False))
        self.add_items(rows[list(ITEM_COLUMNS)], is_wanted=True)
        self._segments.append((label, pool, len(rows)))

    def add_items(self, rows: pd.DataFrame, *, is_wanted: bool) -> None:
        """Take what is known of items; those that are not `is_wanted` stay only where a review names them."""
        known = rows[rows["item_id"].notna()].drop_duplicates()
        placed = known.assign(place=np.arange(self._places, self._places + len(known)), is_wanted=is_wanted)
        self._places += len(known)
        self._write(self._items, pa.Table.from_pandas(placed[_ITEMS.names], schema=_ITEMS, preserve_index=False))

    def _write(self, writer: pq.ParquetWriter, table: pa.Table) -> None:
        while len(self._pending) > 1:
            self._pending.popleft().result()
        self._pending.append(self._hand.submit(writer.write_table, table))

    def narrow(self) -> pd.DataFrame:
        """One row per review in the order of reading, without its texts, and with what names it: `label` of its input and `number` of the row there.

        Reading is over. `user_id` and `item_id` are numbers, as categories; `names` says what they stand for.
        """
        for written in self._pending:
            written.result()
        self._hand.shutdown()
        self._reviews.close()
        self._items.close()
        if not self._segments:
            raise DataFormatError("no input holds a review")
        path = self._folder / "staged.parquet"
        columns: dict[str, Any] = {}
        for name in _IDS:
            columns[name], self.names[name] = _encoded(path, name)
        columns |= {name: _column(path, name) for name in _NARROW}
        columns["row"] = np.arange(len(columns["rating"]), dtype=np.int32)
        labels, pools, sizes = zip(*self._segments, strict=True)
        columns["label"] = pd.Categorical(labels).repeat(sizes)
        columns["split"] = np.repeat(np.array(pools, dtype=object), sizes)
        reviews = pd.DataFrame(columns, copy=False)
        reviews["number"] = reviews.groupby("label", observed=True).cumcount().astype("int32") + np.int32(1)
        pa.default_memory_pool().release_unused()  # what parts of the columns took
        return reviews

    def write(self, reviews: pd.DataFrame, out_dir: Path, memory_mib: int) -> int:
        """`reviews.parquet` with the chosen rows in their order and `items.parquet`; the number of items.

        Args:
            reviews: Narrow rows that stay, with `row`, `label`, `number` and `split`.
        """
        written = pa.Schema.from_pandas(_REVIEWS, preserve_index=False)
        _write(_in_order(reviews, self._folder, memory_mib), written, out_dir / "reviews.parquet")
        with _duckdb(self._folder, memory_mib) as database:
            database.read_parquet(str(self._folder / "items.parquet")).create_view("items")
            # Each field is the first that any source gives, in the order of reading.
            firsts = ", ".join(f"arg_min({name}, place) FILTER ({name} IS NOT NULL) AS {name}" for name in ITEM_COLUMNS[1:])
            items = database.sql(
                f"""
                SELECT item_id, {firsts} FROM items GROUP BY item_id
                HAVING bool_or(is_wanted) ORDER BY min(place)
                """
            )
            empty = pd.DataFrame({name: pd.Series(dtype="str") for name in ITEM_COLUMNS})
            batches = (pa.Table.from_batches([batch]) for batch in items.to_arrow_reader(_WRITTEN_ROWS))
            return _write(batches, pa.Schema.from_pandas(empty, preserve_index=False), out_dir / "items.parquet")


def _encoded(path: Path, name: str) -> tuple[pd.Categorical[Any], pa.Array]:
    """A column of ids as numbers, and the ids by number: each is in memory once, and never as an object of Python."""
    column = pq.read_table(path, columns=[name], read_dictionary=[name]).column(name).unify_dictionaries().combine_chunks()
    numbers = pc.fill_null(column.indices, -1).to_numpy()
    return pd.Categorical.from_codes(numbers, categories=pd.RangeIndex(len(column.dictionary))), column.dictionary


def _column(path: Path, name: str) -> pd.Series:
    return pq.read_table(path, columns=[name]).column(name).to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get)


def _in_order(reviews: pd.DataFrame, folder: Path, memory_mib: int) -> Iterator[pa.Table]:
    """The chosen reviews with their texts, in order, in parcels small enough to be sorted in memory.

    Every staged row is put into the parcel that its place falls into; then one parcel after the other is sorted. DuckDB's join and sort of all texts
    held all the memory that it was allowed and more, and gave up at 256 MiB.
    """
    staged = pq.ParquetFile(folder / "staged.parquet", pre_buffer=False)  # else the whole file comes into memory
    size = sum(staged.metadata.row_group(group).total_byte_size for group in range(staged.num_row_groups))
    count = min(1 + 16 * size // (memory_mib * MIB), _MOST_PARCELS)
    place_of = np.full(staged.metadata.num_rows, -1, dtype=np.int64)
    place_of[reviews["row"]] = np.arange(len(reviews))
    first = np.linspace(0, len(reviews), count + 1).astype(np.int64)  # of each parcel
    schema = pa.schema([("place", pa.int64()), *(field for field in _STAGED if field.name in _TEXTS)])
    with ExitStack() as opened:
        parcels = []
        for number in range(count):
            file = opened.enter_context(pa.OSFile(str(folder / f"parcel-{number}.arrow"), "wb"))
            parcels.append(opened.enter_context(pa.ipc.new_stream(file, schema, options=pa.ipc.IpcWriteOptions(compression="lz4"))))
        row = 0
        for batch in staged.iter_batches(batch_size=_PARTED_ROWS, columns=list(_TEXTS)):
            place = place_of[row : row + batch.num_rows]
            row += batch.num_rows
            order = np.argsort(place, kind="stable")
            ends = np.searchsorted(place[order], first)
            table = pa.Table.from_batches([batch]).take(order).add_column(0, "place", pa.array(place[order])).select(schema.names)
            for parcel, start, end in zip(parcels, ends[:-1], ends[1:], strict=True):
                if end > start:
                    parcel.write_table(table.slice(start, end - start))
    for number in range(count):
        path = folder / f"parcel-{number}.arrow"
        with pa.OSFile(str(path)) as file:
            table = pa.ipc.open_stream(file).read_all().sort_by("place")
        path.unlink()
        chosen = reviews.iloc[first[number] : first[number + 1]]
        text = pc.fill_null(table.column("text"), "")
        table = table.set_column(table.schema.get_field_index("text"), "text", text).append_column("review_id", pa.array(review_ids(chosen)))
        yield table.append_column("split", pa.array(chosen["split"], pa.large_string()))


def _duckdb(folder: Path, memory_mib: int) -> Any:
    import duckdb

    settings: dict[str, Any] = {"memory_limit": f"{memory_mib}MiB", "temp_directory": str(folder / "spilled"), "preserve_insertion_order": "false"}
    return duckdb.connect(":memory:", config=settings)


def _write(tables: Iterable[pa.Table], schema: pa.Schema, path: Path) -> int:
    count = 0
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for table in tables:
            count += table.num_rows
            writer.write_table(table.select(schema.names).cast(schema), row_group_size=_WRITTEN_ROWS)
    return count
