"""Which files a configuration reads: own splits, lent training sets, the bundled data."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

import grasper
from grasper.config import PrepareConfig
from grasper.errors import ConfigError, MissingFileError
from grasper.prepare import bundled, read_inputs
from grasper.prepare.inputs import find_inputs, fingerprint_data
from grasper.prepare.staging import Staging, review_ids


def save(path: Path, *users: str, item: str = "i") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = pd.DataFrame({"user_id": list(users), "item_id": item, "rating": 4.0, "title": "t", "text": [f"by {user}" for user in users]})
    rows.assign(timestamp=pd.Series([None] * len(users), dtype="Int64")).to_parquet(path)


def save_items(folder: Path, *rows: tuple[str, str | None, str | None]) -> None:
    pd.DataFrame(rows, columns=["item_id", "name", "category"]).assign(brand=pd.Series(dtype="str")).to_parquet(folder / "items.parquet")


def read(config: PrepareConfig, folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """All reviews (narrow) and all items of a configuration."""
    staging = Staging(folder)
    read_inputs(find_inputs(config), config, staging)
    reviews = staging.narrow()
    staging.write(reviews, folder, 256)
    return reviews, pd.read_parquet(folder / "items.parquet")


@pytest.fixture
def config(tmp_path: Path) -> PrepareConfig:
    """A benchmark folder `inns` with train, dev and extra rows, and a sibling set `cafes`."""
    save(tmp_path / "inns" / "train.parquet", "ann", "bob")
    save(tmp_path / "inns" / "dev.parquet", "dora", "dora", item="j")
    save(tmp_path / "inns" / "extra.parquet", "eve")
    save(tmp_path / "cafes" / "reviews.parquet", "lee", item="k")
    save_items(tmp_path / "inns", ("i", "Gull Inn", None))
    save_items(tmp_path / "cafes", ("k", "Anker", "café"), ("i", "another name", "guesthouse"))
    return PrepareConfig(source="pgraphrag", name="inns", data=tmp_path / "inns", train=(Path("extra.parquet"), Path("../cafes")))


def test_all_sets_join_with_ids_that_tell_their_source(config: PrepareConfig, tmp_path: Path) -> None:
    reviews, items = read(config, tmp_path)
    assert review_ids(reviews).tolist() == [
        "inns-train-000001",
        "inns-train-000002",
        "inns-dev-000001",
        "inns-dev-000002",
        "inns-extra-000001",
        "cafes-reviews-000001",
    ]
    assert reviews["split"].tolist() == ["train", "train", "dev", "dev", "train", "train"]
    assert reviews["is_target"].tolist() == [False, False, True, False, False, False]
    named = items.set_index("item_id")
    assert named.loc["i", ["name", "category"]].tolist() == ["Gull Inn", "guesthouse"]  # the first that says something
    assert named.loc["k", "name"] == "Anker"
    assert "j" in named.index


def test_own_splits_may_be_drawn_anew(config: PrepareConfig, tmp_path: Path) -> None:
    """Then train, dev and test are one table without targets, and lent sets stay training."""
    reviews, _ = read(config.model_copy(update={"split": "users"}), tmp_path)
    assert reviews["split"].isna().tolist() == [True] * 4 + [False] * 2
    assert not reviews["is_target"].any()


def test_lent_sets_are_found_relative_to_the_data(config: PrepareConfig) -> None:
    with pytest.raises(MissingFileError, match=r"gone\.parquet does not exist \(paths are relative to prepare\.data\)"):
        find_inputs(config.model_copy(update={"train": (Path("gone.parquet"),)}))
    with pytest.raises(MissingFileError, match=r"neither train\.parquet nor reviews\.parquet"):
        find_inputs(config.model_copy(update={"train": (Path(".."),)}))
    with pytest.raises(ConfigError, match=r"several inputs are called 'cafes-reviews': .*keep one of them"):
        find_inputs(config.model_copy(update={"train": (Path("../cafes"), Path("../cafes"))}))


def test_data_must_be_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--data"):
        find_inputs(PrepareConfig(source="pgraphrag", name="hotel"))
    with pytest.raises(ConfigError, match=r"prepare\.data is not set"):
        find_inputs(PrepareConfig(source="table", name="mine", split="users"))
    with pytest.raises(MissingFileError, match="expected a CSV, JSONL, parquet or Excel file"):
        find_inputs(PrepareConfig(source="table", data=tmp_path, split="users"))


def test_an_unknown_source_and_a_split_that_a_source_does_not_bring_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"unknown source \(prepare.source\) 'tabel'; known: table"):
        find_inputs(PrepareConfig(source="tabel"))
    with pytest.raises(ConfigError, match="a table brings no splits"):
        find_inputs(PrepareConfig(source="table", data=Path("x.csv")))


def test_the_fingerprint_follows_the_content(config: PrepareConfig, tmp_path: Path) -> None:
    before = fingerprint_data(config)
    assert fingerprint_data(config) == before
    save(tmp_path / "cafes" / "reviews.parquet", "max", item="k")
    assert fingerprint_data(config) != before


def test_harbour_is_generated_where_it_is_not_bundled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed package has no data beside it: the set is made once, in the user's cache."""
    calls = []

    def write(folder: Path) -> None:
        calls.append(folder)
        folder.mkdir(parents=True)
        for name in bundled.HARBOUR_FILES:
            (folder / name).touch()

    monkeypatch.setattr(bundled, "__file__", str(tmp_path / "site" / "grasper" / "prepare" / "bundled.py"))
    monkeypatch.setattr(bundled, "_generate", write)
    monkeypatch.setenv("GRASPER_CACHE", str(tmp_path / "cache"))
    first, second = bundled.harbour_folder(), bundled.harbour_folder()
    assert first == second == tmp_path / "cache" / f"harbour-{grasper.__version__}"
    assert calls == [first]


def test_the_bundled_data_have_one_fingerprint_wherever_they_were_generated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same rows in other bytes and another folder, as an installed package writes them, are the same data."""
    here = bundled.harbour_folder()
    for name in bundled.HARBOUR_FILES:
        pd.read_parquet(here / name).to_parquet(tmp_path / name, compression="gzip")
    before = fingerprint_data(PrepareConfig())
    monkeypatch.setattr(bundled, "harbour_folder", lambda: tmp_path)
    assert fingerprint_data(PrepareConfig()) == before
    pd.read_parquet(here / "dev.parquet").assign(text="other").to_parquet(tmp_path / "dev.parquet")
    assert fingerprint_data(PrepareConfig()) != before
