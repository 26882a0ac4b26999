"""Methods of several runs stand in one results file only where they can be compared."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from experiments.joined import join, joined_facts
from grasper.config import load_config
from grasper.errors import MissingFileError, RunMismatchError
from grasper.files import write_lines
from grasper.pipeline import Pipeline
from grasper.records import Tables
from grasper.runs import Run


@pytest.fixture
def parts(tmp_path: Path) -> list[tuple[Run, list[str]]]:
    """Two runs on the same targets; the second one's texts are the first one's, by another name."""
    one, two = Run(tmp_path / "one"), Run(tmp_path / "two")
    Pipeline(load_config(None, ["tasks=[long]"], methods=("copy",), limit=4), one).carry_out(say=lambda line: None)
    shutil.copytree(one.root, two.root)
    two.folder("generate", "copy").rename(two.folder("generate", "none"))
    return [(one, ["copy"]), (two, ["none"])]


def test_methods_of_two_runs_are_compared_with_what_was_measured(parts: list[tuple[Run, list[str]]], tmp_path: Path) -> None:
    """As if one run had written them: paired, with their costs, and with the numbers that a model measured."""
    two = parts[1][0]
    config = load_config(two.root / "config.yaml")
    target = Tables.load(two.folder("prepare")).select(config.split, config.limit)[0]
    record = {"example_id": target.example_id, "task": "long", "metric": "bits", "value": 1.5}
    two.folder("measure", "none").mkdir(parents=True)
    write_lines(two.folder("measure", "none") / "bits.jsonl", [record])
    metrics = join(parts, Run(tmp_path / "joined"))
    assert list(metrics["methods"]) == ["copy", "none"]
    assert metrics["methods"]["none"]["long"]["bits"]["value"] == 1.5
    pair = next(pair for pair in metrics["comparison"]["pairs"] if pair["metric"] == "rouge1")
    assert (pair["difference"], pair["ties"], pair["n"]) == (0, 1, 4)


def test_runs_that_do_not_compare_are_refused(parts: list[tuple[Run, list[str]]], tmp_path: Path) -> None:
    """Other data, texts that are not there, the same method twice."""
    (one, _), (two, _) = parts
    with pytest.raises(MissingFileError, match="generate/lamp is not complete"):
        join([(one, ["copy"]), (two, ["lamp"])], Run(tmp_path / "joined"))
    with pytest.raises(RunMismatchError, match="same method"):
        join([(one, ["copy"]), (one, ["copy"])], Run(tmp_path / "joined"))
    manifest = two.require(two.folder("prepare"))
    two.finish(two.folder("prepare"), key=manifest["key"] | {"data": "others"}, seed=0, counts={}, seconds=0.0)
    with pytest.raises(RunMismatchError, match="differ in data"):
        join(parts, Run(tmp_path / "joined"))


def test_stages_of_another_run_tell_their_versions() -> None:
    """What the first run was made with is not said of the second one's stages; what both hold is the first one's."""
    first = {"command": "a", "seed": 0, "versions": {"torch": "1"}, "stages": {"prepare": {"seconds": 1}}}
    second = {"command": "b", "seed": 0, "versions": {"torch": "2"}, "stages": {"prepare": {"seconds": 2}, "align/pat": {"seconds": 3}}}
    assert joined_facts([first, second]) == {
        "command": "a ; b",
        "seed": 0,
        "versions": {"torch": "1"},
        "stages": {"prepare": {"seconds": 1}, "align/pat": {"seconds": 3, "versions": {"torch": "2"}}},
    }
