"""Analysed reasoning paths: what can be said of a person's style, interests and plan by counting alone (DESIGN: reasoning paths).

Deterministic and free of any model: the warm start of the alignment, the path of training data, and one source of paths among others. A
path stays below about 45 words, and holds no number where a rating is asked for (the leak guard would take it for the answer).

Ours, not of a paper: all of it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import median

import regex

from grasper.metrics.text import CHARACTERS_PER_WORD, count_words, is_unspaced
from grasper.prompts.escape import escape
from grasper.prompts.templates import AnswerTask
from grasper.reason.format import Answer, ReasoningPath
from grasper.reason.leak import leaks_answer
from grasper.reason.lexicon import GLAD, HEDGES, JOKES, NEGATIONS, STOPWORDS, UNHAPPY, WARM
from grasper.records import Profile, Request, Review, SyntheticReview

_WORD = regex.compile(r"[\p{L}\p{M}]+(?:['’-][\p{L}\p{M}]+)*+")
_CLAUSE = regex.compile(r"[.!?;:,()\n。！？；：，、（）؟،؛।]+|\b(?:but|however|although|mas|porém)\b", regex.IGNORECASE)
_EMOJI = regex.compile("[\U0001f300-\U0001faff☺☻♥❤]|[:;]-?[)D]")
_LENGTHS = (5, 10, 15, 20, 25, 30, 40, 50, 60, 80, 100, 150)
_LENGTHS_IN_CHARACTERS = (*_LENGTHS, 200, 300, 400)
_NUM_INTERESTS, _NUM_PRAISE, _NUM_COMPLAINTS, _NUM_OF_ANSWER = 4, 4, 2, 3
_OWN_WEIGHT, _PREDICTED_WEIGHT, _OTHERS_WEIGHT = 3.0, 2.0, 1.0
_GIVEN_WEIGHT, _HEAD_SHARE = 10.0, 0.9
_SILENT = ReasoningPath("unknown", "unknown", "follow what is given")
"""For the rare pair whose answer even a blind path would name by chance."""
_LIST_CHARACTERS, _PHRASE_CHARACTERS, _UNSPACED_PHRASE_CHARACTERS = 60, 24, 7
"""Seven characters of a script without spaces stay below what the leak guard takes for a quotation."""


@dataclass(frozen=True, slots=True)
class _Length:
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
class _Reading:
    """What one text shows."""

    length: _Length
    glad: int
    unhappy: int
    traits: tuple[str, ...]
    phrases: dict[str, float]
    """Key phrases in order of appearance, each with the feeling of its clause: above 0 glad, below 0 unhappy."""

    @property
    def feeling(self) -> float:
        """From −1 (all unhappy) to 1 (all glad)."""
        return (self.glad - self.unhappy) / max(1, self.glad + self.unhappy)


def analyse(request: Request, profile: Profile, answer: Answer | None = None) -> ReasoningPath:
    """The path that the visible evidence suggests.

    Args:
        answer: The real answer of a training pair. Length, feeling and key phrases of the plan then come from it, but no phrase that would
            give the answer away (`reason.leak`). A title's plan names only what the given text holds; a rating's plan does not look at the
            answer at all.
    """
    hidden = None if answer is None else {"long": answer.text, "title": answer.title}.get(request.task)
    rating = None if answer is None or answer.rating is None or request.task != "rating" else f"{answer.rating:g}"
    style, interests = _style(request, profile), _interests(profile)
    path = ReasoningPath(style, interests, _plan(request, profile, hidden))
    if not (secret := hidden or rating) or not leaks_answer(path, request, profile, secret):
        return path
    blind = ReasoningPath(style, interests, _plan(request, profile, None))
    return _SILENT if leaks_answer(blind, request, profile, secret) else blind


def analyse_review(profile: Profile, answer: Answer | None = None) -> ReasoningPath:
    """The path of a whole review of an item (task `review`), from the profile alone, or from a training pair's real review."""
    evidence = [read(_whole(entry)) for entry in profile.neighbours]
    ratings = [entry.rating for entry in profile.neighbours if entry.rating is not None]
    if answer and answer.text:
        reading = read(answer.text)
        plan = _sentence(_feeling_word(reading.feeling, answer.rating), reading.length, *_from_answer(reading, evidence))
    else:
        feeling = _feeling_word(_mean(r.feeling for r in evidence), _mean(ratings) if ratings else None)
        plan = _sentence(feeling, _usual_length(profile), *_likely(evidence, (), feeling))
    return ReasoningPath(_own_style(profile) or _unknown_style(profile), _interests(profile), plan)


