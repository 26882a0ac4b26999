"""Which of a reasoner's notes are preferred to which: from judged notes to pairs for DPO (PAT, arXiv 2604.24996).

The chosen side must make the drafts better than no notes do, and better by a margin than the rejected side. Two traps are met here: METEOR rewards
length, so the two sides must be about as long; and notes that repeat themselves can never be chosen, however lucky their drafts were.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from grasper.lexicon import FUNCTION_WORDS
from grasper.methods.base import Reasoner
from grasper.metrics.text import unicode_tokens
from grasper.models.base import Message, Prompt

MAX_REPEATED = 0.4
"""Share of a note's content words that may have stood in it before."""
_TIE = 1e-9


@dataclass(frozen=True, slots=True)
class JudgedNotes:
    """Sampled notes and what they are worth."""

    pair_id: str
    reasoner: Reasoner
    prompt: Prompt
    notes: str
    """As the model should write them: the lines of the role."""
    difference: float
    """Differential reward: −1 … 1 by drafts, bits per byte by likelihood."""
    draft_words: float | None = None
    """Mean words of the drafts that judged them; None where there were none."""
    is_read: bool = True
    """Whether the completion had the lines of its role; other ones are never chosen."""

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> JudgedNotes:
        """The notes that `asdict` turned into a mapping."""
        prompt = record["prompt"]
        messages = tuple(Message(**message) for message in prompt["messages"])
        return cls(**{**record, "prompt": Prompt(messages, prompt["prefix"])})

    @property
    def is_sound(self) -> bool:
        """Whether the notes may be learned from."""
        return self.is_read and repeated_words(self.notes) <= MAX_REPEATED

    @property
    def num_words(self) -> int:
        return len(self.notes.split())


@dataclass(frozen=True, slots=True)
class PreferencePair:
    """Two answers to one prompt of a reasoner."""

    chosen: JudgedNotes
    rejected: JudgedNotes

    @property
    def prompt(self) -> Prompt:
        return self.chosen.prompt


def choose_pairs(judged: Sequence[JudgedNotes], *, margin: float, max_length_ratio: float) -> tuple[list[PreferencePair], dict[str, Any]]:
    """At most one pair per training pair and reasoner, with counts of what became of all.

    The chosen notes are the best sound ones, if their differential reward is positive. The rejected ones are unsound, whatever their drafts were
    worth, or worse by at least `margin`; of those, unsound ones come first, then the ones nearest in length, then the worst. Sides whose lengths in
    words differ by more than `max_length_ratio` are no pair, unless the rejected side is unsound.

    Returns:
        The pairs, and `groups`, `pairs`, `ties` (nothing was worse by the margin), `useless` (nothing sound helped), `unmatched` (only notes of
        another length were worse), `unsound` (judged notes that repeat themselves or could not be read), `share_longer_chosen` (by words of the
        notes), `share_longer_drafts` (by mean words of the drafts) and `mean_gap`; shares are None without pairs, the drafts' also without drafts.
    """
    groups: dict[tuple[str, Reasoner], list[JudgedNotes]] = {}
    for notes in judged:
        groups.setdefault((notes.pair_id, notes.reasoner), []).append(notes)
    counts: dict[str, Any] = Counter(groups=len(groups), pairs=0, ties=0, useless=0, unmatched=0, unsound=sum(not notes.is_sound for notes in judged))
    pairs = []
    for group in groups.values():
        best = max((notes for notes in group if notes.is_sound), key=lambda notes: notes.difference, default=None)
        if best is None or best.difference <= 0:
            counts["useless"] += 1
            continue
        worse = [notes for notes in group if not notes.is_sound or notes.difference <= best.difference - max(margin, _TIE)]
        matched = [notes for notes in worse if not notes.is_sound or _length_ratio(best, notes) <= max_length_ratio]
        if not matched:
            counts["unmatched" if worse else "ties"] += 1
            continue
        pairs.append(PreferencePair(best, min(matched, key=lambda notes: (notes.is_sound, _length_ratio(best, notes), notes.difference))))
    counts["pairs"] = len(pairs)
    return pairs, dict(counts) | _shares(pairs)


def repeated_words(notes: str) -> float:
    """Share of the content words that stood in the notes before, 0–1; 0 where there are none."""
    words = [word for word in unicode_tokens(notes) if word not in FUNCTION_WORDS]
    return 1.0 - len(set(words)) / len(words) if words else 0.0


def _length_ratio(one: JudgedNotes, other: JudgedNotes) -> float:
    short, long = sorted((max(1, one.num_words), max(1, other.num_words)))
    return long / short


def _shares(pairs: Sequence[PreferencePair]) -> dict[str, float | None]:
    def mean(values: Sequence[float]) -> float | None:
        return sum(values) / len(values) if values else None

    drafted = [(pair.chosen.draft_words, pair.rejected.draft_words) for pair in pairs]
    return {
        "share_longer_chosen": mean([float(pair.chosen.num_words > pair.rejected.num_words) for pair in pairs]),
        "share_longer_drafts": mean([float(chosen > rejected) for chosen, rejected in drafted if chosen is not None and rejected is not None]),
        "mean_gap": mean([pair.chosen.difference - pair.rejected.difference for pair in pairs]),
    }
