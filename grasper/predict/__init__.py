"""Reviews → likely next items: link prediction on the user–item graph (GraSPer, context expansion)."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from grasper.predict.doors import ENCODERS

if TYPE_CHECKING:
    from grasper.predict.predictor import Predictor
    from grasper.predict.stage import fit, load

__all__ = ["ENCODERS", "Predictor", "fit", "load"]

_HOMES = {"Predictor": "predictor", "fit": "stage", "load": "stage"}


def __getattr__(name: str) -> Any:
    """The public names on first use, so that the encoders' names can be known without loading torch."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
