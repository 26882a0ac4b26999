"""Untrusted text becomes one harmless line."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
