"""One call for everybody: known users, newcomers, people with an item in mind, and people of an earlier day."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from grasper.asking import Asker
from grasper.config import PredictConfig
from grasper.errors import UnknownIdError
from grasper.predict import Predictor, fit, load
from grasper.predict.predictor import asked, era_of, era_starts
from grasper.records import CANDIDATE_COLUMNS, REVIEW_COLUMNS, Example, Review, Tables
from tests.predict.shop import DAY, make_tables, someone


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> tuple[Predictor, Tables]:
    """The default predictor of the two-taste shop."""
    tables, folder = make_tables(), tmp_path_factory.mktemp("shop")
    fit(PredictConfig(), tables, folder, seed=0)
    return load(folder, tables), tables


def test_somebody_without_history_gets_the_popular_items(shop: tuple[Predictor, Tables]) -> None:
    """No review, no item in mind: probabilities over the catalogue that sum to 1, the items that most people met before the others."""
    predictor, tables = shop
    table = predictor.predict([someone(history=[])], 24)
    assert len(table) == 24
    assert table["score"].sum() == pytest.approx(1, abs=1e-5)
    users = tables.reviews.groupby("item_id")["user_id"].nunique()
    assert table["item_id"].map(users).corr(table["score"], method="spearman") > 0.9


def test_more_items_than_there_are_cost_nothing(shop: tuple[Predictor, Tables]) -> None:
    """A table of a billion columns would not fit anywhere."""
    predictor, _ = shop
    people = [someone(history=[]), someone("dev1")]
    asked_for_all = predictor.predict(people, 10**9)
    pd.testing.assert_frame_equal(asked_for_all, predictor.predict(people, 24))
    assert asked_for_all["rank"].tolist() == [*range(1, 25), *range(1, len(asked_for_all) - 23)]


def test_an_item_in_mind_decides_where_there_is_no_history(shop: tuple[Predictor, Tables]) -> None:
    """Somebody new who asks about a tea gets tea, and not that tea."""
    table = shop[0].predict([someone("new", "a4", history=[])], 5)
    assert set(table["item_id"].str[0]) == {"a"}
    assert "a4" not in set(table["item_id"])


def test_an_item_in_mind_counts_beside_a_history(shop: tuple[Predictor, Tables]) -> None:
    """For newcomers with a history and known users alike, it is never predicted and moves the prediction towards its kind."""
    predictor, tables = shop
    known = tables.reviews.loc[tables.reviews["user_id"] == "dev1", "item_id"].tolist()
    newcomer = [Review("h1", "me", "b4", "fine coffee")]
    for plain, asking in (
        (someone("dev1"), someone("dev1", "a7")),
        (someone("me", history=newcomer), someone("me", "a7", history=newcomer)),
    ):
        without, with_item = predictor.predict([plain], 24), predictor.predict([asking], 24)
        tea = [float(table.loc[table["item_id"].str[0] == "a", "score"].sum()) for table in (without, with_item)]
        assert tea[1] > tea[0]
        assert "a7" not in set(with_item["item_id"])
    assert not set(known) & set(predictor.predict([someone("dev1", "a7")], 24)["item_id"])


def test_a_newcomer_with_a_training_users_reviews_is_predicted_alike(shop: tuple[Predictor, Tables]) -> None:
    """The same edges and words lead to the same leading items: a user is nothing but visible edges."""
    predictor, tables = shop
    reviews = [review for review in tables.reviews_by_id.values() if review.user_id == "user7"]
    known, brought = predictor.predict([someone("user7"), someone("other", history=reviews)], 3).groupby("user_id", sort=False)["item_id"]
    assert set(known[1]) == set(brought[1])


def test_what_a_known_user_reviewed_is_no_candidate_whatever_they_bring(shop: tuple[Predictor, Tables]) -> None:
    """Their own words stand in those items' vectors; somebody unknown with the same history is shown them."""
    predictor, tables = shop
    own = set(tables.reviews.loc[tables.reviews["user_id"] == "user7", "item_id"])
    brought = [Review("h", "user7", "b0" if "b0" not in own else "b1", "fine coffee")]
    known, unknown = predictor.predict([someone("user7", history=brought), someone("other", history=brought)], 24).groupby("user_id", sort=False)
    assert not own & set(known[1]["item_id"])
    assert own <= set(unknown[1]["item_id"])
    assert known[1]["score"].sum() == pytest.approx(1, abs=1e-5)


