"""The decoding loop against the library's own generation."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, MistralConfig, PreTrainedModel, Qwen2Config, Qwen3Config

from grasper.models.continuation import Continuation, Row
from grasper.models.decoding import decode, pad
from grasper.models.prefix import can_share_prefix
from grasper.models.sampling import Sampling
from grasper.models.weights import choose_dtype

SHAPE = {
    "vocab_size": 300,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "head_dim": 8,
    "max_position_embeddings": 128,
    "pad_token_id": 0,
    "eos_token_id": 1,
    "bos_token_id": None,
    "initializer_range": 0.3,
}
CONFIGS = {
    "llama": LlamaConfig(**SHAPE, num_key_value_heads=4, tie_word_embeddings=True),
    "llama, grouped heads": LlamaConfig(**SHAPE, num_key_value_heads=2),
    "mistral": MistralConfig(**SHAPE, num_key_value_heads=2, sliding_window=None),
    "mistral, sliding window": MistralConfig(**SHAPE, num_key_value_heads=2, sliding_window=6),
    "qwen2": Qwen2Config(**SHAPE, num_key_value_heads=2),
    "qwen3": Qwen3Config(**SHAPE, num_key_value_heads=1),
}
PROMPTS = [[7, 8, 9, 10, 11, 12, 13, 14, 15], [20, 21], [33, 34, 35, 36, 37]]
GREEDY = Sampling(0.0, 1.0)
WARM = Sampling(1.0, 0.9)


def make_model(config: object) -> PreTrainedModel:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return AutoModelForCausalLM.from_config(config).eval()


@pytest.fixture(scope="module")
def llama() -> PreTrainedModel:
    return make_model(CONFIGS["llama, grouped heads"])


def run(model: PreTrainedModel, prompts: list[list[int]], rows: list[Row], sampling: Sampling, end_ids: frozenset[int]) -> list[Continuation]:
    return decode(model, prompts, rows, sampling, end_ids=end_ids, pad_id=0)


@pytest.mark.parametrize("name", CONFIGS)
def test_greedy_equals_the_library(name: str) -> None:
    """For every known architecture, each prompt alone through the library's `generate` gives the same tokens as our batch."""
    model = make_model(CONFIGS[name])
    rows = [Row(number, 0, 12) for number in range(3)]
    ours = run(model, PROMPTS, rows, GREEDY, frozenset({1}))
    for prompt, continuation in zip(PROMPTS, ours, strict=True):
        ids = torch.tensor([prompt])
        theirs = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=12)[0, len(prompt) :].tolist()
        assert continuation.tokens == [token for token in theirs if token != 1]


@pytest.mark.parametrize("sampling", [Sampling(0.0, 1.0, no_repeat=2), Sampling(0.3, 0.9, no_repeat=2)])
def test_no_answer_holds_a_run_twice(llama: PreTrainedModel, sampling: Sampling) -> None:
    """Random weights at a low temperature go in circles at once; forbidden to, every answer still runs to its own end."""
    rows = [Row(number, number, limit) for number, limit in enumerate((60, 10, 35))]
    free = run(llama, PROMPTS, rows, replace(sampling, no_repeat=0), frozenset())
    guarded = run(llama, PROMPTS, rows, sampling, frozenset())
    repeats = [[len(c.tokens) - 1 - len(set(pairwise(c.tokens))) for c in answers] for answers in (free, guarded)]
    assert sum(repeats[0]) > 0
    assert repeats[1] == [0, 0, 0]
    assert [len(continuation.tokens) for continuation in guarded] == [60, 10, 35]


@pytest.mark.parametrize("name", ["llama, grouped heads", "mistral, sliding window"])
def test_rows_go_on_until_their_least_tokens_are_written(name: str) -> None:
    """Before, no end token, line break or beginning of a message; after, as any other row. Rows without a least are what they were."""
    model, ends, lines, openings = make_model(CONFIGS[name]), frozenset(range(1, 60)), tuple(range(60, 100)), tuple(range(100, 120))
    sampling = replace(WARM, line_ends=lines, openings=openings)
    rows = [Row(number % 3, number, 30, least) for number, least in enumerate((0, 12, 5, 0, 30, 7))]
    rows.sort(key=lambda row: row.prompt)
    found = run(model, PROMPTS, rows, sampling, ends)
    free = run(model, PROMPTS, [replace(row, min_new_tokens=0) for row in rows], sampling, ends)
    for row, held, usual in zip(rows, found, free, strict=True):
        assert held.num_generated >= row.min_new_tokens
        assert not {*ends, *lines, *openings} & set(held.tokens[: row.min_new_tokens])
        assert row.min_new_tokens or held.tokens == usual.tokens
    assert any(usual.num_generated < row.min_new_tokens for row, usual in zip(rows, free, strict=True))


def test_shares_prefixes_only_where_attention_is_plain() -> None:
    """A sliding window falls back to the library's cache."""
    assert {name: can_share_prefix(make_model(config)) for name, config in CONFIGS.items()} == {
        name: name != "mistral, sliding window" for name in CONFIGS
    }


