"""Models that think before they answer: what is the thought, and what is the answer.

Many models write their thoughts into the answer, between marks: `<think> … </think>` (Qwen, DeepSeek, SmolLM), `<thinking>`, `<reasoning>` and
the like, `[THINK] … [/THINK]` (Magistral), `◁think▷ … ◁/think▷` (Kimi), channels (gpt-oss). Some templates open the thought in the prompt, so
that the answer begins in the middle of it. A thought is no part of a review or a rating, whatever digits it names.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_NAMES = r"(?:\w{1,16}:)?(?:think(?:ing)?|thoughts?|reason(?:ing)?|scratchpad|inner_monologue)"
_MARK = re.compile(
    rf"<(?P<a>/?){_NAMES}>|\[(?P<b>/?)think\]|◁(?P<c>/?)think▷|<\|(?P<d>begin|end)_of_thought\|>"
    r"|(?P<open><\|channel\|>(?:analysis|commentary)[^<]{0,80}<\|message\|>)|(?P<close><\|channel\|>final[^<]{0,80}<\|message\|>)",
    re.IGNORECASE,
)
_CHANNEL_MARK = re.compile(r"<\|(?:start|end|return|call|message|channel)\|>(?:assistant)?")


class Spoken(NamedTuple):
    """A completion taken apart."""

    text: str
    """The answer, without any thought; empty where the completion ended within one."""
    thought: str
    start: int
    """Where the answer begins in the completion."""
    is_cut: bool
    """Whether the completion ended before the thought did: there is no answer."""


def split_thoughts(completion: str, *, is_open: bool = False) -> Spoken:
    """The answer and the thought of a completion; one without thoughts comes back as it is.

    A thought that is never closed counts as one only where the completion begins with it: elsewhere such a mark is part of the text.

    Args:
        is_open: Whether the prompt ended within a thought already (`ends_in_thought`).
    """
    texts: list[str] = []
    thoughts: list[str] = []
    position, start = 0, 0
    opened = 0 if is_open else None
    """Where the thought that is going on begins."""
    has_text = False
    for mark in _MARK.finditer(completion):
        if not _closes(mark):
            if opened is None:
                texts.append(completion[position : mark.start()])
                has_text = has_text or bool(texts[-1].strip())
                position, opened = mark.start(), mark.end()
            continue
        if opened is None:  # the prompt opened it, or it stands alone: nothing before it was an answer
            thoughts += [*texts, completion[position : mark.start()]]
            texts, has_text = [], False
        else:
            thoughts.append(completion[opened : mark.start()])
        opened, position = None, mark.end()
        if not has_text:
            start = position
    if opened is not None and not has_text:
        return Spoken("", _joined([*thoughts, completion[opened:]]), len(completion), is_cut=True)
    texts.append(completion[position:])
    if not thoughts:
        return Spoken(completion, "", 0, is_cut=False)
    return Spoken(_CHANNEL_MARK.sub("", "".join(texts)).lstrip("\r\n"), _joined(thoughts), start, is_cut=False)


def ends_in_thought(prompt: str) -> bool:
    """Whether a rendered prompt ends with an opened thought, as the chat templates of some models do."""
    return _open_mark(prompt) is not None


def end_of_thought(prompt: str) -> str:
    """What ends the thought that a rendered prompt ends with, and leaves it empty; nothing where there is none."""
    mark = _open_mark(prompt)
    if mark is None:
        return ""
    if mark["open"]:
        return "<|end|><|start|>assistant<|channel|>final<|message|>"
    close = mark[0].replace("begin", "end") if mark["d"] else f"{mark[0][0]}/{mark[0][1:]}"
    return f"\n{close}\n\n"


def _open_mark(prompt: str) -> re.Match[str] | None:
    """The mark that opens a thought at the very end of a rendered prompt."""
    end = prompt[-64:]
    marks = list(_MARK.finditer(end))
    return marks[-1] if marks and not _closes(marks[-1]) and not end[marks[-1].end() :].strip() else None


def _closes(mark: re.Match[str]) -> bool:
    return bool(mark["close"] or mark["d"] == "end" or mark["a"] or mark["b"] or mark["c"])


def _joined(parts: list[str]) -> str:
    return "\n".join(part.strip() for part in parts if part.strip())
