"""Work of an experiment that is resumed: only where it was begun with the same settings, so that old numbers never stand under a new command."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from grasper.files import read_json, write_json

FILE = "settings.json"


def require_same(folder: Path, settings: Mapping[str, Any]) -> None:
    """Note in a work folder what it is made with; stop where that was something else.

    Raises:
        SystemExit: The folder was begun with other settings, or by a version that did not note them; the message names what differs.
    """
    now = json.loads(json.dumps(settings, default=str))
    path = folder / FILE
    if path.exists():
        then = read_json(path)
        differing = sorted(name for name in {*then, *now} if then.get(name) != now.get(name))
        if differing:
            raise SystemExit(f"{folder} was begun with other settings ({', '.join(differing)}); give another --work, or delete it")
    elif folder.exists() and any(folder.iterdir()):
        raise SystemExit(f"nothing tells what {folder} was made with; give another --work, or delete it")
    else:
        write_json(path, now)
