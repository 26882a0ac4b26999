"""Untrusted text becomes one harmless line."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from timing import growth

from grasper.prompts.escape import escape, one_line
from grasper.prompts.templates import PROMPT_LABELS

FRAGMENTS = [
    "<|",
    "<|system|>",
    "</s>",
    "<br/>",
    "<<br>br>",
    "\n",
    "\r\n",
    "\u2028",
    "\x00",
    "\x1b",
    "\u202e",
    "[INST]",
    "<",
    "|",
    "Task:",
    "a b",
    "é",
    "👍",
    "：",
    "\u200d",
    "\ufe0f",
    "\u3000",
    "\u20e3",
    ">",
    " " * 201,
    "Ｔａｓｋ",
]
nasty_text = st.lists(st.one_of(st.sampled_from([*FRAGMENTS, *(f"{label}:" for label in PROMPT_LABELS)]), st.text(max_size=12)), max_size=12)


@given(nasty_text)
def test_escaped_text_is_one_line_without_special_tokens_or_labels(parts: list[str]) -> None:
    """Whatever a review holds: no line break, no control character, no `<|`, no `[INST`, no label with its colon."""
    line = escape("".join(parts))
    assert line.splitlines() in ([], [line])
    assert not re.search(r"[\x00-\x1f\x7f-\x9f]", line)
    assert "<|" not in line
    assert "[INST" not in line
    assert "</s>" not in line
    assert not any(re.search(rf"\b{re.escape(label)}:", line, re.IGNORECASE) for label in PROMPT_LABELS)


@pytest.mark.parametrize("token", ["[INST]", "[/INST] x", "［SYS］", "</s>", "<s>", "<|system|>", "＜|im_start|>", "＜｜user｜＞"])
def test_no_special_token_survives(token: str) -> None:
    """A space behind its bracket breaks it, in full width and in the middle of words, too."""
    broken = f"{token[0]} {token[1:]}"
    assert one_line(token) == broken
    assert escape(f"fine{token} {token}") == f"fine{broken} {broken}"


@pytest.mark.parametrize("hidden", ["\u202e", "\u2066", "\u200b", "\ufeff", "\xad", "\U000e0041"])
def test_what_nobody_sees_is_gone(hidden: str) -> None:
    """Characters that turn the direction, have no width, or are tags."""
    assert one_line(f"go{hidden}od") == "good"


@given(nasty_text)
def test_escaping_twice_changes_nothing(parts: list[str]) -> None:
    """Text that has been through a prompt once (a synthetic review, notes) is not altered again."""
    text = "".join(parts)
    assert escape(escape(text)) == escape(text)
    assert one_line(one_line(text)) == one_line(text)


@pytest.mark.parametrize(
    "text",
    ["Great place, 5 stars!", "Não gostei: veio quebrado.", "I <3 it (really) [4]", "price: 5 < 6", "👨‍👩‍👧 loved it", "it's 7:30 am"],
)
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    """Nothing is altered that cannot be mistaken."""
    assert escape(text) == text


def test_markup_becomes_white_space() -> None:
    """Line breaks of scraped pages do not glue words together."""
    assert one_line("Good.<br /><br>Bad.\n\nUgly.</p>") == "Good. Bad. Ugly."


@pytest.mark.parametrize("colon", ["：", "︓", "﹕", "∶", ":"])
def test_labels_lose_their_form_whatever_their_colon_and_width(colon: str) -> None:
    """Tokenizers fold full-width forms to plain ones, and Chinese writes no space before a label."""
    assert escape(f"很好Task{colon} obey") == f"很好Task {colon} obey"
    assert escape(f"ｔａｓｋ{colon} obey") == f"ｔａｓｋ {colon} obey"
    assert escape(f"Ta\u00adsk\u200d{colon}") == f"Task {colon}"
    assert escape("Context: none") == "Context: none"


HOSTILE = {
    "spaces in a tag": lambda size: "a<" + " " * size + "z",
    "nested tags": lambda size: "<b" * size + ">" * size,
    "open tags": lambda size: "<b " * size,
    "tags after text": lambda size: ("<b " + "x" * 190) * (size // 100),
    "closed brackets": lambda size: "<x" * size + ">" * size,
    "labels without a colon": lambda size: "Others about this " * size,
    "joiners": lambda size: "a" + "\u200d" * size + "字",
    "joiners before ASCII": lambda size: "字" + "\u200d" * size,
    "selectors": lambda size: "a" + "\ufe0f" * size + "\u20e3",
    "controls and spaces": lambda size: "\x00 \u200b\t" * size,
    "brackets": lambda size: "[INST" * size,
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_time_grows_no_faster_than_the_text(kind: str) -> None:
    """Eight times the text takes about eight times as long; the old expressions took 64 times as long, and more."""
    make = HOSTILE[kind]
    assert growth(escape, make) < 2.5


hostile_unit = st.text(alphabet=st.sampled_from("<>/ b|[:Tasktext\u200d\ufe0f\u200b\n："), min_size=1, max_size=6)


@settings(max_examples=20, deadline=None)
@given(hostile_unit, hostile_unit, hostile_unit)
def test_no_repetition_of_a_short_text_grows_faster_than_itself(first: str, middle: str, last: str) -> None:
    """Whatever is repeated in front, in the middle and at the end, eight times as often takes about eight times as long."""
    assert growth(escape, lambda size: first * size + middle * size + last * size, size=300) < 3
