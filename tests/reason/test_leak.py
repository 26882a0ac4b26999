"""What counts as giving the answer away."""

from __future__ import annotations

from dataclasses import replace

import pytest

from grasper.reason.format import ReasoningPath
from grasper.reason.leak import leaks, leaks_review
from grasper.reason.pair import TrainingPair
from grasper.records import Example, Item, Profile, Review, SyntheticReview, request_for

TARGET = Review("t", "u", "i", "The staff carried our bags up to the third floor.", "Helpful staff and quiet nights", 4.0)
EMPTY = Profile()
NEIGHBOUR = Review("n", "v", "i", "They carried our bags up to the room, so helpful.", "Kind people", 5.0)


def is_leak(task: str, plan: str, *, profile: Profile = EMPTY, target: Review = TARGET, category: str | None = None) -> bool:
    request = request_for(Example("e", target, "align"), task, Item("i", "Gull Inn", category))  # type: ignore[arg-type]
    return leaks(ReasoningPath("short", "rooms", plan), request, profile, target)


@pytest.mark.parametrize(
    ("plan", "expected"),
    [
        ("say that staff carried our bags up", True),  # five words in a row
        ("say that Staff, carried our BAGS up!", True),  # punctuation and case do not hide them
        ("say that they carried our bags", False),  # three
        ("praise staff, bags, third floor", False),
        ("title says helpful staff and quiet nights", False),  # the title is given
    ],
)
def test_five_words_in_a_row_leak_a_text(plan: str, expected: bool) -> None:
    """Key phrases do not."""
    assert is_leak("long", plan) is expected


@pytest.mark.parametrize("rating", [1.5, 2.5, 3.5, 4.5])
def test_a_half_rating_is_named_by_its_number(rating: float) -> None:
    target = Review("t", "u", "i", "Fine.", "Fine", rating)
    assert is_leak("rating", f"would give it {rating:g}", target=target)
    assert is_leak("rating", f"would give it {rating + 0.5:g}", target=target)
    assert not is_leak("rating", "praise staff", target=target)


def test_words_that_the_context_holds_do_not_leak() -> None:
    """What a neighbour or a synthetic review says is no secret."""
    assert is_leak("long", "say that carried our bags up to")
    assert not is_leak("long", "say that carried our bags up to", profile=Profile(neighbours=(NEIGHBOUR,)))
    synthetic = SyntheticReview("e", "u", Item("j"), NEIGHBOUR.text)
    assert not is_leak("long", "say that carried our bags up to", profile=Profile(predicted=(synthetic,)))


def test_what_names_the_item_or_its_kind_does_not_leak() -> None:
    """Name and category stand in the prompt."""
    target = Review("t", "u", "i", "A bed and breakfast by the sea, called Gull Inn.", "Bed and breakfast", 4.0)
    assert is_leak("long", "praise bed and breakfast by the sea", target=target)
    assert not is_leak("long", "praise bed and breakfast by the sea", target=target, category="Bed and breakfast by the sea")
    short = Review("t", "u", "i", "Gull Inn", "Fine", 4.0)
    assert not is_leak("long", "praise Gull Inn", target=short)


def test_a_short_text_leaks_as_a_whole() -> None:
    """Three words cannot hold five in a row."""
    target = Review("t", "u", "i", "Simply wonderful soap", "Soap", 5.0)
    assert is_leak("long", "say simply wonderful soap", target=target)
    assert not is_leak("long", "praise soap", target=target)


def test_a_whole_review_hides_its_title_too() -> None:
    """Nothing of it is given, so what its own request for a text would show is a secret here."""
    target = Review("t", "u", "i", "It cleans what it should and smells of lemon.", "Clorox wipes", 5.0)
    request = request_for(Example("e", target, "align"), "long", Item("i"))
    path = ReasoningPath("short", "cleaning", "praise clorox wipes")
    assert not leaks(path, request, Profile(), target), "the title is given where the text is asked for"
    assert leaks_review(path, request.item, Profile(), target)
    assert not leaks_review(ReasoningPath("short", "cleaning", "very positive; praise the smell"), request.item, Profile(), target)
    assert leaks_review(ReasoningPath("short", "cleaning", "say it cleans what it should"), request.item, Profile(), target)
    pair = TrainingPair(Example("e", target, "align"), request, Profile(), is_review=True)
    assert pair.is_leaked_by(path)


@pytest.mark.parametrize(
    ("plan", "expected"),
    [("helpful, quiet", True), ("helpful nights", True), ("helpful", False), ("praise staff", False), ("staff and bags", False)],
)
def test_half_of_the_secret_words_leak_a_title(plan: str, expected: bool) -> None:
    """`helpful`, `quiet` and `nights` are not in the given text, `staff` is; two of three are too many."""
    assert is_leak("title", plan) is expected


def test_one_of_two_secret_words_leaks_a_title() -> None:
    """That is half of them."""
    assert is_leak("title", "quiet", target=replace(TARGET, title="Quiet nights"))


@pytest.mark.parametrize(
    ("plan", "expected"),
    [
        ("give it 4", True),
        ("four of five", True),
        ("4/5", True),
        ("many stars", True),
        ("rated high", True),
        ("positive", False),
        ("praise room 3", False),
    ],
)
def test_the_number_and_stars_leak_a_rating(plan: str, expected: bool) -> None:
    """In digits or words; other numbers are no leak."""
    assert is_leak("rating", plan) is expected
