"""Broken lines: told with everything else that is wrong, or left out and counted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from grasper.config import PrepareConfig
from grasper.errors import DataFormatError
from grasper.prepare import build_tables

HEADER = "user_id,item_id,text,title,rating,timestamp\n"
ROW = {"user_id": "u", "item_id": "i", "text": "x", "title": "t", "rating": 4, "timestamp": None}


def prepare(path: Path, **settings: object) -> tuple[list[str], dict[str, int]]:
    """The texts that stay, and what was counted."""
    values = {"source": "table", "name": "mine", "data": path, "split": "none", **settings}
    tables, cleaned = build_tables(PrepareConfig.model_validate(values), seed=0)
    return tables.reviews["text"].tolist(), cleaned


def test_lines_of_another_width_or_encoding(tmp_path: Path) -> None:
    """Two of five lines are left out; numbers of the others are those of the file."""
    path = tmp_path / "r.csv"
    path.write_bytes(HEADER.encode() + b"u,i,one,t,5,\nu,i\nu,i,caf\xe9,t,5,\nu,i,two,t,5,\n")
    with pytest.raises(DataFormatError, match=r"line 3: 2 cells, expected 6 .*invalid_rows=skip"):
        prepare(path)
    texts, cleaned = prepare(path, invalid_rows="skip")
    assert texts == ["one", "two"]
    assert cleaned["skipped_lines"] == 2
    with path.open("a") as file:
        file.write("u,i,three,t,nine,\n")
    with pytest.raises(DataFormatError, match="line 6: 'rating' is nine"):
        prepare(path, invalid_rows="skip")


def test_a_line_cut_in_the_middle(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text(json.dumps(ROW) + '\n{"user_id": "u", "item\n' + json.dumps({**ROW, "text": "y"}) + "\n")
    with pytest.raises(DataFormatError, match=r"line 2: broken JSON .*invalid_rows=skip"):
        prepare(path)
    assert prepare(path, invalid_rows="skip")[0] == ["x", "y"]


def test_a_header_in_another_encoding_is_never_left_out(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_bytes(HEADER.replace("title", "Überschrift").encode("cp1252") + b"u,i,x,t,5,\n")
    with pytest.raises(DataFormatError, match="line 1 is not UTF-8"):
        prepare(path, invalid_rows="skip")


def test_a_broken_file_hides_no_other_problem(tmp_path: Path) -> None:
    """A rating before the break, the break, and a missing column of another file."""
    (tmp_path / "r.csv").write_text(HEADER + "u,i,x,t,nine,\nu,i\n")
    (tmp_path / "more.csv").write_text("user_id,item_id,body,title,rating,timestamp\nu,i,x,t,5,\n")
    with pytest.raises(DataFormatError) as caught:
        prepare(tmp_path / "r.csv", train=[tmp_path / "more.csv"])
    for message in ("line 2: 'rating' is nine", "line 3: 2 cells", "more.csv has no column 'text'"):
        assert message in str(caught.value)


def test_broken_lines_of_a_public_collection(tmp_path: Path) -> None:
    """In the reviews and in the items, one cut in the middle and one in another encoding each; the first review may be a broken one."""
    review = json.dumps({"user_id": "u", "business_id": "b", "stars": 3.0, "text": "Fine.", "date": "2018-07-07 22:09:11"}).encode()
    place = json.dumps({"business_id": "b", "name": "Inn", "categories": "Bars"}).encode()
    for name, row in (("review", review), ("business", place)):
        lines = [b'{"user_id": "u", "busi', row, row.replace(b"b", b"\xe9", 1), row.replace(b'"b"', b'"c"')]
        (tmp_path / f"yelp_academic_dataset_{name}.json").write_bytes(b"\n".join(lines) + b"\n")
    with pytest.raises(DataFormatError, match=r"line 1: broken JSON .*invalid_rows=skip"):
        prepare(tmp_path, source="yelp")
    values = PrepareConfig(source="yelp", name="mine", data=tmp_path, split="none", invalid_rows="skip")
    tables, cleaned = build_tables(values, seed=0)
    assert tables.reviews["item_id"].tolist() == ["b", "c"]
    assert tables.items[["item_id", "name"]].values.tolist() == [["b", "Inn"], ["c", "Inn"]]
    assert cleaned["skipped_lines"] == 4


def test_broken_lines_of_longlamp(tmp_path: Path) -> None:
    question = {"reviewerId": "A1", "input": 'Generate the review text with the title "Bright"', "output": "So bright.", "profile": []}
    (tmp_path / "val.jsonl").write_text(json.dumps(question) + '\n{"reviewerId": "A2", "inp\n')
    with pytest.raises(DataFormatError, match=r"line 2: broken JSON .*invalid_rows=skip"):
        prepare(tmp_path, source="lamp", split="given")
    texts, cleaned = prepare(tmp_path, source="lamp", split="given", invalid_rows="skip")
    assert (texts, cleaned["skipped_lines"]) == (["So bright."], 1)
