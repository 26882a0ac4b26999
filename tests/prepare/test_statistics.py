"""The numbers that describe a data set, by hand."""

from __future__ import annotations

import json

import pandas as pd
import pytest
from rich.console import Console

from grasper.prepare.statistics import describe, render
from grasper.records import Tables


def with_targets(tables: Tables) -> pd.DataFrame:
    """The reviews as they are before they are written, targets marked."""
    asked = tables.examples.loc[tables.examples["split"].str.startswith(("dev", "test")), "review_id"]
    return tables.reviews.assign(is_target=tables.reviews["review_id"].isin(asked))


def test_the_tiny_set_by_hand(tables: Tables) -> None:
    statistics = describe(with_targets(tables), tables.examples)
    train, dev = statistics["pools"]["train"], statistics["pools"]["dev"]
    assert (train["reviews"], train["users"], train["items"]) == (7, 4, 3)
    assert train["density"] == pytest.approx(7 / 12)
    assert train["histories"] == {"0": 0.5, "1": 0.25, "2": 0.25, "3-5": 0, ">5": 0}
    assert dev["histories"] == pytest.approx({"0": 1 / 3, "1": 2 / 3, "2": 0, "3-5": 0, ">5": 0})
    assert statistics["pools"]["all"]["users"] == 7
    assert statistics["examples"] == {"align": 2, "held-out": 3, "dev-b": 1, "dev-a": 2}
    assert statistics["repeated_targets"] == {"align": 1, "held-out": 1, "dev-b": 0, "dev-a": 0}
    assert statistics["reviews_without_title"] == 1
    json.dumps(statistics)


def test_the_table_shows_every_pool(tables: Tables) -> None:
    console = Console(width=140)
    with console.capture() as capture:
        console.print(render({"name": "tiny", "language": "en", **describe(with_targets(tables), tables.examples), "cleaned": {"duplicates": 3}}))
    shown = capture.get()
    assert all(word in shown for word in ("tiny (en)", "train", "dev", "58.333%", "33.3%", "duplicates 3", "align 2 (1 repeated)"))
