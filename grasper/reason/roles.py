"""What each role of dual reasoning should answer for a training pair: the warm start of both reasoners and of the writer (PAT, arXiv 2604.24996).

A small model cannot follow roles that it was never taught. The notes come from `reason.analyse`, by counting alone: style and interests from the
visible evidence of the role's own trajectory, the plan with the real answer in view but leak-guarded. The writer learns the real answer, from notes
alone and from notes with a draft to improve.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from grasper.models.base import Prompt
from grasper.prompts.render import Notes
from grasper.reason.analyse import analyse
from grasper.reason.dual import DualReasoning, Evidence, Reasoner, notes_of
from grasper.reason.format import Answer, ReasoningPath
from grasper.reason.leak import leaks
from grasper.reason.traces import TrainingPair
from grasper.records import Profile, Request, Task

Role = Literal["style", "topic", "draft", "revise"]


@dataclass(frozen=True, slots=True)
class RoleExample:
    """One prompt of a role with the answer that is to be learned."""

    pair_id: str
    role: Role
    task: Task
    prompt: Prompt
    answer: str


def role_examples(pair: TrainingPair, evidence: Evidence, reasoning: DualReasoning, draft: str = "") -> list[RoleExample]:
    """Examples of every role that the method has: notes, notes again with the others' work in view, a draft, and a revision.

    Args:
        evidence: What the roles may see of the pair; never its target.
        reasoning: Renders the prompts as at inference.
        draft: Somebody's draft to revise, for example the model's own; without one nothing is revised.
    """
    path = analysed_notes(pair, evidence)
    known: dict[Reasoner, str] = {reasoner: notes_of(reasoner, path) for reasoner in ("style", "topic") if evidence.of(reasoner) is not None}
    notes = Notes(known.get("style", ""), known.get("topic", ""))
    examples = []
    for reasoner, answer in known.items():
        profile = evidence.of(reasoner)
        assert profile is not None
        seen = [Notes(), *([Notes(notes.style, notes.topic, draft)] if draft else [])]
        examples += [
            RoleExample(pair.pair_id, reasoner, pair.request.task, reasoning.notes_prompt(reasoner, pair.request, profile, shown), answer)
            for shown in seen
        ]
    for written in ("", draft) if draft else ("",):
        prompt = reasoning.draft_prompt(pair.request, evidence.writer, Notes(notes.style, notes.topic, written))
        examples.append(RoleExample(pair.pair_id, "revise" if written else "draft", pair.request.task, prompt, pair.answer_lines))
    return examples


def analysed_notes(pair: TrainingPair, evidence: Evidence) -> ReasoningPath:
    """The notes that the visible evidence suggests, as a path; the plan may look at the real answer, but where that would leak it does not."""
    target = pair.example.target
    answer = Answer(None, target.title, target.text, target.rating, is_parsed=True)
    for seen in (answer, None):
        path = _path(pair.request, evidence, seen)
        if seen is None or not leaks(path, pair.request, _all_shown(evidence), target):
            return path
    raise AssertionError("the last path is returned in any case")


def _path(request: Request, evidence: Evidence, answer: Answer | None) -> ReasoningPath:
    topic = analyse(request, evidence.topic or evidence.writer, answer)
    return ReasoningPath(_style(request, evidence.style or evidence.writer), topic.interests, topic.plan)


def _style(request: Request, profile: Profile) -> str:
    """How the user writes, from their own reviews; without any, what people do who write alike, marked as a guess."""
    own = analyse(request, profile).style
    if profile.own or not profile.neighbours:
        return own
    return f"unknown; likely {analyse(request, Profile(own=profile.neighbours)).style}"


def _all_shown(evidence: Evidence) -> Profile:
    """Everything that any role sees, for the leak guard: what the context shows anyway is no leak."""
    profiles: Sequence[Profile] = [profile for profile in (evidence.writer, evidence.style, evidence.topic) if profile is not None]
    return Profile(
        own=tuple(dict.fromkeys(review for profile in profiles for review in profile.own)),
        neighbours=tuple(dict.fromkeys(review for profile in profiles for review in profile.neighbours)),
        predicted=evidence.writer.predicted,
    )
