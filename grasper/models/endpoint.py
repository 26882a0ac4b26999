"""A language model behind an OpenAI-compatible server (vLLM, Ollama, llama.cpp, `transformers serve`, hosted ones): chat completions.

- The prompt's prefix goes out as a last assistant message; servers that continue it and servers that begin anew both work, since a
  repeated prefix is removed from the answer.
- Where the server ignores `n` (fewer choices come back) or rejects it, the rest is asked for one by one with derived seeds.
- Every answer is kept on disk under a hash of the request, so that a second run costs nothing; keys are never stored.
- Choices are scored by the log-probabilities of the first token where the server gives them, else read from the text of its answer, which
  `has_choice_probabilities` then tells.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx
import numpy as np

from grasper.errors import ConfigError, GrasperError, ModelError, ModelNotFoundError
from grasper.models.base import Completion, Prompt, prompt_seeds
from grasper.models.chat import (
    error_message,
    finish_reason,
    is_completion,
    retry_after,
    text_of,
    weights_from_logprobs,
    weights_from_text,
    without_prefix,
)
from grasper.runs import derive_seed, fingerprint, read_json, write_json

if TYPE_CHECKING:
    from grasper.config import ModelConfig

BYTES_PER_TOKEN = 3.5
"""Estimate for English under common tokenizers, on the safe side."""
DEFAULT_CONTEXT_TOKENS = 4096
RETRIED = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
LONGEST_WAIT_SECONDS = 30.0


class EndpointModel:
    """A model that answers over HTTP.

    Args:
        name: The model's name at the server.
        base_url: Address up to and with the version, for example http://localhost:8000/v1.
        api_key: Bearer token; None sends none.
        concurrency: Requests under way at once.
        context_tokens: Longest prompt plus answer; None assumes 4,096.
        cache_dir: Folder of the answers; None takes `$GRASPER_CACHE` or ~/.cache/grasper.
        max_retries: How often a request is repeated after 429, 5xx, or a time-out.
        wait_seconds: Pause before the first repetition; it doubles each time.
        timeout_seconds: Longest wait for one answer.
    """

    def __init__(
        self,
        name: str,
        base_url: str,
        *,
        api_key: str | None = None,
        concurrency: int = 8,
        context_tokens: int | None = None,
        cache_dir: Path | None = None,
        max_retries: int = 5,
        wait_seconds: float = 0.5,
        timeout_seconds: float = 300.0,
    ) -> None:
        address = urlsplit(base_url)
        if address.scheme not in ("http", "https") or not address.hostname:
            raise ConfigError(f"model.base_url is {base_url!r}, expected an address such as http://localhost:8000/v1")
        self.base_url = base_url.rstrip("/")
        self.model_name = name
        self.name = f"{name}@{address.hostname}{f':{address.port}' if address.port else ''}{address.path.rstrip('/')}"
        self.context_tokens = context_tokens or DEFAULT_CONTEXT_TOKENS
        self.has_choice_probabilities = True
        """Whether the server gave log-probabilities to `score_choices`; False once it did not."""
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._concurrency = concurrency
        self._cache_dir = (cache_dir or Path(os.environ.get("GRASPER_CACHE") or Path.home() / ".cache" / "grasper")) / "endpoint"
        self._max_retries, self._wait_seconds, self._timeout_seconds = max_retries, wait_seconds, timeout_seconds
        self._takes_n = True
        self._limit_key = "max_tokens"

    @classmethod
    def from_config(cls, config: ModelConfig) -> EndpointModel:
        """The endpoint that a configuration names; its key comes from the environment only.

        Raises:
            ConfigError: `model.base_url` is missing or no address.
        """
        if config.base_url is None:
            raise ConfigError("model.kind=endpoint needs an address: --set model.base_url=http://localhost:8000/v1")
        key = os.environ.get(config.api_key_env) or None
        return cls(config.name, config.base_url, api_key=key, concurrency=config.concurrency, context_tokens=config.context_tokens)

    def count_tokens(self, text: str) -> int:
        """An estimate: one token for every 3.5 bytes."""
        return int(-(-len(text.encode()) // BYTES_PER_TOKEN))

    def truncate(self, text: str, max_tokens: int) -> str:
        """The longest beginning of `text` that the estimate gives at most `max_tokens` tokens."""
        return text.encode()[: int(max(max_tokens, 0) * BYTES_PER_TOKEN)].decode(errors="ignore")

    def generate(
        self,
        prompts: Sequence[Prompt],
        *,
        n: int = 1,
        temperature: float = 0.7,
        top_p: float = 0.9,
        max_new_tokens: int = 160,
        seed: int | Sequence[int] = 0,
    ) -> list[list[Completion]]:
        """`n` completions for each prompt, in the order of the prompts.

        Raises:
            ModelNotFoundError: The server cannot be reached, or does not know the model.
            ModelError: The key is refused, or the answer is not one of chat completions.
        """

        seeds = prompt_seeds(seed, len(prompts))

        async def sample(index: int, prompt: Prompt, client: _Client) -> list[Completion]:
            settings = {"temperature": temperature, "top_p": top_p, self._limit_key: max_new_tokens}
            return await self._sample(client, prompt, settings, n, [derive_seed(seeds[index], number) for number in range(n)])

        return self._for_each(prompts, sample)

    def score_choices(self, prompts: Sequence[Prompt], choices: Sequence[str]) -> np.ndarray:
        """Probability of each choice as the answer to each prompt, normalised over the choices: `[prompts, choices]`, rows sum to 1.

        Without log-probabilities from the server the choice that its greedy answer names gets all of it, and equal shares if none is named.
        """

        async def score(index: int, prompt: Prompt, client: _Client) -> np.ndarray:
            return await self._score(client, prompt, choices)

        return np.stack(self._for_each(prompts, score)) if prompts else np.zeros((0, len(choices)))

    def _for_each(self, prompts: Sequence[Prompt], work: Callable[[int, Prompt, _Client], Awaitable[Any]]) -> list[Any]:
        """The results of `work` on all prompts, at most `concurrency` requests under way; the first error ends them all."""

        async def run() -> list[Any]:
            limits = httpx.Limits(max_connections=self._concurrency)
            async with httpx.AsyncClient(headers=self._headers, timeout=self._timeout_seconds, limits=limits) as http:
                client = _Client(self, http, asyncio.Semaphore(self._concurrency))
                try:
                    async with asyncio.TaskGroup() as group:
                        tasks = [group.create_task(_collect(work(index, prompt, client))) for index, prompt in enumerate(prompts)]
                except ExceptionGroup as errors:  # not except*: in Python 3.11.2 that wraps what is raised in it
                    expected, others = errors.split(GrasperError)
                    if expected is None or others is not None:
                        raise
                    raise expected.exceptions[0] from None
                return [task.result() for task in tasks]

        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return asyncio.run(run())
        with ThreadPoolExecutor(max_workers=1) as thread:  # inside a notebook a loop is running already
            return thread.submit(asyncio.run, run()).result()

    async def _sample(self, client: _Client, prompt: Prompt, settings: dict[str, Any], n: int, seeds: Sequence[int]) -> list[Completion]:
        completions: list[Completion] = []
        if n > 1 and self._takes_n:
            with suppress(_RejectedError):
                completions = self._completions(prompt, await client.ask(prompt, {**settings, "n": n, "seed": seeds[0]}))[:n]
            self._takes_n = len(completions) == n
        for seed in seeds[len(completions) :]:
            completions += self._completions(prompt, await client.ask(prompt, {**settings, "seed": seed}))[:1]
        return completions

    def _completions(self, prompt: Prompt, answer: dict[str, Any]) -> list[Completion]:
        choices, usage = answer["choices"], answer.get("usage") or {}
        texts = [without_prefix(text_of(choice), prompt.prefix) for choice in choices]
        tokens_in = usage.get("prompt_tokens") or sum(self.count_tokens(message.content) for message in prompt.messages)
        total_out = usage.get("completion_tokens")
        return [
            Completion(
                text=text,
                tokens_in=tokens_in,
                # The server tells the tokens of all choices together.
                tokens_out=self.count_tokens(text) if total_out is None else total_out // len(choices) + (number < total_out % len(choices)),
                finish_reason=finish_reason(choice.get("finish_reason")),
            )
            for number, (choice, text) in enumerate(zip(choices, texts, strict=True))
        ]

    async def _score(self, client: _Client, prompt: Prompt, choices: Sequence[str]) -> np.ndarray:
        settings = {"temperature": 0.0, "top_p": 1.0, self._limit_key: 8, "seed": 0}
        try:
            answer = await client.ask(prompt, {**settings, "logprobs": True, "top_logprobs": 20})
        except _RejectedError:
            answer = await client.ask(prompt, settings)
        weights = weights_from_logprobs(answer["choices"][0], choices)
        if weights is None:
            self.has_choice_probabilities = False
            weights = weights_from_text(without_prefix(text_of(answer["choices"][0]), prompt.prefix), choices)
        return weights / weights.sum()

    def payload(self, prompt: Prompt, settings: dict[str, Any]) -> dict[str, Any]:
        """The body of a request."""
        messages = [{"role": message.role, "content": message.content} for message in prompt.messages]
        if prompt.prefix:
            messages.append({"role": "assistant", "content": prompt.prefix})
        settings = {self._limit_key if key in ("max_tokens", "max_completion_tokens") else key: value for key, value in settings.items()}
        return {"model": self.model_name, "messages": messages, **settings}

    def read_cache(self, payload: dict[str, Any]) -> dict[str, Any] | None:
        """The stored answer to a request, or None; a damaged file counts as none."""
        try:
            answer = read_json(self._cache_path(payload))
        except (GrasperError, OSError):
            return None
        return answer if is_completion(answer) else None

    def write_cache(self, payload: dict[str, Any], answer: dict[str, Any]) -> None:
        """Store the answer to a request."""
        write_json(self._cache_path(payload), answer)

    def _cache_path(self, payload: dict[str, Any]) -> Path:
        key = fingerprint({"base_url": self.base_url, **payload})
        return self._cache_dir / key[:2] / f"{key}.json"

    def prefer_completion_limit(self) -> bool:
        """Name the limit `max_completion_tokens` from now on, as some hosted models demand; False if that was so already."""
        was_old = self._limit_key == "max_tokens"
        self._limit_key = "max_completion_tokens"
        return was_old

    async def post(self, http: httpx.AsyncClient, payload: dict[str, Any]) -> dict[str, Any]:
        """The server's answer to one request, repeated with doubling pauses while the server is busy or failing.

        Raises:
            ModelNotFoundError: The server cannot be reached, or does not know the model.
            ModelError: The key is refused, the request is rejected, or the answer is not one of chat completions.
        """
        url, problem = f"{self.base_url}/chat/completions", ""
        kind: type[GrasperError] = ModelNotFoundError
        for attempt in range(self._max_retries + 1):
            wait = self._wait_seconds * 2**attempt
            try:
                response = await http.post(url, json=payload)
            except httpx.ConnectError as error:
                problem = f"no server answers at {self.base_url} ({error}); start it, or correct model.base_url"
            except httpx.TransportError as error:
                problem = f"{self.base_url} did not answer ({type(error).__name__})"
            else:
                if response.status_code not in RETRIED:
                    return self._read(response)
                problem, kind = f"{self.base_url} answered {response.status_code} ({error_message(response)})", ModelError
                wait = max(wait, retry_after(response))
            if attempt < self._max_retries:
                await asyncio.sleep(min(wait, LONGEST_WAIT_SECONDS))
        raise kind(f"{problem}; gave up after {self._max_retries + 1} attempts")

    def _read(self, response: httpx.Response) -> dict[str, Any]:
        status, message = response.status_code, error_message(response)
        if status in (401, 403):
            raise ModelError(f"{self.base_url} refused the key ({status}: {message}); set the variable that model.api_key_env names")
        if status == 404:
            raise ModelNotFoundError(f"{self.base_url} knows no model '{self.model_name}' or no chat completions (404: {message})")
        if status >= 400:
            raise _RejectedError(f"{self.base_url} rejected the request ({status}: {message})")
        try:
            answer = response.json()
        except ValueError:
            raise ModelError(f"{self.base_url} answered with something that is not JSON: {response.text[:80]!r}") from None
        if not is_completion(answer):
            raise ModelError(f"{self.base_url} answered without choices, expected a chat completion: {response.text[:80]!r}")
        return dict(answer)


class _RejectedError(ModelError):
    """A request that the server understood and does not serve, for example because of a parameter it does not know."""


class _Client:
    """Asks one server through its cache, a few requests at a time."""

    def __init__(self, model: EndpointModel, http: httpx.AsyncClient, slots: asyncio.Semaphore) -> None:
        self._model, self._http, self._slots = model, http, slots

    async def ask(self, prompt: Prompt, settings: dict[str, Any]) -> dict[str, Any]:
        payload = self._model.payload(prompt, settings)
        if (stored := self._model.read_cache(payload)) is not None:
            return stored
        async with self._slots:
            try:
                answer = await self._model.post(self._http, payload)
            except _RejectedError as error:
                if "max_completion_tokens" not in str(error) or not self._model.prefer_completion_limit():
                    raise
                answer = await self._model.post(self._http, self._model.payload(prompt, settings))
        self._model.write_cache(payload, answer)
        return answer


async def _collect(work: Awaitable[Any]) -> Any:
    return await work
