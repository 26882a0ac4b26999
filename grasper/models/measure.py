"""How fast a model reads and writes on this machine."""

from __future__ import annotations

import time
from dataclasses import dataclass

PROMPTS, WORDS, ANSWER_TOKENS = 8, 220, 48
"""A batch like those of a run: eight prompts of about 300 tokens."""


@dataclass(frozen=True, slots=True)
class Speed:
    """Tokens per second of a batch of prompts like those of a run."""

    reading: float
    writing: float


def bytes_per_parameter() -> int:
    """Of the number format that is fast on this machine: 2 for bfloat16, 4 for float32."""
    from grasper.models.weights import choose_device, choose_dtype

    return choose_dtype(choose_device("auto")).itemsize


def measure_speed(name: str) -> Speed:
    """Read and write a batch with the model, after one to warm up.

    Raises:
        ModelNotFoundError: The model cannot be opened.
    """
    from grasper.models.base import Message, Prompt
    from grasper.models.local import LocalModel

    model = LocalModel(name)
    words = ("the room was clean and the staff at the desk were kind to us but breakfast ended early " * 20).split()
    prompts = [Prompt((Message("user", f"{number} " + " ".join(words[:WORDS])),)) for number in range(PROMPTS)]
    model.generate(prompts[:1], max_new_tokens=2, temperature=1.0)
    started = time.perf_counter()
    read = model.generate(prompts, max_new_tokens=1, temperature=1.0)
    reading = time.perf_counter() - started
    started = time.perf_counter()
    written = model.generate(prompts, max_new_tokens=ANSWER_TOKENS, temperature=1.0, top_p=1.0)
    writing = time.perf_counter() - started
    num_read = sum(completions[0].tokens_in for completions in read)
    num_written = sum(completions[0].tokens_out for completions in written)
    return Speed(num_read / reading, num_written / max(writing - reading, 1e-9))
