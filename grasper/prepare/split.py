"""Who is trained on, who is asked for: pools, targets, halves, reserved users and examples (DESIGN: leakage rules).

`given`     The benchmark's own splits; no time, so no cut-off.
`last-out`  The last review of each user with two or more is a target of dev or test (by a hash of the user); everything else trains.
            A request sees nothing later than its target (`Example.cutoff`). Reserved users keep all their reviews in training, so that
            no user both gives alignment pairs and is evaluated. Reviews without a date cannot be placed in time: they train, are always
            visible and never targets. The link predictor is fitted anew for stretches of time (`predict.eras`).
`users`     A share of the users, chosen by a seeded hash, is held out with all reviews: the last of each is the target, the others
            are its history. No cut-off.
`none`      Everybody trains, nobody is asked for: for use, not for measuring.

Reserved users are training users with `int(sha256(user_id)[0], 16) < 5`: those below 3 give pairs of the split `align`, the others
`held-out`, one per review with a text, by leave-one-out. A user with a target of its own gives none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa

from grasper.config import PrepareConfig
from grasper.errors import ConfigError, DataFormatError
from grasper.prepare.staging import keyed, review_ids
from grasper.records import EXAMPLE_COLUMNS
from grasper.retrieve.pool import POOLS, reserved_split
from grasper.runs import stable_hash

Names: TypeAlias = pa.Array | None
_NAMING = ("user_id", "item_id", "label", "number", "review_id", "timestamp")
_AT_ONCE = 10_000
"""Names that are objects of Python at once."""


def dev_half(user_id: str) -> Literal["dev-a", "dev-b"]:
    """`dev-a` for tuning or `dev-b` for reporting, by the second hex digit of the user's hash."""
    return "dev-a" if int(stable_hash(user_id)[1], 16) % 2 == 0 else "dev-b"


def assign_splits(reviews: pd.DataFrame, config: PrepareConfig, seed: int, names: Names = None) -> pd.DataFrame:
    """The reviews with `split` and `is_target` decided; in splits of our own, oldest first.

    Args:
        names: Of the users, where `user_id` holds numbers.

    Raises:
        DataFormatError: The split needs dates, or leaves nobody to train on or to ask for.
        ConfigError: The shares leave no training users.
    """
    if config.split == "given":
        return reviews
    if config.split == "none":
        return reviews.assign(split=reviews["split"].fillna("train"), is_target=False)
    is_open = reviews["split"].isna()  # the others are lent by prepare.train
    own, lent = (reviews, None) if is_open.all() else (reviews[is_open], reviews[~is_open])
    own = _leave_last_out(own, names) if config.split == "last-out" else _hold_users_out(own, config.dev_share, seed, names)
    if not own["is_target"].any():
        raise DataFormatError(
            f"{config.name}: prepare.split={config.split} finds no user to hold out among {own['user_id'].nunique()}; "
            "prepare.split=none trains on all reviews, for use"
        )
    if lent is not None:
        return pd.concat([own, lent], ignore_index=True)
    if not (own["split"] == "train").any():
        raise DataFormatError(
            f"{config.name}: prepare.split={config.split} holds out all {own['user_id'].nunique()} users, so nobody is left to train on; "
            "lower prepare.dev_share, lend reviews with prepare.train, or train on all of them with prepare.split=none"
        )
    return own


def _leave_last_out(reviews: pd.DataFrame, names: Names) -> pd.DataFrame:
    if reviews["timestamp"].isna().all():
        raise DataFormatError(
            f"prepare.split=last-out needs dates, but none of {len(reviews)} reviews has one "
            "(prepare.columns.timestamp); without dates use prepare.split=users"
        )
    ordered = reviews.sort_values("timestamp", kind="stable", na_position="first", ignore_index=True)
    is_last = ~ordered.duplicated("user_id", keep="last") & ordered["timestamp"].notna()
    has_history = ordered.duplicated("user_id", keep="first")
    is_target = is_last & has_history
    is_target[is_target] = of_users(ordered.loc[is_target, "user_id"], reserved_split, names).isna()
    split = pd.Series("train", index=ordered.index, dtype="object")
    split[is_target] = of_users(ordered.loc[is_target, "user_id"], lambda user: "dev" if int(stable_hash(user)[2], 16) % 2 == 0 else "test", names)
    return ordered.assign(split=split, is_target=is_target)


