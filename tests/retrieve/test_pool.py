"""What a request may see, and above all what it never may."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from grasper.records import Example, Review, Split, Tables
from grasper.retrieve.pool import POOLS, TYPICAL_REVIEWS, ReviewPool, is_visible

SPLITS: tuple[Split, ...] = ("align", "held-out", "dev-a", "dev-b", "test")


@st.composite
def reviews_and_examples(draw: st.DrawFn) -> tuple[list[Review], list[Example]]:
    """A small world with few users, items, texts and dates, so that everything collides."""
    reviews = [
        Review(
            review_id=f"r{number}",
            user_id=draw(st.sampled_from(["u", "v", "w"])),
            item_id=draw(st.sampled_from(["i", "j"])),
            text=draw(st.sampled_from(["good", "bad", "fine"])),
            timestamp=draw(st.sampled_from([None, 1, 2, 3])),
            split=draw(st.sampled_from(["train", "dev", "test"])),
        )
        for number in range(draw(st.integers(1, 12)))
    ]
    examples = []
    for target in reviews:
        split = draw(st.sampled_from([split for split in SPLITS if target.split in POOLS[split]]))
        examples.append(Example(target.review_id, target, split, cutoff=draw(st.sampled_from([None, target.timestamp]))))
    return reviews, examples


def evidence(world: tuple[list[Review], list[Example]]) -> list[tuple[Example, list[Review]]]:
    """Each example with its own reviews and its neighbours; worlds where nobody has the ones or the others are none to test with."""
    reviews, examples = world
    pool = ReviewPool(reviews)
    own, neighbours = ([choose(example) for example in examples] for choose in (pool.own, pool.neighbours))
    assume(any(own) and any(neighbours))
    return [(example, [*mine, *others]) for example, mine, others in zip(examples, own, neighbours, strict=True)]


@given(reviews_and_examples())
def test_a_target_never_reaches_its_own_request(world: tuple[list[Review], list[Example]]) -> None:
    """Neither as an own review, nor as a neighbour, nor as a review of any item."""
    pool = ReviewPool(world[0])
    for example, shown in evidence(world):
        shown += [*pool.of_item("i", example), *pool.of_item("j", example)]
        assert example.target.review_id not in {review.review_id for review in shown}


@given(reviews_and_examples())
def test_pools_of_other_evaluations_stay_closed(world: tuple[list[Review], list[Example]]) -> None:
    """Training pairs see training only; dev never sees test, nor test dev."""
    for example, shown in evidence(world):
        allowed = {"train"} if example.split in ("align", "held-out") else {"train", example.split.split("-")[0]}
        assert {review.split for review in shown} <= allowed


@given(reviews_and_examples())
def test_nothing_later_than_the_cutoff(world: tuple[list[Review], list[Example]]) -> None:
    for example, shown in evidence(world):
        assert example.cutoff is None or all(review.timestamp is None or review.timestamp <= example.cutoff for review in shown)


@given(reviews_and_examples())
def test_training_pairs_never_see_their_own_text(world: tuple[list[Review], list[Example]]) -> None:
    pairs = [(example, shown) for example, shown in evidence(world) if example.split in ("align", "held-out")]
    assume(any(shown for _, shown in pairs))
    for example, shown in pairs:
        assert example.target.text not in {review.text for review in shown}


@given(reviews_and_examples())
def test_own_and_neighbours_are_all_that_is_visible(world: tuple[list[Review], list[Example]]) -> None:
    """Own reviews are the user's, oldest first; neighbours' are others' of the item; nothing visible is left out."""
    reviews, examples = world
    pool = ReviewPool(reviews)
    for example in examples:
        visible = [review for review in reviews if is_visible(review, example)]
        own = [review for review in visible if review.user_id == example.user_id]
        assert pool.own(example) == sorted(own, key=lambda review: review.timestamp or 0)
        assert pool.neighbours(example) == [review for review in visible if review.user_id != example.user_id and review.item_id == example.item_id]


def make_example(split: Split, text: str = "So good") -> Example:
    pool = "train" if split in ("align", "held-out") else split.split("-")[0]
    return Example("t", Review("t", "u", "i", text, split=pool), split)


