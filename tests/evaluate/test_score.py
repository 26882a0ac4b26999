"""Outputs become the right numbers, and none gets lost on the way."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from grasper.errors import MissingFileError, RunMismatchError
from grasper.evaluate.score import _targets, answer_rating, answer_text, load_answers, score, size_of
from grasper.files import BatchLog
from grasper.metrics.text import rouge1
from grasper.records import TASKS, Example, Output, Review, Task
from grasper.retrieve.pool import ReviewPool


def answers_of(world: Any) -> dict[str, dict[tuple[str, Task], Output]]:
    return {method: load_answers(path) for method, path in world.outputs.items()}


def test_reads_batch_logs(world: Any) -> None:
    """The lines between batch marks come back as the records that were written."""
    for method, records in world.records.items():
        answers = load_answers(world.outputs[method])
        assert [answers[record.example_id, record.task] for record in records] == records


def test_only_whole_batches_are_read(world: Any, tmp_path: Path) -> None:
    """What a kill left of a batch that it interrupted is no answer yet; a batch that is not as it was written is refused."""
    path = tmp_path / "outputs.jsonl"
    whole = world.outputs["copy"].read_bytes()
    first = whole.splitlines(keepends=True)[0]
    path.write_bytes(whole + first.replace(b'"e0"', b'"e9999"') + b'{"example_id": "e')
    assert load_answers(path) == load_answers(world.outputs["copy"])
    path.write_bytes(whole.replace(b'"text": "', b'"text": "not ', 1))
    with pytest.raises(RunMismatchError, match="is damaged before line"):
        load_answers(path)


def test_scores_stand_beside_their_own_example(world: Any) -> None:
    """Row by row the numbers equal those of the single pair, whatever the order of the file."""
    shuffled = dict(reversed(load_answers(world.outputs["grasper"]).items()))
    values = score(world.examples, world.tables, {"grasper": shuffled}, TASKS, seed=0).values
    for example in world.examples:
        written = answer_text(shuffled[example.example_id, "long"])
        assert values.loc[example.example_id, ("grasper", "long", "rouge1")] == rouge1([written], [example.target.text])[0]
        rated = answer_rating(shuffled[example.example_id, "rating"])
        assert values.loc[example.example_id, ("grasper", "rating", "absolute_error")] == abs(rated - (example.target.rating or 0))


def test_per_example_table_has_one_row_per_method_example_and_task(world: Any) -> None:
    """All combinations are there once, with every metric in a column of its own."""
    scores = score(world.examples, world.tables, answers_of(world), TASKS, seed=0)
    table = scores.per_example()
    assert len(table) == len(world.outputs) * len(world.examples) * len(TASKS)
    assert not table.duplicated(["method", "example_id", "task"]).any()
    assert {"rouge1", "rougeL_unicode", "absolute_error", "personalization", "copied", "level", "is_repeated"} <= set(table.columns)
    row = table[(table["method"] == "copy") & (table["task"] == "title")].iloc[0]
    assert row["rougeL"] == scores.values.loc[row["example_id"], ("copy", "title", "rougeL")]


def test_what_was_not_asked_has_no_row(world: Any) -> None:
    """A target without a title has no title to be compared with: no row of blanks stands for it."""
    examples = [dataclasses.replace(one, target=dataclasses.replace(one.target, title=None)) for one in world.examples[:2]]
    table = score([*examples, *world.examples[2:]], world.tables, answers_of(world), TASKS, seed=0).per_example()
    assert len(table) == len(world.outputs) * (len(world.examples) * len(TASKS) - 2)
    assert not set(table.loc[table["task"] == "title", "example_id"]) & {one.example_id for one in examples}


@pytest.mark.parametrize(("missing", "task"), [(["e3"], "long"), (["e3", "e7"], "rating")])
def test_a_missing_answer_is_an_error_that_names_it(world: Any, missing: Sequence[str], task: Task) -> None:
    """Nothing is scored as if it had never been asked."""
    answers = answers_of(world)
    for example_id in missing:
        del answers["copy"][example_id, task]
    with pytest.raises(RunMismatchError, match=rf"'copy' lacks {len(missing)} of 30 {task} answers \(examples '{missing[0]}'"):
        score(world.examples, world.tables, answers, TASKS, seed=0)


def test_answers_to_other_examples_are_left_aside(world: Any) -> None:
    """Scoring a subset needs no other file, and gives the same numbers of overlap."""
    answers = {"copy": load_answers(world.outputs["copy"])}
    some = score(world.examples[:10], world.tables, answers, ("long",), seed=0).values
    everything = score(world.examples, world.tables, answers, ("long",), seed=0).values
    assert (some[("copy", "long", "rouge1")] == everything[("copy", "long", "rouge1")].iloc[:10]).all()


def test_an_unparsed_answer_is_counted_and_scored_on_its_raw_text(world: Any) -> None:
    """Best effort: the whole completion as a text, its first line as a title, the middle of the scale as a rating."""
    broken = Output("e0", "long", "m", text=None, raw="some words\nmore words", is_parsed=False)
    assert answer_text(broken) == "some words\nmore words"
    assert answer_text(dataclasses.replace(broken, task="title")) == "some words"
    assert answer_rating(dataclasses.replace(broken, task="rating")) == 3.0
    assert answer_text(Output("e0", "long", "m", text=None, raw="Title: x", is_parsed=True)) == "", "parsed, and really empty"
    scores = score(world.examples, world.tables, answers_of(world), TASKS, seed=0)
    expected = np.mean([record.is_parsed for record in world.records["copy"] if record.task == "long"])
    assert scores.values["copy", "long", "parsed"].mean() == pytest.approx(expected)


def test_copying_the_evidence_shows(world: Any) -> None:
    """A text taken word for word from a review of its prompt is copied in full; the user's own words win every line-up."""
    outputs = [Output(e.example_id, "long", "thief", text=e.target.text, evidence=(e.target.review_id,)) for e in world.examples]
    answers = {"thief": {(output.example_id, output.task): output for output in outputs}}
    values = score(world.examples, world.tables, answers, ("long",), seed=0).values["thief", "long"]
    long_enough = values["words"] >= 8
    assert (values.loc[long_enough, "copied"] == 1.0).all()
    assert (values["personalization"].dropna() == 1.0).all()
    assert (values["style_match"].dropna() >= 0.5).all()


