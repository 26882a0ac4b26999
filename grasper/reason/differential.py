"""The differential reward of notes: how much better the drafts become that are written with them (PAT, arXiv 2604.24996).

Notes are worth the mean reward of K drafts written with them minus that of K drafts written without them. The other reasoner's notes are the same in
both, and so are the seeds of the drafts, so that the difference is the notes' own and not the luck of the draw.

Or they are worth the bits per byte that they save the writer on the real text or title (`align.dpo.reward=likelihood`): no draft is drawn, so that no
luck is left; what is judged is then what the writer expects and not what it writes.

The form of PAT's reward beyond "with minus without" is not public: K, the common seeds, the rewards of `reason.reward` and the one by likelihood are
this project's own. For ratings nothing is sampled: the reward of a draft is its expectation over the model's digit probabilities.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from grasper.methods.base import Reasoner
from grasper.metrics.text import copied_share
from grasper.prompts.budget import max_new_tokens
from grasper.prompts.render import Notes, after_path
from grasper.prompts.templates import RATING_CHOICES
from grasper.reason.dual import DualReasoning, Evidence
from grasper.reason.format import parse_answer
from grasper.reason.likelihood import answer_bits
from grasper.reason.pair import TrainingPair
from grasper.reason.reward import Reward, rewards_of

if TYPE_CHECKING:
    from grasper.models.local import LocalModel


@dataclass(frozen=True, slots=True)
class NotesTrial:
    """Notes of one reasoner on trial: what the writer makes of them is compared with what it makes without them. `held` are the other reasoner's
    notes, which stay as they are; `draft` is what the writer revises by them, where they were written in a later step."""

    pair: TrainingPair
    evidence: Evidence
    reasoner: Reasoner
    notes: str
    held: str
    draft: str = ""


@dataclass(frozen=True, slots=True)
class Worth:
    """What notes turned out to be worth."""

    difference: float
    """Reward with the notes minus without: −1 … 1 by drafts, bits per byte by likelihood; for ratings −1 … 1 always."""
    reward: float
    """By drafts the mean reward of those written with the notes, 0–1; by likelihood minus the bits per byte of the real text behind them, ≤ 0."""
    draft_words: float | None = None
    """Mean words of these drafts, 0 for ratings; None where none were written."""
    copied: float | None = None
    """Mean share of the drafts' 8-grams that stand in the reviews shown, 0–1; None where none were written."""


def judge(
    reasoning: DualReasoning, trials: Sequence[NotesTrial], reward: Reward, seeds: Sequence[int], *, num_drafts: int = 4, temperature: float = 0.7
) -> list[Worth]:
    """The worth of the notes of each trial, in their order.

    Args:
        reasoning: The writer whose drafts count.
        seeds: One per trial; trials of one pair share theirs, so that they are compared on the same draws.
        num_drafts: Drafts with the notes, and as many without (K).
    """
    # Drafts without the notes are the same for all trials of a pair with the same held ones; equal prompts share their drafts.
    notes = [_with_and_without(trial) for trial in trials]
    asked: dict[tuple[str, Notes, int], int] = {}
    order: list[tuple[NotesTrial, Notes, int]] = []
    for trial, both, seed in zip(trials, notes, seeds, strict=True):
        for shown in both:
            if asked.setdefault((trial.pair.pair_id, shown, seed), len(order)) == len(order):
                order.append((trial, shown, seed))
    drafted = _draft(reasoning, order, reward, num_drafts, temperature)
    worth = []
    for trial, (with_notes, without), seed in zip(trials, notes, seeds, strict=True):
        found, bare = (drafted[asked[trial.pair.pair_id, shown, seed]] for shown in (with_notes, without))
        worth.append(Worth(found.reward - bare.reward, found.reward, found.draft_words, found.copied))
    return worth


