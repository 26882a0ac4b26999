"""One text behind several prompts at once: at every step the prompts' distributions over the next token are pooled into one, which is sampled from.

The pool is linear, p = Σ wₖ pₖ: what is likely behind a prompt that weighs much stays likely, whatever another one makes of it, so a bad prompt costs
little. In the logarithmic pool, Σ wₖ log pₖ, it could veto what it does not expect.

The pool can be set off against one more prompt, the same request without its evidence: what the evidence makes likelier is then made likelier still.

References: Genest & Zidek 1986 (Statistical Science 1(1), Sec. 3); RAG-Token (arXiv:2005.11401, Sec. 2.1) pools over retrieved texts; context-aware
decoding (arXiv:2305.14739) sets a context off against none. Pooling over a model's own reasoning paths, and the pool in that contrast, are ours.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from grasper.models.batching import held_tokens
from grasper.models.continuation import Continuation, Row
from grasper.models.decoding import Advance, begin, run
from grasper.models.sampling import Sampling


@dataclass(frozen=True, slots=True)
class PooledText:
    """What is to be written behind several prompts: token ids of the prompts and their weights, which sum to 1; a seed for each sample; the most
    and the least tokens of one; the prompt that they are set off against, and how far (`amplify`)."""

    prompts: tuple[Sequence[int], ...]
    weights: tuple[float, ...]
    seeds: tuple[int, ...]
    most: int
    least: int = 0
    against: Sequence[int] | None = None
    contrast: float = 0.0

    @property
    def read(self) -> tuple[Sequence[int], ...]:
        """All that is read for it: its prompts, and last the one that they are set off against, if there is one."""
        return self.prompts if self.against is None else (*self.prompts, self.against)

    @property
    def longest(self) -> int:
        """Tokens of its longest prompt."""
        return max(map(len, self.read))


def in_batches(texts: Sequence[PooledText], batch_tokens: int, *, is_shared: bool) -> Iterator[list[int]]:
    """The places of the texts, longest first, in batches that hold at most `batch_tokens` (see `batching.held_tokens`)."""
    order = sorted(range(len(texts)), key=lambda place: -texts[place].longest)
    while order:
        most, widest = max(texts[place].most for place in order), max(len(texts[place].seeds) for place in order)
        widths = [widest] * max(len(texts[place].read) for place in order)  # every prompt of a text takes part in all its samples
        width = max(1, batch_tokens // held_tokens(widths, texts[order[0]].longest, most, is_shared=is_shared))
        yield order[:width]
        order = order[width:]


@torch.inference_mode()
def decode_pooled(
    model: PreTrainedModel, texts: Sequence[PooledText], sampling: Sampling, *, end_ids: frozenset[int], pad_id: int
) -> list[list[Continuation]]:
    """One continuation for each seed of each text, in their order; otherwise as `decoding.decode`.

    What a text's prompts have in common with its first one is read once where prompts are read one by one (`decoding.prefill`).
    """
    prompts: list[Sequence[int]] = []
    leaders: list[int] = []
    members: list[tuple[int, int, float, bool]] = []  # prompt, row, weight, and whether it is set off against: every prompt takes part in all rows
    rows: list[Row] = []
    for text in texts:
        leaders += [len(prompts)] * len(text.read)
        for ids, weight, is_against in zip(text.read, (*text.weights, 0.0), (*[False] * len(text.prompts), True), strict=False):
            members += [(len(prompts), len(rows) + sample, weight, is_against) for sample in range(len(text.seeds))]
            prompts.append(ids)
        rows += [Row(leaders[-1], seed, text.most, text.least) for seed in text.seeds]
    owners, places, shares, sides = zip(*members, strict=True)
    advance, logits = begin(model, prompts, owners, room=max(row.max_new_tokens for row in rows), pad_id=pad_id, leaders=leaders)
    pools = _Pools(
        torch.tensor(places, device=logits.device),
        torch.tensor(shares, device=logits.device),
        torch.tensor(sides, device=logits.device),
        torch.tensor([text.contrast for text in texts for _ in text.seeds], device=logits.device),
        torch.tensor(sorted(sampling.stops(end_ids)), dtype=torch.long, device=logits.device),
    )
    written = iter(run(_PooledStep(advance, pools), pools.joined(logits), rows, sampling, end_ids))
    return [[next(written) for _ in text.seeds] for text in texts]


def pool(logits: Tensor, row_of: Tensor, weights: Tensor, num_rows: int) -> Tensor:
    """Log-probabilities of the linear opinion pool of each row: `[rows, vocabulary]`.

    Args:
        logits: Of each prompt in each row that it takes part in, `[members, vocabulary]`.
        row_of: The row of each member, `[members]`.
        weights: The weight of each member, `[members]`, ≥ 0; those of a row sum to 1.
    """
    shares = logits.softmax(-1) * weights[:, None]
    return shares.new_zeros((num_rows, logits.shape[-1])).index_add_(0, row_of, shares).log()


def amplify(told: Tensor, untold: Tensor, contrast: Tensor, stops: Tensor) -> Tensor:
    """Log-probabilities with p (p / q)ᶜ in the place of p among plausible tokens, p behind the evidence and q without it: `[rows, vocabulary]`.

    Plausible is what has a tenth of the likeliest token's probability; anything else comes where nothing plausible may. `stops` keep their
    probability, so that evidence decides what is written and not for how long.

    Args:
        told: Log-probabilities behind the evidence, `[rows, vocabulary]`.
        untold: Those without it.
        contrast: c of each row, `[rows]`, ≥ 0; a row with 0 stays as it is.
        stops: Token ids (`Sampling.stops`), `[stops]`.

    References: arXiv:2305.14739 (Sec. 2) for the contrast, there of two prompts; arXiv:2210.15097 (Sec. 3.3) for what is plausible.
    """
    is_plausible = told >= told.max(-1, keepdim=True).values + math.log(_PLAUSIBLE)
    raised = torch.where(is_plausible, told + contrast[:, None] * (told - untold), told + _LAST_RESORT)
    rest = told.index_fill(1, stops, float("-inf")).logsumexp(-1, keepdim=True)
    raised = raised.index_fill(1, stops, float("-inf")).log_softmax(-1) + rest
    raised[:, stops] = told[:, stops]
    return torch.where(contrast[:, None] > 0, raised, told)


_PLAUSIBLE, _LAST_RESORT = 0.1, -40.0


@dataclass(slots=True)
class _Pools:
    """Which members make up the pool of which running row.

    Args:
        row_of: The row of each member, `[members]`.
        weights: Of each member in its pool, `[members]`; 0 of those that a pool is set off against.
        is_against: Which these are, `[members]`.
        contrast: Of each row, `[rows]`.
        stops: Token ids that no contrast changes.
    """

    row_of: Tensor
    weights: Tensor
    is_against: Tensor
    contrast: Tensor
    stops: Tensor

    def joined(self, logits: Tensor) -> Tensor:
        """What the next token of each row is drawn from, `[rows, vocabulary]`; `logits` of each member, `[members, vocabulary]`."""
        told = pool(logits, self.row_of, self.weights, len(self.contrast))
        if not self.is_against.any():
            return told
        untold = told.clone()
        untold[self.row_of[self.is_against]] = logits[self.is_against].log_softmax(-1)
        return amplify(told, untold, self.contrast, self.stops)

    def keep(self, rows: Tensor) -> Tensor:
        """Let the other rows go, and number these anew; gives the places of the members that stay."""
        members = torch.isin(self.row_of, rows).nonzero().squeeze(1)
        self.row_of = torch.searchsorted(rows, self.row_of[members])
        self.weights, self.is_against, self.contrast = self.weights[members], self.is_against[members], self.contrast[rows]
        return members


class _PooledStep:
    """One step of all members of the running rows."""

    def __init__(self, advance: Advance, pools: _Pools) -> None:
        self._advance, self._pools = advance, pools

    def __call__(self, tokens: Tensor, kept: Tensor | None, step: int) -> Tensor:
        members = None if kept is None else self._pools.keep(kept)
        return self._pools.joined(self._advance(tokens[self._pools.row_of], members, step))
