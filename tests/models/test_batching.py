from __future__ import annotations

from itertools import chain

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from grasper.models.batching import LEAST, MOST, by_length, cached_bytes, held_tokens, tokens_that_fit, usual_batch_tokens

SMALL = LlamaConfig(vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2)


def test_the_cache_is_as_large_as_it_really_becomes() -> None:
    model = LlamaForCausalLM(SMALL).to(torch.bfloat16)
    cache = model(input_ids=torch.arange(10)[None], use_cache=True).past_key_values
    held = sum(states.numel() * states.element_size() for layer in cache.layers for states in (layer.keys, layer.values))
    assert held == 10 * cached_bytes(SMALL, itemsize=2)


def test_half_a_card_is_filled_within_reason() -> None:
    """SmolLM2's 23,040 bytes a token on a large card, 131,072 of an 8B model beside its weights on one of 24 GB, and next to no memory."""
    assert tokens_that_fit(40_000_000_000, 23_040) == MOST
    assert tokens_that_fit(4_000_000_000, 131_072) == 30_517
    assert tokens_that_fit(1_000_000, 131_072) == LEAST


@pytest.mark.parametrize(("free", "tokens"), [(10**12, 32_768), (4 * 10_000 * 384, 10_000), (1_000, LEAST)])
def test_a_processor_fills_a_quarter_of_the_memory_at_most(monkeypatch: pytest.MonkeyPatch, free: int, tokens: int) -> None:
    """Of a network whose keys and values take 384 bytes a token in float32; no card is asked."""
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda device: pytest.fail("there is no card to ask"))
    monkeypatch.setattr("grasper.models.batching.available_bytes", lambda: free)
    assert cached_bytes(SMALL, itemsize=4) == 384
    assert usual_batch_tokens(LlamaForCausalLM(SMALL)) == tokens


@pytest.mark.parametrize(("is_shared", "count"), [(False, 16), (True, 12)])
def test_batches_hold_no_more_than_asked(is_shared: bool, count: int) -> None:
    """Nothing above `batch_tokens` but a single answer that is longer alone, every answer once; where prompts are shared far fewer batches do."""
    places_of = {tuple(range(length)): [(length, sample) for sample in range(8)] for length in (3, 30, 12, 150)}
    batches = list(by_length(places_of, 10, 100, is_shared=is_shared))
    for batch in batches:
        num_rows = sum(len(places) for _, places in batch)
        held = held_tokens([len(places) for _, places in batch], max(len(ids) for ids, _ in batch), 10, is_shared=is_shared)
        assert held <= 100 or num_rows == 1
    assert sorted(place for batch in batches for _, places in batch for place in places) == sorted(chain.from_iterable(places_of.values()))
    assert len(batches) == count


def test_one_prompt_of_many_answers_makes_no_room_for_all_the_others() -> None:
    """A cache has as many places for every prompt as for the widest, so those of as many answers stand together."""
    places_of = {(number, *range(39)): [(number, sample) for sample in range(64 if number == 50 else 1)] for number in range(100)}
    batches = list(by_length(places_of, 224, 40_000, is_shared=True))
    assert [len(batch) for batch in batches] == [1, 99]
    assert all(held_tokens([len(places) for _, places in batch], 40, 224, is_shared=True) <= 40_000 for batch in batches)