def judge_by_likelihood(reasoning: DualReasoning, model: LocalModel, trials: Sequence[NotesTrial]) -> list[Worth]:
    """The worth of the notes of each trial, in their order, by what they do to the real answer's probability behind the writer's prompt.

    Nothing is sampled, so that equal notes have equal worth. All texts and titles are scored at once, and each prompt only once. Ratings, which
    the other judgement does not sample either, are rewarded as there: their one byte would outweigh any text.

    Args:
        reasoning: The writer whose prompts count.
        model: The writer's model.
    """
    places: dict[tuple[str, Notes], int] = {}
    order: list[tuple[NotesTrial, Notes]] = []
    for trial in trials:
        for shown in _with_and_without(trial):
            if places.setdefault((trial.pair.pair_id, shown), len(order)) == len(order):
                order.append((trial, shown))
    is_rating = np.array([trial.pair.task == "rating" for trial, _ in order], dtype=bool)
    rewards = np.zeros(len(order))
    texts, ratings = ([order[place] for place in np.flatnonzero(where)] for where in (~is_rating, is_rating))
    prompts = [reasoning.draft_prompt(trial.pair.request, trial.evidence.writer, shown) for trial, shown in texts]
    asked = [after_path(prompt, "", trial.pair.task) for prompt, (trial, _) in zip(prompts, texts, strict=True)]
    rewards[~is_rating] = -answer_bits(model, asked, [(trial.pair.task, trial.pair.answer_lines) for trial, _ in texts])
    rewards[is_rating] = _expected_rewards(reasoning, ratings)
    worth = []
    for trial in trials:
        found, bare = (float(rewards[places[trial.pair.pair_id, shown]]) for shown in _with_and_without(trial))
        worth.append(Worth(found - bare, found))
    return worth


def copied_from(evidence: Evidence, drafts: Sequence[str]) -> np.ndarray:
    """Share of each draft's 8-grams that stand in the reviews that the writer or a reasoner was shown, `[drafts]`, 0–1; 0 for shorter drafts."""
    profiles = [profile for profile in (evidence.writer, evidence.style, evidence.topic) if profile is not None]
    sources = [text for profile in profiles for text in profile.texts()]
    return np.nan_to_num(np.asarray(copied_share(drafts, [sources] * len(drafts)), dtype=float))


def _with_and_without(trial: NotesTrial) -> tuple[Notes, Notes]:
    """What the writer is shown with the trial's notes, and with the held ones alone."""
    return _notes(trial, trial.notes), _notes(trial, "")


def _notes(trial: NotesTrial, notes: str) -> Notes:
    style, topic = (notes, trial.held) if trial.reasoner == "style" else (trial.held, notes)
    return Notes(style=style, topic=topic, draft=trial.draft)


def _draft(
    reasoning: DualReasoning, order: Sequence[tuple[NotesTrial, Notes, int]], reward: Reward, num_drafts: int, temperature: float
) -> list[Worth]:
    """The mean reward of the drafts of each prompt; all prompts of a task are asked at once."""
    found: list[Worth | None] = [None] * len(order)
    for task in dict.fromkeys(trial.pair.request.task for trial, _, _ in order):
        places = [place for place, (trial, _, _) in enumerate(order) if trial.pair.request.task == task]
        if task == "rating":
            for place, expected in zip(places, _expected_rewards(reasoning, [order[place][:2] for place in places]), strict=True):
                found[place] = Worth(0.0, float(expected), 0.0, 0.0)
            continue
        prompts = [reasoning.draft_prompt(order[place][0].pair.request, order[place][0].evidence.writer, order[place][1]) for place in places]
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
            trial = order[place][0]
            drafts = [str(parse_answer(completion.text, task, expects_path=False).value(task) or "") for completion in completions]
            rewards = rewards_of(reward, task, drafts, [trial.pair.reference] * len(drafts))
            copied = copied_from(trial.evidence, drafts)
            found[place] = Worth(0.0, float(rewards.mean()), float(np.mean([len(draft.split()) for draft in drafts])), float(copied.mean()))
    return [worth for worth in found if worth is not None]


def _expected_rewards(reasoning: DualReasoning, order: Sequence[tuple[NotesTrial, Notes]]) -> np.ndarray:
    """The expected reward of the rating behind each prompt, over the model's digit probabilities, `[prompts]`, 0–1."""
    prompts = [reasoning.draft_prompt(trial.pair.request, trial.evidence.writer, shown) for trial, shown in order]
    chances = reasoning.model.score_choices([after_path(prompt, "", "rating") for prompt in prompts], RATING_CHOICES)
    truths = np.array([float(trial.pair.reference) for trial, _ in order])
    return np.asarray((chances * (1.0 - np.abs(np.arange(1.0, 6.0) - truths[:, None]) / 4.0)).sum(axis=1))
