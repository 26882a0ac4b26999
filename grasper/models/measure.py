"""How fast a model reads and writes on this machine; what was measured once is remembered in the cache folder."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from grasper.errors import GrasperError
from grasper.files import cache_dir, read_json, write_json

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


def measure_speeds(names: Iterable[str]) -> dict[str, Speed]:
    """The speed of each model, measured now and remembered."""
    speeds = known_speeds()
    for name in names:
        speeds[name] = measure_speed(name)
        gc.collect()  # one network at a time
    write_json(_memory(), {"cores": os.cpu_count(), "speeds": {name: asdict(speed) for name, speed in speeds.items()}})
    return speeds


def known_speeds() -> dict[str, Speed]:
    """What was measured here before, by model; nothing where the machine has other cores now."""
    try:
        found = read_json(_memory()) if _memory().exists() else {}
        return {name: Speed(**speed) for name, speed in found["speeds"].items()} if found.get("cores") == os.cpu_count() else {}
    except (GrasperError, AttributeError, KeyError, TypeError):
        return {}  # it is measured again where it is asked for


def _memory() -> Path:
    return cache_dir() / "speeds.json"


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
