"""Minimum-Bayes-risk choice among a model's own samples: the sample that agrees most with the others and with what was retrieved.

The same for every method: candidates are its own samples only; pseudo-references are its other samples and the real texts that were chosen for its
prompt, those included that a full prompt had no room for. Nothing of the target takes part, and nothing that the method did not retrieve. Agreement
is the F1 of shared words (ROUGE-1 in any script); bigrams in it did not help.

Ours, not of a paper. References: Kumar & Byrne 2004; Eikema & Aziz 2020 (arXiv:2005.10283).
"""

from __future__ import annotations

from collections.abc import Sequence

from grasper.metrics.overlap import pairwise_f1
from grasper.records import Profile, Task

EVIDENCE_SHARE = 0.75
"""Share of the vote that all retrieved texts have together, the other samples have the rest. Tuned on dev-a, where 0.5–1 are nearly equal."""


def choose(samples: Sequence[str], evidence: Sequence[str]) -> int:
    """Position of the sample with the greatest expected agreement; the earlier one among equals.

    Args:
        samples: The candidates, at least one; empty ones are never chosen over others.
        evidence: Retrieved texts of the kind that is written.
    """
    if len(samples) == 1:
        return 0
    score = pairwise_f1(samples).sum(axis=1) / (len(samples) - 1)
    if evidence:
        score = (1 - EVIDENCE_SHARE) * score + EVIDENCE_SHARE * pairwise_f1(samples, evidence).mean(axis=1)
    score[[not sample.strip() for sample in samples]] = -1.0
    return int(score.argmax())


def evidence_for(task: Task, profile: Profile) -> list[str]:
    """The retrieved real texts, or titles, that a profile holds."""
    reviews = (*profile.others(), *profile.own)
    return [text for review in reviews if (text := review.title if task == "title" else review.text)]
