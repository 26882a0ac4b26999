"""One text behind several prompts, against the pool computed from whole forward passes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from grasper.models.continuation import Row
from grasper.models.decoding import decode, prefill
from grasper.models.pooling import PooledText, decode_pooled, in_batches, pool
from grasper.models.sampling import Sampling
from tests.models.test_decoding import CONFIGS, make_model

A, B, C, D = [7, 8, 9, 10, 11, 12, 13], [20, 21], [33, 34, 35, 36, 37], [50, 51, 52]
TEXTS = [
    PooledText((A, B), (0.75, 0.25), (1,), most=12),
    PooledText((A, C), (0.1, 0.9), (2,), most=5),
    PooledText((D,), (1.0,), (3, 4), most=12),
]
"""Two prompts, two of which one hardly counts, and a prompt alone that is answered twice."""
GREEDY, WARM = Sampling(0.0, 1.0), Sampling(1.0, 0.9)
ENDS = frozenset({1})


@dataclass(frozen=True)
class Counted:
    """The logits of a prefill, and how many tokens the network has read for it."""

    logits: Tensor
    tokens: int


def _count_read(model: PreTrainedModel, read: Callable[[], Tensor]) -> Counted:
    sizes: list[int] = []
    hook = model.base_model.register_forward_pre_hook(lambda module, args, kwargs: sizes.append(kwargs["input_ids"].shape[1]), with_kwargs=True)
    logits = read()
    hook.remove()
    return Counted(logits, sum(sizes))


def slow_greedy(model: PreTrainedModel, text: PooledText) -> list[int]:
    """The text's tokens, every one from whole passes over all of its prompts."""
    written = list[int]()
    while len(written) < text.most and (not written or written[-1] not in ENDS):
        last = [model(torch.tensor([[*prompt, *written]])).logits[0, -1].softmax(-1) for prompt in text.prompts]
        written.append(int(sum(weight * shares for weight, shares in zip(text.weights, last, strict=True)).argmax()))
    return [token for token in written if token not in ENDS]


@pytest.mark.parametrize("name", CONFIGS)
@torch.inference_mode()
def test_every_token_is_the_likeliest_of_the_pool(name: str) -> None:
    model = make_model(CONFIGS[name])
    found = decode_pooled(model, TEXTS, GREEDY, end_ids=ENDS, pad_id=0)
    assert [len(samples) for samples in found] == [1, 1, 2]
    for text, samples in zip(TEXTS, found, strict=True):
        assert {tuple(sample.tokens) for sample in samples} == {tuple(slow_greedy(model, text))}


@pytest.mark.parametrize("name", CONFIGS)
@torch.inference_mode()
def test_a_shared_beginning_changes_no_token(name: str) -> None:
    """Prompts that share a beginning and end at several lengths, beside one that shares nothing and one alone."""
    model = make_model(CONFIGS[name])
    stem, other = [3 + number * 7 % 250 for number in range(75)], [5 + number * 11 % 250 for number in range(40)]
    texts = [
        PooledText(([*stem, 9, 10], [*stem, 12], [*stem[:70], *range(20, 50)]), (0.25, 0.25, 0.5), (1, 2), most=10),
        PooledText(([*other, 7], [*other, 8, 9]), (0.5, 0.5), (3,), most=4),
        PooledText((C, [*stem, 9]), (0.5, 0.5), (4,), most=10),
        PooledText((other,), (1.0,), (5,), most=10),
    ]
    for text, samples in zip(texts, decode_pooled(model, texts, GREEDY, end_ids=ENDS, pad_id=0), strict=True):
        assert {tuple(sample.tokens) for sample in samples} == {tuple(slow_greedy(model, text))}


def test_texts_that_end_leave_the_others_as_they_are() -> None:
    model, ends = make_model(CONFIGS["llama, grouped heads"]), frozenset(range(1, 100))
    together = decode_pooled(model, TEXTS, WARM, end_ids=ends, pad_id=0)
    assert len({sample.num_generated for samples in together for sample in samples}) > 1
    for text, samples in zip(TEXTS, together, strict=True):
        [alone] = decode_pooled(model, [text], WARM, end_ids=ends, pad_id=0)
        assert [one.tokens for one in alone] == [one.tokens for one in samples]


@pytest.mark.parametrize("weights", [(1.0,), (0.5, 0.5)], ids=["one prompt", "the same twice"])
def test_a_pool_of_one_prompt_writes_what_the_prompt_writes(weights: tuple[float, ...]) -> None:
    model = make_model(CONFIGS["llama"])
    [expected] = decode(model, [A], [Row(0, seed=1, max_new_tokens=12)], WARM, end_ids=ENDS, pad_id=0)
    [[found]] = decode_pooled(model, [PooledText((A,) * len(weights), weights, (1,), most=12)], WARM, end_ids=ENDS, pad_id=0)
    assert found.tokens == expected.tokens
    assert found.logprob == pytest.approx(expected.logprob, abs=1e-3)


@pytest.mark.parametrize("name", ["llama, grouped heads", "qwen3"])
@torch.inference_mode()
def test_what_prompts_begin_with_is_read_once(name: str) -> None:
    """The first prompt leads: one shares two blocks with it, one all but its end, one a few tokens, one nothing."""
    model = make_model(CONFIGS[name])
    shared = [3 + number * 7 % 250 for number in range(75)]
    prompts = [[*shared, 9, 10], [*shared, 12], [*shared, 9, 10], [*shared[:8], 20], [40, 41]]
    _, _, expected = prefill(model, prompts, pad_id=0)
    counted = _count_read(model, lambda: prefill(model, prompts, pad_id=0, leaders=[0] * 5)[2])
    torch.testing.assert_close(counted.logits, expected)
    assert counted.tokens == 96 + 32 + 32 + 32 + 32  # 64 of 96 are read once for three prompts


def test_no_prompt_can_veto_what_another_expects() -> None:
    logits = torch.tensor([[9.0, 0.0, -90.0], [0.0, 0.0, 0.0]])
    [pooled] = pool(logits, torch.tensor([0, 0]), torch.tensor([0.75, 0.25]), 1)
    torch.testing.assert_close(pooled.exp(), 0.75 * logits[0].softmax(-1) + 0.25 / 3)
    assert pooled[2] > -3


@pytest.mark.parametrize(("batch_tokens", "sizes"), [(10_000, [3]), (60, [1, 1, 1]), (1, [1, 1, 1])])
def test_batches_hold_prompts_answers_and_padding(batch_tokens: int, sizes: list[int]) -> None:
    batches = list(in_batches(TEXTS, batch_tokens, is_shared=False))
    assert [len(batch) for batch in batches] == sizes
    assert [place for batch in batches for place in batch] == [0, 1, 2]


def test_samples_of_a_text_hold_its_prompts_once() -> None:
    texts = [PooledText(([*range(40)], [*range(30)]), (0.5, 0.5), tuple(range(8)), most=5)] * 4
    assert [[len(batch) for batch in in_batches(texts, 320, is_shared=is_shared)] for is_shared in (False, True)] == [[1, 1, 1, 1], [2, 2]]
