"""One text behind several prompts at once: at every step the prompts' distributions over the next token are pooled into one, which is sampled from.

The pool is logarithmic, log p ∝ Σ wₖ log pₖ: a token must be likely behind every prompt that weighs much, so what one of them alone brings up (a
detail that a sampled path made up) is outvoted, and what they agree on stays.

References: Genest & Zidek 1986 (Statistical Science 1(1), Sec. 4); Hinton 2002 (products of experts). Pooling over a model's own reasoning paths is
ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from grasper.models.continuation import Continuation, Row
from grasper.models.decoding import Advance, begin, run
from grasper.models.sampling import Sampling


@dataclass(frozen=True, slots=True)
class Member:
    """One prompt's share in one text: the numbers of both in the batch, and the weight of the prompt's distribution."""

    prompt: int
    text: int
    weight: float


@torch.inference_mode()
def decode_pooled(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    members: Sequence[Member],
    rows: Sequence[Row],
    sampling: Sampling,
    *,
    end_ids: frozenset[int],
    pad_id: int,
    leaders: Sequence[int] | None = None,
) -> list[Continuation]:
    """One continuation for each text, in the order of the texts; otherwise as `decoding.decode`.

    Args:
        members: Those of one prompt stand together, in the order of the prompts. Every text has some, whose weights sum to 1.
        rows: Seed and limits of each text; which prompt they name does not matter.
        leaders: For each prompt one of its text's, the same or an earlier one: what the two begin with is read once (`decoding.prefill`).
    """
    room = max(row.max_new_tokens for row in rows)
    advance, logits = begin(model, prompts, [member.prompt for member in members], room=room, pad_id=pad_id, leaders=leaders)
    texts = torch.tensor([member.text for member in members], device=logits.device)
    weights = torch.tensor([member.weight for member in members], device=logits.device)
    return run(_PooledStep(advance, texts, weights), pool(logits, texts, weights, len(rows)), rows, sampling, end_ids)


def pool(logits: Tensor, texts: Tensor, weights: Tensor, num_texts: int) -> Tensor:
    """The logarithmic opinion pool of each text, up to a constant: `[texts, vocabulary]`.

    Args:
        logits: `[members, vocabulary]`.
        texts: The text of each member, `[members]`.
        weights: The weight of each member, `[members]`.
    """
    weighted = logits.log_softmax(-1) * weights[:, None]
    return weighted.new_zeros((num_texts, logits.shape[-1])).index_add_(0, texts, weighted)


class _PooledStep:
    """One step of all members of the running texts."""

    def __init__(self, advance: Advance, texts: Tensor, weights: Tensor) -> None:
        self._advance, self._texts, self._weights = advance, texts, weights

    def __call__(self, tokens: Tensor, kept: Tensor | None, step: int) -> Tensor:
        members = None
        if kept is not None:
            goes_on = torch.isin(self._texts, kept)
            members = goes_on.nonzero().squeeze(1)
            self._texts = torch.searchsorted(kept, self._texts[members])  # the texts are numbered anew
            self._weights = self._weights[members]
        return pool(self._advance(tokens[self._texts], members, step), self._texts, self._weights, len(tokens))
