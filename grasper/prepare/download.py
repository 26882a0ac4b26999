"""Fetch a file: waits for busy servers, resumes what broke off unless there is another version now, and shows it only when it is whole and right."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from grasper.errors import DataFormatError, MissingFileError
from grasper.files import sha256_of

_PATIENCE_SECONDS = 30.0
_BUSY = (408, 429, 500, 502, 503, 504)
WAITS = (2.0, 10.0, 30.0)
"""Seconds before the second, third and fourth try."""
LONGEST_WAIT = 120.0
"""However long a server asks for."""


def download(
    url: str,
    path: Path,
    *,
    sha256: str | None = None,
    size: int | None = None,
    say: Callable[[str], None] = print,
    waits: Sequence[float] = WAITS,
) -> str:
    """Fetch `url` to `path`; the sha256 of the content. A file that is there already is checked, not fetched again.

    Args:
        sha256: Of the content, where it is known.
        size: Bytes, where they are known; more are refused.
        waits: Seconds before each further try, where a server is busy or the transfer breaks off; every wait is announced.

    Raises:
        MissingFileError: The server cannot be reached or has no such file; the message says what to place where.
        DataFormatError: The content is not what it should be; the damaged part is removed.
    """
    if path.is_file():
        return _checked(path, sha256, url)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    for number, usual in enumerate((*waits, None), start=1):
        try:
            _fetch(url, path, part, sha256, size, say)
            break
        except _Interrupted as interruption:
            if usual is None:
                raise MissingFileError(f"{interruption}; the same command resumes, or place the file at {path} by hand") from None
            seconds = usual if interruption.wait is None else min(interruption.wait, LONGEST_WAIT)
            say(f"{interruption}; trying again in {seconds:g} s ({number} of {len(waits)})")
            time.sleep(seconds)
    _note(part).unlink(missing_ok=True)
    found = _checked(part, sha256, url)
    os.replace(part, path)
    return found


class _Interrupted(Exception):
    """What another try may mend; `wait` is the seconds that the server asks for."""

    def __init__(self, message: str, wait: float | None = None) -> None:
        super().__init__(message)
        self.wait = wait


def _fetch(url: str, path: Path, part: Path, sha256: str | None, size: int | None, say: Callable[[str], None]) -> None:
    """One try: what is missing of the part."""
    import httpx

    version = _version_of(part)
    # Without a check sum, only the server can tell that the rest belongs to the beginning.
    have = part.stat().st_size if part.exists() and (version or sha256) else 0
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {}) | ({"If-Range": version} if have and version else {})
    try:
        with httpx.stream("GET", url, headers=headers, follow_redirects=True, timeout=_PATIENCE_SECONDS) as answer:
            if answer.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
                return  # the part is the whole file already; its checksum tells
            if answer.status_code in _BUSY:
                raise _Interrupted(f"{url} answered {answer.status_code}", _asked_wait(answer.headers.get("retry-after", "")))
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
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.UnsupportedProtocol) as error:
        raise MissingFileError(f"{url} cannot be reached ({error}); the same command resumes, or place the file at {path} by hand") from None
    except httpx.HTTPError as error:
        raise _Interrupted(f"{url} broke off ({str(error) or type(error).__name__})") from None


def _asked_wait(header: str) -> float | None:
    return float(header) if header.isdecimal() else None


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
    found = sha256_of(path)
    if sha256 is not None and found != sha256:
        path.unlink()
        raise DataFormatError(f"{url}: the content has another checksum than expected ({found[:12]}…); removed, fetch it again")
    return found
