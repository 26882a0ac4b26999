"""People with similar taste: who is found, what of theirs is shown, and what never is."""

from __future__ import annotations

import gc
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from grasper.config import PredictConfig
from grasper.errors import ConfigError
from grasper.predict import Predictor, fit, load, stage
from grasper.predict.predictor import Era, asked
from grasper.predict.tastes import nearest_rows
from grasper.records import Example, Item, Request, Review, Tables, review_request
from grasper.retrieve.pool import ReviewPool, is_visible
from grasper.retrieve.rankers import make_ranker
from grasper.retrieve.topic import SimilarTaste
from tests.predict.shop import DAY, make_tables, someone


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> tuple[Predictor, Tables]:
    """The default predictor of the two-taste shop."""
    tables, folder = make_tables(), tmp_path_factory.mktemp("shop")
    fit(PredictConfig(), tables, folder, seed=0)
    return load(folder, tables), tables


@pytest.fixture
def taste(shop: tuple[Predictor, Tables]) -> SimilarTaste:
    predictor, tables = shop
    return SimilarTaste(ReviewPool(tables.reviews_by_id.values()), make_ranker("bm25"), lambda: predictor)


def request_of(example: Example) -> Request:
    return Request(example.example_id, "long", example.user_id, Item(example.item_id))


def test_tea_drinkers_are_near_tea_drinkers(shop: tuple[Predictor, Tables], taste: SimilarTaste) -> None:
    """The planted tastes come back, best first, without the user."""
    for example in asked(shop[1].examples)[:10]:
        found = taste.find(example, 8)
        assert len(found) == 8
        assert example.user_id not in {user.user_id for user in found}
        values = [user.similarity for user in found]
        assert values == sorted(values, reverse=True)
        assert values[-1] >= 0.3
        own = int(example.user_id.removeprefix("dev"))
        same = [(int(user.user_id.removeprefix("user").removeprefix("dev")) - own) % 2 == 0 for user in found]
        assert np.mean(same) > 0.8


def test_shows_one_visible_review_of_each_about_the_item_or_items_like_it(shop: tuple[Predictor, Tables], taste: SimilarTaste) -> None:
    """Never the target record, never the user's own; the kind of the wanted item."""
    tables = shop[1]
    for row in asked(tables.examples):
        example = replace(row, target=tables.reviews_by_id[row.target.review_id])
        reviews = taste.retrieve(request_of(example), example, 4)
        assert 0 < len(reviews) <= 4
        assert len({review.user_id for review in reviews}) == len(reviews)
        assert all(is_visible(review, example) and review.user_id != example.user_id for review in reviews)
        assert np.mean([review.item_id[0] == example.item_id[0] for review in reviews]) > 0.7


def test_whatever_a_target_says_the_same_people_are_near(tmp_path: Path) -> None:
    """Also where words travel along the edges of the graph, as they do with GraphSAGE."""
    found = []
    for text in ("the hidden words", "lovely coffee number3 lovely coffee"):
        tables = make_tables(text)
        fit(PredictConfig(encoder="sage", max_epochs=2), tables, tmp_path, seed=0)
        example = someone("dev0", "a0")
        space = load(tmp_path, tables).tastes(example)
        assert space is not None
        found.append({user.user_id: user.similarity for user in space.nearest(example, 80, floor=-1.0)})
    assert len(found[0]) > 60
    assert found[0] == pytest.approx(found[1], abs=1e-5)


def test_a_newcomer_is_placed_by_the_item_in_mind(taste: SimilarTaste) -> None:
    """Without any history the wanted item says who is near; without an item nobody is, and nothing is shown."""
    example = someone("new", "b4", history=[])
    assert {review.item_id[0] for review in taste.retrieve(request_of(example), example, 4)} == {"b"}
    nobody = someone("new", history=[])
    assert taste.find(nobody, 5) == ()
    assert taste.retrieve(request_of(nobody), nobody, 4) == []
    assert "no other person" in taste.explain(request_of(nobody), nobody, 4)


