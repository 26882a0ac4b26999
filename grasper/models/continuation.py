"""What is asked of a decoding loop, and what it gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Row:
    """One answer to be written: the number of its prompt in the batch, the seed of its random stream, its most and its least tokens.

    Before the least are written it neither ends, nor breaks its line, nor begins another message, unless nothing else is likely
    (`sampling.held_back`).
    """

    prompt: int
    seed: int
    max_new_tokens: int
    min_new_tokens: int = 0


@dataclass(slots=True)
class Continuation:
    """The tokens of one answer without the end token, how many were generated, whether an end token came, and their log-probability.

    The log-probability is in nats, of the model's own distribution (temperature 1, no nucleus), the end token included.
    """

    tokens: list[int]
    num_generated: int
    is_ended: bool
    logprob: float


def random_numbers(rows: Sequence[Row], room: int) -> Tensor:
    """A uniform number in [0, 1) for every step of every row, from the row's own stream: `[rows, room]`. More room changes none of them."""
    return torch.stack([torch.rand(room, generator=torch.Generator().manual_seed(row.seed)) for row in rows])


def cut_at_end(written: Sequence[int], end_ids: frozenset[int], logprob: float) -> Continuation:
    """A row as it was written, with -1 where it wrote nothing, as a continuation."""
    tokens = [token for token in written if token >= 0]
    is_ended = bool(tokens) and tokens[-1] in end_ids
    return Continuation(tokens[:-1] if is_ended else tokens, num_generated=len(tokens), is_ended=is_ended, logprob=logprob)
