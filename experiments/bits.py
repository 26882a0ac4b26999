"""Bits per byte of the real answers under several models → one JSON file: alone and behind each method's prompts, and what the right evidence saves.

    python experiments/bits.py -c experiments/hotel.yaml --data ../shared/data/hotel --models nano smollm2 smollm2-reviews \\
        --methods none lamp pgraphrag --limit 100 --out experiments/results/bits/hotel.json

Nothing is written but synthetic reviews, where a method shows any; only probabilities are measured, so a model and method take a minute. Every model
has a run of its own in `--work`; interrupted, the same command goes on. Models that the file holds already and the command does not name stay in it.
Ablations behind the same weights, with GraSPer as what they are compared with:

    python experiments/bits.py -c experiments/hotel.yaml -c experiments/models/smollm2-reviews.yaml --data ../shared/data/hotel \\
        --models smollm2-reviews --methods grasper grasper-no-synthetic --set align.num_pairs=0 --set evaluate.baseline=grasper --no-swap \\
        --work runs/parts --out experiments/results/smollm2/parts-hotel.json
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from experiments.publish import made_by
from grasper.config import load_config
from grasper.evaluate.bits import summarize_bits
from grasper.evaluate.swap import SWAPS
from grasper.files import read_json, write_json
from grasper.measure.bits import measure_plan
from grasper.pipeline import Pipeline
from grasper.runs import Run, derive_seed

ROOT = Path(__file__).parents[1]
BEFORE = ("prepare", "predict", "align", "synthesize")


def say(line: str) -> None:
    print(line, flush=True)


def measure(options: argparse.Namespace, model: str) -> dict[str, Any]:
    """The stages that the prompts rest on, then the bits."""
    settings = [f"prepare.data={options.data}", *options.set, f"model.name={model}"]
    config = load_config(options.config, settings, methods=options.methods, limit=options.limit, split=options.split)
    run = Run(options.work / f"{options.config[0].stem}-{Path(model).name}")
    stages = {step.stage for step in Pipeline(config, run).steps}
    for stage in BEFORE:
        if stage in stages:
            Pipeline(config, run, only=stage).carry_out(say=say)
    plan = Pipeline(config, run, only="generate")
    measured = measure_plan(plan, num_paths=options.paths, swaps=SWAPS if options.swap else SWAPS[:1], say=say)
    found = summarize_bits(plan.work.targets, config.tasks, measured, config.evaluate, seed=derive_seed(config.seed, "evaluate"))
    return found | {"model": plan.work.workshop.system(plan.methods[0]).desk.model.name, "seed": config.seed, "n": len(plan.work.targets)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-c", "--config", type=Path, action="append", required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--models", nargs="+", required=True)
    parser.add_argument("--methods", nargs="+", default=["none", "lamp", "pgraphrag"])
    parser.add_argument("--split", default="dev-b")
    parser.add_argument("--limit", type=int, default=100)
    parser.add_argument("--paths", type=int, default=4)
    parser.add_argument("--swap", action=argparse.BooleanOptionalAction, default=True, help="also with the wrong evidence")
    parser.add_argument("--set", action="append", default=[], metavar="section.key=value")
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "bits")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    found: dict[str, Any] = read_json(options.out)["models"] if options.out.exists() else {}
    for model in options.models:
        measured = measure(options, model)
        found[model] = measured | {"provenance": made_by(measured["seed"]) | {"split": options.split}}
        write_json(options.out, {"models": found})


if __name__ == "__main__":
    main()
