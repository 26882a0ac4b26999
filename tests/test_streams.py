"""Output that cannot be written never ends finished work with a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
WORK = """
import sys
from pathlib import Path
from grasper.streams import tolerate_broken_streams

@tolerate_broken_streams
def main():
    for number in range(3):
        print(f"line {number} · 好 – \\udc80", flush=True)
    from rich.console import Console
    from rich.table import Table
    table = Table(title="results · n = 3")
    table.add_column("método")
    table.add_row("0.3 …")
    Console().print(table)
    Path(sys.argv[1]).write_text("finished")

main()
"""


def run(done: Path, stdout: int, encoding: str = "utf-8") -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    return subprocess.run([sys.executable, "-c", WORK, str(done)], stdout=stdout, stderr=subprocess.PIPE, env=environment, timeout=60)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8", "cp1252"])
def test_every_terminal_gets_what_it_can_show(encoding: str, tmp_path: Path) -> None:
    """Dots and dashes are spelled plainly where the encoding lacks them, other characters become question marks."""
    result = run(tmp_path / "done", subprocess.PIPE, encoding)
    assert (result.returncode, result.stderr) == (0, b"")
    assert (tmp_path / "done").exists()
    text = result.stdout.decode(encoding)
    assert "line 2 · 好 – ?" in text if encoding == "utf-8" else "line 2 - ? - ?" in text
    assert "0.3" in text


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk_is_told_after_the_work(tmp_path: Path) -> None:
    """The work ends, one line says what is missing, the exit code is 1."""
    with open("/dev/full", "wb") as full:
        result = run(tmp_path / "done", full.fileno())
    assert (tmp_path / "done").exists()
    assert result.returncode == 1
    assert result.stderr.decode() == "the work is done, but its output could not be written: No space left on device\n"


def test_a_closed_pipe_is_no_error(tmp_path: Path) -> None:
    """`grasper … | head -1` ends quietly, with its files written."""
    reader, writer = os.pipe()
    os.close(reader)
    result = run(tmp_path / "done", writer)
    os.close(writer)
    assert (tmp_path / "done").exists()
    assert (result.returncode, result.stderr) == (0, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["pipeline", "--dry-run"], ["prepare", "--help"]])
def test_commands_survive_a_full_disk(arguments: list[str], tmp_path: Path) -> None:
    """No traceback from any way of printing, the option parser's included."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    with open("/dev/full", "wb") as full:
        command = [sys.executable, "-m", "grasper.cli", *arguments]
        result = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, cwd=tmp_path, env=environment, timeout=120)
    assert result.stderr.decode() == "the work is done, but its output could not be written: No space left on device\n"
    assert result.returncode == 1
