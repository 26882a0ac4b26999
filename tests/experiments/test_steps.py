"""What each step of dual reasoning changes, by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from experiments.steps import by_step
from grasper.records import Example, Output, Review


def output(number: int, *drafts: str, topic: str = "Interests: room, staff\nPlan: positive, about 4 words") -> Output:
    notes = tuple({"step": str(step), "style": "Style: short", "topic": topic, "draft": draft} for step, draft in enumerate(drafts))
    return Output(f"e{number}", "long", "pat", text=drafts[-1], notes=notes)


def test_steps_are_compared_with_the_first_and_a_settled_request_keeps_its_draft() -> None:
    """One request loses half of its words in step 1, the other had settled: rouge1 1 and 1, then 2/3 and 1; words 4 and 2, then 2 and 2."""
    examples = [
        Example("e0", Review("r0", "u0", "i0", "a clean warm room"), "dev-b"),
        Example("e1", Review("r1", "u1", "i1", "good stay"), "dev-b"),
    ]
    outputs = [output(0, "a clean warm room", "clean room"), output(1, "good stay", topic="Interests: likely room, staff, Room\nPlan: mixed")]
    found = by_step(outputs, examples, "long")
    values = {step: entry["value"] for step, entry in found["steps"].items()}
    assert (values["0"]["rouge1"]["value"], values["1"]["rouge1"]["value"]) == pytest.approx((1.0, 5 / 6), abs=1e-5)
    assert (values["0"]["words"]["value"], values["1"]["words"]["value"]) == (3.0, 2.0)
    assert found["steps"]["1"]["minus_step_0"]["rouge1"]["value"] == pytest.approx(-1 / 6, abs=1e-5)
    assert found["ended_after"] == {"0": 1, "1": 1}
    assert found["repeats_an_interest"] == [1, 1]
    assert (found["distinct_style_notes"], found["planned_words"]["n"]) == (1, 1)


def test_answers_stand_beside_the_last_drafts_where_earlier_ones_were_kept() -> None:
    """The better first draft is kept of one request: rouge1 of the answers 1 and 1, of the last drafts 2/3 and 1."""
    texts = ("a clean warm room", "stay")
    examples = [Example(f"e{number}", Review(f"r{number}", "u", f"i{number}", text), "dev-b") for number, text in enumerate(texts)]
    outputs = [output(0, "a clean warm room", "clean room"), output(1, "night", "stay")]
    assert "kept" not in by_step(outputs, examples, "long")
    outputs[0] = replace(outputs[0], text="a clean warm room", notes=(outputs[0].notes[0] | {"kept": "yes"}, outputs[0].notes[1]))
    found = by_step(outputs, examples, "long")["kept"]
    assert (found["earlier_drafts"], found["value"]["rouge1"]["value"]) == (1, 1.0)
    assert found["minus_step_1"]["rouge1"]["value"] == pytest.approx(1 / 6, abs=1e-5)
    assert found["minus_step_1"]["words"]["value"] == 1.0
