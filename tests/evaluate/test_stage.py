"""The stage as a whole: the schema of `metrics.json`, scoring again, and what is asked of the caller."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from grasper.config import Config, EvaluateConfig
from grasper.errors import ConfigError
from grasper.evaluate import RunData, evaluate
from grasper.files import read_json
from grasper.metrics.meteor import meteor_name
from grasper.runs import Run

CONFIG = EvaluateConfig(bootstrap_samples=100, report_examples=3)


def run(world: Any, out_dir: Path, **changes: Any) -> dict[str, Any]:
    everything: dict[str, Any] = {"synthetic": world.synthetic, "candidates": world.candidates, "costs": world.costs}
    out_dir.mkdir(exist_ok=True)
    config, seed = changes.pop("config", CONFIG), changes.pop("seed", 0)
    return evaluate(world.run_data(**everything | changes), config, out_dir, seed=seed)


@pytest.fixture(scope="module")
def evaluated(world: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evaluate")
    run(world, folder)
    return folder


def entries_of(value: Any) -> list[dict[str, Any]]:
    """All innermost `{"value", "low", "high", "n"}` of a nested mapping."""
    if set(value) == {"value", "low", "high", "n"}:
        return [value]
    return [entry for inner in value.values() for entry in entries_of(inner)]


def test_the_cost_is_that_of_the_answers_that_are_evaluated(world: Any, evaluated: Path, tmp_path: Path) -> None:
    """A third of the targets and one task of a larger run: their own tokens, and their share of its seconds."""
    chosen = world.examples[::3]
    evaluate(world.run_data(synthetic=world.synthetic, costs=world.costs, examples=chosen, tasks=["long"]), CONFIG, tmp_path, seed=0)
    part, whole = read_json(tmp_path / "metrics.json")["cost"], read_json(evaluated / "metrics.json")["cost"]
    wanted = {example.example_id for example in chosen}
    records = [output for output in world.records["copy"] if output.example_id in wanted and output.task == "long"]
    assert part["copy"]["tokens_in"] == sum(output.tokens_in for output in records)
    assert whole["copy"]["seconds"] == pytest.approx(world.costs["copy"]["generate_seconds"], abs=1e-3)
    assert part["copy"]["seconds"] == pytest.approx(world.costs["copy"]["generate_seconds"] / 9, abs=1e-3)
    assert part["grasper"]["seconds"] == pytest.approx(world.costs["grasper"]["generate_seconds"] / 9 + 1.0, abs=1e-3)


def test_metrics_have_the_agreed_schema(evaluated: Path, world: Any) -> None:
    """Names, tasks and metrics are the ones that every results file uses; every value lies in its interval."""
    metrics = read_json(evaluated / "metrics.json")
    assert list(metrics)[:7] == ["dataset", "split", "n_examples", "methods", "cost", "sparsity", "synthetic"]
    assert (metrics["dataset"], metrics["split"], metrics["n_examples"]) == ("toy", "dev-a", 30)
    assert list(metrics["methods"]) == list(world.outputs)
    for tasks in metrics["methods"].values():
        assert set(tasks) == {"long", "title", "rating"}
        assert {"rouge1", "rougeL", meteor_name(), "rouge1_unicode", "rougeL_unicode", "copied", "personalization"} <= set(tasks["long"])
        assert {"rouge1", "rougeL", meteor_name()} <= set(tasks["title"])
        assert {"mae", "rmse"} <= set(tasks["rating"])
    for entry in entries_of(metrics["methods"]) + entries_of(metrics["sparsity"]["methods"]):
        assert entry["low"] <= entry["value"] <= entry["high"]
        assert entry["n"] > 0
    for cost in metrics["cost"].values():
        assert {"seconds", "tokens_in", "tokens_out"} <= set(cost)
    assert metrics["without_repeated"]["n_examples"] == 27
    assert metrics["without_repeated"]["methods"]["copy"]["long"]["rouge1"]["n"] == 27
    assert metrics["comparison"]["baseline"] == "pgraphrag"


def test_metrics_are_plain_json(evaluated: Path) -> None:
    """No NaN or infinity, which JSON does not know."""

    strangers: list[str] = []
    json.loads((evaluated / "metrics.json").read_text(encoding="utf-8"), parse_constant=strangers.append)
    assert strangers == []


def test_the_summary_is_the_mean_of_the_per_example_table(evaluated: Path) -> None:
    """The table alone gives every number again."""
    metrics, table = read_json(evaluated / "metrics.json"), pd.read_parquet(evaluated / "per_example.parquet")
    for (method, task), rows in table.groupby(["method", "task"], observed=True):
        entries = metrics["methods"][method][task]
        if task == "rating":
            assert entries["mae"]["value"] == pytest.approx(rows["absolute_error"].mean(), abs=1e-6)
            assert entries["rmse"]["value"] == pytest.approx(rows["squared_error"].mean() ** 0.5, abs=1e-6)
        else:
            assert entries["rougeL"]["value"] == pytest.approx(rows["rougeL"].mean(), abs=1e-6)


def test_scoring_again_gives_the_same_bytes(evaluated: Path, world: Any, tmp_path: Path) -> None:
    """Saved outputs are all that is needed, and the result is a function of them."""
    run(world, tmp_path / "again")
    for name in ("metrics.json", "report.html"):
        assert (tmp_path / "again" / name).read_bytes() == (evaluated / name).read_bytes()
    again, first = (pd.read_parquet(folder / "per_example.parquet") for folder in (tmp_path / "again", evaluated))
    pd.testing.assert_frame_equal(again, first)


def test_counts_go_into_the_manifest(world: Any, tmp_path: Path) -> None:
    """Examples, methods and unparsed answers per method."""
    counts = run(world, tmp_path, outputs={"copy": world.outputs["copy"]}, synthetic=None, candidates=None)
    assert counts["examples"] == 30
    assert counts["unparsed"] == {"copy": sum(not record.is_parsed for record in world.records["copy"])}


def test_tokens_that_nobody_counted_are_summed(world: Any, tmp_path: Path) -> None:
    """Without costs the seconds are unknown, but tokens of answers and synthetic reviews are in the files."""
    run(world, tmp_path, outputs={"grasper": world.outputs["grasper"]}, synthetic={"grasper": world.synthetic["grasper"]}, costs=None)
    cost = read_json(tmp_path / "metrics.json")["cost"]["grasper"]
    assert cost["seconds"] is None
    assert cost["tokens_in"] == 300 * 90 + 200 * 90
    assert cost["tokens_out"] == 40 * 90 + 50 * 90


def test_an_absent_baseline_gives_way_to_the_first_method(world: Any, tmp_path: Path) -> None:
    """The comparison names the baseline that it really used."""
    run(world, tmp_path, outputs={name: world.outputs[name] for name in ("none", "copy")}, synthetic=None)
    comparison = read_json(tmp_path / "metrics.json")["comparison"]
    assert comparison["baseline"] == "none"
    assert {(pair["method"], pair["other"]) for pair in comparison["pairs"]} == {("copy", "none")}


def test_a_single_task_is_enough(world: Any, tmp_path: Path) -> None:
    """Only the tasks that were asked are scored, and nothing else is missed."""
    run(world, tmp_path, tasks=("rating",), outputs={"copy": world.outputs["copy"]}, synthetic=None)
    assert set(read_json(tmp_path / "metrics.json")["methods"]["copy"]) == {"rating"}


def test_nothing_to_evaluate_is_an_error(world: Any, tmp_path: Path) -> None:
    """No method is refused before anything is written."""
    with pytest.raises(ConfigError, match="0 methods"):
        run(world, tmp_path, outputs={})
    assert list(tmp_path.iterdir()) == []


def test_a_single_name_is_no_list_of_methods(tmp_path: Path) -> None:
    """Its letters are not taken for methods."""
    with pytest.raises(ConfigError, match=r"the methods are 'copy', expected a list of names; write \['copy'\]"):
        RunData.load(Run(tmp_path), Config(), "copy")
