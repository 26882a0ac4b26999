"""Copy a finished run's metrics into experiments/results/, with what it takes to repeat them.

    python experiments/publish.py runs/hotel --command "grasper pipeline -c experiments/hotel.yaml --data … --split dev-b"

The file holds `metrics.json` and, under `provenance`, the command, commit, seed, versions, hardware and the seconds of each stage. With
`--zero-history METHOD`, `zero_history` holds the paired differences of that method over the targets of people without other reviews.
"""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from grasper.config import load_config
from grasper.evaluate.compare import Bootstrap, compare
from grasper.evaluate.score import SIZE
from grasper.files import read_json, write_json
from grasper.methods import get_method
from grasper.metrics.choose import metric_of
from grasper.runs import Run, commit, versions

ROOT = Path(__file__).resolve().parents[1]
RESULTS_DIR = ROOT / "experiments" / "results"


def hardware() -> dict[str, Any]:
    """The machine in words that identify no machine: processor family, cores, accelerator, and the number format that models have on it."""
    import torch

    from grasper.models.weights import choose_device, choose_dtype

    model = next((line.split(":")[1].strip() for line in _cpu_lines() if line.startswith("model name")), platform.processor())
    gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else None
    number_format = str(choose_dtype(choose_device("auto"))).removeprefix("torch.")
    return {"cpu": model, "cores": os.cpu_count(), "gpu": gpu, "format": number_format}


def made_by(seed: int | Sequence[int] | None) -> dict[str, Any]:
    """What it takes to repeat the script that runs now: `command`, `commit`, `seed`, `versions`, `hardware`.

    Args:
        seed: What decides its draws; None where nothing is drawn.
    """
    script, spec = Path(sys.argv[0]).resolve(), sys.modules["__main__"].__spec__
    name = script.relative_to(ROOT).as_posix() if script.is_relative_to(ROOT) else script.name
    command = shlex.join(["python", *(["-m", spec.name] if spec else [name]), *sys.argv[1:]])
    return {
        "command": command,
        "commit": commit(),
        "seed": seed if seed is None or isinstance(seed, int) else list(seed),
        "versions": versions(),
        "hardware": hardware(),
    }


def _cpu_lines() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def provenance(run: Run, command: str, methods: Iterable[str], machine: dict[str, Any] | None = None) -> dict[str, Any]:
    """How the numbers came about: every stage folder that the methods rest on, with its commit, seconds and counts.

    Only the run's own stage folders count, not those of another run that was copied into its folder.

    Args:
        machine: Where it ran; None: here.
    """
    config = load_config(run.root / "config.yaml")
    owners = {"", *methods, *(get_method(method).aligned_as for method in methods)}
    found = {path.parent.relative_to(run.root).as_posix(): read_json(path) for path in sorted(run.root.glob("**/manifest.json"))}
    manifests = [m for folder, m in found.items() if m["stage"] == folder and m["stage"].partition("/")[2] in owners]
    return {
        "command": command,
        "seed": config.seed,
        "split": config.split,
        "limit": config.limit,
        "hardware": machine or hardware(),
        "versions": max(manifests, key=lambda manifest: str(manifest.get("finished")))["versions"],
        "stages": {m["stage"]: {"commit": m["commit"], "seconds": m["seconds"], "counts": m["counts"]} | _others(m, manifests) for m in manifests},
    }


def _others(manifest: dict[str, Any], manifests: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The versions of a stage, where not all stages have the same: it ran on another machine, or at another time."""
    return {} if all(other["versions"] == manifest["versions"] for other in manifests) else {"versions": manifest["versions"]}


def zero_history(run: Run, method: str) -> dict[str, Any]:
    """What `method` gains over every other method of the run for people without other reviews: `n_examples`, and rows as in `comparison.pairs`.

    A method none of whose answers to a task could be read has no results there, as in the report.
    """
    scores = pd.read_parquet(run.folder("evaluate") / "per_example.parquet")
    has_results = scores.groupby(["method", "task"])["parsed"].transform("max") > 0
    scores = scores[has_results & (scores["own_reviews"] == 0)]
    known = {"method", "example_id", "task", "user_id", "item_id", "own_reviews", "level", "is_repeated", SIZE}
    metrics = [name for name in scores if name not in known and metric_of(str(name)).is_compared]
    values = scores.pivot(index="example_id", columns=["method", "task"], values=metrics).reorder_levels([1, 2, 0], axis=1)
    items = scores.drop_duplicates("example_id").set_index("example_id")["item_id"].reindex(values.index)
    sizes = scores.drop_duplicates(["example_id", "task"]).pivot(index="example_id", columns="task", values=SIZE).reindex(values.index)
    pairs = compare(values, Bootstrap(items.tolist(), sizes={str(task): sizes[task].fillna(0).to_numpy() for task in sizes}), method)
    turned = [
        pair
        | {"method": method, "other": pair["method"], "difference": -pair["difference"], "low": _minus(pair["high"]), "high": _minus(pair["low"])}
        for pair in pairs
        if pair["other"] == method
    ]
    return {"n_examples": len(values), "pairs": [pair | {"wins": round(1 - pair["wins"] - pair["ties"], 6)} for pair in turned]}


def _minus(value: float | None) -> float | None:
    return None if value is None else -value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a finished run")
    parser.add_argument("--command", required=True, help="the command line that made it")
    parser.add_argument("--name", help="name of the results file; default: the run's name")
    parser.add_argument("--zero-history", metavar="METHOD", help="compare this method over people without other reviews, too")
    parser.add_argument("--gpu", help="the accelerator that the run was made with, where it was made on another machine")
    parser.add_argument("--cores", type=int, help="the cores of that machine")
    arguments = parser.parse_args()
    run = Run(arguments.run)
    run.require(run.folder("evaluate"))
    metrics = read_json(run.folder("evaluate") / "metrics.json")
    if arguments.zero_history:
        metrics["zero_history"] = zero_history(run, arguments.zero_history)
    machine = {"cpu": None, "cores": arguments.cores, "gpu": arguments.gpu} if arguments.gpu else None
    path = RESULTS_DIR / f"{arguments.name or arguments.run.name}.json"
    facts = metrics.pop("provenance", {}) | provenance(run, arguments.command, metrics["methods"], machine)
    write_json(path, {"provenance": facts, **metrics})
    print(path)


if __name__ == "__main__":
    main()
