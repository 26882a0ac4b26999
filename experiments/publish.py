"""Copy a finished run's metrics into experiments/results/, with what it takes to repeat them.

    python experiments/publish.py runs/hotel --command "grasper pipeline -c experiments/hotel.yaml --data … --split dev-b"

The file holds `metrics.json` and, under `provenance`, the command, commit, seed, versions, hardware and the seconds of each stage.
"""

from __future__ import annotations

import argparse
import os
import platform
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from grasper.config import load_config
from grasper.methods import get_method
from grasper.runs import Run, read_json, write_json

RESULTS_DIR = Path(__file__).parent / "results"


def hardware() -> dict[str, Any]:
    """The machine in words that identify no machine: processor family, cores, accelerator."""
    import torch

    model = next((line.split(":")[1].strip() for line in _cpu_lines() if line.startswith("model name")), platform.processor())
    return {"cpu": model, "cores": os.cpu_count(), "gpu": torch.cuda.get_device_name(0) if torch.cuda.is_available() else None}


def _cpu_lines() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def provenance(run: Run, command: str, methods: Iterable[str]) -> dict[str, Any]:
    """How the numbers came about: every stage folder that the methods rest on, with its commit, seconds and counts.

    Only the run's own stage folders count, not those of another run that was copied into its folder.
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
        "hardware": hardware(),
        "versions": manifests[0]["versions"],
        "stages": {m["stage"]: {"commit": m["commit"], "seconds": m["seconds"], "counts": m["counts"]} for m in manifests},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a finished run")
    parser.add_argument("--command", required=True, help="the command line that made it")
    parser.add_argument("--name", help="name of the results file; default: the run's name")
    arguments = parser.parse_args()
    run = Run(arguments.run)
    run.require(run.folder("evaluate"))
    metrics = read_json(run.folder("evaluate") / "metrics.json")
    path = RESULTS_DIR / f"{arguments.name or arguments.run.name}.json"
    facts = metrics.pop("provenance", {}) | provenance(run, arguments.command, metrics["methods"])
    write_json(path, {"provenance": facts, **metrics})
    print(path)


if __name__ == "__main__":
    main()
