"""Paths before their answers: what is counted, what is guessed, and the pool of several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from worlds import desk_of, system_of

from grasper.config import GenerateConfig, PromptConfig
from grasper.desk import Desk
from grasper.generate import generate
from grasper.generate.thinking import LEAST_PLAN_TOKENS, Thinking
from grasper.methods import get_method
from grasper.models.base import Completion, Message, Pool, Prompt
from grasper.models.decoding import has_exact_batches
from grasper.models.local import LocalModel
from grasper.models.scripted import ScriptedModel
from grasper.reason.analyse import analyse, without_length
from grasper.records import Item, Output, Profile, Request, SyntheticReview, Tables, Task, request_for
from grasper.retrieve.store import ReviewStore
from grasper.written import load_outputs

PATH = "Style: s\nInterests: i\nPlan: a"
GUESS = " glad, about 60 words; praise bed\nText: never shown"
SYNTHETIC = SyntheticReview("tiny-dev-000001", "dora", Item("boat", "Seal Tours"), "Windy, and so many seals!")


class Pooling(ScriptedModel):
    """Writes one plan after the other, and remembers what its answers stand behind."""

    can_pool = True

    def __init__(self, plans: Sequence[str] = (GUESS,)) -> None:
        self.prefixes: list[str] = []
        self.pools: list[Pool] = []
        super().__init__(list(plans))

    def generate(self, prompts: Sequence[Prompt], **options: Any) -> list[list[Completion]]:
        self.prefixes += [prompt.prefix for prompt in prompts]
        return super().generate(prompts, **options)

    def generate_pooled(self, pools: Sequence[Pool], *, n: int = 1, **options: Any) -> list[list[Completion]]:
        self.pools += pools
        return [_drafts(9, n) for _ in pools]


def _drafts(tokens_in: int, n: int) -> list[Completion]:
    """Samples behind what was read once."""
    return [Completion(" A fine stay.", tokens_in=0 if number else tokens_in, tokens_out=4) for number in range(n)]


def written(
    tables: Tables, out_dir: Path, model: ScriptedModel, task: Task, method: str = "grasper-no-graph", *, neighbours: int = 4, **settings: Any
) -> list[Output]:
    system = system_of(method, tables, model, seed=3, generation=GenerateConfig(**settings), neighbour_entries=neighbours)
    generate(lambda task, examples: system.write(task, examples, {}), tables.select("dev"), [task], out_dir, name=method)
    return load_outputs(out_dir / "outputs.jsonl")


def thinking(tables: Tables, model: ScriptedModel, **settings: Any) -> Thinking:
    desk = Desk(get_method("grasper-no-graph"), ReviewStore(tables), PromptConfig(), lambda: model)
    return Thinking(desk, GenerateConfig(**settings))


def pooled(tables: Tables, paths: Sequence[str], task: Task, **settings: Any) -> Pool:
    """What an answer to the first request stands behind."""
    one, example = thinking(tables, Pooling(), **settings), tables.select("dev")[0]
    request = request_for(example, task, tables.item(example.item_id))
    profile = one.desk.profiles.for_request(request, example)
    return one.pool(request, profile, one.desk.prompt(request, profile), paths)


def behind_sets(tables: Tables, method: str, paths: Sequence[str] = (), *synthetic: SyntheticReview, **settings: Any) -> tuple[Pool, list[str]]:
    """What Dora's answer about the inn stands behind with three sets of one neighbour each, and what every prompt shows: l(ee), a(nn), u(ser3), and
    s(ynthetic reviews)."""
    one = Thinking(desk_of(method, tables, Pooling(), neighbour_entries=1), GenerateConfig(neighbour_sets=3, **settings))
    (dora,) = tables.select("dev-b")
    request = request_for(dora, "long", tables.item("inn"))
    profile = one.desk.profiles.for_request(request, dora, synthetic, sets=one.num_sets)
    pool = one.pool(request, profile, one.desk.prompt(request, profile), paths)
    shows = {"l": "Lovely quiet room", "a": "noisy street", "u": "Nice stay!", "s": SYNTHETIC.text}
    return pool, ["".join(name for name, text in shows.items() if text in prompt.messages[-1].content) for prompt in pool.prompts]


def think(tables: Tables, model: ScriptedModel, count: int = 1, **settings: Any) -> tuple[list[str], list[Request], list[Profile]]:
    """The first path of every dev example's text."""
    one = thinking(tables, model, **settings)
    examples = tables.select("dev")
    requests = [request_for(example, "long", tables.item(example.item_id)) for example in examples]
    profiles = [one.desk.profiles.for_request(*parts) for parts in zip(requests, examples, strict=True)]
    prompts = [one.desk.prompt(*parts) for parts in zip(requests, profiles, strict=True)]
    return [group[0].text for group in one.think(requests, profiles, prompts, range(len(requests)), count)], requests, profiles


