"""What one answer becomes of several: the text that most others agree with, or the rating by the mean of their probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from grasper.generate.consensus import choose
from grasper.metrics.rating import RatingRule, rating_from_probabilities
from grasper.models.base import ToldBy


def best_answer(texts: Sequence[str], are_parsed: Sequence[bool], evidence: Sequence[str]) -> int:
    """Position of the minimum-Bayes-risk choice (`generate.consensus`) among the answers that could be read, or, if none could, among all."""
    usable = [number for number, is_parsed in enumerate(are_parsed) if is_parsed] or list(range(len(texts)))
    return usable[choose([texts[number] for number in usable], evidence)]


@dataclass(frozen=True, slots=True)
class MeanRating:
    """One rating of several answers."""

    rating: float
    is_rated: bool
    """Whether any of them came to a rating."""
    probabilities: tuple[float, ...]
    """Mean probabilities of the ratings 1–5; empty where the model's own are not known of all."""
    each: tuple[str, ...]
    """The rating of every answer by itself."""


def mean_rating(
    probabilities: Sequence[np.ndarray] | Sequence[Sequence[float]],
    told_by: Sequence[ToldBy],
    rule: RatingRule,
    weights: Sequence[float] | None = None,
) -> MeanRating:
    """The rating by the mean probabilities. An answer that came to no rating says nothing, unless no other said anything.

    Args:
        probabilities: Of the ratings 1–5, one row for each answer.
        told_by: How each was found (`models.base.Scored`).
        weights: Of the answers; None: they count alike.
    """
    rows, is_rated = np.array(probabilities), np.array([one != "none" for one in told_by])
    shares = (np.ones(len(rows)) if weights is None else np.asarray(weights)) * (is_rated if is_rated.any() else 1.0)
    mean = shares @ rows / shares.sum()
    return MeanRating(
        rating=float(rating_from_probabilities(mean[None], rule)[0]),
        is_rated=bool(is_rated.any()),
        probabilities=tuple(round(float(value), 6) for value in mean) if all(one == "measured" for one in told_by) else (),
        each=tuple(f"{rating:g}" for rating in rating_from_probabilities(rows, rule)),
    )
