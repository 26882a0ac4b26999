from __future__ import annotations

import shutil
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest

from grasper.config import PromptConfig
from grasper.errors import ConfigError
from grasper.models.base import Message, Prompt
from grasper.models.local import LocalModel
from grasper.prompts.render import _note
from grasper.records import Example, Item, Review
from grasper.tune.ahead import Drawers, Recipe
from grasper.tune.examples import ExampleMaker, Mixture, ReviewSet, Solved
from grasper.tune.sequences import EMPHASIS, Position, Stream, TrainingRow, collate, cut, encode

PROMPT = Prompt((Message("system", "Write."), Message("user", "Task: write.")))


def recipe(review_set: ReviewSet, model: LocalModel, seed: int, max_length: int, name: str = "") -> Recipe:
    return Recipe.of(model, name, [review_set], seed, Mixture(), max_length)


def test_the_answer_and_its_end_count_and_the_prompt_does_not(tiny: LocalModel) -> None:
    """Also where pad and end are the same token: weights go by position."""
    tiny.tokenizer.pad_token = tiny.tokenizer.eos_token
    row = encode(Solved(PROMPT, "Text: clean rooms", "long"), tiny, 500)
    prompt, answer = tiny.encode(PROMPT), tiny.encode_text("Text: clean rooms")
    assert row.ids == [*prompt, *answer, tiny.tokenizer.eos_token_id]
    assert row.weights == [0.0] * len(prompt) + [1.0] * (len(answer) + 1)
    batch = collate([row, TrainingRow(row.ids[:-1], row.weights[:-1], "long")], int(tiny.tokenizer.pad_token_id))
    assert batch.weights[0, -1] == 1
    assert batch.ids[1, -1] == tiny.tokenizer.eos_token_id
    assert batch.weights[1, -1] == 0
    assert batch.num_tokens == 2 * len(row.ids) - 1


def test_titles_and_ratings_weigh_more_and_their_labels_do_not(tiny: LocalModel) -> None:
    answer = "Rating: 5\nTitle: Great stay\nText: Title: no"
    row = encode(Solved(PROMPT, answer, "review"), tiny, 500)
    weighed = dict.fromkeys((1.0, *EMPHASIS.values()), "")
    for token, weight in zip(row.ids, row.weights, strict=True):
        if weight:
            weighed[weight] += tiny.tokenizer.decode([token])
    assert weighed[EMPHASIS["Rating"]] == " 5"
    assert weighed[EMPHASIS["Title"]] == " Great stay"
    assert weighed[1.0].startswith("Rating:\nTitle:\nText: Title: no")


def test_what_is_too_long_loses_its_end(tiny: LocalModel) -> None:
    """No end token is learned in the middle of a text."""
    row = encode(Solved(PROMPT, "Text: " + "clean " * 50, "long"), tiny, 60)
    assert len(row.ids) == len(row.weights) == 60
    assert row.ids[-1] != tiny.tokenizer.eos_token_id


def test_batches_hold_similar_lengths_and_no_more_than_they_may() -> None:
    rows = [TrainingRow([1] * length, [1.0] * length, "long") for length in (3, 9, 2, 8, 40, 1)]
    groups = [[len(row.ids) for row in group] for group in cut(rows, 18)]
    assert groups == [[40], [9, 8], [3, 2, 1]]


def test_a_stream_goes_on_anywhere_as_if_it_had_never_stopped(tiny: LocalModel, review_set: ReviewSet) -> None:
    def stream() -> Stream:
        return Stream(recipe(review_set, tiny, 3, 1200).drawer(tiny), seed=3, batch_tokens=1500, pad_id=1)

    whole = list(islice(stream().batches(Position()), 30))
    assert whole[-1][1].round > 0  # more than one round
    for place in (0, 7, 20):
        rest = list(islice(stream().batches(whole[place][1]), 30 - place - 1))
        for (batch, position), (other, other_position) in zip(whole[place + 1 :], rest, strict=True):
            assert batch.ids.equal(other.ids)
            assert batch.weights.equal(other.weights)
            assert position == other_position


def test_rounds_ask_for_other_examples(tiny: LocalModel, review_set: ReviewSet) -> None:
    maker = ExampleMaker([review_set], tiny, 3)
    first, second = ([review.review_id for _, review in maker.targets(number)] for number in (0, 1))
    assert sorted(first) == sorted(second)
    assert first != second


