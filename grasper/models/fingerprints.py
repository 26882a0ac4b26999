"""Hashes of weights, computed once and remembered by path, size and time of change."""

from __future__ import annotations

import json
import os
import threading
from contextlib import suppress
from pathlib import Path

from grasper.files import atomic_path, cache_dir, fingerprint_file

_LOCK = threading.Lock()
_remembered: dict[str, str] = {}


def fingerprint_weights(path: Path) -> str:
    """A short hash of a file's content. A file of the same size and time of change is not read again, in later processes neither.

    What is remembered of files that are gone is forgotten whenever a new one comes. A cache that cannot be read or written costs time, nothing else.
    """
    facts = path.stat()
    key = f"{path.resolve()}|{facts.st_size}|{facts.st_mtime_ns}|{facts.st_ino}"
    with _LOCK:
        if key not in _remembered:
            store = cache_dir() / "weights.json"
            _remembered.update(_read(store))
            if key not in _remembered:
                _remembered[key] = fingerprint_file(path)
                known = {old: value for old, value in _read(store).items() if os.path.exists(old.rsplit("|", 3)[0])}
                with suppress(OSError), atomic_path(store) as temporary:
                    temporary.write_text(json.dumps(known | {key: _remembered[key]}, indent=0), encoding="utf-8")
        return _remembered[key]


def _read(store: Path) -> dict[str, str]:
    try:
        content = json.loads(store.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {key: value for key, value in content.items() if isinstance(value, str)} if isinstance(content, dict) else {}
