"""What a run will ask of a server, before anything is paid: requests, tokens, time and price of every step that asks the language model.

Requests follow from the configuration and the sizes of the data. Tokens of prompts are estimated from the mean length of the reviews that they
show; tokens of answers are what the answers are allowed, so that they rather come out too high. A server that takes no `n` or gives no
log-probabilities needs more requests (and repeats the prompt in each): `most_requests`. Thoughts of models that think are not foreseen.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from grasper.config import Config, GenerateConfig
from grasper.generate.writers import uses_model
from grasper.methods import Method, get_method
from grasper.prompts.budget import max_new_tokens
from grasper.prompts.templates import AnswerTask
from grasper.records import Task, tasks_of
from grasper.retrieve.profile import RANDOM_ENTRIES

if TYPE_CHECKING:
    from grasper.records import Tables

INSTRUCTION_TOKENS = {"plain": 110, "reasoning": 190}
"""Of the system message, the task and the item."""
ENTRY_TOKENS = 12
"""Rating, title and item of a review that a prompt shows."""
EXEMPLAR_TOKENS = 90
"""Of a solved request beside its text."""
RETRIED_SHARE = 0.2
"""Synthetic reviews that fail the quality gate and are written once more."""
SECONDS_BEFORE_ANSWER, TOKENS_PER_SECOND = 0.5, 50.0
"""How fast one request is answered beside others: a middling server."""
BYTES_PER_TOKEN = 3.5
MEASURED_REVIEWS = 10_000


@dataclass(frozen=True)
class WorkSizes:
    """Sizes of the data that decide the work; see `measure`."""

    targets: Mapping[Task, int]
    """Targets that are asked, by task."""
    examples: int
    """Targets, whatever they are asked."""
    pairs: int
    """Alignment pairs that the data hold."""
    own_reviews: float
    """Mean number of own reviews that a prompt can show."""
    neighbours: float
    """Mean number of other people's reviews of the item that a prompt can show."""
    review_tokens: float
    """Mean length of a review, as far as prompts show it."""


@dataclass(frozen=True)
class StepEstimate:
    """One step."""

    name: str
    requests: int = 0
    most_requests: int = 0
    tokens_in: int = 0
    tokens_out: int = 0

    def __add__(self, other: StepEstimate) -> StepEstimate:
        """This step with further requests."""
        return StepEstimate(self.name, *(mine + further for mine, further in zip(self._numbers, other._numbers, strict=True)))

    def part(self, share: float) -> StepEstimate:
        """The same step, where so much of it is left to do."""
        return StepEstimate(self.name, *(round(number * share) for number in self._numbers))

    @property
    def _numbers(self) -> tuple[int, int, int, int]:
        return self.requests, self.most_requests, self.tokens_in, self.tokens_out


@dataclass(frozen=True)
class Estimate:
    """A whole plan. Seconds and price are of all its steps."""

    steps: tuple[StepEstimate, ...]
    seconds: float
    price: float | None
    """None where no price is configured."""

    def total(self, name: str) -> int:
        """The sum of one number (`requests`, `tokens_in` …) over the steps."""
        return sum(getattr(step, name) for step in self.steps)


def measure(tables: Tables, config: Config) -> WorkSizes:
    """The sizes of prepared data under a configuration."""
    targets = tables.select(config.split, config.limit)
    tasks: dict[Task, int] = {task: sum(task in tasks_of(example) for example in targets) for task in config.tasks}
    by_user, by_item = tables.reviews["user_id"].value_counts(), tables.reviews["item_id"].value_counts()
    return WorkSizes(
        targets=tasks,
        examples=len(targets),
        pairs=min(int((tables.examples["split"] == "align").sum()), config.num_alignment_pairs or len(tables.examples)),
        own_reviews=_mean(min(by_user.get(example.user_id, 1) - 1, config.prompts.own_entries) for example in targets),
        neighbours=_mean(min(by_item.get(example.item_id, 1) - 1, config.prompts.neighbour_entries) for example in targets),
        review_tokens=_mean(
            min(len(text.encode("utf-8", "replace")) / BYTES_PER_TOKEN, config.prompts.neighbour_tokens)
            for text in tables.reviews["text"].head(MEASURED_REVIEWS)
            if text
        ),
    )


def estimate(config: Config, sizes: WorkSizes, methods: Sequence[Method], *, left: Mapping[str, float] | None = None) -> Estimate:
    """What the steps of some methods will ask of the configured endpoint, the alignment of the methods whose adapter they use included.

    Args:
        left: Share of a step that is still to be done, by its name (`align/grasper`), 0–1; steps that are not named are to be done whole.
    """
    writing = [method for method in methods if uses_model(method)]
    made = [_align(_Prompts(config, sizes, owner, is_aligned=False)) for owner in {method.aligned_as: _owner(method) for method in writing}.values()]
    for prompts in (_Prompts(config, sizes, method) for method in writing):
        made += [_synthesize(prompts, sizes.examples, f"synthesize/{prompts.method.name}"), _generate(prompts)]
    steps = [step for step in (one.part((left or {}).get(one.name, 1.0)) for one in made) if step.requests]
    tokens_in, tokens_out, requests = (sum(getattr(step, name) for step in steps) for name in ("tokens_in", "tokens_out", "requests"))
    model = config.model
    is_priced = model.price_in is not None or model.price_out is not None
    return Estimate(
        tuple(steps),
        seconds=(requests * SECONDS_BEFORE_ANSWER + tokens_out / TOKENS_PER_SECOND) / model.concurrency,
        price=(tokens_in * (model.price_in or 0.0) + tokens_out * (model.price_out or 0.0)) / 1e6 if is_priced else None,
    )


