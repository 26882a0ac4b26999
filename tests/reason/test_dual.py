"""How notes and drafts come to be, step by step, and what each role gets to see."""

from __future__ import annotations

from dataclasses import replace

import pytest

from grasper.config import PromptConfig
from grasper.errors import ConfigError, ShapeError
from grasper.models.base import Prompt
from grasper.models.scripted import ScriptedModel
from grasper.reason.dual import DualReasoning, Evidence, read_notes
from grasper.records import Item, Profile, Request, Review

ITEM = Item("boat", "Seal Tours", "boat tour")
REQUEST = Request("e1", "long", "new", ITEM, title="Great trip")
ALIKE = Review("r1", "lou", "inn", "WOW!!! The inn!!!")
TASTE = Review("r2", "tom", "boat", "We saw two seals.")
AUDIENCE = Review("r3", "ann", "boat", "Windy but fun.")
EVIDENCE = Evidence(Profile(neighbours=(AUDIENCE,)), Profile(neighbours=(ALIKE,)), Profile(neighbours=(TASTE,)), {"style": "judged by the title"})


def role_of(prompt: Prompt) -> str:
    asked = prompt.messages[-1].content.rpartition("Answer in these lines: ")[2]
    return {"St": "style", "In": "topic", "Te": "draft", "Ti": "draft"}.get(asked[:2], "rating")


class Cast:
    """Answers each role with what it was asked for the n-th time, and counts the calls."""

    def __init__(self, *, settles_at: int = 99) -> None:
        self.counts = {"style": 0, "topic": 0, "draft": 0}
        self.settles_at = settles_at

    def __call__(self, prompt: Prompt) -> str:
        role = role_of(prompt)
        number = min(self.counts[role], self.settles_at)
        self.counts[role] += 1
        return {"style": f"Style: style{number}", "topic": f"Interests: seals{number}\nPlan: plan{number}", "draft": f"Text: draft{number}"}[role]


def reasoning(answers, **options) -> tuple[DualReasoning, ScriptedModel]:
    model = ScriptedModel(answers)
    return DualReasoning(model, PromptConfig(), **options), model


def shown(model: ScriptedModel, number: int) -> str:
    return model.prompts[number].messages[-1].content


def test_every_step_revises_notes_and_draft_and_is_kept() -> None:
    dual, _ = reasoning(Cast(), steps=2)
    [found] = dual.write([REQUEST], [EVIDENCE], [0])
    assert [(step.style, step.topic, step.draft) for step in found.steps] == [
        (f"Style: style{n}", f"Interests: seals{n}\nPlan: plan{n}", f"draft{n}") for n in range(3)
    ]
    assert (found.draft, found.is_settled, found.answered.is_parsed, found.unread) == ("draft2", False, True, 0)
    assert found.path == "Style: style2\nInterests: seals2\nPlan: plan2"
    record = found.to_json(EVIDENCE.remarks)
    assert [step["step"] for step in record] == ["0", "1", "2"]
    assert record[0]["style_evidence"] == "judged by the title"


def test_each_role_sees_its_own_evidence_and_the_others_work_of_the_step_before() -> None:
    dual, model = reasoning(Cast(), steps=1)
    dual.write([REQUEST], [EVIDENCE], [0])
    style0, topic0, draft0, style1, topic1, revise1 = (shown(model, number) for number in range(6))
    assert ALIKE.text in style0
    assert TASTE.text not in style0
    assert AUDIENCE.text not in style0
    assert TASTE.text in topic0
    assert ALIKE.text not in topic0
    assert AUDIENCE.text in draft0
    assert ALIKE.text not in draft0
    assert "Topic notes" not in style0
    assert "Draft:" not in style0
    assert "Style notes: style0" in draft0
    assert "Topic notes: seals0; plan0" in draft0
    assert "Topic notes: seals0; plan0" in style1
    assert "Draft: draft0" in style1
    assert "Style notes: style0" in topic1
    assert "Style notes: style1" in revise1
    assert "Draft: draft0" in revise1


@pytest.mark.parametrize("settles_at", [1, 99])
def test_the_last_prompt_is_that_of_the_last_draft_however_often_it_was_written(settles_at: int) -> None:
    """The same draft in every step: the notes that count are those of the last step that wrote it."""
    cast = Cast(settles_at=settles_at)
    dual, model = reasoning(lambda prompt: "Text: the same" if role_of(prompt) == "draft" else cast(prompt), steps=3)
    [found] = dual.write([REQUEST], [EVIDENCE], [0])
    assert found.is_settled == (settles_at == 1)
    asked = [prompt for prompt in model.prompts if role_of(prompt) == "draft"]
    assert dual.last_prompt(REQUEST, EVIDENCE, found) == asked[-1]


@pytest.mark.parametrize(("earlier", "later"), [("Style: 简短热情", "Style: 冗长冷淡"), ("Style: тепло", "Style: сухо!")])
def test_notes_in_any_script_settle_by_their_words(earlier: str, later: str) -> None:
    """And not by their labels, which are always the same."""
    notes = iter([earlier, later, later, later])

    def answers(prompt: Prompt) -> str:
        return {"style": lambda: next(notes), "draft": lambda: "Text: fine"}[role_of(prompt)]()

    dual, _ = reasoning(answers, steps=2)
    [found] = dual.write([REQUEST], [replace(EVIDENCE, topic=None)], [0])
    assert [step.style for step in found.steps] == [earlier, later, later]


