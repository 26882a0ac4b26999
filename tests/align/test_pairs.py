"""Training pairs: which ones, in which order, with which evidence, and that no answer is among it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import desk_of, shown, tables_of, worlds

from grasper.align.pairs import make_pairs, select_pairs
from grasper.config import PromptConfig, SynthesizeConfig
from grasper.methods import METHODS
from grasper.models.scripted import ScriptedModel
from grasper.reason.pair import TrainingPair
from grasper.records import Candidate, Example, Review, Tables
from grasper.retrieve.pool import is_same_text
from grasper.synthesize.write import SyntheticWriter

PROMPTS = PromptConfig(context_tokens=4096)
TRAINED = sorted(name for name, method in METHODS.items() if method.training != "none")


def pairs_of(tables: Tables, examples: list[Example], method: str = "grasper", **settings: object) -> list[TrainingPair]:
    return make_pairs(desk_of(method, tables, context_tokens=4096), examples, **settings)  # type: ignore[arg-type]


def many(count: int, **changes: object) -> tuple[Tables, list[Example]]:
    """So many reviews by as many users of one item, all of them align examples."""
    reviews = [Review(f"r{i}", f"u{i}", "i0", f"text number {i}", f"title {i}", 4.0) for i in range(count)]
    reviews = [replace(review, **changes) for review in reviews]  # type: ignore[arg-type]
    examples = [Example(f"e{review.review_id}", review, "align") for review in reviews]
    return tables_of(reviews, examples), examples


def test_the_seed_decides_the_order_and_a_limit_takes_its_beginning() -> None:
    tables, _ = many(20)
    whole = select_pairs(tables, "align", None, seed=1)
    assert select_pairs(tables, "align", None, seed=1) == whole
    assert select_pairs(tables, "align", 5, seed=1) == whole[:5]
    assert select_pairs(tables, "align", None, seed=2) != whole
    assert sorted(example.example_id for example in whole) == sorted(example.example_id for example in tables.select("align"))
    assert select_pairs(tables, "held-out", None, seed=1) == []


def test_pairs_without_any_history_are_kept() -> None:
    """Nobody here has another review: every pair is there, with neighbours alone, and with nothing for REST-PG."""
    tables, examples = many(6)
    assert [(len(pair.profile.own), len(pair.profile.neighbours)) for pair in pairs_of(tables, examples)] == [(0, 4)] * 6
    assert [pair.profile.review_ids() for pair in pairs_of(tables, examples, "rest_pg")] == [()] * 6


def test_tasks_take_turns() -> None:
    """Twelve pairs: four of each task, or three with whole reviews; one per example."""
    tables, examples = many(12)
    assert [pair.task for pair in pairs_of(tables, examples)][:4] == ["long", "title", "rating", "long"]
    assert set(Counter(pair.task for pair in pairs_of(tables, examples)).values()) == {4}
    assert Counter(pair.task for pair in pairs_of(tables, examples, with_reviews=True)) == {"long": 3, "title": 3, "rating": 3, "review": 3}
    assert {pair.task for pair in pairs_of(tables, examples, tasks=("title",))} == {"title"}


@pytest.mark.parametrize("name", TRAINED)
def test_all_methods_learn_the_same_texts_titles_and_ratings(name: str) -> None:
    """A method without synthetic reviews leaves out the whole ones, and gets no other task in their turn."""
    tables, examples = many(9)
    asked = [pair.pair_id for pair in pairs_of(tables, examples, name, with_reviews=True)]
    whole = [pair.pair_id for pair in pairs_of(tables, examples, "grasper", with_reviews=True)]
    assert asked == [pair_id for pair_id in whole if METHODS.get(name).predicted != "none" or not pair_id.endswith("/review")]
    assert len(whole) == 9


def test_users_take_turns() -> None:
    """Somebody with five reviews gives one pair, like everybody else, until each has given one."""
    reviews = [Review(f"r{i}", f"u{max(0, i - 4)}", "i0", f"text number {i}", f"title {i}", 4.0) for i in range(8)]
    tables = tables_of(reviews, [Example(f"e{review.review_id}", review, "align") for review in reviews])
    users = [example.user_id for example in select_pairs(tables, "align", None, seed=3)]
    assert sorted(users[:4]) == ["u0", "u1", "u2", "u3"]
    assert users[4:] == ["u0"] * 4


def test_only_tasks_that_can_be_answered_are_asked() -> None:
    tables, examples = many(4, title=None, rating=None)
    assert {pair.task for pair in pairs_of(tables, examples)} == {"long"}
    assert pairs_of(tables, examples, tasks=("title", "rating")) == []


def test_whole_reviews_are_asked_as_synthesis_asks(tables: Tables) -> None:
    """The same prompt that synthesis would send for this item, nothing of the target given."""
    (example, *_) = tables.select("align")
    pair = next(pair for pair in pairs_of(tables, [example] * 4, with_reviews=True) if pair.is_review)
    model = ScriptedModel(context_tokens=4096)
    desk = desk_of("grasper", tables, model, context_tokens=4096)
    items = {example.example_id: [Candidate(example.example_id, example.user_id, example.item_id, 1, 1.0)]}
    SyntheticWriter(desk, SynthesizeConfig()).write([example], items)
    assert pair.render(reasoning=True, config=PROMPTS, model=model) == model.prompts[0]


@settings(max_examples=100)
@given(worlds(), st.sampled_from(TRAINED), st.data())
def test_no_pair_shows_its_target_or_a_repeat_of_it(world: tuple[list[Review], list[Example]], name: str, data: st.DataObject) -> None:
    """All texts are unique here but for one, which stands a second time in other case and spacing. Its words reach no prompt that hides it."""
    reviews, _ = world
    reviews = [replace(review, split="train") for review in reviews]
    source, copier = (data.draw(st.sampled_from(range(len(reviews)))) for _ in range(2))
    reviews[copier] = replace(reviews[copier], text=f"  {reviews[source].text.upper()} ")
    examples = [Example(f"e-{review.review_id}", review, data.draw(st.sampled_from(["align", "held-out"]))) for review in reviews]
    tables, model = tables_of(reviews, examples), ScriptedModel(context_tokens=4096)
    for pair in pairs_of(tables, examples, name, with_reviews=data.draw(st.booleans())):
        target = pair.example.target
        shown_reviews = [*pair.profile.own, *pair.profile.neighbours]
        assert target.review_id not in pair.profile.review_ids()
        assert not any(is_same_text(review.text, target.text) for review in shown_reviews)
        words = shown(pair.render(reasoning=True, config=PROMPTS, model=model)).lower().split()
        if pair.task in ("long", "review"):
            assert target.text.lower().split()[0] not in words
        if pair.task in ("title", "review") and target.title:
            assert target.title.split()[0] not in words
        if pair.task in ("rating", "review") and target.rating:
            assert f"[{target.rating:g}]" not in words
        assert not pair.is_review or (pair.request.title, pair.request.text, pair.request.rating) == (None, None, None)
