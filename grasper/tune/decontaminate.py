"""Keeps texts that a model will be asked for out of its training: no shared run of 13 words, no shared beginning.

The same rule was applied to the corpus of nano (see its README); here it guards the reviews that instruction examples are made of.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

RUN_WORDS = 13
START_LETTERS = 120
MIN_START_LETTERS = 40
"""Shorter texts ("Great product!") are what everybody writes; equal ones tell nothing."""

_WORD = re.compile(r"\w+")


class Reference:
    """The runs of words and the beginnings of texts that must not be trained on."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._runs: set[int] = set()
        self._starts: set[str] = set()
        for text in texts:
            self._runs.update(_runs(text))
            if len(start := _start(text)) >= MIN_START_LETTERS:
                self._starts.add(start)

    def shares(self, text: str) -> bool:
        """Whether the text has a run of 13 words, or its first 120 letters and digits, in common with a reference text."""
        return _start(text) in self._starts or any(run in self._runs for run in _runs(text))


def _runs(text: str) -> Iterable[int]:
    words = _WORD.findall(text.lower())
    return (hash(tuple(words[start : start + RUN_WORDS])) for start in range(len(words) - RUN_WORDS + 1))


def _start(text: str) -> str:
    return "".join(_WORD.findall(text.lower()))[:START_LETTERS]
