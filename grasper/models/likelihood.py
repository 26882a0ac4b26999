"""How likely a network holds given texts: exact log-probabilities, one context read once for all the texts behind it.

Where every text has a context of its own and a GPU wants wide batches, whole sequences of similar length are read together instead.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from grasper.models.decoding import pad, prefill
from grasper.models.library import keeps_keys_only

TOKENS_AT_ONCE = 2048
"""Tokens behind a context that go through the output layer together, padding included."""
LOGITS_AT_ONCE = 2**28
"""Logits of a batch of whole sequences: half a gigabyte in bfloat16, and a gigabyte for their softmax."""


@dataclass(frozen=True, slots=True)
class Ending:
    """Tokens behind a context, of which the last `counted` ones are scored and the others are given, too."""

    tokens: tuple[int, ...]
    counted: int


@torch.inference_mode()
def log_likelihoods(model: PreTrainedModel, context: Sequence[int], endings: Sequence[Ending], *, context_tokens: int, pad_id: int) -> list[float]:
    """The log-probability in nats of each ending's counted tokens.

    Endings that do not fit behind the context are scored in windows: later tokens see the context and as many of the tokens before them as there is
    room for, at least half of it.

    Args:
        context: Token ids, at least one; two fewer than `context_tokens` at most.
        context_tokens: Longest context plus ending.
    """
    room = context_tokens - len(context)
    scores = [0.0] * len(endings)
    windows = [(number, window) for number, ending in enumerate(endings) for window in _windows(ending, room)]
    score = _score_cached if keeps_keys_only(model) else _score_whole
    for number, value in zip((number for number, _ in windows), score(model, context, [window for _, window in windows], pad_id), strict=True):
        scores[number] += value
    return scores


@torch.inference_mode()
def log_likelihoods_in_batches(
    model: PreTrainedModel, contexts: Sequence[Sequence[int]], endings: Sequence[Ending], *, context_tokens: int, batch_tokens: int, pad_id: int
) -> list[float]:
    """The same for one ending behind each of many contexts, in batches of similar length, the longest first.

    Args:
        batch_tokens: Most tokens of a batch, padding included.
    """
    rows = [
        (number, [*context, *window.tokens], window.counted)
        for number, (context, ending) in enumerate(zip(contexts, endings, strict=True))
        for window in _windows(ending, context_tokens - len(context))
    ]
    rows.sort(key=lambda row: -len(row[1]))
    scores = [0.0] * len(contexts)
    vocabulary = model.get_output_embeddings().weight.shape[0]
    start = 0
    while start < len(rows):
        stop, most = start, 0
        while stop < len(rows):
            most, size = max(most, rows[stop][2]), stop + 1 - start
            if stop > start and (size * len(rows[start][1]) > batch_tokens or size * (most + 1) * vocabulary > LOGITS_AT_ONCE):
                break
            stop += 1
        batch = rows[start:stop]
        for (number, _, _), value in zip(batch, _score_batch(model, [(ids, counted) for _, ids, counted in batch], pad_id), strict=True):
            scores[number] += value
        start = stop
    return scores


def _score_batch(model: PreTrainedModel, rows: Sequence[tuple[Sequence[int], int]], pad_id: int) -> list[float]:
    """The log-probability of the last `counted` tokens of each sequence; the padding stands in front, so that all of them end in one column."""
    ids, mask = pad([tokens for tokens, _ in rows], pad_id, model.device, in_front=True)
    counted = torch.tensor([number for _, number in rows], device=model.device)
    most = max(number for _, number in rows)
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    logits = model(input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=False, logits_to_keep=most + 1).logits[:, :-1]
    targets = ids[:, -most:]
    chosen = logits.gather(2, targets[:, :, None]).squeeze(2).float() - torch.logsumexp(logits.float(), dim=-1)
    is_counted = torch.arange(most, device=model.device) >= most - counted[:, None]
    return [float(value) for value in chosen.masked_fill(~is_counted, 0.0).double().sum(-1).tolist()]


def _windows(ending: Ending, room: int) -> Iterator[Ending]:
    """Endings of at most `room` tokens whose counted tokens together are those of the ending."""
    tokens, start = ending.tokens, len(ending.tokens) - ending.counted
    while start < len(tokens):
        stop = len(tokens) if len(tokens) <= room else min(len(tokens), max(room, start + max(1, room // 2)))
        yield Ending(tokens[max(0, stop - room) : stop], stop - start)
        start = stop


def _score_cached(model: PreTrainedModel, context: Sequence[int], endings: Sequence[Ending], pad_id: int) -> list[float]:
    """Reads the context once and the endings behind it, in batches."""
    scores = []
    width = max(1, TOKENS_AT_ONCE // max(len(ending.tokens) for ending in endings))
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
            scores.append(_log_probability(before, ids[row, length - ending.counted : length]))
    return scores


def _score_whole(model: PreTrainedModel, context: Sequence[int], endings: Sequence[Ending], pad_id: int) -> list[float]:
    """Reads the context again with every ending: for networks whose layers keep a state of their own."""
    scores = []
    for ending in endings:
        ids = torch.tensor([[*context, *ending.tokens]], device=model.device)
        logits = model(input_ids=ids, use_cache=False).logits[0, :-1]
        scores.append(_log_probability(logits[-ending.counted :], ids[0, -ending.counted :]))
    return scores


def _log_probability(logits: torch.Tensor, tokens: torch.Tensor) -> float:
    """Sum over tokens of their log-probabilities, `logits` `[tokens, vocabulary]`."""
    return float(logits.float().log_softmax(-1).gather(1, tokens[:, None]).double().sum())
