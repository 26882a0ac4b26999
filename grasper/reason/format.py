"""The form of a reasoning path and of the answer that follows it, and the parser that reads both back (DESIGN: reasoning paths).

A path is three lines, `Style:`, `Interests:` and `Plan:`; the answer follows in lines of its own, by task: `Text:`, `Title:`, `Rating:`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from grasper.metrics.rating import RATINGS
from grasper.metrics.text import CHARACTERS_PER_WORD, is_unspaced
from grasper.prompts.escape import one_line
from grasper.prompts.templates import ANSWER_LABELS, INTERESTS, PATH_LABELS, PLAN, RATING, STYLE, TEXT, TITLE, AnswerTask
from grasper.records import Example, Task

TITLE_WORDS = 10
"""Longer titles are cut: the task asks for at most ten words."""
_LABELS = (*PATH_LABELS, TITLE, TEXT, RATING)
_SECTION = re.compile(
    r"^[ \t>#-]*+(?:(?:[*•]|\d{1,2}[.)])[ \t]++)?"  # Markdown before a label: quotes, headings, the marks and numbers of lists
    rf"(\*\*|__)?(?P<label>{'|'.join(_LABELS)})[ \t]*+(?(1)(?:\1[ \t]*+)?)[:：](?(1)(?:\1)?)",
    re.IGNORECASE | re.MULTILINE,
)
_NAMES = {label.lower(): label for label in _LABELS}
_NUMBER = re.compile(r"(?<![\d.,])([1-5](?:[.,]\d+)?)(?!\d|[.,]\d)")
_WORDS = {"one": 1.0, "two": 2.0, "three": 3.0, "four": 4.0, "five": 5.0}
_STARS = re.compile(rf"\b({'|'.join(_WORDS)})\b(?=[ -]stars?\b| out of|\W*$)", re.IGNORECASE)
_QUOTES = "\"'“”‘’«»"


@dataclass(frozen=True, slots=True)
class ReasoningPath:
    """How somebody writes, what they care about, and what is to be said; one line each."""

    style: str
    interests: str
    plan: str

    @property
    def is_whole(self) -> bool:
        """Whether all three lines say something."""
        return bool(self.style and self.interests and self.plan)

    def render(self) -> str:
        """The three lines, without a line break at the end."""
        values = (one_line(self.style), one_line(self.interests), one_line(self.plan))
        return "\n".join(f"{label}: {value}".rstrip() for label, value in zip(PATH_LABELS, values, strict=True))

    def render_before_plan(self) -> str:
        """The lines before the plan, and the plan's label."""
        return replace(self, plan="").render()


@dataclass(frozen=True, slots=True)
class Answer:
    """What was read from a completion. Where a line that the task asks for is missing, `is_parsed` is False, its field a guess."""

    path: ReasoningPath | None
    title: str | None
    text: str | None
    rating: float | None
    is_parsed: bool

    def value(self, task: AnswerTask) -> str | float | None:
        """What the task asked for: the title, without what is longer than a title may be, the rating, or else the text."""
        if task == "title":
            return None if self.title is None else first_words(self.title)
        return self.rating if task == "rating" else self.text

    def is_cut(self, task: AnswerTask, raw: str, finish_reason: str) -> bool:
        """Whether the completion that this was read from was cut off within what the task asked for, be it behind what `value` takes of a title."""
        value = self.title if task == "title" else self.value(task)
        return is_cut(raw, f"{value:g}" if isinstance(value, float) else value, finish_reason)


def first_words(text: str) -> str:
    """As much of a text as a title may have."""
    if is_unspaced(text):
        return text.strip()[: round(TITLE_WORDS * CHARACTERS_PER_WORD)]
    return " ".join(text.split()[:TITLE_WORDS])


def render_answer(
    task: AnswerTask,
    *,
    title: str | None = None,
    text: str | None = None,
    rating: float | None = None,
    path: ReasoningPath | None = None,
) -> str:
    """The completion that a model should give: the path, where there is one, and the lines of the task; what a training answer looks like.

    A review without title or rating leaves that line out.
    """
    values = {TITLE: title, TEXT: text, RATING: None if rating is None else f"{rating:g}"}
    lines = [path.render()] if path else []
    for label in ANSWER_LABELS[task]:
        value = values[label]
        if value is not None:
            lines.append(f"{label}: {_unquoted(one_line(value)) if label == TITLE else one_line(value)}")
    return "\n".join(lines)


