"""Paths and answers: written, and read back from what models make of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from timing import growth

from grasper.prompts.escape import one_line
from grasper.reason.format import ReasoningPath, first_words, is_cut, parse_answer, parse_path, parse_rating, render_answer

PATH = ReasoningPath("short and warm; exclaims", "clean rooms, quiet", "praise staff")
LABELS = ["Text:", "Title: x", "**Plan:**", "Rating: 5", "Style : a", "\n", "<|end|>", '"', "*", "- "]
words = st.lists(st.one_of(st.sampled_from(LABELS), st.text(max_size=10)), max_size=8).map(" ".join)
shown = words.filter(lambda text: bool(one_line(text)))


@given(shown, st.sampled_from([1.0, 2.0, 3.5, 5.0]), st.none() | st.builds(ReasoningPath, words, words, words))
def test_an_answer_is_read_back_as_it_was_written(text: str, rating: float, path: ReasoningPath | None) -> None:
    """`parse_answer` inverts `render_answer` up to white space, whatever labels the text itself holds."""
    for task in ("long", "rating", "review"):
        answer = parse_answer(render_answer(task, text=text, rating=rating, path=path), task, expects_path=path is not None)  # type: ignore[arg-type]
        assert answer.is_parsed == (path is None or (answer.path is not None and answer.path.is_whole))
        assert answer.text == (None if task == "rating" else one_line(text))
        assert answer.rating == (None if task == "long" else rating)
        if path:
            assert answer.path is not None
            assert answer.path.interests == answer.path.interests.strip()
            assert parse_path(answer.path.render()) == answer.path


@given(shown)
def test_a_title_is_read_back(title: str) -> None:
    """Writing what was read changes nothing more."""
    first = parse_answer(render_answer("title", title=title), "title", expects_path=False)
    if first.is_parsed:
        assert parse_answer(render_answer("title", title=first.title), "title", expects_path=False) == first


@pytest.mark.parametrize(
    "raw",
    [
        "Style: short\nInterests: rooms\nPlan: praise\nText: We liked it. Very much.",
        "style: short\ninterests: rooms\nPLAN: praise\ntext: We liked it.\n\nVery much.\n",
        "Text: We liked it.\nVery much.\nStyle: short\nPlan: praise\nInterests: rooms",
        "Sure, here it is!\n\n**Style:** short\n**Interests:** rooms\n**Plan**: praise\n\n**Text:** We liked it. Very much.",
        "- Style: short\n- Interests: rooms\n- Plan: praise\n- Text:\n  We liked it.\n  Very much.",
        "* **Style:** short\n* **Interests:** rooms\n* **Plan:** praise\n* **Text:** We liked it. Very much.",
        "1. Style: short\n2. Interests: rooms\n3. Plan: praise\n4) Text: We liked it. Very much.",
        "Style : short\nInterests: rooms\nPlan: praise\nText: We liked it. Very much.\nText: and again",
    ],
)
def test_common_variations_are_understood(raw: str) -> None:
    """Case, order, several lines, chatter, Markdown, a missing or an extra line break."""
    answer = parse_answer(raw, "long", expects_path=True)
    assert (answer.text, answer.path, answer.is_parsed) == ("We liked it. Very much.", ReasoningPath("short", "rooms", "praise"), True)


@pytest.mark.parametrize(
    ("raw", "task", "guess"),
    [
        ("We liked it.\nVery much.", "long", "We liked it. Very much."),
        ("Style: short\nInterests: rooms\nPlan: praise", "long", None),
        ("\n“Lovely place”\nbecause it was lovely", "title", "Lovely place"),
        ("I would give it four stars", "rating", 4.0),
        ("", "long", None),
        ("", "rating", None),
        ("Rating: eleven", "rating", None),
    ],
)
def test_answers_without_their_line_are_not_parsed_but_guessed(raw: str, task: str, guess: object) -> None:
    """The guess lets a run go on; `is_parsed` lets it be counted."""
    answer = parse_answer(raw, task, expects_path=False)  # type: ignore[arg-type]
    assert not answer.is_parsed
    assert answer.value(task) == guess  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "raw",
    [
        "Text: fine",
        "Style: short\nText: fine",
        "Plan: praise\nInterests: rooms\nText: fine",
        "Style: short\nInterests:\nPlan: praise\nText: fine",
        "Style: short\nInterests: rooms\nPlan: \nText: fine",
    ],
)
def test_a_missing_path_line_is_not_parsed(raw: str) -> None:
    """Where a path was asked for, all three lines are needed, and each must say something; the text is still there."""
    answer = parse_answer(raw, "long", expects_path=True)
    assert (answer.is_parsed, answer.text) == (False, "fine")


@pytest.mark.parametrize("text", ["4", " 4.", "4/5", "4.0", "**4** out of 5", "four stars", "Four", "one of the best, 4 stars"])
def test_ratings_are_numbers_from_one_to_five(text: str) -> None:
    """The first plausible number; words only where they count stars or stand alone."""
    assert parse_rating(text) == 4.0


@pytest.mark.parametrize("text", ["10/10", "0", "12", "none", "2024", "", "5.5", "one of many"])
def test_other_numbers_are_no_ratings(text: str) -> None:
    """Better no rating than a wrong one."""
    assert parse_rating(text) is None


def test_a_title_loses_its_quotes_and_further_lines() -> None:
    """Large models quote titles and explain them."""
    assert parse_answer('Title: "Lovely stay"\nI chose this because …', "title", expects_path=False).title == "Lovely stay"


def test_a_full_width_colon_opens_a_line_too() -> None:
    """Models that write Chinese or Japanese use it."""
    assert parse_answer("Title：很好\nText： 房间很干净。", "long", expects_path=False).text == "房间很干净。"


def test_the_number_of_a_line_is_no_rating() -> None:
    """Large models number the lines that they are asked for."""
    answer = parse_answer("1. Rating: 4\n2. Title: Nice\n3. Text: We liked it.", "review", expects_path=False)
    assert (answer.rating, answer.title, answer.text) == (4.0, "Nice", "We liked it.")


@pytest.mark.parametrize("unit", ["Text ", "**Text** ", "> ", "- ", "* ", "1. "])
def test_reading_takes_time_in_proportion_to_the_completion(unit: str) -> None:
    """A model that got stuck in one line does not hang the parser."""
    start = unit.strip()
    assert growth(lambda raw: parse_answer(raw, "long", expects_path=True), lambda size: start + " " * size + unit * size) < 2.5


@pytest.mark.parametrize(("finish_reason", "cut"), [("stop", False), ("length", True), ("error", True)])
def test_an_answer_that_did_not_end_by_itself_is_cut(finish_reason: str, cut: bool) -> None:
    """At its most tokens or by a filter; but not where another line followed."""
    assert is_cut("Text: We loved the", "We loved the", finish_reason) == cut
    assert not is_cut("Text: We loved the view.\nRating:", "We loved the view.", finish_reason)


@pytest.mark.parametrize(
    ("title", "cut"),
    [("one two three four five six seven eight nine ten eleven", "one two three four five six seven eight nine ten"), ("房" * 72, "房" * 15)],
)
def test_titles_have_ten_words_or_as_many_characters(title: str, cut: str) -> None:
    assert first_words(title).startswith(cut)
    assert len(first_words(title)) < len(title)
    assert parse_answer(f"Title: {title}", "title", expects_path=False).value("title") == first_words(title)