def test_where_nobody_is_near_the_audience_is_shown(shop: tuple[Predictor, Tables]) -> None:
    """A floor that nobody reaches leaves other people's reviews of the item."""
    predictor, tables = shop
    strict = SimilarTaste(ReviewPool(tables.reviews_by_id.values()), make_ranker("bm25"), lambda: predictor, floor=1.0)
    example = someone("new", "b4", history=[Review("h", "new", "a1", "tea"), Review("i", "new", "b9", "coffee")])
    assert {review.item_id for review in strict.retrieve(request_of(example), example, 3)} == {"b4"}
    assert strict.explain(request_of(example), example, 3) == "no other person's taste is nearer than 1; the item's audience is shown instead"


@pytest.mark.parametrize("floor", [0.3, 1.0])
def test_for_a_predicted_item_the_reviews_are_of_it_or_items_like_it(shop: tuple[Predictor, Tables], floor: float) -> None:
    """Not of the target's item, whether people are near or the audience is shown."""
    predictor, tables = shop
    taste = SimilarTaste(ReviewPool(tables.reviews_by_id.values()), make_ranker("bm25"), lambda: predictor, floor=floor)
    example = someone("new", "b4", history=[])
    assert {review.item_id[0] for review in taste.retrieve(review_request(example, Item("a3")), example, 4)} == {"a"}


def test_an_item_that_training_never_saw_says_nothing_of_taste(tmp_path: Path) -> None:
    """Met by two dev users alone, of whom nothing else is known: the audience of the item is shown, not people who are near to nothing."""
    tables = make_tables()
    new = tables.reviews.iloc[:2].assign(review_id=["n0", "n1"], user_id=["dev-n0", "dev-n1"], item_id="cold", text="rare brew", split="dev")
    items = pd.concat([tables.items, tables.items.iloc[:1].assign(item_id="cold")], ignore_index=True)
    tables = Tables(pd.concat([tables.reviews, new], ignore_index=True), items, tables.examples)
    fit(PredictConfig(), tables, tmp_path, seed=0)
    predictor = load(tmp_path, tables)
    taste = SimilarTaste(ReviewPool(tables.reviews_by_id.values()), make_ranker("bm25"), lambda: predictor)
    example = someone("dev-n0", "cold")
    assert taste.find(example, 5) == ()
    assert [review.review_id for review in taste.retrieve(request_of(example), example, 4)] == ["n1"]
    assert taste.explain(request_of(example), example, 4) == "no other person's taste is nearer than 0.3; the item's audience is shown instead"


def test_what_is_said_is_what_is_shown(shop: tuple[Predictor, Tables]) -> None:
    """People near in taste who wrote no word are not counted as people whose reviews are shown."""
    predictor, tables = shop
    texts = tables.reviews["text"].where(tables.reviews["item_id"] == "b4", "")
    silent = Tables(tables.reviews.assign(text=texts), tables.items, tables.examples)
    taste = SimilarTaste(ReviewPool(silent.reviews_by_id.values()), make_ranker("bm25"), lambda: predictor)
    for example in asked(tables.examples)[:20]:
        shown = taste.retrieve(request_of(example), example, 4)
        said = taste.explain(request_of(example), example, 4)
        assert said.startswith(f"{len(shown)} people") or "the item's audience is shown instead" in said
        if "nobody with similar taste wrote" in said:
            assert taste.find(example, 1)
            assert {review.item_id for review in shown} <= {example.item_id}


def test_whoever_explains_what_was_shown_does_not_look_for_it_again(shop: tuple[Predictor, Tables]) -> None:
    """Comparing everybody is what costs; another question is answered anew."""
    predictor, tables = shop
    opened: list[Predictor] = []

    def open_predictor() -> Predictor:
        opened.append(predictor)
        return predictor

    taste = SimilarTaste(ReviewPool(tables.reviews_by_id.values()), make_ranker("bm25"), open_predictor)
    for number, example in enumerate(asked(tables.examples)[:3], start=1):
        shown = taste.retrieve(request_of(example), example, 4)
        assert taste.explain(request_of(example), example, 4).startswith(f"{len(shown)} people")
        assert len(opened) == number


