"""Checkpoints of a training: complete or invisible, whatever kills the process while one is written."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path

from grasper.errors import RunMismatchError
from grasper.files import fingerprint_file, read_json, write_json

PART = "part"
"""Folder beside the checkpoints in which the next one is written."""
_SEAL = "files.json"
_KEPT = 2

logger = logging.getLogger(__name__)


def publish(part: Path, place: Path) -> None:
    """Note the hash of every file of a finished checkpoint, give it its name, and remove all but the newest `_KEPT`."""
    write_json(part / _SEAL, {path.name: fingerprint_file(path) for path in sorted(part.iterdir())})
    if place.exists():
        shutil.rmtree(place)
    os.replace(part, place)
    for old in _newest_first(place.parent)[_KEPT:]:
        shutil.rmtree(old)


def newest_whole(folder: Path) -> Path | None:
    """The newest whole checkpoint below a folder; None where there is none. Broken ones are removed, which is told in one line."""
    unfinished = folder / PART
    broken = [str(unfinished.name)] if unfinished.exists() else []
    shutil.rmtree(unfinished, ignore_errors=True)
    found = None
    for checkpoint in _newest_first(folder):
        if _is_whole(checkpoint):
            found = checkpoint
            break
        broken.append(checkpoint.name)
        shutil.rmtree(checkpoint)
    if broken:
        logger.warning("%s: unfinished or damaged checkpoints removed (%s); the training starts %s", folder, ", ".join(broken), _from(found))
    return found


def _from(found: Path | None) -> str:
    return f"from {found.name}" if found else "over"


def _newest_first(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    numbered = [path for path in folder.glob("checkpoint-*") if path.name.removeprefix("checkpoint-").isdecimal()]
    return sorted(numbered, key=lambda path: -int(path.name.removeprefix("checkpoint-")))


def _is_whole(checkpoint: Path) -> bool:
    try:
        seal = read_json(checkpoint / _SEAL)
        return isinstance(seal, dict) and bool(seal) and all(fingerprint_file(checkpoint / name) == value for name, value in seal.items())
    except (OSError, RunMismatchError):
        return False
