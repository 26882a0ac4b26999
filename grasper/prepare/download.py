"""Fetch a file: resumes where it broke off, unless the server has another version now, and becomes visible only when it is whole and right."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from grasper.errors import DataFormatError, MissingFileError

_CHUNK = 2**20
_PATIENCE_SECONDS = 30.0


def download(url: str, path: Path, *, sha256: str | None = None, size: int | None = None, say: Callable[[str], None] = print) -> str:
    """Fetch `url` to `path`; the sha256 of the content. A file that is there already is checked, not fetched again.

    Args:
        sha256: Of the content, where it is known.
        size: Bytes, where they are known; more are refused.

    Raises:
        MissingFileError: The server cannot be reached or has no such file; the message says what to place where.
        DataFormatError: The content is not what it should be; the damaged part is removed.
    """
    import httpx

    if path.is_file():
        return _checked(path, sha256, url)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    try:
        version = _version_of(part)
        # Without a check sum, only the server can tell that the rest belongs to the beginning.
        have = part.stat().st_size if part.exists() and (version or sha256) else 0
        headers = (
            {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {}) | ({"If-Range": version} if have and version else {})
        )
        with httpx.stream("GET", url, headers=headers, follow_redirects=True, timeout=_PATIENCE_SECONDS) as answer:
            if answer.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
                pass  # the part is the whole file already; its checksum tells
            else:
                answer.raise_for_status()
                if "text/html" in answer.headers.get("content-type", ""):
                    raise DataFormatError(f"{url} answered with a web page, expected a file; fetch it with a browser and place it at {path}")
                resumed = have > 0 and answer.status_code == httpx.codes.PARTIAL_CONTENT
                if told := answer.headers.get("etag") or answer.headers.get("last-modified"):
                    _note(part).write_text(told, encoding="utf-8")
                else:
                    _note(part).unlink(missing_ok=True)
                if have:
                    say(f"{path.name}: {'going on' if resumed else 'starting over'} after {have:,} bytes")
                _receive(answer, part, append=resumed, limit=size)
    except httpx.HTTPStatusError as error:
        raise MissingFileError(f"{url} answered {error.response.status_code}; fetch it elsewhere and place it at {path}") from None
    except httpx.HTTPError as error:
        reason = str(error) or type(error).__name__
        raise MissingFileError(f"{url} cannot be reached ({reason}); the same command resumes, or place the file at {path} by hand") from None
    _note(part).unlink(missing_ok=True)
    found = _checked(part, sha256, url)
    os.replace(part, path)
    return found


def _note(part: Path) -> Path:
    """Where the version of a begun file is kept."""
    return part.with_name(f"{part.name}.version")


def _version_of(part: Path) -> str | None:
    """What the server called the version that a begun file belongs to (entity tag or date); weak tags do not promise equal bytes."""
    note = _note(part)
    version = note.read_text(encoding="utf-8").strip() if note.is_file() else ""
    return version if version and not version.startswith("W/") else None


def _receive(answer: Any, part: Path, *, append: bool, limit: int | None) -> None:
    with part.open("ab" if append else "wb") as handle:
        for chunk in answer.iter_raw():
            handle.write(chunk)
            if limit is not None and handle.tell() > limit:
                handle.close()
                part.unlink()
                raise DataFormatError(f"{part.name}: the server sends more than the {limit:,} bytes that the file has")


def _checked(path: Path, sha256: str | None, url: str) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as handle:
        while chunk := handle.read(_CHUNK):
            digest.update(chunk)
    if sha256 is not None and digest.hexdigest() != sha256:
        path.unlink()
        raise DataFormatError(f"{url}: the content has another checksum than expected ({digest.hexdigest()[:12]}…); removed, fetch it again")
    return digest.hexdigest()
