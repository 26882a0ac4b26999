"""The README's commands, run as a user would, on four targets."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from grasper.config import Config

ROOT = Path(__file__).parents[2]
SMALL = (
    "--limit",
    "4",
    "--set",
    "align.num_pairs=6",
    "--set",
    "align.num_samples=2",
    "--set",
    "align.num_held_out=2",
    "--set",
    "predict.max_epochs=5",
)


def grasper(*arguments: str, cwd: Path, timeout: int = 900) -> str:
    """Standard output of a command that must succeed."""
    result = subprocess.run([sys.executable, "-m", "grasper.cli", *arguments], cwd=cwd, capture_output=True, text=True, timeout=timeout)
    assert result.returncode == 0, result.stderr[-2000:]
    return result.stdout


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`make pipeline`'s command on four targets; returns the folder it was run in."""
    folder = tmp_path_factory.mktemp("readme")
    output = grasper("pipeline", "-c", str(ROOT / "experiments" / "harbour.yaml"), "--run", "harbour", *SMALL, cwd=folder)
    assert "report.html" in output
    return folder


def test_pipeline_ends_in_a_table_for_every_method(finished_run: Path) -> None:
    """All methods of the configuration have texts, titles and ratings, with intervals around each number."""
    metrics = json.loads((finished_run / "runs/harbour/evaluate/metrics.json").read_text())
    assert set(Config().methods) == set(metrics["methods"])
    for method, tasks in metrics["methods"].items():
        assert set(tasks) == {"long", "title", "rating"}, method
        for entry in (tasks["long"]["rouge1"], tasks["title"]["rougeL"], tasks["rating"]["mae"]):
            assert entry["low"] <= entry["value"] <= entry["high"]
            assert entry["n"] == 4


def test_a_second_pipeline_skips_everything(finished_run: Path) -> None:
    """Nothing is computed twice: every step says that it was finished earlier, and no file changes."""
    files = {path: path.stat().st_mtime_ns for path in (finished_run / "runs/harbour").rglob("*.jsonl")}
    output = grasper("pipeline", "-c", str(ROOT / "experiments" / "harbour.yaml"), "--run", "harbour", *SMALL, cwd=finished_run)
    assert len(re.findall("finished earlier", output)) == len(re.findall(r"^[a-z/_-]+: finished earlier", output, re.MULTILINE)) >= 12
    assert files == {path: path.stat().st_mtime_ns for path in (finished_run / "runs/harbour").rglob("*.jsonl")}


def test_another_configuration_is_refused(finished_run: Path) -> None:
    """A run folder keeps its configuration: the error names what differs, and nothing is touched."""
    arguments = [sys.executable, "-m", "grasper.cli", "pipeline", "--run", "harbour", "--set", "predict.top_k=3"]
    result = subprocess.run(arguments, cwd=finished_run, capture_output=True, text=True, timeout=120)
    assert result.returncode == 2
    assert "predict.top_k: 10 → 3" in result.stderr
    assert (finished_run / "runs/harbour/predict/manifest.json").exists()


def test_show_tells_a_users_story(finished_run: Path) -> None:
    """`grasper show` prints predicted items, synthetic reviews, each method's text, and the reference."""
    outputs = (finished_run / "runs/harbour/generate/grasper/outputs.jsonl").read_text().splitlines()
    example_id = next(json.loads(line)["example_id"] for line in outputs if "example_id" in line)
    import pandas as pd

    examples = pd.read_parquet(finished_run / "runs/harbour/prepare/examples.parquet").set_index("example_id")
    story = grasper("show", examples.loc[example_id, "user_id"], "--run", "harbour", cwd=finished_run)
    for word in ("predicted", "grasper", "copy", "reference"):
        assert word in story


def test_python_api_predicts_and_personalizes(finished_run: Path) -> None:
    """`grasper.predict_items` for a known user, several users and a stranger; `grasper.personalize` with its evidence."""
    code = """
import grasper, json
run = "runs/harbour"
loaded = grasper.load_run()
users = list(dict.fromkeys(loaded.tables.reviews["user_id"]))[:3]
one, many = grasper.predict_items(users[0], k=5), grasper.predict_items(users, k=5, run=run)
item = loaded.tables.items["item_id"].iloc[0]
stranger = grasper.predict_items([{"item_id": item, "text": "a quiet room and a kind host", "rating": 5}], k=5)
seen = set(loaded.tables.reviews.query("user_id == @users[0]")["item_id"])
text = grasper.personalize([], item, title="A quiet stay", run=run)
print(json.dumps({
    "columns": list(one.columns), "rows": [len(one), len(many), len(stranger)], "seen": len(seen & set(one["item_id"])),
    "self": item in set(stranger["item_id"]), "text": bool(str(text)), "neighbours": len(text.neighbours), "synthetic": len(text.synthetic)}))
"""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    result = subprocess.run([sys.executable, "-c", code], cwd=finished_run, capture_output=True, text=True, timeout=600, env=environment)
    assert result.returncode == 0, result.stderr[-2000:]
    facts = json.loads(result.stdout.splitlines()[-1])
    assert facts["columns"] == ["user_id", "item_id", "rank", "score", "name"]
    assert facts["rows"] == [5, 15, 5]
    assert facts["seen"] == 0
    assert not facts["self"]
    assert facts["text"]
    assert facts["neighbours"] > 0


def test_saved_outputs_are_scored_again_without_a_model(finished_run: Path) -> None:
    """`grasper evaluate` needs only files: the numbers are the same when no model can be found."""
    path = finished_run / "runs/harbour/evaluate/metrics.json"
    before = json.loads(path.read_text())
    for name in ("metrics.json", "manifest.json"):
        (path.parent / name).unlink()
    grasper("evaluate", "--run", "harbour", cwd=finished_run)
    assert json.loads(path.read_text())["methods"] == before["methods"]
