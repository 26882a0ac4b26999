"""The stage as a whole, on tables of our own and on the real benchmark."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from grasper.config import PrepareConfig, load_config
from grasper.errors import DataFormatError
from grasper.prepare import build_tables, prepare
from grasper.records import EXAMPLE_COLUMNS, ITEM_COLUMNS, REVIEW_COLUMNS, Tables
from grasper.retrieve.pool import ReviewPool

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
BENCHMARK = {"amazon": ("amazon", 1288, 26), "hotel": ("hotel", 1274, 31), "stylized": ("gap", 1232, 0), "multilingual": ("b2w", 1195, 20)}
"""Experiment → folder, targets in dev-b, exact duplicates."""


def write_table(path: Path, num_users: int = 30) -> PrepareConfig:
    """A CSV of users with one to four dated reviews."""
    rows = [
        {
            "user_id": f"u{user}",
            "item_id": f"i{(user + visit) % 5}",
            "text": f"visit {visit} of {user}",
            "title": "t",
            "rating": 1 + visit,
            "timestamp": visit,
        }
        for user in range(num_users)
        for visit in range(1 + user % 4)
    ]
    pd.DataFrame(rows).to_csv(path, index=False)
    return PrepareConfig(source="table", name="mine", data=path, split="last-out")


def test_a_table_becomes_a_finished_stage(tmp_path: Path) -> None:
    """Three tables with the shared columns and statistics beside them, equal to those in memory; counts go to the manifest."""
    config = write_table(tmp_path / "mine.csv")
    counts = prepare(config, tmp_path / "out", seed=0)
    loaded, (built, cleaned) = Tables.load(tmp_path / "out"), build_tables(config, seed=0)
    for name, columns in (("reviews", REVIEW_COLUMNS), ("items", ITEM_COLUMNS), ("examples", EXAMPLE_COLUMNS)):
        assert tuple(getattr(loaded, name).columns) == columns
        pd.testing.assert_frame_equal(getattr(loaded, name), getattr(built, name), check_dtype=False)
    assert counts["reviews"] == len(loaded.reviews) == 73
    assert cleaned == {"invalid_ratings": 0, "unusable": 0, "duplicates": 0, "pooled": 0}
    assert json.loads((tmp_path / "out" / "statistics.json").read_text())["pools"]["all"]["users"] == 30
    example = loaded.select("test")[0]
    assert example.cutoff == example.target.timestamp
    assert len(ReviewPool(loaded.reviews_by_id.values()).own(example)) == example.target.timestamp


@pytest.mark.parametrize("limit", [0, 1, 2])
@pytest.mark.parametrize("split", ["last-out", "users"])
def test_no_request_sees_a_longer_history_than_allowed(tmp_path: Path, limit: int, split: str) -> None:
    """Evaluation users and training pairs alike, and what remains is the most recent."""
    config = write_table(tmp_path / "mine.csv").model_copy(update={"history_limit": limit, "split": split})
    tables, _ = build_tables(config, seed=3)
    pool = ReviewPool(tables.reviews_by_id.values())
    lengths = {name: [len(pool.own(example)) for example in tables.select(name)] for name in ("align", "held-out", "dev", "test")}
    assert max(length for values in lengths.values() for length in values) == limit


def test_bad_input_leaves_nothing_behind(tmp_path: Path) -> None:
    config = write_table(tmp_path / "mine.csv")
    with (tmp_path / "mine.csv").open("a") as handle:
        handle.write("u,i,late,t,eleven,5\n")
    with pytest.raises(DataFormatError, match=r"mine\.csv line 75: 'rating' is eleven"):
        prepare(config, tmp_path / "out", seed=0)
    assert not (tmp_path / "out").exists()
    tables, cleaned = build_tables(config.model_copy(update={"invalid_rating": "null"}), seed=0)
    assert cleaned["invalid_ratings"] == tables.reviews["rating"].isna().sum() == 1


def test_a_bare_null_is_a_policy() -> None:
    """YAML reads `invalid_rating: null` as nothing, which must not be mistaken for a missing value."""
    assert load_config(None, ["prepare.invalid_rating=null"]).prepare.invalid_rating == "null"


@pytest.mark.parametrize("name", [path.stem for path in sorted(EXPERIMENTS.glob("*.yaml"))])
def test_every_shipped_configuration_loads(name: str) -> None:
    config = load_config(EXPERIMENTS / f"{name}.yaml")
    assert config.split == "dev-a"
    assert (config.prepare.data is None) == (name in BENCHMARK or name == "harbour")


@pytest.mark.parametrize("experiment", BENCHMARK)
def test_the_benchmark_has_its_known_sizes(shared_dir: Path, experiment: str) -> None:
    """2,500 targets per set, the known halves, nothing invalid; no target and no training pair sees its own text where it must not."""
    folder, in_dev_b, duplicates = BENCHMARK[experiment]
    config = load_config(EXPERIMENTS / f"{experiment}.yaml", [f"prepare.data={shared_dir / 'data' / folder}"]).prepare
    tables, cleaned = build_tables(config, seed=0)
    counts = tables.examples["split"].value_counts()
    assert counts["dev-b"] == in_dev_b
    assert counts["dev-a"] == 2500 - in_dev_b
    assert counts["align"] > 1000
    assert counts["held-out"] > 500
    assert cleaned["duplicates"] >= duplicates
    assert cleaned["invalid_ratings"] == 0
    assert tables.reviews["review_id"].is_unique
    if folder == "gap":  # 6 % of the targets stand verbatim elsewhere
        assert tables.examples.loc[tables.examples["split"].isin(["dev-a", "dev-b"]), "is_repeated"].mean() == pytest.approx(0.06, abs=0.01)
    pool = ReviewPool(tables.reviews_by_id.values())
    for split in ("align", "dev-b"):
        for example in tables.select(split, limit=60):  # type: ignore[arg-type]
            shown = [*pool.own(example), *pool.neighbours(example)]
            assert example.target.review_id not in {review.review_id for review in shown}
            assert split == "dev-b" or example.target.text not in {review.text for review in shown}
            if split == "dev-b" and example.target.text in {review.text for review in shown}:
                assert example.is_repeated