def test_identical_people_are_equally_near_and_come_in_the_order_of_the_table(tmp_path: Path) -> None:
    """Somebody's twin, who met the same items, is as near as they are."""
    tables = make_tables()
    original = tables.reviews[tables.reviews["user_id"] == "user2"]
    twin = original.assign(user_id="twin", review_id="twin-" + original["review_id"])
    tables = replace(tables, reviews=pd.concat([tables.reviews, twin], ignore_index=True))
    fit(PredictConfig(max_epochs=2), tables, tmp_path, seed=0)
    predictor = load(tmp_path, tables)
    taste = SimilarTaste(ReviewPool(tables.reviews_by_id.values()), make_ranker("bm25"), lambda: predictor, floor=-1.0)
    found = [user for user in taste.find(asked(tables.examples)[0], 80) if user.user_id in ("user2", "twin")]
    assert [user.user_id for user in found] == ["user2", "twin"]
    assert found[0].similarity == pytest.approx(found[1].similarity, abs=1e-6)


def test_who_asks_about_an_early_day_is_near_to_people_of_that_day(tmp_path: Path) -> None:
    """Also after somebody without a cut-off; of day 400 those are known who had met two items by then, and user40 had met one."""
    tables = make_tables(cutoff=400 * DAY)
    fit(PredictConfig(max_epochs=1, eras=1), tables, tmp_path, seed=0)
    predictor, early = load(tmp_path, tables), someone("user0", cutoff=400 * DAY)
    taste = SimilarTaste(ReviewPool(tables.reviews_by_id.values()), make_ranker("bm25"), lambda: predictor, floor=-1.0)
    assert len(taste.find(replace(early, cutoff=None), 80)) > 60
    assert {user.user_id for user in taste.find(early, 80)} == {f"user{number}" for number in range(1, 40)}


def test_of_an_early_day_the_tastes_alone_stay_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What predictions need takes as much memory as today's, for each era."""
    opened: list[weakref.ref[Era]] = []

    def open_era(*arguments: Any) -> Era:
        era = stage_of_opening(*arguments)
        opened.append(weakref.ref(era))
        return era

    stage_of_opening = stage._open_era
    monkeypatch.setattr(stage, "_open_era", open_era)
    tables = make_tables(cutoff=400 * DAY)
    fit(PredictConfig(max_epochs=1, eras=1), tables, tmp_path, seed=0)
    predictor, early = load(tmp_path, tables), someone("user0", cutoff=400 * DAY)
    taste = SimilarTaste(ReviewPool(tables.reviews_by_id.values()), make_ranker("bm25"), lambda: predictor, floor=-1.0)
    found = taste.find(early, 5)
    assert predictor.predict([early], 3)["rank"].tolist() == [1, 2, 3]
    gc.collect()
    assert [era() is not None for era in opened] == [True, False, False]
    assert taste.find(early, 5) == found
    assert len(opened) == 3


def test_an_encoder_without_user_vectors_is_named(tmp_path: Path) -> None:
    """EASE knows items only."""
    tables = make_tables()
    fit(PredictConfig(encoder="ease"), tables, tmp_path, seed=0)
    predictor = load(tmp_path, tables)
    taste = SimilarTaste(ReviewPool(tables.reviews_by_id.values()), make_ranker("bm25"), lambda: predictor)
    with pytest.raises(ConfigError, match=r"'ease'.*hybrid"):
        taste.find(someone("dev1"), 3)
    with pytest.raises(ConfigError, match="floor"):
        SimilarTaste(ReviewPool([]), make_ranker("bm25"), lambda: predictor, floor=2)
    with pytest.raises(ConfigError, match="grasper predict"):
        SimilarTaste(ReviewPool([]), make_ranker("bm25"), None)


@pytest.mark.parametrize("block_rows", [1, 3, 7, 100])
def test_blocks_find_what_a_full_sort_finds(block_rows: int) -> None:
    """Exact, equal ones in order, however the rows are cut."""
    rng = np.random.default_rng(0)
    queries, rows = rng.integers(0, 3, (5, 4)).astype(np.float32), rng.integers(0, 3, (20, 4)).astype(np.float32)
    places, values = nearest_rows(queries, rows, 6, block_rows)
    products = queries @ rows.T
    expected = np.argsort(-products, axis=1, kind="stable")[:, :6]
    assert np.array_equal(places, expected)
    assert np.array_equal(values, np.take_along_axis(products, expected, axis=1))
