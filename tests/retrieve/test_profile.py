"""The evidence of each method, on the tiny data set."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st
from worlds import desk_of, tables_of, worlds

from grasper.errors import LeakError, ShapeError
from grasper.methods import METHODS, Method
from grasper.records import Example, Item, Review, SyntheticReview, Tables, request_for
from grasper.retrieve.own import OwnReviews
from grasper.retrieve.pool import ReviewPool, is_visible
from grasper.retrieve.profile import in_sets
from grasper.retrieve.rankers import make_ranker
from grasper.retrieve.store import RETRIEVERS, ReviewStore


def profile_of(tables: Tables, method: str, **settings: int):  # type: ignore[no-untyped-def]
    (dora,) = tables.select("dev-b")
    builder = desk_of(method, tables, **settings).profiles
    entries = [
        SyntheticReview(dora.example_id, "dora", Item("boat"), f"number {rank}", rank=rank, rejected="copied" if rank == 1 else None)
        for rank in (3, 1, 2, 4, 5)
    ]
    return builder.for_request(request_for(dora, "long", tables.item("inn")), dora, entries)


@pytest.mark.parametrize(
    ("method", "own", "neighbours", "predicted"),
    [
        ("none", 0, 0, 0),
        ("random", 0, 1, 0),
        ("lamp", 1, 0, 0),
        ("pgraphrag", 1, 3, 0),
        ("rest_pg", 1, 0, 0),
        ("grasper", 1, 3, 3),
        ("grasper-no-graph", 1, 0, 0),
        ("grasper-no-reasoning", 1, 3, 3),
        ("grasper-no-synthetic", 1, 3, 0),
        ("grasper-random-items", 1, 3, 3),
        ("grasper-popular-items", 1, 3, 3),
        ("grasper-no-own", 0, 3, 3),
        ("grasper-oracle-items", 0, 3, 3),
    ],
)
def test_each_method_shows_what_it_declares(tables: Tables, method: str, own: int, neighbours: int, predicted: int) -> None:
    """Dora has one other review, the inn three by others, and four synthetic reviews passed the gate."""
    profile = profile_of(tables, method)
    assert (len(profile.own), len(profile.neighbours), len(profile.predicted)) == (own, neighbours, predicted)


def test_synthetic_entries_come_by_rank_without_the_rejected(tables: Tables) -> None:
    assert [review.rank for review in profile_of(tables, "grasper").predicted] == [2, 3, 4]


@pytest.mark.parametrize("ranker", ["bm25", "recency"])
def test_own_reviews_without_a_text_come_after_all_others(ranker: str) -> None:
    """However new they are, or their titles match: a prompt shows them where there is room."""
    reviews = [Review("new", "u", "i1", "", "Warm bed", 5.0, timestamp=9), Review("old", "u", "i2", "A cold sea.", "Late", timestamp=1)]
    target = Review("t", "u", "i0", "secret", "Warm bed")
    retriever = OwnReviews(ReviewPool([*reviews, target]), make_ranker(ranker))
    example = Example("e", target, "align")
    request = request_for(example, "long", Item("i0"))
    assert [[review.review_id for review in retriever.retrieve(request, example, k)] for k in (1, 2)] == [["old"], ["old", "new"]]


def test_limits_of_the_prompt_are_kept(tables: Tables) -> None:
    profile = profile_of(tables, "grasper", own_entries=0, neighbour_entries=2, predicted_entries=1)
    assert (len(profile.own), len(profile.neighbours), len(profile.predicted)) == (0, 2, 1)


@pytest.mark.parametrize(
    ("size", "count", "sizes"),
    [
        (4, 0, [0]),
        (4, 3, [3]),
        (4, 5, [4]),
        (4, 6, [4, 2]),
        (4, 9, [4, 4]),
        (4, 11, [4, 4, 3]),
        (3, 4, [3]),
        (3, 5, [3, 2]),
        (1, 3, [1, 1, 1]),
        (0, 5, [0]),
    ],
)
def test_what_is_left_over_is_a_set_from_its_half_on(size: int, count: int, sizes: list[int]) -> None:
    """Best first, set by set; there is always a first one, however empty."""
    reviews = [Review(f"r{number}", "v", "inn", "fine") for number in range(count)]
    sets = in_sets(reviews, size)
    assert [len(one) for one in sets] == sizes
    assert [review for one in sets for review in one] == reviews[: sum(sizes)]


@pytest.mark.parametrize(
    ("method", "size", "sets", "shown"),
    [
        ("grasper", 1, 1, [["lee"]]),
        ("grasper", 1, 2, [["lee"], ["ann"]]),
        ("grasper", 1, 9, [["lee"], ["ann"], ["user3"]]),
        ("grasper", 2, 2, [["lee", "ann"], ["user3"]]),
        ("grasper", 4, 2, [["lee", "ann", "user3"]]),
        ("lamp", 1, 3, [[]]),
    ],
)
def test_further_neighbours_come_set_by_set(tables: Tables, method: str, size: int, sets: int, shown: list[list[str]]) -> None:
    """As many sets as asked, as far as other people wrote about the inn; the first is what one prompt would show, and all are evidence."""
    (dora,) = tables.select("dev-b")
    request = request_for(dora, "title", tables.item("inn"))
    profile = desk_of(method, tables, neighbour_entries=size).profiles.for_request(request, dora, sets=sets)
    assert [[review.user_id for review in one] for one in (profile.neighbours, *profile.further)] == shown
    assert len(profile.review_ids()) == len(profile.own) + sum(map(len, shown))


def test_neighbours_are_the_nearest_to_the_given_title(tables: Tables) -> None:
    """Of the inn's reviews only lee's speaks of a quiet room; Dora's title is 'Clean and calm', so none is near and file order decides."""
    (dora,) = tables.select("dev-b")
    builder = desk_of("pgraphrag", tables).profiles
    request = request_for(dora, "title", tables.item("inn"))
    assert request.text == "Clean and calm, the staff helped with our bags."
    assert [review.user_id for review in builder.for_request(request, dora).neighbours] == ["lee", "ann", "user3"]