def test_nothing_of_the_test_pool_is_a_candidate_for_who_reviewed_it_whatever_they_bring(tmp_path: Path) -> None:
    """People are asked about in the pool that holds their own reviews."""
    tables = make_tables()
    for table in (tables.reviews, tables.examples):
        table.loc[table["user_id"] == "dev3", "split"] = "test"
    fit(PredictConfig(encoder="popularity"), tables, tmp_path, seed=0)
    asker = Asker(tables, "run")
    (person,) = asker.people([{"user_id": "dev3", "item_id": "b1", "text": "fine coffee"}])
    found = load(tmp_path, tables).predict([asker.wondering(person)], 24)
    assert sorted(set(tables.items["item_id"]) - set(found["item_id"])) == ["b1", "b3", "b8"]


def test_people_of_all_kinds_are_answered_in_their_order(shop: tuple[Predictor, Tables]) -> None:
    """One call, answers as if each had been asked alone."""
    predictor, tables = shop
    people = [someone("dev3"), someone("new", "b2", history=[]), *asked(tables.examples)[:3], someone("me", history=[Review("h", "me", "a1", "tea")])]
    people = [replace(person, example_id=str(place)) for place, person in enumerate(people)]
    together = predictor.predict(people, 4)
    assert list(together.columns) == list(CANDIDATE_COLUMNS)
    assert together["example_id"].tolist() == [str(place) for place in range(len(people)) for _ in range(4)]
    alone = pd.concat([predictor.predict([person], 4) for person in people], ignore_index=True)
    pd.testing.assert_frame_equal(together, alone, rtol=1e-4)


def test_asking_as_a_request_gives_the_examples_own_candidates(shop: tuple[Predictor, Tables]) -> None:
    """User and item of an example, asked outside the benchmark, are the same edges."""
    predictor, tables = shop
    examples = [example for example in asked(tables.examples) if example.split == "dev-a"]
    requests = [replace(example, split="dev", is_request=True) for example in examples]
    pd.testing.assert_frame_equal(predictor.predict(examples, 8), predictor.predict(requests, 8), rtol=1e-4)


@pytest.mark.parametrize("history", [None, [], ["b4"], ["b4", "b6", "b6"]])
def test_what_a_user_wrote_about_the_requested_item_is_hidden_from_the_request(tmp_path: Path, history: list[str] | None) -> None:
    """Other words in the known user's own review of the item that is asked about change nothing, whatever history they bring along."""
    brought = None if history is None else [Review(f"h{number}", "dev1", item, "fine coffee") for number, item in enumerate(history)]
    found = []
    for text in ("lovely coffee coffee coffee", "lovely tea number3"):
        tables = make_tables()
        fit(PredictConfig(), tables, tmp_path, seed=0)  # of the same words
        tables.reviews.loc[tables.reviews["review_id"] == "d1-1", "text"] = text
        found.append(load(tmp_path, tables).predict([someone("dev1", "b6", history=brought)], 8))
    pd.testing.assert_frame_equal(found[0], found[1], rtol=1e-4)


@pytest.mark.parametrize(
    ("who", "named"),
    [
        (someone("nobody"), "nobody"),
        (someone("dev1", "z9"), "z9"),
        (someone("me", history=[Review("h1", "me", "z9", "")]), "z9"),
    ],
)
def test_unknown_ids_are_named(shop: tuple[Predictor, Tables], who: Example, named: str) -> None:
    """A user without any review, an item in mind, an item of a history."""
    with pytest.raises(UnknownIdError, match=named):
        shop[0].predict([who], 3)


