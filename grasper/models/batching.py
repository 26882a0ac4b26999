"""How many tokens a network reads and writes at once where nobody says it, and which prompts stand together in a batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from transformers import PreTrainedModel

from grasper.memory import available_bytes, available_gpu_bytes
from grasper.models.base import Message, Prompt

ON_PROCESSORS, LEAST, MOST = 32_768, 2_048, 262_144


def usual_batch_tokens(model: PreTrainedModel) -> int:
    """Tokens of a batch, padding and answers included: on a GPU as many as half of its free memory holds, on processors as many as a quarter of the
    machine's does, and `ON_PROCESSORS` at most.

    Wide batches cost a GPU next to nothing, and hundreds of requests are then answered in the time of a few. A processor gains nothing beyond.
    """
    config = model.config.get_text_config()
    if not hasattr(config, "num_attention_heads"):  # networks without attention keep a state of fixed size
        return ON_PROCESSORS
    each = cached_bytes(config, model.dtype.itemsize)
    if model.device.type == "cuda":
        return tokens_that_fit(available_gpu_bytes(model.device) // 2, each)
    return min(ON_PROCESSORS, tokens_that_fit(available_bytes() // 4, each))


def cached_bytes(config: Any, itemsize: int) -> int:
    """Bytes of the keys and values of one token in all layers, for the configuration of a network.

    Args:
        itemsize: Bytes of a number.
    """
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return int(2 * config.num_hidden_layers * heads * width * itemsize)


def tokens_that_fit(free: int, each: int) -> int:
    """How many tokens of so many bytes go into free memory, within reason."""
    return max(LEAST, min(MOST, free // max(1, each)))


def held_tokens(widths: Sequence[int], longest: int, most: int, *, is_shared: bool) -> int:
    """Tokens whose keys and values a batch holds room for, padding included.

    Args:
        widths: How many answers are wanted to each prompt.
        longest: Tokens of the longest prompt.
        most: Tokens of the longest answer.
        is_shared: Whether the answers to a prompt share its keys and values; each prompt then has as many places as the widest (`prefix`).
    """
    return len(widths) * (longest + max(widths) * most) if is_shared else sum(widths) * (longest + most)


Places = list[tuple[int, int]]
"""Where the answers to one prompt are wanted."""


def by_length(
    places_of: Mapping[tuple[int, ...], Places], max_new_tokens: int, batch_tokens: int, *, is_shared: bool
) -> Iterator[list[tuple[tuple[int, ...], Places]]]:
    """Prompts with the places of their answers, in batches that hold at most `batch_tokens`: those of about as many answers together, longest
    first; a prompt of very many answers is split."""
    batch: list[tuple[tuple[int, ...], Places]] = []
    for ids in sorted(places_of, key=lambda ids: (-len(places_of[ids]), -len(ids), places_of[ids][0])):
        left = batch_tokens - len(ids) if is_shared else batch_tokens
        width = max(1, left // (max_new_tokens if is_shared else len(ids) + max_new_tokens))
        for start in range(0, len(places_of[ids]), width):
            one = (ids, places_of[ids][start : start + width])
            widths, longest = [len(places) for _, places in (*batch, one)], max(len(other) for other, _ in (*batch, one))
            is_wasteful = is_shared and widths[0] > 2 * widths[-1]
            if batch and (is_wasteful or held_tokens(widths, longest, max_new_tokens, is_shared=is_shared) > batch_tokens):
                yield batch
                batch = []
            batch.append(one)
    if batch:
        yield batch


def by_conversation(
    prompts: Sequence[Prompt], contexts: Sequence[Sequence[int]], room: int, batch_tokens: int
) -> Iterator[tuple[list[int], list[int]]]:
    """The places of the prompts in batches, longest first, those of one conversation together, with the place in the batch of the first of these:
    what a prompt shares with it is read once, and no prompt of another conversation has a part in that.
    """
    groups: dict[tuple[Message, ...], list[int]] = {}
    for place, prompt in enumerate(prompts):
        groups.setdefault(prompt.messages, []).append(place)
    batch: list[int] = []
    leaders: list[int] = []
    longest = 0
    for group in sorted(groups.values(), key=lambda group: -max(len(contexts[place]) for place in group)):
        size = max(len(contexts[place]) for place in group) + room
        width = max(1, batch_tokens // size)
        for part in (group[start : start + width] for start in range(0, len(group), width)):
            if batch and (len(batch) + len(part)) * longest > batch_tokens:
                yield batch, leaders
                batch, leaders = [], []
            longest = max(size, longest if batch else 0)
            leaders += [len(batch)] * len(part)
            batch += part
    if batch:
        yield batch, leaders