@given(worlds(), st.sampled_from(sorted(METHODS)), st.integers(0, 3))
def test_profiles_hold_only_what_the_request_may_see(world: tuple[list[Review], list[Example]], name: str, seed: int) -> None:
    """For requests and for predicted items: visible records, own ones the user's, others not the user's, none twice."""
    reviews, examples = world
    builder = desk_of(name, tables_of(reviews, examples), seed=seed, neighbour_entries=2).profiles
    for example in examples:
        request = request_for(example, "long", Item(example.item_id))
        profiles = [*(builder.for_request(request, example, sets=sets) for sets in (1, 2)), builder.for_item(Item("i1"), example)]
        for profile in profiles:
            neighbours = [*profile.neighbours, *chain.from_iterable(profile.further)]
            assert all(is_visible(review, example) for review in (*profile.own, *neighbours))
            assert {review.user_id for review in profile.own} <= {example.user_id}
            assert example.user_id not in {review.user_id for review in neighbours}
            assert len(set(profile.review_ids())) == len(profile.review_ids())


@given(worlds())
def test_a_random_review_does_not_depend_on_other_requests(world: tuple[list[Review], list[Example]]) -> None:
    """The same example draws the same review whoever is asked before; where anything is visible, one is drawn."""
    reviews, examples = world
    first, second = (desk_of("random", tables_of(reviews, examples), seed=1).profiles for _ in range(2))
    forward = {e.example_id: first.for_request(request_for(e, "long", Item(e.item_id)), e).neighbours for e in examples}
    backward = {e.example_id: second.for_request(request_for(e, "long", Item(e.item_id)), e).neighbours for e in reversed(examples)}
    assert forward == backward
    for example in examples:
        some = any(is_visible(review, example) and review.user_id != example.user_id for review in reviews)
        assert len(forward[example.example_id]) == some