# --- Style ------------------------------------------------------------------------------------------------------------------------------


def _style(request: Request, profile: Profile) -> str:
    task: AnswerTask = request.task
    return _own_style(profile, with_length=task == "long") or _unknown_style(profile, request, with_length=task == "long")


def _own_style(profile: Profile, *, with_length: bool = True) -> str | None:
    """How the person's own reviews are written, or None where there are none."""
    readings = [read(entry.text) for entry in profile.own]
    if not readings:
        return None
    usual_length = _median_length(readings)
    words = usual_length.words
    traits = Counter(trait for reading in readings for trait in reading.traits)
    usual = [trait for trait, count in traits.most_common() if count * 2 >= len(readings)][:4]
    length = "short" if words < 20 else "long" if words >= 80 else "medium"
    return "; ".join([length, *usual, *([str(usual_length)] if with_length else [])])


def _unknown_style(profile: Profile, request: Request | None = None, *, with_length: bool = True) -> str:
    """Without a history: what the given fields show, and how long others write."""
    shown = (request.text or request.title) if request else None
    traits = [trait for trait in read(shown).traits if request and (request.text or trait in _TITLE_TRAITS)][:3] if shown else []
    others = [f"others write {_usual_length(profile)}"] if with_length and profile.neighbours else []
    return "; ".join(["unknown", *traits, *others])


_TITLE_TRAITS = ("exclaims", "lower case", "capitals", "emoji", "asks")


# --- Interests --------------------------------------------------------------------------------------------------------------------------


def _interests(profile: Profile) -> str:
    """The topics that return in the person's own, predicted and others' reviews; `likely …` where there are no own ones."""
    weights: dict[str, float] = defaultdict(float)
    groups = ((profile.own, _OWN_WEIGHT), (profile.predicted, _PREDICTED_WEIGHT), (profile.neighbours, _OTHERS_WEIGHT))
    for entries, weight in groups:
        for entry in entries:
            for phrase in read(_whole(entry)).phrases:
                _weigh(weights, phrase, weight)
    topics = _top(weights, _NUM_INTERESTS)
    if not topics:
        return "unknown"
    return ("" if profile.own else "likely ") + _listed(topics)


# --- Plan -------------------------------------------------------------------------------------------------------------------------------


def _plan(request: Request, profile: Profile, hidden: str | None) -> str:
    """What to say. `hidden` is the answer of a training pair."""
    evidence = [read(_whole(entry)) for entry in profile.neighbours]
    ratings = [entry.rating for entry in profile.neighbours if entry.rating is not None]
    given = read(f"{request.title or ''}. {request.text or ''}")
    if request.task == "long":
        if hidden:
            reading = read(hidden)
            feeling = _feeling_word(reading.feeling + given.feeling / 2, request.rating)
            return _sentence(feeling, reading.length, *_from_answer(reading, evidence))
        if given.glad + given.unhappy or request.rating is not None:
            feeling = _feeling_word(given.feeling, request.rating)
        else:
            feeling = _feeling_word(_mean(reading.feeling for reading in evidence), _mean(ratings) if ratings else None)
        return _sentence(feeling, _usual_length(profile), *_likely(evidence, tuple(given.phrases), feeling))
    if request.task == "title":
        named = set(read(hidden).phrases) if hidden else set()
        words = {word for phrase in named for word in phrase.split()}
        topics = sorted(given.phrases, key=lambda phrase: (not words.intersection(phrase.split()), -abs(given.phrases[phrase])))[:2]
        return _sentence(_feeling_word(given.feeling, None), None, topics, ())
    praise = [phrase for phrase, feeling in given.phrases.items() if feeling > 0][:3]
    complaints = [phrase for phrase, feeling in given.phrases.items() if feeling < 0][:3]
    return _sentence(_feeling_word(given.feeling, None), None, praise, complaints)


def _from_answer(reading: _Reading, evidence: Sequence[_Reading]) -> tuple[list[str], list[str]]:
    """Praise and complaints of the real answer: topics that the evidence also names first, then a few of its own."""
    known = {phrase for other in evidence for phrase in other.phrases}
    shared = [phrase for phrase in reading.phrases if phrase in known]
    fresh = [phrase for phrase in reading.phrases if phrase not in known][:_NUM_OF_ANSWER]
    chosen = [*shared, *fresh]
    praise = [phrase for phrase in chosen if reading.phrases[phrase] >= 0][:_NUM_PRAISE]
    complaints = [phrase for phrase in chosen if reading.phrases[phrase] < 0][:_NUM_COMPLAINTS]
    return praise, complaints


