"""What a results file says of its own making."""

from __future__ import annotations

from pathlib import Path

from experiments.publish import provenance
from grasper.config import Config
from grasper.pipeline import dump_config
from grasper.runs import Run, write_json, write_text


def test_another_run_inside_the_folder_is_not_mixed_in(tmp_path: Path) -> None:
    """A copy of a run that landed in the folder of an older one must not lend it its commits."""
    write_text(tmp_path / "config.yaml", dump_config(Config()))
    for folder, commit in (("", "old"), ("copy/", "new")):
        for stage in ("prepare", "generate/none", "generate/lamp"):
            manifest = {"stage": stage, "commit": commit, "seconds": 1.0, "counts": {}, "versions": {}}
            write_json(tmp_path / f"{folder}{stage}" / "manifest.json", manifest)
    stages = provenance(Run(tmp_path), "make pipeline", ["none"])["stages"]
    assert {stage: facts["commit"] for stage, facts in stages.items()} == {"prepare": "old", "generate/none": "old"}
