"""A step of a plan: one stage folder, what decides its content, and what it holds now.

Its key holds all that decides the content: its settings, the seed, and the keys of the steps it reads. Which targets are asked is no part of the
key of a step that keeps its answers by example: a larger limit adds to what is there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from grasper.errors import GrasperError
from grasper.files import is_leftover, read_json
from grasper.runs import find_damage, fingerprint, read_manifest
from grasper.settings import flatten

State = Literal["done", "more to do", "damaged", "cut off", "changed", "to do"]


@dataclass(frozen=True, eq=False)
class Step:
    """One stage folder to be filled. `work` writes its files and returns the counts of its manifest."""

    stage: str
    method: str | None
    folder: Path
    settings: Mapping[str, Any]
    """All but the inputs that decides the content."""
    reads: tuple[Step, ...] = field(repr=False)
    work: Callable[[Path], dict[str, Any]] = field(repr=False)
    scope: Mapping[str, Any] = field(default_factory=dict)
    """Which targets are asked; a folder that holds more is complete, too."""
    sections: tuple[str, ...] = ()
    """Sections of the configuration that it is made with."""

    @property
    def name(self) -> str:
        return f"{self.stage}/{self.method}" if self.method else self.stage

    @cached_property
    def key(self) -> dict[str, Any]:
        """What a later run compares."""
        inputs = {step.name: step.fingerprint for step in self.reads}
        return dict(json.loads(json.dumps({**self.settings, "inputs": inputs}, default=str)))

    @cached_property
    def fingerprint(self) -> str:
        return fingerprint(self.key)

    def state(self) -> State:
        """What the folder holds now, seen from this step's key; a start that left nothing behind counts as none."""
        try:
            manifest = read_manifest(self.folder)
            started = self._started()
        except GrasperError:
            return "changed"
        if manifest is not None:
            if manifest["fingerprint"] != self.fingerprint:
                return "changed"
            if find_damage(self.folder, manifest):
                return "damaged"
            return "done" if _covers(manifest.get("scope", {}), self.scope) else "more to do"
        if started is not None and started["fingerprint"] == self.fingerprint:
            return "cut off"
        return "changed" if self.holds_anything() else "to do"

    def seconds_spent(self) -> float:
        """Seconds behind what the folder of a cut-off step holds: those that were noted and, since a kill notes nothing, those from the note to the
        newest file, which is that of the last finished batch."""
        path = self.folder / "started.json"
        newest = max(found.stat().st_mtime for found in self.folder.rglob("*") if found.is_file())
        return float(read_json(path)["seconds"]) + newest - path.stat().st_mtime

    def holds_anything(self) -> bool:
        """Whether there are files other than the note of a start and what a kill left of one that was to appear at once."""
        return self.folder.exists() and any(path.name != "started.json" and not is_leftover(path) for path in self.folder.iterdir())

    def has_known_origin(self) -> bool:
        """Whether the folder tells what it was made with; where it does not, its files may be somebody's own."""
        try:
            return (read_manifest(self.folder) or self._started()) is not None
        except GrasperError:
            return False

    def differences(self) -> list[str]:
        """The entries of the key that differ from those that the folder was written with, as `name: then → now`."""
        try:
            origin = read_manifest(self.folder) or self._started()
        except GrasperError as error:
            return [str(error)]
        if origin is None:
            return ["it has files but no manifest, so nothing tells what they were made with"]
        then, now = flatten(origin["key"]), flatten(self.key)
        return [f"{name}: {then.get(name)} → {now.get(name)}" for name in sorted({*then, *now}) if then.get(name) != now.get(name)]

    def explain_stale(self, remedy: str = "--overwrite") -> str:
        """That the folder was written by another configuration, by which, and what to do."""
        differences = "; ".join(self.differences()[:4])
        return f"{self.folder} was written by another configuration ({differences}); choose another --run, or redo it with {remedy}"

    def _started(self) -> dict[str, Any] | None:
        path = self.folder / "started.json"
        started = read_json(path) if path.exists() else None
        return started if isinstance(started, dict) and {"fingerprint", "key", "seconds"} <= started.keys() else None


def _covers(have: Mapping[str, Any], want: Mapping[str, Any]) -> bool:
    """Whether a folder that is complete for some targets and tasks holds all that are asked."""
    if not want:
        return True
    enough = have.get("limit") is None or (want["limit"] is not None and want["limit"] <= have["limit"])
    return have.get("split") == want["split"] and enough and set(want.get("tasks", ())) <= set(have.get("tasks", ()))
