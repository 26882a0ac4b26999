"""Prepared review tables → the reviews that the instruction phase may show or ask for (DESIGN: leakage rules).

Left out are: reserved users, users of any dev split (names compared without case), texts that share 13 words with a dev text or with a
review of a reserved user, repeats, very short texts, and texts in other languages than English and Portuguese.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from grasper.errors import MissingFileError
from grasper.records import Item, Review, none_if_missing
from grasper.retrieve.pool import reserved_split
from grasper.tune.decontaminate import Reference
from grasper.tune.examples import ReviewSet

BENCHMARK_SETS = ("hotel", "gap", "amazon", "b2w")
TRAIN_SHARES = {
    "hotel/train": 3.0,
    "gap/train": 0.7,
    "b2w/train": 1.5,
    "b2w/extra": 0.7,
    "hotel_7282/reviews": 0.5,
    "amazon_consumer/reviews": 0.3,
    "electronics_datafiniti/reviews": 0.5,
    "amazon14_musical_instruments/reviews": 0.7,
    "amazon18_all_beauty/reviews": 2.0,
    "amazon18_fashion/reviews": 0.5,
    "amazon18_magazines/reviews": 0.5,
    "amazon23_multi/reviews": 2.0,
    "fine_foods_head/reviews": 0.3,
}
"""How often a review of each set is asked for, relative to the others: sets like the benchmark's more often."""
MIN_WORDS, MAX_WORDS = 4, 220
_ENGLISH_WORDS = "the and a to of is it was in i for this my we with on that very are have not but you so they at great as had be good"
_ENGLISH = frozenset(_ENGLISH_WORDS.split())


def load_review_sets(
    data_dir: Path,
    counts: dict[str, dict[str, int]] | None = None,
    *,
    shares: Mapping[str, float] | None = None,
    max_words: int = MAX_WORDS,
) -> list[ReviewSet]:
    """Gives the allowed reviews of every known table in the folder.

    Args:
        data_dir: Holds the prepared sets, each a folder with parquet files.
        counts: Filled with how many rows of each set were kept and dropped, and why.
        shares: The tables to read and how often their reviews are asked for; None for those that nano was tuned on.
        max_words: Longer texts are left out.

    Raises:
        MissingFileError: The folder holds none of the known tables.
    """
    shares = shares or TRAIN_SHARES
    paths = {name: data_dir / f"{name}.parquet" for name in shares}
    tables = {name: pd.read_parquet(path).dropna(subset=["text"]) for name, path in paths.items() if path.exists()}
    if not tables:
        raise MissingFileError(f"{data_dir}: expected prepared sets such as hotel/train.parquet, found none; name the folder with --data")
    dev_paths = [data_dir / name / "dev.parquet" for name in BENCHMARK_SETS]
    dev_tables = [pd.read_parquet(path).dropna(subset=["text"]) for path in dev_paths if path.exists()]
    dev_users = {str(user).lower() for table in dev_tables for user in table["user_id"]}
    reserved_texts = (str(row.text) for table in tables.values() for row in table.itertuples() if reserved_split(str(row.user_id)))
    reference = Reference([*(str(text) for table in dev_tables for text in table["text"]), *reserved_texts])
    seen: set[str] = set()
    sets = []
    for name, table in tables.items():
        count = {"rows": len(table), "reserved": 0, "dev_user": 0, "shared": 0, "form": 0, "kept": 0}
        reviews = []
        for number, row in enumerate(table.itertuples(index=False)):
            text, user = str(row.text), str(row.user_id)
            if reserved_split(user):
                count["reserved"] += 1
            elif user.lower() in dev_users:
                count["dev_user"] += 1
            elif text in seen or not _has_good_form(text, max_words, is_portuguese=name.startswith("b2w")):
                count["form"] += 1
            elif reference.shares(text):
                count["shared"] += 1
            else:
                seen.add(text)
                reviews.append(read_review(row, f"{name}-{number}"))
        count["kept"] = len(reviews)
        if counts is not None:
            counts[name] = count
        sets.append(ReviewSet(name, shares[name], reviews, _items(data_dir / name.split("/")[0] / "items.parquet")))
    return sets


def _has_good_form(text: str, max_words: int, *, is_portuguese: bool) -> bool:
    words = text.lower().split()
    if not MIN_WORDS <= len(words) <= max_words:
        return False
    return is_portuguese or len(words) < 15 or sum(word in _ENGLISH for word in words) >= 0.18 * len(words)


def read_review(row: Any, review_id: str) -> Review:
    """Gives a row of a prepared table as a record; a rating outside 1–5 and an empty title are missing."""
    rating, title = none_if_missing(row.rating), none_if_missing(row.title)
    return Review(
        review_id=review_id,
        user_id=str(row.user_id),
        item_id=str(row.item_id),
        text=str(row.text),
        title=title if isinstance(title, str) and title.strip() else None,
        rating=float(round(rating)) if rating is not None and 1 <= rating <= 5 else None,
    )


def _items(path: Path) -> dict[str, Item]:
    if not path.exists():
        return {}
    table = pd.read_parquet(path)
    return {
        str(row.item_id): Item(str(row.item_id), *(none_if_missing(value) for value in (row.name, row.category, row.brand)))
        for row in table.itertuples(index=False)
    }
