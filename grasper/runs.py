"""The run folder: paths, manifests, fingerprints, locks.

A stage writes its files first and `manifest.json` last: the manifest's presence means complete. Everything else may be half-written
and is never taken for finished work.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import platform
import shlex
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, TextIO

from grasper.errors import MissingFileError, RunLockedError, RunMismatchError
from grasper.files import is_leftover, read_json, sha256_of, write_json
from grasper.registry import nearest_first, plugin_versions
from grasper.settings import expand_home

STAGES = ("prepare", "predict", "align", "synthesize", "generate", "evaluate")


def stable_hash(value: str) -> str:
    """SHA-256 of a string in hexadecimal: the same on every machine, unlike `hash`."""
    return hashlib.sha256(value.encode("utf-8")).hexdigest()


def derive_seed(seed: int, *names: str | int) -> int:
    """A seed of its own for a named part of the work, 0 … 2³¹−1."""
    return int(stable_hash("/".join(map(str, (seed, *names))))[:8], 16) & 0x7FFFFFFF


def fingerprint(value: Any) -> str:
    """A short hash of anything that JSON can hold; equal values give equal fingerprints."""
    return stable_hash(json.dumps(value, sort_keys=True, default=str, ensure_ascii=False))[:16]


def run_folder(name: str) -> Path:
    """`runs/<name>` for a bare name; a path is taken as it is, with `~` for the home folder."""
    return expand_home(Path(name)) if os.sep in name or name in (".", "..", "~") else Path("runs") / name


@dataclass(frozen=True)
class Run:
    """One run folder, `runs/<name>`."""

    root: Path

    def folder(self, stage: str, method: str | None = None) -> Path:
        """The folder of a stage, for per-method stages of one method."""
        return self.root / stage / method if method else self.root / stage

    def require(self, folder: Path) -> dict[str, Any]:
        """The manifest of a stage that must be finished and whole.

        Raises:
            MissingFileError: The stage has not been run to its end.
            RunMismatchError: One of its files is missing or is not the one that was written.
        """
        manifest = read_manifest(folder)
        if manifest is None:
            raise self.missing(folder)
        if damage := find_damage(folder, manifest):
            raise RunMismatchError(f"{damage}; run `{self._command(folder.relative_to(self.root).parts[0])}` again")
        return manifest

    def missing(self, folder: Path) -> MissingFileError:
        """The error of a stage that has not been run to its end: what finishes it; in a run that asks for no targets, what there is instead; where
        nothing is there, as under a mistyped name, which runs there are."""
        prepared = read_manifest(self.folder("prepare"))
        stage, *method = folder.relative_to(self.root).parts
        if stage in ("synthesize", "generate", "evaluate") and prepared and prepared["key"].get("prepare", {}).get("split") == "none":
            told = "the run asks for no targets (prepare.split is none); use `grasper write` or `grasper recommend`"
        else:
            told = f"run `{self._command(stage, *method)}` first"
        others = [path.parent.name for path in sorted(self.root.parent.glob("*/config.yaml"))]
        if others and not any(self.folder(name).is_dir() for name in STAGES):
            told += f", or is another run of {self.root.parent} meant: {', '.join(nearest_first(self.root.name, others)[:5])}?"
        return MissingFileError(f"{folder} is not complete; {told}")

    def _command(self, stage: str, *method: str) -> str:
        """What finishes a stage of this run on the command line, for one method where it is named."""
        root = str(self.root) if len(self.root.parts) > 1 else f"./{self.root}"  # a bare name would stand for a folder in runs/
        return shlex.join(["grasper", stage, "--run", root, *(["--methods", *method] if method else [])])

    def require_current(self, folder: Path) -> dict[str, Any]:
        """The manifest of a stage that must be finished, whole, and made from the folders as they are now.

        Raises:
            MissingFileError: The stage has not been run to its end.
            RunMismatchError: One of its files is missing or damaged, or a folder that it was made from has been made anew since.
        """
        manifest = self.require(folder)
        for name, fingerprint_then in manifest["key"].get("inputs", {}).items():
            started = self.root / name / "started.json"
            now = read_manifest(self.root / name) or (read_json(started) if started.exists() else None)  # more is written to it, perhaps
            if (now is None and name == "prepare") or (now is not None and now["fingerprint"] != fingerprint_then):
                raise RunMismatchError(f"{folder} was made from another {name} than the one that is there now; run `grasper pipeline` again")
        return manifest

    def finish(
        self,
        folder: Path,
        *,
        key: Mapping[str, Any],
        seed: int,
        counts: Mapping[str, Any],
        seconds: float,
        scope: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Write the manifest that marks `folder` as complete, and return it.

        Args:
            key: What decides the content; a later run compares it to skip the stage.
            scope: For which targets the folder is complete.
        """
        manifest = {
            "stage": folder.relative_to(self.root).as_posix(),
            "fingerprint": fingerprint(key),
            "key": dict(key),
            "seed": seed,
            "versions": versions(),
            "commit": commit(),
            "scope": dict(scope or {}),
            "counts": dict(counts),
            "files": describe_files(folder),
            "seconds": round(seconds, 3),
            "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }
        manifest["seal"] = _seal(manifest)
        write_json(folder / "manifest.json", manifest)
        return manifest

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the run folder against a second writer.

        Raises:
            RunLockedError: Another living process holds it.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        handle = (self.root / ".lock").open("a+", encoding="utf-8")
        try:
            self._acquire(handle)
            yield
        finally:
            handle.close()

    def is_held(self) -> bool:
        """Whether a living process holds the folder; nothing is made or kept."""
        try:
            with (self.root / ".lock").open(encoding="utf-8") as handle:
                fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except OSError:
            return True
        return False

    def _acquire(self, handle: TextIO) -> None:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            handle.seek(0)
            owner = handle.read().strip() or "unknown"
            raise RunLockedError(f"{self.root} is in use by process {owner}; wait for it, stop it, or choose another --run") from None
        handle.truncate(0)
        handle.write(str(os.getpid()))
        handle.flush()


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest of a finished stage folder, or None where there is none.

    Raises:
        RunMismatchError: It is not one.
    """
    path = folder / "manifest.json"
    if not path.exists():
        return None
    manifest = read_json(path)
    if not isinstance(manifest, dict) or not {"fingerprint", "key", "counts", "seconds"} <= manifest.keys():
        raise RunMismatchError(f"{path} is damaged, it holds no manifest; redo the stage with --overwrite")
    if manifest.get("seal", _seal(manifest)) != _seal(manifest):
        raise RunMismatchError(f"{path} is damaged, it is not what was written; redo the stage with --overwrite")
    return manifest


def _seal(manifest: Mapping[str, Any]) -> str:
    """A hash of all that a manifest says, by which a changed one is known."""
    return fingerprint(json.loads(json.dumps({name: value for name, value in manifest.items() if name != "seal"})))


def describe_run(root: Path) -> dict[str, Any]:
    """How far a run is, in words, and with what it was made last: `state`, `finished`, `commit`, `model`; None where nothing tells."""
    state: list[str] = []
    newest: dict[str, Any] = dict.fromkeys(("finished", "commit", "model"))
    for stage in STAGES:
        folders = {
            path.parent for name in ("manifest.json", "started.json") for path in (*(root / stage).glob(f"*/{name}"), *root.glob(f"{stage}/{name}"))
        }
        manifests = [manifest for folder in sorted(folders) if (manifest := read_manifest(folder))]
        if folders:
            state.append(stage if len(manifests) == len(folders) else f"{stage} {len(manifests)} of {len(folders)}")
        for manifest in manifests:
            if manifest["finished"] >= (newest["finished"] or ""):
                newest |= {"finished": manifest["finished"], "commit": manifest.get("commit")}
            if model := manifest["key"].get("model"):
                newest["model"] = model.get("name")
    return {"state": ", ".join(state) or "begun", **newest}


_UNLISTED = ("manifest.json", "started.json")


def describe_files(folder: Path) -> dict[str, dict[str, Any]]:
    """Size in bytes and SHA-256 of every file of a stage folder, by relative path; checkpoints of a training are left out."""
    names = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file() and path.name not in _UNLISTED)
    names = [name for name in names if "checkpoints" not in name.parts and not any(is_leftover(Path(part)) for part in name.parts)]
    return {name.as_posix(): {"bytes": (folder / name).stat().st_size, "sha256": sha256_of(folder / name)} for name in names}


def find_damage(folder: Path, manifest: Mapping[str, Any]) -> str:
    """The first file of a finished folder that is missing or not as it was written, in words; empty where all are whole."""
    for name, facts in manifest.get("files", {}).items():
        path = folder / name
        if not path.is_file():
            return f"{path} is missing"
        size = path.stat().st_size
        if size != facts["bytes"]:
            return f"{path} is damaged: {size:,} bytes, expected {facts['bytes']:,}"
        if sha256_of(path) != facts["sha256"]:
            return f"{path} is damaged: its content is not what was written"
    return ""


def versions() -> dict[str, str]:
    """Versions of Python, of the packages and of the plugins that decide results."""
    packages = ("grasper", "torch", "torch-geometric", "transformers", "peft", "scikit-learn", "rouge-score", "nltk")
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found | plugin_versions()


@cache
def commit() -> str | None:
    """The commit of the working copy that grasper runs from, with `+changes` where it is not clean; None outside of git.

    As it was when first asked: a process goes on with the code that it began with, whatever becomes of the working copy. So work asks at its start.
    """
    folder = Path(__file__).parent
    try:
        # Installed into a project of the user's own, the package is no part of that one's repository.
        known = subprocess.run(["git", "ls-files", "--error-unmatch", Path(__file__).name], cwd=folder, capture_output=True, timeout=10)
        head = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], cwd=folder, capture_output=True, text=True, timeout=10)
        if known.returncode != 0 or head.returncode != 0:
            return None
        status = subprocess.run(["git", "status", "--porcelain", "--", folder], cwd=folder, capture_output=True, text=True, timeout=10)
        return head.stdout.strip() + ("+changes" if status.stdout.strip() else "")
    except (OSError, subprocess.TimeoutExpired):
        return None
