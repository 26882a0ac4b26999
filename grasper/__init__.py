"""grasper: personalized text for people who have almost no history.

The public names load on first use, so that importing the package stays quick.
"""

from __future__ import annotations

import os

if "OMP_WAIT_POLICY" not in os.environ:  # before torch is loaded
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"  # threads that spin while they wait take a busy machine from others …
    os.environ.setdefault("GOMP_SPINCOUNT", "4000")  # … but some microseconds of it spare a quiet one a quarter of its time
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "12")  # products of ever new shapes would else keep a thousand kernels, and their memory

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from grasper.api import LoadedRun, PersonalizedText, load_run, personalize, predict_items
    from grasper.config import Config, load_config
    from grasper.errors import GrasperError
    from grasper.records import Item, Review

try:
    __version__ = version("grasper")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+source"

_HOMES = {
    "predict_items": "grasper.api",
    "personalize": "grasper.api",
    "load_run": "grasper.api",
    "LoadedRun": "grasper.api",
    "PersonalizedText": "grasper.api",
    "load_config": "grasper.config",
    "Config": "grasper.config",
    "GrasperError": "grasper.errors",
    "Review": "grasper.records",
    "Item": "grasper.records",
}

__all__ = [
    "Config",
    "GrasperError",
    "Item",
    "LoadedRun",
    "PersonalizedText",
    "Review",
    "load_config",
    "load_run",
    "personalize",
    "predict_items",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'grasper' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
