"""What is dropped, what never is."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grasper.prepare.reduce import drop_duplicates, drop_unusable, limit_histories, limit_pooled_users


def table(*rows: tuple[str | None, str | None, str | None], targets: tuple[int, ...] = (), dates: list[int | None] | None = None) -> pd.DataFrame:
    """Training rows (user, item, text); those at `targets` are dev targets."""
    reviews = pd.DataFrame(rows, columns=["user_id", "item_id", "text"], dtype="str").assign(rating=4.0, title=None)
    reviews["timestamp"] = pd.array(dates or [None] * len(rows), dtype="Int64")
    reviews["is_target"] = reviews.index.isin(targets)
    reviews["split"] = reviews["is_target"].map({True: "dev", False: "train"})
    return reviews


def test_rows_without_user_item_or_text_go_but_targets_keep_an_empty_text() -> None:
    kept = drop_unusable(table(("u", "i", "a"), (None, "i", "a"), ("u", None, "a"), ("u", "i", None), ("u", "j", None), targets=(4,)))
    assert kept["item_id"].tolist() == ["i", "j"]
    assert kept["text"].isna().tolist() == [False, True]


def test_equal_records_are_kept_once_and_the_target_stays() -> None:
    """The copy goes even when it comes first; an equal text at another item is no duplicate."""
    kept = drop_duplicates(table(("u", "i", "a"), ("u", "i", "a"), ("u", "i", "a"), ("u", "j", "a"), targets=(1,)))
    assert kept["is_target"].tolist() == [True, False]
    assert kept["item_id"].tolist() == ["i", "j"]


def test_of_equal_records_one_with_a_date_is_kept() -> None:
    """Without a date the text would be visible before it was written; of two dates the first row's counts."""
    kept = drop_duplicates(table(("u", "i", "a"), ("v", "i", "b"), ("u", "i", "a"), ("u", "i", "a"), dates=[None, None, 9, 7]))
    assert kept["user_id"].tolist() == ["v", "u"]
    assert kept["timestamp"].tolist() == [pd.NA, 9]


def test_missing_fields_compare_as_equal() -> None:
    reviews = table(("u", "i", "a"), ("u", "i", "a")).assign(rating=float("nan"))
    assert len(drop_duplicates(reviews)) == 1


@settings(max_examples=20)
@given(st.lists(st.tuples(st.sampled_from("uv"), st.sampled_from("ij"), st.sampled_from("ab")), min_size=1, max_size=12), st.data())
def test_no_step_ever_drops_a_target(rows: list[tuple[str, str, str]], data: st.DataObject) -> None:
    targets = tuple(data.draw(st.sets(st.integers(0, len(rows) - 1))))
    reviews = table(*rows, targets=targets).assign(name=range(len(rows)))
    for kept in (
        drop_unusable(reviews),
        drop_duplicates(reviews),
        limit_pooled_users(reviews, data.draw(st.integers(0, 2)), seed=0),
        limit_histories(reviews, data.draw(st.integers(0, 2))),
    ):
        assert set(targets) <= set(kept["name"])
        assert kept["name"].is_monotonic_increasing


def test_pooled_users_are_capped_in_training_only() -> None:
    """Sixty reviews of one name: a random but fixed choice of fifty stays; the dev target is not counted."""
    rows = [("A Traveler", "i", f"t{number}") for number in range(60)] + [("ann", "i", "x"), ("A Traveler", "i", "target")]
    reviews = table(*rows, targets=(61,))
    kept = limit_pooled_users(reviews, 50, seed=1)
    assert kept["user_id"].value_counts().to_dict() == {"A Traveler": 51, "ann": 1}
    pd.testing.assert_frame_equal(kept, limit_pooled_users(reviews, 50, seed=1))
    assert not kept.equals(limit_pooled_users(reviews, 50, seed=2))


@pytest.mark.parametrize("name", ["A Traveler", "a verified traveler", "Anonymous", "Guest", "By A Customer", "Amazon Customer", "N/A"])
def test_zero_drops_users_who_are_nobody(name: str) -> None:
    kept = limit_pooled_users(table((name, "i", "a"), ("Travelerjoe", "i", "b"), ("Guesthouse Gus", "i", "c")), 0, seed=0)
    assert kept["user_id"].tolist() == ["Travelerjoe", "Guesthouse Gus"]


def test_histories_keep_the_most_recent() -> None:
    """By date, undated first; then by row. A user with a target keeps n others, one without n + 1."""
    rows = [("u", "i", text) for text in "abcde"] + [("v", "i", text) for text in "fgh"]
    reviews = table(*rows, targets=(0,), dates=[9, 3, None, 2, 4, None, None, None])
    assert "".join(limit_histories(reviews, 2)["text"]) == "abefgh"
    assert "".join(limit_histories(reviews, 1)["text"]) == "aegh"
    assert "".join(limit_histories(reviews, 0)["text"]) == "ah"
