"""Untrusted text → one harmless line: a review can neither open a section of a prompt nor hold a chat template's special token."""

from __future__ import annotations

import re

from grasper.prompts.templates import PROMPT_LABELS

_TAG = re.compile(r"<\s*/?\s*(?:br|p|b|i|u|em|strong|div|span|a|li|ul)\b[^<>]{0,200}>", re.IGNORECASE)
_CONTROL = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f"  # control characters that are not white space
    "\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb"  # invisible ones, and those that turn the direction of writing
    "\ud800-\udfff\U000e0000-\U000e007f]"  # lone surrogates; tags, which hide whole messages
)
_SPECIAL = re.compile(r"<(?=[|｜/a-z_])|\[(?=/?(?:INST|SYS))", re.IGNORECASE)
_LABEL = re.compile(rf"\b({'|'.join(re.escape(label) for label in PROMPT_LABELS)}):", re.IGNORECASE)


def one_line(text: str) -> str:
    """The text on one line: HTML line breaks and tags, control characters and runs of white space give way to single spaces.

    `<|`, `<tag` and `[INST` are broken by a space, since tokenizers take such strings for special tokens wherever they stand.
    """
    text = _CONTROL.sub("", text)
    while "<" in text and (stripped := _TAG.sub(" ", text)) != text:
        text = stripped
    text = " ".join(text.split())
    if "<" in text or "[" in text:
        text = _SPECIAL.sub(lambda match: match.group() + " ", text)
    return text


def escape(text: str) -> str:
    """`one_line`, and labels of the prompt lose their form: `Task: …` becomes `Task : …`."""
    text = one_line(text)
    return _LABEL.sub(r"\1 :", text) if ":" in text else text
