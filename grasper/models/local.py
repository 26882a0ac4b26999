"""A causal language model through transformers, with LoRA adapters through peft: the embedded nano, any folder, any Hub id."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from copy import copy
from functools import cached_property, partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from grasper.errors import ModelError, PromptTooLongError, ShapeError
from grasper.models.adapters import find_adapter, prompt_version_of
from grasper.models.backbone import Backbone
from grasper.models.base import Completion, Pool, Prompt, most_tokens, prompt_seeds
from grasper.models.batching import by_conversation, by_length, usual_batch_tokens
from grasper.models.continuation import Continuation, Row
from grasper.models.decoding import decode, has_exact_batches
from grasper.models.gather import Call, Request
from grasper.models.library import keeps_keys_only, score_whole
from grasper.models.likelihood import log_likelihoods, log_likelihoods_together, score_choices
from grasper.models.pooling import PooledText, decode_pooled, in_batches
from grasper.models.prefix import can_share_prefix
from grasper.models.room import within_memory
from grasper.models.sampling import Sampling
from grasper.models.spelling import Ending, Spelling
from grasper.models.thoughts import ends_in_thought
from grasper.runs import derive_seed

FALLBACK_CONTEXT_TOKENS = 2048
"""Context length of a model whose configuration names none."""


class LocalModel(Spelling):
    """A language model in this process: a network, which many may share, with or without an adapter.

    Threads may ask at the same time; each gets the texts that it would get alone.

    Args:
        name: `nano`, a folder, or a Hub id.
        adapter: Folder of a LoRA adapter.
        device: `auto`, `cpu`, `cuda`, `cuda:1` …
        batch_tokens: Most tokens, padding and answers included, that are in memory at once; None: as many as suit the device.
        context_tokens: Longest prompt plus answer; None takes what the model was made for.
        no_repeat_tokens: No line of an answer holds the same run of so many tokens twice; 0 allows it.
        template: What the chat template is told, for example `{"enable_thinking": False}`.
        dtype: Number format of the weights; None takes the one that is fast on the device.
        backbone: A network that is in memory already; `name`, `device` and `dtype` are then its own.

    Raises:
        ConfigError: This machine has no such device.
        ModelNotFoundError: The model is neither on disk nor reachable, or cannot be read.
        AdapterError: The adapter belongs to another model or is damaged.
    """

    can_hold_length = True

    def __init__(
        self,
        name: str = "nano",
        *,
        adapter: Path | None = None,
        device: str = "auto",
        batch_tokens: int | None = None,
        context_tokens: int | None = None,
        no_repeat_tokens: int = 0,
        template: Mapping[str, Any] | None = None,
        dtype: torch.dtype | None = None,
        backbone: Backbone | None = None,
    ) -> None:
        self.backbone = backbone or Backbone(name, device=device, dtype=dtype)
        super().__init__(self.backbone, template or {})
        self.batch_tokens = batch_tokens or usual_batch_tokens(self.model)
        self.no_repeat_tokens = no_repeat_tokens
        self._adapter = find_adapter(adapter) if adapter is not None else None
        if self._adapter is not None:
            self.backbone.load(self._adapter)
        self.name = self.backbone.name + (f"+{self._adapter.fingerprint}" if self._adapter else "")
        limit = getattr(self.model.config.get_text_config(), "max_position_embeddings", None) or FALLBACK_CONTEXT_TOKENS
        self.context_tokens = min(context_tokens or limit, limit)

    @property
    def model(self) -> PreTrainedModel:
        """The network itself, with whatever adapter it wears at the moment; see `network`."""
        return self.backbone.model

    def network(self) -> AbstractContextManager[PreTrainedModel]:
        """The network with this model's adapter, for the calling thread alone while the block runs."""
        return self.backbone.wearing(self._adapter)

    @property
    def prompt_version(self) -> int | None:
        """Version of grasper's prompts that this model was tuned on, the adapter's where it tells; None for models of others."""
        own = prompt_version_of(self._adapter.folder) if self._adapter else None
        return self.backbone.prompt_version if own is None else own

    @property
    def device(self) -> torch.device:
        return self.backbone.device

    @property
    def can_pool(self) -> bool:
        """Whether it can write one text behind several prompts at once."""
        return keeps_keys_only(self.model)

    @property
    def parallelism(self) -> int:
        """How many times more requests than a processor it wants at once: a GPU reads and writes hundreds in the time of one."""
        return 1 if self.device.type == "cpu" else 16

    def with_adapter(self, adapter: Path) -> LocalModel:
        """The same network with this LoRA adapter instead; this one stays as it is.

        Raises:
            AdapterError: The adapter belongs to another model or is damaged.
        """
        view = copy(self)
        view._adapter = find_adapter(adapter)
        view.backbone.load(view._adapter)
        view.name = f"{view.backbone.name}+{view._adapter.fingerprint}"
        return view

    @property
    def end_ids(self) -> frozenset[int]:
        """Tokens that end an answer."""
        configured = self.model.generation_config.eos_token_id if self.model.generation_config else None
        ids = configured if isinstance(configured, list) else [configured]
        return frozenset(token for token in (*ids, self.tokenizer.eos_token_id) if token is not None)

    @cached_property
    def turn_end(self) -> tuple[int, ...]:
        """What an answer ends with when it is scored or learned: one token, or none; see `end_of_turn`."""
        return self.end_of_turn(self.end_ids)

    @within_memory
    def generate(
        self,
        prompts: Sequence[Prompt],
        *,
        n: int = 1,
        temperature: float | None = 0.7,
        top_p: float = 0.9,
        max_new_tokens: int | Sequence[int] = 160,
        seed: int | Sequence[int] = 0,
        min_new_tokens: Sequence[int] | None = None,
    ) -> list[list[Completion]]:
        """`n` completions for each prompt, in the order of the prompts. Temperature 0 is greedy.

        Before the least tokens of its prompt, where some are given, an answer neither ends nor breaks its line, unless nothing else is likely.

        Equal prompts and the samples of one prompt share one prefill. Sample `j` of a prompt draws from a stream of its own, seeded by
        the prompt's seed and j. The answer is cut short where prompt and answer would exceed `context_tokens`.

        Raises:
            PromptTooLongError: A prompt leaves no room for an answer.
        """
        seeds, rooms = prompt_seeds(seed, len(prompts)), most_tokens(max_new_tokens, len(prompts))
        requests: list[Request] = []
        for prompt, own, most, least in zip(prompts, seeds, rooms, min_new_tokens or [0] * len(prompts), strict=True):
            ids = tuple(self.encode(prompt))
            self._require_room(ids)
            room = min(most, self.context_tokens - len(ids))
            requests += [Request(ids, derive_seed(own, sample), room, min(least, room)) for sample in range(n)]
        if not requests:
            return [[] for _ in prompts]
        sampling = self._sampling(temperature, top_p, is_held=bool(min_new_tokens))
        kind = (self._adapter, sampling, self.batch_tokens) if has_exact_batches(self.model) else object()  # others wait for their turn
        call = Call(kind, requests)
        answers = self.backbone.gathering.answer(call, self.network, lambda network, calls: self._answer(network, calls, sampling))
        completions = [
            self._complete(request.ids, answer, is_read=number % n == 0)
            for number, (request, answer) in enumerate(zip(requests, answers, strict=True))
        ]
        return [completions[start : start + n] for start in range(0, len(completions), n)]

    @within_memory
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
        """`n` completions for each pool of prompts, each written behind all prompts of the pool at once; otherwise as `generate`.

        Every prompt of the pool counts in `tokens_in`.

        Raises:
            ModelError: The network keeps a state that is not keys and values (`can_pool`).
            PromptTooLongError: A prompt leaves no room for an answer.
        """
        if not self.can_pool:
            raise ModelError(f"model {self.name} cannot write behind several prompts at once; set generate.pooled_paths=0")
        texts = []
        for pool, own, least in zip(pools, prompt_seeds(seed, len(pools)), min_new_tokens or [0] * len(pools), strict=True):
            prompts = tuple(self.encode(prompt) for prompt in pool.prompts)
            for ids in prompts:
                self._require_room(ids)
            room = min(max_new_tokens, self.context_tokens - max(map(len, prompts)))
            seeds = tuple(derive_seed(own, sample) for sample in range(n))
            texts.append(PooledText(prompts, pool.weights, seeds, room, min(least, room)))
        sampling = self._sampling(temperature, top_p, is_held=bool(min_new_tokens))
        completions: list[list[Completion]] = [[] for _ in pools]
        for batch in in_batches(texts, self.batch_tokens, is_shared=can_share_prefix(self.model)):
            with self.network() as network:
                written = decode_pooled(network, [texts[place] for place in batch], sampling, end_ids=self.end_ids, pad_id=self.pad_id)
            for place, samples in zip(batch, written, strict=True):
                read = list(chain.from_iterable(texts[place].prompts))
                completions[place] = [self._complete(read, sample, is_read=number == 0) for number, sample in enumerate(samples)]
        return completions

    def _sampling(self, temperature: float | None, top_p: float, *, is_held: bool) -> Sampling:
        line_ends = self.backbone.line_ends if self.no_repeat_tokens or is_held else ()
        openings = self.begin_of_turn() if is_held else ()
        return Sampling(1.0 if temperature is None else temperature, top_p, self.no_repeat_tokens, line_ends, openings)

    def _answer(self, network: PreTrainedModel, calls: Sequence[Call], sampling: Sampling) -> None:
        """Answer the calls in common batches; equal prompts are read once."""
        rows_of: dict[tuple[int, ...], list[tuple[int, int]]] = {}
        for number, call in enumerate(calls):
            for place, request in enumerate(call.requests):
                rows_of.setdefault(request.ids, []).append((number, place))
        answers: dict[tuple[int, int], Continuation] = {}
        most = max(request.max_new_tokens for call in calls for request in call.requests)
        for batch in by_length(rows_of, most, self.batch_tokens, is_shared=can_share_prefix(self.model)):
            places, rows = [], []
            for prompt, (_, its_places) in enumerate(batch):
                for number, place in its_places:
                    request = calls[number].requests[place]
                    places.append((number, place))
                    rows.append(Row(prompt, request.seed, request.max_new_tokens, request.min_new_tokens))
            written = decode(network, [ids for ids, _ in batch], rows, sampling, end_ids=self.end_ids, pad_id=self.pad_id)
            answers.update(zip(places, written, strict=True))
        for number, call in enumerate(calls):
            call.answers = [answers[number, place] for place in range(len(call.requests))]

    @property
    def pad_id(self) -> int:
        """The token that fills up shorter rows; no other token sees it, so any will do where the tokenizer has none."""
        return self.tokenizer.pad_token_id or 0

    def _require_room(self, ids: Sequence[int]) -> None:
        if not ids:
            raise ModelError(f"a prompt for model {self.name} has no tokens; expected at least one message")
        if len(ids) >= self.context_tokens:
            raise PromptTooLongError(
                f"a prompt has {len(ids)} tokens, model {self.name} holds {self.context_tokens} with the answer; show fewer reviews"
            )

    def _complete(self, ids: Sequence[int], continuation: Continuation, *, is_read: bool) -> Completion:
        """An answer; what all samples of a prompt share is read for the first of them."""
        return Completion(
            text=self.answer_in(continuation.tokens, is_open=ends_in_thought(self.ending_of(ids))),
            tokens_in=len(ids) if is_read else 0,
            tokens_out=continuation.num_generated,
            finish_reason="stop" if continuation.is_ended else "length",
            mean_logprob=continuation.logprob / max(continuation.num_generated, 1),
        )

    @within_memory
    def score_choices(self, prompts: Sequence[Prompt], choices: Sequence[str]) -> np.ndarray:
        """Probability of each choice as the continuation of each prompt, normalised over the choices: `[prompts, choices]`, rows sum to 1.

        The prompt's prefix and a choice are encoded together, so that choices may begin with a space. What all choices share belongs to the
        prompt; where one token is left of each, a single pass over the prompt scores them all. So does what prompts of one conversation share.

        Raises:
            ModelError: No choice, an empty one, or two that the tokenizer cannot tell apart.
            PromptTooLongError: A prompt leaves no room for an answer.
        """
        if not choices or not all(choices):
            raise ModelError(f"choices to score must be at least one non-empty string, got {list(choices)}")
        scores = np.zeros((len(prompts), len(choices)))
        contexts, endings = zip(*(self.split_choices(prompt, choices) for prompt in prompts), strict=True) if prompts else ((), ())
        for ids in contexts:
            self._require_room(ids)
        room = max((len(ending) for choice in endings for ending in choice), default=0) * len(choices)
        for batch, leaders in by_conversation(prompts, contexts, room, self.batch_tokens):
            with self.network() as network:
                score = partial(score_choices, pad_id=self.pad_id, leaders=leaders) if keeps_keys_only(network) else score_whole
                scores[batch] = score(network, [contexts[index] for index in batch], [endings[index] for index in batch])
        likelihoods = np.exp(scores - scores.max(axis=1, keepdims=True, initial=-np.inf))
        return np.asarray(likelihoods / likelihoods.sum(axis=1, keepdims=True))

    @within_memory
    def score_texts(self, prompts: Sequence[Prompt], texts: Sequence[str]) -> np.ndarray:
        """Log-probability in nats of each text as the whole rest of the answer to its prompt, end token included: `[prompts]`; see `score_tokens`."""
        return np.array([tokens.sum() for tokens in self.score_tokens(prompts, texts)])

    @within_memory
    def score_tokens(self, prompts: Sequence[Prompt], texts: Sequence[str]) -> list[np.ndarray]:
        """Log-probability in nats of each token of each text as the whole rest of the answer to its prompt, end token included: `[tokens]` each.

        Prompts that differ in their prefix alone share one reading of the conversation. A text that does not fit is scored in windows. On a GPU
        prompt and text are read as one, those of similar length in a batch.

        Raises:
            ShapeError: Not one text per prompt.
            PromptTooLongError: A conversation leaves no room for a text.
        """
        if len(prompts) != len(texts):
            raise ShapeError(f"{len(texts)} texts for {len(prompts)} prompts, expected one for each")
        asked: dict[tuple[int, ...], list[tuple[int, Ending]]] = {}
        conversations = self.backbone.encode_all([self.before_answer(prompt) for prompt in prompts]) if prompts else []
        for number, (conversation, ending) in enumerate(zip(conversations, self.endings(prompts, texts, self.turn_end), strict=True)):
            self._require_room([*conversation, 0])
            asked.setdefault(tuple(conversation), []).append((number, ending))
        limit, scores = self.context_tokens, dict[int, np.ndarray]()
        if asked and self.parallelism > 1 and can_share_prefix(self.model):
            numbers, pairs = zip(*((number, (ids, ending)) for ids, rows in asked.items() for number, ending in rows), strict=True)
            with self.network() as network:
                found = log_likelihoods_together(network, pairs, context_tokens=limit, batch_tokens=self.batch_tokens, pad_id=self.pad_id)
            scores.update(zip(numbers, found, strict=True))
        else:
            for ids, rows in asked.items():
                with self.network() as network:
                    found = log_likelihoods(network, ids, [ending for _, ending in rows], context_tokens=limit, pad_id=self.pad_id)
                scores.update(zip((number for number, _ in rows), found, strict=True))
        return [scores[number] for number in range(len(prompts))]
