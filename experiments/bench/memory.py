"""Peak memory of the two largest things that a newcomer's machine is asked for: `make pipeline`, and a fit on 200,000 reviews.

    python -m experiments.bench.memory pipeline
    python -m experiments.bench.memory predict

The command runs in a process of its own; its resident memory, or where it has children that of all of them (shared pages counted once), is looked at
ten times a second, with the step that was being carried out. `pipeline` is that of the bundled data with nano, from nothing. `predict` is the stage
alone, on a generated table of 200,000 interactions and 7,657 items with a dozen words each; one epoch, for epochs take time and no memory.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil

from experiments.publish import made_by
from grasper.files import read_json, write_json

ROOT = Path(__file__).parents[2]
OUT = ROOT / "experiments" / "results" / "bench" / "memory.json"
NUM_REVIEWS, NUM_USERS, NUM_ITEMS = 200_000, 40_000, 7_657
VOCABULARY = 2_000
EVERY_SECONDS = 0.1


def write_table(path: Path, seed: int = 0) -> dict[str, int]:
    """A table of reviews with power laws of popularity and activity; gives its counts."""
    rng = np.random.default_rng(seed)
    activity = rng.pareto(2.2, NUM_USERS) + 1
    degree = np.maximum(1, np.round(activity * NUM_REVIEWS / activity.sum())).astype(np.int64)
    users = np.repeat(np.arange(NUM_USERS), degree)
    weight = np.arange(1, NUM_ITEMS + 1, dtype=np.float64) ** -0.8
    items = np.searchsorted(np.cumsum(weight) / weight.sum(), rng.random(len(users))).clip(max=NUM_ITEMS - 1)
    items[rng.permutation(len(items))[:NUM_ITEMS]] = np.arange(NUM_ITEMS)  # every item once at least
    vocabulary = np.array([f"word{number:04d}" for number in range(VOCABULARY)])
    own = rng.integers(0, VOCABULARY, (NUM_ITEMS, 20))
    told = own[items[:, None], rng.integers(0, own.shape[1], (len(items), 6))]
    words = vocabulary[np.concatenate([told, rng.integers(0, VOCABULARY, (len(items), 6))], axis=1)]
    rows = pd.DataFrame({"user_id": users.astype(str), "item_id": items.astype(str), "text": [" ".join(row) for row in words]})
    rows["title"], rows["rating"] = "", 5
    rows["timestamp"] = rng.uniform(0, 3000 * 86_400, len(rows)).astype(np.int64)
    rows.to_parquet(path, index=False)
    return {"reviews": len(rows), "users": NUM_USERS, "items": NUM_ITEMS}


def watch(command: list[str], run: Path) -> dict[str, Any]:
    """Carry out a command; seconds, and peak memory in MiB of all its processes, by step.

    Raises:
        SystemExit: The command failed.
    """
    started, load = time.monotonic(), os.getloadavg()[0]
    before = os.times()
    process = psutil.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    peaks: dict[str, float] = {}
    while process.poll() is None:
        step = _step(run)
        peaks[step] = max(peaks.get(step, 0.0), _resident(process))
        time.sleep(EVERY_SECONDS)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed with {process.returncode}")
    after = os.times()
    return {
        "command": " ".join(command).replace(str(run), "RUN").replace(sys.executable, "python"),
        "seconds": round(time.monotonic() - started, 1),
        "processor_seconds": round(after.children_user + after.children_system - before.children_user - before.children_system, 1),
        "peak_mib": round(max(peaks.values())),
        "peak_mib_by_step": {step: round(peak) for step, peak in peaks.items()},
        "load_before": round(load, 2),
    }


def _resident(process: psutil.Process) -> float:
    total = 0
    try:
        children = process.children(recursive=True)
        if not children:
            return float(process.memory_info().rss) / 2**20
        for each in (process, *children):
            total += each.memory_full_info().pss  # a fork's pages are its parent's, too; slow, for every page is looked at
    except psutil.NoSuchProcess:
        pass
    return total / 2**20


def _step(run: Path) -> str:
    begun = [path.parent for path in run.glob("**/started.json")]
    begun = [folder for folder in begun if not (folder / "manifest.json").exists()]
    return begun[0].relative_to(run).as_posix() if begun else "between steps"


def main() -> None:
    """Measures one case and writes it into memory.json beside the other."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("case", choices=("pipeline", "predict"))
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    facts = made_by(None)
    with tempfile.TemporaryDirectory(prefix="grasper-memory-") as folder:
        run, table = Path(folder) / "run", Path(folder) / "reviews.parquet"
        grasper = [sys.executable, "-m", "grasper"]
        if options.case == "pipeline":
            command = [*grasper, "pipeline", "-c", "experiments/harbour.yaml", "--set", "model.name=nano", "--run", str(run)]
        else:
            facts |= write_table(table)
            settings = ("prepare.source=table", f"prepare.data={table}", "prepare.split=last-out", "predict.max_epochs=1")
            chosen = [part for setting in settings for part in ("--set", setting)]
            watch([*grasper, "prepare", *chosen, "--run", str(run)], run)
            command = [*grasper, "predict", *chosen, "--run", str(run)]
        measured = watch(command, run)
        measured["command"] = measured["command"].replace(str(table), "TABLE")
    known = read_json(options.out) if options.out.exists() else {}
    write_json(options.out, known | {options.case: facts | measured})
    print(options.case, measured)


if __name__ == "__main__":
    main()