def test_a_repeat_of_the_target_is_no_other_text_to_tell_it_from(world: Any) -> None:
    """Somebody else's review of the item in the same words would tie with the user's own in every line-up."""
    example = world.examples[0]
    others = [
        dataclasses.replace(example.target, review_id=review_id, user_id=review_id, text=text)
        for review_id, text in (("repeat", example.target.text), ("other", "Something else."))
    ]
    targets = _targets([example], "long", world.tables, ReviewPool([example.target, *others]), seed=0)
    assert targets.others == [["Something else."]]


def test_better_methods_score_better(world: Any) -> None:
    """The planted shares of the reference's words come back in the order of the scores."""
    values = score(world.examples, world.tables, answers_of(world), TASKS, seed=0).values
    means = {method: values[method, "long", "rougeL"].mean() for method in world.outputs}
    assert sorted(means, key=lambda method: means[method]) == ["none", "lamp", "copy", "pgraphrag", "grasper-no-graph", "grasper"]


def test_bad_files_are_named(tmp_path: Path, world: Any, write_outputs: Any) -> None:
    """A missing file, a foreign line and an answer given twice are refused with the file's name."""
    with pytest.raises(MissingFileError, match=r"absent\.jsonl"):
        load_answers(tmp_path / "absent.jsonl")
    foreign = tmp_path / "foreign.jsonl"
    BatchLog(foreign).append([{"example_id": "e0", "verdict": 1}])
    with pytest.raises(RunMismatchError, match=r"foreign\.jsonl"):
        load_answers(foreign)
    twice = write_outputs(tmp_path / "twice.jsonl", world.records["copy"][:1] * 2)
    with pytest.raises(RunMismatchError, match="twice"):
        load_answers(twice)


def test_the_size_of_an_answer_is_that_of_the_line_that_is_scored() -> None:
    """A title's quotes are no part of the answer's line, and so none of its bytes; a rating is one, and so is an answer that is not there."""
    example = Example("e", Review("r", "u", "i", "Très bien", title='"Great"', rating=5.0), "dev-a")
    assert [size_of(example, task) for task in TASKS] == [10, 5, 1]
    assert [size_of(Example("e", Review("r", "u", "i", "", rating=2.5), "dev-a"), task) for task in TASKS] == [1, 1, 1]