@dataclass(frozen=True)
class _Prompts:
    """How long the prompts of one method are."""

    config: Config
    sizes: WorkSizes
    method: Method
    is_aligned: bool = True
    """Whether gold paths are there to be shown."""

    def tokens_in(self, task: AnswerTask, *, shows_synthetic: bool = True) -> float:
        """Of one prompt."""
        config, method, length = self.config.prompts, self.method, self.sizes.review_tokens
        shown = (
            (method.own, self.sizes.own_reviews, config.own_tokens),
            (bool(method.others), RANDOM_ENTRIES if method.others == "random" else self.sizes.neighbours, config.neighbour_tokens),
            (method.predicts_items and shows_synthetic, self._synthetic(), config.predicted_tokens),
        )
        evidence = sum(number * min(length + ENTRY_TOKENS, most) for is_shown, number, most in shown if is_shown)
        given = min(length, config.given_tokens) if task in ("title", "rating") else 0.0
        exemplars = self.config.align.exemplars * (EXEMPLAR_TOKENS + length) if self._has_exemplars() else 0.0
        instructions = INSTRUCTION_TOKENS["reasoning" if method.reasoning else "plain"]
        return min(instructions + given + evidence + exemplars, config.context_tokens - self.tokens_out(task))

    def tokens_out(self, task: AnswerTask) -> int:
        """That one answer is allowed."""
        return max_new_tokens(task, self.config.prompts, reasoning=self.method.reasoning)

    def step(self, name: str, parts: Iterable[tuple[AnswerTask, float, int]]) -> StepEstimate:
        """A step of some requests: task, how many, and how many samples of each."""
        requests = most = tokens_in = tokens_out = 0.0
        for task, number, samples in parts:
            requests += number
            most += number * samples
            tokens_in += number * self.tokens_in(task, shows_synthetic=task != "review")
            tokens_out += number * samples * self.tokens_out(task)
        return StepEstimate(name, round(requests), round(most), round(tokens_in), round(tokens_out))

    def _synthetic(self) -> int:
        return min(self.config.synthesize.num_items, self.config.prompts.predicted_entries)

    def _has_exemplars(self) -> bool:
        return self.is_aligned and self.config.aligns(self.method) and not self.config.model.has_weights


def _owner(method: Method) -> Method:
    return get_method(method.aligned_as)


def _generate(prompts: _Prompts) -> StepEstimate:
    if prompts.method.trajectories:
        return _take_turns(prompts)
    config = prompts.config
    samples, polled = config.generate.consensus_samples, config.model.rating_samples
    parts: list[tuple[AnswerTask, float, int]] = []
    for task, number in prompts.sizes.targets.items():
        if task == "rating":
            parts += [(task, number, samples)] if prompts.method.reasoning else []
            scored = number * (samples if prompts.method.reasoning else 1)
            parts.append((task, scored, 1))
        elif prompts.method.reasoning and _thinks_apart(config.generate, task):
            parts += [(task, number, samples), (task, number * samples, 1)]
        else:
            parts.append((task, number, samples))
    name = f"generate/{prompts.method.name}"
    scores = prompts.sizes.targets.get("rating", 0) * (samples if prompts.method.reasoning else 1)
    return prompts.step(name, parts) + StepEstimate(name, most_requests=scores * polled)


def _thinks_apart(config: GenerateConfig, task: Task) -> bool:
    """Whether a path is asked for on its own, before its answer."""
    return config.path_temperature is not None or config.counted_path or (task == "long" and config.least_length > 0)


def _take_turns(prompts: _Prompts) -> StepEstimate:
    """Generation by roles that take turns: in each turn the notes of every reasoner and a draft, as if no request were settled early."""
    config, name, turns = prompts.config, f"generate/{prompts.method.name}", prompts.method.steps + 1
    drafts = prompts.step(name, [(task, number * turns, 1) for task, number in prompts.sizes.targets.items()])
    notes = drafts.part(len(prompts.method.trajectories))
    notes = replace(notes, tokens_out=notes.requests * config.prompts.path_tokens)
    further = config.generate.consensus_samples - 1
    votes = prompts.step(name, [(task, number, further) for task, number in prompts.sizes.targets.items() if further and task != "rating"])
    scores = prompts.sizes.targets.get("rating", 0) * turns
    return drafts + notes + votes + StepEstimate(name, most_requests=scores * config.model.rating_samples)


def _synthesize(prompts: _Prompts, examples: int, name: str) -> StepEstimate:
    if not prompts.method.predicts_items:
        return StepEstimate(name)
    first = examples * prompts.config.synthesize.num_items
    return replace(prompts.step(name, [("review", first * (1 + RETRIED_SHARE), 1)]), most_requests=2 * first)


def _align(prompts: _Prompts) -> StepEstimate:
    """Alignment at the endpoint itself, where exemplars are chosen among sampled answers; nothing where a local model is trained."""
    config, method, name = prompts.config, prompts.method, f"align/{prompts.method.name}"
    align = config.align
    if config.model.has_weights or not config.aligns(method):
        return StepEstimate(name)
    samples, pairs = align.num_samples, prompts.sizes.pairs
    if align.review_pairs and not method.predicts_items:
        pairs -= pairs // 4  # those whose turn is a whole review
    written = align.gold_text == "real" and method.training != "em" and not method.reasoning
    parts: list[tuple[AnswerTask, float, int]] = []
    for source in () if written else align.sources if method.reasoning else ("direct",):
        parts.append(("long", pairs, samples))
        parts += [("long", pairs * samples, 1)] if source == "hindsight" else []
        parts += [("rating", pairs * samples, 1)] if align.reward == "judge" else []
    return prompts.step(name, parts) + _synthesize(prompts, pairs, name)


def _mean(values: Iterable[float]) -> float:
    values = list(map(float, values))
    return sum(values) / len(values) if values else 0.0
