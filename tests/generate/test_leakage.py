"""Nothing that a task hides reaches a prompt or an answer (DESIGN: leakage rules), in any method, on random worlds.

The strongest form: replace the hidden fields of one target by others, and everything that is asked and answered for it must stay the same.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import RecordingModel, candidates_of, shown, system_of, tables_of, with_target, worlds

from grasper.config import GenerateConfig
from grasper.methods import METHODS, get_method
from grasper.records import TASKS, Example, Item, Output, Review, Task, request_for, tasks_of

World = tuple[list[Review], list[Example]]
FIELDS = ("text", "title", "rating")
CHANGED = {"text": "othersecret about a warm bed", "title": "othersecret title", "rating": 1.25}


def asked_and_answered(
    name: str, reviews: list[Review], examples: list[Example], example: Example, task: Task, *, is_counted: bool = False
) -> tuple[list[str], Output]:
    """All prompts for one request, those of its synthetic reviews included, and the answer."""
    method, tables = get_method(name), tables_of(reviews, examples)
    model, generation = RecordingModel(), GenerateConfig(consensus_samples=2, counted_path=is_counted)
    system = system_of(method, tables, model, candidates=candidates_of(examples), generation=generation, seed=1, context_tokens=4096)
    (answer,) = system.personalize(task, [example])
    return [shown(prompt) for prompt in model.prompts], answer.output


def hidden_fields(example: Example, task: Task) -> list[str]:
    """The fields that the request does not give."""
    request = request_for(example, task, Item(example.item_id))
    return [field for field in FIELDS if getattr(request, field) is None]


@settings(max_examples=120)
@given(worlds(), st.sampled_from(sorted(METHODS)), st.sampled_from(TASKS), st.data())
def test_hidden_fields_change_nothing(world: World, name: str, task: Task, data: st.DataObject) -> None:
    """Prompts, answer and evidence are the same whatever the user really wrote."""
    reviews, examples = world
    askable = [example for example in examples if task in tasks_of(example)]
    if not askable:
        return
    example = data.draw(st.sampled_from(askable))
    # What is missing stays missing: whether a target has a title decides what is given.
    changes = {field: CHANGED[field] for field in hidden_fields(example, task) if getattr(example.target, field) is not None}
    other_reviews, other = with_target(reviews, example, **changes)
    other_examples = [other if entry is example else entry for entry in examples]
    is_counted = data.draw(st.booleans(), label="counted path")
    before = asked_and_answered(name, reviews, examples, example, task, is_counted=is_counted)
    assert before == asked_and_answered(name, other_reviews, other_examples, other, task, is_counted=is_counted)


@settings(max_examples=120)
@given(worlds(), st.sampled_from(sorted(METHODS)), st.sampled_from(TASKS), st.data())
def test_prompts_and_answers_hold_no_hidden_field(world: World, name: str, task: Task, data: st.DataObject) -> None:
    """Every field of every record is unique here, so its first word gives it away."""
    reviews, examples = world
    example = data.draw(st.sampled_from(examples))
    prompts, output = asked_and_answered(name, reviews, examples, example, task, is_counted=data.draw(st.booleans(), label="counted path"))
    everything = "\n".join([*prompts, output.raw, output.text or "", *output.samples])
    for field in hidden_fields(example, task):
        value = getattr(example.target, field)
        if value is not None and (name != "copy" or field != "rating"):
            secret = f"[{value:g}]" if field == "rating" else f"{value.split()[0]}"
            assert secret not in everything.replace("\n", " ").split()
    assert example.target.review_id not in output.evidence


@settings(max_examples=60)
@given(worlds(), st.sampled_from(sorted(METHODS)), st.data())
def test_given_fields_do_reach_the_model(world: World, name: str, data: st.DataObject) -> None:
    """The guard does not hide what the task gives."""
    reviews, examples = world
    example = data.draw(st.sampled_from(examples))
    if not get_method(name).uses_model:
        return
    prompts, _ = asked_and_answered(name, reviews, examples, example, "rating")
    assert f"Given text: {example.target.text}" in prompts[-1]
