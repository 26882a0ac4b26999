"""The quality gate: which synthetic reviews are good enough to stand in a prompt, and why the others are not."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from grasper.config import SynthesizeConfig
from grasper.metrics.text import CHARACTERS_PER_WORD, copied_share, is_unspaced, ngram_length, ngrams, unicode_tokens
from grasper.reason.format import Answer

REASONS = ("unparsable", "empty", "too short", "too long", "repeated", "copied", "list")
MAX_REPEATED_SHARE = 0.3
"""Most of a text's trigrams that may be repetitions of earlier ones; stuck models repeat nearly all."""


def fault_of(answer: Answer, sources: Sequence[str], company: Sequence[str], earlier: Sequence[str], config: SynthesizeConfig) -> str | None:
    """The first reason (of REASONS) against a synthetic review, or None.

    Args:
        sources: Real texts that stood in its prompt; a text mostly made of their 8-grams is a copy.
        company: Real texts that it would stand beside, where it is shown; one in the form of a list (`Pros: … Cons: …`) is only taken where at least
            half of them have that form, whatever is usual for its own item.
        earlier: Texts already accepted for the same example; a text that equals one of them says nothing new.
    """
    if not answer.is_parsed:
        return "unparsable"
    text = answer.text or ""
    words = unicode_tokens(text)
    if not words:
        return "empty"
    length = len(words) / CHARACTERS_PER_WORD if is_unspaced(text) else len(words)
    if length < config.min_words:
        return "too short"
    if length > config.max_words:
        return "too long"
    if words in {unicode_tokens(other) for other in earlier} or repeated_share(words, ngram_length(3, text)) > MAX_REPEATED_SHARE:
        return "repeated"
    if copied_share([answer.text], [sources])[0] > config.max_copied_share:
        return "copied"
    if is_list(text) and 2 * sum(map(is_list, company)) < len(company):
        return "list"
    return None


def is_list(text: str) -> bool:
    """Whether a text begins with a label, as `Pros: … Cons: …` does. A writer takes up this form of two shown reviews, whatever they say."""
    return _LABEL.match(text) is not None


_LABEL = re.compile(r"\W*\w+\s?:\s")


def repeated_share(words: Sequence[str], length: int = 3) -> float:
    """Share of a text's trigrams (or longer runs) that occurred in it before, 0–1."""
    grams = Counter(ngrams(words, length))
    total = grams.total()
    return (total - len(grams)) / total if total else 0.0
