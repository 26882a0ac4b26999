"""Paths rewarded by what they do to the real answer's probability."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from grasper.config import PromptConfig
from grasper.errors import ConfigError
from grasper.models.local import LocalModel
from grasper.models.scripted import ScriptedModel
from grasper.prompts.render import after_path
from grasper.reason.likelihood import LikelihoodReward, answer_bits
from grasper.reason.pair import TrainingPair
from grasper.reason.reward import PathReward, make_reward
from grasper.reason.traces import sample_traces
from grasper.records import Example, Item, Profile, Review, request_for

PATH = "Style: short; about 10 words\nInterests: rooms\nPlan: positive, about 10 words; praise rooms, staff"


@cache
def nano() -> LocalModel:
    return LocalModel("nano", device="cpu")


def pair(task: str = "long", *, is_review: bool = False) -> TrainingPair:
    target = Review("t", "u", "inn", "The rooms were clean and the staff was kind to us.", "Clean rooms", 4.0)
    profile = Profile(neighbours=(Review("n", "v", "inn", "Clean rooms, slow lift.", "Fine", 4.0),))
    example = Example("e", target, "align")
    return TrainingPair(example, request_for(example, task, Item("inn", "Gull Inn")), profile, is_review)  # type: ignore[arg-type]


@pytest.mark.parametrize(("task", "is_review"), [("long", False), ("title", False), ("rating", False), ("long", True)])
def test_is_the_bits_per_byte_that_a_path_saves(task: str, is_review: bool) -> None:
    """Against the same answer from the prompt without a path; an empty path saves nothing."""
    asked, config = pair(task, is_review=is_review), PromptConfig()
    prompts = [asked.render(reasoning=reasoning, config=config, model=nano()) for reasoning in (True, False)]
    saved = LikelihoodReward(nano()).score_paths(asked.task, asked.answer_lines, [PATH, ""], *prompts)
    rest = asked.answer_lines.partition(":")[2].strip()
    behind, plain = nano().score_texts([after_path(prompts[0], PATH, asked.task), after_path(prompts[1], "", asked.task)], [rest] * 2)
    assert saved[0] == pytest.approx((behind - plain) / np.log(2) / len(rest), abs=0.02)
    assert saved[1] == pytest.approx(0.0, abs=1e-6)


def test_a_whole_review_without_a_rating_begins_with_its_title() -> None:
    """It is scored behind the label that it has, and not as a rating that reads `Title: …`."""
    asked, config = pair(is_review=True), PromptConfig()
    target = replace(asked.example.target, rating=None)
    unrated = replace(asked, example=replace(asked.example, target=target))
    prompt = unrated.render(reasoning=False, config=config, model=nano())
    found = answer_bits(nano(), [after_path(prompt, "", "review")], [("review", unrated.answer_lines)])
    rest = unrated.answer_lines.removeprefix("Title:").strip()
    expected = -nano().score_texts([replace(prompt, prefix="Title:")], [rest])[0] / np.log(2) / len(rest)
    assert found[0] == pytest.approx(expected)


def test_bits_are_counted_by_the_byte() -> None:
    """Whatever the script: a character beyond ASCII takes two bytes, or more."""
    asked, text = pair(), "Ótima localização, não há barulho à noite: ночью тихо"
    prompt = after_path(asked.render(reasoning=False, config=PromptConfig(), model=nano()), "", "long")
    [found] = answer_bits(nano(), [prompt], [("long", f"Text: {text}")])
    assert found == pytest.approx(-nano().score_texts([prompt], [text])[0] / np.log(2) / len(text.encode()))
    assert len(text.encode()) > 1.2 * len(text)


def test_a_plan_that_fits_saves_more_than_one_that_does_not() -> None:
    """nano reads its plan: the fitting one makes the real text likelier than a plan about something else."""
    asked, config = pair(), PromptConfig()
    prompts = [asked.render(reasoning=reasoning, config=config, model=nano()) for reasoning in (True, False)]
    wrong = "Style: long; about 100 words\nInterests: music\nPlan: negative, about 100 words; complain about price, battery"
    fitting, other = LikelihoodReward(nano()).score_paths("long", asked.answer_lines, [PATH, wrong], *prompts)
    assert fitting > other


def test_traces_get_it_in_the_place_of_a_draft_reward(tmp_path: Path) -> None:
    """Through the door of rewards; what is written behind the path does not count."""
    reward = make_reward("likelihood", judge=nano())
    assert isinstance(reward, PathReward)
    assert not isinstance(make_reward("mean"), PathReward)
    model = ScriptedModel([f"{PATH}\nText: anything", f"{PATH}\nText: something else"])
    traces = sample_traces([pair()], model, reward, tmp_path / "traces.jsonl", prompts=PromptConfig(), sources=("sampled", "direct"), num_samples=2)
    [first, second, *direct] = traces
    assert first.reward == second.reward != 0.0
    assert {trace.reward for trace in direct} == {0.0}


def test_needs_probabilities_and_paths() -> None:
    with pytest.raises(ConfigError, match="local model"):
        make_reward("likelihood", judge=ScriptedModel())
    with pytest.raises(ConfigError, match="scores reasoning paths"):
        make_reward("likelihood", judge=nano()).score("long", ["a"], ["b"])
