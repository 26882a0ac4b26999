"""Request + profile → the chat messages that a model gets.

One user message: item, own reviews, others' reviews, predicted reviews, given fields, task, form of the answer. Empty sections are left
out, but `Own reviews: none` stays, because it tells the model that it writes for somebody without history.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Literal

from grasper.config import PromptConfig
from grasper.errors import PromptTooLongError
from grasper.models.base import Message, Prompt, TextModel
from grasper.prompts import templates as t
from grasper.prompts.budget import (
    ITEM_TOKENS,
    MESSAGE_TOKENS,
    TITLE_TOKENS,
    Entry,
    Kind,
    TokenCounter,
    keep_best,
    max_new_tokens,
    token_counter,
    worst_entry,
)
from grasper.prompts.escape import escape
from grasper.prompts.templates import PROMPT_VERSION, AnswerTask, PromptRole
from grasper.records import Item, Profile, Request, Review, SyntheticReview

__all__ = ["PROMPT_VERSION", "AnswerTask", "Exemplar", "Notes", "PromptRole", "after_path", "render", "render_review"]

_MIN_GIVEN_TOKENS = 8
_MAX_NAME_CHARACTERS = 1_000
"""Enough for any name of `ITEM_TOKENS` tokens."""
_PATH_LABEL = re.compile(rf"^\s*(?:{'|'.join(t.PATH_LABELS)})\s*:\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Exemplar:
    """A solved request that stands before the real one: the aligned example of a backbone that cannot be fine-tuned."""

    question: str
    answer: str


@dataclass(frozen=True, slots=True)
class Notes:
    """What PAT's reasoners and generator have written so far, with or without the labels of a path; an empty string where nothing."""

    style: str = ""
    topic: str = ""
    draft: str = ""

    def of(self, reasoner: Literal["style", "topic"]) -> str:
        """The notes of a reasoner."""
        return self.style if reasoner == "style" else self.topic


@dataclass(frozen=True, slots=True)
class _Question:
    """A request without its reviews: what comes before them, after them, and how it is answered."""

    task: AnswerTask
    item: Item | None
    given: tuple[tuple[str, str, int], ...]
    """Label, text, most tokens."""
    order: str
    labels: tuple[str, ...]
    """Lines of the answer."""


def render(
    request: Request,
    profile: Profile,
    *,
    reasoning: bool,
    config: PromptConfig,
    model: TextModel,
    exemplars: Sequence[Exemplar] = (),
    role: PromptRole = "write",
    notes: Notes | None = None,
    answer: str | None = None,
) -> Prompt:
    """The prompt of one request; the same input always gives the same prompt.

    Args:
        reasoning: Whether the answer begins with a path. The roles `style`, `topic` and `hindsight` ask for lines of the path in any case.
        notes: For PAT's roles: what the other reasoner and the generator have written.
        answer: For `hindsight` only: the real answer, which the prompt forbids to quote.

    Raises:
        PromptTooLongError: The instructions do not fit the context even without any review.
    """
    notes = notes or Notes()
    given = [(t.GIVEN_TITLE, request.title, TITLE_TOKENS * 2), (t.GIVEN_TEXT, request.text, config.given_tokens)]
    given += [(t.GIVEN_RATING, _number(request.rating), ITEM_TOKENS)]
    given += [(t.STYLE_NOTES, _note(notes.style), config.path_tokens), (t.TOPIC_NOTES, _note(notes.topic), config.path_tokens)]
    given += [(t.DRAFT, notes.draft, config.answer_tokens)]
    if role == "hindsight":
        given.append((t.REAL_ANSWER, answer, config.answer_tokens))
    order, labels = _order(request.task, role, notes, reasoning=reasoning)
    has_no_title = request.task == "long" and not request.title
    question = _Question(
        task=request.task,
        item=request.item if config.item_name or has_no_title else None,
        given=tuple((label, escape(text), limit) for label, text, limit in given if text),
        order=order,
        labels=labels,
    )
    others = {"style": t.SIMILAR_WRITERS, "topic": t.SIMILAR_TASTE}.get(role, t.OTHERS)
    return _compose(question, profile, others, config, model, exemplars)