@pytest.mark.parametrize(("split", "sees"), [("align", False), ("held-out", False), ("dev-a", True), ("dev-b", True), ("test", True)])
def test_repeats_are_hidden_from_training_only(split: Split, sees: bool) -> None:
    """Evaluation keeps verbatim repeats, as the benchmark does; the target's flag tells them apart."""
    repeat = Review("other", "v", "i", "So good", split="train")
    assert is_visible(repeat, make_example(split)) is sees


def test_a_repeat_in_other_letters_is_still_a_repeat() -> None:
    """Case and spacing do not make a text another one."""
    assert not is_visible(Review("other", "v", "i", "so  GOOD", split="train"), make_example("align"))
    assert is_visible(Review("other", "v", "i", "so good!", split="train"), make_example("align"))


@pytest.mark.parametrize("brings", [False, True])
def test_a_request_never_sees_what_its_user_wrote_about_the_item(brings: bool) -> None:
    """It names no record, so every review of theirs about the item is hidden, in the tables or brought along; that of another item stays."""
    mine, elsewhere, theirs = Review("mine", "u", "i", "So good"), Review("elsewhere", "u", "j", "So far"), Review("theirs", "v", "i", "Fine")
    pool = ReviewPool([theirs] if brings else [mine, elsewhere, theirs])
    asked = Example("asked", Review("asked", "u", "i", ""), "dev", is_request=True, history=(mine, elsewhere) if brings else None)
    assert pool.own(asked) == [elsewhere]
    assert pool.of_user("u", asked) == ([] if brings else [elsewhere])
    assert pool.neighbours(asked) == [theirs]


def test_known_answers_on_the_tiny_set(tables: Tables) -> None:
    """Dora sees her one other review, and of the inn the reviews of lee, ann (training) and user3 (dev)."""
    pool = ReviewPool(tables.reviews_by_id.values())
    (dora,) = tables.select("dev-b")
    assert [review.review_id for review in pool.own(dora)] == ["tiny-dev-000002"]
    assert [review.user_id for review in pool.neighbours(dora)] == ["lee", "ann", "user3"]
    user2 = next(example for example in tables.select("dev-a") if example.user_id == "user2")
    assert pool.own(user2) == []
    lee = next(example for example in tables.select("align") if example.item_id == "cafe")
    assert [review.item_id for review in pool.own(lee)] == ["inn"]
    assert pool.neighbours(lee) == []  # ann's review of the café repeats the text


@given(reviews_and_examples())
def test_items_are_counted_as_one_by_one(world: tuple[list[Review], list[Example]]) -> None:
    """In the visible pools and up to the cut-off, undated reviews included; most first, then by id."""
    reviews, examples = world
    pool = ReviewPool(reviews)
    for example in examples:
        last = float("inf") if example.cutoff is None else example.cutoff
        seen = [review for review in reviews if review.split in POOLS[example.split] and (review.timestamp is None or review.timestamp <= last)]
        found, expected = pool.review_counts(example), Counter(review.item_id for review in seen)
        assert dict(zip(found.item_ids, found.counts, strict=True)) == expected
        assert list(found.item_ids) == sorted(expected)
        assert list(found.item_ids[found.most_first]) == sorted(expected, key=lambda item: (-expected[item], item))


@given(reviews_and_examples())
def test_the_usual_length_is_that_of_visible_training_reviews(world: tuple[list[Review], list[Example]]) -> None:
    """So no target, nothing of an evaluation and nothing later tells how long a text is."""
    reviews, examples = world
    for example in examples:
        visible = [review for review in reviews if review.split == "train" and is_visible(review, example)]
        typical = ReviewPool(reviews).typical(example)
        assert {review.review_id for review in typical} <= {review.review_id for review in visible}
        assert len(typical) == min(len(visible), TYPICAL_REVIEWS)


@pytest.mark.parametrize("count", [101, 5001])
def test_the_usual_length_is_the_median(count: int) -> None:
    """Texts of 1, 2, 3 … characters by as many people; among very many an even sample tells it."""
    reviews = [Review(f"r{n}", f"u{n}", "i", "x" * n) for n in range(1, count + 1)]
    lengths = [len(review.text) for review in ReviewPool(reviews).typical(make_example("dev-a"))]
    assert len(lengths) == TYPICAL_REVIEWS
    assert abs(sum(lengths) / len(lengths) - count / 2) < 0.01 * count
