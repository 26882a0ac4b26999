"""The phrase bank: what people of the harbour town write, by kind of place, aspect and sentiment.

One file per category under `phrases/`, plus `town.txt` for what fits everywhere. A section `[taste good]` is followed by one phrase per line;
`(a|b)` stands for one of several wordings, and may be nested; `{slot}` is filled from the place, the visit or the writer's own vocabulary.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib.resources import files

from grasper.errors import DataFormatError

Section = tuple[str, ...]

_CHOICE = re.compile(r"\(([^()]*)\)")
_SLOT = re.compile(r"\{(\w+)\}")
_PARTY = re.compile(r"(?<!\{)\b(our|ours)\b", re.IGNORECASE)


@cache
def load_bank(name: str) -> Mapping[str, Section]:
    """The sections of one phrase file, by header.

    Raises:
        DataFormatError: A phrase stands before the first header, or brackets do not pair up.
    """
    sections: dict[str, list[str]] = {}
    lines: list[str] | None = None
    for number, line in enumerate(files(__package__).joinpath(f"phrases/{name}.txt").read_text(encoding="utf-8").splitlines(), 1):
        line = line.strip()
        if line.startswith("[") and line.endswith("]"):
            lines = sections.setdefault(line[1:-1], [])
        elif line:
            if lines is None or line.count("(") != line.count(")") or line.count("{") != line.count("}"):
                raise DataFormatError(f"phrases/{name}.txt line {number}: {line!r} has unpaired brackets or no [section] above it")
            lines.append(_PARTY.sub(lambda match: "{" + match[0].lower() + "}", line))
    return {header: tuple(phrases) for header, phrases in sections.items()}


def section(name: str, header: str) -> Section:
    """The phrases under one header; empty where the file has no such section."""
    return load_bank(name).get(header, ())


def aspects_of(category: str) -> tuple[str, ...]:
    """The aspects that reviews of a category speak of, in the order of its file."""
    return tuple(header.split()[0] for header in load_bank(category) if header.endswith(" good") and header.split()[0] not in ("titles", "short"))


def short_phrases(category: str, sentiment: str) -> dict[str, Section]:
    """Two- or three-word verdicts by aspect, such as `great coffee`."""
    pairs = (line.split(" = ", 1) for line in section(category, f"short {sentiment}"))
    return {aspect.strip(): tuple(wording.strip() for wording in wordings.split(" | ")) for aspect, wordings in pairs}


def expand(phrase: str, rng: random.Random) -> str:
    """The phrase with every `(a|b)` decided, innermost first."""
    while _CHOICE.search(phrase):
        phrase = _CHOICE.sub(lambda match: rng.choice(match[1].split("|")), phrase, count=1)
    return phrase


def slots_of(phrase: str) -> frozenset[str]:
    """Names of the slots in a phrase, lower case."""
    return frozenset(name.lower() for name in _SLOT.findall(phrase))


def fill(phrase: str, values: Mapping[str, str | Callable[[], str]]) -> str:
    """The phrase with its slots filled; a callable value is asked anew each time."""

    def value_of(match: re.Match[str]) -> str:
        value = values[match[1].lower()]
        return value if isinstance(value, str) else value()

    return _SLOT.sub(value_of, phrase)


def pick(phrases: Sequence[str], rng: random.Random, *, without: frozenset[str] = frozenset(), used: set[str] | None = None) -> str | None:
    """A random phrase that fills none of the slots in `without` and is not among the `used` ones; None where nothing is left."""
    free = [phrase for phrase in phrases if not slots_of(phrase) & without and (used is None or phrase not in used)]
    return rng.choice(free) if free else None
