"""Two reasoners and a writer that take turns (PAT, arXiv 2604.24996): notes on style, notes on topic, a draft, and their revision step by step.

Step 0: each reasoner writes notes from the evidence of its own trajectory, and the writer drafts from both. In every further step each reasoner sees
the other's notes and the draft and revises its own; then the writer revises the draft. It ends after the given number of steps, or for a
request as soon as its notes have settled. All roles are one model with different prompts. Every step is kept.

All requests of a step are asked at once, and each draws from a seed of its own, so that what is written for one does not depend on the others.

Deviation: neither the prompts nor the number of steps nor the stopping rule of PAT are public; they are this project's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from grasper.config import PromptConfig
from grasper.errors import ConfigError, ShapeError
from grasper.methods.base import REASONERS, Reasoner
from grasper.metrics.rating import rating_from_probabilities
from grasper.metrics.text import rouge1, unicode_tokens
from grasper.models.base import Completion, Prompt, TextModel, ToldBy, scored
from grasper.prompts.budget import max_new_tokens
from grasper.prompts.escape import one_line
from grasper.prompts.render import Notes, after_path, render
from grasper.prompts.templates import INTERESTS, PLAN, RATING_CHOICES, STYLE, PromptRole
from grasper.reason.format import ReasoningPath, parse_answer, parse_path
from grasper.records import Profile, Request
from grasper.runs import derive_seed

Hold = Callable[[Sequence[Profile], Sequence[str], int], Sequence[int] | None]
"""What the writer's evidence, the notes and the most tokens of a draft say of the fewest that it may have; None: nothing."""
SETTLED = 0.9
"""F1 of the words of two versions of the same notes from which they count as the same."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the roles of one request are shown. None for a reasoner that the method does not have."""

    writer: Profile
    style: Profile | None = None
    """Own reviews, and in the place of the neighbours those of people who write alike."""
    topic: Profile | None = None
    """Own reviews, and in the place of the neighbours those of people with similar taste."""
    remarks: dict[str, str] = field(default_factory=dict)
    """What the retriever of a trajectory says of its evidence, by reasoner: whose style it is, and how sure that is."""

    def of(self, reasoner: Reasoner) -> Profile | None:
        """The evidence of a reasoner."""
        return self.style if reasoner == "style" else self.topic

    def review_ids(self) -> tuple[str, ...]:
        """Ids of all real reviews that any role was shown, each once."""
        shown = [profile.review_ids() for profile in (self.writer, self.style, self.topic) if profile]
        return tuple(dict.fromkeys(review_id for ids in shown for review_id in ids))


@dataclass(frozen=True, slots=True)
class Drafted:
    """How the draft of a step was answered."""

    raw: str = ""
    """The completion, word for word; empty for ratings."""
    is_parsed: bool = True
    """Whether it had the line that was asked for."""
    is_cut: bool = False
    """Whether it lacks its end, for want of tokens."""


@dataclass(frozen=True, slots=True)
class Deliberation:
    """How one text came to be."""

    steps: tuple[Notes, ...] = ()
    """The notes and the draft after each step; empty notes for a reasoner that the method does not have."""
    drafted: tuple[Drafted, ...] = ()
    """How each step's draft was answered."""
    kept: int = -1
    """The step whose draft is the answer; -1: the last."""
    is_settled: bool = False
    """Whether the notes came to rest before the last step."""
    unread: int = 0
    """Notes that could not be read and gave way to the earlier ones, or to whatever stood there."""
    probabilities: tuple[float, ...] = ()
    """Of the ratings 1–5, for the rating task."""
    rated_by: ToldBy = "measured"
    """How the last rating was found (`models.base.Scored`)."""
    tokens_in: int = 0
    tokens_out: int = 0

    @property
    def draft(self) -> str:
        """The kept draft: the text, the title, or the rating in digits."""
        return self.steps[self.kept].draft

    @property
    def path(self) -> str:
        """The notes that the kept draft was written from, as a reasoning path."""
        return path_of(self.steps[self.kept])

    @property
    def answered(self) -> Drafted:
        """How the kept draft was answered."""
        return self.drafted[self.kept]

    def each_kept(self) -> list[Deliberation]:
        """The same deliberation once for every draft that was written, with that one kept; the earliest first."""
        return [replace(self, kept=step) for step in range(len(self.steps) - self.is_settled)]

    def to_json(self, remarks: dict[str, str] | None = None) -> tuple[dict[str, str], ...]:
        """Every step for records and reports; the first one also says what the evidence rests on, an earlier one than the last that it was kept."""
        found = [{"step": str(number), "style": step.style, "topic": step.topic, "draft": step.draft} for number, step in enumerate(self.steps)]
        if self.draft != self.steps[-1].draft:
            found[self.kept]["kept"] = "yes"
        for name, remark in (remarks or {}).items():
            found[0][f"{name}_evidence"] = remark
        return tuple(found)