def test_a_path_does_not_depend_on_who_else_is_asked(tables: Tables) -> None:
    """Each plan has the room that its own counted lines leave, so that a larger limit or another batch changes nothing."""
    plan = " glad; " + ", ".join(f"praise item number {number}" for number in range(30))
    together, requests, profiles = think(tables, Pooling([plan]), counted_path=True)
    one = thinking(tables, Pooling([plan]), counted_path=True)
    prompts = [one.desk.prompt(*parts) for parts in zip(requests, profiles, strict=True)]
    alone = [
        one.think([request], [profile], [prompt], [0], 1)[0][0].text for request, profile, prompt in zip(requests, profiles, prompts, strict=True)
    ]
    assert alone == together
    lengths = {one.desk.model.count_tokens(path) for path in together}
    assert max(lengths) <= one.desk.prompts.path_tokens + LEAST_PLAN_TOKENS
    counted = {one.desk.model.count_tokens(analyse(*parts).render_before_plan()) for parts in zip(requests, profiles, strict=True)}
    assert len(counted) > 1


def test_what_can_be_counted_is_not_guessed(tables: Tables) -> None:
    """Style and interests are those of the analysis; the plan is the model's, without a length and without the answer behind it."""
    model = Pooling()
    paths, requests, profiles = think(tables, model, counted_path=True)
    for path, request, profile, prefix in zip(paths, requests, profiles, model.prefixes, strict=True):
        known = analyse(request, profile)
        assert prefix == f"Style: {known.style}\nInterests: {known.interests}\nPlan:"
        assert path == f"{prefix} glad; praise bed"


def test_counted_lines_without_a_plan_are_no_path(tables: Tables) -> None:
    assert set(think(tables, Pooling(["\nText: no plan"]), counted_path=True)[0]) == {""}


@pytest.mark.parametrize("written", ["Style: s\nInterests:\nPlan: glad", "Style: s\nInterests: i\nText: no plan", "Plan:"])
def test_a_path_that_lacks_a_line_is_none(tables: Tables, written: str) -> None:
    """An empty line counts as a missing one."""
    assert set(think(tables, Pooling([written]))[0]) == {""}


def test_a_path_that_is_not_counted_stays_as_written(tables: Tables) -> None:
    model = Pooling(["Style: s\nInterests: i\nPlan: glad, about 60 words\nText: x"])
    assert set(think(tables, model)[0]) == {"Style: s\nInterests: i\nPlan: glad, about 60 words"}
    assert set(model.prefixes) == {""}


@pytest.mark.parametrize(
    ("plan", "expected"),
    [
        ("very positive, about 60 words; praise pool, about town", "very positive; praise pool, about town"),
        ("negative, about 200 characters", "negative"),
        ("positive; praise rooms, about 20 steps away", "positive; praise rooms, about 20 steps away"),
        ("", ""),
    ],
)
def test_the_planned_length_alone_is_taken_out(plan: str, expected: str) -> None:
    assert without_length(plan) == expected


def test_a_pool_weighs_paths_by_how_often_they_came(tables: Tables) -> None:
    pool = pooled(tables, ["Plan: a", "Plan: b", "Plan: a", ""], "long", pooled_paths=4, plain_weight=0.2)
    assert [prompt.prefix for prompt in pool.prompts] == ["Text:", "Plan: a\nText:", "Plan: b\nText:"]
    assert pool.weights == pytest.approx((0.2 + 0.8 / 4, 0.8 / 2, 0.8 / 4))


def test_only_what_stands_behind_a_path_is_asked_for_one(tables: Tables) -> None:
    """A prompt that asks for a path and an answer without one were never seen together in training."""
    pool = pooled(tables, ["Plan: a"], "long", pooled_paths=1)
    assert [("Plan:" in prompt.messages[-1].content, prompt.prefix) for prompt in pool.prompts] == [(False, "Text:"), (True, "Plan: a\nText:")]


@pytest.mark.parametrize("paths", [[], ["", ""]])
def test_without_a_path_the_evidence_alone_is_left(tables: Tables, paths: list[str]) -> None:
    pool = pooled(tables, paths, "title", pooled_paths=4)
    assert [prompt.prefix for prompt in pool.prompts] == ["Title:"]
    assert pool.weights == pytest.approx((1.0,))


