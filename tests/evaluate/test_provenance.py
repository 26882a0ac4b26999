"""What was spent and what a run was made with come from its folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from grasper.config import load_config
from grasper.evaluate.provenance import changed_settings, cost_of, provenance_of
from grasper.runs import Run


def test_the_cost_holds_all_tokens_of_the_alignment(tmp_path: Path) -> None:
    """Sampled paths and the synthetic context of the pairs are spent before a single target is written; who shares an adapter shows it, too."""
    run = Run(tmp_path)
    counts = {
        "align": {"tokens_in": 200_000, "tokens_out": 50_000, "context": {"tokens_in": 100_000, "tokens_out": 40_624}, "pairs": 64},
        "synthesize": {"tokens_in": 80_000, "tokens_out": 12_000},
        "generate": {"tokens_in": 35_658, "tokens_out": 5_000},
    }
    for stage, entry in counts.items():
        run.folder(stage, "grasper").mkdir(parents=True)
        run.finish(run.folder(stage, "grasper"), key={}, seed=0, counts=entry, seconds=10.0)
    cost = cost_of(run, "grasper")
    assert cost["align_tokens_in"] + cost["align_tokens_out"] == 390_624
    assert [cost[f"{stage}_seconds"] for stage in counts] == 3 * [10.0]
    assert cost_of(run, "grasper-random-items")["align_tokens_in"] == 300_000
    assert cost_of(run, "copy")["align_tokens_in"] == 0


def test_the_alignment_of_a_shared_adapter_is_part_of_where_numbers_come_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the method that owns the adapter is not compared itself."""
    run = Run(tmp_path)
    for folder, python in ((run.folder("align", "grasper"), "2.7"), (run.folder("generate", "grasper-one-set"), "3.1")):
        folder.mkdir(parents=True)
        monkeypatch.setattr("grasper.runs.versions", lambda python=python: {"python": python})
        run.finish(folder, key={}, seed=0, counts={}, seconds=1.0)
    assert provenance_of(run, load_config(None), ["grasper-one-set"])["versions"]["python"] == "2.7 and 3.1"


def test_provenance_names_what_differs_from_the_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings with a place of their own are not repeated; commits and dates are those of the finished stages."""
    config = load_config(None, ["align.epochs=3", "model.name=other", "prepare.name=shop"], methods=["copy"], limit=4)
    assert changed_settings(config) == {"align.epochs": 3.0}
    run = Run(tmp_path)
    run.folder("generate", "copy").mkdir(parents=True)
    manifest = run.finish(run.folder("generate", "copy"), key={}, seed=0, counts={}, seconds=1.0)
    facts = provenance_of(run, config, ["copy"])
    assert (facts["model"], facts["seed"], facts["limit"], facts["settings"]) == ("other", 0, 4, {"align.epochs": 3.0})
    assert facts["finished"] == [manifest["finished"]] * 2
    assert facts["versions"]["python"]
    run.folder("prepare").mkdir()
    monkeypatch.setattr("grasper.runs.versions", lambda: {"python": "2.7"})
    run.finish(run.folder("prepare"), key={}, seed=0, counts={}, seconds=1.0)
    assert provenance_of(run, config, ["copy"])["versions"]["python"] == f"2.7 and {facts['versions']['python']}"
    assert provenance_of(Run(tmp_path / "empty"), config, ["copy"])["finished"] == []
