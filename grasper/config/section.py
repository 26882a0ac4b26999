"""What every part of the configuration has in common."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, field_validator

from grasper.settings import expand_home


class Section(BaseModel):
    """A frozen part of the configuration that rejects unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @field_validator("*")
    @classmethod
    def _expand_home(cls, value: Any) -> Any:
        """Paths may start with `~`, wherever they are written."""
        if isinstance(value, tuple):
            return tuple(expand_home(entry) if isinstance(entry, Path) else entry for entry in value)
        return expand_home(value) if isinstance(value, Path) else value