def test_an_answer_stands_behind_all_paths_and_the_first_is_told(tables: Tables, tmp_path: Path) -> None:
    model = Pooling(["Style: s\nInterests: i\nPlan: a\nText: x", "Style: s\nInterests: i\nPlan: b\nText: x"])
    outputs = written(tables, tmp_path, model, "long", pooled_paths=2)
    assert len(model.pools) == len(outputs) == 3
    for pool, output in zip(model.pools, outputs, strict=True):
        assert {prompt.prefix.split("Plan: ")[-1] for prompt in pool.prompts} == {"Text:", "a\nText:", "b\nText:"}
        assert sum(pool.weights) == pytest.approx(1)
        assert output.text == "A fine stay."
        assert output.is_parsed
        assert output.path == next(prompt.prefix for prompt in pool.prompts if prompt.prefix != "Text:").removesuffix("\nText:")


@pytest.mark.parametrize("task", ["long", "title", "rating"])
def test_a_path_that_was_not_written_makes_no_pool_unreadable(tables: Tables, tmp_path: Path, task: Task) -> None:
    """The answer stands behind the others as well, so the first of these is told."""

    class Paths(Pooling):
        def generate(self, prompts: Sequence[Prompt], *, n: int = 1, **options: Any) -> list[list[Completion]]:
            return [[Completion(text) for text in ("Text: no path", PATH)[:n]] for _ in prompts]

    outputs = written(tables, tmp_path, Paths(), task, pooled_paths=2)
    assert {(output.path, output.is_parsed) for output in outputs} == {(PATH, True)}


def test_a_rating_is_the_mean_over_the_pool(tables: Tables, tmp_path: Path) -> None:
    """Behind paths that say two things, and by half without any: the weights of the pool are those of the probabilities."""

    def probability(prompt: Prompt, choice: str) -> float:
        return {" 1": 0.8, " 5": 0.2}.get(choice, 0.0) if "Plan" in prompt.prefix else {" 5": 1.0}.get(choice, 0.0)

    class Rating(Pooling):
        def score_choices(self, prompts: Sequence[Prompt], choices: Sequence[str]) -> Any:
            import numpy as np

            return np.array([[probability(prompt, choice) for choice in choices] for prompt in prompts])

    (output, *_) = written(tables, tmp_path, Rating(["Style: s\nInterests: i\nPlan: a"]), "rating", pooled_paths=3, plain_weight=0.25)
    assert output.probabilities == pytest.approx((0.6, 0, 0, 0, 0.4))


def test_a_model_that_cannot_pool_writes_behind_one_path(tables: Tables, tmp_path: Path) -> None:
    model = Pooling(["Style: s\nInterests: i\nPlan: a\nText: One path."])
    model.can_pool = False
    outputs = written(tables, tmp_path, model, "long", pooled_paths=4)
    assert not model.pools
    assert {output.text for output in outputs} == {"One path."}


def test_methods_that_do_not_reason_are_left_alone(tables: Tables, tmp_path: Path) -> None:
    model = Pooling(["Text: Plain."])
    outputs = written(tables, tmp_path, model, "long", "pgraphrag", pooled_paths=4, counted_path=True)
    assert not model.pools
    assert set(model.prefixes) == {""}
    assert {output.text for output in outputs} == {"Plain."}


@pytest.mark.parametrize("method", ["grasper", "grasper-no-reasoning", "pgraphrag-sets"])
def test_every_set_of_neighbours_has_a_prompt_of_its_own(tables: Tables, method: str) -> None:
    """With and without reasoning, in equal parts, whatever real reviews alone weigh beside what the model made up: there is nothing of it."""
    pool, shown = behind_sets(tables, method, plain_weight=0.2)
    assert shown == ["l", "a", "u"]
    assert pool.weights == pytest.approx((1 / 3,) * 3)
    assert not pool.is_mixture
    assert {prompt.prefix for prompt in pool.prompts} == {"Text:"}
    assert not any("Plan:" in prompt.messages[-1].content for prompt in pool.prompts)


def test_what_the_model_made_up_stands_apart_from_real_reviews_alone(tables: Tables) -> None:
    """Those weigh `plain_weight` together; synthetic reviews stand behind the paths and, where one is missing, in a prompt that asks for none."""
    pool, shown = behind_sets(tables, "grasper", ["Plan: a", "Plan: b", "Plan: a", ""], SYNTHETIC, plain_weight=0.4)
    assert shown == ["l", "a", "u", "ls", "ls", "ls"]
    assert pool.weights == pytest.approx((0.4 / 3, 0.4 / 3, 0.4 / 3, 0.3, 0.15, 0.15))
    assert [prompt.prefix for prompt in pool.prompts] == ["Text:"] * 3 + ["Plan: a\nText:", "Plan: b\nText:", "Text:"]
    assert ["Plan:" in prompt.messages[-1].content for prompt in pool.prompts] == [False] * 3 + [True, True, False]


