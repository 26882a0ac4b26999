"""The stage on tables: what it writes, what it may see, and how it is opened again."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file, save_file

from grasper.config import PredictConfig
from grasper.errors import MissingFileError, RunMismatchError
from grasper.predict import fit, load
from grasper.predict.catalogue import Catalogue
from grasper.predict.predictor import asked
from grasper.records import CANDIDATE_COLUMNS, REVIEW_COLUMNS, Review
from tests.predict.shop import DAY, make_tables, someone

ENCODERS = ["hybrid", "lightgcn", "sage", "popularity", "itemknn", "ease", "similarity"]


def candidates(out_dir: Path) -> pd.DataFrame:
    return pd.read_parquet(out_dir / "candidates.parquet")


@pytest.mark.parametrize("encoder", ENCODERS)
def test_writes_candidates_for_every_example(encoder: str, tmp_path: Path) -> None:
    """Ranks from 1, scores that fall, probability-like, and nothing that the user met, the requested item included."""
    tables = make_tables()
    counts = fit(PredictConfig(encoder=encoder, top_k=5, max_epochs=3), tables, tmp_path, seed=0)
    table = candidates(tmp_path)
    assert list(table.columns) == list(CANDIDATE_COLUMNS)
    assert counts["candidates"] == len(table) == 11 * 5
    assert set(table["example_id"]) == set(tables.examples["example_id"])
    met = set(zip(tables.reviews["user_id"], tables.reviews["item_id"], strict=True))
    assert not met & set(zip(table["user_id"], table["item_id"], strict=True))
    for _, rows in table.groupby("example_id"):
        assert rows["rank"].tolist() == [1, 2, 3, 4, 5]
        assert rows["score"].is_monotonic_decreasing
        assert 0 < rows["score"].sum() <= 1.000001


def test_predicts_the_users_taste(tmp_path: Path) -> None:
    """Tea drinkers get tea, coffee drinkers coffee, from two edges each."""
    fit(PredictConfig(top_k=3), make_tables(), tmp_path, seed=0)
    table = candidates(tmp_path)
    dev = table[table["user_id"].str.startswith("dev")]
    is_even = dev["user_id"].str[3:].astype(int) % 2 == 0
    assert ((dev["item_id"].str[0] == "a") == is_even).mean() > 0.9


@pytest.mark.parametrize("encoder", ["hybrid", "sage", "similarity"])
def test_target_text_never_reaches_its_own_candidates(encoder: str, tmp_path: Path) -> None:
    """Other words in the target leave the requester's own candidates and scores as they were."""
    tables = []
    for name, text in (("one", "the hidden words"), ("two", "lovely coffee number3 lovely coffee")):
        fit(PredictConfig(encoder=encoder, max_epochs=3), make_tables(text), tmp_path / name, seed=0)
        table = candidates(tmp_path / name)
        tables.append(table[table["user_id"] == "dev0"].reset_index(drop=True))
    pd.testing.assert_frame_equal(tables[0], tables[1], rtol=1e-3)


@pytest.mark.parametrize("encoder", ["hybrid", "sage", "similarity"])
def test_own_training_words_do_not_reach_an_alignment_pair(encoder: str, tmp_path: Path) -> None:
    """The text of a training target fits neither the text space nor an encoder, and does not stand behind its own item."""
    found = []
    for name, text in (("one", "lovely tea number1"), ("two", "lovely coffee coffee coffee")):
        tables = make_tables()
        tables.reviews.loc[tables.reviews["review_id"] == "t0-0", "text"] = text
        fit(PredictConfig(encoder=encoder, max_epochs=3), tables, tmp_path / name, seed=0)
        table = candidates(tmp_path / name)
        found.append(table[table["example_id"] == "t0-0"].reset_index(drop=True))
    assert len(found[0])
    pd.testing.assert_frame_equal(found[0], found[1], rtol=1e-3)


@pytest.mark.parametrize("encoder", ["hybrid", "sage", "similarity", "popularity"])
def test_dev_and_training_requests_know_nothing_of_the_test_split(encoder: str, tmp_path: Path) -> None:
    """Reviews of another evaluation pool carry no message, count for no popularity and are no item's words."""
    tables, found = make_tables(), []
    rows = [(f"x{n}", f"hidden{n % 7}", f"{'ab'[n % 2]}{n % 12}", 5.0, "Tea", "lovely coffee", 10 * DAY, "test") for n in range(90)]
    crowded = replace(tables, reviews=pd.concat([tables.reviews, pd.DataFrame(rows, columns=REVIEW_COLUMNS)], ignore_index=True))
    for name, given in (("bare", tables), ("crowded", crowded)):
        fit(PredictConfig(encoder=encoder, max_epochs=2), given, tmp_path / name, seed=0)
        found.append(candidates(tmp_path / name))
    pd.testing.assert_frame_equal(found[0], found[1], rtol=1e-3)


@pytest.mark.parametrize("review_id", ["d1-1", "d0-0", "t0-0"])
def test_the_space_of_words_is_that_of_training_texts_that_nobody_asks_for(review_id: str) -> None:
    """Other words in a dev review, asked for or not, or in a training pair's target change neither terms nor weights, directions nor centre."""
    spaces = []
    for text in ("fine drink", "number3 number7 number7"):
        tables = make_tables()
        tables.reviews.loc[tables.reviews["review_id"] == review_id, "text"] = text
        spaces.append(Catalogue(tables).fit_text(16, 0))
    assert spaces[0].terms == spaces[1].terms
    for name in ("idf", "components", "centre"):
        np.testing.assert_array_equal(getattr(spaces[0], name), getattr(spaces[1], name))


