"""Fetch a file of known size and checksum: resumes where it broke off, and becomes visible only when it is whole and right."""

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
        have = part.stat().st_size if part.exists() else 0
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
        with httpx.stream("GET", url, headers=headers, follow_redirects=True, timeout=_PATIENCE_SECONDS) as answer:
            if answer.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
                pass  # the part is the whole file already; its checksum tells
            else:
                answer.raise_for_status()
                if "text/html" in answer.headers.get("content-type", ""):
                    raise DataFormatError(f"{url} answered with a web page, expected a file; fetch it with a browser and place it at {path}")
                resumed = answer.status_code == httpx.codes.PARTIAL_CONTENT
                if have:
                    say(f"{path.name}: {'going on' if resumed else 'starting over'} after {have:,} bytes")
                _receive(answer, part, append=resumed, limit=size)
    except httpx.HTTPStatusError as error:
        raise MissingFileError(f"{url} answered {error.response.status_code}; fetch it elsewhere and place it at {path}") from None
    except httpx.HTTPError as error:
        reason = str(error) or type(error).__name__
        raise MissingFileError(f"{url} cannot be reached ({reason}); the same command resumes, or place the file at {path} by hand") from None
    found = _checked(part, sha256, url)
    os.replace(part, path)
    return found


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
