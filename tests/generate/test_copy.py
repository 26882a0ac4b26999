"""The copy baseline: its definition on planted data, and the published values."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from worlds import tables_of

from grasper.config import load_config
from grasper.generate.copy import Copier, _falling, weighted_median
from grasper.metrics.text import rouge1, rougeL
from grasper.prepare import build_tables
from grasper.records import Example, Review, Tables
from grasper.retrieve.store import ReviewStore


def world(*reviews: tuple, target: tuple = ("the room was clean", "Quiet room", 4.0)) -> tuple[Tables, Example]:
    """A dev target of user u at item i0, and reviews `(user, text, title, rating[, split])` of the same item."""
    text, title, rating = target
    hidden = Review("t", "u", "i0", text, title, rating, split="dev")
    others = [Review(f"r{n}", r[0], "i0", r[1], r[2], r[3], split=r[4] if len(r) > 4 else "dev") for n, r in enumerate(reviews)]
    example = Example("e", hidden, "dev-a")
    return tables_of([hidden, *others], [example]), example


def test_the_text_that_agrees_most_follows_the_given_title() -> None:
    """Two of three neighbours speak of kind staff; the one with most in common with the others is taken, the first among equals."""
    tables, example = world(("a", "kind staff nice bed", None, 5), ("b", "awful noise", None, 1), ("c", "kind staff", None, 5))
    (output,) = Copier(ReviewStore(tables)).write("long", [example])
    assert output.text == "Quiet room. kind staff nice bed"
    assert output.evidence == ("r0",)


def test_neighbours_with_the_given_title_weigh_more() -> None:
    """Two pairs agree equally; the partner's title decides, since a reviewer of the same title counts 1 + 3·(2/2) = 4 times."""
    reviews = [("a", "sea view", "x", 5), ("b", "sea view", "x", 5), ("c", "loud bar", "x", 2), ("d", "loud bar", "Room, quiet!", 2)]
    tables, example = world(*reviews)
    (output,) = Copier(ReviewStore(tables)).write("long", [example])
    assert output.text == "Quiet room. loud bar"
    assert output.evidence == ("r2",)


def test_own_reviews_and_the_training_pool_do_not_count() -> None:
    """Only other users' reviews of the target's own split; without any, the title alone."""
    tables, example = world(("u", "my own text", "Quiet room", 5), ("a", "a training text", "Quiet room", 5, "train"))
    (output,) = Copier(ReviewStore(tables)).write("long", [example])
    assert (output.text, output.evidence) == ("Quiet room", ())


def test_only_the_first_sixty_neighbours_count() -> None:
    """Sixty different texts and then many equal ones: the equal ones are never seen."""
    reviews = [(f"a{n}", f"word{n}", None, 5) for n in range(60)] + [(f"b{n}", "same text", None, 5) for n in range(20)]
    tables, example = world(*reviews)
    assert Copier(ReviewStore(tables)).write("long", [example])[0].text == "Quiet room. word0"


def test_the_title_is_the_consensus_of_similar_texts_where_that_does_better() -> None:
    """Training: texts about cakes are titled 'Sweet cake', texts about boats 'Great trip'; their first words are never the title."""
    training = [(f"a{n}", f"very good cake with cream {n}", "Sweet cake", 5, "train") for n in range(5)]
    training += [(f"b{n}", f"we saw seals from the boat {n}", "Great trip", 5, "train") for n in range(5)]
    tables, example = world(*training, target=("the cake was good", "Sweet cake", 5.0))
    copier = Copier(ReviewStore(tables))
    assert copier.prefers_consensus_title
    assert copier.write("title", [example])[0].text == "Sweet cake"


def test_the_title_is_the_first_ten_words_where_those_do_better() -> None:
    training = [(f"a{n}", f"fact{n} one two three", f"fact{n} one two three", 5, "train") for n in range(5)]
    tables, example = world(*training, target=("a b c d e f g h i j k l", "whatever", 5.0))
    copier = Copier(ReviewStore(tables))
    assert not copier.prefers_consensus_title
    assert copier.write("title", [example])[0].text == "a b c d e f g h i j"


