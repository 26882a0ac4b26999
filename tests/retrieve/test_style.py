"""Who counts as writing alike, from what evidence, and what the target must never lend."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from worlds import worlds

from grasper.errors import ConfigError
from grasper.records import Example, Item, Request, Review, request_for, review_request
from grasper.retrieve.bm25 import Bm25Ranker
from grasper.retrieve.pool import ReviewPool, is_visible
from grasper.retrieve.similar import unit
from grasper.retrieve.style import MIN_FIT_TEXTS, SimilarWriters, StyleIndex, style_of

LOUD = (
    "WOW!!! The {0} was GREAT!!! We loved the {1}!!!",
    "Best {1} ever!!! And the {0}!!! YES!!!",
    "So so GOOD!!! The {0}, the {1}, all of it!!!",
)
CALM = (
    "the {0} was fine, i think; perhaps the {1} less so...",
    "well, the {1}... it is what it is, and the {0} too",
    "i liked the {0}, the {1} not...",
)
TOPICS = (("room", "pool"), ("guitar", "strings"), ("pasta", "wine"))


def town() -> list[Review]:
    """Loud and calm people, three of each, who wrote about three things each."""
    reviews = []
    for kind, forms in (("loud", LOUD), ("calm", CALM)):
        for person in range(3):
            for number, (form, topic) in enumerate(zip(forms, (*TOPICS[person:], *TOPICS[:person]), strict=True)):
                user = f"{kind}{person}"
                title = "GREAT!!!" if kind == "loud" else "it was ok..."
                reviews.append(Review(f"{user}-{number}", user, topic[0], form.format(*topic), title, split="train"))
    return reviews


def ask(text: str, title: str | None = None, user: str = "new", item: str = "boat", split: str = "dev") -> Example:
    return Example("e", Review("target", user, item, text, title, split=split), "dev-a" if split == "dev" else "align")


def writers(reviews: list[Review], floor: float = -1.0) -> SimilarWriters:
    return SimilarWriters(ReviewPool(reviews), Bm25Ranker(), floor=floor)


def kinds(found) -> set[str]:
    return {user.user_id[:4] for user in found.users}


def test_finds_the_people_who_write_alike_about_something_else() -> None:
    own = Review("own", "new", "ferry", "YES!!! The ferry, the crew!!! LOVELY!!!", split="dev")
    example = ask("hidden")
    found = writers([*town(), own, example.target]).find(request_for(example, "long", Item("boat")), example, 3)
    assert found.basis == "history"
    assert kinds(found) == {"loud"}
    assert 0 < found.certainty < 1


def test_without_history_the_given_text_speaks_then_the_title_then_the_audience() -> None:
    calm = ask("i think the boat was fine, more or less; the crew too...", title="it was ok...")
    found = {}
    for basis, task, example in (
        ("given text", "title", calm),
        ("given title", "long", calm),
        ("audience", "long", ask("hidden", item="room", title=None)),
    ):
        reviews = [*town(), example.target]
        found[basis] = writers(reviews, floor=0.0).find(request_for(example, task, Item(example.item_id)), example, 3)
        assert found[basis].basis == basis
    assert kinds(found["given text"]) == kinds(found["given title"]) == {"calm"}
    assert found["audience"].certainty == 0.0


def test_a_newcomer_is_judged_by_the_reviews_that_they_bring_along() -> None:
    """Nothing of theirs is in the tables; what they bring stands at no index."""
    brought = Review("brought", "newcomer", "ferry", "i think the ferry was fine, more or less; the crew too...", split="dev")
    example = Example("e", Review("asked", "newcomer", "boat", "", None, split="dev"), "dev-a", is_request=True, history=(brought,))
    found = writers(town()).find(Request("e", "long", "newcomer", Item("boat")), example, 3)
    assert (found.basis, kinds(found)) == ("history", {"calm"})


def test_more_own_words_are_more_certain() -> None:
    def certainty(count: int) -> float:
        own = [Review(f"own{n}", "new", f"ferry{n}", f"The ferry was fine, and the crew number {n} too.", split="dev") for n in range(count)]
        example = ask("hidden")
        return writers([*town(), *own, example.target]).find(request_for(example, "long", Item("boat")), example, 1).certainty

    assert certainty(1) < certainty(2) < certainty(8) < 1


def test_below_the_floor_nobody_is_similar_and_the_audience_steps_in() -> None:
    example = ask("hidden", item="room", title="GREAT!!!")
    reviews = [*town(), example.target]
    strict = writers(reviews, floor=1.0)
    request = request_for(example, "long", Item("room"))
    assert strict.find(request, example, 4).users == ()
    assert "nearer than 1" in strict.find(request, example, 4).fallback
    assert {review.item_id for review in strict.retrieve(request, example, 4)} == {"room"}


def test_for_a_predicted_item_the_audience_is_that_items() -> None:
    """A synthetic review is written about another item than the target's, whose reviews would say nothing of it."""
    example = ask("hidden", item="room", title="GREAT!!!")
    strict = writers([*town(), example.target], floor=1.0)
    found = strict.retrieve(review_request(example, Item("guitar")), example, 4)
    assert {review.item_id for review in found} == {"guitar"}


