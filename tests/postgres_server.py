"""A PostgreSQL server of our own for tests, from the machine's own binaries: on the loopback address, with a password, gone afterwards."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PASSWORD = "s3cret:/@pass"  # letters that mean something in a URL


def binaries() -> Path | None:
    """The folder with `initdb` and `pg_ctl`, in the path or where Debian puts them."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    return next((path.parent for path in sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), reverse=True)), None)


@contextmanager
def running_server() -> Iterator[str]:
    """A server's address as host:port; its user is `postgres`, with PASSWORD.

    The server refuses to be root, so then it runs as the system's user `postgres` or `nobody`.
    """
    commands = binaries()
    assert commands is not None
    owner = next((name for name in ("postgres", "nobody") if _exists(name)), None) if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="grasper-postgres-"))
    try:
        (folder / "password").write_text(PASSWORD, encoding="utf-8")
        if owner:
            for path in (folder, folder / "password"):
                shutil.chown(path, owner)

        def run(*command: str) -> None:
            subprocess.run(
                command, check=True, user=owner, cwd=folder, stdout=subprocess.DEVNULL, env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
            )

        data = str(folder / "data")
        settings = ("--username=postgres", f"--pwfile={folder / 'password'}", "--auth=scram-sha-256", "--encoding=UTF8", "--no-sync")
        run(str(commands / "initdb"), "-D", data, *settings)
        port = _free_port()
        options = f"-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories={folder} -c fsync=off"
        run(str(commands / "pg_ctl"), "-D", data, "-w", "-l", str(folder / "log"), "-o", options, "start")
        try:
            yield f"127.0.0.1:{port}"
        finally:
            run(str(commands / "pg_ctl"), "-D", data, "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _exists(user: str) -> bool:
    import pwd

    return any(entry.pw_name == user for entry in pwd.getpwall())


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
