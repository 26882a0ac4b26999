"""What each role of dual reasoning should answer for a training pair: the warm start of both reasoners and of the writer (PAT, arXiv 2604.24996).

A small model cannot follow roles that it was never taught. The notes come from `reason.analyse`, by counting alone: style and interests from the
visible evidence of the role's own trajectory, the plan with the real answer in view but leak-guarded. In a later step a reasoner learns the same
notes in view of what was written before, which are other ones: whoever sees what they should write learns to repeat what they see. The writer learns
the real answer, from notes alone and from notes with a draft to improve.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from grasper.methods.base import REASONERS, Reasoner
from grasper.models.base import Prompt
from grasper.prompts.render import Notes
from grasper.reason.analyse import analyse
from grasper.reason.dual import DualReasoning, Evidence, notes_of
from grasper.reason.format import ReasoningPath
from grasper.reason.pair import TrainingPair
from grasper.records import Profile, Request, Task, with_text

Role = Literal["style", "topic", "draft", "revise"]


@dataclass(frozen=True, slots=True)
class RoleExample:
    """One prompt of a role with the answer that is to be learned."""

    pair_id: str
    role: Role
    task: Task
    prompt: Prompt
    answer: str


def role_examples(pair: TrainingPair, evidence: Evidence, reasoning: DualReasoning, earlier: Notes | None = None) -> list[RoleExample]:
    """Examples of every role that the method has: notes, notes again with the others' work in view, a draft, and a revision.

    Args:
        evidence: What the roles may see of the pair; never its target.
        reasoning: Renders the prompts as at inference.
        earlier: A step to improve, for example the model's own first one; without a draft nothing is revised. Notes that already hold what they are
            to become are not asked for again: that would teach to copy.
    """
    path = analysed_notes(pair, evidence)
    known: dict[Reasoner, str] = {reasoner: notes_of(reasoner, path) for reasoner in REASONERS if evidence.of(reasoner) is not None}
    draft = earlier.draft if earlier else ""
    examples = []
    for reasoner, answer in known.items():
        profile = evidence.of(reasoner)
        assert profile is not None
        seen = [Notes()]
        if earlier and draft and answer not in earlier.of(reasoner):
            seen.append(earlier)
        examples += [
            RoleExample(pair.pair_id, reasoner, pair.request.task, reasoning.notes_prompt(reasoner, pair.request, profile, shown), answer)
            for shown in seen
        ]
    for written in ("", draft) if draft else ("",):
        notes = Notes(known.get("style", ""), known.get("topic", ""), written)
        prompt = reasoning.draft_prompt(pair.request, evidence.writer, notes)
        examples.append(RoleExample(pair.pair_id, "revise" if written else "draft", pair.request.task, prompt, pair.answer_lines))
    return examples


def analysed_notes(pair: TrainingPair, evidence: Evidence, *, sees_answer: bool = True) -> ReasoningPath:
    """The notes that the evidence suggests, as a path; the plan may look at the real answer, but where that would leak it does not."""
    topic = analyse(pair.request, evidence.topic or evidence.writer, pair.answer if sees_answer else None)
    return ReasoningPath(_style(pair.request, evidence.style or evidence.writer), topic.interests, topic.plan)


def _style(request: Request, profile: Profile) -> str:
    """How the user writes, from their own reviews; without any, what people do who write alike, marked as a guess."""
    own = analyse(request, profile).style
    if with_text(profile.own) or not profile.neighbours:
        return own
    return f"unknown; likely {analyse(request, Profile(own=profile.neighbours)).style}"
