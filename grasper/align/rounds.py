"""What trainings in rounds share: a round that is finished is not done again, and the adapter of a chosen one becomes the result."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from grasper.align.sft import replace_folder
from grasper.files import read_json, write_json
from grasper.models.adapters import find_adapter, is_this_adapter


def finished(path: Path, carry_out: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
    """The record of a round, which names the adapter beside it; carried out where there is none, or where that adapter is another one or damaged.

    Args:
        path: The record, in the round's own folder.
        carry_out: Does the round in a folder, leaves what it trained in `adapter/` there, and gives the record.
    """
    folder, adapter = path.parent, path.parent / "adapter"
    record: dict[str, Any] = read_json(path) if path.exists() else {}
    if not record or ("adapter" in record and not is_this_adapter(adapter, record["adapter"])):
        folder.mkdir(parents=True, exist_ok=True)
        record = carry_out(folder)
        if adapter.is_dir():
            record["adapter"] = find_adapter(adapter).fingerprint
        write_json(path, record)
    return record


def take_over(adapter: Path, out_dir: Path) -> None:
    """Make a copy of an adapter the one of `out_dir`; what an interrupted copy left behind is not mixed into it."""
    part = out_dir / "adapter.part"
    shutil.rmtree(part, ignore_errors=True)
    shutil.copytree(adapter, part)
    replace_folder(part, out_dir / "adapter")
