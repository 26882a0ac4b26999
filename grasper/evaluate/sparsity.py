"""How little is known of the users, and what that does to the quality."""

from __future__ import annotations

from typing import Any

import pandas as pd

from grasper.evaluate.compare import Bootstrap, summarize
from grasper.records import Tables

LEVELS = ("0", "1", "2", "3–5", ">5")
"""Levels of sparsity: the number of the user's own reviews that a request may see."""


def level_of(num_reviews: int) -> str:
    """The level of a number of own reviews."""
    if num_reviews <= 2:
        return LEVELS[num_reviews]
    return LEVELS[3] if num_reviews <= 5 else LEVELS[4]


def describe_sparsity(tables: Tables) -> dict[str, Any]:
    """Users, items, reviews, density (share of all user–item pairs that exist), and the shares of users and items by number of reviews."""
    reviews = tables.reviews
    per_user, per_item = reviews["user_id"].value_counts(), reviews["item_id"].value_counts()
    cells = len(per_user) * len(per_item)
    pairs = len(reviews[["user_id", "item_id"]].drop_duplicates())
    return {
        "users": len(per_user),
        "items": len(per_item),
        "reviews": len(reviews),
        "density": round(pairs / cells, 8) if cells else 0.0,
        "user_shares": _shares(per_user),
        "item_shares": _shares(per_item),
    }


def _shares(counts: pd.Series) -> dict[str, float]:
    levels = counts.map(level_of).value_counts(normalize=True)
    return {level: round(float(levels.get(level, 0.0)), 6) for level in LEVELS[1:]}


def score_by_level(values: pd.DataFrame, levels: pd.Series, bootstrap: Bootstrap) -> dict[str, Any]:
    """Scores at every level: `{method: {task: {metric: {level: entry}}}}`; levels without examples are left out."""
    result: dict[str, Any] = {}
    for level in LEVELS:
        if (levels == level).any():
            at_level = bootstrap.estimate(values, where=(levels == level).to_numpy())
            for method, tasks in summarize(at_level).items():
                for task, metrics in tasks.items():
                    for metric, entry in metrics.items():
                        result.setdefault(method, {}).setdefault(task, {}).setdefault(metric, {})[level] = entry
    return result
