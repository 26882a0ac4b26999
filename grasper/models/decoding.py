"""Fast sampling from a causal language model: one prefill per prompt, however many samples it gets, and no work for rows that have ended.

What differs from the library's own `generate`:
- Samples of the same prompt share one prefill, and its keys and values in memory; the library repeats the prompt before the prefill.
- Rows that have ended leave the batch at once, so a long answer does not make the short ones wait.
- Keys and values are written into room reserved beforehand instead of being copied at every step.
- Each row draws from a random stream of its own, so its sample does not depend on what else is in the batch (but for rounding).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from grasper.models.prefix import SharedPrefixCache, can_share_prefix, prefix_attention
from grasper.models.sampling import Sampling, choose, without_repeats


@dataclass(frozen=True, slots=True)
class Row:
    """One answer to be written: the number of its prompt in the batch, the seed of its random stream, and its most tokens."""

    prompt: int
    seed: int
    max_new_tokens: int


@dataclass(slots=True)
class Continuation:
    """The tokens of one answer without the end token, how many were generated, whether an end token came, and their log-probability.

    The log-probability is in nats, of the model's own distribution (temperature 1, no nucleus), the end token included.
    """

    tokens: list[int]
    num_generated: int
    is_ended: bool
    logprob: float


def pad(sequences: Sequence[Sequence[int]], pad_id: int, device: torch.device, *, in_front: bool) -> tuple[Tensor, Tensor]:
    """Token ids and attention mask, both `[rows, longest]`, with the padding in front or behind."""
    longest = max(map(len, sequences))
    ids = torch.full((len(sequences), longest), pad_id)
    mask = torch.zeros_like(ids)
    for row, sequence in enumerate(sequences):
        place = slice(longest - len(sequence), longest) if in_front else slice(0, len(sequence))
        ids[row, place] = torch.tensor(sequence)
        mask[row, place] = 1
    return ids.to(device), mask.to(device)


def prefill(model: PreTrainedModel, prompts: Sequence[Sequence[int]], *, pad_id: int) -> tuple[DynamicCache, Tensor, Tensor]:
    """Read the prompts once.

    Plain attention reads them with the padding behind: no token sees it, so the fast causal kernel needs no mask.

    Returns:
        The filled cache, the attention mask `[prompts, longest]`, and the logits of the first new token `[prompts, vocabulary]`, float32.
    """
    cache = DynamicCache(config=model.config)
    if can_share_prefix(model):
        ids, mask = pad(prompts, pad_id, model.device, in_front=False)
        last = mask.sum(-1, keepdim=True) - 1
        output = model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=last)
    else:
        ids, mask = pad(prompts, pad_id, model.device, in_front=True)
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        output = model(input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True, logits_to_keep=1)
    return cache, mask, output.logits[:, -1].float()


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
        rows: The answers to write; those of one prompt stand together, in the order of the prompts.
        sampling: How tokens are chosen.
        end_ids: Tokens that end an answer.
        pad_id: Token that fills up shorter prompts; no other token sees it.
    """
    room = max(row.max_new_tokens for row in rows)
    cache, mask, logits = prefill(model, prompts, pad_id=pad_id)
    owners = torch.tensor([row.prompt for row in rows], device=model.device)
    draws = torch.stack([torch.rand(room, generator=torch.Generator().manual_seed(row.seed)) for row in rows]).to(model.device)
    limits = torch.tensor([row.max_new_tokens for row in rows], device=model.device)
    if can_share_prefix(model):
        shared = SharedPrefixCache(cache, mask, owners, room=room)
        del cache
        with prefix_attention(model):
            step = _SharedStep(model, shared, mask.sum(-1)[owners])
            return _run(step, logits[owners], draws, limits, sampling, end_ids)
    cache.batch_select_indices(owners)
    return _run(_PlainStep(model, cache, mask[owners]), logits[owners], draws, limits, sampling, end_ids)


class _SharedStep:
    """One step of the running rows over a shared prefix."""

    def __init__(self, model: PreTrainedModel, cache: SharedPrefixCache, lengths: Tensor) -> None:
        self._model, self._cache, self._lengths = model, cache, lengths
        self._no_mask = torch.zeros((1, 1, 1, 1), dtype=model.dtype, device=model.device)  # four dimensions: transformers builds none

    def __call__(self, tokens: Tensor, kept: Tensor | None, step: int) -> Tensor:
        if kept is not None:
            self._cache.select(kept)
            self._lengths = self._lengths[kept]
        return self._model(
            input_ids=tokens[:, None],
            attention_mask=self._no_mask,
            position_ids=(self._lengths + step)[:, None],
            past_key_values=self._cache,
            shared_prefix=self._cache,
            use_cache=True,
        ).logits


class _PlainStep:
    """One step of the running rows with the library's cache, for architectures whose attention is not plain."""

    def __init__(self, model: PreTrainedModel, cache: DynamicCache, mask: Tensor) -> None:
        self._model, self._cache, self._mask = model, cache, mask

    def __call__(self, tokens: Tensor, kept: Tensor | None, step: int) -> Tensor:
        if kept is not None:
            self._cache.batch_select_indices(kept)
            self._mask = self._mask[kept]
        positions = self._mask.sum(-1, keepdim=True)
        self._mask = torch.cat([self._mask, self._mask.new_ones((len(tokens), 1))], dim=1)
        return self._model(
            input_ids=tokens[:, None], attention_mask=self._mask, position_ids=positions, past_key_values=self._cache, use_cache=True
        ).logits


def _run(
    advance: Callable[[Tensor, Tensor | None, int], Tensor],
    logits: Tensor,
    draws: Tensor,
    limits: Tensor,
    sampling: Sampling,
    end_ids: frozenset[int],
) -> list[Continuation]:
    """Sample until every row has ended. `advance(tokens, kept, step)` gives the next logits of the rows that go on."""
    num_rows, room = draws.shape
    ends = torch.tensor(sorted(end_ids), dtype=torch.long, device=logits.device)
    running = torch.arange(num_rows, device=logits.device)
    written = torch.full((num_rows, room), -1, device=logits.device)
    logprobs = torch.zeros(num_rows, device=logits.device)
    for step in range(room):
        allowed = without_repeats(logits, written[running, :step], sampling.no_repeat) if sampling.no_repeat else logits
        tokens = choose(allowed, draws[running, step], sampling)
        written[running, step] = tokens
        logprobs[running] += logits.gather(1, tokens[:, None]).squeeze(1) - logits.logsumexp(-1)
        goes_on = ~torch.isin(tokens, ends) & (step + 1 < limits[running])
        kept = None if goes_on.all() else goes_on.nonzero().squeeze(1)
        if kept is not None:
            running, tokens = running[kept], tokens[kept]
            if not len(running):
                break
        logits = advance(tokens, kept, step)[:, -1].float()
    return [_continuation(tokens, end_ids, logprob) for tokens, logprob in zip(written.tolist(), logprobs.tolist(), strict=True)]


def _continuation(written: list[int], end_ids: frozenset[int], logprob: float) -> Continuation:
    tokens = [token for token in written if token >= 0]
    is_ended = bool(tokens) and tokens[-1] in end_ids
    return Continuation(tokens[:-1] if is_ended else tokens, num_generated=len(tokens), is_ended=is_ended, logprob=logprob)
