"""Fast sampling from a causal language model: one prefill per prompt, however many samples it gets, and no work for rows that have ended.

What differs from the library's own `generate`:
- Samples of the same prompt share one prefill; the library repeats the prompt before it.
- Rows that have ended leave the batch at once, so a long answer does not make the short ones wait.
- Keys and values are written into room reserved beforehand instead of being copied at every step.
- Each row draws from a random stream of its own, so its sample hardly depends on what else is in the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

TOP_K_FIRST = 64
"""The nucleus is looked for among this many most probable tokens before the whole vocabulary is sorted."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is chosen. Temperature 0 takes the most probable one."""

    temperature: float
    top_p: float


@dataclass(frozen=True, slots=True)
class Row:
    """One answer to be written: the number of its prompt in the batch, the seed of its random stream, and its most tokens."""

    prompt: int
    seed: int
    max_new_tokens: int


@dataclass(slots=True)
class Continuation:
    """The tokens of one answer without the end token, whether an end token came, and the log-probability of all (nats, untempered)."""

    tokens: list[int]
    num_generated: int
    is_ended: bool
    logprob: float


class ReservedLayer(DynamicLayer):
    """Keys and values of one attention layer, `[batch, heads, length, head_dim]`, in buffers with room for the answer."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self._room = room
        self._length = 0

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Append new keys and values; returns all of them."""
        start, end = self._length, self._length + key_states.shape[-2]
        if not self.is_initialized or end > self._key_buffer.shape[-2]:
            self._reserve(key_states, value_states, end + self._room)
        self._key_buffer[:, :, start:end] = key_states
        self._value_buffer[:, :, start:end] = value_states
        self._show(end)
        return self.keys, self.values

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep the rows `indices`, in that order; an index may occur several times."""
        self._key_buffer = self._key_buffer[indices]
        self._value_buffer = self._value_buffer[indices]
        self._show(self._length)

    def _reserve(self, key_states: Tensor, value_states: Tensor, capacity: int) -> None:
        self.dtype, self.device = key_states.dtype, key_states.device
        keys = key_states.new_empty((*key_states.shape[:-2], capacity, key_states.shape[-1]))
        values = value_states.new_empty((*value_states.shape[:-2], capacity, value_states.shape[-1]))
        if self.is_initialized:
            keys[:, :, : self._length] = self.keys
            values[:, :, : self._length] = self.values
        self._key_buffer, self._value_buffer = keys, values
        self.is_initialized = True

    def _show(self, length: int) -> None:
        self._length = length
        self.keys = self._key_buffer[:, :, :length]
        self.values = self._value_buffer[:, :, :length]


def make_cache(model: PreTrainedModel, room: int) -> DynamicCache:
    """An empty cache for the model: with reserved room where all its layers attend to everything, else the library's own."""
    cache = DynamicCache(config=model.config)
    if all(type(layer) is DynamicLayer for layer in cache.layers):
        cache.layers = [ReservedLayer(room) for _ in cache.layers]
    return cache


