"""The protocol of a language model: the one door through which every stage asks for text (DESIGN: models)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, cast, runtime_checkable

from grasper.errors import ShapeError
from grasper.runs import derive_seed

if TYPE_CHECKING:
    import numpy as np

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True)
class Message:
    """One chat message."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """A conversation to be answered. `prefix` is the beginning of the answer, already written; completions continue it and do not repeat it."""

    messages: tuple[Message, ...]
    prefix: str = ""


@dataclass(frozen=True, slots=True)
class Pool:
    """Prompts behind all of which one text is written at once, and their weights, which sum to 1 (`models.pooling`)."""

    prompts: tuple[Prompt, ...]
    weights: tuple[float, ...]
    is_mixture: bool = False
    """A text is written behind one of them instead, drawn by weight."""


def even_mixture(prompts: Sequence[Prompt]) -> Pool:
    """A mixture of prompts that weigh the same."""
    return Pool(tuple(prompts), (1 / len(prompts),) * len(prompts), is_mixture=True)


@dataclass(frozen=True, slots=True)
class Completion:
    """One answer: text without special tokens, token counts, why it ended, and the mean log-probability per generated token (nats, ≤ 0)."""

    text: str
    tokens_in: int = 0
    """Read, and paid, for this answer: 0 where the prompt was read for another sample of it."""
    tokens_out: int = 0
    finish_reason: Literal["stop", "length", "error"] = "stop"
    mean_logprob: float | None = None


ToldBy = Literal["measured", "sampled", "none"]
"""The model's own probabilities, the shares among a few answers that it gave, or nothing: it named no choice, and all count the same."""


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """What a model says of the choices behind one prompt, and how it came to be known."""

    probabilities: np.ndarray
    """Of each choice, `[choices]`; they sum to 1."""
    told_by: ToldBy = "measured"
    tokens_in: int = 0
    tokens_out: int = 1


def prompt_seeds(seed: int | Sequence[int], count: int) -> list[int]:
    """One seed per prompt, from one for all or from just these.

    Raises:
        ShapeError: There are not as many seeds as prompts.
    """
    if isinstance(seed, int):
        return [derive_seed(seed, number) for number in range(count)]
    if len(seed) != count:
        raise ShapeError(f"{len(seed)} seeds for {count} prompts, expected one for each")
    return list(seed)


def most_tokens(max_new_tokens: int | Sequence[int], count: int) -> list[int]:
    """The most tokens of the answer to each prompt, from one number for all or from just these.

    Raises:
        ShapeError: There are not as many numbers as prompts.
    """
    if isinstance(max_new_tokens, int):
        return [max_new_tokens] * count
    if len(max_new_tokens) != count:
        raise ShapeError(f"{len(max_new_tokens)} greatest lengths for {count} prompts, expected one for each")
    return list(max_new_tokens)


@runtime_checkable
class TextModel(Protocol):
    """Anything that answers prompts. Implementations: `local`, `endpoint`, `scripted`."""

    name: str
    """Stable identity (id or path, revision, adapter), part of a run's fingerprint."""
    context_tokens: int
    """Longest prompt plus answer."""

    def count_tokens(self, text: str) -> int:
        """Number of tokens of plain text; an estimate where the tokenizer is not known."""
        ...

    def truncate(self, text: str, max_tokens: int) -> str:
        """The longest beginning of `text` that has at most `max_tokens` tokens."""
        ...

    def generate(
        self,
        prompts: Sequence[Prompt],
        *,
        n: int = 1,
        temperature: float | None = 0.7,
        top_p: float = 0.9,
        max_new_tokens: int | Sequence[int] = 160,
        seed: int | Sequence[int] = 0,
    ) -> list[list[Completion]]:
        """`n` completions for each prompt, in the order of the prompts. Temperature 0 is greedy, None the model's own.

        Args:
            max_new_tokens: One for all prompts, or one for each.
            seed: One for all prompts, or one for each; then what is drawn for a prompt does not depend on the others.
        """
        ...

    def score_choices(self, prompts: Sequence[Prompt], choices: Sequence[str]) -> np.ndarray:
        """Probability of each choice as the continuation of each prompt, `[len(prompts), len(choices)]`; rows sum to 1."""
        ...


class ScoringModel(TextModel, Protocol):
    """A model whose scores do not always come from probabilities, and that tells."""

    def scored(self, prompts: Sequence[Prompt], choices: Sequence[str]) -> list[Scored]:
        """What `score_choices` gives, prompt by prompt, with how each was found."""
        ...


@runtime_checkable
class PoolingModel(TextModel, Protocol):
    """A model that can write one text behind several prompts at once."""

    can_pool: bool
    """Whether this one's network can."""

    def generate_pooled(
        self,
        pools: Sequence[Pool],
        *,
        n: int = 1,
        temperature: float | None = 0.7,
        top_p: float = 0.9,
        max_new_tokens: int = 160,
        seed: int | Sequence[int] = 0,
        min_new_tokens: Sequence[int] | None = None,
    ) -> list[list[Completion]]:
        """`n` completions for each pool, in the order of the pools."""
        ...


def scored(model: TextModel, prompts: Sequence[Prompt], choices: Sequence[str]) -> list[Scored]:
    """What a model says of the choices behind each prompt; probabilities are the model's own unless it tells otherwise (`ScoringModel`)."""
    if hasattr(model, "scored"):
        return cast(ScoringModel, model).scored(prompts, choices)
    return [Scored(row, tokens_in=tokens_of(model, prompt)) for row, prompt in zip(model.score_choices(prompts, choices), prompts, strict=True)]


def tokens_of(model: TextModel, prompt: Prompt) -> int:
    """Tokens of what a prompt says, without those of the template around it."""
    return sum(model.count_tokens(message.content) for message in prompt.messages) + model.count_tokens(prompt.prefix)


def at_once(size: int, model: TextModel) -> int:
    """How many requests to hand to a model in one batch: `size`, or more where it answers many in the time of one (`model.parallelism`)."""
    factor: int = getattr(model, "parallelism", 1)
    return size * factor
