"""Texts come back from disk in the order that was decided, however small the parcels in which they are sorted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from grasper.prepare import staging
from grasper.prepare.staging import Staging, review_ids


def rows(count: int) -> pd.DataFrame:
    """Reviews of few users and items, one item without an id."""
    numbers = np.arange(count)
    table = pd.DataFrame({"user_id": [f"ü{n % 7}" for n in numbers], "item_id": [f"i{n % 5}" if n else None for n in numbers]}, dtype="str")
    table = table.assign(title=pd.Series(None, index=table.index, dtype="str"), text=[f"text {n}" for n in numbers], rating=4.0, is_target=False)
    table["timestamp"] = pd.Series(numbers, dtype="Int64")
    return table.assign(name=[f"name {n}" if n % 2 else None for n in numbers], category=None, brand=None)


@pytest.mark.parametrize("parcels", [1, 3, 256])
def test_rows_are_written_in_the_decided_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parcels: int) -> None:
    """Two inputs, 40 and 30 rows; some stay, in another order."""
    monkeypatch.setattr(staging, "MIB", 0.001 if parcels > 1 else 2**20)  # makes any text more than memory holds
    monkeypatch.setattr(staging, "_MOST_PARCELS", parcels)
    stage = Staging(tmp_path)
    for count, label in ((40, "one"), (30, "two")):
        stage.add_reviews(rows(count), label, "train")
    narrow = stage.narrow()
    assert stage.names["user_id"].take(narrow["user_id"].cat.codes.to_numpy()).to_pylist() == [f"ü{n % 7}" for n in (*range(40), *range(30))]
    assert narrow["item_id"].isna().tolist() == [n in (0, 40) for n in range(70)]
    chosen = np.random.default_rng(0).permutation(70)[:50]
    assert stage.write(narrow.iloc[chosen].reset_index(drop=True), tmp_path, 128) == 5
    written = pd.read_parquet(tmp_path / "reviews.parquet")
    assert written["text"].tolist() == [f"text {row % 40}" for row in chosen]
    assert written["review_id"].tolist() == [f"one-{row + 1:06d}" if row < 40 else f"two-{row - 39:06d}" for row in chosen]
    assert not list(tmp_path.glob("parcel-*"))
    items = pd.read_parquet(tmp_path / "items.parquet").set_index("item_id")
    assert items["name"].to_dict() == {"i1": "name 1", "i2": "name 7", "i3": "name 3", "i4": "name 9", "i0": "name 5"}


def test_review_ids_of_chosen_rows_and_of_large_inputs() -> None:
    named = pd.DataFrame({"label": pd.Categorical(["a", "b", "a"]), "number": [1, 1_234_567, 3]})
    assert review_ids(named[named["number"] > 1]).to_dict() == {1: "b-1234567", 2: "a-000003"}
