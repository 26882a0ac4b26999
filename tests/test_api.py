from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

import grasper
from grasper.api import as_reviews, load_run, newest_run
from grasper.errors import ConfigError, DataFormatError, MissingFileError, UnknownIdError
from grasper.pipeline import Pipeline
from grasper.records import Review
from grasper.runs import Run


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with data and a fitted predictor, without any language model."""
    folder = tmp_path_factory.mktemp("api") / "runs" / "small"
    config = grasper.load_config(None, ["predict.max_epochs=2", "methods=[grasper]"])
    pipeline = Pipeline(config, Run(folder))
    for stage in ("prepare", "predict"):
        pipeline.carry_out(only=stage, say=lambda line: None)
    return folder


def test_known_users_get_unseen_items_with_falling_scores(run_dir: Path) -> None:
    """Rank 1 … k, scores in 0–1 that never rise, names from the data, nothing that the user has reviewed."""
    loaded = load_run(run_dir)
    users = list(dict.fromkeys(loaded.tables.reviews["user_id"]))[:20]
    table = grasper.predict_items(users, k=7, run=run_dir)
    seen = loaded.tables.reviews.groupby("user_id")["item_id"].agg(set)
    for user, rows in table.groupby("user_id", sort=False):
        assert rows["rank"].tolist() == list(range(1, 8))
        assert rows["score"].is_monotonic_decreasing
        assert rows["score"].between(0, 1).all()
        assert not seen[user] & set(rows["item_id"])
    assert table["name"].notna().all()


def test_the_reviews_of_a_stranger_decide(run_dir: Path) -> None:
    """Records, mappings and a table of the same reviews give the same items; the reviewed item is not among them."""
    item = load_run(run_dir).tables.items["item_id"].iloc[3]
    record = Review("r", "new user", item, "quiet rooms, kind hosts", rating=5.0)
    mapping = {"item_id": item, "text": "quiet rooms, kind hosts", "rating": 5.0}
    tables = [grasper.predict_items(history, run=run_dir) for history in ([record], [mapping], pd.DataFrame([mapping]))]
    assert tables[0]["item_id"].tolist() == tables[1]["item_id"].tolist() == tables[2]["item_id"].tolist()
    assert item not in set(tables[0]["item_id"])


def test_bad_questions_are_named(run_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unknown user or item, no run, a history without items, k = 0."""
    with pytest.raises(UnknownIdError, match="'nobody' is not in"):
        grasper.predict_items("nobody", run=run_dir)
    with pytest.raises(UnknownIdError, match="'nowhere' is not in"):
        grasper.personalize([], "nowhere", method="copy", run=run_dir)
    with pytest.raises(DataFormatError, match="entry 1"):
        as_reviews([{"item_id": "a"}, {"text": "no item"}])
    with pytest.raises(ConfigError, match="k is 0"):
        grasper.predict_items([], k=0, run=run_dir)
    with pytest.raises(MissingFileError, match="not complete"):
        load_run(tmp_path / "absent").config  # noqa: B018
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MissingFileError, match="make pipeline"):
        grasper.predict_items([])


def test_newest_run_wins(run_dir: Path) -> None:
    """Without a name, the run whose predictor was finished last."""
    assert newest_run(run_dir.parent) == run_dir


def test_a_method_without_model_personalizes(run_dir: Path) -> None:
    """`copy` needs neither model nor adapter; the text comes with its evidence."""
    item = load_run(run_dir).tables.reviews["item_id"].value_counts().index[0]
    result = grasper.personalize([], item, title="A quiet stay", method="copy", run=run_dir)
    assert str(result).startswith("A quiet stay")


def test_neighbourhood_is_drawn_escaped(run_dir: Path) -> None:
    """The picture is one SVG document."""
    loaded = load_run(run_dir)
    user = loaded.candidates()["user_id"].iloc[0]
    picture = loaded.draw_neighbourhood(user)
    assert picture.lstrip().startswith(("<?xml", "<svg"))
    assert "<script" not in picture
