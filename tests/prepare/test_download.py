"""A begun download is continued only with the rest of the same version."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from grasper.errors import MissingFileError
from grasper.prepare.download import download

CONTENT = bytes(range(256)) * 4096


class Server(ThreadingHTTPServer):
    """Serves `content` of a version, and breaks off after `broken_after` bytes."""

    content, version, broken_after = CONTENT, '"one"', None
    busy: tuple[int, ...] = ()
    """Statuses of the first answers."""
    asked: list[tuple[str | None, str | None]]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        wanted, version = self.headers.get("Range"), self.headers.get("If-Range")
        self.server.asked.append((wanted, version))
        if self.server.busy:
            status, *rest = self.server.busy
            self.server.busy = tuple(rest)
            self.send_response(status)
            self.send_header("Retry-After", "0")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        is_same = wanted is not None and version in (None, self.server.version)
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and is_same else 0
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(self.server.content) - start))
        if self.server.version:
            self.send_header("ETag", self.server.version)
        self.end_headers()
        with contextlib.suppress(ConnectionError):
            self.wfile.write(self.server.content[start:][: self.server.broken_after])
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server(("127.0.0.1", 0), Handler)
    running.asked = []
    threading.Thread(target=running.serve_forever, daemon=True).start()
    yield running
    running.shutdown()
    running.server_close()


def begin(server: Server, path: Path) -> int:
    """Fetch half of the file; gives how much came."""
    server.broken_after = len(CONTENT) // 2
    with pytest.raises(MissingFileError, match="the same command resumes"):
        download(f"http://127.0.0.1:{server.server_port}/f", path, waits=())
    server.broken_after = None
    return path.with_name("f.part").stat().st_size


def test_the_same_version_is_continued(server: Server, tmp_path: Path) -> None:
    got = begin(server, tmp_path / "f")
    assert got > 0
    download(f"http://127.0.0.1:{server.server_port}/f", tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == CONTENT
    assert server.asked == [(None, None), (f"bytes={got}-", '"one"')]
    assert [path.name for path in tmp_path.iterdir()] == ["f"]


def test_a_busy_server_is_asked_again_and_the_waits_are_told(server: Server, tmp_path: Path) -> None:
    server.busy = (503, 429)
    told: list[str] = []
    address = f"http://127.0.0.1:{server.server_port}/f"
    download(address, tmp_path / "f", say=told.append, waits=(60, 60))  # the server asks for none
    assert (tmp_path / "f").read_bytes() == CONTENT
    assert told == [f"{address} answered 503; trying again in 0 s (1 of 2)", f"{address} answered 429; trying again in 0 s (2 of 2)"]


def test_what_breaks_off_is_resumed_in_the_same_call(server: Server, tmp_path: Path) -> None:
    server.broken_after = len(CONTENT) // 3 + 1
    told: list[str] = []
    download(f"http://127.0.0.1:{server.server_port}/f", tmp_path / "f", say=told.append, waits=(0, 0))
    assert (tmp_path / "f").read_bytes() == CONTENT
    assert [request[0] for request in server.asked] == [None, *(f"bytes={n * (len(CONTENT) // 3 + 1)}-" for n in (1, 2))]
    assert sum("trying again in 0 s" in line for line in told) == 2


def test_a_server_that_stays_busy_is_given_up(server: Server, tmp_path: Path) -> None:
    server.busy = (503,) * 9
    with pytest.raises(MissingFileError, match="answered 503; the same command resumes, or place the file at"):
        download(f"http://127.0.0.1:{server.server_port}/f", tmp_path / "f", say=lambda line: None, waits=(0, 0))
    assert len(server.asked) == 3


@pytest.mark.parametrize("version", ['"one"', "", 'W/"weak"'])
def test_another_version_is_fetched_anew(server: Server, tmp_path: Path, version: str) -> None:
    """The rest of a new version behind the beginning of an old one would be neither, and no published check sum would tell."""
    server.version = version
    begin(server, tmp_path / "f")
    server.content, server.version = CONTENT[::-1], '"two"' if version else ""
    download(f"http://127.0.0.1:{server.server_port}/f", tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == CONTENT[::-1]
