"""Files of rows: read in any form, written with all their columns, no formula, nothing binary."""

from __future__ import annotations

import csv
import json
import zipfile
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from grasper.errors import ConfigError, DataFormatError
from grasper.rows import excel_rows, read_rows, safe_cell, write_rows


def test_rows_are_read_from_every_format(tmp_path: Path) -> None:
    """Ids stay what the file holds: leading zeros in CSV, whole numbers beside missing ones in parquet; missing is missing."""
    (tmp_path / "a.csv").write_text("\ufeffuser_id,item_id,title\n007,9,\n", encoding="utf-8")
    assert read_rows(tmp_path / "a.csv") == [{"user_id": "007", "item_id": "9", "title": None}]
    pd.DataFrame({"user_id": pd.array([9007199254740993, None], dtype="Int64")}).to_parquet(tmp_path / "a.parquet")
    assert read_rows(tmp_path / "a.parquet") == [{"user_id": 9007199254740993}, {"user_id": None}]
    for name in ("a.jsonl", "a.json"):
        (tmp_path / name).write_text('{"user_id": 7, "rating": NaN}\n\n', encoding="utf-8")
        assert read_rows(tmp_path / name) == [{"user_id": 7, "rating": None}]
    (tmp_path / "b.json").write_text('\ufeff [{"user_id": 7,\n "history": [{"item_id": "inn"}]}]', encoding="utf-8")
    assert read_rows(tmp_path / "b.json") == [{"user_id": 7, "history": [{"item_id": "inn"}]}]
    pd.DataFrame({"user_id": ["007", None, "8"], "rating": [4, None, 2.5]}).to_excel(tmp_path / "a.xlsx")
    assert read_rows(tmp_path / "a.xlsx") == [{"user_id": "007", "rating": 4}, {"user_id": None, "rating": None}, {"user_id": "8", "rating": 2.5}]


@pytest.mark.parametrize("extent", [b"A1", b"A1:C3", b"A1:B9"])
def test_an_excel_sheet_is_read_whole_whatever_extent_it_claims(tmp_path: Path, extent: bytes) -> None:
    """Some programs write down an extent that is too small; a column that is empty in a row, or in all, is there all the same."""
    table = pd.DataFrame({"user_id": [f"u{number}" for number in range(8)], "rating": [*range(7), None], "title": None})
    table.to_excel(tmp_path / "whole.xlsx", index=False)
    with zipfile.ZipFile(tmp_path / "whole.xlsx") as whole, zipfile.ZipFile(tmp_path / "a.xlsx", "w") as claimed:
        for name in whole.namelist():
            content = whole.read(name)
            if name == "xl/worksheets/sheet1.xml":
                assert b'<dimension ref="A1:C9"' in content
                content = content.replace(b'<dimension ref="A1:C9"', b'<dimension ref="%s"' % extent)
            claimed.writestr(name, content)
    expected = [{"user_id": f"u{number}", "rating": number if number < 7 else None, "title": None} for number in range(8)]
    assert read_rows(tmp_path / "a.xlsx") == expected
    with excel_rows(tmp_path / "a.xlsx") as rows:
        assert [len(row) for row in rows] == [3] * 9


