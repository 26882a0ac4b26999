"""Fast sampling from a causal language model: one prefill per prompt, however many samples it gets, and no work for rows that have ended.

What differs from the library's own `generate`:
- Samples of the same prompt share one prefill, and its keys and values in memory; the library repeats the prompt before the prefill.
- Rows that have ended leave the batch at once, so a long answer does not make the short ones wait.
- Keys and values are written into room reserved beforehand instead of being copied at every step.
- Each row draws from a random stream of its own, so its sample does not depend on what else is in the batch but for rounding. On processors with
  bfloat16 and plain attention (`prefix.can_share_prefix`) not even for that: each prompt is read alone, lengths are multiples of `BLOCK`, and then
  every product gives a row the same bits whatever stands beside it.

Networks whose layers keep a state of their own instead of keys and values go through the library's `generate`, with this module's sampling.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import takewhile
from typing import cast

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from grasper.models.continuation import Continuation, Row, cut_at_end, random_numbers
from grasper.models.library import generate_with_library, keeps_keys_only
from grasper.models.prefix import SharedPrefixCache, attend_to_shared_prefixes, can_share_prefix
from grasper.models.sampling import Sampling, choose, held_back, without_repeats

BLOCK = 32
"""Prompts are padded to multiples of so many tokens: sums over them then keep their order, and few shapes occur that kernels are made for."""


def pad(sequences: Sequence[Sequence[int]], pad_id: int, device: torch.device, *, in_front: bool, multiple: int = 1) -> tuple[Tensor, Tensor]:
    """Token ids and attention mask, both `[rows, longest]`, with the padding in front or behind."""
    longest = -(-max(map(len, sequences)) // multiple) * multiple
    ids = torch.full((len(sequences), longest), pad_id)
    mask = torch.zeros_like(ids)
    for row, sequence in enumerate(sequences):
        place = slice(longest - len(sequence), longest) if in_front else slice(0, len(sequence))
        ids[row, place] = torch.tensor(sequence)
        mask[row, place] = 1
    return ids.to(device), mask.to(device)


def prefill(
    model: PreTrainedModel, prompts: Sequence[Sequence[int]], *, pad_id: int, leaders: Sequence[int] | None = None
) -> tuple[DynamicCache, Tensor, Tensor]:
    """Read the prompts once.

    Plain attention reads them with the padding behind: no token sees it, so the fast causal kernel needs no mask.

    Args:
        leaders: For each prompt one of those up to it, whose beginning it may share; what they share is read once where prompts are read one by one.

    Returns:
        The filled cache, the attention mask `[prompts, longest]`, and the logits of the first new token `[prompts, vocabulary]`, float32.
    """
    if can_share_prefix(model):
        ids, mask = pad(prompts, pad_id, model.device, in_front=False, multiple=BLOCK)
        if model.device.type == "cpu":
            cache, last = _read_one_by_one(model, ids, mask, _beginnings(prompts, leaders))
        else:
            cache, last = _read_together(model, ids, mask)
        return cache, mask, model.get_output_embeddings()(last).float()
    ids, mask = pad(prompts, pad_id, model.device, in_front=True)
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    cache = DynamicCache(config=model.config)
    output = model(input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True, logits_to_keep=1)
    return cache, mask, output.logits[:, -1].float()


def _read_together(model: PreTrainedModel, ids: Tensor, mask: Tensor) -> tuple[DynamicCache, Tensor]:
    """The cache of all prompts and the hidden state of each one's last token, `[prompts, hidden_size]`."""
    cache = DynamicCache(config=model.config)
    hidden = model.base_model(input_ids=ids, past_key_values=cache, use_cache=True).last_hidden_state
    return cache, hidden[torch.arange(len(ids), device=ids.device), mask.sum(-1) - 1]