def answer_of(example: Example, task: Task) -> str:
    """The real answer as an answer's line would hold it; empty where there is none, or a rating between two digits."""
    target = example.target
    if task == "rating":
        return f"{target.rating:g}" if target.rating in RATINGS else ""
    line = render_answer(task, title=target.title, text=target.text)
    return line.removeprefix(f"{ANSWER_LABELS[task][0]}:").strip()


def parse_answer(raw: str, task: AnswerTask, *, expects_path: bool) -> Answer:
    """Read a completion: labels in any case and order, chatter before the first one, texts over several lines.

    Titles and path lines are one line; a text goes on to the next label. A label that comes twice counts the first time. Where the line
    that the task asks for is missing or empty, or one of an expected path, `is_parsed` is False; the best guess is what stands under no label.
    """
    sections, loose = _sections(raw)
    path = _path(sections)
    title, text = _first_line(sections.get(TITLE)), _paragraph(sections.get(TEXT))
    rating = parse_rating(sections[RATING]) if RATING in sections else None
    found = {"long": text is not None, "title": title is not None, "rating": rating is not None, "review": text is not None}[task]
    if not found:
        if task == "rating":
            rating = parse_rating(loose)
        elif task == "title":
            title = title or _first_line(loose)
        else:
            text = text or _paragraph(loose)
    return Answer(path, title, text, rating, is_parsed=found and (not expects_path or (path is not None and path.is_whole)))


def is_cut(raw: str, value: str | None, finish_reason: str) -> bool:
    """Whether a completion was cut off within this value, so that the value lacks its end: at the most tokens that it may have, or by a filter."""
    return finish_reason != "stop" and bool(value) and one_line(raw).endswith(one_line(value or ""))


def parse_path(raw: str) -> ReasoningPath | None:
    """The path of a completion; None where it has none of the three lines."""
    return _path(_sections(raw)[0])


def parse_rating(text: str) -> float | None:
    """The first number from 1 to 5 in a text (`4`, `4.5`, `4/5`), else the first in words (`four stars`), else None."""
    numbers = (float(match[1].replace(",", ".")) for match in _NUMBER.finditer(text))
    words = (_WORDS[match[1].lower()] for match in _STARS.finditer(text))
    return next((value for value in (*numbers, *words) if value <= 5), None)


def _sections(raw: str) -> tuple[dict[str, str], str]:
    """The first occurrence of each label with its content, and what stands before the first label."""
    sections: dict[str, str] = {}
    matches = list(_SECTION.finditer(raw))
    starts = [*(match.start() for match in matches), len(raw)]
    for match, end in zip(matches, starts[1:], strict=True):
        sections.setdefault(_NAMES[match["label"].lower()], raw[match.end() : end].strip())
    return sections, raw[: starts[0]]


def _path(sections: dict[str, str]) -> ReasoningPath | None:
    if not any(label in sections for label in PATH_LABELS):
        return None
    style, interests, plan = (_first_line(sections.get(label)) or "" for label in (STYLE, INTERESTS, PLAN))
    return ReasoningPath(style, interests, plan)


def _first_line(content: str | None) -> str | None:
    """The first line that holds something, without quotes around it."""
    for line in (content or "").splitlines():
        if cleaned := _unquoted(one_line(line)):
            return cleaned
    return None


def _unquoted(line: str) -> str:
    """The line without the one pair of quotes around it."""
    inner = line[1:-1]
    is_quoted = len(line) > 1 and line[0] in _QUOTES and line[-1] in _QUOTES and not any(quote in inner for quote in (line[0], line[-1]))
    return inner.strip() if is_quoted else line


def _paragraph(content: str | None) -> str | None:
    """All lines on one, or None where there is nothing."""
    return one_line(content) or None if content else None
