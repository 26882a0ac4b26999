"""Decoding attention over a prompt that several answers share: its keys and values are stored and read once, not once per answer.

Scores over the prompt are a product of all queries of its answers with one matrix of keys; scores over an answer's own tokens stand beside
them, and one softmax spans both. The result equals ordinary attention. Related: Juravsky et al. 2024 (arXiv:2402.05099).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface, PreTrainedModel
from transformers.cache_utils import DynamicCache, DynamicLayer
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

ATTENTION_NAME = "grasper_shared_prefix"
ARCHITECTURES = frozenset({"llama", "mistral", "qwen2", "qwen3"})
"""Model types whose attention is plain (no soft cap, no sinks) and that hand extra arguments on to it."""

REGROUP_BELOW = 0.75
"""Prompts without running answers are dropped once fewer than this share of the places hold a running one: dropping copies the rest."""


class SharedPrefixCache:
    """Keys and values of prompts, and of the answers that follow them.

    Places: prompt `g` of the batch has `width` places, `g * width …`; a running answer occupies one of them.

    Args:
        prompts: The cache that a prefill has filled, each tensor `[prompts, key_heads, longest, head_dim]`.
        mask: 1 where a prompt has a token and 0 where it is padded, `[prompts, longest]`.
        owners: The prompt of each answer, `[answers]`.
        room: Most tokens of an answer.
    """

    def __init__(self, prompts: DynamicCache, mask: Tensor, owners: Tensor, *, room: int) -> None:
        layers = [(layer.keys, layer.values) for layer in prompts.layers if isinstance(layer, DynamicLayer)]
        first = layers[0][0]
        assert first is not None
        # Processors multiply slices of float32 buffers, but copy those of bfloat16 ones first.
        self._answer_dtype = torch.float32 if first.device.type == "cpu" else first.dtype
        self._prompt_keys = [keys.contiguous() for keys, _ in layers if keys is not None]
        self._prompt_values = [values.contiguous() for _, values in layers if values is not None]
        self._prompt_bias = torch.zeros_like(mask, dtype=torch.float32).masked_fill(mask == 0, float("-inf"))[:, None, None, :]
        self._owners = owners
        self._length = 0
        self._arrange(owners)
        heads, head_dim = first.shape[1], first.shape[3]
        shape = (len(mask) * self._width, heads, room, head_dim)
        self._answer_keys = [first.new_zeros(shape, dtype=self._answer_dtype) for _ in layers]
        self._answer_values = [first.new_zeros(shape, dtype=self._answer_dtype) for _ in layers]

    def _arrange(self, owners: Tensor) -> None:
        """Give every answer a place; answers of one prompt stand together in `owners`."""
        counts = torch.bincount(owners, minlength=len(self._prompt_bias))
        self._width = int(counts.max())
        firsts = counts.cumsum(0) - counts
        self._places = owners * self._width + torch.arange(len(owners), device=owners.device) - firsts[owners]

    def select(self, kept: Tensor) -> None:
        """Go on with the answers `kept` only (indices in ascending order)."""
        places, owners = self._places[kept], self._owners[kept]
        self._places, self._owners = places, owners
        if len(kept) >= REGROUP_BELOW * len(self._prompt_bias) * self._width:
            return
        prompts, self._owners = owners.unique(return_inverse=True)
        num_prompts = len(self._prompt_bias)
        self._prompt_bias = self._prompt_bias[prompts]
        self._arrange(self._owners)
        source = torch.zeros(len(prompts) * self._width, dtype=torch.long, device=kept.device)
        source[self._places] = places
        for layer in range(len(self._prompt_keys)):
            if len(prompts) < num_prompts:
                self._prompt_keys[layer] = self._prompt_keys[layer][prompts]
                self._prompt_values[layer] = self._prompt_values[layer][prompts]
            self._answer_keys[layer] = self._answer_keys[layer][source]
            self._answer_values[layer] = self._answer_values[layer][source]

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Tokens in the cache: the longest prompt and the answers so far."""
        return self._prompt_bias.shape[-1] + self._length

    def update(self, key_states: Tensor, value_states: Tensor, layer_idx: int, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Store the keys and values of each answer's newest token, `[answers, key_heads, 1, head_dim]`; returns them unchanged."""
        if layer_idx == 0:
            self._length += 1
        self._answer_keys[layer_idx][self._places, :, self._length - 1] = key_states[:, :, 0].to(self._answer_dtype)
        self._answer_values[layer_idx][self._places, :, self._length - 1] = value_states[:, :, 0].to(self._answer_dtype)
        return key_states, value_states

    def attend(self, queries: Tensor, layer: int, scaling: float) -> Tensor:
        """Attention of each answer's newest token over its prompt and itself.

        Args:
            queries: `[answers, heads, 1, head_dim]`.
            layer: Which layer's keys and values.
            scaling: Factor of the scores.

        Returns:
            `[answers, heads, head_dim]`.
        """
        num_prompts, width, key_heads, head_dim = len(self._prompt_bias), self._width, self._prompt_keys[layer].shape[1], queries.shape[-1]
        per_head = queries.shape[1] // key_heads
        placed = queries.new_zeros((num_prompts * width, key_heads, per_head, head_dim))
        placed[self._places] = (queries.squeeze(2) * scaling).view(-1, key_heads, per_head, head_dim)
        together = (num_prompts, width, key_heads, per_head)  # [prompts, answers of it, key heads, queries of a head]

        of_prompt = placed.view(*together, head_dim).transpose(1, 2).reshape(num_prompts, key_heads, width * per_head, head_dim)
        prompt_scores = (of_prompt @ self._prompt_keys[layer].mT).float() + self._prompt_bias
        answer_scores = (placed.to(self._answer_dtype) @ self._answer_keys[layer][:, :, : self._length].mT).float()
        longest = prompt_scores.shape[-1]
        by_answer = prompt_scores.view(num_prompts, key_heads, width, per_head, longest).transpose(1, 2).reshape(-1, key_heads, per_head, longest)
        weights = torch.cat([by_answer, answer_scores], dim=-1).softmax(-1)
        over_prompt = weights[..., :longest].view(*together, longest).transpose(1, 2).reshape(num_prompts, key_heads, width * per_head, longest)
        from_prompt = over_prompt.to(queries.dtype) @ self._prompt_values[layer]
        from_answer = weights[..., longest:].to(self._answer_dtype) @ self._answer_values[layer][:, :, : self._length]
        mixed = from_prompt.view(num_prompts, key_heads, width, per_head, head_dim).transpose(1, 2).reshape(placed.shape) + from_answer
        return mixed[self._places].reshape(len(queries), -1, head_dim).to(queries.dtype)


def shared_prefix_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float | None = None,
    shared_prefix: SharedPrefixCache | None = None,
    **kwargs: Any,
) -> tuple[Tensor, Tensor | None]:
    """Attention in the form that transformers calls: `[rows, length, heads, head_dim]`.

    Where a call brings a shared prefix, keys, values and mask are that one's own; any other call gets the library's attention.
    """
    if shared_prefix is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **kwargs)
    layer = module.layer_idx
    assert isinstance(layer, int)
    return shared_prefix.attend(query, layer, scaling or query.shape[-1] ** -0.5)[:, None], None


AttentionInterface.register(ATTENTION_NAME, shared_prefix_attention)
AttentionMaskInterface.register(ATTENTION_NAME, sdpa_mask)


def can_share_prefix(model: PreTrainedModel) -> bool:
    """Whether the model's attention is one that `SharedPrefixCache` replaces: a known architecture whose layers all attend to everything."""
    if model.config.model_type not in ARCHITECTURES or model.config._attn_implementation not in ("sdpa", ATTENTION_NAME):
        return False
    return all(type(layer) is DynamicLayer for layer in DynamicCache(config=model.config).layers)


def attend_to_shared_prefixes(model: PreTrainedModel) -> None:
    """Let the model's layers call `shared_prefix_attention`, for good: a call without a shared prefix is answered as before."""
    model.config._attn_implementation = ATTENTION_NAME
