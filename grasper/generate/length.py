"""How long a text should be at least: as long as the shown reviews are, or longer where the plan before it says so.

Where no review is shown, as without evidence always, training reviews of the usual length stand in, so that methods with and without evidence differ
by what they are told and not by how early they may end.

Small models write too little, and their plan says next to nothing about the length of the text behind it: the end of the text comes whenever it is
the likeliest token once. Holding the end back until most of the usual length is written makes the writer follow. A plan alone is no guide: sampled
ones name the commonest length nearly always, so texts behind them would all be short. Nothing of the target takes part.

Ours, not of a paper.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from statistics import median

from grasper.metrics.text import CHARACTERS_PER_WORD, count_words, is_unspaced
from grasper.models.base import TextModel
from grasper.records import Profile, with_text

_PLANNED = re.compile(r"^Plan:.*?\babout (\d{1,4}) (words|characters)\b", re.MULTILINE)
_TOKENS_PER_WORD = 1.3
"""Where no text is shown that it could be counted in."""


def least_tokens(model: TextModel, profile: Profile, path: str, share: float, most: int) -> int:
    """The tokens that a text must not fall short of; 0 where nothing suggests a length.

    Args:
        profile: What the prompts show; own reviews count, others' only where there are none, and typical ones where nothing is shown.
        path: The path that the text stands behind; empty for methods without reasoning.
        share: Of the suggested length.
        most: Tokens that the answer may have; some are kept free, so that it can end by itself.
    """
    texts = [review.text for review in with_text(profile.own) or with_text(profile.others()) or profile.typical]
    counts = [model.count_tokens(text) for text in texts]
    planned = _PLANNED.search(path)
    words = sum(map(_words, texts))
    from_plan = 0.0
    if planned:
        named = int(planned[1]) / (CHARACTERS_PER_WORD if planned[2] == "characters" else 1)
        from_plan = named * (sum(counts) / words if words else _TOKENS_PER_WORD)
    suggested = max(from_plan, median(counts) if counts else 0.0)
    return max(0, min(round(share * suggested), most - _ROOM_TO_END))


_ROOM_TO_END = 24


def _words(text: str) -> float:
    """Words of a text; where its script has no spaces, what its characters amount to."""
    return count_words(text) / CHARACTERS_PER_WORD if is_unspaced(text) else count_words(text)


def least_of_all(model: TextModel, profiles: Sequence[Profile], paths: Sequence[str], share: float, most: int) -> list[int] | None:
    """What `least_tokens` gives for each of several texts; None where no share is asked for."""
    if not share:
        return None
    return [least_tokens(model, profile, path, share, most) for profile, path in zip(profiles, paths, strict=True)]
