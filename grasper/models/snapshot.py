"""What a folder with a model holds: its files of weights, and whether they are all there."""

from __future__ import annotations

import json
from fnmatch import fnmatch
from pathlib import Path

WEIGHTS = "*.safetensors"
SECOND_COPY = "consolidated*"
"""The weights once more, in the layout of Mistral's own programs: as many gigabytes that nothing here reads."""


def weights_in(folder: Path) -> list[Path]:
    """The files with weights in a folder, without their second copy, which is never read."""
    return [path for path in folder.glob(WEIGHTS) if not fnmatch(path.name, SECOND_COPY)]


def is_whole(folder: Path) -> bool:
    """Whether a folder of the Hub's cache holds configuration and all weights: other programs leave tokenizers, and single files, there, too."""
    index = folder / "model.safetensors.index.json"
    try:
        needed = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()) if index.exists() else set()
    except (ValueError, KeyError, TypeError, AttributeError):
        return False
    there = {path.name for path in weights_in(folder)}
    return (folder / "config.json").exists() and bool(there) and needed <= there
