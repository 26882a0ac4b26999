"""One text behind several prompts at once: at every step the prompts' distributions over the next token are pooled into one, which is sampled from.

The pool is linear, p = Σ wₖ pₖ: what is likely behind a prompt that weighs much stays likely, whatever another one makes of it, so a bad prompt costs
little. In the logarithmic pool, Σ wₖ log pₖ, it could veto what it does not expect.

References: Genest & Zidek 1986 (Statistical Science 1(1), Sec. 3); RAG-Token (arXiv:2005.11401, Sec. 2.1) pools over retrieved texts. Pooling over a
model's own reasoning paths is ours.
"""

from __future__ import annotations

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
    and the least tokens of one."""

    prompts: tuple[Sequence[int], ...]
    weights: tuple[float, ...]
    seeds: tuple[int, ...]
    most: int
    least: int = 0

    @property
    def longest(self) -> int:
        """Tokens of its longest prompt."""
        return max(map(len, self.prompts))


def in_batches(texts: Sequence[PooledText], batch_tokens: int, *, is_shared: bool) -> Iterator[list[int]]:
    """The places of the texts, longest first, in batches that hold at most `batch_tokens` (see `batching.held_tokens`)."""
    order = sorted(range(len(texts)), key=lambda place: -texts[place].longest)
    while order:
        most, widest = max(texts[place].most for place in order), max(len(texts[place].seeds) for place in order)
        widths = [widest] * max(len(texts[place].prompts) for place in order)  # every prompt of a text takes part in all its samples
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
    members: list[tuple[int, int, float]] = []  # prompt, row and weight: every prompt takes part in all rows of its text
    rows: list[Row] = []
    for text in texts:
        leaders += [len(prompts)] * len(text.prompts)
        for ids, weight in zip(text.prompts, text.weights, strict=True):
            members += [(len(prompts), len(rows) + sample, weight) for sample in range(len(text.seeds))]
            prompts.append(ids)
        rows += [Row(leaders[-1], seed, text.most, text.least) for seed in text.seeds]
    owners, places, shares = zip(*members, strict=True)
    advance, logits = begin(model, prompts, owners, room=max(row.max_new_tokens for row in rows), pad_id=pad_id, leaders=leaders)
    row_of, weights = torch.tensor(places, device=logits.device), torch.tensor(shares, device=logits.device)
    written = iter(run(_PooledStep(advance, row_of, weights), pool(logits, row_of, weights, len(rows)), rows, sampling, end_ids))
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


class _PooledStep:
    """One step of all members of the running rows."""

    def __init__(self, advance: Advance, row_of: Tensor, weights: Tensor) -> None:
        self._advance, self._row_of, self._weights = advance, row_of, weights

    def __call__(self, tokens: Tensor, kept: Tensor | None, step: int) -> Tensor:
        members = None
        if kept is not None:
            members = torch.isin(self._row_of, kept).nonzero().squeeze(1)
            self._row_of = torch.searchsorted(kept, self._row_of[members])  # the rows that go on are numbered anew
            self._weights = self._weights[members]
        return pool(self._advance(tokens[self._row_of], members, step), self._row_of, self._weights, len(tokens))
