"""Pools, targets, halves and reserved users; no split lets a target or the future leak."""

from __future__ import annotations

import hashlib

import pandas as pd
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from grasper.config import PrepareConfig
from grasper.errors import ConfigError, DataFormatError
from grasper.prepare.split import assign_splits, dev_half, make_examples
from grasper.records import REVIEW_COLUMNS, Tables
from grasper.retrieve.pool import ReviewPool, reserved_split

LAST_OUT = PrepareConfig(source="table", split="last-out")
USERS = PrepareConfig(source="table", split="users", dev_share=0.3)
NAMES = ("ann", "bob", "carl", "dora", "kim", "lee", "user1", "user2", "user3", "eve", "max", "zoe", "tom", "ida", "gus", "pia")


def table(rows: list[tuple[str, int | None]]) -> pd.DataFrame:
    """Reviews (user, date) of a table whose splits are still open."""
    reviews = pd.DataFrame(rows, columns=["user_id", "timestamp"]).astype({"timestamp": "Int64", "user_id": "str"})
    numbers = [f"t-{number:06d}" for number in range(len(rows))]
    return reviews.assign(review_id=numbers, item_id="i", rating=4.0, title="t", text=numbers, split=None, is_target=False)


def to_tables(reviews: pd.DataFrame, *, has_time: bool) -> Tables:
    examples = make_examples(reviews, has_time=has_time)
    return Tables(reviews[list(REVIEW_COLUMNS)], pd.DataFrame(columns=["item_id", "name", "category", "brand"]), examples)


def test_known_hashes() -> None:
    """sha256("lee") begins 15, of ann 49, of user1 0a, of dora 69, of user2 60."""
    assert hashlib.sha256(b"lee").hexdigest().startswith("15")
    assert [reserved_split(user) for user in ("lee", "user1", "kim", "ann", "dora", "user2")] == ["align", "align", "align", "held-out", None, None]
    assert [dev_half(user) for user in ("dora", "lee", "ann", "user2", "user3", "kim")] == ["dev-b", "dev-b", "dev-b", "dev-a", "dev-a", "dev-a"]


def test_given_splits_give_pairs_of_reserved_users_only(tables: Tables) -> None:
    """lee's two reviews and ann's three, by leave-one-out; bob and carl none; dev users their target only."""
    counts = tables.examples.groupby(["split", "user_id"]).size().to_dict()
    assert counts == {("align", "lee"): 2, ("held-out", "ann"): 3, ("dev-a", "user2"): 1, ("dev-a", "user3"): 1, ("dev-b", "dora"): 1}
    assert tables.examples["cutoff"].isna().all()


def test_repeated_targets_are_flagged(tables: Tables) -> None:
    """lee's and ann's reviews of the café are the same text; nobody else repeats anything."""
    flagged = tables.examples[tables.examples["is_repeated"]]
    assert sorted(flagged["review_id"]) == ["tiny-train-000002", "tiny-train-000005"]


def test_repeats_count_only_where_they_are_visible() -> None:
    """A dev target repeated in test only is not flagged; in training it is, whatever its case and spacing."""
    reviews = table([("bob", None), ("max", None), ("eve", None), ("zoe", None)]).assign(
        split=["dev", "test", "dev", "train"], is_target=[True, True, True, False], text=["same", "same", "So  good", "so good"]
    )
    examples = make_examples(reviews, has_time=False).set_index("user_id")
    assert examples["is_repeated"].to_dict() == {"bob": False, "max": False, "eve": True}


def test_repeats_count_only_up_to_the_cutoff() -> None:
    """A text that somebody copies later was no repeat when it was asked for."""
    reviews = table([("bob", 1), ("bob", 5), ("max", 2), ("max", 9), ("tom", 3)]).assign(text=["a", "copied", "b", "copied", "c"])
    tables = to_tables(assign_splits(reviews, LAST_OUT, 0).assign(split=["train", "train", "train", "dev", "dev"]), has_time=True)
    flags = tables.examples.set_index("review_id")["is_repeated"]
    assert flags.to_dict() == {"t-000001": False, "t-000003": True}


def test_repeats_of_the_same_day_or_without_a_date_count() -> None:
    """Neither of two equal texts of one day came later, and an undated one may always be seen."""
    reviews = table([("bob", None), ("max", 5), ("eve", 7), ("zoe", 7), ("dora", 8)]).assign(
        split=["train", *["dev"] * 4], is_target=[False, *[True] * 4], text=["undated", "undated", "one day", "one day", "nobody else's"]
    )
    examples = make_examples(reviews, has_time=True).set_index("user_id")
    assert examples["is_repeated"].to_dict() == {"max": True, "eve": True, "zoe": True, "dora": False}


def test_a_user_with_a_target_gives_no_pairs() -> None:
    """lee is reserved, but also asked for: alignment must not learn from an evaluation user."""
    reviews = table([("lee", None), ("lee", None), ("user1", None)]).assign(split=["dev", "train", "train"], is_target=[True, False, False])
    assert make_examples(reviews, has_time=False)[["user_id", "split"]].values.tolist() == [["lee", "dev-b"], ["user1", "align"]]


def test_pairs_and_texts() -> None:
    """A training review without a text cannot be a pair; a target without one still is asked for its rating."""
    reviews = table([("lee", None), ("bob", None)]).assign(split=["train", "dev"], is_target=[False, True], text="")
    assert make_examples(reviews, has_time=False)["user_id"].tolist() == ["bob"]


