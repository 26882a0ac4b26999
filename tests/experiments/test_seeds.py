"""Runs that differ in the seed, put together."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from experiments.seeds import read_scores, summarize_seeds
from grasper.config import Config
from grasper.errors import RunMismatchError
from grasper.files import write_json, write_text
from grasper.pipeline import dump_config
from grasper.runs import Run


def make_run(folder: Path, seed: int, *, shift: float = 0.0, targets: int = 6, temperature: float = 0.4, other: str = "lamp") -> Run:
    """A finished run of three methods; `shift` is added to every score."""
    config = Config(seed=seed, methods=("pgraphrag", "grasper", other))
    config = config.model_copy(update={"generate": config.generate.model_copy(update={"temperature": temperature})})
    write_text(folder / "config.yaml", dump_config(config))
    rows = [
        {
            "method": method,
            "example_id": f"e{number}",
            "task": task,
            "item_id": f"i{number % 3}",
            "rouge1": score + shift if task == "long" else None,
            "squared_error": 4.0 + shift if task == "rating" else None,
        }
        for method, score in (("pgraphrag", 0.2), ("grasper", 0.3), (other, 0.1))
        for task in ("long", "rating")
        for number in range(targets)
    ]
    run = Run(folder)
    run.folder("evaluate").mkdir(parents=True)
    pd.DataFrame(rows).to_parquet(run.folder("evaluate") / "per_example.parquet")
    manifest = {"stage": "evaluate", "fingerprint": "", "key": {}, "counts": {}, "seconds": 0.0}
    write_json(run.folder("evaluate") / "manifest.json", manifest)
    return run


def test_mean_over_seeds_and_each_seed(tmp_path: Path) -> None:
    """The mean is over seeds, every seed stays visible, a difference that all share has no width, and errors are rooted last."""
    runs = [make_run(tmp_path / str(seed), seed, shift=0.1 * seed, other=other) for seed, other in enumerate(("lamp", "none", "none"))]
    result = summarize_seeds(read_scores(runs), "pgraphrag")
    assert result["seeds"] == [0, 1, 2]
    assert set(result["methods"]) == {"grasper", "pgraphrag"}  # what all runs hold
    assert result["methods"]["grasper"]["long"]["rouge1"]["value"] == pytest.approx(0.4)
    assert result["methods"]["grasper"]["rating"]["rmse"]["value"] == pytest.approx(4.1**0.5, abs=1e-5)
    assert result["by_seed"]["grasper"]["long"]["rouge1"] == pytest.approx([0.3, 0.4, 0.5])
    pair = next(p for p in result["comparison"]["pairs"] if p["metric"] == "rouge1")
    assert (pair["method"], pair["other"]) == ("grasper", "pgraphrag")
    assert [pair[name] for name in ("difference", "low", "high")] == pytest.approx([0.1] * 3)


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ({"seed": 0}, "second run of seed 0"),
        ({"seed": 1, "temperature": 0.9}, "more than the seed"),
        ({"seed": 1, "targets": 5}, "hold different targets"),
    ],
)
def test_runs_that_do_not_belong_together(tmp_path: Path, second: dict[str, int], message: str) -> None:
    """The same seed twice, another setting and other targets are refused."""
    runs = [make_run(tmp_path / "a", 0), make_run(tmp_path / "b", **second)]  # type: ignore[arg-type]
    with pytest.raises(RunMismatchError, match=message):
        read_scores(runs)
