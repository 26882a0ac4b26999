"""A training folder → an adapter folder that `model.name` can name."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from grasper.errors import MissingFileError
from grasper.files import read_json, write_json
from grasper.models.adapters import TRAINING_FILE
from grasper.tune.checkpoint import SETTINGS_FILE, latest, read_progress, tensors_path

_PREFIX = "mean/"


def export_adapter(folder: Path, out_dir: Path, *, base: str) -> None:
    """Write the running mean of the last checkpoint's weights in bfloat16, in the layout of peft; complete or not at all.

    Args:
        folder: Of the training.
        out_dir: Is replaced where it exists.
        base: Identity of the model that the adapter is for.

    Raises:
        MissingFileError: There is no checkpoint yet.
    """
    checkpoint = latest(folder)
    if checkpoint is None:
        raise MissingFileError(f"{folder} holds no checkpoint yet; run `grasper tune` first")
    settings, progress = read_json(folder / SETTINGS_FILE)["adapter"], read_progress(checkpoint)
    weights = {name.removeprefix(_PREFIX): value for name, value in load_file(tensors_path(checkpoint)).items() if name.startswith(_PREFIX)}
    part = out_dir.with_name(f".{out_dir.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    save_file({name: value.to(torch.bfloat16) for name, value in weights.items()}, part / "adapter_model.safetensors", metadata={"format": "pt"})
    write_json(
        part / "adapter_config.json",
        {
            "peft_type": "LORA",
            "task_type": "CAUSAL_LM",
            "base_model_name_or_path": base,
            "r": settings["rank"],
            "lora_alpha": settings["alpha"],
            "lora_dropout": 0.0,
            "target_modules": settings["target_modules"],
            "inference_mode": True,
        },
    )
    write_json(part / TRAINING_FILE, {"tokens": progress.tokens, "examples": progress.examples, "steps": progress.steps} | _prompts(folder))
    if out_dir.exists():
        shutil.rmtree(out_dir)
    part.replace(out_dir)


def _prompts(folder: Path) -> dict[str, int]:
    path = folder / "prompts.json"
    return {"prompt_version": read_json(path)["version"]} if path.exists() else {}
