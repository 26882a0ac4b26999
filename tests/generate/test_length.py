"""How long a text should be at least, and that the writer asks for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from worlds import system_of, tables_of

from grasper.config import GenerateConfig
from grasper.generate.length import least_tokens
from grasper.models.base import Completion, Prompt
from grasper.models.scripted import ScriptedModel
from grasper.records import Example, Profile, Review, Tables


class Counter(ScriptedModel):
    """Three tokens a word."""

    def count_tokens(self, text: str) -> int:
        return 3 * len(text.split())


def reviews(*lengths: int) -> tuple[Review, ...]:
    return tuple(Review(f"r{length}", "u", "i", " ".join(["word"] * length)) for length in lengths)


@pytest.mark.parametrize(
    ("profile", "path", "expected"),
    [
        (Profile(), "", 0),
        (Profile(own=reviews(10, 20, 90), neighbours=reviews(200)), "", 30),
        (Profile(neighbours=reviews(40, 60)), "", 75),
        (Profile(own=reviews(0), neighbours=reviews(40, 60)), "", 75),
        (Profile(neighbours=reviews(40, 60)), "Style: x; about 15 words\nPlan: glad, about 30 words; praise a\nText:", 75),
        (Profile(neighbours=reviews(40, 60)), "Style: x; about 15 words\nPlan: glad, about 80 words; praise a\nText:", 120),
        (Profile(neighbours=reviews(40)), "Style: about 15 words\nPlan: glad; praise a\nText:", 60),
        (Profile(), "Plan: about 100 words", 65),
        (Profile(neighbours=reviews(900)), "", 1000 - 24),
        (Profile(typical=reviews(40, 60)), "", 75),
        (Profile(typical=reviews(40, 60)), "Plan: glad, about 80 words", 120),
        (Profile(own=reviews(10), typical=reviews(40, 60)), "", 15),
        (Profile(neighbours=reviews(20), further=(reviews(40), reviews(60))), "", 60),
    ],
)
def test_the_longer_of_plan_and_evidence_decides_and_own_reviews_before_others(profile: Profile, path: str, expected: int) -> None:
    """Half of it in tokens of the model, and never so many that no room is left to end."""
    assert least_tokens(Counter(), profile, path, 0.5, 1000) == expected


def test_scripts_without_spaces_are_counted_in_characters() -> None:
    """A plan of so many words or characters asks for a text of about that size, not for so many texts like the one shown."""
    shown = Profile(own=(Review("r", "u", "i", "房间很干净，早餐也不错，员工很热情，我们还会再来的。"),))
    model = ScriptedModel(["x"])
    bare = least_tokens(model, shown, "", 1.0, 2000)
    words, characters = (least_tokens(model, shown, f"Plan: positive, about {length}", 1.0, 2000) for length in ("25 words", "40 characters"))
    assert bare < words < 4 * bare
    assert bare < characters < 4 * bare


class Held(Counter):
    """Remembers what its answers must not fall short of."""

    can_hold_length = True

    def __init__(self) -> None:
        super().__init__(lambda prompt: " Fine." if prompt.prefix else "Style: s\nInterests: i\nPlan: glad, about 30 words\nText: Fine.")
        self.least: list[tuple[str, Sequence[int] | None]] = []

    def generate(self, prompts: Sequence[Prompt], **options: Any) -> list[list[Completion]]:
        least = options.pop("min_new_tokens", None)
        self.least += [(prompt.prefix, least and least[place]) for place, prompt in enumerate(prompts)]
        return super().generate(prompts, **options)


@pytest.mark.parametrize("method", ["none", "lamp", "pgraphrag", "rest_pg", "grasper-no-graph"])
def test_only_the_text_is_held_to_it_by_every_method(tables: Tables, method: str, tmp_path: Path) -> None:
    """Behind the path where there is one, and without evidence, too; titles, ratings and paths end when they like."""
    model = Held()
    system = system_of(method, tables, model, seed=3, generation=GenerateConfig(least_length=0.5))
    examples = tables.select("dev")
    for task in ("long", "title", "rating"):
        system.write(task, examples, {})  # type: ignore[arg-type]
    held = [(prefix, least) for prefix, least in model.least if least]
    assert len(held) == len(examples)
    assert all(prefix.endswith("Text:") if system.desk.method.reasoning else not prefix for prefix, _ in held)


def test_without_evidence_it_is_the_usual_length_of_training_texts() -> None:
    """What the hidden texts hold changes nothing, and without training texts nobody is held to anything."""

    def held_in(reviews: Sequence[Review]) -> list[int]:
        model, examples = Held(), [Example(f"e-{review.review_id}", review, "dev-a") for review in reviews if review.split == "dev"]
        system_of("none", tables_of(reviews, examples), model, generation=GenerateConfig(least_length=1.0)).write("long", examples, {})
        return [least or 0 for _, least in model.least]

    train = [replace(review, review_id=f"t{review.review_id}", user_id=f"v{review.review_id}") for review in reviews(10, 20, 60)]
    hidden = [replace(review, split="dev") for review in reviews(5, 300)]
    assert held_in([*train, *hidden]) == [60, 60] == held_in([*train, *(replace(review, text="short") for review in hidden)])
    assert held_in(hidden) == [0, 0]


def test_models_that_cannot_be_held_are_asked_as_usual(tables: Tables) -> None:
    """A server knows no such wish."""
    system = system_of("pgraphrag", tables, ScriptedModel(["Text: Fine."]), seed=3, generation=GenerateConfig(least_length=0.5))
    assert all(output.text == "Fine." for output in system.write("long", tables.select("dev"), {}))
