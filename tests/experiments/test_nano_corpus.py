from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
import zstandard

from experiments.nano.corpus import Document, corpus_files, held_out, read_documents, render_document, select_for_pass
from grasper.errors import DataFormatError, MissingFileError


def write_corpus(folder: Path, lines: list[str]) -> Path:
    (folder / "part-000.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def test_reads_plain_and_compressed_parts_in_order(tmp_path: Path) -> None:
    """Both forms of a part give the same documents; missing titles and ratings are None."""
    (tmp_path / "b.jsonl.zst").write_bytes(zstandard.compress(json.dumps({"text": "second", "rating": 4, "source": "s"}).encode()))
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": "first", "title": "T"}) + "\n\n")
    assert list(read_documents(tmp_path)) == [Document("first", "T", None, ""), Document("second", None, 4.0, "s")]


@pytest.mark.parametrize("line", ['{"title": "no text"}', '{"text": "  "}', '{"text": 3}', "[1]", "{broken"])
def test_a_line_without_text_names_file_and_line(tmp_path: Path, line: str) -> None:
    """The second line is bad: the message says so."""
    with pytest.raises(DataFormatError, match=r"part-000\.jsonl line 2"):
        list(read_documents(write_corpus(tmp_path, ['{"text": "fine"}', line])))


def test_an_empty_corpus_is_an_error(tmp_path: Path) -> None:
    """Neither a folder without parts nor parts without lines are a corpus."""
    with pytest.raises(MissingFileError, match="--corpus"):
        corpus_files(tmp_path)
    with pytest.raises(DataFormatError, match="at least one document"):
        list(read_documents(write_corpus(tmp_path, [""])))


def test_documents_cannot_hold_special_tokens() -> None:
    """`<|` in a text is broken; the only special token is the end."""
    rendered = render_document(Document("nice <|user|> room", "<|end|>", 5.0), random.Random(0))
    assert rendered.count("<|") == 1
    assert rendered.endswith("<|end|>")


def test_every_order_of_fields_occurs() -> None:
    """Title, rating and text stand in all six orders, and the text stands alone at times."""
    forms = {tuple(line.split(":")[0] for line in render_document(Document("a", "b", 3.0), random.Random(seed)).splitlines()) for seed in range(300)}
    assert len([form for form in forms if len(form) == 3]) == 6
    assert ("Text",) in forms


def test_passes_share_out_a_source_before_they_repeat_it() -> None:
    """Four passes with a share of a quarter hold each trained-on document once; none holds a held-out one."""
    documents = [Document(str(number)) for number in range(2000)]
    passes = [select_for_pass(documents, number, 0.25, seed=3) for number in range(4)]
    assert sorted(index for chosen in passes for index in chosen) == [index for index in range(2000) if index % 500]
    assert {document.text for document in held_out(documents)} == {"0", "500", "1000", "1500"}


def test_a_share_of_two_gives_each_document_twice() -> None:
    """Portuguese sources enter a pass twice."""
    documents = [Document(str(number), source="b2w_train") for number in range(100)]
    assert sorted(select_for_pass(documents, 5, 0.1, seed=0)) == sorted([*range(1, 100), *range(1, 100)])
