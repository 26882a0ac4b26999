"""What the plans of sampled paths say about length, beside what was written behind them and what people really wrote → one JSON file.

    python experiments/plans.py --run now=runs/hotel --run before=runs/hotel-before --method grasper --out experiments/results/smollm2/plans.json

Counts alone leave this script, nobody's text.
"""

from __future__ import annotations

import argparse
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from experiments.publish import made_by
from grasper.files import read_json, write_json
from grasper.records import Tables
from grasper.runs import Run
from grasper.written import load_outputs

PLANNED = re.compile(r"^Plan:.*?\babout (\d+) words", re.MULTILINE)


def describe(run: Run, method: str) -> dict[str, Any]:
    """Planned, written and real words of a method's long texts, over those whose plan names a number."""
    examples = {example.example_id: example for example in Tables.load(run.folder("prepare")).select("dev")}
    texts = [output for output in load_outputs(run.folder("generate", method) / "outputs.jsonl") if output.task == "long"]
    rows = [
        (int(found[1]), len((output.text or "").split()), len(examples[output.example_id].target.text.split()))
        for output in texts
        if (found := PLANNED.search(output.path or ""))
    ]
    planned, written, real = np.array(rows, dtype=float).T
    return {
        "commit": read_json(run.folder("generate", method) / "manifest.json")["commit"],
        "n": len(texts),
        "with_a_number": len(rows),
        "planned": dict(Counter(f"{words:g}" for words in planned).most_common()),
        "mean_words": {"planned": round(float(planned.mean()), 1), "written": round(float(written.mean()), 1), "real": round(float(real.mean()), 1)},
        "median_real": float(np.median(real)),
        "correlation": {"planned, real": _correlation(planned, real), "planned, written": _correlation(planned, written)},
    }


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    return round(float(np.corrcoef(one, other)[0, 1]), 3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", action="append", required=True, metavar="NAME=FOLDER")
    parser.add_argument("--method", default="grasper")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    found = {name: describe(Run(Path(folder)), options.method) for name, _, folder in (given.partition("=") for given in options.run)}
    write_json(options.out, {"provenance": made_by(None), "runs": found})


if __name__ == "__main__":
    main()
