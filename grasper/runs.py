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
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
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
    """A short hash of a file's content; a file that has not changed is read once."""
    return _sha256(path)[:16]


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


def is_leftover(path: Path) -> bool:
    """Whether a file is what a killed process left of one that was to appear at once."""
    return path.name.startswith(".") and path.name.endswith(".tmp")


def write_text(path: Path, text: str) -> None:
    """Write a text file at once or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file at once or not at all."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_lines(path: Path, records: Iterable[Mapping[str, Any]]) -> None:
    """Write a JSONL file at once or not at all."""
    write_text(path, "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records))


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
    except (ValueError, RecursionError) as error:
        raise RunMismatchError(f"{path} is not valid JSON ({error}); redo the stage with --overwrite") from None


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
        except (ValueError, RecursionError):
            raise RunMismatchError(f"{path} line {number} is not valid JSON; delete the file and run the stage again") from None
    return records


def read_records(path: Path) -> list[dict[str, Any]]:
    """The records of a `BatchLog`, in the order they were written; those of a batch that was cut off are left out.

    Raises:
        MissingFileError: The file does not exist.
        RunMismatchError: A line is damaged.
    """
    if not path.exists():
        raise MissingFileError(f"{path} does not exist; run `grasper {path.parent.parent.name}` first")
    batches, _, damage = _read_batches(path.read_bytes())
    if damage:
        raise RunMismatchError(f"{path} {damage}; run `grasper {path.parent.parent.name}` again: it keeps what is whole and writes the rest")
    return [record for batch in batches for record in batch.records]


class BatchLog:
    """A JSONL file that grows by whole batches and resumes after a kill.

    Each batch ends with a line `{"batch": number, "done": keys, "crc32": checksum}`; records after the last such line belong to a batch that was cut
    off and are dropped on opening. So is a batch whose checksum is wrong; where batches name what they hold (`done`), those behind it stay.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.records: list[dict[str, Any]] = []
        """Records of all finished batches."""
        self.done: set[str] = set()
        """What the finished batches hold, where they say so."""
        self.num_batches = 0
        """Finished batches; work that follows a fixed plan goes on with this one."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        content = path.read_bytes() if path.exists() else b""
        batches, kept, _ = _read_batches(content)
        for batch in batches:
            self.records += batch.records
            self.done.update(batch.done)
        self.num_batches = len(batches)
        if kept != content:
            with atomic_path(path) as temporary:
                temporary.write_bytes(kept)

    def append(self, records: Iterable[Mapping[str, Any]], *, done: Sequence[str] | None = None) -> None:
        """Write one finished batch and force it to disk.

        Args:
            done: Keys of the work that the batch holds, which may yield no record at all; None where work follows a fixed plan.
        """
        batch = [dict(record) for record in records]
        lines = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in batch).encode("utf-8")
        marker = {"batch": self.num_batches, **({} if done is None else {"done": list(done)}), "crc32": zlib.crc32(lines)}
        with self.path.open("ab") as handle:
            handle.write(lines + json.dumps(marker, ensure_ascii=False).encode("utf-8") + b"\n")
            handle.flush()
            os.fsync(handle.fileno())
        self.records.extend(batch)
        self.done.update(done or ())
        self.num_batches += 1


@dataclass(frozen=True, slots=True)
class _Batch:
    records: list[dict[str, Any]]
    done: list[str]


def _read_batches(content: bytes) -> tuple[list[_Batch], bytes, str]:
    """The whole batches of a log, the bytes that hold them, and the first damage (empty: none). An unfinished end is no damage."""
    batches: list[_Batch] = []
    kept, lines, damage = b"", b"", ""
    for number, line in enumerate(content.splitlines(keepends=True), start=1):
        if not line.endswith(b"\n"):
            break
        marker = _parsed(line) if line.startswith(b'{"batch": ') else None
        if marker is None or not isinstance(marker.get("batch"), int):
            lines += line
            continue
        records = [_parsed(entry) for entry in lines.splitlines()]
        is_whole = None not in records and marker.get("crc32", zlib.crc32(lines)) == zlib.crc32(lines)
        if is_whole and (not damage or "done" in marker):
            batches.append(_Batch([record for record in records if record is not None], marker.get("done", [])))
            kept += lines + line
        elif not is_whole:
            damage = damage or f"is damaged before line {number}"
        lines = b""
    return batches, kept, damage


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def run_folder(name: str) -> Path:
    """`runs/<name>` for a bare name; a path is taken as it is."""
    return Path(name) if os.sep in name or name in (".", "..") else Path("runs") / name


@dataclass(frozen=True)
class Run:
    """One run folder, `runs/<name>`."""

    root: Path

    def folder(self, stage: str, method: str | None = None) -> Path:
        """The folder of a stage, for per-method stages of one method."""
        return self.root / stage / method if method else self.root / stage

    def manifest(self, folder: Path) -> dict[str, Any] | None:
        """The manifest of a finished stage folder, or None while it is unfinished."""
        return read_manifest(folder)

    def require(self, folder: Path) -> dict[str, Any]:
        """The manifest of a stage that must be finished and whole.

        Raises:
            MissingFileError: The stage has not been run to its end.
            RunMismatchError: One of its files is missing or is not the one that was written.
        """
        manifest = self.manifest(folder)
        stage = folder.relative_to(self.root).parts[0]
        if manifest is None:
            raise MissingFileError(f"{folder} is not complete; run `grasper {stage}` or `grasper pipeline` first")
        if damage := find_damage(folder, manifest):
            raise RunMismatchError(f"{damage}; run `grasper {stage}` again")
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
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name not in _UNLISTED and "checkpoints" not in path.parts)
    files = [path for path in files if not is_leftover(path)]
    return {path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "sha256": _sha256(path)} for path in files}


def find_damage(folder: Path, manifest: Mapping[str, Any]) -> str:
    """The first file of a finished folder that is missing or not as it was written, in words; empty where all are whole."""
    for name, facts in manifest.get("files", {}).items():
        path = folder / name
        if not path.is_file():
            return f"{path} is missing"
        size = path.stat().st_size
        if size != facts["bytes"]:
            return f"{path} is damaged: {size:,} bytes, expected {facts['bytes']:,}"
        if _sha256(path) != facts["sha256"]:
            return f"{path} is damaged: its content is not what was written"
    return ""


def _sha256(path: Path) -> str:
    status = path.stat()
    return _sha256_of(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=4096)
def _sha256_of(path: Path, size: int, modified: int) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


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
