"""The endpoint as a `TextModel`.

- The prompt's prefix goes out as a last assistant message; servers that continue it and servers that begin anew both work, since a
  repeated prefix is removed from the answer.
- Samples of one prompt are asked for together where the server knows `n`, else side by side with derived seeds; each has a place of its own in the
  cache, so that a second run costs nothing.
- An empty answer, or one that was cut off within a thought, is asked for again with another seed, and never kept.
- Choices are scored by the log-probabilities of the first token of the answer. Where the server gives none, a few answers are sampled and their
  shares count, which `scored` tells of each prompt.
"""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import numpy as np
from pydantic import BaseModel, ConfigDict

from grasper.errors import ConfigError
from grasper.files import cache_dir
from grasper.login import login_of
from grasper.models.base import Completion, Prompt, Scored, most_tokens, prompt_seeds, tokens_of
from grasper.models.budget import current_meter
from grasper.models.endpoint.abilities import REPEATS_OF_EMPTY, Abilities
from grasper.models.endpoint.access import make_access, open_http
from grasper.models.endpoint.answers import Answer, choice_in, weights_from_logprobs, whole_characters
from grasper.models.endpoint.cache import AnswerCache
from grasper.models.endpoint.client import Client, Patience
from grasper.models.endpoint.exchange import Exchange, text_of
from grasper.models.endpoint.request import Request
from grasper.runs import derive_seed

if TYPE_CHECKING:
    from grasper.config import ModelConfig

BYTES_PER_TOKEN = 3.5
"""Estimate for English under common tokenizers, on the safe side."""
DEFAULT_CONTEXT_TOKENS = 4096
CHOICE_TOKENS = 8
"""Room for an answer that is a choice."""
T = TypeVar("T")


class _Score(BaseModel):
    """What the cache keeps of a scored prompt."""

    model_config = ConfigDict(frozen=True)

    weights: tuple[float, ...]
    has_probabilities: bool
    tokens_in: int | None = None
    tokens_out: int | None = None
    """Of all answers that it took; None in entries of former versions."""

    def is_usable(self, num_choices: int) -> bool:
        sound = all(math.isfinite(weight) and weight >= 0 for weight in self.weights)
        return len(self.weights) == num_choices and sound and sum(self.weights) > 0


