"""How many tokens a prompt may cost, and what is left out where it costs more.

Instructions are never cut. Given fields are shortened with a mark. Reviews are shortened to their entry's limit; where they do not fit
together, neighbours' and predicted entries leave first, worst rank first, then exemplars, then own reviews.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from grasper.config import PromptConfig
from grasper.models.base import TextModel
from grasper.prompts.templates import AnswerTask

MARK = " …"
"""Stands at the end of whatever was shortened."""
MESSAGE_TOKENS = 8
"""Reserve for what a chat template puts around one message."""
TITLE_TOKENS, RATING_TOKENS, ITEM_TOKENS = 32, 8, 32
_CACHE_SIZE = 200_000
_CHARACTERS_PER_TOKEN = 16
_LONGEST_WORD = 30

Kind = Literal["own", "neighbours", "predicted", "exemplar"]
_LEAVES: dict[Kind, int] = {"neighbours": 0, "predicted": 0, "exemplar": 1, "own": 2}


@dataclass(frozen=True, slots=True)
class Entry:
    """One piece of evidence that may be left out. `rank` 0 is the best of its kind."""

    kind: Kind
    rank: int
    text: str
    tokens: int


class TokenCounter:
    """Counts and shortens lines for one model; every line is tokenized once."""

    def __init__(self, model: TextModel) -> None:
        self._model = weakref.ref(model)
        self._counts: dict[str, int] = {}
        self._fitted: dict[tuple[str, int], str] = {}

    def count(self, text: str) -> int:
        """Tokens of `text`, with one more for the line break that follows it."""
        tokens = self._counts.get(text)
        if tokens is None:
            if len(self._counts) >= _CACHE_SIZE:
                self._counts.clear()
            tokens = self._counts[text] = self.model.count_tokens(text) + 1
        return tokens

    def fit(self, text: str, max_tokens: int) -> str:
        """`text`, or its beginning up to a whole word and the mark, at most `max_tokens` tokens (the line break included).

        A run of characters that is longer than any word, as in scripts without spaces, is cut in the middle.
        """
        key = (text, max_tokens)
        fitted = self._fitted.get(key)
        if fitted is None:
            if len(self._fitted) >= _CACHE_SIZE:
                self._fitted.clear()
            fitted = self._fitted[key] = self._fit(text, max_tokens)
        return fitted

    def _fit(self, text: str, max_tokens: int) -> str:
        room = max_tokens - self.count(MARK)
        if room <= 0:
            return ""
        start = text[: room * _CHARACTERS_PER_TOKEN]
        cut = self.model.truncate(start, room)
        if cut == text:
            return text
        if len(cut) < len(text) and not text[len(cut)].isspace() and " " in cut:
            space = cut.rindex(" ")
            if " " in text[space + 1 : space + 2 + _LONGEST_WORD] or len(text) - space <= _LONGEST_WORD:
                cut = cut[:space]
        return cut.rstrip() + MARK

    @property
    def model(self) -> TextModel:
        model = self._model()
        assert model is not None, "the counter lives no longer than its model"
        return model


_counters: dict[int, TokenCounter] = {}


def token_counter(model: TextModel) -> TokenCounter:
    """The counter of a model; it is forgotten together with the model."""
    counter = _counters.get(id(model))
    if counter is None:
        counter = _counters[id(model)] = TokenCounter(model)
        weakref.finalize(model, _counters.pop, id(model), None)
    return counter


def max_new_tokens(task: AnswerTask, config: PromptConfig, *, reasoning: bool) -> int:
    """Tokens kept free for the answer: the path where there is one, and the lines of the task."""
    answer = {
        "long": config.answer_tokens,
        "title": min(TITLE_TOKENS, config.answer_tokens),
        "rating": min(RATING_TOKENS, config.answer_tokens),
        "review": config.answer_tokens,
    }[task]
    return answer + (config.path_tokens if reasoning else 0)


def keep_best(entries: Sequence[Entry], room: int) -> list[Entry]:
    """The entries that fit into `room` tokens, in their given order; the ones that leave are chosen as the module says."""
    kept = list(entries)
    total = sum(entry.tokens for entry in kept)
    while kept and total > room:
        worst = worst_entry(kept)
        kept.remove(worst)
        total -= worst.tokens
    return kept


def worst_entry(entries: Sequence[Entry]) -> Entry:
    """The entry that leaves next: by kind, then the worst rank, and a predicted before a real one of the same rank."""
    return max(entries, key=lambda entry: (-_LEAVES[entry.kind], entry.rank, entry.kind == "predicted"))
