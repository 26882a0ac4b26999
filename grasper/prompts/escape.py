"""Untrusted text → one harmless line: a review can neither open a section of a prompt nor hold a chat template's special token.

Every function takes time linear in the length of the text, whatever it holds.
"""

from __future__ import annotations

import re

from grasper.prompts.templates import PROMPT_LABELS

_CONTROL = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f"  # control characters that are not white space
    "\xad\u034f\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb"  # invisible ones, and those that turn the direction
    "\ud800-\udfff\U000e0000-\U000e007f]"  # lone surrogates; tags, which hide whole messages
)
_JOINER = re.compile(  # belongs into emoji and into words of many scripts, but hides something beside ASCII (keycaps apart)
    "(?<=[ -~])[\u200c\u200d\ufe00-\ufe0f]+(?!\u20e3)|(?<![\u200c\u200d])[\u200c\u200d]++(?=[ -~])"
)
_ANGLE = re.compile("([<>])")
_TAG = re.compile(r"< ?/? ?(?:br|p|b|i|u|em|strong|div|span|a|li|ul)\b.{0,200}", re.IGNORECASE)
_SPECIAL = re.compile(r"[<＜](?=[|｜/a-z_ａ-ｚ])|[\[［](?=/?(?:INST|SYS))", re.IGNORECASE)
_WIDE = {ord(" "): " ", **{code: f"[{chr(code)}{chr(code + 0xFEE0)}]" for code in range(0x21, 0x7F) if chr(code).isalpha()}}
"""Letters as they stand in a label → a pattern that also takes their full-width form, which many tokenizers fold to the plain one."""
_LABELS = "|".join(label.translate(_WIDE | {ord(mark): rf"\{mark}" for mark in "(),"}) for label in PROMPT_LABELS)
_LABEL = re.compile(rf"(?<![a-z0-9_à-öø-ɏａ-ｚ])({_LABELS})(?=[:：︓﹕∶꞉])", re.IGNORECASE)


def one_line(text: str) -> str:
    """The text on one line: HTML line breaks and tags, control characters and runs of white space give way to single spaces.

    `<|`, `<tag` and `[INST` are broken by a space, since tokenizers take such strings for special tokens wherever they stand.
    """
    text = " ".join(_CONTROL.sub("", text).split())
    if not text.isascii():
        text = " ".join(_JOINER.sub("", text).split())
    if "<" in text and ">" in text:
        text = " ".join(_without_tags(text).split())
    may_be_special = "<" in text or "[" in text or not text.isascii()
    return _SPECIAL.sub(lambda match: match.group() + " ", text) if may_be_special else text


def escape(text: str) -> str:
    """`one_line`, and labels of the prompt lose their form: `Task: …` becomes `Task : …`, with a full-width colon, too."""
    text = one_line(text)
    return _LABEL.sub(r"\1 ", text) if ":" in text or not text.isascii() else text


def _without_tags(text: str) -> str:
    """The text with a space for every tag, also for those that only appear once a tag inside them is gone (`<<b>b>`).

    One pass with the open brackets on a stack: a bracket that closes no tag shuts all those before it, for a tag holds no other bracket.
    """
    pieces: list[str] = []
    opened: list[int] = []
    for piece in _ANGLE.split(text):
        if piece == ">" and opened and _TAG.fullmatch(" ".join("".join(pieces[opened[-1] :]).split())):
            del pieces[opened.pop() :]
            pieces.append(" ")
            continue
        if piece == "<":
            opened.append(len(pieces))
        elif piece == ">":
            opened.clear()
        pieces.append(piece)
    return "".join(pieces)