def test_prompts_are_within_what_the_configuration_shows(tiny: LocalModel, review_set: ReviewSet) -> None:
    """One own review and no neighbour, in entries of 40 tokens at most, never the item's name; by default, as without a section."""
    narrow = PromptConfig(own_entries=1, neighbour_entries=0, predicted_entries=0, own_tokens=40, item_name=False)
    makers = [ExampleMaker([review_set], tiny, 3, prompts=prompts) for prompts in (narrow, PromptConfig(), None)]
    lengths = []
    for number, (group, review) in enumerate(makers[0].targets()):
        few, usual, bare = (maker.draw_one(group, review, f"3:{number}") for maker in makers)
        assert usual == bare
        if few is not None and usual is not None and few.task in ("long", "title", "rating"):
            assert few.answer == usual.answer
            questions = [solved.prompt.messages[-1].content for solved in (few, usual)]
            assert "Inn " not in questions[0]
            lengths.append([tiny.count_tokens(question) for question in questions])
    assert all(short <= long for short, long in lengths)
    assert sum(short for short, _ in lengths) < 0.7 * sum(long for _, long in lengths)


def test_data_without_any_example_are_refused(tiny: LocalModel) -> None:
    """A text with neither title nor rating answers no task."""
    bare = ReviewSet("bare", 1.0, [Review("r", "u", "i", "only a text")], {})
    with pytest.raises(ConfigError, match="no review gives an example"):
        next(Stream(recipe(bare, tiny, 0, 100).drawer(tiny), seed=0, batch_tokens=100, pad_id=1).batches(Position()))


def test_processes_draw_ahead_what_one_draws_alone(tiny: LocalModel, model_dir: Path, review_set: ReviewSet) -> None:
    """Over the end of a round, from the middle of one, and after a jump back."""
    made = recipe(replace(review_set, share=10.0), tiny, 3, 1200, str(model_dir))
    alone = made.drawer(tiny)
    assert alone.num_windows(0) > 1
    with Drawers(made, processes=2) as drawers:
        for place in [(0, 1), (1, 0), (1, 1), (0, 0)]:
            assert drawers.num_windows(place[0]) == alone.num_windows(place[0])
            assert drawers.draw(*place) == alone.draw(*place)


def test_a_drawer_needs_no_network(tiny: LocalModel, model_dir: Path, review_set: ReviewSet, tmp_path: Path) -> None:
    """It spells as the model does from the tokenizer's files alone, with the model's settings of the chat template."""
    folder = tmp_path / "tokenizer"
    shutil.copytree(model_dir, folder)
    (folder / "model.safetensors").write_bytes(b"")
    tiny.template = {"role_of_nobody": "x"}
    made = recipe(review_set, tiny, 3, 1200, str(folder))
    assert made.drawer().draw(0, 0) == made.drawer(tiny).draw(0, 0)
    assert made.drawer()._model.template == {"role_of_nobody": "x"}


@pytest.mark.parametrize("kind", ["long", "review", "pat"])
@pytest.mark.parametrize("ranked", [0.0, 1.0])
def test_no_prompt_holds_the_text_that_is_asked_for(tiny: LocalModel, review_set: ReviewSet, ranked: float, kind: str) -> None:
    """Though somebody else repeats it about another item. It is told only by the tasks that give it: title, rating, and a draft to be revised."""
    reviews = review_set.reviews[:8]
    reviews += [replace(one, review_id=f"again-{one.review_id}", user_id=f"again-{one.user_id}", item_id="i9") for one in reviews]
    mixture = Mixture(tasks={kind: 1.0}, predicted=0.6, ranked=ranked)
    maker = ExampleMaker([replace(review_set, share=6.0, reviews=reviews)], tiny, 5, mixture)
    seen = 0
    for number, (group, review) in enumerate(maker.targets()):
        solved = maker.draw_one(group, review, f"5:{number}")
        assert solved is not None
        shown = "\n".join(message.content for message in solved.prompt.messages)
        if solved.task != "pat-revise" and "Given text:" not in shown:
            seen += 1
            assert kind == "pat" or review.text in solved.answer
            assert review.text not in shown
    assert seen == 96 or (kind == "pat" and seen > 30)


def test_pats_later_steps_do_not_show_the_notes_that_are_to_be_written(tiny: LocalModel, review_set: ReviewSet) -> None:
    """The notes of the step before are about other reviews, so that nothing is learned by repeating them."""
    maker = ExampleMaker([review_set], tiny, 5, Mixture(tasks={"pat": 1.0}))
    later = 0
    for number, (group, review) in enumerate(maker.targets() * 4):
        solved = maker.draw_one(group, review, f"5:{number}")
        if solved is not None and solved.task in ("pat-style", "pat-topic"):
            *_, asked = (message.content for message in solved.prompt.messages)
            later += "Draft:" in asked
            assert _note(solved.answer) not in asked
    assert later > 5


def test_evidence_for_pats_titles_is_not_ranked_by_the_title() -> None:
    """The task is drawn after the evidence, so nothing of the target may rank it."""
    target = Review("t", "u", "inn", "A calm stay.", "Extended stay", 4.0)
    inn = ReviewSet("inns", 1.0, [target], {"inn": Item("inn", "Gull Inn")})
    queries = {kind: ExampleMaker._query(inn, Example("e", target, "align"), kind) for kind in ("pat", "title", "long")}
    assert queries == {"pat": "Gull Inn", "title": "A calm stay.", "long": "Extended stay"}
