"""The page on one's own parts: its code is taken from the page and run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pages import blocks, commands, run
from processes import run_grasper

PAGE = "extending.md"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder where all commands of the page were run."""
    folder = tmp_path_factory.mktemp("extending")
    (folder / "ours.py").write_text("\n\n".join(blocks(PAGE, "python")), encoding="utf-8")
    (folder / "reviews.txt").write_text("".join(f"user{n % 7} > item{n % 3}: text number {n}: fine\n" for n in range(30)), encoding="utf-8")
    assert len(commands(PAGE)) == 2
    for command in commands(PAGE):
        run(command, folder)
    return folder


def test_every_part_took_part(folder: Path) -> None:
    """The metric stands in the results, texts are shouted, evidence is the longest, items come from the shelf, gold paths from the reward."""
    metrics = json.loads((folder / "runs/ours/evaluate/metrics.json").read_text())
    assert 0 <= metrics["methods"]["ours"]["long"]["exclaims"]["value"] <= 1
    outputs = [json.loads(line) for line in (folder / "runs/ours/generate/ours/outputs.jsonl").read_text().splitlines()]
    texts = [output["text"] for output in outputs if output.get("task") == "long"]
    assert len(texts) == 2
    assert all(text == text.upper() for text in texts)
    assert (folder / "runs/ours/align/ours/adapter/adapter_model.safetensors").exists()
    assert not (folder / "runs/ours/align/ours/traces.jsonl").exists()
    import pandas as pd

    reviews = pd.read_parquet(folder / "runs/ours/prepare/reviews.parquet").set_index("review_id")
    shown = next(output["evidence"] for output in outputs if output.get("task") == "long")
    lengths = [len(text) for text in reviews.loc[shown, "text"]]
    assert lengths[-4:] == sorted(lengths[-4:], reverse=True)
    lines = pd.read_parquet(folder / "runs/lines/prepare/reviews.parquet")
    assert (len(lines), set(lines["split"])) == (30, {"train"})
    assert lines["text"].iloc[4] == "text number 4: fine"


def test_an_unknown_part_names_the_known(folder: Path) -> None:
    result = run_grasper("--plugin", "ours.py", "pipeline", "--run", "x", "--set", "align.reward=breif", "--dry-run", cwd=folder)
    assert result.returncode == 2
    assert "brief" in result.stderr
    assert "Traceback" not in result.stderr
