"""The hidden truth behind harbour, for tests and evaluation only: no stage before `evaluate` may read it."""

from __future__ import annotations

import gzip
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grasper.errors import MissingFileError
from grasper.prepare.harbour.world import World, suits

if TYPE_CHECKING:
    import pandas as pd

LATENT_FILE = "latent.json.gz"


def latent_of(world: World) -> dict[str, Any]:
    """The truth as plain values: `users` (kind, categories, interests, strictness, style) and `items` (category, strength, quality, …)."""
    users = {visitor.user_id: asdict(visitor) for visitor in world.visitors}
    items = {place.item_id: asdict(place) for place in world.places}
    for record in (*users.values(), *items.values()):
        for key in ("user_id", "item_id"):
            record.pop(key, None)
    return json.loads(json.dumps({"users": users, "items": items}))


def save_latent(latent: dict[str, Any], folder: Path) -> None:
    """Write the truth; the bytes depend on nothing but its content."""
    (folder / LATENT_FILE).write_bytes(gzip.compress(json.dumps(latent, sort_keys=True).encode(), mtime=0))


def load_latent(folder: Path) -> dict[str, Any]:
    """The truth as written beside the tables.

    Raises:
        MissingFileError: The folder has none, since only the bundled data set has a known truth.
    """
    path = folder / LATENT_FILE
    if not path.exists():
        raise MissingFileError(f"{path} does not exist; only the bundled data set 'harbour' has a latent truth")
    return json.loads(gzip.decompress(path.read_bytes()))


def suitability(latent: dict[str, Any]) -> pd.DataFrame:
    """How well each item suits each user by the truth, popularity and quality left out: `[users × items]`, 0 … about 9."""
    import pandas as pd

    items = latent["items"]
    rows = {
        user_id: {item_id: suits(user["categories"], user["interests"], item["category"], item["strength"]) for item_id, item in items.items()}
        for user_id, user in latent["users"].items()
    }
    return pd.DataFrame.from_dict(rows, orient="index")
