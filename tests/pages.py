"""The code of documentation pages, taken from them and run."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from processes import TERSE, options, run_grasper

ROOT = Path(__file__).parents[1]


def blocks(page: str, language: str) -> list[str]:
    """The code blocks of a page in `docs/`, in order."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def commands(page: str) -> list[str]:
    """Its grasper commands, one per line."""
    return [line for block in blocks(page, "bash") for line in block.splitlines() if line.startswith("grasper ")]


def run(command: str, cwd: Path, *, expect: int = 0, **environment: str) -> str:
    """What a command printed, both streams, in a process of its own; it must end with the expected code and without a traceback.

    Pipelines write tersely, which is all that differs from what the page says.
    """
    arguments = shlex.split(command, comments=True)[1:]
    result = run_grasper(*arguments, *(options(TERSE) if "pipeline" in arguments else ()), cwd=cwd, **environment)
    assert result.returncode == expect, f"{command}: {result.returncode}\n{result.stderr[-2000:]}"
    assert "Traceback" not in result.stderr, result.stderr
    return result.stdout + result.stderr
