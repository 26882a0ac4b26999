"""What a text may spell that a tokenizer must not take for something else."""

from __future__ import annotations

import re
from collections.abc import Iterable

from transformers import AddedToken

_SURROGATE = re.compile(r"[\ud800-\udfff]")


def without_surrogates(text: str) -> str:
    """The text with � for every half of a surrogate pair, which no tokenizer can read; as long as before."""
    return _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", text)


def added_token_pattern(added: Iterable[AddedToken]) -> re.Pattern[str] | None:
    """Matches what a tokenizer would turn into a token outside of its vocabulary proper (`<|end|>`, `</s>`); runs of spaces are harmless."""
    spelled = sorted((str(token) for token in added if len(str(token).strip()) > 1), key=len, reverse=True)
    return re.compile("|".join(map(re.escape, spelled))) if spelled else None
