"""A user's own table: every format gives the same rows, every fault names its line."""

from __future__ import annotations

import gzip
import json
import zipfile
from collections import Counter
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from grasper.config import ColumnMapping, PrepareConfig
from grasper.errors import DataFormatError, MissingFileError
from grasper.prepare import build_tables
from grasper.prepare.batches import MappedColumns
from grasper.prepare.fields import Problems
from grasper.prepare.formats import read_batches
from grasper.prepare.parquet import as_text_column
from grasper.prepare.rows import clean_rows
from grasper.prepare.table import mapped_columns, read_table

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


def read(path: Path, config: PrepareConfig = CONFIG, **columns: str | None) -> pd.DataFrame:
    """The cleaned rows of all batches."""
    config = config.model_copy(update={"columns": ColumnMapping(**columns)})  # type: ignore[arg-type]
    problems = Problems()
    rows = pd.concat([clean_rows(batch, config, problems, Counter()) for batch in read_table(path, config)], ignore_index=True)
    problems.raise_any()
    return rows


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
        (
            "r.jsonl",
            json.dumps({"user_id": "u", "stars": 3}),
            "'rating' for rating, 'timestamp' for timestamp; it has: user_id, stars",
        ),
        ("r.jsonl", '{"a":' * 100_000, "line 1: "),
        ("r.parquet", "not parquet at all", "not a readable parquet file"),
        ("r.xlsx", "x", "not a readable Excel file"),
        ("r.docx", "x", "unknown format '.docx', expected one of .csv"),
        ("reviews", "x", "unknown format ''"),
    ],
)
def test_every_fault_is_one_clear_line(tmp_path: Path, name: str, content: str | bytes, message: str) -> None:
    with pytest.raises(DataFormatError) as caught:
        read(put(tmp_path, name, content))
    assert message in str(caught.value)
    assert str(tmp_path / name) in str(caught.value)


TSV = HEADER.replace(",", "\t")
UNQUOTED = TSV + 'u\ti\t"Great, they said\tt\t5\t\nv\ti\tfine\tt\t4\t\nw\ti\tand they were "right"\tt\t3\t\nx\ti\t"Great"\tt\t2\t\n'
"""As Amazon's own dumps: of four rows the first and the last would make one."""


def test_a_quote_that_would_swallow_rows_is_refused_where_tabs_separate(tmp_path: Path) -> None:
    """A quote at the start of one text and one at the end of a later one make a row of the right width, and nothing would tell what is lost."""
    path = put(tmp_path, "r.tsv", UNQUOTED.replace('"right"', "right").replace('"Great"', 'Great"'))
    with pytest.raises(DataFormatError, match=r"line 2: a cell in quotes that ends in line 5 .*rows; --set prepare.quoted=false"):
        read(path)
    assert len(read(path, CONFIG.model_copy(update={"quoted": True}))) == 1
    path = put(tmp_path, "r.csv", HEADER + 'u,i,"one, two, three, four, five\nsix, seven",t,5,\n')
    assert len(read(path)) == 1, "commas stand in prose"
    path = put(tmp_path, "r.tsv", TSV + 'u\ti\t"one\ttwo\nthree"\tt\t5\t\n')
    assert len(read(path)) == 1, "a tab and a line end in a quoted cell"


def test_where_nothing_is_quoted_a_quote_is_a_letter(tmp_path: Path) -> None:
    rows = read(put(tmp_path, "r.tsv", UNQUOTED), CONFIG.model_copy(update={"quoted": False}))
    assert rows["text"].tolist() == ['"Great, they said', "fine", 'and they were "right"', '"Great"']


def test_folders_that_were_made_before_the_setting_keep_their_key() -> None:
    assert "quoted" not in CONFIG.model_dump()
    assert CONFIG.model_copy(update={"quoted": False}).model_dump()["quoted"] is False


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