def render_review(
    item: Item, profile: Profile, *, reasoning: bool, config: PromptConfig, model: TextModel, exemplars: Sequence[Exemplar] = ()
) -> Prompt:
    """The prompt for a whole review (rating, title, text) of a predicted item: the synthetic history of GraSPer.

    Raises:
        PromptTooLongError: The instructions do not fit the context even without any review.
    """
    labels = (*(t.PATH_LABELS if reasoning else ()), *t.ANSWER_LABELS["review"])
    return _compose(_Question("review", item, (), t.TASKS["review"], labels), profile, t.OTHERS, config, model, exemplars)


def after_path(prompt: Prompt, path: str, task: AnswerTask) -> Prompt:
    """The prompt with a path and the label of the task's first line already written, so that the completion is what comes after it.

    `path` may be empty; then the answer starts with its label. Completions of the rating task are one of `templates.RATING_CHOICES`.
    """
    label = t.ANSWER_LABELS[task][0]
    return replace(prompt, prefix=f"{path.rstrip()}\n{label}:" if path else f"{label}:")


def _order(task: AnswerTask, role: PromptRole, notes: Notes, *, reasoning: bool) -> tuple[str, tuple[str, ...]]:
    """The task sentence and the lines of the answer."""
    if role == "style":
        return (t.STYLE_AGAIN_TASK if notes.topic else t.STYLE_TASK), (t.STYLE,)
    if role == "topic":
        return (t.TOPIC_AGAIN_TASK if notes.style else t.TOPIC_TASK), (t.INTERESTS, t.PLAN)
    if role == "hindsight":
        return t.HINDSIGHT_TASK, t.PATH_LABELS
    orders = t.REVISE_TASKS if role == "revise" else t.TASKS
    return orders[task], (*(t.PATH_LABELS if reasoning else ()), *t.ANSWER_LABELS[task])


def _compose(question: _Question, profile: Profile, others: str, config: PromptConfig, model: TextModel, exemplars: Sequence[Exemplar]) -> Prompt:
    counter = token_counter(model)
    reasoning = t.STYLE in question.labels or t.PLAN in question.labels
    room = min(config.context_tokens, model.context_tokens) - max_new_tokens(question.task, config, reasoning=reasoning)
    room -= 3 * MESSAGE_TOKENS  # system, user, and the head of the answer

    headers: dict[Kind, str] = {"own": f"{t.OWN}:", "neighbours": f"{others}:", "predicted": f"{t.PREDICTED}:"}
    before, after, cost = _frame(question, counter, room)
    entries = [*_exemplar_entries(exemplars, counter), *_entries(profile, config, counter)]
    entries = keep_best(entries, room - cost - sum(counter.count(header) for header in headers.values()))
    while True:
        messages = _messages(before, after, entries, headers, exemplars)
        estimate = cost + sum(entry.tokens for entry in entries)
        # Lines are counted one by one; a tokenizer that merges across line breaks could differ, so a full prompt is counted whole.
        if estimate < 0.9 * room or sum(model.count_tokens(message.content) for message in messages) <= room:
            return Prompt(messages)
        if not entries:
            raise PromptTooLongError(_too_long(question, room))
        entries.remove(worst_entry(entries))


def _frame(question: _Question, counter: TokenCounter, room: int) -> tuple[list[str], list[str], int]:
    """The lines before and after the reviews, and what they cost with the system message."""
    task_lines = [f"{t.TASK}: {question.order}", t.answer_line(question.labels)]
    cost = counter.count(t.SYSTEM) + counter.count(f"{t.OWN}: none") + sum(counter.count(line) for line in task_lines)
    if cost > room:
        raise PromptTooLongError(_too_long(question, room))
    before: list[str] = []
    given: list[str] = []
    for label, text, limit in [*question.given, *_item_line(question.item)]:
        limit = min(limit, room - cost)
        if limit < _MIN_GIVEN_TOKENS:
            raise PromptTooLongError(_too_long(question, room))
        line = counter.fit(f"{label}: {text}", limit)
        cost += counter.count(line)
        (before if label == t.ITEM else given).append(line)
    return before, [*given, *task_lines], cost


