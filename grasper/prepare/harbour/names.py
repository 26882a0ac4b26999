"""User names as people choose them."""

from __future__ import annotations

import random

_FIRST = (
    "mira", "jonas", "hanne", "lukas", "petra", "oskar", "selma", "david", "ruth", "karim", "nadia", "tom", "ewa", "piet", "greta",
    "ali", "lena", "bruno", "ines", "theo", "marta", "hugo", "alma", "felix", "noor", "viggo", "clara", "ben", "yuki", "dora", "ivan",
    "lotte", "simon", "aisha", "erik", "paula", "sam", "judith", "omar", "vera", "kai", "rosa", "emil", "tina", "leo", "anouk", "gus",
    "priya", "milan", "bea", "otto", "freya", "nico", "wanda", "luis", "carla", "jan", "sofie", "max", "zara", "henk", "olga", "rui",
    "mabel", "dirk", "amina",
)  # fmt: skip
_LAST = (
    "berg", "lind", "okoro", "silva", "marsh", "novak", "costa", "hale", "brandt", "pike", "iversen", "rossi", "klein", "wood", "dahl",
    "moreau", "quinn", "sato", "bauer", "finch", "kaya", "holm",
)  # fmt: skip
_ADJECTIVES = (
    "old", "salty", "happy", "wandering", "quiet", "grumpy", "hungry", "windy", "lazy", "curious", "rainy", "slow", "tall", "lucky",
    "sleepy", "northern", "tiny", "rusty",
)  # fmt: skip
_NOUNS = (
    "salt", "gull", "heron", "sailor", "walker", "otter", "teapot", "compass", "cormorant", "biscuit", "anchor", "fox", "pebble",
    "traveller", "wave", "captain", "mitten", "barnacle",
)  # fmt: skip
_THINGS = (
    "tide", "toast", "maps", "boots", "books", "buns", "sails", "tea", "oars", "cake", "trains", "stones", "knots", "kids", "wool",
    "rain",
)  # fmt: skip


def draw_user_ids(count: int, rng: random.Random) -> list[str]:
    """That many names, all different even without regard to case."""
    taken: dict[str, str] = {}
    while len(taken) < count:
        name = _draw(rng)
        taken.setdefault(name.lower(), name)
    return list(taken.values())


def _draw(rng: random.Random) -> str:
    first, last = rng.choice(_FIRST), rng.choice(_LAST)
    number = rng.choice(("", str(rng.randrange(2, 99)), str(rng.randrange(1958, 2006))))
    one, other = rng.sample(_THINGS, 2)
    return rng.choice(
        (
            f"{first}.{last[0]}", f"{first.title()} {last[0].upper()}", f"{first.title()}{last[0].upper()}{number}", f"{first[0]}.{last}",
            f"{first}_{last}{number}", f"{rng.choice(_ADJECTIVES)}_{rng.choice(_NOUNS)}{number and '_' + number}", f"{one}_and_{other}",
            f"{first.title()}{rng.choice(_NOUNS).title()}", f"{first}{number or rng.randrange(100, 999)}", f"{first.title()} {last.title()}",
        )
    )  # fmt: skip