@dataclass(frozen=True)
class DualReasoning:
    """Style reasoner, topic reasoner and writer, all of them `model`.

    Args:
        steps: Most revisions after the first draft; 0 notes and drafts once.
        temperature: Of the drafts, and of the notes where `notes_temperature` is None.
        hold: How long drafts of texts are at least, with models that can be held to it.

    Raises:
        ConfigError: A negative number of steps.
    """

    model: TextModel
    prompts: PromptConfig
    steps: int = 2
    temperature: float | None = 0.4
    notes_temperature: float | None = None
    top_p: float = 0.9
    rating: Literal["expectation", "median", "argmax"] = "median"
    hold: Hold | None = None

    def __post_init__(self) -> None:
        if self.steps < 0:
            raise ConfigError(f"the number of reasoning steps is {self.steps}, expected 0 or more")

    def write(self, requests: Sequence[Request], evidence: Sequence[Evidence], seeds: Sequence[int]) -> list[Deliberation]:
        """One deliberation per request, in their order; all requests are of one task.

        Raises:
            ShapeError: Requests, evidence and seeds do not pair up, or the requests are of several tasks.
        """
        if not len(requests) == len(evidence) == len(seeds) or len({request.task for request in requests}) > 1:
            raise ShapeError(f"{len(requests)} requests of one task need as many pieces of evidence and seeds, got {len(evidence)} and {len(seeds)}")
        work = _Work(requests, evidence, seeds, [Deliberation() for _ in requests])
        active = list(range(len(requests)))
        for number in range(self.steps + 1):
            notes = self._take_notes(number, work, active)
            if number:
                active = [place for place in active if not _settle(work, place, notes[place])]
            self._draft(number, work, active, notes)
        return work.done

    # -- one step --------------------------------------------------------------------------------------------------------------------

    def _take_notes(self, number: int, work: _Work, active: Sequence[int]) -> dict[int, Notes]:
        """The notes of both reasoners for this step, asked together; each sees the notes and the draft of the step before."""
        asked, prompts = [], []
        for place in active:
            seen = work.done[place].steps[-1] if number else Notes()
            for reasoner in REASONERS:
                if (profile := work.evidence[place].of(reasoner)) is not None:
                    asked.append((place, reasoner))
                    prompts.append(self.notes_prompt(reasoner, work.requests[place], profile, seen))
        temperature = self.temperature if self.notes_temperature is None else self.notes_temperature
        seeds = [derive_seed(work.seeds[place], reasoner, number) for place, reasoner in asked]
        notes = {place: Notes() for place in active}
        for (place, reasoner), completion in zip(asked, self._ask(prompts, seeds, self.prompts.path_tokens, temperature), strict=True):
            earlier = work.done[place].steps[-1].of(reasoner) if number else ""
            read = read_notes(reasoner, completion.text)
            notes[place] = replace(notes[place], **{reasoner: read or earlier or _labelled(reasoner, completion.text)})
            work.record(place, completion, unread=work.done[place].unread + (read is None))
        return notes

    def _draft(self, number: int, work: _Work, active: Sequence[int], notes: Mapping[int, Notes]) -> None:
        """Write the first draft, or revise the last one by the new notes."""
        if not active:
            return
        seen = {place: replace(notes[place], draft=work.done[place].draft if number else "") for place in active}
        prompts = [self.draft_prompt(work.requests[place], work.evidence[place].writer, seen[place]) for place in active]
        task = work.requests[active[0]].task
        if task == "rating":
            self._rate(work, active, notes, prompts)
            return
        room = max_new_tokens(task, self.prompts, reasoning=False)
        seeds = [derive_seed(work.seeds[place], "draft", number) for place in active]
        least = None
        if self.hold and task == "long":
            paths = ["\n".join((notes[place].style, notes[place].topic)) for place in active]
            least = self.hold([work.evidence[place].writer for place in active], paths, room)
        for place, completion in zip(active, self._ask(prompts, seeds, room, self.temperature, least), strict=True):
            answer = parse_answer(completion.text, task, expects_path=False)
            is_cut = answer.is_cut(task, completion.text, completion.finish_reason)
            work.add(place, notes[place], str(answer.value(task) or ""), Drafted(completion.text, answer.is_parsed, is_cut))
            work.record(place, completion)

    def _rate(self, work: _Work, active: Sequence[int], notes: Mapping[int, Notes], prompts: Sequence[Prompt]) -> None:
        """Draft ratings from the digit probabilities."""
        asked = [after_path(prompt, "", "rating") for prompt in prompts]
        for place, one in zip(active, scored(self.model, asked, RATING_CHOICES), strict=True):
            rating = f"{rating_from_probabilities(one.probabilities[None], self.rating)[0]:g}"
            work.add(place, notes[place], rating, Drafted(is_parsed=one.told_by != "none"))
            cost = Completion("", tokens_in=one.tokens_in, tokens_out=one.tokens_out)
            probabilities = tuple(round(float(value), 6) for value in one.probabilities)
            work.record(place, cost, probabilities=probabilities, rated_by=one.told_by)

    # -- prompts ---------------------------------------------------------------------------------------------------------------------

    def notes_prompt(self, reasoner: Reasoner, request: Request, profile: Profile, notes: Notes) -> Prompt:
        """What a reasoner is asked, from its evidence and what it sees of the others' work."""
        return self._render(request, profile, reasoner, notes)

    def draft_prompt(self, request: Request, profile: Profile, notes: Notes) -> Prompt:
        """What the writer is asked: a first draft from the notes, or a revision where they hold a draft."""
        return self._render(request, profile, "revise" if notes.draft else "draft", notes)

    def last_prompt(self, request: Request, evidence: Evidence, found: Deliberation) -> Prompt:
        """The prompt that the last draft of a finished deliberation answered, to draw more drafts like it."""
        number = len(found.steps) - 1 - found.is_settled  # a step that settled kept the draft of the one before
        earlier = found.steps[number - 1].draft if number else ""
        return self.draft_prompt(request, evidence.writer, replace(found.steps[number], draft=earlier))

    def _render(self, request: Request, profile: Profile, role: PromptRole, notes: Notes) -> Prompt:
        return render(request, profile, reasoning=False, config=self.prompts, model=self.model, role=role, notes=notes)

    def _ask(
        self, prompts: Sequence[Prompt], seeds: Sequence[int], room: int, temperature: float | None, least: Sequence[int] | None = None
    ) -> list[Completion]:
        if not prompts:
            return []
        held = {"min_new_tokens": least} if least and getattr(self.model, "can_hold_length", False) else {}
        found = self.model.generate(prompts, n=1, temperature=temperature, top_p=self.top_p, max_new_tokens=room, seed=seeds, **held)
        return [completions[0] for completions in found]