def test_one_review_per_person_and_none_of_the_users_own() -> None:
    example = replace(ask("hidden"), target=Review("target", "loud0", "boat", "hidden", split="train"), split="held-out")
    chosen = writers([*town(), example.target]).retrieve(request_for(example, "long", Item("boat")), example, 4)
    assert len({review.user_id for review in chosen}) == len(chosen) == 4
    assert "loud0" not in {review.user_id for review in chosen}


def test_a_data_set_of_one_person_names_nobody() -> None:
    reviews = [replace(review, user_id="only") for review in town()]
    example = Example("e", reviews[0], "align")
    found = writers(reviews).find(request_for(example, "long", Item("room")), example, 4)
    assert found.users == ()
    assert found.fallback
    assert writers(reviews).retrieve(request_for(example, "long", Item("room")), example, 4) == []


def test_identical_people_are_equally_similar_and_come_in_the_order_of_their_ids() -> None:
    reviews = town()
    twins = [replace(review, review_id=f"twin-{review.review_id}", user_id="loud9") for review in reviews if review.user_id == "loud0"]
    example = ask("The boat!!! WOW!!!")
    found = writers([*reviews, *twins, example.target]).find(request_for(example, "title", Item("boat")), example, 6)
    places = {user.user_id: user for user in found.users}
    assert places["loud0"].similarity == pytest.approx(places["loud9"].similarity, abs=1e-6)
    assert [user.user_id for user in found.users if user.user_id in ("loud0", "loud9")] == ["loud0", "loud9"]


def test_too_few_training_texts_tell_nothing() -> None:
    example = ask("hidden")
    reviews = [*town()[: MIN_FIT_TEXTS - 1], example.target]
    found = writers(reviews).find(request_for(example, "title", Item("boat")), example, 4)
    assert (found.basis, found.users) == ("nothing", ())


@pytest.mark.parametrize(("user", "split"), [("dora", "dev"), ("dora", "test"), ("lee", "train"), ("ann", "train")])
def test_features_are_learned_from_training_users_who_are_asked_for_nothing(user: str, split: str) -> None:
    """Whatever evaluation users and the reserved ones lee and ann wrote, all other texts keep their vectors, and are as certain."""
    reviews = town()
    others = [Review(f"other{n}", user, f"pier{n}", "A HERON (grey); " * n + "quite unlike 12 gulls: tall!", None, split=split) for n in range(9)]
    alone, among = (StyleIndex([(review, review.text) for review in given]) for given in (reviews, [*others, *reviews]))
    for review in reviews:
        np.testing.assert_allclose(among.vector_of(review), alone.vector_of(review), atol=1e-6)
    assert among.certainty(["The ferry was fine."]) == pytest.approx(alone.certainty(["The ferry was fine."]))


@pytest.mark.parametrize("split", ["dev", "train"])
def test_the_hidden_text_changes_nothing(split: str) -> None:
    """Whatever the target says, the same people are found with the same numbers, for evaluation targets and for training pairs alike."""
    found = []
    for hidden in ("i think it was ok...", "WOW!!! GREAT!!! BEST BOAT EVER!!!"):
        example = ask(hidden, title="Boat", user="new" if split == "dev" else "loud0", split=split)
        store = writers([*town(), example.target])
        found.append(store.find(request_for(example, "long", Item("boat")), example, 4))
    assert found[0].users
    assert found[0] == found[1]


def test_leave_one_out_takes_the_target_from_its_writers_style() -> None:
    reviews = town()
    store, target = writers(reviews), reviews[0]
    example = Example("e", target, "align")
    query, basis, evidence = store._query(request_for(example, "long", Item("room")), example)
    others = [review for review in reviews if review.user_id == target.user_id and review != target]
    assert (basis, evidence) == ("history", [review.text for review in others])
    np.testing.assert_allclose(query, style_of(np.array([store._texts.vector_of(review) for review in others]), evidence), atol=1e-6)