@pytest.mark.parametrize("hidden", [{"user_id": "u"}, {"timestamp": 9}])
def test_the_consensus_title_is_other_peoples_and_of_no_later_day(hidden: dict[str, Any]) -> None:
    """Nine training reviews have the very text; they are the user's own, or were written after the request."""
    seen = [Review(f"a{n}", f"a{n}", "i1", f"very good cake with cream {n}", "Sweet cake", 5.0, 1) for n in range(5)]
    unseen = [replace(Review(f"b{n}", f"b{n}", "i2", "the cake was good", "Known beforehand", 5.0, 1), **hidden) for n in range(9)]
    target = Review("t", "u", "i0", "the cake was good", "whatever", 5.0, 5, "dev")
    example = Example("e", target, "dev-a", cutoff=5)
    copier = Copier(ReviewStore(tables_of([target, *seen, *unseen], [example])))
    copier.prefers_consensus_title = True
    assert copier.write("title", [example])[0].text == "Sweet cake"


def test_the_rule_for_titles_is_chosen_on_reviews_that_nobody_asks_for() -> None:
    """First words do better on five; nine others, with which the consensus would win, are what examples ask for."""
    free = [Review(f"a{n}", f"a{n}", "i0", f"fact{n} one two three", f"fact{n} one two three", 5.0) for n in range(5)]
    asked = [Review(f"b{n}", f"b{n}", "i0", f"very good cake with cream {n}", "Sweet cake", 5.0) for n in range(9)]
    examples = [Example(f"e{review.review_id}", review, "align") for review in asked]
    assert not Copier(ReviewStore(tables_of([*free, *asked], examples))).prefers_consensus_title
    assert Copier(ReviewStore(tables_of([*free, *asked], examples[:1]))).prefers_consensus_title


def test_the_rating_is_the_median_weighted_by_similarity() -> None:
    """Only two neighbours share words with the text; of their ratings the nearer one's wins."""
    reviews = [("a", "clean room", None, 2), ("b", "the room was clean", None, 4), ("c", "boat", None, 5), ("d", "seals", None, 5)]
    tables, example = world(*reviews)
    assert Copier(ReviewStore(tables)).write("rating", [example])[0].rating == 4


def test_how_rare_words_are_is_learned_from_training_reviews() -> None:
    """Whatever the target and other people of its split wrote, words weigh the same; rarer ones more."""

    def weights(text: str) -> np.ndarray:
        tables, _ = world(("a", "the room", None, 2, "train"), ("b", "the boat", None, 4, "train"), ("c", text, None, 5), target=(text, "", 4.0))
        return Copier(ReviewStore(tables))._vectors(["the room"]).toarray().ravel()

    assert np.array_equal(weights("the room"), weights("a boat"))
    boat, room, the = weights("the room")
    assert room > the > boat == 0


@pytest.mark.parametrize(
    ("values", "weights", "expected"),
    [([5, 1, 3], [1, 1, 1], 3), ([1, 5], [1, 3], 5), ([1, 5], [1, 1], 1), ([2, 4, 5], [0, 0, 0], 4), ([5], [0.2], 5)],
)
def test_weighted_median(values: list[float], weights: list[float], expected: float) -> None:
    assert weighted_median(np.array(values, dtype=float), np.array(weights, dtype=float)) == expected


def test_without_neighbours_the_rating_is_the_middle() -> None:
    tables, example = world()
    assert Copier(ReviewStore(tables)).write("rating", [example])[0].rating == 3


@pytest.mark.slow
def test_hotel_values_are_reproduced(shared_dir, request: pytest.FixtureRequest) -> None:  # type: ignore[no-untyped-def]
    """Long text on all 1,274 dev-b targets: ROUGE-1 .301, ROUGE-L .174 (METEOR depends on WordNet and is in experiments/results)."""
    config = load_config(request.config.rootpath / "experiments" / "hotel.yaml", [f"prepare.data={shared_dir / 'data' / 'hotel'}"])
    tables, _ = build_tables(config.prepare, seed=0)
    examples = tables.select("dev-b")
    texts = [output.text for output in Copier(ReviewStore(tables)).write("long", examples)]
    references = [example.target.text for example in examples]
    assert len(examples) == 1274
    assert np.mean(rouge1(texts, references)) == pytest.approx(0.301, abs=0.001)
    assert np.mean(rougeL(texts, references)) == pytest.approx(0.174, abs=0.001)


@pytest.mark.parametrize("size", [0, 1, 5, 999, 1000, 1001, 4000])
def test_places_come_as_a_full_sort_would_give_them(size: int) -> None:
    """Equal values in order, also across the part that is sorted first."""
    values = np.random.default_rng(0).integers(0, 50, size) / 50
    assert list(_falling(values)) == np.argsort(-values, kind="stable").tolist()