def _hold_users_out(reviews: pd.DataFrame, share: float, seed: int, names: Names) -> pd.DataFrame:
    if share >= 0.5:
        raise ConfigError(f"prepare.dev_share is {share}, for dev and again for test: nobody is left to train on; choose below 0.5")

    def side(user_id: str) -> str:
        position = int(stable_hash(f"{seed}/{user_id}")[:8], 16) / 16**8
        return "dev" if position < share else "test" if position < 2 * share else "train"

    ordered = reviews.sort_values("timestamp", kind="stable", na_position="first", ignore_index=True)
    split = of_users(ordered["user_id"], side, names)
    return ordered.assign(split=split, is_target=~ordered.duplicated("user_id", keep="last") & (split != "train"))


def make_examples(reviews: pd.DataFrame, *, has_time: bool, names: Mapping[str, pa.Array] | None = None) -> pd.DataFrame:
    """One row per target and per reserved training review with a text, in table order; `has_time` sets cut-offs.

    Args:
        names: Of users and items, where `user_id` and `item_id` hold numbers.
    """
    reviews = keyed(reviews)
    is_target, users = reviews["is_target"], reviews["user_id"]
    user_names = names["user_id"] if names else None
    split: pd.Series[Any] = pd.Series(np.nan, index=reviews.index, dtype="object")
    is_pair = (reviews["split"] == "train") & reviews["has_text"] & ~users.isin(users[is_target].unique())
    split[is_pair] = of_users(users[is_pair], reserved_split, user_names)
    is_dev = is_target & (reviews["split"] == "dev")
    split[is_dev] = of_users(users[is_dev], dev_half, user_names)
    split[is_target & (reviews["split"] == "test")] = "test"
    chosen = reviews.loc[is_target | split.notna(), [name for name in reviews.columns if name in _NAMING]]
    cutoff = chosen["timestamp"] if has_time else pd.Series(pd.NA, index=chosen.index, dtype="Int64")
    asked = pd.DataFrame({"split": split[chosen.index].astype("str"), "cutoff": cutoff})
    asked["is_repeated"] = _is_repeated(reviews, asked)
    examples = asked.assign(example_id=review_ids(chosen))
    examples["review_id"] = examples["example_id"]
    for name in ("user_id", "item_id"):
        examples[name] = chosen[name].astype("str") if names is None else named(chosen[name], names[name])
    return examples[list(EXAMPLE_COLUMNS)].reset_index(drop=True)


def _is_repeated(reviews: pd.DataFrame, asked: pd.DataFrame) -> pd.Series:
    """Whether each target's text, in lower case and with single spaces, stands at another record of its pools up to its cut-off.

    Training pairs are flagged likewise, though retrieval hides such records from them (retrieve/pool.py).
    """
    shared = reviews[reviews["has_text"] & reviews["folded_key"].duplicated(keep=False)]  # most texts stand once, and need no look
    table = pd.DataFrame({"text": shared["folded_key"], "pool": shared["split"], "timestamp": shared["timestamp"].astype("float64")})
    flags = pd.Series(False, index=asked.index)
    for pools in sorted(set(POOLS.values())):
        mine = asked.index[asked["split"].isin([split for split in POOLS if POOLS[split] == pools])]
        visible = table[table["pool"].isin(pools)]
        if asked.loc[mine, "cutoff"].notna().any():
            # A record without a date is always visible, so it ranks first; the target itself is one of those counted.
            count = visible.fillna({"timestamp": -np.inf}).groupby("text")["timestamp"].rank(method="max")
        else:
            count = visible.groupby("text")["text"].transform("size")
        flags[mine] = count.reindex(mine).fillna(0) > 1
    return flags


def of_users(user_ids: pd.Series, function: Callable[[str], str | None], names: Names = None) -> pd.Series:
    """A function of the user for every row, computed once per user; `names` where `user_ids` are numbers."""
    codes, users = pd.factorize(user_ids)
    values = np.array([function(user_id) for user_id in (users if names is None else _each(names, users))], dtype=object)
    return pd.Series(values[codes], index=user_ids.index, dtype="object")


def named(numbers: pd.Series, names: pa.Array) -> pd.Series:
    """The ids that the numbers stand for."""
    return pd.Series(names.take(pa.array(numbers.to_numpy(dtype=np.int64))).to_pandas().array, index=numbers.index, dtype="str")


def _each(names: pa.Array, users: pd.Index) -> Iterator[str]:
    numbers = np.asarray(users, dtype=np.int64)
    for start in range(0, len(numbers), _AT_ONCE):
        yield from names.take(pa.array(numbers[start : start + _AT_ONCE])).to_pylist()
