"""The harbour town itself: its places, its visitors, and who goes where. All of this is latent truth.

A visitor leans towards one of eight kinds, which gives weights to categories and aspects; a place is known for some of its aspects.
Together they say how well a place suits a visitor, and so which places are visited; quality and strictness say how it is rated.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from grasper.prepare.harbour.phrases import aspects_of, section
from grasper.prepare.harbour.voice import Style, draw_style

TOWN = "Brinmouth"

CATEGORIES: dict[str, int] = {
    "guesthouse": 22, "cafe": 20, "restaurant": 24, "bakery": 12, "pub": 12, "boat": 14,
    "museum": 12, "shop": 18, "bike": 6, "ferry": 4, "sauna": 6, "smokehouse": 10,
}  # fmt: skip
"""How many places of each category the town has: 160 in all."""

KINDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "epicure": (("restaurant", "smokehouse", "bakery"), ("taste", "craft", "charm")),
    "reader": (("cafe", "guesthouse", "sauna"), ("calm", "charm", "comfort")),
    "parent": (("museum", "cafe", "ferry"), ("family", "pace", "value")),
    "sailor": (("boat", "ferry", "sauna"), ("nature", "view", "people")),
    "night owl": (("pub", "restaurant"), ("charm", "people", "taste")),
    "historian": (("museum", "shop", "guesthouse"), ("story", "calm", "people")),
    "cyclist": (("bike", "bakery", "guesthouse"), ("value", "pace", "view")),
    "collector": (("shop", "cafe"), ("craft", "people", "value")),
}
"""Kind of visitor → the categories and the aspects that draw it, most important first."""

ASPECTS = tuple(sorted({aspect for category in CATEGORIES for aspect in aspects_of(category)}))
CATEGORY_PULL = 5.0
INTEREST_PULL = 4.5

_FLEETS = ("Blue Pennant Line", "Eider & Sons", "Skerry Boats", "Northquay Shipping")


@dataclass(frozen=True)
class Place:
    """One item: what stands in the metadata, the facts that reviews mention, and its hidden qualities."""

    item_id: str
    name: str
    category: str
    brand: str | None
    facts: dict[str, str]
    strength: dict[str, float]
    """How much the place is known for an aspect, 0–1."""
    quality: dict[str, float]
    """How good it is in an aspect, about −2 … 2."""
    popularity: float


@dataclass(frozen=True)
class Visitor:
    """One user: interests, strictness, company and writing style."""

    user_id: str
    kind: str
    categories: dict[str, float]
    """How much each category draws the visitor, 0–1."""
    interests: dict[str, float]
    """Weights over aspects, summing to 1."""
    strictness: float
    """Subtracted from every experience, in stars."""
    companions: tuple[str, ...]
    is_local: bool
    """Lives in the town; others are there on a trip."""
    style: Style


@dataclass(frozen=True)
class World:
    """All places and visitors of one seed."""

    places: tuple[Place, ...]
    visitors: tuple[Visitor, ...]


def suits(categories: dict[str, float], interests: dict[str, float], category: str, strength: dict[str, float]) -> float:
    """How well a place suits a visitor, 0 … about 9: the pull of its category plus that of the aspects it is known for."""
    return CATEGORY_PULL * categories[category] + INTEREST_PULL * sum(interests[aspect] * value for aspect, value in strength.items())


def build_places(seed: int) -> tuple[Place, ...]:
    """The 160 places, by category and number."""
    rng = random.Random(f"{seed}/places")
    hosts = [(name, "her") for name in section("town", "hosts she")] + [(name, "his") for name in section("town", "hosts he")]
    places = []
    for category, count in CATEGORIES.items():
        names = section(category, "names")
        specialities, quirks = section(category, "speciality"), section(category, "quirk")
        for number in range(count):
            special, second = rng.sample(specialities, 2)
            host, her = rng.choice(hosts)
            aspects = aspects_of(category)
            known_for = set(rng.sample(aspects, 2))
            overall = rng.gauss(0, 0.55)
            places.append(
                Place(
                    item_id=f"{category}-{number + 1:02d}",
                    name=names[number],
                    category=category,
                    brand=rng.choice(_FLEETS) if category in ("boat", "ferry") else None,
                    facts={
                        "special": special, "second": second, "host": host, "her": her,
                        "quirk": quirks[number % len(quirks)], "view": rng.choice(section("town", "views")),
                        "street": rng.choice(section("town", "streets")), "the_boat": rng.choice(section("town", "boats")),
                    },
                    strength={aspect: 1.0 if aspect in known_for else round(rng.uniform(0, 0.3), 3) for aspect in aspects},
                    quality={aspect: round(overall + rng.gauss(0, 0.6) + 0.3 * (aspect in known_for), 3) for aspect in aspects},
                    popularity=round(rng.gauss(0, 0.4), 3),
                )
            )  # fmt: skip
    return tuple(places)


def build_visitors(user_ids: list[str], seed: int) -> tuple[Visitor, ...]:
    """One visitor per id; interests, company and style do not depend on the order of the ids."""
    return tuple(_build_visitor(user_id, random.Random(f"{seed}/visitor/{user_id}")) for user_id in user_ids)


def _build_visitor(user_id: str, rng: random.Random) -> Visitor:
    kind = rng.choice(tuple(KINDS))
    drawn_to, cares_for = KINDS[kind]
    categories = {category: rng.uniform(0, 0.25) for category in CATEGORIES}
    for category in drawn_to:
        categories[category] = rng.uniform(0.6, 1.0)
    weights = {aspect: rng.gammavariate(0.5, 0.3) for aspect in ASPECTS}
    for place, aspect in enumerate(cares_for):
        weights[aspect] += rng.gammavariate(6 - 2 * place, 0.5)
    total = sum(weights.values())
    return Visitor(
        user_id=user_id,
        kind=kind,
        categories={category: round(value, 3) for category, value in categories.items()},
        interests={aspect: round(value / total, 4) for aspect, value in weights.items()},
        strictness=round(rng.gauss(0, 0.4), 3),
        companions=_companions(kind, rng),
        is_local="guesthouse" not in drawn_to and rng.random() < 0.4,
        style=draw_style(rng),
    )


def _companions(kind: str, rng: random.Random) -> tuple[str, ...]:
    """Whom the visitor travels with; an empty tuple travels alone and writes "I"."""
    if kind == "parent":
        return rng.choice((("{our} two girls", "{our} children"), ("{our} twins",), ("my son",), ("the kids", "the kids and grandma")))
    return rng.choice(
        ((), (), ("my husband",), ("my wife",), ("my partner",), ("my sister", "my mother"), ("friends", "an old friend"),
         ("my girlfriend",), ("my boyfriend",), ("three friends", "colleagues"), ("the dog",), ("my dad", "my brother"))
    )  # fmt: skip


def choose_places(visitor: Visitor, places: tuple[Place, ...], count: int, rng: random.Random) -> list[Place]:
    """The places that the visitor goes to, without repeats: likelier the better they suit and the better known they are."""
    keys = {
        place.item_id: suits(visitor.categories, visitor.interests, place.category, place.strength)
        + place.popularity
        - math.log(-math.log(rng.random()))  # Gumbel noise: the top `count` keys are a draw without replacement
        for place in places
    }
    return sorted(places, key=lambda place: -keys[place.item_id])[:count]