class EndpointModel:
    """A model that answers over HTTP. Safe under threads.

    Args:
        name: The model's name at the server.
        base_url: Address up to and with the version, for example http://localhost:8000/v1; a login in it is sent, and shown nowhere.
        api_key: Bearer token; None sends none.
        key_name: Where the key came from, for messages.
        concurrency: Requests under way at once, of all threads of this process and all models at this address together.
        context_tokens: Longest prompt plus answer; None assumes 4,096.
        cache_dir: Folder of the answers; None takes `files.cache_dir`.
        patience: How long and how often a request is tried.
        thinking_tokens: Further tokens of an answer where the model is found to think before it answers.
        rating_samples: Answers that are sampled to score choices where the server gives no log-probabilities.
        extra: Further fields of every request, for what a server knows beyond the protocol.
        price_in: Price of a million tokens of prompts.
        price_out: Price of a million tokens of answers.
        adapter: Hash of the adapter that the server holds under this name; answers of another one are not taken from the cache.

    Raises:
        ConfigError: An address or key that cannot be one.
    """

    def __init__(
        self,
        name: str,
        base_url: str,
        *,
        api_key: str | None = None,
        key_name: str = "the key's variable",
        concurrency: int = 8,
        context_tokens: int | None = None,
        cache_dir: Path | None = None,
        patience: Patience | None = None,
        thinking_tokens: int = 2048,
        rating_samples: int = 5,
        extra: Mapping[str, Any] | None = None,
        price_in: float | None = None,
        price_out: float | None = None,
        adapter: str | None = None,
    ) -> None:
        self._access = make_access(base_url, api_key, key_name=key_name)
        self.base_url = self._access.base_url
        self.model_name = name
        address = urlsplit(self.base_url)
        self.name = f"{name}@{address.hostname}{f':{address.port}' if address.port else ''}{address.path}"
        self.name += f"+{adapter}" if adapter else ""
        self.context_tokens = context_tokens or DEFAULT_CONTEXT_TOKENS
        self._concurrency, self._rating_samples = concurrency, rating_samples
        self._patience = patience or Patience()
        price = ((price_in or 0.0) / 1e6, (price_out or 0.0) / 1e6)
        self._exchange = Exchange(
            Abilities(self.name, thinking_tokens=thinking_tokens, context_tokens=context_tokens, price=price),
            AnswerCache(cache_dir),
            {"model": name, **(extra or {})},
            {"base_url": self.base_url, "model": name, "adapter": adapter, "extra": dict(extra or {})},
            self.count_tokens,
        )
        self._has_answered = False

    @classmethod
    def from_config(cls, config: ModelConfig, *, adapter: str | None = None) -> EndpointModel:
        """The endpoint that a configuration names, the same for all who ask with it; its key comes from the environment only.

        Args:
            adapter: Hash of the adapter that the server holds under the model's name.

        Raises:
            ConfigError: `model.base_url` is missing or no address, or the key cannot be one.
        """
        if config.base_url is None:
            raise ConfigError("model.kind=endpoint needs an address: --set model.base_url=http://localhost:8000/v1")
        return _open(config.model_dump_json(), os.environ.get(config.api_key_env) or None, login_of(config.base_url), cache_dir(), adapter)

    def count_tokens(self, text: str) -> int:
        """An estimate: one token for every 3.5 bytes."""
        return int(-(-len(text.encode("utf-8", "surrogatepass")) // BYTES_PER_TOKEN))

    def truncate(self, text: str, max_tokens: int) -> str:
        """The longest beginning of `text` that the estimate gives at most `max_tokens` tokens."""
        return whole_characters(text).encode()[: int(max(max_tokens, 0) * BYTES_PER_TOKEN)].decode(errors="ignore")

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
        """`n` completions for each prompt, in the order of the prompts. `temperature` None leaves it to the server.

        Raises:
            ModelNotFoundError: The server cannot be reached, or does not know the model.
            ModelError: The key is refused, the request is rejected, or the answer is not one of chat completions.
            BudgetSpentError: The budget holds no further request.
        """
        seeds, rooms = prompt_seeds(seed, len(prompts)), most_tokens(max_new_tokens, len(prompts))

        async def sample(index: int, prompt: Prompt, client: Client) -> list[Completion]:
            asked = [Request(prompt, temperature, top_p, rooms[index], derive_seed(seeds[index], number)) for number in range(n)]
            return [self._completion(prompt, answer) for answer in await self._exchange.answers(client, asked)]

        return self._for_each(prompts, sample)

    def score_choices(self, prompts: Sequence[Prompt], choices: Sequence[str]) -> np.ndarray:
        """Probability of each choice as the answer to each prompt, normalised over the choices: `[prompts, choices]`, rows sum to 1.

        Without log-probabilities from the server: the shares of the choices among a few sampled answers, equal ones where none names any.
        """
        return np.stack([one.probabilities for one in self.scored(prompts, choices)]) if prompts else np.zeros((0, len(choices)))

    def scored(self, prompts: Sequence[Prompt], choices: Sequence[str]) -> list[Scored]:
        """What `score_choices` gives, prompt by prompt, with how each was found and the tokens of all answers that it took."""

        async def score(index: int, prompt: Prompt, client: Client) -> Scored:
            return await self._score(client, prompt, choices)

        return self._for_each(prompts, score)

    def _for_each(self, prompts: Sequence[Prompt], work: Callable[[int, Prompt, Client], Awaitable[T]]) -> list[T]:
        """The results of `work` on all prompts."""

        async def run() -> list[T]:
            async with open_http(self._access, concurrency=self._concurrency, silence_seconds=self._patience.silence) as http:
                client = Client(
                    http,
                    self._access,
                    self.model_name,
                    patience=self._patience,
                    meter=current_meter(),
                    concurrency=self._concurrency,
                    has_answered=self._has_answered,
                )
                try:
                    return await client.together(work(index, prompt, client) for index, prompt in enumerate(prompts))
                finally:
                    self._has_answered = self._has_answered or client.has_answered  # it may be known through another call already

        if not prompts:
            return []
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return asyncio.run(run())
        with ThreadPoolExecutor(max_workers=1) as thread:  # inside a notebook a loop is running already
            return thread.submit(asyncio.run, run()).result()

    # -- texts and choices --------------------------------------------------------------------------------------------------------------

    def _completion(self, prompt: Prompt, answer: Answer) -> Completion:
        tokens_in, tokens_out = self._exchange.cost(prompt, answer)
        choice = answer.choices[0]
        return Completion(text_of(choice, prompt.prefix), tokens_in=tokens_in, tokens_out=tokens_out, finish_reason=choice.finish_reason)

    async def _score(self, client: Client, prompt: Prompt, choices: Sequence[str]) -> Scored:
        asked = Request(prompt, 0.0, 1.0, CHOICE_TOKENS, 0, logprobs=True)
        key = self._exchange.key(asked) | {"choices": list(choices), "samples": self._rating_samples}
        score = self._exchange.cache.get(key, _Score)
        if score is None or not score.is_usable(len(choices)):
            answers: list[Answer] = []
            weights = await self._measure(client, asked, choices, answers)
            is_measured = weights is not None
            weights = await self._poll(client, prompt, choices, answers) if weights is None else weights
            tokens_in, tokens_out = map(sum, zip(*(self._exchange.cost(prompt, answer) for answer in answers), strict=True))
            if weights is None:
                return Scored(np.full(len(choices), 1 / len(choices)), "none", tokens_in, tokens_out)
            score = _Score(weights=tuple(weights.tolist()), has_probabilities=is_measured, tokens_in=tokens_in, tokens_out=tokens_out)
            self._exchange.cache.put(key, score)
        weights = np.array(score.weights)
        cost = tokens_of(self, prompt) if score.tokens_in is None else score.tokens_in, 1 if score.tokens_out is None else score.tokens_out
        return Scored(weights / weights.sum(), "measured" if score.has_probabilities else "sampled", *cost)

    async def _measure(self, client: Client, asked: Request, choices: Sequence[str], answers: list[Answer]) -> np.ndarray | None:
        """Weights from the log-probabilities of the answer's first token; None where they do not tell. What is answered joins `answers`."""
        for number in range(REPEATS_OF_EMPTY + 1):
            if "logprobs" in self._exchange.abilities.refused:
                return None
            if number == 0:
                answer: Answer | None = await self._exchange.ask(client, asked)
            else:
                answer = await self._exchange.ask_again(client, asked, doublings=number - 1)
            if answer is None:
                return None
            answers.append(answer)
            choice = answer.choices[0]
            weights = weights_from_logprobs(choice, asked.prompt.prefix, choices)
            if weights is not None or (choice.content.strip() and not choice.spoken().is_cut):
                return weights
        return None

    async def _poll(self, client: Client, prompt: Prompt, choices: Sequence[str], answers: list[Answer]) -> np.ndarray | None:
        """Weights from the shares of sampled answers, which join `answers`; None where none of them names a choice."""
        asked = [Request(prompt, 1.0, 1.0, 2 * CHOICE_TOKENS, derive_seed(0, "poll", number)) for number in range(self._rating_samples)]
        sampled = await self._exchange.answers(client, asked)
        answers += sampled
        named = [choice_in(text_of(answer.choices[0], prompt.prefix), choices) for answer in sampled]
        weights = np.array([float(named.count(number)) for number in range(len(choices))])
        return weights if weights.any() else None


@lru_cache(maxsize=64)
def _open(settings: str, api_key: str | None, login: tuple[str, str] | None, cache: Path, adapter: str | None) -> EndpointModel:
    """One model for equal settings, so that what a server refuses is found out once for all methods."""
    from grasper.config import ModelConfig

    config = ModelConfig.model_validate_json(settings)
    assert config.base_url is not None
    return EndpointModel(
        config.name,
        config.base_url,
        api_key=api_key,
        key_name=config.api_key_env,
        concurrency=config.concurrency,
        context_tokens=config.context_tokens,
        cache_dir=cache,
        patience=Patience(deadline_seconds=config.deadline_seconds),
        thinking_tokens=config.thinking_tokens,
        rating_samples=config.rating_samples,
        extra=config.extra,
        price_in=config.price_in,
        price_out=config.price_out,
        adapter=adapter,
    )