def _read_one_by_one(model: PreTrainedModel, ids: Tensor, mask: Tensor, beginnings: Sequence[tuple[int, int]]) -> tuple[DynamicCache, Tensor]:
    """The same, each prompt alone: processors are no slower at it, nothing is read for padding, and no prompt changes another's rounding.

    Args:
        beginnings: For each prompt an earlier one, and how many of its first tokens are the same and need not be read again.
    """
    together: list[tuple[Tensor, Tensor]] = []
    last = []
    for row, (length, (leader, start)) in enumerate(zip(mask.sum(-1).tolist(), beginnings, strict=True)):
        cache = DynamicCache(config=model.config)
        for number, (keys, values) in enumerate(together if start else ()):
            cache.update(keys[leader : leader + 1, :, :start], values[leader : leader + 1, :, :start], number)
        padded = -(-length // BLOCK) * BLOCK
        hidden = model.base_model(input_ids=ids[row : row + 1, start:padded], past_key_values=cache, use_cache=True).last_hidden_state
        last.append(hidden[0, length - 1 - start])
        for number, layer in enumerate(cache.layers):
            filled = cast(tuple[Tensor, Tensor], (layer.keys, layer.values))  # type: ignore[union-attr]  # plain attention has both
            if row == 0:
                shape = (len(ids), filled[0].shape[1], ids.shape[1], filled[0].shape[3])
                together.append((ids.new_zeros(shape, dtype=model.dtype), ids.new_zeros(shape, dtype=model.dtype)))
            for all_rows, own in zip(together[number], filled, strict=True):
                all_rows[row, :, :length] = own[0, :, :length]
    cache = DynamicCache(config=model.config)
    for number, (keys, values) in enumerate(together):
        cache.update(keys, values, number)
    return cache, torch.stack(last)


def _beginnings(prompts: Sequence[Sequence[int]], leaders: Sequence[int] | None) -> list[tuple[int, int]]:
    """The leader of each prompt, and how many whole blocks of tokens the two begin with; none where a prompt leads itself.

    A prompt's last token is always read, for what comes after it.
    """
    found = []
    for row, (leader, prompt) in enumerate(zip(leaders or range(len(prompts)), prompts, strict=True)):
        pairs = zip(prompts[leader], prompt[:-1], strict=False)
        common = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs)) if leader != row else 0
        found.append((leader, common // BLOCK * BLOCK))
    return found


def has_exact_batches(model: PreTrainedModel) -> bool:
    """Whether a row gets the same bits in any batch."""
    return model.device.type == "cpu" and model.dtype == torch.bfloat16 and can_share_prefix(model)


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
    if not keeps_keys_only(model):
        return generate_with_library(model, prompts, rows, sampling, end_ids=end_ids, pad_id=pad_id)
    advance, logits = begin(model, prompts, [row.prompt for row in rows], room=max(row.max_new_tokens for row in rows), pad_id=pad_id)
    return run(advance, logits, rows, sampling, end_ids)


Advance = Callable[[Tensor, Tensor | None, int], Tensor]
"""`advance(tokens, kept, step)` gives the logits after the newest tokens of the rows that go on, `[rows, vocabulary]`, float32. `kept` are their
places among the rows of the step before; None: all."""


def begin(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    owners: Sequence[int],
    *,
    room: int,
    pad_id: int,
    leaders: Sequence[int] | None = None,
) -> tuple[Advance, Tensor]:
    """Read the prompts, and get ready to write rows behind them; gives the step and the first logits of every row.

    Args:
        owners: The prompt of each row; rows of one prompt stand together, in the order of the prompts.
        room: Most tokens of a row.
        leaders: See `prefill`.
    """
    cache, mask, logits = prefill(model, prompts, pad_id=pad_id, leaders=leaders)
    owner = torch.tensor(owners, device=model.device)
    if can_share_prefix(model):
        shared = SharedPrefixCache(cache, mask, owner, room=room)
        del cache
        return _SharedStep(model, shared, mask.sum(-1)[owner]), logits[owner]
    cache.batch_select_indices(owner)
    return _PlainStep(model, cache, mask[owner]), logits[owner]


class _SharedStep:
    """One step of the running rows over a shared prefix."""

    def __init__(self, model: PreTrainedModel, cache: SharedPrefixCache, lengths: Tensor) -> None:
        self._model, self._cache, self._lengths = model, cache, lengths
        attend_to_shared_prefixes(model)
        self._no_mask = torch.zeros((1, 1, 1, 1), dtype=model.dtype, device=model.device)  # four dimensions: transformers builds none

    def __call__(self, tokens: Tensor, kept: Tensor | None, step: int) -> Tensor:
        if kept is not None:
            self._cache.select(kept)
            self._lengths = self._lengths[kept]
        return (
            self._model(
                input_ids=tokens[:, None],
                attention_mask=self._no_mask,
                position_ids=(self._lengths + step)[:, None],
                past_key_values=self._cache,
                shared_prefix=self._cache,
                use_cache=True,
            )
            .logits[:, -1]
            .float()
        )


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
        return (
            self._model(input_ids=tokens[:, None], attention_mask=self._mask, position_ids=positions, past_key_values=self._cache, use_cache=True)
            .logits[:, -1]
            .float()
        )


def run(advance: Advance, logits: Tensor, rows: Sequence[Row], sampling: Sampling, end_ids: frozenset[int]) -> list[Continuation]:
    """Sample until every row has ended, beginning with the first logits, `[rows, vocabulary]`."""
    device, room = logits.device, max(row.max_new_tokens for row in rows)
    draws = random_numbers(rows, room).to(device)
    least, most = torch.tensor([(row.min_new_tokens, row.max_new_tokens) for row in rows], device=device).unbind(1)
    ends = torch.tensor(sorted(end_ids), dtype=torch.long, device=device)
    stops = sampling.stops(end_ids)
    running = torch.arange(len(rows), device=device)
    written = torch.full((len(rows), room), -1, device=device)
    logprobs = torch.zeros(len(rows), device=device)
    for step in range(room):
        allowed = held_back(logits, least[running] > step, stops)
        if sampling.no_repeat:
            allowed = without_repeats(allowed, written[running, :step], sampling.no_repeat, sampling.line_ends)
        tokens = choose(allowed, draws[running, step], sampling)
        written[running, step] = tokens
        logprobs[running] += logits.gather(1, tokens[:, None]).squeeze(1) - logits.logsumexp(-1)
        goes_on = ~torch.isin(tokens, ends) & (step + 1 < most[running])
        kept = None if goes_on.all() else goes_on.nonzero().squeeze(1)
        if kept is not None:
            running, tokens = running[kept], tokens[kept]
            if not len(running):
                break
        logits = advance(tokens, kept, step)
    return [cut_at_end(tokens, end_ids, logprob) for tokens, logprob in zip(written.tolist(), logprobs.tolist(), strict=True)]
