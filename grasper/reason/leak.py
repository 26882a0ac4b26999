"""Keeps a reasoning path from giving the answer away (DESIGN: leakage rules; the trap of REST-PG's hindsight paths).

A path leaks where it holds

- of any answer: five words in a row (as many characters as say as much, in scripts without spaces), or a shorter answer as a whole, that the
  visible context lacks;
- of a title: half or more of its content words that the context lacks;
- of a rating: its number, in digits or as a word, or anything about stars.

Of a whole review text and title are guarded. Its rating is not: the feeling that a plan names is told by it, and the review is to follow the plan.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from grasper.lexicon import FUNCTION_WORDS
from grasper.metrics.text import ngram_length, ngrams, whole_words
from grasper.reason.format import Answer, ReasoningPath
from grasper.records import Item, Profile, Request, Review, SyntheticReview, Task

Words = tuple[str, ...]

_NGRAM = 5
_NUMBER_WORDS = {1: "one um uma", 2: "two dois duas", 3: "three três", 4: "four quatro", 5: "five cinco"}
_STAR_WORDS = frozenset(["star", "stars", "starred", "rating", "rated", "estrela", "estrelas", "nota"])


def leaks(path: ReasoningPath, request: Request, profile: Profile, target: Review | Answer) -> bool:
    """Whether the path holds what the task hides of the target."""
    hidden = {"long": target.text, "title": target.title, "rating": None if target.rating is None else f"{target.rating:g}"}[request.task]
    return hidden is not None and leaks_answer(path, request, profile, hidden)


def leaks_review(path: ReasoningPath, item: Item, profile: Profile, target: Review | Answer) -> bool:
    """The same for a whole review of an item, of which nothing is given: the path must hold neither its text nor its title."""
    tasks: tuple[Task, ...] = ("long", "title")
    return any(leaks(path, Request("", task, "", item), profile, target) for task in tasks)


def leaks_answer(path: ReasoningPath, request: Request, profile: Profile, hidden: str) -> bool:
    """The same for an answer that is not the field of a record; a rating is given as its number."""
    lines = [whole_words(line) for line in (path.style, path.interests, path.plan)]
    if request.task == "rating":
        return _names_rating({word for line in lines for word in line}, hidden)
    context = _context(request, profile)
    words = whole_words(hidden)
    if _shares_ngram(lines, words, ngram_length(_NGRAM, hidden), context):
        return True
    return request.task == "title" and _names_title(lines, words, context)


def _names_rating(words: set[str], hidden: str) -> bool:
    numbers = {math.floor(float(hidden)), math.ceil(float(hidden))}  # 3.5 is named by what stands on either side of its point, too
    named = {word for number in numbers for word in (str(number), *_NUMBER_WORDS.get(number, "").split())}
    return bool(words & (named | _STAR_WORDS))


def _shares_ngram(lines: Sequence[Words], hidden: Words, length: int, context: Sequence[Words]) -> bool:
    length = min(length, len(hidden))
    if not length:
        return False
    shared = {ngram for line in lines for ngram in ngrams(line, length)} & set(ngrams(hidden, length))
    return bool(shared) and any(all(ngram not in set(ngrams(field, length)) for field in context) for ngram in shared)


def _names_title(lines: Sequence[Words], title: Words, context: Sequence[Words]) -> bool:
    visible = {word for field in context for word in field}
    secret = {word for word in title if word not in FUNCTION_WORDS and word not in visible}
    named = secret.intersection(word for line in lines for word in line)
    return bool(named) and 2 * len(named) >= len(secret)


def _context(request: Request, profile: Profile) -> list[Words]:
    """The words of every field that the prompt shows."""
    entries: tuple[Review | SyntheticReview, ...] = (*profile.own, *profile.neighbours, *profile.predicted)
    fields = [request.title, request.text, request.item.name, request.item.category]
    fields += [field for entry in entries for field in (entry.title, entry.text)]
    return [whole_words(field) for field in fields if field]