def test_all_requests_of_a_step_are_asked_together() -> None:
    dual, model = reasoning(Cast(), steps=1)
    calls: list[int] = []
    generate = model.generate
    model.generate = lambda prompts, **options: (calls.append(len(prompts)), generate(prompts, **options))[1]  # type: ignore[method-assign]
    requests = [replace(REQUEST, example_id=f"e{number}") for number in range(5)]
    dual.write(requests, [EVIDENCE] * 5, list(range(5)))
    assert calls == [10, 5, 10, 5]


def test_settled_notes_end_the_work_on_one_request_and_not_on_another() -> None:
    def answers(prompt: Prompt) -> str:
        is_calm = "Given title: Calm" in prompt.messages[-1].content
        text = cast_calm(prompt) if is_calm else cast_busy(prompt)
        return text

    cast_calm, cast_busy = Cast(settles_at=0), Cast()
    dual, _ = reasoning(answers, steps=3)
    calm, busy = dual.write([replace(REQUEST, title="Calm"), REQUEST], [EVIDENCE] * 2, [0, 1])
    assert (calm.is_settled, len(calm.steps), calm.draft) == (True, 2, "draft0")
    assert (busy.is_settled, len(busy.steps), busy.draft) == (False, 4, "draft3")
    assert cast_calm.counts["draft"] == 1


def test_zero_steps_note_and_draft_once() -> None:
    dual, model = reasoning(Cast(), steps=0)
    [found] = dual.write([REQUEST], [EVIDENCE], [0])
    assert (len(found.steps), len(model.prompts)) == (1, 3)


def test_one_trajectory_alone_leaves_the_others_notes_empty() -> None:
    dual, model = reasoning(Cast(), steps=1)
    [found] = dual.write([REQUEST], [replace(EVIDENCE, topic=None)], [0])
    assert [step.topic for step in found.steps] == ["", ""]
    assert {role_of(prompt) for prompt in model.prompts} == {"style", "draft"}


def test_unreadable_notes_give_way_to_the_earlier_ones_and_are_counted() -> None:
    cast = Cast()

    def answers(prompt: Prompt) -> str:
        text = cast(prompt)
        return "I would rather not." if text == "Style: style1" else text

    dual, _ = reasoning(answers, steps=1)
    [found] = dual.write([REQUEST], [EVIDENCE], [0])
    assert (found.steps[1].style, found.unread) == ("Style: style0", 1)


def test_notes_that_can_never_be_read_are_taken_as_they_are() -> None:
    dual, _ = reasoning(lambda prompt: "Text: fine" if role_of(prompt) == "draft" else "short\nand <b>warm</b>", steps=0)
    [found] = dual.write([REQUEST], [EVIDENCE], [0])
    assert (found.steps[0].style, found.unread) == ("Style: short and warm", 2)


def test_a_rating_is_drafted_by_its_probabilities() -> None:
    model = ScriptedModel(Cast(), choice=lambda prompt: " 2" if "style1" in prompt.messages[-1].content else " 4")
    request = replace(REQUEST, task="rating", text="Windy but fun.")
    [found] = DualReasoning(model, PromptConfig(), steps=1).write([request], [EVIDENCE], [0])
    assert [step.draft for step in found.steps] == ["4", "2"]
    assert found.probabilities[1] == pytest.approx(0.99)


def test_only_complete_notes_are_read() -> None:
    assert read_notes("style", "**Style:** short; warm\nmore") == "Style: short; warm"
    assert read_notes("topic", "Interests: seals\nPlan: praise") == "Interests: seals\nPlan: praise"
    assert read_notes("topic", "Interests: Room, staff,room,  STAFF, bed,\nPlan: a, a") == "Interests: Room, staff, bed\nPlan: a, a"
    assert read_notes("topic", "Interests: ,\nPlan: praise") is None
    assert read_notes("topic", "Interests: seals") is None
    assert read_notes("style", "no label") is None


def test_one_answer_does_not_depend_on_the_other_requests() -> None:
    """The seeds handed to the model are those of the request alone."""
    seeds: list[list[int]] = []
    dual, model = reasoning(Cast(settles_at=0), steps=0)
    generate = model.generate
    model.generate = lambda prompts, **options: (seeds.append(list(options["seed"])), generate(prompts, **options))[1]  # type: ignore[method-assign]
    dual.write([REQUEST], [EVIDENCE], [7])
    dual.write([replace(REQUEST, example_id="other"), REQUEST], [EVIDENCE] * 2, [3, 7])
    assert seeds[0] == seeds[2][2:]
    assert seeds[1] == seeds[3][1:]
    assert len({*seeds[0], *seeds[1]}) == 3


def test_what_does_not_fit_together_is_refused() -> None:
    dual, _ = reasoning(Cast())
    with pytest.raises(ShapeError, match="2 requests of one task"):
        dual.write([REQUEST, replace(REQUEST, task="title")], [EVIDENCE] * 2, [0, 1])
    with pytest.raises(ConfigError, match="expected 0 or more"):
        DualReasoning(ScriptedModel(), PromptConfig(), steps=-1)
    assert dual.write([], [], []) == []
