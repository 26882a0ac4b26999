"""The folder of a training: what it is a training of, its log, and checkpoints that appear whole or not at all.

    settings.json               base, tokenizer, adapter and data that it belongs to
    metrics.jsonl               losses by tokens seen
    checkpoint-000012345678/    tensors.safetensors (weights, running mean, both moments), state.json

A checkpoint is written under another name and renamed, so a kill leaves the one before it. Two are kept.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from grasper.errors import AdapterError, RunMismatchError
from grasper.files import read_json, read_jsonl, write_json, write_text
from grasper.tune.lora import Adapter
from grasper.tune.sequences import Position

SETTINGS_FILE, METRICS_FILE = "settings.json", "metrics.jsonl"
_TENSORS_FILE, _STATE_FILE = "tensors.safetensors", "state.json"
_KEPT = 2


@dataclass(frozen=True, slots=True)
class TrainingProgress:
    """How far a training has come."""

    tokens: int = 0
    """Of prompts and answers, without padding."""
    examples: int = 0
    steps: int = 0
    seconds: float = 0.0
    """Spent in steps, over all processes that trained."""
    position: Position = field(default_factory=Position)


def check_settings(folder: Path, settings: Mapping[str, Any]) -> None:
    """Write what the training belongs to, or compare with what the folder was begun with.

    Args:
        settings: By name, for example `base` and `data`; values that JSON can hold.

    Raises:
        RunMismatchError: The folder holds a training of something else; the message names the first difference with both values.
    """
    path = folder / SETTINGS_FILE
    if not path.exists():
        write_json(path, settings)
        return
    known, asked = read_json(path), json.loads(json.dumps(settings))
    for name in {**asked, **known}:  # a setting that is not named is as by default
        if known.get(name) != asked.get(name):
            begun = f"{folder} was begun with {name} {_short(known.get(name))}, now it is {_short(asked.get(name))}"
            raise RunMismatchError(f"{begun}; tune into another folder, or delete this one to begin anew")


def _short(value: Any) -> str:
    if value is None:
        return "as by default"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 120 else f"{text[:117]}…"


def latest(folder: Path) -> Path | None:
    """The checkpoint with the most tokens, or None."""
    return next(reversed(checkpoints(folder)), None)


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints, that with the most tokens last; folders of other names, such as one that was set aside, are none."""
    return sorted(path for path in folder.glob("checkpoint-*") if path.name.removeprefix("checkpoint-").isdecimal())


def save(folder: Path, adapter: Adapter, progress: TrainingProgress) -> Path:
    """Write a checkpoint, and delete all but the last two."""
    path = folder / f"checkpoint-{progress.tokens:012d}"
    part = folder / "checkpoint.part"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    save_file(_tensors(adapter), part / _TENSORS_FILE)
    write_json(part / _STATE_FILE, asdict(progress))
    if path.exists():
        shutil.rmtree(path)
    part.replace(path)
    for old in checkpoints(folder)[:-_KEPT]:
        shutil.rmtree(old)
    return path


def load(path: Path, adapter: Adapter) -> TrainingProgress:
    """Put a checkpoint's weights and moments into the adapter.

    Raises:
        AdapterError: It is damaged, or its tensors are not those of the adapter.
    """
    progress = read_progress(path)
    try:
        tensors = load_file(tensors_path(path))
    except (OSError, SafetensorError) as error:
        raise _damaged(path, error) from None
    wanted = _tensors(adapter)
    for name in sorted(wanted.keys() | tensors.keys()):
        ours, theirs = (list(group[name].shape) if name in group else None for group in (wanted, tensors))
        if ours != theirs:
            raise AdapterError(f"checkpoint {path} does not fit: {name} is {theirs} there and {ours} here; train into another folder")
    with torch.no_grad():
        for name, value in wanted.items():
            value.copy_(tensors[name])
    adapter.restore(progress.steps)
    return progress


def read_progress(path: Path) -> TrainingProgress:
    """How far a checkpoint is.

    Raises:
        AdapterError: It is damaged.
    """
    try:
        state = read_json(path / _STATE_FILE)
        return TrainingProgress(**{**state, "position": Position(**state["position"])})
    except (OSError, RunMismatchError, KeyError, TypeError) as error:
        raise _damaged(path, error) from None


def tensors_path(path: Path) -> Path:
    """The tensors of a checkpoint, by names that begin with `weight/`, `mean/`, `first_moment/` and `second_moment/`."""
    return path / _TENSORS_FILE


def _damaged(path: Path, error: Exception) -> AdapterError:
    return AdapterError(f"checkpoint {path} cannot be read ({type(error).__name__}); delete it, and the one before it is taken")


def _tensors(adapter: Adapter) -> dict[str, torch.Tensor]:
    """Everything that changes in a step, by name."""
    groups = {"weight": adapter.masters, "mean": adapter.means, "first_moment": adapter.first_moments, "second_moment": adapter.second_moments}
    return {f"{kind}/{name}": value for kind, values in groups.items() for name, value in zip(adapter.names, values, strict=True)}


class MetricsLog:
    """`metrics.jsonl`: one line per entry, each with the tokens seen. Opening it for a resumed training drops what came after the checkpoint."""

    def __init__(self, folder: Path, tokens: int) -> None:
        self._path = folder / METRICS_FILE
        self.entries = [entry for entry in read_jsonl(self._path) if entry["tokens"] <= tokens]
        write_text(self._path, "".join(json.dumps(entry) + "\n" for entry in self.entries))

    def append(self, entry: Mapping[str, Any]) -> None:
        """Add one line."""
        self.entries.append(dict(entry))
        with self._path.open("a", encoding="utf-8") as handle:
            handle.write(json.dumps(entry) + "\n")
