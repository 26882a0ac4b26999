"""The run folder: paths, manifests, fingerprints, locks, atomic writes, and JSONL that resumes after a kill.

A stage writes its files first and `manifest.json` last: the manifest's presence means complete. Everything else may be half-written
and is never taken for finished work.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import platform
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, TextIO

from grasper.errors import MissingFileError, RunLockedError, RunMismatchError

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


def fingerprint_file(path: Path) -> str:
    """A short hash of a file's content."""
    digest = hashlib.sha256()
    with path.open("rb") as handle:
        while chunk := handle.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()[:16]


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place when the block ends well, and vanishes when it does not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file at once or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file at once or not at all."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        MissingFileError: It does not exist.
        RunMismatchError: It is not valid JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise MissingFileError(f"{path} does not exist") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise RunMismatchError(f"{path} is not valid JSON ({error}); delete it and run the stage again") from None


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """All complete lines of a JSONL file; an unfinished last line (a kill in the middle of a write) is left out."""
    if not path.exists():
        return []
    records = []
    content = path.read_bytes()
    complete = content[: content.rfind(b"\n") + 1]
    for number, line in enumerate(complete.splitlines(), start=1):
        try:
            records.append(json.loads(line))
        except (json.JSONDecodeError, UnicodeDecodeError):
            raise RunMismatchError(f"{path} line {number} is not valid JSON; delete the file and run the stage again") from None
    return records


class BatchLog:
    """A JSONL file that grows by whole batches and resumes after a kill.

    Each batch ends with a line `{"batch": i}`; records after the last such line belong to a batch that was cut off and are dropped on opening.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.records: list[dict[str, Any]] = []
        """Records of all finished batches."""
        self.num_batches = 0
        """Finished batches; work goes on with this one."""
        self._open()

    def _open(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        content = self.path.read_bytes() if self.path.exists() else b""
        kept, position = 0, 0
        batch: list[dict[str, Any]] = []
        for line in content.splitlines(keepends=True):
            position += len(line)
            if not line.endswith(b"\n"):
                break
            record = json.loads(line)
            if set(record) == {"batch"}:
                self.records.extend(batch)
                self.num_batches, kept, batch = record["batch"] + 1, position, []
            else:
                batch.append(record)
        if kept < len(content):
            with self.path.open("r+b") as handle:
                handle.truncate(kept)

    def append(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Write one finished batch and force it to disk."""
        batch = [dict(record) for record in records]
        lines = [json.dumps(record, ensure_ascii=False) for record in batch]
        lines.append(json.dumps({"batch": self.num_batches}))
        with self.path.open("a", encoding="utf-8") as handle:
            handle.write("\n".join(lines) + "\n")
            handle.flush()
            os.fsync(handle.fileno())
        self.records.extend(batch)
        self.num_batches += 1


@dataclass(frozen=True)
class Run:
    """One run folder, `runs/<name>`."""

    root: Path

    def folder(self, stage: str, method: str | None = None) -> Path:
        """The folder of a stage, for per-method stages of one method."""
        return self.root / stage / method if method else self.root / stage

    def manifest(self, folder: Path) -> dict[str, Any] | None:
        """The manifest of a finished stage folder, or None while it is unfinished."""
        path = folder / "manifest.json"
        return read_json(path) if path.exists() else None

    def require(self, folder: Path) -> dict[str, Any]:
        """The manifest of a stage that must be finished.

        Raises:
            MissingFileError: The stage has not been run to its end.
        """
        manifest = self.manifest(folder)
        if manifest is None:
            raise MissingFileError(f"{folder} is not complete; run `grasper {folder.relative_to(self.root).parts[0]}` or `grasper pipeline` first")
        return manifest

    def finish(self, folder: Path, *, key: Mapping[str, Any], seed: int, counts: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        """Write the manifest that marks `folder` as complete, and return it. `key` is what a later run compares to skip the stage."""
        manifest = {
            "stage": folder.relative_to(self.root).as_posix(),
            "fingerprint": fingerprint(key),
            "key": dict(key),
            "seed": seed,
            "versions": versions(),
            "commit": commit(),
            "counts": dict(counts),
            "seconds": round(seconds, 3),
            "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }
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


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide results."""
    packages = ("grasper", "torch", "torch-geometric", "transformers", "peft", "scikit-learn", "rouge-score", "nltk")
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def commit() -> str | None:
    """The commit of the working copy that grasper runs from, with `+changes` where it is not clean; None outside of git."""
    folder = Path(__file__).parent
    try:
        head = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], cwd=folder, capture_output=True, text=True, timeout=10)
        if head.returncode != 0:
            return None
        status = subprocess.run(["git", "status", "--porcelain", "--", folder], cwd=folder, capture_output=True, text=True, timeout=10)
        return head.stdout.strip() + ("+changes" if status.stdout.strip() else "")
    except (OSError, subprocess.TimeoutExpired):
        return None