@pytest.mark.parametrize("part", ["xl/worksheets/sheet1.xml", "xl/workbook.xml", "[Content_Types].xml"])
@pytest.mark.parametrize("share", [0.0, 0.5])
def test_a_damaged_excel_file_is_told_in_one_line(tmp_path: Path, part: str, share: float) -> None:
    """Its parts are whole XML, or are not there."""
    pd.DataFrame(ROWS).to_excel(tmp_path / "whole.xlsx")
    with zipfile.ZipFile(tmp_path / "whole.xlsx") as whole, zipfile.ZipFile(tmp_path / "r.xlsx", "w") as damaged:
        for name in whole.namelist():
            content = whole.read(name)
            if name != part or share:
                damaged.writestr(name, content if name != part else content[: int(share * len(content))])
    with pytest.raises(DataFormatError, match="not a readable Excel file"):
        read(tmp_path / "r.xlsx")


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


BIG = [9007199254740992, 9007199254740993, None]


def with_ids(users: list[object], items: list[object] | None = None) -> list[dict[str, object]]:
    return [{"user_id": user, "item_id": item, "text": "fine"} for user, item in zip(users, items or ["i"] * len(users), strict=True)]


PLAIN = {"title": None, "rating": None, "timestamp": None}


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".json", ".parquet", ".xlsx"])
def test_ids_are_what_the_file_holds(tmp_path: Path, suffix: str) -> None:
    """Large whole numbers stay apart beside a null, small ones get no decimals, leading zeros and text stay."""
    path = tmp_path / f"r{suffix}"
    if suffix == ".parquet":
        pd.DataFrame({"user_id": pd.array(BIG, dtype="Int64"), "item_id": [7.0, 8.0, None], "text": "fine"}).to_parquet(path)
    elif suffix == ".xlsx":
        pd.DataFrame(with_ids([str(BIG[0]), str(BIG[1]), None], [7.0, 8.0, None])).to_excel(path, index=False)
    elif suffix in (".csv", ".tsv"):
        rows = [("user_id", "item_id", "text"), (BIG[0], 7, "fine"), (BIG[1], 8, "fine"), ("", "", "fine")]
        path.write_text("".join(("\t" if suffix == ".tsv" else ",").join(map(str, row)) + "\n" for row in rows))
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in with_ids(BIG, [7, 8.0, None])))
    rows = read(path, **PLAIN)
    assert rows["user_id"].tolist()[:2] == ["9007199254740992", "9007199254740993"]
    assert rows["item_id"].tolist()[:2] == ["7", "8"]
    assert rows.loc[2, ["user_id", "item_id"]].isna().all()


def test_text_ids_keep_their_form(tmp_path: Path) -> None:
    """What is text in the file is no number: leading zeros, decimals and exponents are part of the id; 30 digits are exact in JSON."""
    rows = read(put(tmp_path, "r.csv", "user_id,item_id,text\n007,1000.0,a\n1e5,x y,b\n"), **PLAIN)
    assert rows[["user_id", "item_id"]].values.tolist() == [["007", "1000.0"], ["1e5", "x y"]]
    digits = "123456789012345678901234567890"
    assert read(put(tmp_path, "r.jsonl", f'{{"user_id": {digits}, "item_id": 1, "text": "a"}}'), **PLAIN).loc[0, "user_id"] == digits


def test_nan_is_missing_everywhere(tmp_path: Path) -> None:
    """As JSON programs and parquet write it; the word is a word where a text column holds it."""
    line = '{"user_id": NaN, "item_id": "i", "text": NaN, "title": NaN, "rating": NaN, "timestamp": NaN}\n'
    rows = read(put(tmp_path, "r.jsonl", line))
    assert rows[["user_id", "text", "title", "rating", "timestamp"]].isna().all(axis=None)
    frame = pd.DataFrame({"user_id": [float("nan"), 2.0], "item_id": ["i", "j"], "text": pd.Series([None, "x"], dtype="object")})
    frame.to_parquet(tmp_path / "r.parquet")
    rows = read(tmp_path / "r.parquet", **PLAIN)
    assert rows["user_id"].isna().tolist() == [True, False]
    assert rows["user_id"].iloc[1] == "2"


