"""What one text shows: its length, feelings, habits and key phrases, by counting alone (see `reason.analyse`)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import regex

from grasper.lexicon import GLAD, HEDGES, JOKES, NEGATIONS, STOPWORDS, UNHAPPY, WARM
from grasper.metrics.text import CHARACTERS_PER_WORD, count_words, is_unspaced
from grasper.prompts.escape import escape

_WORD = regex.compile(r"[\p{L}\p{M}]+(?:['’-][\p{L}\p{M}]+)*+")
_CLAUSE = regex.compile(r"[.!?;:,()\n。！？；：，、（）؟،؛।]+|\b(?:but|however|although|mas|porém)\b", regex.IGNORECASE)
_EMOJI = regex.compile("[\U0001f300-\U0001faff☺☻♥❤]|[:;]-?[)D]")
_LENGTHS = (5, 10, 15, 20, 25, 30, 40, 50, 60, 80, 100, 150, 200, 300)
_LENGTHS_IN_CHARACTERS = (*_LENGTHS, 400)
_PHRASE_CHARACTERS, _UNSPACED_PHRASE_CHARACTERS = 24, 7
"""Seven characters of a script without spaces stay below what the leak guard takes for a quotation."""


@dataclass(frozen=True, slots=True)
class Length:
    """How long a text is, in words, or in characters where its script has no spaces."""

    count: float
    in_characters: bool = False

    @property
    def words(self) -> float:
        return self.count / CHARACTERS_PER_WORD if self.in_characters else self.count

    def __str__(self) -> str:
        """The nearest of a few round lengths, so that a small model meets each often."""
        lengths, unit = (_LENGTHS_IN_CHARACTERS, "characters") if self.in_characters else (_LENGTHS, "words")
        return f"about {min(lengths, key=lambda length: abs(length - self.count))} {unit}"


@dataclass(frozen=True, slots=True)
class Reading:
    """What one text shows."""

    length: Length
    glad: int
    unhappy: int
    traits: tuple[str, ...]
    phrases: dict[str, float]
    """Key phrases in order of appearance, each with the feeling of its clause: above 0 glad, below 0 unhappy."""

    @property
    def feeling(self) -> float:
        """From −1 (all unhappy) to 1 (all glad)."""
        return (self.glad - self.unhappy) / max(1, self.glad + self.unhappy)


@lru_cache(maxsize=50_000)
def read(text: str) -> Reading:
    """Counts words, feelings, traits and key phrases of a text; remembered, since neighbours' reviews return in many prompts."""
    text = escape(text)
    words = _WORD.findall(text)
    lowered = [word.lower().replace("’", "'") for word in words]
    glad = unhappy = 0
    phrases: dict[str, float] = {}
    for clause in _CLAUSE.split(text):
        clause_words = [word.lower().replace("’", "'") for word in _WORD.findall(clause)]
        good, bad = _feelings(clause_words)
        glad, unhappy = glad + good, unhappy + bad
        for phrase in _phrases(clause_words):
            phrases[phrase] = phrases.get(phrase, 0.0) + good - bad
    length = Length(count_words(text), True) if is_unspaced(text) else Length(len(words))
    return Reading(length, glad, unhappy, tuple(_traits(text, words, lowered)), phrases)


def _feelings(words: Sequence[str]) -> tuple[int, int]:
    """Glad and unhappy words; a negation among the three words before turns one round."""
    good = bad = 0
    for position, word in enumerate(words):
        is_glad, is_unhappy = word in GLAD, word in UNHAPPY
        if is_glad or is_unhappy:
            if any(before in NEGATIONS for before in words[max(0, position - 3) : position]):
                is_glad, is_unhappy = is_unhappy, is_glad
            good, bad = good + is_glad, bad + is_unhappy
    return good, bad


def _phrases(words: Sequence[str]) -> list[str]:
    """Runs of content words that are no feelings, at most two words each: `front desk`, `breakfast`."""
    phrases: list[str] = []
    run: list[str] = []
    for word in [*words, ""]:
        if len(word) > 2 and word not in STOPWORDS and word not in GLAD and word not in UNHAPPY and word not in NEGATIONS:
            run.append(word)
            continue
        if run:
            phrase = " ".join(run[-2:])
            if len(phrase) <= (_UNSPACED_PHRASE_CHARACTERS if is_unspaced(phrase) else _PHRASE_CHARACTERS):
                phrases.append(phrase)
        run = []
    return phrases


def _traits(text: str, words: Sequence[str], lowered: Sequence[str]) -> Iterable[str]:
    """Habits of writing that can be told from one text, most telling first."""
    count = max(1, len(words))
    if sum(word.isupper() for word in words if len(word) > 2) > 0.3 * sum(len(word) > 2 for word in words) > 0:
        yield "capitals"
    elif text == text.lower() != text.upper() and count > 1:
        yield "lower case"
    if text.count("!") + text.count("！") >= max(1, count // 40):
        yield "exclaims"
    if sum(text.count(mark) for mark in "?？؟") >= 2:
        yield "asks"
    if _EMOJI.search(text):
        yield "emoji"
    if not JOKES.isdisjoint(lowered):
        yield "jokes"
    if sum(word in WARM for word in lowered) * 25 >= count and not WARM.isdisjoint(lowered):
        yield "warm"
    if sum(word in HEDGES for word in lowered) * 25 >= count and not HEDGES.isdisjoint(lowered):
        yield "hedges"
    if count >= 10 and not any(mark in text for mark in ".!?。！？؟।"):
        yield "no full stops"
    we, first = (
        sum(word in group for word in lowered) for group in (("we", "our", "us", "nós"), ("i", "my", "me", "i'm", "i've", "eu", "meu", "minha"))
    )
    if we + first and count >= 8:
        yield "writes as we" if we > first else "writes as I"