@dataclass(frozen=True, slots=True)
class _Work:
    """Requests under way, and how far each has come."""

    requests: Sequence[Request]
    evidence: Sequence[Evidence]
    seeds: Sequence[int]
    done: list[Deliberation]

    def add(self, place: int, notes: Notes, draft: str, drafted: Drafted) -> None:
        """One more step of a request."""
        known = self.done[place]
        self.done[place] = replace(known, steps=(*known.steps, replace(notes, draft=draft)), drafted=(*known.drafted, drafted))

    def record(self, place: int, completion: Completion, **facts: Any) -> None:
        """The cost of one more completion of a request, and what it changed."""
        known = self.done[place]
        tokens_in, tokens_out = known.tokens_in + completion.tokens_in, known.tokens_out + completion.tokens_out
        self.done[place] = replace(known, tokens_in=tokens_in, tokens_out=tokens_out, **facts)


def _settle(work: _Work, place: int, notes: Notes) -> bool:
    """Whether a request's notes have settled; its draft then stays, and the step is its last."""
    last = work.done[place].steps[-1]
    if min(_sameness(last.style, notes.style), _sameness(last.topic, notes.topic)) < SETTLED:
        return False
    work.add(place, notes, last.draft, work.done[place].drafted[-1])
    work.done[place] = replace(work.done[place], is_settled=True)
    return True


def read_notes(reasoner: Reasoner, text: str) -> str | None:
    """The lines of a reasoner's notes, each interest named once; None where the completion has not all of them."""
    path = parse_path(text)
    values = () if path is None else (path.style,) if reasoner == "style" else (_each_once(path.interests), path.plan)
    return _lines(reasoner, values) if values and all(values) else None


def _each_once(listed: str) -> str:
    """A list with commas in which nothing comes twice; small models say "room, staff, room, staff"."""
    first: dict[str, str] = {}
    for part in listed.split(","):
        first.setdefault(part.strip().casefold(), part.strip())
    return ", ".join(filter(None, first.values()))


def notes_of(reasoner: Reasoner, path: ReasoningPath) -> str:
    """The part of a reasoning path that a reasoner writes, in its lines."""
    return _lines(reasoner, (path.style,) if reasoner == "style" else (path.interests, path.plan))


def path_of(step: Notes) -> str:
    """The notes of a step as the lines of a reasoning path."""
    return "\n".join(line for line in (step.style, step.topic) if line)


def labels_of(reasoner: Reasoner) -> tuple[str, ...]:
    """The lines that a reasoner writes."""
    return (STYLE,) if reasoner == "style" else (INTERESTS, PLAN)


def _lines(reasoner: Reasoner, values: Sequence[str]) -> str:
    return "\n".join(f"{label}: {one_line(value)}" for label, value in zip(labels_of(reasoner), values, strict=True))


def _labelled(reasoner: Reasoner, text: str) -> str:
    """Whatever a reasoner wrote that cannot be read, under the first of its labels; empty where it wrote nothing."""
    line = one_line(text)
    return f"{labels_of(reasoner)[0]}: {line}" if line else ""


def _sameness(earlier: str, later: str) -> float:
    return 1.0 if earlier == later else float(np.asarray(rouge1([later], [earlier], tokenizer=unicode_tokens))[0])
