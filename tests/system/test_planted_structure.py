"""The bundled data set has a known truth: whether predicted items suit the users can be asked, not only guessed."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from grasper.config import PredictConfig, PrepareConfig
from grasper.evaluate.compare import Bootstrap
from grasper.evaluate.planted import suitability_of_predicted
from grasper.predict import fit
from grasper.prepare import prepare
from grasper.prepare.bundled import harbour_folder
from grasper.prepare.harbour import load_latent, suitability
from grasper.records import Tables
from grasper.retrieve.pool import ReviewPool

NO_OTHER_REVIEW = 1


def mean_suitability(candidates: pd.DataFrame, truth: pd.DataFrame) -> pd.Series:
    """Per example, the mean percentile of its predicted items among all items of that user, by the latent truth: 0.5 is chance, 1 perfect."""
    percentiles = truth.rank(axis=1, pct=True)
    values = [percentiles.at[user, item] for user, item in zip(candidates["user_id"], candidates["item_id"], strict=True)]
    return pd.Series(values, index=candidates["example_id"]).groupby(level=0).mean()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Tables, dict[str, pd.DataFrame]]:
    """Harbour's development targets with the candidates of the default encoder and of popularity."""
    folder = tmp_path_factory.mktemp("planted")
    prepare(PrepareConfig(), folder, seed=0)
    tables = Tables.load(folder)
    targets = set(tables.examples.loc[tables.examples["split"].isin(["dev-a", "dev-b"]), "example_id"])
    found = {}
    for encoder in ("hybrid", "popularity"):
        fit(PredictConfig(encoder=encoder), tables, folder / encoder, seed=0)  # type: ignore[arg-type]
        candidates = pd.read_parquet(folder / encoder / "candidates.parquet")
        found[encoder] = candidates[candidates["example_id"].isin(targets)]
    return tables, found


def test_predicted_items_suit_latent_interests_clearly_better_than_popular_ones(world: tuple[Tables, dict[str, pd.DataFrame]]) -> None:
    """Paired over all development targets, and over those without any history, whose items follow from the query item alone."""
    tables, candidates = world
    truth = suitability(load_latent(harbour_folder()))
    ours, popular = (mean_suitability(candidates[encoder], truth) for encoder in ("hybrid", "popularity"))
    assert ours.index.equals(popular.index)
    difference = ours - popular
    standard_error = difference.std() / np.sqrt(len(difference))
    assert len(difference) == 115
    assert difference.mean() > 0.05
    assert difference.mean() > 4 * standard_error
    counts = tables.reviews["user_id"].value_counts()
    owner = candidates["hybrid"].drop_duplicates("example_id").set_index("example_id")["user_id"]
    has_no_history = owner.map(counts)[difference.index] == NO_OTHER_REVIEW
    assert has_no_history.sum() > 80
    assert difference[has_no_history].mean() > 0.04


def test_the_evaluation_tells_how_well_predicted_items_suit(world: tuple[Tables, dict[str, pd.DataFrame]]) -> None:
    """The numbers of the report are those of this truth, beside popular items that the request does not see."""
    tables, candidates = world
    examples = tables.select("dev-a", None)
    pool = ReviewPool(tables.reviews_by_id.values())
    bootstrap = Bootstrap([example.item_id for example in examples])
    found = suitability_of_predicted(harbour_folder(), examples, pool, candidates["hybrid"], bootstrap)
    expected = mean_suitability(candidates["hybrid"], suitability(load_latent(harbour_folder())))[[example.example_id for example in examples]]
    assert found["predicted"]["value"] == pytest.approx(expected.mean(), abs=1e-6)
    assert found["predicted"]["n"] == len(examples)
    assert found["difference"]["value"] == pytest.approx(found["predicted"]["value"] - found["popular"]["value"], abs=2e-6)
    assert found["difference"]["low"] > 0
