"""What calibrated ratings would gain: mean error with and without → one JSON file, from the probabilities that finished runs have saved.

    python experiments/calibration.py --runs runs/hotel runs/stylized runs/amazon --out experiments/results/smollm2/calibration.json

Five folds by item: a multinomial logistic regression on the logarithms of the digits' probabilities is fitted on four and applied to the fifth, for
every method of a run. Generous on purpose, since it learns from targets of the very split; nothing of it is used by grasper.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold

from experiments.publish import made_by
from grasper.config import load_config
from grasper.evaluate.compare import Bootstrap, summarize
from grasper.files import write_json
from grasper.metrics.rating import RATINGS, rating_from_probabilities
from grasper.records import Tables
from grasper.runs import Run
from grasper.written import load_outputs

FOLDS, SEED = 5, 0


def calibrated(probabilities: np.ndarray, ratings: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Each row's probabilities by a model that was fitted on other groups, `[targets, 5]`."""
    features = np.log(probabilities + 1e-6)
    found = np.zeros_like(probabilities)
    for train, test in GroupKFold(FOLDS, shuffle=True, random_state=SEED).split(features, ratings, groups):
        model = LogisticRegression(C=0.1, max_iter=1000).fit(features[train], ratings[train])
        found[np.ix_(test, model.classes_.astype(int) - 1)] = model.predict_proba(features[test])
    return found


def measure(folder: Path) -> tuple[str, dict[str, Any]]:
    """The data set of a run, and errors by method: as they are, calibrated, and the paired difference."""
    run = Run(folder)
    config = load_config(run.root / "config.yaml")
    examples = {example.example_id: example for example in Tables.load(run.folder("prepare")).select(config.split, config.limit)}
    found: dict[str, Any] = {}
    for method in config.methods:
        outputs = [output for output in load_outputs(run.folder("generate", method) / "outputs.jsonl") if output.probabilities]
        rated = [(output, examples[output.example_id].target) for output in outputs if output.example_id in examples]
        rated = [(output, target) for output, target in rated if target.rating in RATINGS]
        if not rated:
            continue
        shares, truths = np.array([output.probabilities for output, _ in rated]), np.array([target.rating for _, target in rated])
        items = np.array([target.item_id for _, target in rated])
        errors = {
            name: np.abs(rating_from_probabilities(values, config.generate.rating) - truths)
            for name, values in (("as they are", shares), ("calibrated", calibrated(shares, truths, items)))
        }
        errors["difference"] = errors["calibrated"] - errors["as they are"]
        table = pd.DataFrame({(name, "rating", "mae"): values for name, values in errors.items()})
        found[method] = {name: by_task["rating"]["mae"] for name, by_task in summarize(Bootstrap(items.tolist(), seed=SEED).estimate(table)).items()}
    return config.prepare.name, found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, nargs="+", required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    write_json(options.out, {"provenance": made_by(SEED), "folds": FOLDS, "sets": dict(map(measure, options.runs))})


if __name__ == "__main__":
    main()
