"""harbour: the bundled data set, reviews of a fictional harbour town whose hidden truth is known.

`generate` makes it from a seed; `write` puts it where `prepare` finds it. What the tables look like is described in `data/README.md`.
"""

from __future__ import annotations

import random
import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd

from grasper.prepare.harbour.compose import compose
from grasper.prepare.harbour.latent import latent_of, load_latent, save_latent, suitability
from grasper.prepare.harbour.names import draw_user_ids
from grasper.prepare.harbour.visit import Visit, experience_visit
from grasper.prepare.harbour.world import Place, Visitor, World, build_places, build_visitors, choose_places

__all__ = ["SPLIT_USERS", "HarbourData", "generate", "load_latent", "suitability", "write"]

SPLIT_USERS = {"train": 470, "dev": 115, "test": 115}
_HISTORY = {  # split → (smallest and largest number of a user's reviews, share of users)
    "train": (((1, 1), 0.33), ((2, 2), 0.22), ((3, 4), 0.14), ((5, 8), 0.12), ((9, 14), 0.11), ((15, 20), 0.08)),
    "dev": (((1, 1), 0.8), ((2, 2), 0.1), ((3, 5), 0.1)),
    "test": (((1, 1), 0.8), ((2, 2), 0.1), ((3, 5), 0.1)),
}
_FIRST_DAY, _NUM_DAYS = datetime(2021, 3, 1, tzinfo=UTC), 1700
_OUTDOOR = frozenset({"boat", "bike"})  # open from April to October
_LABELS = {
    "guesthouse": "Guesthouses", "cafe": "Cafés", "restaurant": "Restaurants", "bakery": "Bakeries", "pub": "Pubs", "boat": "Boat tours",
    "museum": "Museums", "shop": "Shops", "bike": "Bike hire", "ferry": "Ferries", "sauna": "Saunas", "smokehouse": "Smokehouses & fish stalls",
}  # fmt: skip


@dataclass(frozen=True)
class HarbourData:
    """The data set: reviews by split (a user's rows together, the newest first: the target), items, and the hidden truth."""

    reviews: dict[str, pd.DataFrame]
    items: pd.DataFrame
    latent: dict[str, Any]


def generate(seed: int = 7) -> HarbourData:
    """The whole data set; equal seeds give equal data on every machine."""
    rng = random.Random(f"{seed}/harbour")
    user_ids = draw_user_ids(sum(SPLIT_USERS.values()), rng)
    world = World(build_places(seed), build_visitors(user_ids, seed))
    waiting = iter(world.visitors)
    used_at: dict[str, set[str]] = {place.item_id: set() for place in world.places}
    written = _Written()
    reviews = {}
    for split, count in SPLIT_USERS.items():
        rows = [row for _ in range(count) for row in _reviews_of(next(waiting), split, world, used_at, written, seed)]
        reviews[split] = pd.DataFrame(rows, columns=["user_id", "item_id", "rating", "title", "text", "timestamp"]).astype(
            {"rating": "float32", "timestamp": "int64"}
        )
    return HarbourData(reviews, _items_table(world), latent_of(world))


def write(folder: Path, seed: int = 7) -> HarbourData:
    """Generate and write `train`, `dev`, `test`, `items` (parquet, zstd) and `latent.json.gz`."""
    data = generate(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in (*data.reviews.items(), ("items", data.items)):
        table.to_parquet(folder / f"{name}.parquet", index=False, compression="zstd")
    save_latent(data.latent, folder)
    return data


def _reviews_of(visitor: Visitor, split: str, world: World, used_at: dict[str, set[str]], written: _Written, seed: int) -> list[tuple[Any, ...]]:
    """A visitor's reviews, newest first."""
    rng = random.Random(f"{seed}/reviews/{visitor.user_id}")
    (smallest, largest), _ = rng.choices(_HISTORY[split], [share for _, share in _HISTORY[split]])[0]
    visited = choose_places(visitor, world.places, rng.randint(smallest, largest), rng)
    visits = sorted((experience_visit(visitor, place, _when(place, rng), rng) for place in visited), key=lambda visit: visit.timestamp)
    rows: list[tuple[Any, ...]] = []
    own: set[str] = set()
    previous: Place | None = None
    for visit in visits:
        title, text = _compose_new(visit, world, previous, own, used_at[visit.place.item_id], written, rng)
        rows.append((visitor.user_id, visit.place.item_id, float(visit.rating), title, text, visit.timestamp))
        previous = visit.place
    return rows[::-1]


def _compose_new(
    visit: Visit, world: World, previous: Place | None, own: set[str], others: set[str], written: _Written, rng: random.Random
) -> tuple[str, str]:
    """A review unlike all written before; only then its phrases count as used."""
    while True:
        own_now, others_now = set(own), set(others)
        title, text = compose(visit, world, previous, own_now, others_now, rng)
        if written.accepts(text):
            own |= own_now
            others |= others_now
            return title, text


class _Written:
    """All texts so far, to keep repeats and near repeats out."""

    def __init__(self) -> None:
        self._sizes: list[int] = []
        self._texts_with: dict[tuple[str, ...], list[int]] = defaultdict(list)

    def accepts(self, text: str, limit: float = 0.4) -> bool:
        """Take the text in, unless it shares more than `limit` of its runs of three words with an earlier one (Jaccard)."""
        words = re.findall(r"\w+", text.lower())
        runs = set(zip(words, words[1:], words[2:], strict=False))
        shared = Counter(index for run in runs for index in self._texts_with[run])
        if any(count > limit * (len(runs) + self._sizes[index] - count) for index, count in shared.items()):
            return False
        for run in runs:
            self._texts_with[run].append(len(self._sizes))
        self._sizes.append(len(runs))
        return True


def _when(place: Place, rng: random.Random) -> int:
    """A moment of the visit in Unix seconds; boats and bikes go from April to October."""
    while True:
        day = _FIRST_DAY + timedelta(days=rng.randrange(_NUM_DAYS), seconds=rng.randrange(9 * 3600, 23 * 3600))
        if place.category not in _OUTDOOR or 4 <= day.month <= 10:
            return int(day.timestamp())


def _items_table(world: World) -> pd.DataFrame:
    rows = [(place.item_id, place.name, f"{_LABELS[place.category]}, {place.facts['street']}", place.brand) for place in world.places]
    return pd.DataFrame(rows, columns=["item_id", "name", "category", "brand"])
