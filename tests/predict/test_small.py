"""Tables so small that most methods have nothing to learn from: a result, never a traceback."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from grasper.config import PredictConfig
from grasper.predict import fit, load
from grasper.records import EXAMPLE_COLUMNS, ITEM_COLUMNS, REVIEW_COLUMNS, Tables
from tests.predict.shop import DAY, someone

ENCODERS = ["hybrid", "lightgcn", "sage", "popularity", "itemknn", "ease", "similarity"]
Row = tuple[int, int, str, int | None]
"""User, item, text and day."""


def tables_of(rows: list[Row], *, with_cutoff: bool = False) -> Tables:
    """Everybody's first review is an example; training reviews all."""
    reviews = pd.DataFrame(
        [
            (f"r{place}", f"u{user}", f"i{item}", 5.0, None, text, pd.NA if day is None else day * DAY, "train")
            for place, (user, item, text, day) in enumerate(rows)
        ],
        columns=REVIEW_COLUMNS,
    ).astype({"timestamp": "Int64"})
    first = reviews.drop_duplicates("user_id")
    examples = pd.DataFrame(
        [
            (row.review_id, row.review_id, row.user_id, row.item_id, "align", row.timestamp if with_cutoff else pd.NA, False)
            for row in first.itertuples()
        ],
        columns=EXAMPLE_COLUMNS,
    ).astype({"cutoff": "Int64"})
    items = pd.DataFrame({name: reviews["item_id"].unique() if name == "item_id" else None for name in ITEM_COLUMNS})
    return Tables(reviews, items, examples)


def check(tables: Tables, encoder: str) -> None:
    """It fits, writes finite scores for unseen items only, and answers newcomers after loading."""
    with tempfile.TemporaryDirectory() as folder:
        fit(PredictConfig(encoder=encoder, max_epochs=2, eras=2), tables, Path(folder), seed=0)
        table = pd.read_parquet(Path(folder) / "candidates.parquet")
        predictor = load(Path(folder), tables)
        newcomer, asking = (predictor.predict([someone("new", item, history=[])], 3) for item in ("", "i0"))
    assert np.isfinite(table["score"].to_numpy(float)).all()
    met = set(zip(tables.reviews["user_id"], tables.reviews["item_id"], strict=True))
    if tables.examples["cutoff"].isna().all():
        assert not met & set(zip(table["user_id"], table["item_id"], strict=True))
    assert newcomer["score"].between(0, 1).all()
    assert len(newcomer) == min(3, tables.reviews["item_id"].nunique())
    assert "i0" not in set(asking["item_id"])


CASES: dict[str, list[Row]] = {
    "two items that everybody met": [(user, item, f"word{user} thing{item}", user) for user in range(12) for item in range(2)],
    "one item": [(user, 0, f"word{user}", user) for user in range(12)],
    "all texts equal": [(user, (user + step) % 6, "the same", user) for user in range(12) for step in range(3)],
    "no text at all": [(user, (user + step) % 6, "", user) for user in range(12) for step in range(3)],
    "one user": [(0, item, f"word{item}", item) for item in range(6)],
    "one review": [(0, 0, "word", 1)],
    "one word": [(user, (user + step) % 6, "word", None) for user in range(12) for step in range(3)],
    "everybody met everything": [(user, item, f"word{item}", user + item) for user in range(30) for item in range(4)],
}


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("case", CASES)
def test_small_tables_give_a_result(case: str, encoder: str) -> None:
    check(tables_of(CASES[case]), encoder)


@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(
    rows=st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 3), st.sampled_from(["", "tea", "tea cup", "coffee"]), st.none() | st.integers(0, 5)),
        min_size=1,
        max_size=12,
    ).map(lambda rows: [(0, 0, "tea", 3), *rows]),
    with_cutoff=st.booleans(),
    encoder=st.sampled_from(ENCODERS),
)
def test_any_tiny_table_gives_a_result(rows: list[Row], with_cutoff: bool, encoder: str) -> None:
    """Also with cut-offs before which nothing is known, and with users, items, texts and days in any mixture."""
    check(tables_of(rows, with_cutoff=with_cutoff), encoder)
