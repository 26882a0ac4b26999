"""The gradient of causal attention in bfloat16 on processors, by few large products: torch's own takes two to four times as long there.

The forward pass is torch's flash attention, unchanged. Backward, the probabilities are computed anew by blocks of queries over the keys that they may
see. Scores minus their log-sum, and value gradients minus their mean, come out of one product each, with the subtrahend as two more columns (a high
and a low part): so they are rounded where they are small, and the gradient is as near to that of float32 as torch's. Related: Dao et al. 2022
(arXiv:2205.14135).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from transformers import AttentionInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from grasper.models.prefix import can_share_prefix

ATTENTION_NAME = "grasper_training"
BLOCK = 128
"""Queries worked on at once: few enough that little is computed above the diagonal and the scores stay in the cache."""


class CausalAttention(torch.autograd.Function):
    """Causal attention, `[rows, heads, length, head_dim]` in bfloat16; a head of keys and values may serve several neighbouring ones of queries."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        keys, values = (_for_each_query_head(states, query.shape[1]) for states in (key, value))
        mixed, log_sums = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(query, keys, values, 0.0, True, scale=scaling)
        ctx.save_for_backward(query, key, value, mixed, log_sums)
        ctx.scaling = scaling
        return mixed

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        query, key, value, mixed, log_sums = ctx.saved_tensors
        rows, heads, length, head_dim = query.shape
        key_heads = key.shape[1]
        groups = (rows * key_heads, heads // key_heads, length, head_dim + 2)
        ones = key.new_ones(rows, key_heads, length, 2)
        queries = _widen(query, log_sums.view(rows, heads, length) / -ctx.scaling).view(groups)
        gradients = _widen(gradient, -(gradient.float() * mixed.float()).sum(-1)).view(groups)
        keys, values = (torch.cat([states, ones], dim=-1).view(groups[0], length, head_dim + 2) for states in (key, value))
        to_queries = query.new_empty(groups[0], groups[1], length, head_dim)
        to_keys, to_values = (torch.zeros(groups[0], length, head_dim) for _ in range(2))
        for first in range(0, length, BLOCK):
            last = min(length, first + BLOCK)
            asking, coming = (states[:, :, first:last].reshape(groups[0], -1, head_dim + 2) for states in (queries, gradients))
            weights = _scaled_product(asking, keys[:, :last].mT, ctx.scaling).exp_()
            weights.view(*groups[:2], last - first, last)[..., first:].tril_()
            to_values[:, :last] += weights.mT @ coming[..., :head_dim]
            to_scores = (coming @ values[:, :last].mT).mul_(weights)
            to_keys[:, :last] += to_scores.mT @ asking[..., :head_dim]
            to_queries[:, :, first:last] = _scaled_product(to_scores, keys[:, :last, :head_dim], ctx.scaling).view(*groups[:2], -1, head_dim)
        to_keys *= ctx.scaling
        return to_queries.view(query.shape), to_keys.to(key.dtype).view(key.shape), to_values.to(value.dtype).view(value.shape), None


def _for_each_query_head(states: Tensor, heads: int) -> Tensor:
    return states if states.shape[1] == heads else states.repeat_interleave(heads // states.shape[1], dim=1)


def _widen(states: Tensor, column: Tensor) -> Tensor:
    """`[…, width]` and a float32 column `[…]` → `[…, width + 2]`: the column's value is the sum of the two new ones, to 16 bits."""
    high = column.to(states.dtype)
    low = (column - high.float()).to(states.dtype)
    return torch.cat([states, high.unsqueeze(-1), low.unsqueeze(-1)], dim=-1)


def _scaled_product(left: Tensor, right: Tensor, factor: float) -> Tensor:
    """Scaled before it is rounded."""
    return torch.baddbmm(left.new_empty(()), left, right, beta=0, alpha=factor)


def training_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    dropout: float = 0.0,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, Tensor | None]:
    """Attention in the form that transformers calls: what is no plain causal training in bfloat16 on a processor gets the library's."""
    is_plain = attention_mask is None and not dropout and query.shape[2] == key.shape[2] > 1 and query.shape[3] == value.shape[3]
    if not (is_plain and torch.is_grad_enabled() and query.device.type == "cpu" and query.dtype == key.dtype == value.dtype == torch.bfloat16):
        return sdpa_attention_forward(module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs)
    mixed = CausalAttention.apply(query, key, value, query.shape[-1] ** -0.5 if scaling is None else scaling)
    return mixed.transpose(1, 2), None


AttentionInterface.register(ATTENTION_NAME, training_attention)
AttentionMaskInterface.register(ATTENTION_NAME, sdpa_mask)


@contextmanager
def fast_attention_gradient(model: PreTrainedModel) -> Iterator[None]:
    """Within, the model's layers call `training_attention`, if theirs is plain attention over everything before."""
    former = model.config._attn_implementation
    if can_share_prefix(model):
        model.config._attn_implementation = ATTENTION_NAME
    try:
        yield
    finally:
        model.config._attn_implementation = former
