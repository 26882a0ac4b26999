"""Typical neighbours: those that match and with which the others agree."""

from __future__ import annotations

from dataclasses import replace

import pytest

from grasper.records import Example, Item, Review, request_for
from grasper.retrieve.bm25 import Bm25Ranker
from grasper.retrieve.neighbours import Neighbours
from grasper.retrieve.pool import ReviewPool
from grasper.retrieve.rank import RecencyRanker
from grasper.retrieve.typical import TypicalNeighbours

TARGET = Review("t", "u", "inn", "the breakfast was cold and the room was small", "Harbour view", 3.0)
TEXTS = {
    "odd": "harbour view harbour view harbour view",
    "a": "the room was small but clean and the breakfast was good",
    "b": "the room was clean and the breakfast was rich and good",
    "c": "small room and the breakfast was good",
    "other": "we took the ferry to an island far away",
}


def found(texts: dict[str, str], k: int = 9, *, title: str = "Harbour view") -> list[str]:
    target = replace(TARGET, title=title)
    reviews = [Review(name, f"by {name}", "inn", text, "", 4.0) for name, text in texts.items()]
    example = Example("e", target, "dev-a")
    pool = ReviewPool([target, *reviews])
    chosen = TypicalNeighbours(pool, Bm25Ranker()).retrieve(request_for(example, "long", Item("inn", None)), example, k)
    assert {review.review_id for review in Neighbours(pool, RecencyRanker()).retrieve(request_for(example, "long", Item("inn")), example, 99)} == set(
        texts
    )
    return [review.review_id for review in chosen]


def test_what_others_say_goes_before_a_match_that_nobody_shares() -> None:
    """The review that repeats the title comes first by match alone; centrality weighs twice."""
    order = found(TEXTS)
    assert sorted(order) == sorted(TEXTS)
    assert set(order[:3]) == {"a", "b", "c"}
    assert set(order[-2:]) == {"odd", "other"}


def test_a_match_decides_among_equally_typical_ones() -> None:
    same = {name: f"the room was clean and {word}" for name, word in (("x", "loud"), ("y", "warm"), ("z", "dark"))}
    assert found(same, 1, title="dark") == ["z"]
    assert found(same, 1, title="loud") == ["x"]


def test_copies_of_a_text_are_one_voice() -> None:
    """A text that stands there three times would otherwise be the most typical of all."""
    spam = {f"spam {number}": "visit our shop for cheap watches and more today" for number in range(3)}
    assert not found(TEXTS | spam, 3)[0].startswith("spam")
    assert not set(found(TEXTS | spam, 2)) & set(spam)


@pytest.mark.parametrize("k", [0, 1, 3, 9])
def test_gives_as_many_as_there_are(k: int) -> None:
    assert len(found(TEXTS, k)) == min(k, len(TEXTS))
    assert found({}, k) == []
    assert found({"a": "one"}, k) == ["a"][:k]


def test_more_than_are_compared_can_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("grasper.retrieve.typical.MOST_COMPARED", 2)
    assert len(found(TEXTS, 4)) == 4