@given(worlds())
def test_random_people_are_others_for_style_than_for_topic(world: tuple[list[Review], list[Example]]) -> None:
    """A review of each of several people, nobody twice, and not the same draw for both."""
    reviews, examples = world
    store = ReviewStore(tables_of(reviews, examples), seed=1)
    style, topic = (store.retriever(f"random-{kind}-users") for kind in ("style", "topic"))
    for example in examples:
        request = request_for(example, "long", Item(example.item_id))
        people = {review.user_id for review in reviews if is_visible(review, example) and review.user_id != example.user_id}
        for retriever in (style, topic):
            found = retriever.retrieve(request, example, 3)
            assert len({review.user_id for review in found}) == len(found) == min(3, len(people))


def test_the_draws_for_style_and_topic_differ() -> None:
    reviews = [Review(f"r{n}", f"v{n}", "inn", text=f"fine {n}") for n in range(100)]
    target = Review("target", "u", "inn", "quiet", split="dev")
    example = Example("e", target, "dev-b")
    store = ReviewStore(tables_of([*reviews, target], [example]), seed=1)
    style, topic = (
        store.retriever(f"random-{kind}-users").retrieve(request_for(example, "long", Item("inn")), example, 8) for kind in ("style", "topic")
    )
    assert style != topic


OURS = Method("ours", "what a retriever of somebody else's finds", others="ours")


def found_by(retrieve, tables: Tables, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """The profile of dora's request for the inn where a retriever of somebody else's gives what `retrieve` says of a store."""
    monkeypatch.setattr(RETRIEVERS, "_parts", dict(RETRIEVERS._parts))
    (dora,) = tables.select("dev-b")

    class Theirs:
        def __init__(self, store: ReviewStore) -> None:
            self.store = store

        def retrieve(self, request: object, example: Example, k: int) -> object:
            return retrieve(self.store, example)

    RETRIEVERS.register("ours", Theirs)  # type: ignore[arg-type]
    return desk_of(OURS, tables, neighbour_entries=2).profiles.for_request(request_for(dora, "long", tables.item("inn")), dora)


@pytest.mark.parametrize("hidden", ["tiny-dev-000001", "tiny-test-000001"])
def test_a_retriever_that_gives_a_hidden_review_is_stopped(hidden: str, tables: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    """The target itself, or a review of another split: whatever way past the pool it came."""
    other = Review("tiny-test-000001", "zoe", "inn", "Seen by nobody yet.", split="test")
    records = {**tables.reviews_by_id, other.review_id: other}
    with pytest.raises(LeakError, match=f"'ours' gave review {hidden}, which example .* may not see"):
        found_by(lambda store, example: [records[hidden]], tables, monkeypatch)


@pytest.mark.parametrize("change", [{"review_id": "ours"}, {"text": "Written by a plugin."}])
def test_a_retriever_that_makes_up_a_review_is_stopped(change: dict[str, str], tables: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody can look up in the run again, or holds other words there, is no evidence."""
    with pytest.raises(LeakError, match=r"'ours' gave review .*, which is no review of the run, or not as it stands there"):
        found_by(lambda store, example: [replace(store.pool.neighbours(example)[0], **change)], tables, monkeypatch)


def test_what_a_newcomer_brings_along_is_evidence(tables: Tables) -> None:
    """It is no record of the run, but one of the request."""
    brought = Review("history:1", "new user", "tower", "So high.")
    example = Example("e", Review("asked", "new user", "inn", ""), "dev", is_request=True, history=(brought,))
    assert desk_of("lamp", tables).profiles.for_request(request_for(example, "long", tables.item("inn")), example).own == (brought,)


def test_a_retriever_shows_no_more_than_was_asked_for(tables: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is over would count as further sets of neighbours, which one set has none of."""
    profile = found_by(lambda store, example: iter(store.pool.neighbours(example)), tables, monkeypatch)
    assert (len(profile.neighbours), profile.further) == (2, ())


@pytest.mark.parametrize("answer", [None, ["a text"]])
def test_a_retriever_that_gives_no_reviews_is_named(answer: object, tables: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ShapeError, match=r"the retriever 'ours' gave .*, expected a list of reviews"):
        found_by(lambda store, example: answer, tables, monkeypatch)