@pytest.mark.parametrize("name", ["llama, grouped heads", "mistral, sliding window"])
def test_samples_do_not_depend_on_the_batch(name: str) -> None:
    """A row gives the same tokens alone, among others, and beside samples of the same prompt, with rows leaving at all times."""
    model = make_model(CONFIGS[name])
    ends = frozenset(range(1, 60))  # a fifth of the vocabulary: rows end early and at different steps
    rows = [Row(prompt, 100 * prompt + sample, 4 + 3 * sample) for prompt in range(3) for sample in range(3)]
    together = run(model, PROMPTS, rows, WARM, ends)
    assert len({continuation.num_generated for continuation in together}) > 2
    for row, continuation in zip(rows, together, strict=True):
        alone = run(model, [PROMPTS[row.prompt]], [Row(0, row.seed, row.max_new_tokens)], WARM, ends)[0]
        assert alone.tokens == continuation.tokens
        assert alone.is_ended == continuation.is_ended
        assert alone.logprob == pytest.approx(continuation.logprob, abs=1e-3)


def test_each_prompt_is_read_once(llama: PreTrainedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight samples of each of three prompts: one pass over each, then steps of one token."""
    shapes: list[tuple[int, int]] = []
    forward = llama.base_model.forward

    def watch(**arguments: object) -> object:
        shapes.append(tuple(arguments["input_ids"].shape))  # type: ignore[attr-defined]
        return forward(**arguments)

    monkeypatch.setattr(llama.base_model, "forward", watch)
    run(llama, PROMPTS, [Row(prompt, sample, 4) for prompt in range(3) for sample in range(8)], WARM, frozenset())
    assert shapes == [(1, 32)] * 3 + [(24, 1)] * 3


def test_stops_at_an_end_token_and_at_the_limit(llama: PreTrainedModel) -> None:
    """An answer holds its tokens up to the end token, which is counted but not shown; without one it is cut off at its own limit."""
    free = run(llama, PROMPTS[:1], [Row(0, 0, 10)], GREEDY, frozenset())[0]
    assert (len(free.tokens), free.num_generated, free.is_ended) == (10, 10, False)
    end = free.tokens[4]
    first = free.tokens.index(end)
    ended = run(llama, PROMPTS[:1], [Row(0, 0, 10)], GREEDY, frozenset({end}))[0]
    assert (ended.tokens, ended.num_generated, ended.is_ended) == (free.tokens[:first], first + 1, True)


def test_log_probability_is_that_of_the_model(llama: PreTrainedModel) -> None:
    """The sum over the written tokens equals a plain pass over prompt and answer, whatever the temperature."""
    continuation = run(llama, PROMPTS[:1], [Row(0, 3, 8)], Sampling(0.5, 0.8), frozenset())[0]
    ids = torch.tensor([PROMPTS[0] + continuation.tokens])
    with torch.inference_mode():
        logprobs = llama(input_ids=ids).logits.log_softmax(-1)[0, len(PROMPTS[0]) - 1 : -1]
    expected = logprobs.gather(1, torch.tensor(continuation.tokens)[:, None]).sum()
    assert continuation.logprob == pytest.approx(float(expected), abs=1e-3)


def test_decoding_leaves_the_network_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plain pass, as a training makes it, gives the same bits after decoding, and after a decoding that failed in its middle."""
    model = make_model(CONFIGS["llama, grouped heads"])
    ids = torch.tensor([PROMPTS[0]])
    before = model(input_ids=ids).logits
    run(model, PROMPTS, [Row(0, 0, 4)], GREEDY, frozenset())
    assert torch.equal(model(input_ids=ids).logits, before)
    monkeypatch.setattr("grasper.models.decoding.choose", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run(model, PROMPTS, [Row(0, 0, 4)], GREEDY, frozenset())
    assert torch.equal(model(input_ids=ids).logits, before)


def interrupt(*arguments: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.skipif(choose_dtype(torch.device("cpu")) != torch.bfloat16, reason="this processor is not fast in bfloat16")
def test_in_bfloat16_no_bit_depends_on_the_batch() -> None:
    """Log-probabilities and tokens of a row are the same to the bit alone and beside longer prompts, more samples and rows that leave."""
    shape = SHAPE | {"hidden_size": 128, "intermediate_size": 192, "head_dim": 32, "max_position_embeddings": 1024, "initializer_range": 0.1}
    model = make_model(LlamaConfig(**shape, num_key_value_heads=2)).to(torch.bfloat16)  # type: ignore[arg-type]
    chooser = random.Random(0)
    prompts = [[chooser.randrange(10, 300) for _ in range(length)] for length in (9, 40, 64, 200, 333, 700)]
    rows = [Row(prompt, 10 * prompt + sample, 30 - 3 * sample) for prompt in range(6) for sample in range(1 + prompt % 3)]
    together = run(model, prompts, rows, WARM, frozenset(range(1, 20)))
    for row, continuation in zip(rows, together, strict=True):
        alone = run(model, [prompts[row.prompt]], [Row(0, row.seed, row.max_new_tokens)], WARM, frozenset(range(1, 20)))[0]
        assert (alone.tokens, alone.logprob) == (continuation.tokens, continuation.logprob)


@pytest.mark.parametrize(
    ("in_front", "ids", "mask"), [(True, [[0, 5, 0], [1, 2, 3]], [[0, 1, 1], [1, 1, 1]]), (False, [[5, 0, 0], [1, 2, 3]], [[1, 1, 0], [1, 1, 1]])]
)
def test_padding(in_front: bool, ids: list[list[int]], mask: list[list[int]]) -> None:
    """The mask tells padding from tokens even where a prompt holds the padding token."""
    padded = pad([[5, 0], [1, 2, 3]], 0, torch.device("cpu"), in_front=in_front)
    assert [tensor.tolist() for tensor in padded] == [ids, mask]
