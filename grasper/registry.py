"""The doors to other people's parts: methods, retrievers, writers, trainers, encoders, sources, metrics and rewards, each registered once by name.

A part comes from this package, from an installed one (entry point group `grasper`: a module that registers its parts when it is imported), or from
a file given with `--plugin` (docs/extending.md).
"""

from __future__ import annotations

import difflib
import hashlib
import importlib.util
import sys
from collections.abc import Iterator
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Generic, TypeVar

from grasper.errors import GrasperError, MissingFileError, PluginError, UnknownNameError

T = TypeVar("T")

ENTRY_POINT_GROUP = "grasper"
_plugins: dict[str, str] = {}


class Registry(Generic[T]):
    """Parts of one kind by name.

    Args:
        kind: What a part is called in messages, for example `metric`.
        error: Raised for an unknown name.
    """

    def __init__(self, kind: str, error: type[GrasperError] = UnknownNameError) -> None:
        self.kind, self._error = kind, error
        self._parts: dict[str, T] = {}

    def register(self, name: str, part: T) -> T:
        """Add a part and give it back. A record that says its name itself (a method, a metric, a source) goes by that one.

        Raises:
            PluginError: Another part has this name, or the record another name.
        """
        own = getattr(part, "name", name)
        if own != name and not callable(part):
            raise PluginError(f"the {self.kind} registered as {name!r} is named {own!r}, and its results would go by that name; give both the same")
        if self._parts.get(name, part) != part:
            raise PluginError(f"there is a {self.kind} named {name!r} already; choose another name")
        self._parts[name] = part
        return part

    def get(self, name: str) -> T:
        """The part of a name.

        Raises:
            UnknownNameError: There is none, or the error that the registry was made with; the message lists the known ones, the nearest first.
        """
        if name not in self._parts:
            load_installed_plugins()
        if name not in self._parts:
            known = nearest_first(name, self._parts)
            others = "" if _plugins else "; those of a file of your own need --plugin FILE"
            raise self._error(f"unknown {self.kind} {name!r}; known: {', '.join(known) or 'none'}{others}")
        return self._parts[name]

    def names(self) -> list[str]:
        """All names, in the order of registration."""
        load_installed_plugins()
        return list(self._parts)

    def values(self) -> list[T]:
        """All parts, in the order of registration."""
        return [self._parts[name] for name in self.names()]

    def items(self) -> list[tuple[str, T]]:
        """All names and parts, in the order of registration."""
        return [(name, self._parts[name]) for name in self.names()]

    def __contains__(self, name: object) -> bool:
        return name in self.names()

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __len__(self) -> int:
        return len(self.names())


def nearest_first(name: str, known: Iterator[str] | dict[str, T] | list[str]) -> list[str]:
    """The known names, those that resemble `name` first."""
    names = list(known)
    close = difflib.get_close_matches(str(name), names, n=5, cutoff=0.5)
    return [*close, *(other for other in names if other not in close)]


@lru_cache(maxsize=1)
def load_installed_plugins() -> None:
    """Import the modules that installed packages name in the entry point group `grasper`, once.

    Raises:
        PluginError: One of them cannot be imported.
    """
    for point in metadata.entry_points(group=ENTRY_POINT_GROUP):
        try:
            point.load()
        except GrasperError:
            raise
        except Exception as error:
            raise PluginError(f"the plugin {point.name!r} ({point.value}) cannot be loaded: {type(error).__name__}: {error}") from error


def load_plugin(path: Path) -> None:
    """Import a file that registers parts; a file that was loaded before is not loaded again.

    Raises:
        MissingFileError: There is no such file.
        PluginError: It cannot be imported.
    """
    path = path.expanduser().resolve()
    if not path.is_file():
        raise MissingFileError(f"plugin {path} does not exist")
    name = f"grasper_plugin_{path.stem}_{abs(hash(path)):x}"
    if name in sys.modules:
        return
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise PluginError(f"plugin {path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        if isinstance(error, GrasperError):
            raise
        raise PluginError(f"plugin {path} cannot be loaded: {type(error).__name__}: {error}") from error
    _plugins[path.name] = digest[:12]


def plugin_versions() -> dict[str, str]:
    """The files that `load_plugin` has imported, by name, each with the hash of what it held then: they decide results as packages do."""
    return dict(_plugins)
