"""Which items get a synthetic review."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from worlds import candidates_of, worlds

from grasper.errors import ConfigError
from grasper.methods import METHODS, get_method
from grasper.records import Example, Review, Tables
from grasper.retrieve.pool import POOLS, ReviewPool
from grasper.runs import derive_seed
from grasper.synthesize.items import choose_items

WITH_ITEMS = sorted(name for name, method in METHODS.items() if method.predicts_items)


def chosen(name: str, reviews: list[Review], examples: list[Example], seed: int = 0, **settings) -> dict[str, list[str]]:  # type: ignore[no-untyped-def]
    settings = {"num_items": 2, "min_score": 0.0} | settings
    items = choose_items(get_method(name), examples, candidates_of(examples), ReviewPool(reviews), seed=seed, **settings)
    return {example_id: [candidate.item_id for candidate in candidates] for example_id, candidates in items.items()}


@given(worlds(), st.sampled_from(WITH_ITEMS))
def test_no_item_twice_none_requested_and_never_too_many(world: tuple[list[Review], list[Example]], name: str) -> None:
    """Every example has an entry; ranks count from 1; popular and random items are new to the user."""
    reviews, examples = world
    pool = ReviewPool(reviews)
    items = choose_items(get_method(name), examples, candidates_of(examples), pool, num_items=3, min_score=0.0, seed=1)
    assert set(items) == {example.example_id for example in examples}
    for example in examples:
        found = [candidate.item_id for candidate in items[example.example_id]]
        assert len(found) == len(set(found)) <= 3
        assert example.item_id not in found
        assert [candidate.rank for candidate in items[example.example_id]] == list(range(1, len(found) + 1))
        if get_method(name).predicted in ("popular", "random"):
            assert not {review.item_id for review in pool.own(example)} & set(found)


def test_the_link_predictors_best_above_the_score(tables: Tables) -> None:
    """`candidates_of` scores 1, 1/2, 1/3."""
    examples, reviews = tables.select("dev-b"), list(tables.reviews_by_id.values())
    (example,) = examples
    assert chosen("grasper", reviews, examples)[example.example_id] == ["i0", "i1"]
    assert chosen("grasper", reviews, examples, min_score=0.6)[example.example_id] == ["i0"]
    assert chosen("grasper", reviews, examples, num_items=0)[example.example_id] == []


def test_popular_items_are_the_most_reviewed_in_the_visible_pools(tables: Tables) -> None:
    """Dora (dev) reviewed the café and is asked about the inn: the boat remains. lee (train) is asked about the inn and knows the café."""
    reviews = list(tables.reviews_by_id.values())
    assert list(chosen("grasper-popular-items", reviews, tables.select("dev-b")).values()) == [["boat"]]
    user2 = [example for example in tables.select("dev-a") if example.user_id == "user2"]
    assert list(chosen("grasper-popular-items", reviews, user2).values()) == [["boat", "inn"]]  # both have four reviews


@pytest.mark.parametrize(("name", "found"), [("grasper-popular-items", ["old", "undated"]), ("grasper-random-items", ["old", "undated"])])
def test_nobody_knows_what_comes_into_fashion_later(name: str, found: list[str]) -> None:
    """In splits by time neither counts nor items from after the request take part: `late` is the most reviewed, and unknown at time 10."""
    times = [("old", 1), ("old", 9), ("undated", None), *(("late", time) for time in range(11, 19))]
    reviews = [Review(f"r{n}", f"v{n}", item, 4.0, None, "fine", time, "dev") for n, (item, time) in enumerate(times)]
    target = Review("target", "u", "inn", 4.0, None, "quiet", 10, "dev")
    example = Example("e", target, "dev-b", cutoff=10)
    assert sorted(chosen(name, [*reviews, target], [example], num_items=3)["e"]) == found
    without = Example("e", target, "dev-b")
    assert "late" in chosen(name, [*reviews, target], [without], num_items=3)["e"]


def test_the_oracle_gives_the_real_items_first_and_latest_first() -> None:
    """u reviewed i3 nobody knows when, i2 before 1970 and then i1, besides the target at i0; the predictor has nothing to add."""
    reviews = [
        Review("t", "u", "i0", "target", split="dev"),
        Review("a", "u", "i2", "early", timestamp=-86_400, split="dev"),
        Review("b", "u", "i1", "late", timestamp=2, split="dev"),
        Review("c", "u", "i3", "undated", split="dev"),
    ]
    example = Example("e", reviews[0], "dev-a")
    assert chosen("grasper-oracle-items", reviews, [example], num_items=4)["e"] == ["i1", "i2", "i3"]


def test_without_history_the_oracle_is_the_link_predictor() -> None:
    reviews = [Review("t", "u", "i0", "target", split="dev"), Review("a", "v", "i1", "other", split="dev")]
    example = Example("e", reviews[0], "dev-a")
    assert chosen("grasper-oracle-items", reviews, [example]) == chosen("grasper-no-own", reviews, [example])


@given(worlds(), st.integers(0, 5))
def test_random_items_do_not_depend_on_other_examples(world: tuple[list[Review], list[Example]], seed: int) -> None:
    reviews, examples = world
    together = chosen("grasper-random-items", reviews, examples, seed)
    for example in examples:
        assert chosen("grasper-random-items", reviews, [example], seed)[example.example_id] == together[example.example_id]


@given(worlds(), st.integers(0, 5))
def test_random_items_are_a_sample_of_the_sorted_ones(world: tuple[list[Review], list[Example]], seed: int) -> None:
    reviews, examples = world
    for example in examples:
        items = sorted({review.item_id for review in reviews if review.split in POOLS[example.split]})
        known = {example.item_id, *(review.item_id for review in ReviewPool(reviews).own(example))}
        draw = random.Random(derive_seed(seed, "random items", example.example_id))
        drawn = draw.sample(items, min(len(items), 2 + len(known)))
        assert chosen("grasper-random-items", reviews, [example], seed)[example.example_id] == [item for item in drawn if item not in known][:2]


def test_a_method_of_the_graph_needs_its_candidates(tables: Tables) -> None:
    with pytest.raises(ConfigError, match="candidates of the predict stage"):
        choose_items(get_method("grasper"), tables.select("dev"), None, ReviewPool([]), num_items=1, min_score=0, seed=0)
