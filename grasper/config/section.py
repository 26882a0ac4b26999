"""What every part of the configuration has in common."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, field_validator

from grasper.settings import expand_home


class Section(BaseModel):
    """A frozen part of the configuration that rejects unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @field_validator("*", mode="before")
    @classmethod
    def _must_be_text(cls, value: Any) -> Any:
        """What is no UTF-8 (a file name of another age, half a character) could be neither recorded nor compared."""
        if not isinstance(value, Mapping):  # a section, which looks at its own keys, or see below
            _require_text(value)
        return value

    @field_validator("*")
    @classmethod
    def _must_hold_text(cls, value: Any) -> Any:
        """The same of free mappings, once sections are told from them."""
        if isinstance(value, Mapping):
            _require_text(value)
        return value

    @field_validator("*")
    @classmethod
    def _expand_home(cls, value: Any) -> Any:
        """Paths may start with `~`, wherever they are written."""
        if isinstance(value, tuple):
            return tuple(expand_home(entry) if isinstance(entry, Path) else entry for entry in value)
        return expand_home(value) if isinstance(value, Path) else value


def _require_text(value: Any) -> None:
    """Refuse lone surrogates, which is how Python takes in bytes that are not UTF-8."""
    if isinstance(value, Mapping):
        for pair in value.items():
            _require_text(pair)
    elif isinstance(value, list | tuple):
        for entry in value:
            _require_text(entry)
    elif isinstance(value, str | Path) and any("\ud800" <= letter <= "\udfff" for letter in str(value)):
        raise ValueError("it holds bytes that are not UTF-8; rename the file, or write the value anew")
