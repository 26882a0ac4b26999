"""Kill the pipeline in every stage and start it again: the end result equals that of an undisturbed run."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest
from processes import BRIEF, options, run_grasper, run_grasper_afresh, start_grasper

ROOT = Path(__file__).parents[2]
PIPELINE = ["pipeline", "-c", str(ROOT / "experiments" / "harbour.yaml"), "--methods", "copy,grasper", "--limit", "2", *options(BRIEF)]
STAGES = ("prepare", "predict", "align", "synthesize", "generate", "evaluate")


def kill_in(stage: str, folder: Path, delay_seconds: float) -> None:
    """Start the pipeline and kill it without warning, a moment after the stage has begun and before it is over."""
    process = start_grasper(*PIPELINE, cwd=folder)
    deadline = time.monotonic() + 600
    while process.is_alive() and time.monotonic() < deadline:
        if list((folder / "runs").glob(f"*/{stage}/**/started.json")):
            time.sleep(delay_seconds)
            break
        time.sleep(0.02)
    process.kill()
    process.join(30)
    assert list((folder / "runs").glob(f"*/{stage}/**/started.json")), f"{stage} was over before the kill"
    assert process.exitcode == -signal.SIGKILL, f"it was finished before it could be killed in {stage}"


def results(folder: Path) -> dict[str, object]:
    """What the run wrote: texts, synthetic reviews, gold paths, candidates, scores; without times and process facts."""
    import pandas as pd

    run = next((folder / "runs").iterdir())
    files = sorted(path for path in run.rglob("*.jsonl") if path.name != "metrics.jsonl")
    found: dict[str, object] = {path.relative_to(run).as_posix(): path.read_text() for path in files}
    found["candidates"] = pd.read_parquet(run / "predict/candidates.parquet").to_csv()
    found["methods"] = json.loads((run / "evaluate/metrics.json").read_text())["methods"]
    return found


@pytest.mark.slow
def test_a_killed_pipeline_ends_like_an_undisturbed_one(tmp_path: Path) -> None:
    """SIGKILL once in every stage, at different moments; the final run resumes and every text is the same."""
    undisturbed, disturbed = tmp_path / "undisturbed", tmp_path / "disturbed"
    for folder in (undisturbed, disturbed):
        folder.mkdir()
    whole = run_grasper_afresh(*PIPELINE, cwd=undisturbed)
    assert whole.returncode == 0, whole.stderr[-2000:]
    for number, stage in enumerate(STAGES):
        kill_in(stage, disturbed, delay_seconds=0.03 * (number % 3))  # the shortest stage takes a few tenths of a second
    finished = run_grasper(*PIPELINE, cwd=disturbed)
    assert finished.returncode == 0, finished.stderr[-2000:]
    assert results(disturbed) == results(undisturbed)
