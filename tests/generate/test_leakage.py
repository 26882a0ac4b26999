"""Nothing that a task hides reaches a prompt or an answer (DESIGN: leakage rules), in any method, on random worlds.

The strongest form: replace the hidden fields of one target by others, and everything that is asked and answered for it must stay the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import RecordingModel, candidates_of, shown, system_of, tables_of, with_target, worlds

from grasper.config import GenerateConfig
from grasper.generate.writers import uses_model
from grasper.methods import METHODS, get_method
from grasper.models.base import Completion, Message, Pool, Prompt
from grasper.records import TASKS, Example, Item, Output, Review, Task, request_for, tasks_of

World = tuple[list[Review], list[Example]]
GENERATION = st.sampled_from(
    [
        GenerateConfig(consensus_samples=2, counted_path=is_counted, pooled_paths=paths, least_length=0.5, kept_draft=kept)
        for is_counted in (False, True)
        for paths in (0, 2)
        for kept in ("last", "agreed")
    ]
)
"""Paths written and counted, behind one path and behind a pool of them; PAT's last draft and any of them."""
FIELDS = ("text", "title", "rating")
CHANGED = {"text": "othersecret about a warm bed", "title": "othersecret title", "rating": 1.25}


class PoolingRecorder(RecordingModel):
    """Also remembers, and answers, what is written behind several prompts at once; it can be held to a length."""

    can_pool = can_hold_length = True

    def generate(self, prompts: Sequence[Prompt], *, min_new_tokens: Sequence[int] | None = None, **options: Any) -> list[list[Completion]]:
        self.prompts += [Prompt((Message("user", f"at least {least}"),)) for least in min_new_tokens or ()]  # no length may tell of the target
        return super().generate(prompts, **options)

    def generate_pooled(self, pools: Sequence[Pool], **options: Any) -> list[list[Completion]]:
        self.generate([prompt for pool in pools for prompt in pool.prompts[1:]], **options | {"seed": 0, "min_new_tokens": None})
        return self.generate([pool.prompts[0] for pool in pools], **options)


def asked_and_answered(
    name: str, reviews: list[Review], examples: list[Example], example: Example, task: Task, generation: GenerateConfig
) -> tuple[list[str], Output]:
    """All prompts for one request, those of its synthetic reviews included, and the answer."""
    method, tables, model = get_method(name), tables_of(reviews, examples), PoolingRecorder()
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
    generation = data.draw(GENERATION)
    before = asked_and_answered(name, reviews, examples, example, task, generation)
    assert before == asked_and_answered(name, other_reviews, other_examples, other, task, generation)


@settings(max_examples=120)
@given(worlds(), st.sampled_from(sorted(METHODS)), st.sampled_from(TASKS), st.data())
def test_prompts_and_answers_hold_no_hidden_field(world: World, name: str, task: Task, data: st.DataObject) -> None:
    """Every field of every record is unique here, so its first word gives it away."""
    reviews, examples = world
    example = data.draw(st.sampled_from(examples))
    prompts, output = asked_and_answered(name, reviews, examples, example, task, data.draw(GENERATION))
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
    if not uses_model(get_method(name)):
        return
    prompts, _ = asked_and_answered(name, reviews, examples, example, "rating", data.draw(GENERATION))
    assert f"Given text: {example.target.text}" in prompts[-1]
