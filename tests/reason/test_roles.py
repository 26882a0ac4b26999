"""What the roles are taught, and that no answer leaks into their notes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from grasper.config import PromptConfig
from grasper.models.scripted import ScriptedModel
from grasper.prompts.render import Notes, _note
from grasper.reason.dual import DualReasoning, Evidence
from grasper.reason.leak import leaks
from grasper.reason.pair import TrainingPair
from grasper.reason.roles import RoleExample, analysed_notes, role_examples
from grasper.records import Example, Item, Profile, Review, Tables, request_for, tasks_of
from grasper.retrieve.bm25 import Bm25Ranker
from grasper.retrieve.own import OwnReviews
from grasper.retrieve.pool import ReviewPool, is_visible

ITEM = Item("inn", "Gull Inn", "guesthouse")
TARGET = Review("t", "lee", "inn", "Lovely quiet room and a warm breakfast by the big window.", "Lovely", 5.0)
ALIKE = tuple(Review(f"a{n}", f"u{n}", "cafe", text) for n, text in enumerate(["WOW! So good! I loved my cake!", "YES! I loved the warm coffee!"]))
AUDIENCE = (Review("n", "ann", "inn", "Quiet room, good breakfast."),)
EARLIER = Notes("Style: long", "Interests: pool\nPlan: negative", "Nice room.")


def pair_of(task: str = "long", own: tuple[Review, ...] = ()) -> tuple[TrainingPair, Evidence]:
    example = Example("e", TARGET, "align")
    evidence = Evidence(Profile(own, AUDIENCE), Profile(own, ALIKE), Profile(own, AUDIENCE))
    return TrainingPair(example, request_for(example, task, ITEM), evidence.writer), evidence


def examples(earlier: Notes | None, task: str = "long") -> dict[str, list[RoleExample]]:
    pair, evidence = pair_of(task)
    found: dict[str, list[RoleExample]] = {}
    for example in role_examples(pair, evidence, DualReasoning(ScriptedModel(), PromptConfig()), earlier):
        found.setdefault(example.role, []).append(example)
    return found


def test_every_role_gets_its_prompt_and_its_answer() -> None:
    found = examples(EARLIER)
    assert {role: len(group) for role, group in found.items()} == {"style": 2, "topic": 2, "draft": 1, "revise": 1}
    first, again = (example.prompt.messages[-1].content for example in found["style"])
    assert "Draft:" not in first
    assert "Style notes: long\nTopic notes: pool; negative\nDraft: Nice room." in again
    assert found["style"][0].answer == found["style"][1].answer
    assert found["topic"][0].answer.startswith("Interests: ")
    assert "\nPlan: " in found["topic"][0].answer
    assert found["draft"][0].answer == found["revise"][0].answer == f"Text: {TARGET.text}"


def test_without_a_draft_nothing_is_revised() -> None:
    for earlier in (None, replace(EARLIER, draft="")):
        assert {role: len(group) for role, group in examples(earlier).items()} == {"style": 1, "topic": 1, "draft": 1}


@pytest.mark.parametrize("task", ["long", "title", "rating"])
def test_nobody_is_shown_the_notes_that_they_are_to_write(task: str) -> None:
    """A later step shows what was written before; where that is right already, there is no later step to learn from."""
    right = {role: group[0].answer for role, group in examples(None, task).items()}
    for earlier in (EARLIER, replace(EARLIER, style=right["style"]), replace(EARLIER, topic=right["topic"])):
        found = examples(earlier, task)
        for reasoner in ("style", "topic"):
            assert len(found[reasoner]) == 1 + (earlier.of(reasoner) != right[reasoner])
            shown = [example.prompt.messages[-1].content for example in found[reasoner]]
            assert not any(_note(example.answer) in prompt for example, prompt in zip(found[reasoner], shown, strict=True))


def test_style_without_history_is_a_guess_from_people_who_write_alike() -> None:
    pair, evidence = pair_of()
    assert analysed_notes(pair, evidence).style.startswith("unknown; likely short; exclaims")
    own = (Review("o", "lee", "boat", "a calm trip on a calm sea with a calm crew, all in all it was a very calm and slow day out for us."),)
    pair, evidence = pair_of(own=own)
    assert "likely" not in analysed_notes(pair, evidence).style
    pair, evidence = pair_of(own=(Review("o", "lee", "boat", "", rating=5.0),))
    assert analysed_notes(pair, evidence).style.startswith("unknown; likely short; exclaims")


def test_notes_may_look_at_the_answer_but_never_give_it_away() -> None:
    for task in ("long", "title", "rating"):
        pair, evidence = pair_of(task)
        assert not leaks(analysed_notes(pair, evidence), pair.request, evidence.writer, TARGET)


def test_no_prompt_holds_its_target(tables: Tables) -> None:
    """Over every align and held-out example of the small data set: no prompt of any role shows the hidden field."""
    pool = ReviewPool(tables.reviews_by_id.values())
    own = OwnReviews(pool, Bm25Ranker())
    checked = 0
    for example in [*tables.select("align"), *tables.select("held-out")]:
        for task in tasks_of(example):
            request = request_for(example, task, tables.item(example.item_id))
            mine = tuple(own.retrieve(request, example, 4))
            others = tuple(r for r in pool.by_item["cafe"] + pool.by_item["boat"] if r.user_id != example.user_id and is_visible(r, example))
            evidence = Evidence(Profile(mine, others), Profile(mine, others), Profile(mine, others))
            pair = TrainingPair(example, request, evidence.writer)
            hidden = {"long": example.target.text, "title": example.target.title}.get(task)
            for one in role_examples(pair, evidence, DualReasoning(ScriptedModel(), PromptConfig()), EARLIER):
                checked += 1
                if hidden and hidden not in (request.title, request.text):
                    assert hidden not in one.prompt.messages[-1].content.replace(request.text or "\0", "")
    assert checked > 20


@pytest.mark.parametrize("missing", ["style", "topic"])
def test_a_method_with_one_trajectory_is_taught_its_own_roles_alone(missing: str) -> None:
    pair, evidence = pair_of()
    one = Evidence(evidence.writer, None if missing == "style" else evidence.style, None if missing == "topic" else evidence.topic)
    found = {example.role for example in role_examples(pair, one, DualReasoning(ScriptedModel(), PromptConfig()), EARLIER)}
    assert found == {"style", "topic", "draft", "revise"} - {missing}
