"""Tunes SmolLM2 on public reviews, or goes on where the folder's last checkpoint stands.

    python experiments/smollm2/train.py --data ../shared/data
    python experiments/smollm2/train.py --data ../shared/data --base smollm2-reviews --seed 1    # where the shipped adapter stands, no folder at hand

It may be stopped at any time (SIGTERM: after the step under way, with a checkpoint) and paused (SIGSTOP, SIGCONT).
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # beside other programs, threads that wait must not spin
sys.path.insert(0, str(Path(__file__).parents[2]))

from experiments.nano.command import run
from experiments.smollm2.data import load_held_out, load_sets
from grasper.config import ModelConfig, TuneConfig
from grasper.models.fingerprints import cache_dir
from grasper.runs import write_json
from grasper.tune.stage import tune


def main() -> None:
    """Trains until the tokens are spent or a signal comes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the prepared review tables")
    parser.add_argument("--base", default="smollm2", help="the model to tune: a name, a folder, or a Hub id")
    parser.add_argument("--folder", type=Path, default=cache_dir() / "tuning" / "smollm2-reviews", help="checkpoints and log")
    parser.add_argument("--tokens", type=int, default=8_000_000, help="tokens until the learning rate is zero")
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0, help="of the examples and of the adapter's first weights")
    options = parser.parse_args()
    counts: dict[str, dict[str, int]] = {}
    sets = load_sets(options.data, counts)
    config = TuneConfig(tokens=options.tokens, learning_rate=options.learning_rate, evaluation_tokens=100_000)
    result = tune(config, ModelConfig(name=options.base), sets, load_held_out(options.data, sets), options.folder, seed=options.seed)
    write_json(options.folder / "data.json", counts)
    print(f"{result['tokens']:,} tokens, {result['steps']:,} steps, {result['seconds']:,.0f} s")


if __name__ == "__main__":
    run(main)
