"""The differential reward of notes: how much better the drafts become that are written with them (PAT, arXiv 2604.24996).

Notes are worth the mean reward of K drafts written with them minus that of K drafts written without them. The other reasoner's notes are the same in
both, and so are the seeds of the drafts, so that the difference is the notes' own and not the luck of the draw.

The form of PAT's reward beyond "with minus without" is not public: K, the common seeds and the rewards of `reason.reward` are this project's own. For
ratings nothing is sampled: the reward of a draft is its expectation over the model's digit probabilities.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from grasper.metrics.text import copied_share
from grasper.prompts.budget import max_new_tokens
from grasper.prompts.render import Notes, after_path
from grasper.prompts.templates import RATING_CHOICES
from grasper.reason.dual import DualReasoning, Evidence, Reasoner
from grasper.reason.format import parse_answer
from grasper.reason.reward import Reward
from grasper.reason.traces import TrainingPair


@dataclass(frozen=True, slots=True)
class Candidate:
    """Notes of one reasoner to be judged. `held` are the other reasoner's notes, which stay as they are."""

    pair: TrainingPair
    evidence: Evidence
    reasoner: Reasoner
    notes: str
    held: str


@dataclass(frozen=True, slots=True)
class Worth:
    """What notes turned out to be worth."""

    difference: float
    """Mean reward with the notes minus without, −1 … 1."""
    reward: float
    """Mean reward of the drafts written with them, 0–1."""
    draft_words: float
    """Mean words of these drafts; 0 for ratings."""
    copied: float
    """Mean share of the drafts' 8-grams that stand in the reviews shown, 0–1."""


def judge(
    reasoning: DualReasoning, candidates: Sequence[Candidate], reward: Reward, seeds: Sequence[int], *, num_drafts: int = 4, temperature: float = 0.7
) -> list[Worth]:
    """The worth of each candidate, in their order.

    Args:
        reasoning: The writer whose drafts count.
        seeds: One per candidate; candidates of one pair share theirs, so that they are compared on the same draws.
        num_drafts: Drafts with the notes, and as many without (K).
    """
    # Drafts without notes are the same for all candidates of a pair with the same held notes; equal prompts share their drafts.
    notes = [(_notes(candidate, candidate.notes), _notes(candidate, "")) for candidate in candidates]
    asked: dict[tuple[str, Notes, int], int] = {}
    order: list[tuple[Candidate, Notes, int]] = []
    for candidate, both, seed in zip(candidates, notes, seeds, strict=True):
        for shown in both:
            if asked.setdefault((candidate.pair.pair_id, shown, seed), len(order)) == len(order):
                order.append((candidate, shown, seed))
    drafted = _draft(reasoning, order, reward, num_drafts, temperature)
    worth = []
    for candidate, (with_notes, without), seed in zip(candidates, notes, seeds, strict=True):
        found, bare = (drafted[asked[candidate.pair.pair_id, shown, seed]] for shown in (with_notes, without))
        worth.append(Worth(found.reward - bare.reward, found.reward, found.draft_words, found.copied))
    return worth


def _notes(candidate: Candidate, notes: str) -> Notes:
    return Notes(style=notes, topic=candidate.held) if candidate.reasoner == "style" else Notes(style=candidate.held, topic=notes)


def _draft(
    reasoning: DualReasoning, order: Sequence[tuple[Candidate, Notes, int]], reward: Reward, num_drafts: int, temperature: float
) -> list[Worth]:
    """The mean reward of the drafts of each prompt; all prompts of a task are asked at once."""
    found: list[Worth | None] = [None] * len(order)
    for task in dict.fromkeys(candidate.pair.request.task for candidate, _, _ in order):
        places = [place for place, (candidate, _, _) in enumerate(order) if candidate.pair.request.task == task]
        prompts = [reasoning.draft_prompt(order[place][0].pair.request, order[place][0].evidence.writer, order[place][1]) for place in places]
        if task == "rating":
            chances = reasoning.model.score_choices([after_path(prompt, "", "rating") for prompt in prompts], RATING_CHOICES)
            for place, row in zip(places, chances, strict=True):
                truth = float(order[place][0].pair.reference)
                expected = float(row @ (1.0 - np.abs(np.arange(1.0, 6.0) - truth) / 4.0))
                found[place] = Worth(0.0, expected, 0.0, 0.0)
            continue
        room = max_new_tokens(task, reasoning.prompts, reasoning=False)
        drawn = reasoning.model.generate(
            prompts,
            n=num_drafts,
            temperature=temperature,
            top_p=reasoning.top_p,
            max_new_tokens=room,
            seed=[order[place][2] for place in places],
        )
        for place, completions in zip(places, drawn, strict=True):
            candidate = order[place][0]
            drafts = [str(parse_answer(completion.text, task, expects_path=False).value(task) or "") for completion in completions]
            rewards = reward.score(task, drafts, [candidate.pair.reference] * len(drafts))
            sources = [entry.text for entry in (*candidate.evidence.writer.own, *candidate.evidence.writer.neighbours)]
            copied = np.nan_to_num(np.asarray(copied_share(drafts, [sources] * len(drafts)), dtype=float))
            found[place] = Worth(0.0, float(rewards.mean()), float(np.mean([len(draft.split()) for draft in drafts])), float(copied.mean()))
    return [worth for worth in found if worth is not None]
