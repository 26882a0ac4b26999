"""The quality gate: each fault is found and named, good texts pass."""

from __future__ import annotations

import pytest

from grasper.config import SynthesizeConfig
from grasper.reason.format import Answer
from grasper.synthesize.select import REASONS, fault_of, repeated_share

SOURCE = "The breakfast was warm and the people at the desk were kind to all of us."
CONFIG = SynthesizeConfig(max_words=30)


def fault(text: str | None, *, earlier: tuple[str, ...] = (), is_parsed: bool = True) -> str | None:
    return fault_of(Answer(None, None, text, None, is_parsed), [SOURCE], [], earlier, CONFIG)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A calm room above the bay.", None),
        ("A warm breakfast and kind people at the desk.", None),
        (None, "empty"),
        ("!!! …", "empty"),
        ("Good place", "too short"),
        (" ".join(f"word{n}" for n in range(31)), "too long"),
        ("the bed was good the bed was good the bed was good", "repeated"),
        (SOURCE, "copied"),
        ("I say: " + SOURCE, "copied"),
    ],
)
def test_faults(text: str | None, expected: str | None) -> None:
    assert fault(text) == expected
    assert expected is None or expected in REASONS


def test_an_unparsable_answer_is_rejected_whatever_it_says() -> None:
    assert fault("A calm room above the bay.", is_parsed=False) == "unparsable"


def test_the_same_text_twice_says_nothing_new() -> None:
    """Also in other letters and with other punctuation."""
    assert fault("A calm room above the bay.", earlier=("a calm room, above the bay",)) == "repeated"


@pytest.mark.parametrize(
    ("text", "company", "expected"),
    [
        ("Bad: the room was cold. Good: the people.", (SOURCE,), "list"),
        ("* Pros : near the pier", (SOURCE, "Pros: quiet. Cons: none.", "We liked it."), "list"),
        ("Pros: near the pier. Cons: none.", ("Pros: quiet. Cons: none.", SOURCE), None),
        ("We came at 9:30 and the room was ready.", (SOURCE,), None),
        ("Bad: the room was cold.", (), None),
    ],
)
def test_a_list_is_only_taken_where_people_write_lists(text: str, company: tuple[str, ...], expected: str | None) -> None:
    """Of hotel's synthetic reviews a third were lists, of the real ones beside them far fewer; texts behind them became lists, too."""
    assert fault_of(Answer(None, None, text, None, is_parsed=True), (), company, (), CONFIG) == expected


@pytest.mark.parametrize(("text", "expected"), [("a b c d", 0), ("a a a a a", 2 / 3), ("a b", 0), ("a b c a b c", 1 / 4)])
def test_repeated_share(text: str, expected: float) -> None:
    assert repeated_share(text.split()) == pytest.approx(expected)
