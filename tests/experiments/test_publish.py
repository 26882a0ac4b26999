"""What a results file says of its own making."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from experiments.publish import ROOT, made_by, provenance, zero_history
from grasper.config import Config
from grasper.files import write_json, write_text
from grasper.pipeline import dump_config
from grasper.runs import Run


def test_another_run_inside_the_folder_is_not_mixed_in(tmp_path: Path) -> None:
    """A copy of a run that landed in the folder of an older one must not lend it its commits."""
    write_text(tmp_path / "config.yaml", dump_config(Config()))
    for folder, commit in (("", "old"), ("copy/", "new")):
        for stage in ("prepare", "generate/none", "generate/lamp"):
            manifest = {"stage": stage, "commit": commit, "seconds": 1.0, "counts": {}, "versions": {}}
            write_json(tmp_path / f"{folder}{stage}" / "manifest.json", manifest)
    stages = provenance(Run(tmp_path), "make pipeline", ["none"])["stages"]
    assert {stage: facts["commit"] for stage, facts in stages.items()} == {"prepare": "old", "generate/none": "old"}


def test_people_without_history_are_compared_apart(tmp_path: Path) -> None:
    """Two of three targets: `pat` has .3 and .5 there, `copy` .2 and .6, so .0 in the mean, and half of the wins; the third would change both. What
    `none` got for answers that nobody could read is no result.
    """
    rows = [
        {"method": method, "example_id": f"e{number}", "task": "long", "user_id": f"u{number}", "item_id": f"i{number}"}
        | {
            "own_reviews": int(number == 2),
            "level": "0",
            "is_repeated": False,
            "bytes": 9.0,
            "rouge1": value,
            "words": 3.0,
            "parsed": float(method != "none"),
        }
        for method, values in (("copy", (0.2, 0.6, 0.9)), ("pat", (0.3, 0.5, 0.1)), ("none", (0.1, 0.1, 0.1)))
        for number, value in enumerate(values)
    ]
    (tmp_path / "evaluate").mkdir()
    pd.DataFrame(rows).to_parquet(tmp_path / "evaluate" / "per_example.parquet")
    found = zero_history(Run(tmp_path), "pat")
    assert found["n_examples"] == 2
    [pair] = [pair for pair in found["pairs"] if pair["metric"] == "rouge1"]
    assert (pair["method"], pair["other"], pair["n"]) == ("pat", "copy", 2)
    assert (pair["difference"], pair["wins"], pair["ties"]) == pytest.approx((0.0, 0.5, 0.0))
    assert pair["low"] == pytest.approx(-0.1)
    assert pair["high"] == pytest.approx(0.1)


@pytest.mark.parametrize(("spec", "script"), [(None, "experiments/bits.py"), (SimpleNamespace(name="experiments.bits"), "-m experiments.bits")])
def test_a_script_tells_the_command_that_repeats_it(monkeypatch: pytest.MonkeyPatch, spec: SimpleNamespace | None, script: str) -> None:
    """As it was started, by its path from the project's root or as a module, with its own arguments, and what else it depends on."""
    monkeypatch.setattr(sys, "argv", [str(ROOT / "experiments" / "bits.py"), "--set", "a.b=c d"])
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", spec)
    facts = made_by([1, 2])
    assert facts["command"] == f"python {script} --set 'a.b=c d'"
    assert facts["seed"] == [1, 2]
    assert {"commit", "versions", "hardware"} < set(facts)
