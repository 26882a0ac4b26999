"""A few of the trials of each kind; `make faults` runs them for minutes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from processes import run_python

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "tried"), [("disk:3", 1), ("servers:20", 1), ("damage:3", 1), ("kills:0", 1), ("hostile:1", 1)])
def test_one_case_of_each_kind_survives(kind: str, tried: int, tmp_path: Path) -> None:
    """Carried out as by `make faults ONLY=…`, and something really was tried."""
    command = f"import runpy, sys; sys.argv = ['faults', '--only', {kind!r}]; runpy.run_module('faults', run_name='__main__')"
    result = run_python(command, ROOT)
    assert result.returncode == 0, result.stdout + result.stderr
    counts = result.stdout.splitlines()[-1].split()
    assert int(counts[2]) >= tried
    assert counts[2] == counts[4]


def test_the_record_adds_up() -> None:
    """What is published about the trials: every failure is listed with how to repeat it."""
    record = json.loads((ROOT / "experiments/results/faults.json").read_text())
    lost = sum(counts["tried"] - counts["survived"] for counts in record["kinds"].values())
    assert bool(lost) == bool(record["failures"])
    assert all(failure["repeat"].startswith("make faults SEED=") for failure in record["failures"])