def test_int64_parquet_with_a_null_keeps_forty_users_apart(tmp_path: Path) -> None:
    users = pd.array([2**53 + n for n in range(40)] + [None], dtype="Int64")
    pd.DataFrame({"user_id": users, "item_id": "i", "text": "x"}).to_parquet(tmp_path / "r.parquet")
    assert read(tmp_path / "r.parquet", **PLAIN)["user_id"].nunique() == 40


@pytest.mark.parametrize("suffix", [".json", ".jsonl", ".csv", ".parquet"])
def test_batches_hold_a_bounded_number_of_characters(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """However few rows they are."""
    for module in ("batches", "parquet"):
        monkeypatch.setattr(f"grasper.prepare.{module}.BATCH_CHARACTERS", 1_000)
    rows = pd.DataFrame({"user_id": "u", "item_id": "i", "text": ["long text " * 50] * 10})
    path = tmp_path / f"r{suffix}"
    {
        ".json": lambda: rows.to_json(path, orient="records"),
        ".jsonl": lambda: rows.to_json(path, orient="records", lines=True),
        ".csv": lambda: rows.to_csv(path, index=False),
        ".parquet": lambda: rows.to_parquet(path),
    }[suffix]()
    config = CONFIG.model_copy(update={"columns": ColumnMapping(**PLAIN)})  # type: ignore[arg-type]
    assert max(len(batch.rows) for batch in read_table(path, config)) <= 2


def test_a_large_file_is_read_in_batches(tmp_path: Path) -> None:
    """120,000 rows come as three batches whose line numbers go on."""
    path = put(tmp_path, "r.csv", "user_id,item_id,text\n" + "u,i,x\n" * 120_000)
    config = CONFIG.model_copy(update={"columns": ColumnMapping(**PLAIN)})  # type: ignore[arg-type]
    sizes = [(len(batch.rows), int(batch.place.numbers[0])) for batch in read_table(path, config)]
    assert sizes == [(50_000, 2), (50_000, 50_002), (20_000, 100_002)]


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16", "utf-8-sig", "utf-16-le"])
def test_declared_or_marked_encodings(tmp_path: Path, encoding: str) -> None:
    content = "user_id,item_id,text\nJosé,i,schön ċ\n".replace(" ċ", "" if encoding == "cp1252" else " ċ")
    config = CONFIG.model_copy(update={"encoding": encoding if encoding in ("cp1252", "utf-16-le") else None})
    rows = read(put(tmp_path, "r.csv", content.encode(encoding)), config, **PLAIN)
    assert rows.loc[0, "user_id"] == "José"
    assert rows.loc[0, "text"] == ("schön" if encoding == "cp1252" else "schön ċ")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig"])
def test_a_json_list_in_a_wide_encoding(tmp_path: Path, encoding: str) -> None:
    """Windows PowerShell writes UTF-16, with its mark, and a JSON list over many lines."""
    content = json.dumps([{"user_id": "José", "item_id": "i", "text": "schön ċ"}], indent=4, ensure_ascii=False)
    config = CONFIG.model_copy(update={"encoding": encoding if encoding in ("utf-16-le", "utf-16-be") else None})
    rows = read(put(tmp_path, "r.json", content.encode(encoding)), config, **PLAIN)
    assert rows.loc[0, ["user_id", "text"]].tolist() == ["José", "schön ċ"]


def test_mixed_encodings_are_told_with_line_and_way_out(tmp_path: Path) -> None:
    path = put(tmp_path, "r.csv", "user_id,item_id,text\nu,i,schön\n".encode() + "u,i,schön\n".encode("cp1252"))
    with pytest.raises(DataFormatError, match=r"line 3 is not UTF-8 text.*prepare\.encoding=cp1252"):
        read(path, **PLAIN)


def test_suffixes_in_capitals_and_long_cells(tmp_path: Path) -> None:
    """A cell may be longer than the 131,072 characters of Python's csv; it is cut at the limit, and that is counted."""
    path = put(tmp_path, "R.TSV", "user_id\titem_id\ttext\nu\ti\t" + "x" * 200_000 + "\n")
    assert len(read(path, **PLAIN).loc[0, "text"]) == 100_000
    with pytest.raises(DataFormatError, match="'user_id' has 2,000 characters"):
        read(put(tmp_path, "r.csv", "user_id,item_id,text\n" + "u" * 2000 + ",i,x\n"), **PLAIN)
    long = read(put(tmp_path, "n.csv", "user_id,item_id,text,name\nu,i,x," + "n" * 100_000 + "\n"), **PLAIN, name="name")
    assert len(long.loc[0, "name"]) == 1000


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_bombs_are_refused_at_a_bounded_size(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """80 MB of one letter in a few hundred kilobytes; and many short lines. What counts is what was read when it was refused."""
    compress = gzip.compress if suffix == ".gz" else zstandard.compress
    one = put(tmp_path, f"a.csv{suffix}", compress(b"user_id,item_id,text\nu,i," + b"x" * 80_000_000))
    with pytest.raises(DataFormatError, match=r"line 2 has more than 64 MiB.*max_line_mib"):
        read(one, **PLAIN)
    monkeypatch.setattr("grasper.prepare.lines.ALWAYS_ALLOWED", 2**20)
    many = put(tmp_path, f"b.csv{suffix}", compress(b"user_id,item_id,text\n" + b"u,i,x\n" * 200_000))
    with pytest.raises(DataFormatError, match=r"unpacks to more than 2 times its size.*max_unpacked_ratio"):
        read(many, CONFIG.model_copy(update={"max_unpacked_ratio": 2}), **PLAIN)


def save_repeated(path: Path, size: int, count: int) -> Path:
    """A parquet file of `count` rows with the same text of `size` letters, which the file holds once."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    texts = pa.DictionaryArray.from_arrays(pa.array([0] * count, pa.int32()), pa.array(["x" * size]))
    table = pa.table({"user_id": [f"u{n}" for n in range(count)], "item_id": ["i"] * count, "text": texts})
    pq.write_table(table, path, dictionary_pagesize_limit=64 * 2**20, compression="none", store_schema=False)
    return path


def test_a_parquet_file_that_unpacks_to_too_much_is_refused_before_it_does(tmp_path: Path) -> None:
    """500 MB in a row group of 1 MB: what is held when it is refused is far below."""
    import pyarrow as pa

    path = save_repeated(tmp_path / "r.parquet", 2**20, 500)
    assert path.stat().st_size < 2 * 2**20
    held = pa.total_allocated_bytes()
    with pytest.raises(
        DataFormatError, match=r"r.parquet unpacks to more than 200 times its size; if that is meant, --set prepare.max_unpacked_ratio"
    ):
        read(path, **PLAIN)
    assert pa.total_allocated_bytes() - held < 40 * 2**20
    allowed = CONFIG.model_copy(update={"max_unpacked_ratio": 1000})
    sizes = [len(batch.rows) for batch in read_batches(path, {"user_id": "user_id", "item_id": "item_id", "text": "text"}, allowed)]
    assert sum(sizes) == 500
    assert max(sizes) == 63  # 64 MiB of texts and ids at once


def test_pages_that_decompress_to_too_much_are_refused(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table({"user_id": [str(n) for n in range(300)], "item_id": ["i"] * 300, "text": [f"{n}" + "x" * 2**20 for n in range(300)]})
    pq.write_table(table, tmp_path / "p.parquet", compression="zstd", use_dictionary=False)
    with pytest.raises(DataFormatError, match=r"p.parquet unpacks to more than 200 times its size"):
        read(tmp_path / "p.parquet", **PLAIN)


def test_duplicate_columns_are_refused_only_where_they_are_mapped(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = ["user_id", "item_id", "text", "text", "other", "other"]
    pq.write_table(pa.Table.from_arrays([pa.array(["a"])] * 6, names=names), tmp_path / "r.parquet")
    with pytest.raises(DataFormatError, match="columns twice: text"):
        read(tmp_path / "r.parquet", **PLAIN)
    with pytest.raises(DataFormatError, match="columns twice: text"):
        read(put(tmp_path, "r.csv", ",".join(names) + "\na,b,c,d,e,f\n"), **PLAIN)


def test_a_json_array_is_a_table(tmp_path: Path) -> None:
    assert read(put(tmp_path, "r.json", json.dumps(ROWS, indent=2)))["user_id"].tolist() == ["u1", "u2"]


def test_missing_columns_are_told_together_nearest_first(tmp_path: Path) -> None:
    with pytest.raises(DataFormatError) as caught:
        read(put(tmp_path, "r.csv", "date,texts,user_id\n2020,a,u\n"), title=None, rating=None)
    assert "no column 'item_id' for item_id, 'text' for text, 'timestamp' for timestamp" in str(caught.value)


def test_a_field_that_must_have_a_column_cannot_be_null(tmp_path: Path) -> None:
    """As `grasper init` writes it where it finds none."""
    with pytest.raises(DataFormatError, match=r"r\.csv has no column for text; it has: user_id, item_id, body \(set prepare\.columns\.text;"):
        read(put(tmp_path, "r.csv", "user_id,item_id,body\nu,i,a\n"), **PLAIN, text="null")


def test_other_delimiters(tmp_path: Path) -> None:
    path = put(tmp_path, "r.csv", "user_id;item_id;text\nu;i;a, b\n")
    with pytest.raises(DataFormatError, match="no column"):
        read(path, **PLAIN)
    assert read(path, CONFIG.model_copy(update={"delimiter": ";"}), **PLAIN).loc[0, "text"] == "a, b"


def test_a_missing_column_is_told_with_what_can_be_done(tmp_path: Path) -> None:
    """Where the configuration maps columns it names the setting, of the table of items its own; where a format fixes them it says so."""
    path = put(tmp_path, "dev.parquet", "")
    pd.DataFrame({"user_id": ["u"], "item_id": ["i"], "text": ["fine"]}).to_parquet(path)
    for columns, remedy in (
        (mapped_columns(PrepareConfig()), "set prepare.columns.title, prepare.columns.rating, prepare.columns.timestamp, or to null"),
        (MappedColumns({"name": "what"}, "prepare.items.columns"), "set prepare.items.columns.name, or to null"),
        (dict(mapped_columns(PrepareConfig())), "its names are fixed by the format: add it"),
    ):
        with pytest.raises(DataFormatError, match=remedy):
            list(read_batches(path, columns, PrepareConfig()))


def test_decimals_of_parquet_are_written_without_zeros_behind_the_point() -> None:
    """Ids that a database holds as decimals are the whole numbers that every other format gives."""
    ids = pa.array([Decimal("123"), Decimal("9007199254740993"), None], pa.decimal128(38, 10))
    assert as_text_column(ids).tolist()[:2] == ["123", "9007199254740993"]
    assert as_text_column(pa.array([Decimal("3.50"), Decimal("100.00"), Decimal("0.00")])).tolist() == ["3.50", "100", "0"]
    assert as_text_column(ids).isna().tolist() == [False, False, True]


def test_a_rating_of_nan_is_a_missing_one(tmp_path: Path) -> None:
    """And is not counted among those that cannot be read."""
    path = tmp_path / "r.csv"
    path.write_text("user_id,item_id,text,title,rating,timestamp\nu,i,one,t,NaN,\nu,j,two,t,,\nu,k,three,t,nine,\n")
    config = PrepareConfig(source="table", name="mine", data=path, split="none", invalid_rating="null")
    tables, cleaned = build_tables(config, seed=0)
    assert tables.reviews["rating"].isna().sum() == 3
    assert cleaned["invalid_ratings"] == 1
