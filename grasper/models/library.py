"""Sampling through the library's own `generate`, for networks whose layers keep a state of their own: Mamba, linear attention, hybrids.

Each prompt is read alone, once for each of its answers, and rows that have ended wait for the others: slower, but right for every architecture that
the library can generate with. Tokens are chosen as everywhere else, from each row's own random stream.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList, PreTrainedModel
from transformers.cache_utils import DynamicCache, DynamicLayer

from grasper.models.continuation import Continuation, Row, cut_at_end, random_numbers
from grasper.models.sampling import Sampling, choose, held_back, without_repeats


def keeps_keys_only(model: PreTrainedModel) -> bool:
    """Whether all that the model's layers remember of a text are keys and values, which can be padded, repeated and dropped by row."""
    if model._is_stateful:
        return False
    return all(isinstance(layer, DynamicLayer) for layer in DynamicCache(config=model.config).layers)


def generate_with_library(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    rows: Sequence[Row],
    sampling: Sampling,
    *,
    end_ids: frozenset[int],
    pad_id: int,
) -> list[Continuation]:
    """One continuation for each row, in the order of the rows; see `decoding.decode`."""
    continuations: dict[int, Continuation] = {}
    for number, prompt in enumerate(prompts):
        places = [place for place, row in enumerate(rows) if row.prompt == number]
        sampler = _RowSampler([rows[place] for place in places], sampling, len(prompt), end_ids, model.device)
        ids = torch.tensor([list(prompt)] * len(places), device=model.device)
        settings = GenerationConfig(
            max_new_tokens=sampler.room,
            do_sample=False,
            num_beams=1,
            repetition_penalty=1.0,
            eos_token_id=sorted(end_ids) or None,
            pad_token_id=pad_id,
        )
        written = model.generate(  # type: ignore[operator]
            ids, attention_mask=torch.ones_like(ids), generation_config=settings, logits_processor=LogitsProcessorList([sampler])
        )[:, len(prompt) :]
        for place, tokens, logprobs in zip(places, written.tolist(), sampler.logprobs.tolist(), strict=True):
            tokens = tokens[: rows[place].max_new_tokens]
            length = next((step + 1 for step, token in enumerate(tokens) if token in end_ids), len(tokens))
            continuations[place] = cut_at_end(tokens[:length], end_ids, sum(logprobs[:length]))
    return [continuations[place] for place in range(len(rows))]


@torch.inference_mode()
def score_whole(model: PreTrainedModel, contexts: Sequence[Sequence[int]], endings: Sequence[Sequence[Sequence[int]]]) -> np.ndarray:
    """Log-probability of every ending of every context, `[contexts, choices]`: every context is read again with every ending."""
    scores = np.zeros((len(contexts), len(endings[0])))
    for row, (context, choices) in enumerate(zip(contexts, endings, strict=True)):
        for column, ending in enumerate(choices):
            ids = torch.tensor([[*context, *ending]], device=model.device)
            logprobs = model(input_ids=ids, use_cache=False).logits[0, len(context) - 1 : -1].float().log_softmax(-1)
            scores[row, column] = float(logprobs.gather(1, ids[0, len(context) :, None]).sum())
    return scores


class _RowSampler(LogitsProcessor):
    """Leaves to each row only the token that its own random stream chooses."""

    def __init__(self, rows: Sequence[Row], sampling: Sampling, prompt_length: int, end_ids: frozenset[int], device: torch.device) -> None:
        self.room = max(row.max_new_tokens for row in rows)
        self.logprobs = torch.zeros((len(rows), self.room), device=device)
        self._draws = random_numbers(rows, self.room).to(device)
        self._least = torch.tensor([row.min_new_tokens for row in rows], device=device)
        self._stops = sampling.stops(end_ids)
        self._sampling, self._prompt_length = sampling, prompt_length

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        step = input_ids.shape[1] - self._prompt_length
        logits = scores.float()
        sampling, written = self._sampling, input_ids[:, self._prompt_length :]
        allowed = held_back(logits, self._least > step, self._stops)
        if sampling.no_repeat:
            allowed = without_repeats(allowed, written, sampling.no_repeat, sampling.line_ends)
        tokens = choose(allowed, self._draws[:, step], sampling)
        self.logprobs[:, step] = logits.gather(1, tokens[:, None]).squeeze(1) - logits.logsumexp(-1)
        return torch.full_like(scores, float("-inf")).scatter(1, tokens[:, None], 0.0)