def _likely(evidence: Sequence[_Reading], given: Sequence[str], feeling: str) -> tuple[list[str], list[str]]:
    """Praise and complaints that fit the feeling: what the request names first, then what others say most."""
    praise: dict[str, float] = defaultdict(float)
    complaints: dict[str, float] = defaultdict(float)
    for reading in evidence:
        for phrase, value in reading.phrases.items():
            _weigh(complaints if value < 0 else praise, phrase, 1.0)
    if feeling in ("negative", "mixed"):
        for phrase in given:
            complaints[phrase] += _GIVEN_WEIGHT
        num_praise, num_complaints = (0 if feeling == "negative" else 2), _NUM_COMPLAINTS + (feeling == "negative")
    else:
        for phrase in given:
            praise[phrase] += _GIVEN_WEIGHT
        num_praise, num_complaints = _NUM_PRAISE, 0
    chosen = _top(praise, num_praise)
    return chosen, [phrase for phrase in _top(complaints, num_complaints) if phrase not in chosen]


def _sentence(feeling: str, length: _Length | None, praise: Sequence[str], complaints: Sequence[str]) -> str:
    parts = [feeling if length is None else f"{feeling}, {length}"]
    if praise:
        verb = "mention" if feeling == "negative" else "praise"
        parts.append(f"{verb} {_listed(praise)}")
    if complaints:
        parts.append(f"complain about {_listed(complaints)}")
    return "; ".join(parts)


def _feeling_word(feeling: float, rating: float | None) -> str:
    """`very positive`, `positive`, `mixed` or `negative`; a known rating decides before the words do."""
    if rating is not None:
        return "very positive" if rating >= 4.75 else "positive" if rating >= 3.75 else "mixed" if rating >= 2.75 else "negative"
    return "positive" if feeling > 0.35 else "negative" if feeling < -0.35 else "mixed"


# --- Reading one text -------------------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=50_000)
def read(text: str) -> _Reading:
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
    length = _Length(count_words(text), True) if is_unspaced(text) else _Length(len(words))
    return _Reading(length, glad, unhappy, tuple(_traits(text, words, lowered)), phrases)


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


# --- Small things -----------------------------------------------------------------------------------------------------------------------


def _whole(entry: Review | SyntheticReview) -> str:
    return f"{entry.title}. {entry.text}" if entry.title else entry.text


def _weigh(weights: dict[str, float], phrase: str, weight: float) -> None:
    """Count a phrase, and its last word a little less: `front desk` alone stays itself, but five kinds of room become `room`."""
    weights[phrase] += weight
    if " " in phrase:
        weights[phrase.rsplit(" ", 1)[1]] += weight * _HEAD_SHARE


def _listed(phrases: Sequence[str]) -> str:
    """The phrases with commas between them, as many as stay on a short line; the first one always."""
    line = phrases[0]
    for phrase in phrases[1:]:
        if len(line) + len(phrase) + 2 > _LIST_CHARACTERS:
            break
        line += f", {phrase}"
    return line


def _top(weights: dict[str, float], count: int) -> list[str]:
    """The heaviest phrases, none of which repeats a word of another; ties keep their order of appearance."""
    chosen: list[str] = []
    words: set[str] = set()
    for phrase in sorted(weights, key=lambda phrase: -weights[phrase]):
        if len(chosen) == count:
            break
        if words.isdisjoint(phrase.split()):
            chosen.append(phrase)
            words.update(phrase.split())
    return chosen


def _usual_length(profile: Profile) -> _Length:
    """Median length of own reviews, else of others', else 40 words."""
    entries = profile.own or profile.neighbours
    return _median_length([read(entry.text) for entry in entries]) if entries else _Length(40)


def _median_length(readings: Sequence[_Reading]) -> _Length:
    in_characters = 2 * sum(reading.length.in_characters for reading in readings) > len(readings)
    counts = [reading.length.count if in_characters else reading.length.words for reading in readings]
    return _Length(median(counts), in_characters)


def _mean(values: Iterable[float]) -> float:
    numbers = list(values)
    return sum(numbers) / len(numbers) if numbers else 0.0
