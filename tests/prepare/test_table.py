"""A user's own table: every format gives the same rows, every fault names its line."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pandas as pd
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from grasper.config import ColumnMapping, PrepareConfig
from grasper.errors import DataFormatError, MissingFileError
from grasper.prepare.table import read_reviews

CONFIG = PrepareConfig(source="table", split="users")
ROWS = [
    {"user_id": "u1", "item_id": "i1", "text": "fine", "title": "ok", "rating": "4", "timestamp": "2020-01-01"},
    {"user_id": "u2", "item_id": "i1", "text": 'two\nlines, "quoted"', "title": "", "rating": "5", "timestamp": "0"},
]
HEADER = "user_id,item_id,text,title,rating,timestamp\n"


def write(folder: Path, suffix: str) -> Path:
    path = folder / f"reviews{suffix}"
    if ".parquet" in suffix:
        pd.DataFrame(ROWS).to_parquet(path)
        return path
    if ".csv" in suffix:
        content = pd.DataFrame(ROWS).to_csv(index=False)
    elif ".tsv" in suffix:
        content = pd.DataFrame(ROWS).to_csv(index=False, sep="\t")
    else:
        content = "".join(json.dumps(row) + "\n" for row in ROWS)
    data = content.encode()
    path.write_bytes(gzip.compress(data) if suffix.endswith(".gz") else zstandard.compress(data) if suffix.endswith(".zst") else data)
    return path


def read(path: Path, **columns: str | None) -> pd.DataFrame:
    return read_reviews(path, ColumnMapping(**columns), CONFIG)  # type: ignore[arg-type]


def put(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".csv.zst", ".tsv", ".jsonl", ".jsonl.gz", ".jsonl.zst", ".json", ".parquet"])
def test_all_formats_give_the_same_rows(tmp_path: Path, suffix: str) -> None:
    rows = read(write(tmp_path, suffix))
    assert rows["user_id"].tolist() == ["u1", "u2"]
    assert rows["text"].tolist() == ["fine", 'two\nlines, "quoted"']
    assert rows["rating"].tolist() == [4, 5]
    assert rows["title"].isna().tolist() == [False, True]
    assert rows["timestamp"].tolist() == [1577836800, 0]


def test_columns_are_mapped_and_absent_ones_may_be_null(tmp_path: Path) -> None:
    path = put(tmp_path, "r.csv", "who,what,said,shop\nu,7,hello,Corner\n")
    rows = read(path, user_id="who", item_id="what", text="said", title=None, rating=None, timestamp=None, name="shop")
    row = rows.iloc[0]
    assert (row["user_id"], row["item_id"], row["text"], row["name"]) == ("u", "7", "hello", "Corner")
    assert pd.isna(row["rating"])
    assert pd.isna(row["timestamp"])
    assert not row["is_invalid_rating"]


def test_numbers_as_ids_read_alike_in_every_format(tmp_path: Path) -> None:
    record = {**ROWS[0], "user_id": 12, "item_id": 129543938.0}
    rows = read(put(tmp_path, "r.jsonl", json.dumps(record)))
    assert rows.loc[0, ["user_id", "item_id"]].tolist() == ["12", "129543938"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("r.csv", "", "is empty"),
        ("r.csv", HEADER, "holds no reviews"),
        ("r.csv", b"PK\x03\x04\x00\x00", "line 1 holds binary data"),
        ("r.csv", HEADER.encode() + b"u,i,caf\xe9,t,5,\n", "line 2 is not UTF-8"),
        ("r.csv", HEADER + "u,i,x,t,5,\nu,i,x\n", "line 3: 3 cells, expected 6"),
        ("r.csv", HEADER + 'u,i,x,t,5,\nu,i,"never closed,t,5,\nu,i,x,t,5,\n', "line 3: broken CSV"),
        ("r.csv", HEADER + 'u,i,"two\nlines",t,5,\nu,i,x,t,seven,\n', "line 4: 'rating' is seven"),
        ("r.csv", HEADER.replace("text", "body") + "u,i,x,t,5,\n", "no column 'text' for text; it has: user_id, item_id, body"),
        ("r.csv", HEADER.replace("title", "head") + "u,i,x,t,5,\n", "columns.title, or to null if there is none"),
        ("r.jsonl", json.dumps(ROWS[0]) + '\n\n{"user_id": \n', "line 3: broken JSON"),
        ("r.jsonl", "[1, 2]\n", "line 1 holds a JSON list, expected one object per line"),
        ("r.jsonl", json.dumps({**ROWS[0], "text": ["a"]}), "line 1: 'text' is a list"),
        ("r.jsonl", json.dumps({"user_id": "u", "stars": 3}), "no column 'item_id' for item_id; it has: user_id, stars"),
        ("r.jsonl", '{"a":' * 100_000, "line 1: "),
        ("r.parquet", "not parquet at all", "not a readable parquet file"),
        ("r.xlsx", "x", "unknown format '.xlsx', expected one of .csv"),
        ("reviews", "x", "unknown format ''"),
    ],
)
def test_every_fault_is_one_clear_line(tmp_path: Path, name: str, content: str | bytes, message: str) -> None:
    with pytest.raises(DataFormatError) as caught:
        read(put(tmp_path, name, content))
    assert message in str(caught.value)
    assert str(tmp_path / name) in str(caught.value)


def test_a_truncated_gzip_names_the_last_good_line(tmp_path: Path) -> None:
    """Incompressible lines, so that some decompress before the break."""
    lines = "".join(json.dumps({**ROWS[0], "text": f"{number}" * 40}) + "\n" for number in range(5000))
    path = put(tmp_path, "r.jsonl.gz", gzip.compress(lines.encode())[:-2000])
    with pytest.raises(DataFormatError, match=r"truncated gzip file: it breaks off after line \d{3,}"):
        read(path)


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_damaged_archives_are_refused(tmp_path: Path, suffix: str) -> None:
    data = bytearray(write(tmp_path, f".jsonl{suffix}").read_bytes())
    truncated = put(tmp_path, f"short.jsonl{suffix}", bytes(data[: len(data) // 2]))
    with pytest.raises(DataFormatError, match="short"):
        read(truncated)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"gone\.csv does not exist"):
        read(tmp_path / "gone.csv")


def test_half_characters_in_json_are_dropped(tmp_path: Path) -> None:
    """A lone surrogate is valid JSON but cannot be written to any file."""
    path = put(tmp_path, "r.jsonl", '{"user_id":"u","item_id":"i","text":"a\\ud83d b","title":null,"rating":1,"timestamp":null}')
    assert read(path).loc[0, "text"] == "a b"


@given(st.binary(max_size=300))
def test_no_bytes_crash_the_readers(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    """Whatever a file holds, it is either read or refused with a DataFormatError."""
    folder = tmp_path_factory.mktemp("fuzz")
    for name in ("f.csv", "f.jsonl", "f.parquet"):
        path, problem, columns = put(folder, name, content), "", set()
        try:
            columns = set(read(path).columns)
        except DataFormatError as error:
            problem = str(error)
        assert name in problem or {"user_id", "item_id", "text"} <= columns
