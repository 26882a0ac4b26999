"""How likely a network holds given texts: exact log-probabilities, one context read once for all the texts behind it.

Where a GPU wants wide batches, whole sequences of similar length are read together instead. Sums are kept in float64, on the processor, since
not every device knows it (mps).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from transformers import PreTrainedModel

from grasper.models.decoding import pad, prefill
from grasper.models.library import keeps_keys_only
from grasper.models.spelling import Ending

TOKENS_AT_ONCE = 2048
"""Tokens behind a context that go through the output layer together, padding included."""


@torch.inference_mode()
def log_likelihoods(
    model: PreTrainedModel, context: Sequence[int], endings: Sequence[Ending], *, context_tokens: int, pad_id: int
) -> list[np.ndarray]:
    """The log-probability in nats of every counted token of each ending, `[counted]` each.

    Endings that do not fit behind the context are scored in windows: later tokens see the context and as many of the tokens before them as there is
    room for, at least half of it.

    Args:
        context: Token ids, at least one; two fewer than `context_tokens` at most.
        context_tokens: Longest context plus ending.
    """
    room = context_tokens - len(context)
    windows = [(number, window) for number, ending in enumerate(endings) for window in _windows(ending, room)]
    score = _score_cached if keeps_keys_only(model) else _score_whole
    values = score(model, context, [window for _, window in windows], pad_id)
    return _whole([number for number, _ in windows], values, len(endings))


@torch.inference_mode()
def score_choices(
    model: PreTrainedModel,
    contexts: Sequence[Sequence[int]],
    endings: Sequence[Sequence[Sequence[int]]],
    *,
    pad_id: int,
    leaders: Sequence[int] | None = None,
) -> np.ndarray:
    """Log-probability of every ending of every context, `[contexts, choices]`: short endings, equally many behind each context.

    Args:
        leaders: See `decoding.prefill`.
    """
    num_choices, longest = len(endings[0]), max(len(ending) for row in endings for ending in row)
    cache, mask, logits = prefill(model, contexts, pad_id=pad_id, leaders=leaders)
    flat = [list(ending) + [pad_id] * (longest - len(ending)) for row in endings for ending in row]
    tokens = torch.tensor(flat, device=model.device)
    lengths = torch.tensor([len(ending) for row in endings for ending in row], device=model.device)
    first = logits.log_softmax(-1).repeat_interleave(num_choices, dim=0)
    scores = first.gather(1, tokens[:, :1]).squeeze(1)
    if longest > 1:
        rows = torch.arange(len(contexts), device=model.device).repeat_interleave(num_choices)
        cache.batch_select_indices(rows)
        steps = torch.arange(longest - 1, device=model.device)
        is_token = steps + 1 < lengths[:, None]
        output = model(
            input_ids=tokens[:, :-1],
            attention_mask=torch.cat([mask[rows], torch.ones_like(tokens[:, :-1])], dim=1),
            position_ids=mask[rows].sum(-1, keepdim=True) + steps,
            past_key_values=cache,
            use_cache=True,
        )
        following = output.logits.float().log_softmax(-1).gather(2, tokens[:, 1:, None]).squeeze(2)
        scores = scores + (following * is_token).sum(-1)
    return np.asarray(scores.reshape(len(contexts), num_choices).cpu().double().numpy())


@torch.inference_mode()
def log_likelihoods_together(
    model: PreTrainedModel, rows: Sequence[tuple[Sequence[int], Ending]], *, context_tokens: int, batch_tokens: int, pad_id: int
) -> list[np.ndarray]:
    """The same for many contexts at once, each read anew with every ending: where a batch takes the time of a row (GPUs). Plain attention only.

    Args:
        rows: Contexts, each with one ending.
        batch_tokens: Most tokens read at once, padding included.
    """
    read = [
        (number, (*context, *window.tokens), window.counted)
        for number, (context, ending) in enumerate(rows)
        for window in _windows(ending, context_tokens - len(context))
    ]
    values: dict[int, np.ndarray] = {}
    order = sorted(range(len(read)), key=lambda place: -len(read[place][1]))
    while order:
        width = max(1, batch_tokens // len(read[order[0]][1]))
        places, order = order[:width], order[width:]
        batch = [read[place] for place in places]
        ids, mask = pad([tokens for _, tokens, _ in batch], pad_id, model.device, in_front=False)  # no token sees the padding behind it
        hidden = model.base_model(input_ids=ids, use_cache=False).last_hidden_state[:, :-1]
        counted = torch.tensor([count for *_, count in batch], device=model.device)
        lengths, steps = mask.sum(-1, keepdim=True), torch.arange(1, ids.shape[1], device=model.device)
        is_counted = (steps < lengths) & (steps >= lengths - counted[:, None])
        tokens = ids[:, 1:][is_counted]
        logprobs = []
        for states, chosen in zip(*(part.split(TOKENS_AT_ONCE) for part in (hidden[is_counted], tokens)), strict=True):
            logits = model.get_output_embeddings()(states).float()
            logprobs.append(logits.gather(1, chosen[:, None]).squeeze(1) - logits.logsumexp(-1))
        found = torch.cat(logprobs).cpu().double().split([count for *_, count in batch])
        values.update((place, one.numpy()) for place, one in zip(places, found, strict=True))
    return _whole([number for number, *_ in read], [values[place] for place in range(len(read))], len(rows))


def _whole(owners: Sequence[int], values: Sequence[np.ndarray], count: int) -> list[np.ndarray]:
    """The values of each of `count` endings from those of its windows, in their order."""
    parts: list[list[np.ndarray]] = [[] for _ in range(count)]
    for owner, value in zip(owners, values, strict=True):
        parts[owner].append(value)
    return [np.concatenate(own) if own else np.zeros(0) for own in parts]


def _windows(ending: Ending, room: int) -> Iterator[Ending]:
    """Endings of at most `room` tokens whose counted tokens together are those of the ending."""
    tokens, start = ending.tokens, len(ending.tokens) - ending.counted
    while start < len(tokens):
        stop = len(tokens) if len(tokens) <= room else min(len(tokens), max(room, start + max(1, room // 2)))
        yield Ending(tokens[max(0, stop - room) : stop], stop - start)
        start = stop


def _score_cached(model: PreTrainedModel, context: Sequence[int], endings: Sequence[Ending], pad_id: int) -> list[np.ndarray]:
    """Reads the context once and the endings behind it, in batches."""
    scores = []
    width = max(1, TOKENS_AT_ONCE // max((len(ending.tokens) for ending in endings), default=1))  # none where nothing is counted
    for start in range(0, len(endings), width):
        batch = endings[start : start + width]
        cache, mask, logits = prefill(model, [context], pad_id=pad_id)
        cache.batch_repeat_interleave(len(batch))
        ids, is_token = pad([ending.tokens for ending in batch], pad_id, model.device, in_front=False)
        steps = torch.arange(ids.shape[1], device=model.device)
        output = model(
            input_ids=ids,
            attention_mask=torch.cat([mask.repeat(len(batch), 1), is_token], dim=1),
            position_ids=mask.sum() + steps[None].expand(len(batch), -1),
            past_key_values=cache,
            use_cache=True,
        )
        for row, ending in enumerate(batch):
            length = len(ending.tokens)
            before = torch.cat([logits, output.logits[row, : length - 1]])[-ending.counted :]
            scores.append(_log_probabilities(before, ids[row, length - ending.counted : length]))
    return scores


def _score_whole(model: PreTrainedModel, context: Sequence[int], endings: Sequence[Ending], pad_id: int) -> list[np.ndarray]:
    """Reads the context again with every ending: for networks whose layers keep a state of their own."""
    scores = []
    for ending in endings:
        ids = torch.tensor([[*context, *ending.tokens]], device=model.device)
        logits = model(input_ids=ids, use_cache=False).logits[0, :-1]
        scores.append(_log_probabilities(logits[-ending.counted :], ids[0, -ending.counted :]))
    return scores


def _log_probabilities(logits: torch.Tensor, tokens: torch.Tensor) -> np.ndarray:
    """Of each token, `[tokens]`; `logits` `[tokens, vocabulary]`."""
    return np.asarray(logits.float().log_softmax(-1).gather(1, tokens[:, None]).squeeze(1).cpu().double().numpy())