def pad_left(sequences: Sequence[Sequence[int]], pad_id: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Token ids and attention mask, both `[rows, longest]`, with the padding in front."""
    longest = max(map(len, sequences))
    ids = torch.tensor([[pad_id] * (longest - len(sequence)) + list(sequence) for sequence in sequences], device=device)
    lengths = torch.tensor([len(sequence) for sequence in sequences], device=device)
    mask = torch.arange(longest, device=device) >= (longest - lengths)[:, None]
    return ids, mask.long()


def prefill(model: PreTrainedModel, prompts: Sequence[Sequence[int]], *, room: int, pad_id: int) -> tuple[DynamicCache, Tensor, Tensor]:
    """Read the prompts once.

    Returns:
        The filled cache, the attention mask `[prompts, longest]`, and the logits of the first new token `[prompts, vocabulary]`, float32.
    """
    ids, mask = pad_left(prompts, pad_id, model.device)
    cache = make_cache(model, room)
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    output = model(input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True, logits_to_keep=1)
    return output.past_key_values, mask, output.logits[:, -1].float()


@torch.inference_mode()
def decode(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    rows: Sequence[Row],
    sampling: Sampling,
    *,
    end_ids: frozenset[int],
    pad_id: int,
) -> list[Continuation]:
    """One continuation for each row, in the order of the rows.

    Args:
        model: A causal language model in evaluation mode.
        prompts: Token ids of the prompts, each read once.
        rows: The answers to write; several rows may share a prompt.
        sampling: How tokens are chosen.
        end_ids: Tokens that end an answer.
        pad_id: Token that fills the front of shorter prompts; masked.
    """
    device = model.device
    most = max(row.max_new_tokens for row in rows)
    cache, mask, logits = prefill(model, prompts, room=most, pad_id=pad_id)
    source = torch.tensor([row.prompt for row in rows], device=device)
    if len(rows) != len(prompts) or not torch.equal(source, torch.arange(len(prompts), device=device)):
        cache.batch_select_indices(source)
        mask, logits = mask[source], logits[source]
    draws = torch.stack([torch.rand(most, generator=torch.Generator().manual_seed(row.seed)) for row in rows]).to(device)
    mask = torch.cat([mask, mask.new_ones((len(rows), most))], dim=1)
    lengths = torch.tensor([len(prompts[row.prompt]) for row in rows], device=device)
    longest = mask.shape[1] - most
    ends = torch.tensor(sorted(end_ids), device=device)
    limits = torch.tensor([row.max_new_tokens for row in rows], device=device)
    active = torch.arange(len(rows), device=device)
    written = torch.full((len(rows), most), -1, device=device)
    logprobs = torch.zeros(len(rows), device=device)
    for step in range(most):
        tokens = choose(logits, draws[active, step], sampling)
        logprobs[active] += logits.gather(1, tokens[:, None]).squeeze(1) - logits.logsumexp(-1)
        written[active, step] = tokens
        going = ~torch.isin(tokens, ends) & (step + 1 < limits[active])
        if not going.all():
            kept = going.nonzero().squeeze(1)
            if not len(kept):
                break
            cache.batch_select_indices(kept)
            active, tokens, mask = active[kept], tokens[kept], mask[kept]
        output = model(
            input_ids=tokens[:, None],
            attention_mask=mask[:, : longest + step + 1],
            position_ids=(lengths[active] + step)[:, None],
            past_key_values=cache,
            use_cache=True,
        )
        logits = output.logits[:, -1].float()
    return [_continuation(tokens, end_ids, logprob) for tokens, logprob in zip(written.tolist(), logprobs.tolist(), strict=True)]


def _continuation(written: list[int], end_ids: frozenset[int], logprob: float) -> Continuation:
    tokens = [token for token in written if token >= 0]
    is_ended = bool(tokens) and tokens[-1] in end_ids
    return Continuation(tokens[:-1] if is_ended else tokens, num_generated=len(tokens), is_ended=is_ended, logprob=logprob)


def choose(logits: Tensor, draws: Tensor, sampling: Sampling) -> Tensor:
    """The next token of each row, from the nucleus of its tempered distribution.

    Args:
        logits: `[rows, vocabulary]`, float32.
        draws: One uniform number in [0, 1) for each row: the same number and logits give the same token.
        sampling: Temperature and the nucleus' share.
    """
    if sampling.temperature == 0:
        return logits.argmax(-1)
    probabilities = (logits / sampling.temperature).softmax(-1)
    vocabulary = logits.shape[-1]
    if sampling.top_p >= 1:
        return _draw(probabilities, torch.arange(vocabulary, device=logits.device).expand_as(probabilities), draws, 1.0)
    values, tokens = probabilities.topk(min(TOP_K_FIRST, vocabulary))
    chosen = _draw(values, tokens, draws, sampling.top_p)
    wide = (values.sum(-1) < sampling.top_p).nonzero().squeeze(1)
    if len(wide) and vocabulary > TOP_K_FIRST:
        values, tokens = probabilities[wide].sort(descending=True)
        chosen[wide] = _draw(values, tokens, draws[wide], sampling.top_p)
    return chosen


def _draw(probabilities: Tensor, tokens: Tensor, draws: Tensor, top_p: float) -> Tensor:
    """Invert the distribution function of the leading tokens that together reach `top_p`; the first token always belongs to them."""
    cumulative = probabilities.cumsum(-1)
    num_kept = (cumulative < top_p).sum(-1, keepdim=True).clamp(max=probabilities.shape[-1] - 1)
    total = cumulative.gather(1, num_kept)
    place = torch.searchsorted(cumulative, draws[:, None] * total, right=True)
    return tokens.gather(1, torch.minimum(place, num_kept)).squeeze(1)
