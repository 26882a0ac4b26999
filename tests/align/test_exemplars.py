"""Exemplars: the most similar solved requests of the same task."""

from __future__ import annotations

from pathlib import Path

import pytest

from grasper.align.exemplars import ExemplarIndex
from grasper.align.stage import write_lines
from grasper.errors import MissingFileError, RunMismatchError
from grasper.records import Item, Request


def record(query: str, task: str = "long", user_id: str = "lee") -> dict[str, str]:
    return {"task": task, "user_id": user_id, "query": query, "question": f"Q {query}", "answer": f"A {query}"}


RECORDS = [record("noisy street"), record("warm breakfast"), record("warm breakfast and a view"), record("warm breakfast", "title")]


def request(title: str | None = None, task: str = "long", text: str | None = None) -> Request:
    return Request("e", task, "u", Item("i"), title=title, text=text)  # type: ignore[arg-type]


def test_the_nearest_come_first() -> None:
    """By the words that the request gives, title or text."""
    index = ExemplarIndex(RECORDS, k=2)
    assert [exemplar.question for exemplar in index.nearest(request("Warm breakfast"))] == ["Q warm breakfast", "Q warm breakfast and a view"]
    assert index.nearest(request("a noisy street"))[0].answer == "A noisy street"
    assert index.nearest(request(text="street", task="long"))[0].question == "Q noisy street"


def test_scripts_without_spaces_are_compared_by_their_characters() -> None:
    index = ExemplarIndex([record("朝食がとても冷たい"), record("部屋がとても綺麗でした")], k=1)
    assert index.nearest(request("綺麗な部屋"))[0].question == "Q 部屋がとても綺麗でした"


def test_equally_near_ones_keep_their_order() -> None:
    """Nothing given, or nothing known: the order of the file decides."""
    index = ExemplarIndex(RECORDS, k=3)
    assert [exemplar.question for exemplar in index.nearest(request("ñandú"))] == [
        exemplar.question for exemplar in index.nearest(request("ostrich"))
    ]
    same = ExemplarIndex([record("a b"), record("a b") | {"question": "second"}], k=2)
    assert [exemplar.question for exemplar in same.nearest(request("a b"))] == ["Q a b", "second"]


def test_tasks_are_kept_apart() -> None:
    index = ExemplarIndex(RECORDS, k=3)
    assert [exemplar.question for exemplar in index.nearest(request("warm", task="title"))] == ["Q warm breakfast"]
    assert index.nearest(request("warm", task="rating")) == []
    assert index.nearest(request("warm"), "review") == []


def test_nobody_is_shown_their_own() -> None:
    """A training user who asks for a review that became an exemplar would else read it in the prompt, whichever item is asked for."""
    index = ExemplarIndex([record("warm breakfast", user_id="u"), *RECORDS, record("warm", user_id="u")], k=4)
    assert [exemplar.question for exemplar in index.nearest(request("warm breakfast"))] == [
        "Q warm breakfast",
        "Q warm breakfast and a view",
        "Q noisy street",
    ]
    assert ExemplarIndex([record("warm", "review", "u")], k=1).nearest(request("warm"), "review") == []


def test_exemplars_that_do_not_say_whose_they_are_are_refused(tmp_path: Path) -> None:
    write_lines(tmp_path / "exemplars.jsonl", [{name: value for name, value in RECORDS[0].items() if name != "user_id"}])
    with pytest.raises(RunMismatchError, match="whose reviews its exemplars are; run `grasper align --overwrite`"):
        ExemplarIndex.load(tmp_path, 1)


def test_none_are_shown_where_none_are_wanted() -> None:
    assert ExemplarIndex(RECORDS, k=0).nearest(request("warm")) == []


def test_records_that_gave_nothing_can_be_found_too() -> None:
    """Whole reviews give no field: their queries are empty."""
    index = ExemplarIndex([record("", "review"), record("", "review")], k=1)
    assert len(index.nearest(request(), "review")) == 1


def test_they_are_read_from_the_stage_folder(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="grasper align"):
        ExemplarIndex.load(tmp_path, 1)
    write_lines(tmp_path / "exemplars.jsonl", RECORDS)
    assert ExemplarIndex.load(tmp_path, 1).nearest(request("noisy"))[0].question == "Q noisy street"
