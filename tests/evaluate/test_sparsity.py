"""Levels of sparsity, counted by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from grasper.evaluate.compare import Bootstrap
from grasper.evaluate.sparsity import LEVELS, describe_sparsity, level_of, score_by_level
from grasper.records import ITEM_COLUMNS, REVIEW_COLUMNS, Tables


def test_levels_by_hand() -> None:
    """0, 1, 2, 3–5 and more than 5."""
    assert [level_of(count) for count in (0, 1, 2, 3, 5, 6, 100)] == ["0", "1", "2", "3–5", "3–5", ">5", ">5"]


def test_the_data_by_hand() -> None:
    """Two users, two items, three of four pairs, one of them twice: density ¾; one user has one review, the other three."""
    pairs = [("u", "a"), ("v", "a"), ("v", "b"), ("v", "b")]
    rows = [(str(n), user, item, 5.0, None, "text", None, "train") for n, (user, item) in enumerate(pairs)]
    tables = Tables(pd.DataFrame(rows, columns=list(REVIEW_COLUMNS)), pd.DataFrame(columns=list(ITEM_COLUMNS)), pd.DataFrame())
    described = describe_sparsity(tables)
    assert (described["users"], described["items"], described["reviews"], described["density"]) == (2, 2, 4, 0.75)
    assert described["user_shares"] == {"1": 0.5, "2": 0.0, "3–5": 0.5, ">5": 0.0}
    assert described["item_shares"] == {"1": 0.0, "2": 1.0, "3–5": 0.0, ">5": 0.0}


def test_scores_by_level_are_means_of_the_level() -> None:
    """Each level's value and count are those of its own examples; empty levels are absent."""
    values = pd.DataFrame({("m", "long", "rouge1"): [0.1, 0.3, 0.5, 0.7]})
    levels = pd.Series([LEVELS[0], LEVELS[0], LEVELS[0], LEVELS[4]])
    found = score_by_level(values, levels, Bootstrap(list("wxyz"), samples=100))["m"]["long"]["rouge1"]
    assert set(found) == {"0", ">5"}
    assert found["0"]["value"] == pytest.approx(np.mean([0.1, 0.3, 0.5]))
    assert (found["0"]["n"], found[">5"]["n"], found[">5"]["value"]) == (3, 1, 0.7)
