"""Files that are whole or not there: atomic writes, JSON, JSONL that resumes after a kill, and the folder of what is kept between runs."""

from __future__ import annotations

import hashlib
import json
import os
import threading
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from grasper.errors import MissingFileError, RunMismatchError
from grasper.settings import expand_home


def cache_dir() -> Path:
    """Where grasper keeps what it would else have to do again: `$GRASPER_CACHE`, else `grasper` in `$XDG_CACHE_HOME` or ~/.cache.

    No shell writes out the `~` of a variable that an env file or a service unit sets.
    """
    if named := os.environ.get("GRASPER_CACHE"):
        return expand_home(Path(named))
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "grasper"


def sha256_of(path: Path) -> str:
    """The hash of a file's content; a file that has not changed is read once."""
    status = path.stat()
    return _hash(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=4096)
def _hash(path: Path, size: int, modified: int) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def fingerprint_file(path: Path) -> str:
    """A short hash of a file's content."""
    return sha256_of(path)[:16]


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, this thread's own, that takes its place when the block ends well, and vanishes when it does not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def is_leftover(path: Path) -> bool:
    """Whether a file or folder is what a killed process left of one that was to appear at once, or of its work."""
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
    """The objects of a JSONL file, one a line; an unfinished last line (a kill in the middle of a write) is left out.

    Raises:
        RunMismatchError: Another line holds no JSON object.
    """
    if not path.exists():
        return []
    records = []
    for number, line in enumerate(path.read_bytes().splitlines(keepends=True), start=1):
        if (record := _parsed(line)) is not None:
            records.append(record)
        elif line.endswith(b"\n"):
            raise RunMismatchError(f"{path} line {number} is no JSON object; delete the file and run the stage again")
    return records


def read_records(path: Path, stage: str) -> list[dict[str, Any]]:
    """The records of a `BatchLog`, in the order they were written; those of a batch that was cut off are left out.

    Args:
        stage: What writes such a file.

    Raises:
        MissingFileError: The file does not exist.
        RunMismatchError: A line is damaged.
    """
    if not path.exists():
        raise MissingFileError(f"{path} does not exist; run `grasper {stage}` first")
    batches, _, damage = _read_batches(path.read_bytes())
    if damage:
        raise RunMismatchError(f"{path} {damage}; run `grasper {stage}` again: it keeps what is whole and writes the rest")
    return [record for batch in batches for record in batch.records]


def whole_records(path: Path) -> list[dict[str, Any]]:
    """What a stage that goes on with a `BatchLog` keeps of it: the records of all whole batches; none where there is no file."""
    batches, _, _ = _read_batches(path.read_bytes() if path.exists() else b"")
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