@pytest.mark.parametrize(("plain_weight", "expected"), [(0.0, ["ls"]), (0.5, ["l", "a", "u", "ls"]), (1.0, ["l", "a", "u"])])
def test_synthetic_reviews_are_shown_as_far_as_they_weigh(tables: Tables, plain_weight: float, expected: list[str]) -> None:
    """Without reasoning, too; what weighs nothing is not read."""
    assert behind_sets(tables, "grasper-no-reasoning", [], SYNTHETIC, plain_weight=plain_weight)[1] == expected


@pytest.mark.parametrize(
    ("method", "can_pool", "pools"),
    [
        ("pgraphrag-sets", True, True),
        ("grasper-no-reasoning", True, True),
        ("grasper", True, True),
        ("pgraphrag", True, False),
        ("grasper-one-set", True, False),
        ("pgraphrag-sets", False, False),
        ("grasper", False, False),
    ],
)
def test_who_writes_behind_several_sets(tables: Tables, tmp_path: Path, method: str, can_pool: bool, pools: bool) -> None:
    """Methods that pool neighbours, with a model that can; the evidence names all that is shown, and nothing else."""
    model = Pooling(["Style: s\nInterests: i\nPlan: a\nText: One set."])
    model.can_pool = can_pool
    outputs = written(tables, tmp_path, model, "long", method, neighbours=1, neighbour_sets=3)
    assert len(model.pools) == (len(outputs) if pools else 0)
    assert {output.text for output in outputs} == {"A fine stay." if pools else "One set."}
    (dora,) = (output for output in outputs if output.example_id == "tiny-dev-000001")
    neighbours = ["tiny-train-000001", "tiny-train-000003", "tiny-dev-000005"]
    assert list(dora.evidence) == ["tiny-dev-000002", *neighbours[: 3 if pools else 1]]


def nearly(completion: Completion) -> Completion:
    """Equal to the same text at the same probability but for rounding, which depends on the batch in float32."""
    return replace(completion, mean_logprob=pytest.approx(completion.mean_logprob, rel=1e-4))


def test_the_embedded_model_writes_behind_a_pool(tables: Tables, tmp_path: Path) -> None:
    """The same texts whatever stands beside them in a batch, samples that differ, and what is written goes by the seed."""
    model = LocalModel("nano", device="cpu")
    prompts = [Prompt((Message("user", f"Other reviews: a {word} room. Write."),), "Text:") for word in ("clean", "dark", "loud")]
    pools = [Pool(tuple(prompts[:2]), (0.5, 0.5)), Pool((prompts[2],), (1.0,)), Pool(tuple(prompts), (0.2, 0.3, 0.5))]
    options: dict[str, Any] = {"n": 2, "temperature": 1.0, "max_new_tokens": 12}
    together = model.generate_pooled(pools, seed=[1, 2, 3], **options)
    same = together if has_exact_batches(model.model) else [[nearly(one) for one in samples] for samples in together]
    assert [model.generate_pooled([pool], seed=[seed], **options)[0] for pool, seed in zip(pools, (1, 2, 3), strict=True)] == same
    assert together[0][0].text != together[0][1].text
    assert model.generate([prompts[2]], seed=[2], **options)[0][0].text == together[1][0].text
    model.batch_tokens = 64
    assert model.generate_pooled(pools, seed=[1, 2, 3], **options) == same


@pytest.mark.parametrize("task", ["long", "rating"])
@pytest.mark.parametrize("settings", [{}, {"path_temperature": 0.9, "consensus_samples": 3}, {"pooled_paths": 2, "consensus_samples": 2}])
def test_every_prompt_that_is_read_is_counted_once(tables: Tables, tmp_path: Path, task: Task, settings: dict[str, Any]) -> None:
    """Those of paths, of the answers behind them, and of the digits of a rating; samples of one prompt share it."""

    class Reader(Pooling):
        def __init__(self) -> None:
            self.read = 0
            super().__init__([f"Style: s\nInterests: i\nPlan: {word}\nText: x" for word in ("glad", "sad")])

        def count(self, prompts: Sequence[Prompt]) -> list[int]:
            sizes = [sum(self.count_tokens(message.content) for message in prompt.messages) + self.count_tokens(prompt.prefix) for prompt in prompts]
            self.read += sum(sizes)
            return sizes

        def generate(self, prompts: Sequence[Prompt], **options: Any) -> list[list[Completion]]:
            self.count(prompts)
            return super().generate(prompts, **options)

        def generate_pooled(self, pools: Sequence[Pool], *, n: int = 1, **options: Any) -> list[list[Completion]]:
            return [_drafts(sum(self.count(pool.prompts)), n) for pool in pools]

        def score_choices(self, prompts: Sequence[Prompt], choices: Sequence[str]) -> Any:
            self.count(prompts)
            return super().score_choices(prompts, choices)

    model = Reader()
    outputs = written(tables, tmp_path, model, task, **settings)
    assert sum(output.tokens_in for output in outputs) == model.read > 0