def test_a_listed_item_without_reviews_may_be_asked_about(shop: tuple[Predictor, Tables], tmp_path: Path) -> None:
    """In mind or in a history, it tells nothing, and is not predicted either."""
    tables = make_tables()
    items = pd.concat([tables.items, tables.items[:1].assign(item_id="z9")], ignore_index=True)
    fit(PredictConfig(), tables, tmp_path, seed=0)
    predictor = load(tmp_path, Tables(tables.reviews, items, tables.examples))
    brought = Review("h1", "me", "b4", "fine coffee")
    for plain, asking in (
        (someone("dev1"), someone("dev1", "z9")),
        (someone(history=[]), someone(history=[], item_id="z9")),
        (someone("me", history=[brought]), someone("me", history=[brought, Review("h2", "me", "z9", "a tea")])),
    ):
        columns = ["item_id", "rank", "score"]
        pd.testing.assert_frame_equal(predictor.predict([plain], 24)[columns], predictor.predict([asking], 24)[columns], rtol=1e-4)


def test_nobody_asked_nothing_predicted(shop: tuple[Predictor, Tables]) -> None:
    """No example gives an empty table with its columns."""
    assert shop[0].predict([], 3).columns.tolist() == list(CANDIDATE_COLUMNS)


def test_threads_get_what_one_gets(shop: tuple[Predictor, Tables], tmp_path: Path) -> None:
    """Eight threads ask a predictor that nobody has asked before."""
    tables = shop[1]
    fit(PredictConfig(max_epochs=2), tables, tmp_path, seed=0)
    people = asked(tables.examples)
    alone = load(tmp_path, tables).predict(people, 5)
    fresh, found = load(tmp_path, tables), list[pd.DataFrame]()
    threads = [threading.Thread(target=lambda: found.append(fresh.predict(people, 5))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    for table in found:
        pd.testing.assert_frame_equal(table, alone)


# -- time ------------------------------------------------------------------------------------------------------------------------------


def dated_tables() -> Tables:
    """The shop with a cut-off of its own for every example: the day of its target."""
    tables = make_tables()
    days = {f"d{user}-0": (300 + 20 * user) * DAY for user in range(10)}
    reviews = tables.reviews.copy()
    for review_id, day in days.items():
        reviews.loc[reviews["review_id"] == review_id, "timestamp"] = day
        reviews.loc[reviews["review_id"] == review_id.replace("-0", "-1"), "timestamp"] = day - 5 * DAY
    examples = tables.examples.assign(cutoff=tables.examples["review_id"].map(reviews.set_index("review_id")["timestamp"]).astype("Int64"))
    return Tables(reviews, tables.items, examples)


def planted(tables: Tables, day: int) -> Tables:
    """Further reviews, all after `day`: of known and new users, about known and new items, with loud words, anywhere in the table."""
    rows = [
        (f"p{number}", f"{'user' if number % 3 else 'fresh'}{number % 40}", f"{'ab'[number % 2]}{number % 12}" if number % 5 else f"c{number}", 1.0,
         "Later", "later words nobody could know " + "coffee " * (number % 7), (day + 1 + number) * DAY, ("train", "dev", "test")[number % 3])
        for number in range(90)
    ]  # fmt: skip
    later = pd.DataFrame(rows, columns=REVIEW_COLUMNS)
    half = len(tables.reviews) // 2
    reviews = pd.concat([later[:30], tables.reviews[:half], later[30:60], tables.reviews[half:], later[60:]], ignore_index=True)
    return Tables(reviews, tables.items, tables.examples)


@pytest.mark.parametrize("encoder", ["hybrid", "lightgcn", "sage", "popularity", "ease", "similarity"])
def test_what_is_dated_later_changes_nothing(encoder: str, tmp_path: Path) -> None:
    """Edges, words and items planted after the cut-offs, and the predictor fitted with them: every candidate and score as before, to the bit."""
    tables = dated_tables()
    fit(PredictConfig(encoder=encoder, max_epochs=2), tables, tmp_path / "before", seed=0)
    before = pd.read_parquet(tmp_path / "before" / "candidates.parquet")
    assert before["example_id"].nunique() >= 10
    fit(PredictConfig(encoder=encoder, max_epochs=2), planted(tables, 480), tmp_path / "after", seed=0)
    pd.testing.assert_frame_equal(before, pd.read_parquet(tmp_path / "after" / "candidates.parquet"), check_exact=True)


def test_edges_between_two_requests_reach_the_later_one_only(tmp_path: Path) -> None:
    """Reviews planted in the middle: requests before them stay as they were, to the bit; some after them change."""
    tables = dated_tables()
    config = PredictConfig(max_epochs=3, eras=10)
    fit(config, tables, tmp_path / "before", seed=0)
    fit(config, planted(tables, 380), tmp_path / "after", seed=0)
    before, after = (pd.read_parquet(tmp_path / name / "candidates.parquet") for name in ("before", "after"))
    cutoff = tables.examples.set_index("example_id")["cutoff"]
    early = {example for example, day in cutoff.items() if day <= 380 * DAY}
    assert 4 <= len(early) < len(cutoff)
    pd.testing.assert_frame_equal(before[before["example_id"].isin(early)], after[after["example_id"].isin(early)], check_exact=True)
    assert not before[~before["example_id"].isin(early)].reset_index(drop=True).equals(after[~after["example_id"].isin(early)].reset_index(drop=True))


def test_an_own_review_between_the_era_and_the_cutoff_counts(tmp_path: Path) -> None:
    """An era knows the graph as it stood when it began; the requester's own later reviews up to the cut-off are history all the same."""
    tables = dated_tables()
    tables = Tables(tables.reviews, tables.items, tables.examples[tables.examples["split"] == "dev-a"])
    fit(PredictConfig(eras=1, max_epochs=2), tables, tmp_path, seed=0)
    predictor = load(tmp_path, tables)
    late = asked(tables.examples[tables.examples["example_id"] == "d9-0"])
    era = predictor._era(era_of(late, list(predictor._earlier))[0])  # type: ignore[arg-type]
    assert era.catalogue.until == 300 * DAY
    history = era.histories(late, ("train", "dev"))
    met = era.catalogue.items.ids[history.item_index].tolist()
    assert met == ["b2", "b9"]  # reviewed on days 475 and 480
    assert history.graph_text is not None
    assert not history.graph_text.any()


def test_loaded_eras_answer_alike(tmp_path: Path) -> None:
    """Each era has its own files, and what is opened from them gives the stage's candidates."""
    tables = dated_tables()
    counts = fit(PredictConfig(max_epochs=2, top_k=6, eras=4), tables, tmp_path, seed=0)
    assert counts["eras"] == 4 == len(list(tmp_path.glob("era-*/model.safetensors")))
    found = load(tmp_path, tables).predict(asked(tables.examples), 6)
    pd.testing.assert_frame_equal(found, pd.read_parquet(tmp_path / "candidates.parquet"), rtol=1e-4)


def test_eras_begin_at_cutoffs_and_end_before_the_next() -> None:
    """Each request falls to the latest era that began no later than its cut-off; without a cut-off all is known."""
    starts = era_starts(pd.Series([40, 10, None, 20, 30], dtype="Int64"), 2)
    assert starts == [10.0, 30.0]
    at: Callable[[int | None], Example] = lambda cutoff: someone("x", cutoff=cutoff)  # noqa: E731
    expected: Sequence[float | None] = [10.0, 10.0, 30.0, 30.0, None, float("inf")]
    assert era_of([at(10), at(29), at(30), at(99), at(9), at(None)], [*starts, float("inf")]) == expected


def test_undated_reviews_are_known_at_any_time(tmp_path: Path) -> None:
    """As for texts (`ReviewPool`): a review without a day is not later than anything."""
    tables = dated_tables()
    undated = tables.reviews.assign(timestamp=tables.reviews["timestamp"].where(~tables.reviews["user_id"].str.startswith("user")))
    fit(PredictConfig(encoder="popularity"), Tables(undated, tables.items, tables.examples), tmp_path, seed=0)
    assert pd.read_parquet(tmp_path / "candidates.parquet")["example_id"].nunique() == len(tables.examples)
