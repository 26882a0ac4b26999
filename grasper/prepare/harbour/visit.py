"""A visit: what a visitor lives through at a place, the stars it earns, and what there is to tell of it."""

from __future__ import annotations

import random
from dataclasses import dataclass

from grasper.prepare.harbour.world import Place, Visitor

_USUAL = 3.6  # stars of a place of average quality
_ABOVE, _BELOW = 3.55, 2.6  # stars from which on an aspect is praised, and down from which it is blamed


@dataclass(frozen=True)
class Visit:
    """A visitor at a place: when, and how each aspect was experienced, in stars (about 1–5, unbounded)."""

    visitor: Visitor
    place: Place
    timestamp: int
    experience: dict[str, float]
    rating: int

    @property
    def mood(self) -> str:
        """The mood of the whole: `good`, `mixed` or `bad`."""
        return "good" if self.rating >= 4 else "mixed" if self.rating == 3 else "bad"


def experience_visit(visitor: Visitor, place: Place, timestamp: int, rng: random.Random) -> Visit:
    """What the visitor lives through: quality minus strictness plus luck, rated by the aspects the visitor cares for."""
    experience = {aspect: _USUAL + 1.4 * quality - visitor.strictness + rng.gauss(0, 0.5) for aspect, quality in place.quality.items()}
    weights = {aspect: visitor.interests[aspect] + 0.1 for aspect in experience}
    mean = sum(weights[aspect] * stars for aspect, stars in experience.items()) / sum(weights.values())
    return Visit(visitor, place, timestamp, experience, min(5, max(1, round(3.85 + 1.35 * (mean - _USUAL) + rng.gauss(0, 0.25)))))


def sentiments(visit: Visit, rng: random.Random) -> list[tuple[str, str]]:
    """`(aspect, sentiment)` in the order in which the visitor would speak of them; in keeping with the rating."""
    visitor, has_children = visit.visitor, visit.visitor.kind == "parent"
    found = []
    for aspect, stars in visit.experience.items():
        if aspect == "family" and not has_children:
            continue
        mind = "good" if stars > _ABOVE else "bad" if stars < _BELOW else "mixed"
        if visit.rating == 5 and mind != "good":
            mind = "mixed" if mind == "bad" else "good"
        elif visit.rating == 4 and mind == "bad":
            mind = "mixed"
        elif visit.rating <= 2 and mind == "mixed" and rng.random() < 0.6:
            mind = "bad"
        salience = (visitor.interests[aspect] + 0.04) * (1 + 0.5 * abs(stars - _USUAL)) * rng.uniform(0.7, 1.4)
        if (mind == "good") == (visit.rating >= 4) or (visit.rating == 3 and mind == "mixed"):
            salience *= 1.6
        found.append((salience, aspect, mind))
    return [(aspect, mind) for _, aspect, mind in sorted(found, reverse=True)]