def _too_long(question: _Question, room: int) -> str:
    return (
        f"the instructions of task '{question.task}' and its given fields need more than the {room} tokens that the context leaves; "
        "raise prompts.context_tokens, or lower prompts.answer_tokens or prompts.path_tokens"
    )


def _item_line(item: Item | None) -> list[tuple[str, str, int]]:
    if item is None or not (item.name or item.category):
        return []
    name, category = escape(item.name or "")[:_MAX_NAME_CHARACTERS], escape(item.category or "")[:_MAX_NAME_CHARACTERS]
    return [(t.ITEM, f"{name} ({category})" if name and category else name or category, ITEM_TOKENS)]


def _exemplar_entries(exemplars: Sequence[Exemplar], counter: TokenCounter) -> list[Entry]:
    return [
        Entry("exemplar", rank, exemplar.question, counter.count(exemplar.question) + counter.count(exemplar.answer) + 2 * MESSAGE_TOKENS)
        for rank, exemplar in enumerate(exemplars)
    ]


def _entries(profile: Profile, config: PromptConfig, counter: TokenCounter) -> Iterable[Entry]:
    kinds: tuple[tuple[Kind, Sequence[Review | SyntheticReview], int], ...] = (
        ("own", profile.own[: config.own_entries], config.own_tokens),
        ("neighbours", profile.neighbours[: config.neighbour_entries], config.neighbour_tokens),
        ("predicted", profile.predicted[: config.predicted_entries], config.predicted_tokens),
    )
    for kind, reviews, limit in kinds:
        for rank, review in enumerate(reviews):
            line = counter.fit(_entry_line(review, counter), limit)
            yield Entry(kind, rank, line, counter.count(line))


def _entry_line(review: Review | SyntheticReview, counter: TokenCounter) -> str:
    """`- name [rating] title | text`; the name only where the item is another than the requested one, parts left out where unknown.

    Name and title are bounded, so that a boundless one leaves room for the text.
    """
    head = ["-"]
    if isinstance(review, SyntheticReview) and review.item.name:
        head.append(_bounded(review.item.name, ITEM_TOKENS, counter))
    if review.rating is not None:
        head.append(f"[{_number(review.rating)}]")
    if review.title:
        head.append(f"{_bounded(review.title, 2 * TITLE_TOKENS, counter)} |")
    return " ".join((*head, escape(review.text)))


def _bounded(text: str, max_tokens: int, counter: TokenCounter) -> str:
    line = escape(text)
    is_short = len(line) <= max_tokens and counter.count(line) <= max_tokens + 1  # a character may be several tokens, as in scripts without spaces
    return line if is_short else counter.fit(line, max_tokens)


def _note(lines: str) -> str:
    """Lines of a path as one line of notes."""
    return "; ".join(_PATH_LABEL.sub("", line) for line in lines.splitlines() if line.strip())


def _number(rating: float | None) -> str | None:
    return None if rating is None else f"{rating:g}"


def _messages(
    before: list[str], after: list[str], entries: Sequence[Entry], headers: dict[Kind, str], exemplars: Sequence[Exemplar]
) -> tuple[Message, ...]:
    messages = [Message("system", t.SYSTEM)]
    lines = list(before)
    if not any(entry.kind == "own" for entry in entries):
        lines.append(f"{t.OWN}: none")
    for kind, group in groupby(entries, key=lambda entry: entry.kind):
        if kind == "exemplar":
            for entry in group:
                messages += [Message("user", entry.text), Message("assistant", exemplars[entry.rank].answer)]
        else:
            lines += [headers[kind], *(entry.text for entry in group)]
    messages.append(Message("user", "\n".join([*lines, *after])))
    return tuple(messages)
