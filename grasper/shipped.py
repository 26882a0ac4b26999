"""The configurations that come with grasper, found by name; and how several files of settings lie over one another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from grasper.errors import ConfigError, MissingFileError
from grasper.settings import expand_home

PATTERNS = ("*.yaml", "models/*.yaml", "align/*.yaml")
"""Of data sets, of models, and of longer alignment; setup.py has them, too."""


def shipped_folder() -> Path:
    """Where the shipped configurations lie: in an installed package, or beside it in a checkout."""
    package = Path(__file__).parent
    inside = package / "experiments"
    return inside if inside.is_dir() else package.parent / "experiments"


def find_settings(path: Path) -> Path:
    """A file, or the shipped one of that name: `harbour.yaml`, `experiments/harbour.yaml`, `models/qwen3-8b.yaml`, with or without `.yaml`.

    Raises:
        MissingFileError: There is neither; the message says where the shipped ones lie and what they are called.
    """
    path = expand_home(path)
    if path.is_file():
        return path
    folder = shipped_folder()
    shipped = {file.relative_to(folder).as_posix(): file for pattern in PATTERNS for file in sorted(folder.glob(pattern))}
    name = path.as_posix().removesuffix(".yaml").removeprefix("experiments/") + ".yaml"
    if name in shipped:
        return shipped[name]
    known = ", ".join(shipped) or "none"
    raise MissingFileError(f"configuration {path} does not exist, here or among those shipped in {folder}/: {known}")


def lay_over(settings: dict[str, Any], later: dict[str, Any], origin: str) -> None:
    """Lay later settings over earlier ones in place: sections key by key, any other value whole.

    Raises:
        ConfigError: One has a section where the other has a value.
    """
    for key, value in later.items():
        earlier = settings.get(key)
        if isinstance(value, dict) and isinstance(earlier, dict):
            settings[key] = dict(earlier)
            lay_over(settings[key], value, origin)
        elif isinstance(value, dict) and earlier is not None:
            raise ConfigError(f"{origin}: {key!r} is a value, not a section")
        else:
            settings[key] = value
