"""The analysis of synthetic reviews on planted cases."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from grasper.errors import MissingFileError
from grasper.evaluate.synthetic import analyse_synthetic, recall_of_hidden_items
from grasper.records import CANDIDATE_COLUMNS, Example, Review
from grasper.retrieve.pool import ReviewPool
from grasper.written import by_example, load_synthetic


def test_counts_by_reason(world: Any) -> None:
    """Written, kept and rejected reasons add up to what the file holds."""
    reviews = by_example(load_synthetic(world.synthetic["grasper"]))
    everything = [review for entries in reviews.values() for review in entries]
    found = analyse_synthetic(reviews, world.examples, ReviewPool(world.tables.reviews_by_id.values()), seed=0)
    assert found["written"] == len(everything) == 3 * len(world.examples)
    assert found["kept"] == sum(review.rejected is None for review in everything)
    assert found["rejected"]["copied"] == sum(review.rejected == "copied" for review in everything)
    assert found["written"] == found["kept"] + sum(found["rejected"].values())
    assert found["reasoned"] == 1.0


def test_planted_likeness_is_found(world: Any) -> None:
    """Texts made of the item's words in the user's voice are nearer to that item, that user and that style than chance."""
    reviews, pool = by_example(load_synthetic(world.synthetic["grasper"])), ReviewPool(world.tables.reviews_by_id.values())
    found = analyse_synthetic(reviews, world.examples, pool, seed=0)
    assert found["item_likeness"]["value"] > found["item_chance"]["value"] + 0.02
    assert found["user_likeness"]["value"] > found["user_chance"]["value"]
    assert found["style_match"]["value"] > 0.6


def test_only_the_scored_examples_count(world: Any) -> None:
    """Synthetic reviews of other examples are left aside; none at all gives zeros and no likeness."""
    pool = ReviewPool(world.tables.reviews_by_id.values())
    assert analyse_synthetic(by_example(load_synthetic(world.synthetic["grasper"])), world.examples[:2], pool, seed=0)["written"] == 6
    empty = analyse_synthetic({}, world.examples, pool, seed=0)
    assert (empty["written"], empty["kept"], empty["rejected"]) == (0, 0, {})
    assert "item_likeness" not in empty


def test_recall_of_hidden_items_by_hand() -> None:
    """The user also reviewed `c` and `d` in another split; `c` is predicted. What is visible or asked for does not count."""
    target = Review("r1", "u", "a", "text", split="dev")
    reviews = [
        target,
        Review("r2", "u", "b", "text", split="dev"),
        Review("r3", "u", "c", "text", split="test"),
        Review("r4", "u", "d", "text", split="test"),
    ]
    rows = [("e", "u", item, rank, 0.5) for rank, item in enumerate("cx", start=1)]
    candidates = pd.DataFrame(rows, columns=list(CANDIDATE_COLUMNS))
    found = recall_of_hidden_items([Example("e", target, "dev-a")], ReviewPool(reviews), candidates)
    assert found == {"per_example": 2.0, "known": 2, "found": 1, "recall": 0.5}


def test_recall_is_unknown_where_nothing_is_hidden(world: Any) -> None:
    """Without hidden reviews there is no number instead of a zero."""
    found = recall_of_hidden_items(world.examples, ReviewPool(world.tables.reviews_by_id.values()), world.candidates)
    assert found["known"] == 0
    assert found["recall"] is None


def test_records_come_back_as_written(world: Any, tmp_path: Path) -> None:
    """Items are records again, and entries stand by rank."""
    entries = by_example(load_synthetic(world.synthetic["grasper"]))["e0"]
    assert [entry.rank for entry in entries] == [1, 2, 3]
    assert entries[0].item.name
    assert dataclasses.is_dataclass(entries[0].item)
    with pytest.raises(MissingFileError):
        load_synthetic(tmp_path / "absent.jsonl")
