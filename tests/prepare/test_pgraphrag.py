"""The benchmark's two layouts hold the same data, and their targets are found."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from grasper.config import PrepareConfig
from grasper.errors import DataFormatError, MissingFileError
from grasper.prepare.fields import Problems
from grasper.prepare.pgraphrag import find_splits
from grasper.prepare.pgraphrag import read_split as read_batches
from grasper.prepare.rows import clean_rows

CONFIG = PrepareConfig(source="pgraphrag", name="inns")


def read_split(path: Path, split: Any, config: PrepareConfig) -> pd.DataFrame:
    """The cleaned rows of all batches."""
    problems = Problems()
    rows = pd.concat([clean_rows(batch, config, problems, Counter()) for batch in read_batches(path, split, config)], ignore_index=True)
    problems.raise_any()
    return rows


PROFILES = [
    {"id": "Ann", "profile": [{"title": "A", "text": "target", "rating": 5, "pid": 7}, {"title": "B", "text": "past", "rating": 3.0, "pid": "x"}]},
    {"id": "ann", "profile": [{"review_title": "C", "review_text": "other case", "overall_rating": 1, "product_id": 7}]},
]


def save_json(folder: Path, profiles: Any, split: str = "dev") -> Path:
    path = folder / f"inns_{split}.json"
    path.write_text(json.dumps(profiles, indent=1), encoding="utf-8")
    return path


def save_parquet(folder: Path, users: list[str], split: str = "dev") -> Path:
    rows = [{"user_id": user, "item_id": "i", "rating": 4.0, "title": None, "text": f"t{number}"} for number, user in enumerate(users)]
    path = folder / f"{split}.parquet"
    pd.DataFrame(rows).assign(timestamp=pd.Series([None] * len(rows), dtype="Int64")).to_parquet(path)
    return path


def test_the_first_entry_of_a_profile_is_the_target(tmp_path: Path) -> None:
    rows = read_split(save_json(tmp_path, PROFILES), "dev", CONFIG)
    assert rows["user_id"].tolist() == ["Ann", "Ann", "ann"]
    assert rows["item_id"].tolist() == ["7", "x", "7"]
    assert rows["text"].tolist() == ["target", "past", "other case"]
    assert rows["rating"].tolist() == [5, 3, 1]
    assert rows["is_target"].tolist() == [True, False, True]


def test_the_first_of_contiguous_rows_is_the_target(tmp_path: Path) -> None:
    rows = read_split(save_parquet(tmp_path, ["u", "u", "v", "w", "w"]), "dev", CONFIG)
    assert rows["is_target"].tolist() == [True, False, True, True, False]


def test_training_profiles_have_no_target(tmp_path: Path) -> None:
    assert not read_split(save_json(tmp_path, PROFILES, "train"), "train", CONFIG)["is_target"].any()
    assert not read_split(save_parquet(tmp_path, ["u", "v", "u"], "train"), "train", CONFIG)["is_target"].any()


def test_scattered_users_are_refused(tmp_path: Path) -> None:
    """Sorted by anything else, the file would silently name wrong targets."""
    with pytest.raises(DataFormatError, match="row 3: user 'u' appears again"):
        read_split(save_parquet(tmp_path, ["u", "v", "u"]), "dev", CONFIG)


def test_a_missing_split_is_fine_but_not_both(tmp_path: Path) -> None:
    save_parquet(tmp_path, ["u"], "train")
    with pytest.raises(MissingFileError, match="neither dev nor test"):
        find_splits(tmp_path, "inns")
    save_json(tmp_path, PROFILES, "test")
    assert list(find_splits(tmp_path, "inns")) == ["train", "test"]
    with pytest.raises(MissingFileError, match="is no folder"):
        find_splits(tmp_path / "gone", "inns")
    (table := tmp_path / "reviews.csv").touch()
    with pytest.raises(MissingFileError, match=r"prepare\.source=table"):
        find_splits(table, "inns")


@pytest.mark.parametrize(
    ("profiles", "message"),
    [
        ({}, "holds no list of profiles"),
        ([{"id": "u"}], "entry 1: expected an object with 'id' and a non-empty list 'profile'"),
        ([PROFILES[0], {"id": "u", "profile": []}], "entry 2: expected"),
        ([{"id": "u", "profile": ["x"]}], "entry 1: a profile entry is a str"),
        ([{"id": "u", "profile": [{"title": "t", "text": "x", "pid": 1}]}], "entry 1: a profile entry has no 'rating'; it has: title"),
        ([PROFILES[0], {"id": "u", "profile": [{"title": "t", "text": "x", "rating": 9, "pid": 1}]}], "entry 2: 'rating' is 9"),
    ],
)
def test_faults_name_the_entry(tmp_path: Path, profiles: Any, message: str) -> None:
    with pytest.raises(DataFormatError, match=message):
        read_split(save_json(tmp_path, profiles), "dev", CONFIG)


def test_broken_json_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "inns_dev.json"
    path.write_text('[\n {"id": "u",\n  "profile": [}\n]')
    with pytest.raises(DataFormatError, match=r"inns_dev\.json line 3: broken JSON at column 15"):
        read_split(path, "dev", CONFIG)