def test_after_the_cutoff_nothing_is_known(tmp_path: Path) -> None:
    """With a cut-off at day 100, no item whose first review is later is predicted, and later own edges do not count as history."""
    tables = make_tables(cutoff=100 * DAY)
    fit(PredictConfig(top_k=24), tables, tmp_path, seed=0)
    first = tables.reviews[tables.reviews["split"] != "test"].groupby("item_id")["timestamp"].min() / DAY
    table = candidates(tmp_path)
    dev = table[table["user_id"].str.startswith("dev")]
    assert (dev["item_id"].map(first) <= 100).all()
    seen_later = dev[(dev["user_id"] == "dev1") & (dev["item_id"] == "b6")]
    assert len(seen_later) == int(first["b6"] <= 100)


def test_before_everything_nothing_is_predicted(tmp_path: Path) -> None:
    """With a cut-off before the first review there is no item to predict: no candidates, instead of some without a score."""
    tables = make_tables(cutoff=-DAY)
    fit(PredictConfig(top_k=5), tables, tmp_path, seed=0)
    table = candidates(tmp_path)
    assert set(table["example_id"]) == {"t0-0"}  # the one example without a cut-off
    assert table["score"].between(0, 1).all()


@pytest.mark.parametrize("encoder", ENCODERS)
def test_loaded_predictor_answers_alike(encoder: str, tmp_path: Path) -> None:
    """After `load`, examples get the same candidates; the folder holds no pickle."""
    tables = make_tables()
    fit(PredictConfig(encoder=encoder, max_epochs=3), tables, tmp_path, seed=0)
    predictor = load(tmp_path, tables)
    pd.testing.assert_frame_equal(predictor.predict(asked(tables.examples), 10), candidates(tmp_path), rtol=1e-4)
    assert {path.suffix for path in tmp_path.iterdir()} <= {".safetensors", ".json", ".parquet"}


def test_two_fits_write_the_same_files(tmp_path: Path) -> None:
    """One seed, one result, to the byte."""
    for name in ("one", "two"):
        fit(PredictConfig(), make_tables(), tmp_path / name, seed=7)
    for name in ("candidates.parquet", "model.safetensors"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_metrics_hold_validation_and_reliability(tmp_path: Path) -> None:
    """What the report shows is there, from withheld training edges; no edge of those who are evaluated is learned from."""
    tables = make_tables()
    fit(PredictConfig(), tables, tmp_path, seed=0)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["training_edges"] == (tables.reviews["split"] == "train").sum()
    assert metrics["validation"]["num_edges"] >= 20
    assert 0 <= metrics["validation"]["ndcg@10"] <= 1
    assert sum(point["count"] for point in metrics["validation"]["reliability"]) > 0
    assert "popularity" in metrics["weights"]


def test_weights_that_were_not_learned_are_named(tmp_path: Path) -> None:
    """Three users with two items are too few to learn from: the record says that the weights are the prior, and the counts do."""
    tables = make_tables()
    few = replace(tables, reviews=tables.reviews[tables.reviews["user_id"].isin(["user0", "user1", "user2", "dev0", "dev1"])])
    few = replace(few, examples=few.examples[few.examples["user_id"].isin(["dev0", "dev1"])])
    counts = fit(PredictConfig(max_epochs=1), few, tmp_path, seed=0)
    assert counts["weights"] == json.loads((tmp_path / "metrics.json").read_text())["weights"] == "prior"
    assert "weights" not in fit(PredictConfig(max_epochs=1), tables, tmp_path / "all", seed=0)


def test_what_a_newcomer_writes_counts(tmp_path: Path) -> None:
    """One item met, two opinions of it: the words alone move the prediction, towards what they are about."""
    tables = make_tables()
    kinds = {"a": ["oolong", "sencha", "assam", "chai"], "b": ["mocha", "latte", "lungo", "crema"]}
    tables.reviews["text"] = [f"fine {kinds[item[0]][row % 4]} here" for row, item in enumerate(tables.reviews["item_id"])]
    fit(PredictConfig(), tables, tmp_path, seed=0)
    predictor = load(tmp_path, tables)

    def share_of_tea(text: str) -> float:
        found = predictor.predict([someone(history=[Review("h1", "me", "a4", text)])], 23)
        return float(found.loc[found["item_id"].str[0] == "a", "score"].sum())

    assert share_of_tea("fine oolong and sencha") > share_of_tea("no mocha or latte") + 0.01
    assert predictor.today.catalogue.encode([Review("h1", "me", "a4", "")]) is None
    assert share_of_tea("") > 0.5


def test_damaged_or_missing_files_are_named(tmp_path: Path) -> None:
    """Opening says which file is wrong and what to do."""
    tables = make_tables()
    with pytest.raises(MissingFileError, match=r"model\.json"):
        load(tmp_path, tables)
    fit(PredictConfig(encoder="popularity"), tables, tmp_path, seed=0)
    (tmp_path / "model.safetensors").write_bytes(b"\x00" * 64)
    with pytest.raises(RunMismatchError, match="damaged"):
        load(tmp_path, tables)


def test_a_predictor_of_another_version_is_named(tmp_path: Path) -> None:
    """A file without a parameter that this version needs is no traceback."""
    tables = make_tables()
    fit(PredictConfig(max_epochs=1), tables, tmp_path, seed=0)
    state = load_file(tmp_path / "model.safetensors")
    save_file({name: value for name, value in state.items() if name != "embeddings.item_bias"}, tmp_path / "model.safetensors")
    settings = json.loads((tmp_path / "model.json").read_text())
    settings["sha256"] = hashlib.sha256((tmp_path / "model.safetensors").read_bytes()).hexdigest()
    (tmp_path / "model.json").write_text(json.dumps(settings))
    with pytest.raises(RunMismatchError, match=r"embeddings\.item_bias.*another version"):
        load(tmp_path, tables)
