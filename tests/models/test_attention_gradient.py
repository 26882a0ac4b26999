from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from tiny_model import save_model
from torch import Tensor

from grasper.models.attention_gradient import ATTENTION_NAME, BLOCK, CausalAttention, fast_attention_gradient
from grasper.models.local import LocalModel
from grasper.tune.lora import token_nll


def gradients(states: list[Tensor], upstream: Tensor, scaling: float, *, ours: bool) -> list[Tensor]:
    query, key, value = (tensor.clone().requires_grad_() for tensor in states)
    if ours:
        mixed = CausalAttention.apply(query, key, value, scaling)
    else:
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True, scale=scaling, enable_gqa=query.shape[1] != key.shape[1])
    return [mixed, *torch.autograd.grad(mixed, (query, key, value), upstream)]


def error(found: Tensor, exact: Tensor) -> float:
    return float((found.float() - exact).norm() / exact.norm())


@pytest.mark.parametrize(("rows", "length", "heads", "key_heads", "width"), [(2, 2 * BLOCK + 37, 9, 3, 64), (3, BLOCK, 4, 4, 32), (1, 5, 4, 1, 80)])
@pytest.mark.parametrize("spread", [0.3, 3.0])
def test_is_as_near_to_float32_as_torchs_own(rows: int, length: int, heads: int, key_heads: int, width: int, spread: float) -> None:
    """Against the gradient in float32, for flat and for sharp attention, with shared key heads and factors that are no power of two."""
    generator = torch.Generator().manual_seed(length)
    shapes = [(rows, count, length, width) for count in (heads, key_heads, key_heads, heads)]
    query, key, value, upstream = (torch.randn(shape, generator=generator).bfloat16() for shape in shapes)
    states, scaling = [query * spread, key, value], width**-0.5
    exact = gradients([tensor.float() for tensor in states], upstream.float(), scaling, ours=False)
    theirs = gradients(states, upstream, scaling, ours=False)
    ours = gradients(states, upstream, scaling, ours=True)
    assert torch.equal(ours[0], theirs[0])
    for name, found, known, truth in zip(("query", "key", "value"), ours[1:], theirs[1:], exact[1:], strict=True):
        assert found.dtype == torch.bfloat16
        assert error(found, truth) < max(0.008, 1.5 * error(known, truth)), name


def test_takes_the_layout_that_layers_bring() -> None:
    """Heads and places transposed, as they come from the projections."""
    generator = torch.Generator().manual_seed(0)
    query, key, value, upstream = (torch.randn(2, 40, heads, 16, generator=generator).bfloat16().transpose(1, 2) for heads in (4, 2, 2, 4))
    plain = gradients([tensor.contiguous() for tensor in (query, key, value)], upstream.contiguous(), 0.25, ours=True)
    for found, known in zip(gradients([query, key, value], upstream, 0.25, ours=True), plain, strict=True):
        assert torch.equal(found, known)


def test_a_model_learns_the_same_with_it_and_is_left_as_it_was(tmp_path: Path) -> None:
    """Losses are equal to the bit, gradients up to rounding; outside, and without a gradient, the library's attention answers."""
    local = LocalModel(str(save_model(tmp_path, context_tokens=2048)), device="cpu", dtype=torch.bfloat16)
    model, former = local.model, local.model.config._attn_implementation
    ids = torch.randint(5, 60, (2, BLOCK + 20), generator=torch.Generator().manual_seed(1))
    weights = torch.ones(ids.shape)
    parameters = [value for name, value in model.named_parameters() if "proj" in name]

    def learn() -> tuple[Tensor, list[Tensor]]:
        with torch.enable_grad():
            for value in parameters:
                value.requires_grad_(True)
            losses = token_nll(model, ids, weights)
            return losses.detach(), list(torch.autograd.grad(losses.mean(), parameters))

    losses, known = learn()
    with fast_attention_gradient(model):
        assert model.config._attn_implementation == ATTENTION_NAME
        same, found = learn()
        with torch.no_grad():
            assert torch.equal(token_nll(model, ids, weights), losses)
    assert model.config._attn_implementation == former
    assert torch.equal(same, losses)
    assert any(not torch.equal(ours, theirs) for ours, theirs in zip(found, known, strict=True)), "the other gradient was not taken"
    for ours, theirs in zip(found, known, strict=True):
        assert error(ours, theirs.float()) < 0.03


def test_another_kind_of_attention_is_left_alone(tmp_path: Path) -> None:
    local = LocalModel(str(save_model(tmp_path, context_tokens=2048)), device="cpu", dtype=torch.bfloat16)
    local.model.config._attn_implementation = "eager"
    with fast_attention_gradient(local.model):
        assert local.model.config._attn_implementation == "eager"
