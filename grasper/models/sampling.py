"""The next token of each row of a batch."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

NUCLEUS_SIZES = (64, 1024)
"""The nucleus is looked for among so many most probable tokens before the whole vocabulary is sorted, which is slow."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is chosen. Temperature 0 takes the most probable one; `no_repeat` n > 0 never writes the same n tokens twice in a line."""

    temperature: float
    top_p: float
    no_repeat: int = 0
    line_ends: tuple[int, ...] = ()
    """Tokens that hold a line break."""
    openings: tuple[int, ...] = ()
    """Tokens that begin another message."""

    def stops(self, end_ids: Collection[int]) -> set[int]:
        """All that must not come before an answer has its least length: ends, line breaks, and what begins another message."""
        return {*end_ids, *self.line_ends, *self.openings}


def without_repeats(logits: Tensor, written: Tensor, n: int, line_ends: Sequence[int] = ()) -> Tensor:
    """The logits with −inf for every token that would complete a run of `n` tokens which the row's present line holds already.

    A text may thus take up what the plan in a line before it says. A run over a line break may occur once, so that no answer goes on for ever with
    the same line. Without `line_ends` the same as transformers' `NoRepeatNGramLogitsProcessor`, which goes through every row's whole answer in Python
    at each step.

    Args:
        logits: `[rows, vocabulary]`.
        written: The tokens of each row's answer so far, `[rows, step]`; all rows have written equally many.
        n: Length of a run, ≥ 1.
        line_ends: Tokens that hold a line break.

    Reference: Paulus et al. 2018 (arXiv:1705.04304), Sec. 2.5, there with n = 3.
    """
    step = written.shape[1]
    if step < n:
        return logits
    runs = written.unfold(1, n, 1)  # [rows, step - n + 1, n]
    current = written[:, step - n + 1 :]  # [rows, n - 1]
    matches = (runs[:, :, : n - 1] == current[:, None]).all(-1)
    if line_ends:
        is_end = torch.isin(written, torch.tensor(line_ends, device=written.device))
        lines = is_end.cumsum(1)
        starts_in_line = lines[:, : step - n + 1] - is_end[:, : step - n + 1].long() == lines[:, -1:]
        matches &= starts_in_line | is_end[:, step - n + 1 :].any(1, keepdim=True)
    rows, places = matches.nonzero(as_tuple=True)
    if not len(rows):
        return logits
    logits = logits.clone()
    logits[rows, runs[rows, places, n - 1]] = float("-inf")
    return logits


def held_back(logits: Tensor, is_held: Tensor, stops: Collection[int]) -> Tensor:
    """The logits with −inf for the tokens `stops` in the rows that must go on, but where next to nothing else is likely: what is left there is noise.

    Args:
        logits: `[rows, vocabulary]`.
        is_held: `[rows]`, booleans.
        stops: Tokens that must not come yet (`Sampling.stops`).
    """
    rows = is_held.nonzero().squeeze(1)
    if not len(rows):
        return logits
    places = torch.tensor(sorted(stops), dtype=torch.long, device=logits.device)
    is_unsure = logits[rows].softmax(-1)[:, places].sum(-1) <= _SURE
    logits = logits.clone()
    logits[rows[is_unsure, None], places] = float("-inf")
    return logits


_SURE = 0.99
"""Probability of all stops together from which none is held back."""


def choose(logits: Tensor, draws: Tensor, sampling: Sampling) -> Tensor:
    """The next token of each row, from the nucleus of its tempered distribution: `[rows]`.

    Args:
        logits: `[rows, vocabulary]`, float32.
        draws: One uniform number in [0, 1) for each row, `[rows]`: the same number and logits give the same token.
        sampling: Temperature, and the share of probability in the nucleus.

    Reference: Holtzman et al. 2020 (arXiv:1904.09751), Sec. 3.1.
    """
    if sampling.temperature == 0:
        return logits.argmax(-1)
    probabilities = (logits / sampling.temperature).softmax(-1)
    vocabulary = logits.shape[-1]
    if sampling.top_p >= 1:
        return _invert(probabilities, draws, 1.0)
    chosen = torch.empty(len(logits), dtype=torch.long, device=logits.device)
    open_rows = torch.arange(len(logits), device=logits.device)
    for size in (*(size for size in NUCLEUS_SIZES if size < vocabulary), vocabulary):
        values, tokens = probabilities[open_rows].topk(size) if size < vocabulary else probabilities[open_rows].sort(descending=True)
        places = _invert(values, draws[open_rows], sampling.top_p)
        chosen[open_rows] = tokens.gather(1, places[:, None]).squeeze(1)
        open_rows = open_rows[values.sum(-1) < sampling.top_p]
        if not len(open_rows):
            break
    return chosen


def _invert(probabilities: Tensor, draws: Tensor, top_p: float) -> Tensor:
    """Where each draw falls in the distribution function of the leading columns that together reach `top_p`; at least the first one."""
    cumulative = probabilities.cumsum(-1)
    last = (cumulative < top_p).sum(-1, keepdim=True).clamp(max=probabilities.shape[-1] - 1)
    total = cumulative.gather(1, last)
    place = torch.searchsorted(cumulative, draws[:, None] * total, right=True)
    return torch.minimum(place, last).squeeze(1)
