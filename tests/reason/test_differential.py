"""The differential reward against numbers worked by hand."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from grasper.config import PromptConfig
from grasper.models.base import Prompt
from grasper.models.local import LocalModel
from grasper.models.scripted import ScriptedModel
from grasper.prompts.render import Notes, after_path
from grasper.reason.differential import NotesTrial, Worth, judge, judge_by_likelihood
from grasper.reason.dual import DualReasoning, Evidence
from grasper.reason.pair import TrainingPair
from grasper.records import Example, Item, Profile, Review, request_for

TARGET = Review("t", "lee", "inn", "quiet room", "Lovely", 4.0)
SHOWN = Review("n", "ann", "inn", "one two three four five six seven eight nine")


class WordReward:
    """The share of the reference's words that a candidate holds."""

    def score(self, task, candidates, references):
        return np.array([len(set(c.split()) & set(r.split())) / len(set(r.split())) for c, r in zip(candidates, references, strict=True)])


def trial(notes: str, reasoner: str = "style", task: str = "long", held: str = "Interests: rooms") -> NotesTrial:
    example = Example("e", TARGET, "align")
    profile = Profile(neighbours=(SHOWN,))
    pair = TrainingPair(example, request_for(example, task, Item("inn", "Gull Inn")), profile)
    return NotesTrial(pair, Evidence(profile, profile, profile), reasoner, notes, held)


def answer(prompt: Prompt) -> str:
    """Names what the notes name."""
    content = prompt.messages[-1].content
    words = [word for word in ("quiet", "room") if f"say {word}" in content or "say all" in content]
    return f"Text: {' '.join(words) or 'nothing'}"


def judged(trials: list[NotesTrial], script=answer, seeds: list[int] | None = None, **options):
    model = ScriptedModel(script)
    worth = judge(DualReasoning(model, PromptConfig()), trials, WordReward(), seeds or [1] * len(trials), num_drafts=2, **options)
    return worth, model


def test_worth_is_with_minus_without_the_other_notes_held() -> None:
    worth, model = judged([trial("Style: say all"), trial("Style: say room"), trial("Style: silent")])
    assert [one.difference for one in worth] == [1.0, 0.5, 0.0]
    assert [one.reward for one in worth] == [1.0, 0.5, 0.0]
    assert worth[0].draft_words == 2.0
    assert all("Topic notes: rooms" in prompt.messages[-1].content for prompt in model.prompts)


def test_what_the_held_notes_give_anyway_is_no_merit() -> None:
    [worth], _ = judged([trial("Style: say room", held="Interests: say room")])
    assert (worth.reward, worth.difference) == (0.5, 0.0)


def test_topic_notes_are_judged_in_their_own_place() -> None:
    [worth], model = judged([trial("Interests: x\nPlan: say all", reasoner="topic", held="Style: short")])
    assert worth.difference == 1.0
    assert all("Style notes: short" in prompt.messages[-1].content for prompt in model.prompts)


def test_drafts_without_notes_are_written_once_per_pair() -> None:
    _, model = judged([trial("Style: a"), trial("Style: b"), trial("Style: c")])
    assert len(model.prompts) == 4


def test_all_drafts_of_a_pair_share_their_seeds() -> None:
    model = ScriptedModel(answer)
    seeds: list[int] = []
    generate = model.generate
    model.generate = lambda prompts, **options: (seeds.extend(options["seed"]), generate(prompts, **options))[1]  # type: ignore[method-assign]
    judge(DualReasoning(model, PromptConfig()), [trial("Style: a"), trial("Style: b")], WordReward(), [5, 5], num_drafts=2)
    assert seeds == [5, 5, 5]


def test_ratings_are_judged_by_expectation() -> None:
    """With the notes nearly all on 4 (right), without them on 1: 0.99 + … against 0.25 + …"""
    model = ScriptedModel(answer, choice=lambda prompt: " 4" if "say all" in prompt.messages[-1].content else " 1")
    [worth] = judge(DualReasoning(model, PromptConfig()), [trial("Style: say all", task="rating")], WordReward(), [0])

    def expected(right: int) -> float:
        return sum((0.99 if rating == right else 0.0025) * (1 - abs(rating - 4) / 4) for rating in range(1, 6))

    assert worth.difference == pytest.approx(expected(4) - expected(1))
    assert model.prompts == []


def test_copied_runs_are_counted() -> None:
    [worth], _ = judged([trial("Style: a")], script=lambda prompt: "Text: one two three four five six seven eight")
    assert worth.copied == 1.0


