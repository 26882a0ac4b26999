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
from grasper.models.pooling import Member, decode_pooled, pool
from grasper.models.sampling import Sampling
from tests.models.test_decoding import CONFIGS, make_model

PROMPTS = [[7, 8, 9, 10, 11, 12, 13], [20, 21], [33, 34, 35, 36, 37], [50, 51, 52]]
ROWS = [Row(0, seed=1, max_new_tokens=12), Row(0, seed=2, max_new_tokens=5), Row(0, seed=3, max_new_tokens=12)]
MEMBERS = [Member(0, 0, 0.75), Member(0, 1, 1.5), Member(1, 0, 0.25), Member(2, 1, -0.5), Member(3, 2, 1.0)]
"""The first prompt takes part in two texts; the second text has a prompt of negative weight; the third has one prompt alone."""


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


GREEDY, WARM = Sampling(0.0, 1.0), Sampling(1.0, 0.9)
ENDS = frozenset({1})


def slow_greedy(model: PreTrainedModel, text: int) -> list[int]:
    """The text's tokens, every one from whole passes over all of its prompts."""
    members, written = [member for member in MEMBERS if member.text == text], list[int]()
    while len(written) < ROWS[text].max_new_tokens and (not written or written[-1] not in ENDS):
        last = [model(torch.tensor([[*PROMPTS[member.prompt], *written]])).logits[0, -1].log_softmax(-1) for member in members]
        pooled = sum(member.weight * logits for member, logits in zip(members, last, strict=True))
        written.append(int(pooled.argmax()))
    return [token for token in written if token not in ENDS]


@pytest.mark.parametrize("name", CONFIGS)
@torch.inference_mode()
def test_every_token_is_the_likeliest_of_the_pool(name: str) -> None:
    model = make_model(CONFIGS[name])
    texts = decode_pooled(model, PROMPTS, MEMBERS, ROWS, GREEDY, end_ids=ENDS, pad_id=0)
    assert [text.tokens for text in texts] == [slow_greedy(model, number) for number in range(3)]


def test_texts_that_end_leave_the_others_as_they_are() -> None:
    model = make_model(CONFIGS["llama, grouped heads"])
    together = decode_pooled(model, PROMPTS, MEMBERS, ROWS, WARM, end_ids=frozenset(range(1, 100)), pad_id=0)
    assert len({text.num_generated for text in together}) > 1
    for number, text in enumerate(together):
        members = [Member(place, 0, member.weight) for place, member in enumerate(one for one in MEMBERS if one.text == number)]
        prompts = [PROMPTS[member.prompt] for member in MEMBERS if member.text == number]
        [alone] = decode_pooled(model, prompts, members, [ROWS[number]], WARM, end_ids=frozenset(range(1, 100)), pad_id=0)
        assert alone.tokens == text.tokens


@pytest.mark.parametrize("weights", [(1.0,), (0.5, 0.5), (1.5, -0.5)], ids=["one prompt", "the same twice", "less itself"])
def test_a_pool_of_one_prompt_writes_what_the_prompt_writes(weights: tuple[float, ...]) -> None:
    model = make_model(CONFIGS["llama"])
    prompts = [PROMPTS[0]] * len(weights)
    [expected] = decode(model, PROMPTS[:1], ROWS[:1], WARM, end_ids=ENDS, pad_id=0)
    members = [Member(place, 0, weight) for place, weight in enumerate(weights)]
    [found] = decode_pooled(model, prompts, members, ROWS[:1], WARM, end_ids=ENDS, pad_id=0)
    assert found.tokens == expected.tokens
    assert found.logprob == pytest.approx(expected.logprob, abs=1e-3)


@pytest.mark.parametrize("name", ["llama, grouped heads", "qwen3"])
@torch.inference_mode()
def test_what_prompts_begin_with_is_read_once(name: str) -> None:
    """The first prompt of a text leads: one shares two blocks with it, one all of it, one a few tokens, one nothing."""
    model = make_model(CONFIGS[name])
    shared = [3 + number * 7 % 250 for number in range(75)]
    prompts = [[*shared, 9, 10], [*shared, 12], [*shared, 9, 10], [*shared[:8], 20], [40, 41]]
    _, _, expected = prefill(model, prompts, pad_id=0)
    counted = _count_read(model, lambda: prefill(model, prompts, pad_id=0, leaders=[0, 0, 0, 0, 4])[2])
    torch.testing.assert_close(counted.logits, expected)
    assert counted.tokens == 96 + 32 + 32 + 32 + 32  # 64 of 96 are read once for three prompts
    members, rows = [Member(place, 0, 0.2) for place in range(5)], ROWS[:1]
    apart, together = (decode_pooled(model, prompts, members, rows, WARM, end_ids=ENDS, pad_id=0, leaders=way) for way in (None, [0, 0, 0, 0, 4]))
    assert together[0].tokens == apart[0].tokens


def test_what_one_prompt_alone_brings_up_is_outvoted() -> None:
    logits = torch.tensor([[9.0, 5.0, 0.0], [0.0, 5.0, 9.0]])
    pooled = pool(logits, torch.tensor([0, 0]), torch.tensor([0.5, 0.5]), 1)
    assert int(pooled[0].argmax()) == 1
