"""The quality gate: which synthetic reviews are good enough to stand in a prompt, and why the others are not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from grasper.config import SynthesizeConfig
from grasper.metrics.text import copied_share, unicode_tokens
from grasper.reason.format import Answer

REASONS = ("unparsable", "empty", "too short", "too long", "repeated", "copied")
MAX_REPEATED_SHARE = 0.3
"""Most of a text's trigrams that may be repetitions of earlier ones; stuck models repeat nearly all."""


def fault_of(answer: Answer, sources: Sequence[str], earlier: Sequence[str], config: SynthesizeConfig) -> str | None:
    """The first reason (of REASONS) against a synthetic review, or None.

    Args:
        sources: Real texts that stood in its prompt; a text mostly made of their 8-grams is a copy.
        earlier: Texts already accepted for the same example; a text that equals one of them says nothing new.
    """
    if not answer.is_parsed:
        return "unparsable"
    words = unicode_tokens(answer.text or "")
    if not words:
        return "empty"
    if len(words) < config.min_words:
        return "too short"
    if len(words) > config.max_words:
        return "too long"
    if words in {unicode_tokens(text) for text in earlier} or repeated_share(words) > MAX_REPEATED_SHARE:
        return "repeated"
    if copied_share([answer.text], [sources])[0] > config.max_copied_share:
        return "copied"
    return None


def repeated_share(words: Sequence[str]) -> float:
    """Share of a text's trigrams that occurred in it before, 0–1."""
    grams = Counter(tuple(words[start : start + 3]) for start in range(len(words) - 2))
    total = grams.total()
    return (total - len(grams)) / total if total else 0.0