def test_a_formula_that_failed_gives_nothing(tmp_path: Path) -> None:
    """A look-up without a match is no user by the name of #N/A."""
    pd.DataFrame({"user_id": ["#N/A", "ann"], "rating": [4, "#DIV/0!"], "text": ["so #N/A", "#REF!"]}).to_excel(tmp_path / "a.xlsx", index=False)
    assert read_rows(tmp_path / "a.xlsx") == [{"user_id": None, "rating": 4, "text": "so #N/A"}, {"user_id": "ann", "rating": None, "text": None}]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", '{"a": 1}\n{', "line 2: broken JSON"),
        ("a.jsonl", "[1]", "line 1 holds a JSON list"),
        ("a.json", '[{"a": 1}', "broken JSON"),
        ("a.jsonl", '{"a": 1}\n{"a": ' + "[" * 700 + "]" * 700 + "}", "row 2 is nested too deeply"),
        ("a.json", '[{"a": 1}, 2]', "entry 2 holds a JSON int"),
        ("a.json", "[]", "no rows"),
        ("a.xlsx", "no Excel file", "not a readable Excel file"),
        ("a.csv", "a,b\n", "no rows"),
        ("a.csv", "item_id,title\nboat,Windy, but wonderful\n", "line 2 has 3 cells, the header 2; put cells that hold commas between double quotes"),
        ("a.csv", "item_id;title\nboat;Windy, but wonderful\n", r"line 2 has 2 cells, the header 1 \(separated by ';'\? save it with commas\)"),
        ("a.csv", "item_id,title\ninn\n", "line 2 has 1 cells, the header 2"),
        ("a.csv", 'item_id,title\ninn,"x"\nboat,"Win"dy"\n', "line 3: broken CSV .*quote cells"),
        ("a.csv", 'item_id,title\ninn,x\nboat,"Windy\n', "line 3: broken CSV"),
        ("a.csv", "a,a\n1,2\n", "the column 'a' more than once"),
        ("a.xyz", "", "unknown format"),
    ],
)
def test_broken_files_are_told(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(DataFormatError, match=message):
        read_rows(tmp_path / name)


def test_a_cell_may_hold_a_long_history(tmp_path: Path) -> None:
    """Longer than the 131,072 characters that Python's reader takes by itself."""
    history = json.dumps([{"item_id": "inn", "text": "so good " * 50}] * 1_000)
    write_rows(tmp_path / "a.csv", [{"user_id": "u", "history": history}])
    csv.field_size_limit(131_072)
    assert read_rows(tmp_path / "a.csv") == [{"user_id": "u", "history": history}]


def test_values_are_what_json_can_hold(tmp_path: Path) -> None:
    """Dates of parquet are ISO, decimals text, half characters are left out; binary columns are refused by name."""
    columns = {
        "when": [datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)],
        "price": [Decimal("3.50")],
        "history": [[{"item_id": "inn", "day": date(2026, 5, 4)}]],
    }
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    [row] = read_rows(tmp_path / "a.parquet")
    assert row == {"when": "2026-05-04T03:02:01+00:00", "price": "3.50", "history": [{"item_id": "inn", "day": "2026-05-04"}]}
    (tmp_path / "a.jsonl").write_text('{"title": "Windy \\ud83d"}', encoding="utf-8")
    assert read_rows(tmp_path / "a.jsonl") == [{"title": "Windy "}]
    pq.write_table(pa.table({"user_id": [b"\xff"]}), tmp_path / "b.parquet")
    with pytest.raises(DataFormatError, match="row 1: 'user_id' is binary"):
        read_rows(tmp_path / "b.parquet")


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_the_columns_are_those_of_all_rows(tmp_path: Path, suffix: str) -> None:
    write_rows(tmp_path / f"out{suffix}", [{"answer": "Fine."}, {"user_id": "dora", "answer": "Good."}])
    assert [row.get("user_id") for row in read_rows(tmp_path / f"out{suffix}")] == [None, "dora"]


def test_a_parquet_column_of_several_kinds_is_text(tmp_path: Path) -> None:
    write_rows(tmp_path / "out.parquet", [{"rating": 5, "n": 1}, {"rating": "five", "n": 2}, {"rating": None, "n": 2**70}, {"rating": ["a"]}])
    rows = read_rows(tmp_path / "out.parquet")
    assert [row["rating"] for row in rows] == ["5", "five", None, '["a"]']
    assert [row["n"] for row in rows] == ["1", "2", str(2**70), None]


def test_an_unknown_format_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown format '\.txt'"):
        write_rows(tmp_path / "out.txt", [{"a": 1}])
    assert list(tmp_path.iterdir()) == []


def test_ids_are_never_quoted(tmp_path: Path) -> None:
    write_rows(tmp_path / "out.csv", [{"user_id": "-3s52", "answer": "-1 star", "items": ["a"]}])
    assert (tmp_path / "out.csv").read_text().splitlines()[1] == '-3s52,\'-1 star,"[""a""]"'
    assert json.loads(read_rows(tmp_path / "out.csv")[0]["items"]) == ["a"]


@pytest.mark.parametrize("text", ["=1+1", "+a", "-a", "@SUM(A1)", " =1", "\t=1", "\n=1", "|x", "%x"])
def test_no_cell_is_a_formula(text: str) -> None:
    """A spreadsheet executes nothing that a reviewer or a model wrote; numbers and other texts stay."""
    assert safe_cell(text) == f"'{text}"
    assert [safe_cell(value) for value in (-1.5, "a=1", None)] == [-1.5, "a=1", ""]
