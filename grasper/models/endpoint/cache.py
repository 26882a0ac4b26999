"""Answers on disk: what was paid for once is not paid for again. Entries hold what was understood, checked again when they are read."""

from __future__ import annotations

import logging
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from grasper.files import cache_dir, write_text
from grasper.runs import fingerprint

logger = logging.getLogger(__name__)

Entry = TypeVar("Entry", bound=BaseModel)


class AnswerCache:
    """Entries by what was asked. A damaged one is dropped; a folder that cannot be written is told once."""

    def __init__(self, folder: Path | None = None) -> None:
        """`folder` None takes `files.cache_dir`."""
        self.folder = (folder or cache_dir()) / "endpoint"
        self._lock = threading.Lock()
        self._is_told = False

    def get(self, key: dict[str, Any], kind: type[Entry]) -> Entry | None:
        """The entry of a request; None where there is none that is whole."""
        path = self._path(key)
        try:
            return kind.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValidationError):
            with suppress(OSError):
                path.unlink()
            return None

    def put(self, key: dict[str, Any], entry: BaseModel) -> None:
        """Keep an entry, at once or not at all."""
        try:
            with self._lock:
                write_text(self._path(key), entry.model_dump_json() + "\n")
        except OSError as error:
            if not self._is_told:
                logger.warning("answers are not kept, a second run would pay for them again: %s (set GRASPER_CACHE to another folder)", error)
            self._is_told = True

    def _path(self, key: dict[str, Any]) -> Path:
        name = fingerprint(key)
        return self.folder / name[:2] / f"{name}.json"