def test_last_out_takes_the_last_review_of_each_user() -> None:
    """dora's review of second 9 is her last; bob has only one, lee is reserved: both stay in training, and so does what has no date."""
    reviews = table([("dora", 5), ("dora", 9), ("dora", None), ("dora", 1), ("bob", 4), ("lee", 2), ("lee", 3)])
    assigned = assign_splits(reviews, LAST_OUT, 0)
    assert pd.isna(assigned["timestamp"].iloc[0])
    assert assigned["timestamp"].iloc[1:].is_monotonic_increasing
    assert assigned.loc[assigned["is_target"], ["user_id", "timestamp"]].values.tolist() == [["dora", 9]]
    assert (assigned["split"] == "train").sum() == 6


def test_an_undated_review_is_never_a_target() -> None:
    """dora's only dated review is asked for, with the undated ones as history; user2 has no date at all and trains."""
    assigned = assign_splits(table([("dora", None), ("dora", 3), ("dora", None), ("user2", None), ("user2", None)]), LAST_OUT, 0)
    assert assigned.loc[assigned["is_target"], ["user_id", "timestamp"]].values.tolist() == [["dora", 3]]


def test_none_trains_everybody_and_asks_for_nothing() -> None:
    """Reserved users still give training pairs for alignment."""
    assigned = assign_splits(table([("dora", 1), ("dora", 2), ("lee", None)]), USERS.model_copy(update={"split": "none"}), 0)
    assert set(assigned["split"]) == {"train"}
    assert make_examples(assigned, has_time=False)["split"].tolist() == ["align"]


dated_rows = st.lists(st.tuples(st.sampled_from(NAMES), st.integers(0, 9)), min_size=4, max_size=40)


@settings(max_examples=20)
@given(dated_rows)
def test_last_out_shows_nothing_later_and_never_the_target(rows: list[tuple[str, int]]) -> None:
    try:
        assigned = assign_splits(table(rows), LAST_OUT, 0)
    except DataFormatError:  # nobody has two reviews
        reject()
    tables = to_tables(assigned, has_time=True)
    pool = ReviewPool(tables.reviews_by_id.values())
    seen_splits = set(tables.examples["split"])
    for split in seen_splits:
        for example in tables.select(split):
            shown = [*pool.own(example), *pool.neighbours(example)]
            assert example.cutoff == example.target.timestamp
            assert all(review.timestamp <= example.target.timestamp for review in shown)  # type: ignore[operator]
            assert example.target not in shown
            if split in ("dev-a", "dev-b", "test"):
                own = [review for review in tables.reviews_by_id.values() if review.user_id == example.user_id]
                assert pool.own(example) == [review for review in own if review.review_id != example.target.review_id]


@settings(max_examples=15)
@given(dated_rows, st.integers(0, 5))
def test_held_out_users_leave_nothing_in_training(rows: list[tuple[str, int]], seed: int) -> None:
    """Each held-out user has one target, the latest; pools of users do not mix; the assignment depends on the seed and the name alone."""
    try:
        assigned = assign_splits(table(rows), USERS, seed)
    except DataFormatError:  # the hash holds nobody out
        reject()
    for _, mine in assigned.groupby("user_id"):
        assert mine["split"].nunique() == 1
        if mine["split"].iloc[0] != "train":
            assert mine["is_target"].sum() == 1
            assert mine.loc[mine["is_target"], "timestamp"].item() == mine["timestamp"].max()
        else:
            assert not mine["is_target"].any()
    more = assign_splits(table([*rows, *((name, 3) for name in NAMES)]), USERS, seed)
    sides = more.drop_duplicates("user_id").set_index("user_id")["split"]
    assert (assigned["split"] == assigned["user_id"].map(sides)).all()


def test_shares_of_held_out_users_are_kept() -> None:
    """Of 4,000 users about 30 % go to dev and 30 % to test (4 standard errors: 2.9 points)."""
    assigned = assign_splits(table([(f"u{number}", 0) for number in range(4000)]), USERS, 7)
    shares = assigned["split"].value_counts(normalize=True)
    assert shares["dev"] == pytest.approx(0.3, abs=0.029)
    assert shares["test"] == pytest.approx(0.3, abs=0.029)


def test_the_seed_decides_who_is_held_out() -> None:
    """The same seed the same users, another one others."""
    first, again, other = (assign_splits(table([(f"u{number}", 0) for number in range(40)]), USERS, seed)["split"].tolist() for seed in (7, 7, 8))
    assert first == again != other


def test_settings_that_cannot_work_are_refused() -> None:
    reviews = table([("dora", 1), ("dora", 2), ("bob", None)])
    with pytest.raises(DataFormatError, match="none of 2 reviews has one"):
        assign_splits(table([("dora", None), ("dora", None)]), LAST_OUT, 0)
    with pytest.raises(ConfigError, match="nobody is left to train on"):
        assign_splits(reviews, USERS.model_copy(update={"dev_share": 0.5}), 0)
    with pytest.raises(DataFormatError, match="finds no user to hold out"):
        assign_splits(table([("bob", 1)]), LAST_OUT, 0)


def test_a_split_that_leaves_nobody_to_train_on_is_refused() -> None:
    """Unless reviews are lent: those train."""
    everybody = assign_splits(table([(name, 1) for name in NAMES]), USERS, 0)
    reviews = table([(name, 1) for name in everybody.loc[everybody["split"] != "train", "user_id"]])
    with pytest.raises(DataFormatError, match=f"holds out all {len(reviews)} users, so nobody is left to train on"):
        assign_splits(reviews, USERS, 0)
    lent = table([("lender", 1)]).assign(split="train")
    assert assign_splits(pd.concat([reviews, lent]), USERS, 0)["split"].value_counts()["train"] == 1
