"""Rows that do not stay: without user, item or text, exact duplicates, pooled users, and histories beyond the limit.

A target is never dropped. Every function returns the kept rows; what it dropped is counted by its caller.
"""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from grasper.prepare.split import Names, of_users
from grasper.prepare.staging import keyed

_ALL_FIELDS = ["user_id", "item_id", "rating", "title_key", "text_key"]
_POOLED_NAMES = re.compile(
    r"(?:by )?(?:an? )?(?:verified )?(?:amazon |google )?"
    r"(?:travell?er|guest|customer|reviewer|user|shopper|buyer|anonymous|unknown|n/?a|none|null)"
)
"""Names that stand for nobody in particular; such a user is many people."""


def drop_unusable(reviews: pd.DataFrame) -> pd.DataFrame:
    """Rows with a user, an item and a text. A target without a text stays: it still has a rating to predict."""
    has_ids = reviews["user_id"].notna() & reviews["item_id"].notna()
    return reviews[has_ids & (keyed(reviews)["has_text"] | reviews["is_target"])].reset_index(drop=True)


def drop_duplicates(reviews: pd.DataFrame) -> pd.DataFrame:
    """Records whose user, item, rating, title and text are all equal, kept once: the target where there is one, else the first with a date.

    A repeat without a date would be visible at any time, and so before the day on which its text was written.
    """
    rows = keyed(reviews)[[*_ALL_FIELDS, "is_target"]].assign(is_undated=reviews["timestamp"].isna())
    if rows["is_target"].any() or rows["is_undated"].any():
        rows = rows.sort_values(["is_target", "is_undated"], ascending=[False, True], kind="stable")
    is_repeat = rows.duplicated(_ALL_FIELDS).reindex(reviews.index)
    return reviews[~is_repeat | reviews["is_target"]].reset_index(drop=True)


def limit_pooled_users(reviews: pd.DataFrame, limit: int, seed: int, names: Names = None) -> pd.DataFrame:
    """At most `limit` training reviews per user name, chosen at random; 0 drops users with an anonymous name or more than 50 reviews.

    Args:
        names: Of the users, where `user_id` holds numbers.
    """
    is_train = (reviews["split"] == "train") & ~reviews["is_target"]
    if limit == 0:
        sizes = is_train.groupby(reviews["user_id"]).transform("sum")
        is_nobody = of_users(reviews["user_id"], lambda name: "nobody" if _POOLED_NAMES.fullmatch(name.lower()) else None, names).notna()
        is_pooled = (sizes > 50) | is_nobody
        return reviews[~(is_train & is_pooled)].reset_index(drop=True)
    order = pd.Series(np.random.default_rng(seed).permutation(len(reviews)), index=reviews.index)
    codes = pd.factorize(reviews["user_id"])[0]
    is_many = is_train & (np.bincount(codes[is_train], minlength=codes.max() + 1)[codes] > limit)
    place = order[is_many].groupby(codes[is_many]).rank(method="first")
    is_beyond = pd.Series(False, index=reviews.index)
    is_beyond[place.index] = place > limit
    return reviews[~is_beyond].reset_index(drop=True) if is_beyond.any() else reviews


def limit_histories(reviews: pd.DataFrame, limit: int) -> pd.DataFrame:
    """Each user's `limit` most recent reviews beside the target, to simulate sparsity; dates decide, else the order of rows.

    A user without a target keeps one more, since any of them may be the one left out of a training pair. The reviews are gone for
    everybody: neighbours see as little of the user as the user's own requests do.
    """
    is_history = ~reviews["is_target"]
    history = reviews[is_history].sort_values("timestamp", kind="stable", na_position="first")
    age = history.groupby("user_id").cumcount(ascending=False)
    has_target = history["user_id"].isin(reviews.loc[reviews["is_target"], "user_id"])
    is_kept = (age < np.where(has_target, limit, limit + 1)).reindex(reviews.index, fill_value=True)
    return reviews[is_kept].reset_index(drop=True)