def test_several_tasks_go_together() -> None:
    title = replace(trial("Style: say all", task="title"))
    worth, _ = judged([trial("Style: say all"), title], script=lambda prompt: answer(prompt) + "\nTitle: Lovely")
    assert len(worth) == 2
    assert worth[0].difference == 1.0


@cache
def nano() -> LocalModel:
    return LocalModel("nano", device="cpu")


KIND = Review("t", "lee", "inn", "The rooms were clean and the staff was kind to us.", "Clean rooms", 4.0)
SPELLED = "Interests: rooms, staff\nPlan: positive, about 11 words; praise clean rooms, kind staff"
SHUFFLED = "Interests: screen, battery\nPlan: negative, about 90 words; complain about slow screen, weak battery"


def real(notes: str, task: str = "long", **options: str) -> NotesTrial:
    """Notes on a review that nano knows the words of."""
    example = Example("e", KIND, "align")
    profile = Profile(neighbours=(SHOWN,))
    pair = TrainingPair(example, request_for(example, task, Item("inn", "Gull Inn")), profile)
    return NotesTrial(pair, Evidence(profile, profile, profile), options.get("reasoner", "topic"), notes, options.get("held", "Style: short"))


def by_likelihood(trials: list[NotesTrial]) -> list[Worth]:
    return judge_by_likelihood(DualReasoning(nano(), PromptConfig()), nano(), trials)


class Watched:
    """A local model that keeps what it is asked to score; it must never be asked to write."""

    def __init__(self) -> None:
        self.calls: list[tuple[list[Prompt], list[str]]] = []

    def __getattr__(self, name: str):
        assert name != "generate"
        return getattr(nano(), name)

    def score_texts(self, prompts, texts):
        self.calls.append((list(prompts), list(texts)))
        return nano().score_texts(prompts, texts)


@pytest.mark.parametrize("task", ["long", "title"])
def test_notes_that_fit_the_real_text_win_by_likelihood(task: str) -> None:
    """Those that spell out its words over another review's; these do harm, and no notes are worth nothing."""
    fitting, other, none = by_likelihood([real(SPELLED, task), real(SHUFFLED, task), real("", task)])
    assert fitting.difference > 0 > other.difference
    assert none.difference == 0.0
    assert none.reward == pytest.approx(fitting.reward - fitting.difference)


def test_by_likelihood_is_bits_per_byte_with_minus_without_the_other_notes_held() -> None:
    one = real(SPELLED)
    [worth] = by_likelihood([one])
    reasoning = DualReasoning(nano(), PromptConfig())
    shown = [Notes(style="Style: short", topic=SPELLED), Notes(style="Style: short")]
    prompts = [after_path(reasoning.draft_prompt(one.pair.request, one.evidence.writer, notes), "", "long") for notes in shown]
    bits = -nano().score_texts(prompts, [KIND.text] * 2) / np.log(2) / len(KIND.text)
    assert worth.difference == pytest.approx(bits[1] - bits[0], abs=0.01)
    assert worth.reward == pytest.approx(-bits[0], abs=0.01)
    assert (worth.draft_words, worth.copied) == (None, None)


def test_what_the_held_notes_give_anyway_is_no_merit_by_likelihood_either() -> None:
    [alone, repeated] = by_likelihood([real(SPELLED), real("Style: clean rooms, kind staff", reasoner="style", held=SPELLED)])
    assert repeated.reward > alone.reward - alone.difference
    assert repeated.difference < alone.difference


def test_everything_is_scored_at_once_and_the_real_text_is_in_no_prompt() -> None:
    """Three trials and one prompt without notes; nothing is written."""
    model = Watched()
    judge_by_likelihood(DualReasoning(model, PromptConfig()), model, [real(SPELLED), real(SHUFFLED), real("Interests: a\nPlan: b"), real("")])
    [(prompts, texts)] = model.calls
    assert len(set(prompts)) == len(prompts) == 4
    assert set(texts) == {KIND.text}
    assert not any(KIND.text[:20] in message.content or KIND.text[:20] in prompt.prefix for prompt in prompts for message in prompt.messages)


def test_ratings_are_rewarded_by_expectation_also_where_texts_are_by_likelihood() -> None:
    rating, _ = by_likelihood([real(SPELLED, "rating"), real(SPELLED)])
    [expected] = judge(DualReasoning(nano(), PromptConfig()), [real(SPELLED, "rating")], WordReward(), [0])
    assert (rating.reward, rating.difference) == pytest.approx((expected.reward, expected.difference), abs=0.01)
