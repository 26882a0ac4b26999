"""A JSON list is read element by element, whatever its line breaks, and breaks where it is broken."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grasper.config import PrepareConfig
from grasper.errors import DataFormatError
from grasper.prepare.arrays import elements

CONFIG = PrepareConfig()
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
)


def read(folder: Path, content: str | bytes, name: str = "f.json") -> list[object]:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    found = list(elements(path, CONFIG))
    assert [number for number, _ in found] == list(range(1, len(found) + 1))
    return [value for _, value in found]


@given(st.lists(VALUES, max_size=5), st.sampled_from([None, 1]))
def test_it_reads_what_json_reads(tmp_path_factory: pytest.TempPathFactory, values: list[object], indent: int | None) -> None:
    assert read(tmp_path_factory.mktemp("x"), json.dumps(values, indent=indent)) == values


def test_marks_encodings_and_compression(tmp_path: Path) -> None:
    for content in (b"\xef\xbb\xbf [1, 2]\n", '["ü"]'.encode("utf-16"), gzip.compress(b"[ ]")):
        assert read(tmp_path, content) in ([1, 2], ["ü"], [])


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """Forty million bytes on one line, which no reader of lines would take."""
    path = tmp_path / "long.json"
    path.write_text("[" + ", ".join(f'{{"text": "{"x" * 1000}", "n": {number}}}' for number in range(40_000)) + "]")
    tracemalloc.start()
    assert sum(value["n"] for _, value in elements(path, CONFIG)) == sum(range(40_000))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 12_000_000


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{}", "holds no JSON list"),
        ("[1, 2", "breaks off after entry 2"),
        ("[1 2]", "entry 1 is followed by '2'"),
        ('[\n {"id": "u",\n  "profile": [}\n]', r"line 3: broken JSON at column 15"),
        ('[1,\n2, {"a": }]', r"line 2: broken JSON at column 1\d"),
        ('["never closed', "line 1: broken JSON"),
        ("[" * 100_000, "entry 1"),
        ("[" + "9" * 5000 + "]", "entry 1: unusable JSON"),
    ],
)
def test_faults_name_the_place(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(DataFormatError, match=message):
        read(tmp_path, content)


@pytest.mark.parametrize("fault", ['{"id": }', '{"text": "' + "y" * 3_000_000 + '",\n"id": }'])
def test_a_fault_far_behind_the_start_is_found_at_its_line(tmp_path: Path, fault: str) -> None:
    """Several windows lie before it, and it may be longer than one."""
    rows = [json.dumps({"text": "x" * (number % 900)}) for number in range(9_000)]
    content = "[" + ",\n".join([*rows, fault])
    line, column = content.count("\n") + 1, len(content) - content.rfind("\n") - 1
    with pytest.raises(DataFormatError, match=rf"line {line}: broken JSON at column {column} "):
        read(tmp_path, content)


def test_bombs_are_bounded(tmp_path: Path) -> None:
    with pytest.raises(DataFormatError, match="max_unpacked_ratio"):
        read(tmp_path, gzip.compress(b"[" + b" " * 100_000_000 + b"]"), "f.json.gz")
    with pytest.raises(DataFormatError, match="max_line_mib"):
        read(tmp_path, b'["' + b"x" * 150_000_000 + b'"]')
