"""What a prepared data set looks like: sizes, density, how sparse histories are, what was cleaned."""

from __future__ import annotations

from typing import Any

import pandas as pd
from rich.table import Table
from rich.text import Text

from grasper.prepare.staging import keyed
from grasper.retrieve.pool import POOLS

HISTORY_BINS = ("0", "1", "2", "3-5", ">5")


def describe(reviews: pd.DataFrame, examples: pd.DataFrame) -> dict[str, Any]:
    """Sizes and sparsity per pool and of all together, and the examples per split.

    `histories` are shares of users by the number of reviews that a request sees of them: for dev and test besides the target, for training
    users besides the one left out. `density` is distinct (user, item) pairs / (users × items).
    """
    reviews = keyed(reviews)[["user_id", "item_id", "rating", "split", "is_target", "has_text", "has_title"]]
    described = {}
    for pool in ("train", "dev", "test"):
        if not (rows := reviews.loc[reviews["split"] == pool, ["user_id", "item_id"]]).empty:
            described[pool] = _describe_pool(rows, _histories(pool, reviews))
    return {
        "pools": described | {"all": _describe_pool(reviews, None)},
        "examples": {split: int(count) for split, count in examples["split"].value_counts(sort=False).items()},
        "repeated_targets": {split: int(count) for split, count in examples.groupby("split", sort=False)["is_repeated"].sum().items()},
        "reviews_without_rating": int(reviews["rating"].isna().sum()),
        "reviews_without_title": int((~reviews["has_title"]).sum()),
        "targets_without_text": int((~reviews["has_text"]).sum()),
    }


def _describe_pool(reviews: pd.DataFrame, histories: pd.Series | None) -> dict[str, Any]:
    users, items = reviews["user_id"].nunique(), reviews["item_id"].nunique()
    pairs = int((~reviews.duplicated(["user_id", "item_id"])).sum())
    described: dict[str, Any] = {"reviews": len(reviews), "users": users, "items": items, "density": pairs / (users * items)}
    if histories is not None:
        bins = pd.cut(histories, [-1, 0, 1, 2, 5, float("inf")], labels=list(HISTORY_BINS))
        described["histories"] = {str(name): float(share) for name, share in bins.value_counts(normalize=True, sort=False).items()}
    return described


def _histories(pool: str, reviews: pd.DataFrame) -> pd.Series:
    """Visible reviews besides the one asked for, per training user or per target of the pool."""
    sizes = reviews.loc[reviews["split"].isin(POOLS["align" if pool == "train" else pool]), "user_id"].value_counts()
    sizes = sizes[sizes > 0]  # ids may be categories
    if pool == "train":
        return sizes - 1
    return reviews.loc[reviews["is_target"] & (reviews["split"] == pool), "user_id"].map(sizes).astype("int64") - 1


def render(statistics: dict[str, Any]) -> Table:
    """The statistics as a table for the terminal, one row per pool."""
    title = Text(f"{statistics.get('name', 'data')} ({statistics.get('language', '?')})")
    table = Table(title=title, title_justify="left", caption=_caption(statistics), caption_justify="left")
    table.add_column("pool")
    for column in ("reviews", "users", "items", "density"):
        table.add_column(column, justify="right")
    for name in HISTORY_BINS:
        table.add_column(f"history {name}", justify="right")
    for pool, row in statistics["pools"].items():
        shares = row.get("histories", {})
        cells = [f"{shares[name]:.1%}" if name in shares else "–" for name in HISTORY_BINS]
        table.add_row(pool, f"{row['reviews']:,}", f"{row['users']:,}", f"{row['items']:,}", f"{row['density']:.3%}", *cells)
    return table


def _caption(statistics: dict[str, Any]) -> str:
    repeated = statistics["repeated_targets"]
    examples = ", ".join(f"{split} {count:,} ({repeated[split]:,} repeated)" for split, count in statistics["examples"].items())
    cleaned = ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in statistics.get("cleaned", {}).items())
    return f"examples: {examples or 'none'}\ncleaned: {cleaned or 'nothing'}\nreviews without rating: {statistics['reviews_without_rating']:,}"
