"""Small random worlds of reviews, and models that remember what they were asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import pandas as pd
from hypothesis import strategies as st

from grasper.config import GenerateConfig, PromptConfig, SynthesizeConfig
from grasper.desk import Desk
from grasper.methods import Method, get_method
from grasper.models.base import Completion, Prompt, TextModel, prompt_seeds
from grasper.models.scripted import ScriptedModel
from grasper.records import CANDIDATE_COLUMNS, EXAMPLE_COLUMNS, ITEM_COLUMNS, Example, Review, Split, Tables
from grasper.retrieve.pool import POOLS
from grasper.retrieve.store import ReviewStore
from grasper.system import System

WORDS = ("warm", "cold", "bed", "cake", "noisy", "kind", "sea", "late")
ITEMS = ("i0", "i1", "i2", "i3")
SPLITS: tuple[Split, ...] = ("align", "held-out", "dev-a", "dev-b", "test")


@st.composite
def worlds(draw: st.DrawFn) -> tuple[list[Review], list[Example]]:
    """Up to nine reviews by four users of four items, all fields unique, every one of them also an example."""
    reviews = [
        Review(
            review_id=f"r{number}",
            user_id=draw(st.sampled_from(["u0", "u1", "u2", "u3"])),
            item_id=draw(st.sampled_from(ITEMS)),
            text=f"secrettext{number} {' '.join(draw(st.lists(st.sampled_from(WORDS), max_size=5)))}".strip(),
            title=draw(st.sampled_from([None, f"secrettitle{number} {draw(st.sampled_from(WORDS))}"])),
            rating=draw(st.sampled_from([None, 3 + number / 1000])),
            timestamp=draw(st.sampled_from([None, 1, 2])),
            split=draw(st.sampled_from(["train", "dev"])),
        )
        for number in range(draw(st.integers(2, 9)))
    ]
    examples = []
    for target in reviews:
        split = draw(st.sampled_from([split for split in SPLITS if target.split in POOLS[split]]))
        examples.append(Example(f"e-{target.review_id}", target, split))
    return reviews, examples


def tables_of(reviews: Sequence[Review], examples: Sequence[Example]) -> Tables:
    """The world as `prepare` would have written it."""
    rows = [(e.example_id, e.target.review_id, e.user_id, e.item_id, e.split, e.cutoff, e.is_repeated) for e in examples]
    items = [(item_id, f"Name of {item_id}", "place", None) for item_id in ITEMS]
    return Tables(
        pd.DataFrame([asdict(review) for review in reviews]),
        pd.DataFrame(items, columns=list(ITEM_COLUMNS)),
        pd.DataFrame(rows, columns=list(EXAMPLE_COLUMNS)),
    )


def candidates_of(examples: Sequence[Example]) -> pd.DataFrame:
    """A link predictor that expects every item but the requested one, in order."""
    rows = [
        (example.example_id, example.user_id, item_id, rank, 1 / rank)
        for example in examples
        for rank, item_id in enumerate((item_id for item_id in ITEMS if item_id != example.item_id), start=1)
    ]
    return pd.DataFrame(rows, columns=list(CANDIDATE_COLUMNS))


def with_target(reviews: Sequence[Review], example: Example, **changes: object) -> tuple[list[Review], Example]:
    """The same world with some fields of one target replaced."""
    target = replace(example.target, **changes)  # type: ignore[arg-type]
    return [target if review.review_id == target.review_id else review for review in reviews], replace(example, target=target)


class NothingKnown:
    """Stands in for a link predictor that has not seen anything yet."""

    def tastes(self, example: Example) -> None:
        return None


def desk_of(method: str | Method, tables: Tables, model: TextModel | None = None, *, seed: int = 0, **settings: Any) -> Desk:
    """The desk of a method over a world; settings are those of the prompts."""
    exemplars = settings.pop("exemplars", None)
    chosen = get_method(method) if isinstance(method, str) else method
    open_model = None if model is None else lambda: model
    return Desk(chosen, ReviewStore(tables, seed=seed, predictor=lambda: NothingKnown()), PromptConfig(**settings), open_model, seed, exemplars)


def system_of(
    method: str | Method,
    tables: Tables,
    model: TextModel | None = None,
    *,
    candidates: pd.DataFrame | None = None,
    synthesis: SynthesizeConfig | None = None,
    generation: GenerateConfig | None = None,
    **settings: Any,
) -> System:
    """A method over a world, with a link predictor that gives `candidates` to everybody who is in them."""
    desk = desk_of(method, tables, model, **settings)
    forecast = None if candidates is None else lambda examples: candidates
    return System(desk, synthesis or SynthesizeConfig(), generation or GenerateConfig(), forecast)


def shown(prompt: Prompt) -> str:
    """All that a model sees of a prompt."""
    return "\n".join([*(message.content for message in prompt.messages), prompt.prefix])


ANSWER = "Style: calm\nInterests: rooms\nPlan: praise the bed\nRating: 4\nTitle: Fine place\nText: It was a fine place number {number} for all of us."


class RecordingModel(ScriptedModel):
    """Writes acceptable reviews and remembers every prompt, those of ratings included."""

    def __init__(self) -> None:
        super().__init__(lambda prompt: ANSWER.format(number=len(self.prompts)), context_tokens=4096)

    def score_choices(self, prompts, choices):  # type: ignore[no-untyped-def]
        self.prompts.extend(prompts)
        return super().score_choices(prompts, choices)


class SeededModel(ScriptedModel):
    """Answers by prompt and seed, so that a wrong seed shows; fails at call number `fails_at`, as a kill would."""

    def __init__(self, fails_at: int | None = None) -> None:
        super().__init__(context_tokens=4096)
        self.calls, self.fails_at = 0, fails_at

    def generate(self, prompts, *, n=1, seed=0, **settings):  # type: ignore[no-untyped-def]
        if self.calls == self.fails_at:
            raise KeyboardInterrupt
        self.calls += 1
        return [
            [Completion(ANSWER.format(number=f"{abs(hash_of(shown(prompt)))} {own} {sample}"), 7, 3) for sample in range(n)]
            for prompt, own in zip(prompts, prompt_seeds(seed, len(prompts)), strict=True)
        ]


def hash_of(text: str) -> int:
    """A number that is the same in every process."""
    return sum(ord(letter) * position for position, letter in enumerate(text, start=1))
