"""Analysed reasoning paths: what can be said of a person's style, interests and plan by counting alone (DESIGN: reasoning paths).

Deterministic and free of any model: the warm start of the alignment, the path of training data, and one source of paths among others. A
path stays below about 45 words, and holds no number where a rating is asked for (the leak guard would take it for the answer).

Ours, not of a paper: all of it.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from statistics import median

from grasper.prompts.templates import AnswerTask
from grasper.reason.format import Answer, ReasoningPath
from grasper.reason.leak import leaks, leaks_review
from grasper.reason.reading import Length, Reading, read
from grasper.records import Item, Profile, Request, Review, SyntheticReview, with_text

_NUM_INTERESTS, _NUM_PRAISE, _NUM_COMPLAINTS, _NUM_OF_ANSWER = 4, 4, 2, 3
_OWN_WEIGHT, _PREDICTED_WEIGHT, _OTHERS_WEIGHT = 3.0, 2.0, 1.0
_GIVEN_WEIGHT, _HEAD_SHARE = 10.0, 0.9
_SILENT = ReasoningPath("unknown", "unknown", "follow what is given")
"""For the rare pair whose answer even a blind path would name by chance."""
_LIST_CHARACTERS = 60


def analyse(request: Request, profile: Profile, answer: Answer | None = None) -> ReasoningPath:
    """The path that the visible evidence suggests.

    Args:
        answer: The real answer of a training pair. Length, feeling and key phrases of the plan then come from it, but no phrase that would
            give the answer away (`reason.leak`). A title's plan names only what the given text holds; a rating's plan does not look at the
            answer at all.
    """
    style, interests = _style(request, profile), _interests(profile)

    def written(answer: Answer | None) -> ReasoningPath:
        hidden = None if answer is None else {"long": answer.text, "title": answer.title}.get(request.task)
        return ReasoningPath(style, interests, _plan(request, profile, hidden))

    return _guarded(written, answer, lambda path, answer: leaks(path, request, profile, answer))


def analyse_review(item: Item, profile: Profile, answer: Answer | None = None) -> ReasoningPath:
    """The path of a whole review of an item (task `review`), from the profile alone, or from a training pair's real review; no phrase of the plan
    then gives its text or its title away."""
    evidence = [read(_whole(entry)) for entry in profile.neighbours]
    ratings = [entry.rating for entry in profile.neighbours if entry.rating is not None]
    style, interests = _own_style(profile) or _unknown_style(profile), _interests(profile)

    def written(answer: Answer | None) -> ReasoningPath:
        if answer and answer.text:
            reading = read(answer.text)
            plan = _sentence(_feeling_word(reading.feeling, answer.rating), reading.length, *_from_answer(reading, evidence))
        else:
            feeling = _feeling_word(_mean(r.feeling for r in evidence), _mean(ratings) if ratings else None)
            plan = _sentence(feeling, _usual_length(profile), *_likely(evidence, (), feeling))
        return ReasoningPath(style, interests, plan)

    return _guarded(written, answer, lambda path, answer: leaks_review(path, item, profile, answer))


def _guarded(
    written: Callable[[Answer | None], ReasoningPath], answer: Answer | None, is_leak: Callable[[ReasoningPath, Answer], bool]
) -> ReasoningPath:
    """The path in view of the answer; where that would give the answer away, the one without it, and where even that does, one that says nothing."""
    if answer is None:
        return written(None)
    return next((path for path in map(written, (answer, None)) if not is_leak(path, answer)), _SILENT)


# --- Style ------------------------------------------------------------------------------------------------------------------------------


def _style(request: Request, profile: Profile) -> str:
    task: AnswerTask = request.task
    return _own_style(profile, with_length=task == "long") or _unknown_style(profile, request, with_length=task == "long")


def _own_style(profile: Profile, *, with_length: bool = True) -> str | None:
    """How the person's own reviews are written, or None where none has a text."""
    readings = [read(entry.text) for entry in with_text(profile.own)]
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
    """The topics that return in the person's own, predicted and others' reviews; `likely …` where the person's own hold no word."""
    weights: dict[str, float] = defaultdict(float)
    groups = ((profile.own, _OWN_WEIGHT), (profile.predicted, _PREDICTED_WEIGHT), (profile.neighbours, _OTHERS_WEIGHT))
    for entries, weight in groups:
        for entry in entries:
            for phrase in read(_whole(entry)).phrases:
                _weigh(weights, phrase, weight)
    topics = _top(weights, _NUM_INTERESTS)
    if not topics:
        return "unknown"
    return ("" if any(_whole(entry).strip() for entry in profile.own) else "likely ") + _listed(topics)


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


def _from_answer(reading: Reading, evidence: Sequence[Reading]) -> tuple[list[str], list[str]]:
    """Praise and complaints of the real answer: topics that the evidence also names first, then a few of its own."""
    known = {phrase for other in evidence for phrase in other.phrases}
    shared = [phrase for phrase in reading.phrases if phrase in known]
    fresh = [phrase for phrase in reading.phrases if phrase not in known][:_NUM_OF_ANSWER]
    chosen = [*shared, *fresh]
    praise = [phrase for phrase in chosen if reading.phrases[phrase] >= 0][:_NUM_PRAISE]
    complaints = [phrase for phrase in chosen if reading.phrases[phrase] < 0][:_NUM_COMPLAINTS]
    return praise, complaints


def _likely(evidence: Sequence[Reading], given: Sequence[str], feeling: str) -> tuple[list[str], list[str]]:
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


def _sentence(feeling: str, length: Length | None, praise: Sequence[str], complaints: Sequence[str]) -> str:
    parts = [feeling if length is None else f"{feeling}, {length}"]
    if praise:
        verb = "mention" if feeling == "negative" else "praise"
        parts.append(f"{verb} {_listed(praise)}")
    if complaints:
        parts.append(f"complain about {_listed(complaints)}")
    return "; ".join(parts)


def without_length(plan: str) -> str:
    """A plan as `_sentence` writes it, with the feeling alone in its first part."""
    return _PLANNED_LENGTH.sub(r"\1", plan)


_PLANNED_LENGTH = re.compile(r"^([^,;]*), about \d+ \w+")


def _feeling_word(feeling: float, rating: float | None) -> str:
    """`very positive`, `positive`, `mixed` or `negative`; a known rating decides before the words do."""
    if rating is not None:
        return "very positive" if rating >= 4.75 else "positive" if rating >= 3.75 else "mixed" if rating >= 2.75 else "negative"
    return "positive" if feeling > 0.35 else "negative" if feeling < -0.35 else "mixed"


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


def _usual_length(profile: Profile) -> Length:
    """Median length of own reviews, else of others', else 40 words."""
    entries = with_text(profile.own) or with_text(profile.neighbours)
    return _median_length([read(entry.text) for entry in entries]) if entries else Length(40)


def _median_length(readings: Sequence[Reading]) -> Length:
    in_characters = 2 * sum(reading.length.in_characters for reading in readings) > len(readings)
    counts = [reading.length.count if in_characters else reading.length.words for reading in readings]
    return Length(median(counts), in_characters)


def _mean(values: Iterable[float]) -> float:
    numbers = list(values)
    return sum(numbers) / len(numbers) if numbers else 0.0