def test_what_is_hidden_leaves_other_peoples_style_too() -> None:
    """A training pair sees no record that repeats its text, and no request sees what was written after its cut-off."""
    reviews = town()
    repeat = replace(reviews[0], review_id="repeat", user_id="calm0", timestamp=None)
    late = replace(reviews[0], review_id="late", user_id="calm1", text="LATE!!! SO LATE!!!", timestamp=9)
    store = writers([*reviews, repeat, late])
    space, query = store._texts, store._texts.vector_of(reviews[0])
    example = Example("e", reviews[0], "align", cutoff=5)
    likeness = dict(zip(space.user_ids, space.likeness(query, example), strict=True))
    for user in ("calm0", "calm1", "calm2"):
        seen = [review for review in reviews if review.user_id == user]
        expected = style_of(np.array([space.vector_of(review) for review in seen]), [review.text for review in seen]) @ query
        assert likeness[user] == pytest.approx(expected, abs=1e-5)


@given(worlds())
def test_nothing_invisible_is_ever_retrieved_or_counted(world) -> None:
    reviews, examples = world
    # Training texts of strangers, so that there is something to learn from.
    known = [replace(review, review_id=f"known-{review.review_id}") for review in town()]
    store = writers([*known, *reviews])
    for example in examples[:3]:
        for task in ("long", "title"):
            request = request_for(example, task, Item(example.item_id))
            chosen = store.retrieve(request, example, 3)
            assert all(is_visible(review, example) and review.user_id != example.user_id for review in chosen)
        for user in store.find(request, example, 20).users:
            assert any(is_visible(review, example) for review in store._pool.by_user[user.user_id])


@pytest.mark.parametrize("cutoff", [None, 0, 3, 7, 20])
@pytest.mark.parametrize("split", ["align", "dev-a"])
def test_everybodys_style_is_that_of_what_the_request_sees(cutoff: int | None, split: str) -> None:
    """With every cut-off as if the visible reviews were asked for one by one, of whoever repeats the target's text, too; so is the mean of all."""
    reviews = [replace(review, timestamp=None if number % 5 == 0 else number * 7 % 11) for number, review in enumerate(town())]
    reviews.append(replace(reviews[0], review_id="repeat", user_id="calm1", timestamp=None))
    reviews += [replace(review, review_id=f"{review.review_id}-dev", split="dev", timestamp=4) for review in reviews[:4]]
    store = writers(reviews)
    space, query = store._texts, store._texts.vector_of(reviews[7])
    example = Example("e", reviews[0], split, cutoff=cutoff)  # type: ignore[arg-type]
    styles = []
    for user, likeness in zip(space.user_ids, space.likeness(query, example), strict=True):
        seen = [review for review in reviews if review.user_id == user and is_visible(review, example)]
        if seen:
            styles.append(style_of(np.array([space.vector_of(review) for review in seen]), [review.text for review in seen]))
        assert likeness == pytest.approx(styles[-1] @ query if seen else -np.inf, abs=1e-5)
    np.testing.assert_allclose(space.mean_style(space.user_ids, example), unit(np.sum(styles, axis=0)[None])[0], atol=1e-5)


def test_who_explains_an_answer_does_not_search_again(monkeypatch: pytest.MonkeyPatch) -> None:
    example = ask("hidden", user="loud0")
    request = request_for(example, "long", Item("boat"))
    store = writers(town())
    chosen, remark = store.retrieve(request, example, 3), store.explain(request, example, 3)
    store.retrieve(request, replace(example, cutoff=0), 3)
    assert (store.retrieve(request, example, 3), store.explain(request, example, 3)) == (chosen, remark)
    monkeypatch.setattr(store, "_search", None)
    assert store.explain(request, example, 3) == remark


def test_titles_are_looked_at_only_where_a_title_is_all_that_is_known() -> None:
    store = writers(town(), floor=0.0)
    known, stranger = ask("hidden", user="loud0"), ask("hidden", title="it was ok...")
    for example, has_titles in ((known, False), (stranger, True)):
        store.retrieve(request_for(example, "long", Item("boat")), example, 3)
        assert ("_index_of_titles" in vars(store)) == has_titles


def test_a_floor_that_is_no_cosine_is_refused() -> None:
    with pytest.raises(ConfigError, match="expected a cosine"):
        writers(town(), floor=2.0)
