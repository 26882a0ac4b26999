"""Tunes SmolLM2 on public reviews, or goes on where the folder's last checkpoint stands.

    python experiments/smollm2/train.py --data ../shared/data
    python experiments/smollm2/train.py --data ../shared/data --rates 5e-4 1e-3 2e-3 --step-tokens 12288 --batch-tokens 16384 --drawers 12
                                                  # on a GPU: short runs choose the learning rate; with --minutes, their speed the tokens
    python experiments/smollm2/train.py --data ../shared/data --base smollm2-reviews --seed 1    # where the shipped adapter stands, no folder at hand

It may be stopped at any time (SIGTERM: after the step under way, with a checkpoint) and paused (SIGSTOP, SIGCONT).
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # beside other programs, threads that wait must not spin
os.environ.setdefault("GOMP_SPINCOUNT", "4000")  # yet a short wait is no reason to sleep
sys.path.insert(0, str(Path(__file__).parents[2]))

from experiments.nano.command import run
from experiments.publish import hardware
from experiments.smollm2.data import load_held_out, load_sets
from grasper.config import ModelConfig, TuneConfig
from grasper.files import cache_dir, read_json, read_jsonl, write_json
from grasper.models.local import LocalModel
from grasper.tune.ahead import Drawers, Recipe
from grasper.tune.reviews import fingerprint_sets
from grasper.tune.stage import MIXTURE, tune

RATES_FILE, COMMANDS_FILE = "rates.json", "commands.json"


def last_losses(folder: Path) -> dict[str, Any]:
    """The held-out losses by task at the end of a training."""
    found: dict[str, Any] = [entry for entry in read_jsonl(folder / "metrics.jsonl") if "held_out" in entry][-1]["held_out"]
    return found


def mean_loss(losses: dict[str, Any]) -> float:
    """Nats per token, the tasks weighing alike."""
    return float(sum(task["loss"] for task in losses.values()) / len(losses))


def note(path: Path, command: str) -> None:
    """Add to what has been done in a folder: the command, and the machine that it ran on."""
    known = read_json(path)["commands"] if path.exists() else []
    write_json(path, {"commands": [*known, {"command": command, "hardware": hardware()}]})


def choose_rate(
    carry_out: Callable[[TuneConfig, Path], Any], config: TuneConfig, rates: list[float], tokens: int, folder: Path, settings: dict[str, Any]
) -> tuple[float, float]:
    """Train once with each rate for so many tokens, into `folder/rate-…`; the one with the lowest mean held-out loss, all in `rates.json`.

    Gives the rate, and the tokens per second of the last run, held-out losses and the loading of the model included.
    """
    path = folder / RATES_FILE
    known = read_json(path) if path.exists() else {}
    if known.get("settings") == settings and known.get("tokens") == tokens and set(known["held_out"]) == {f"{rate:g}" for rate in rates}:
        return known["chosen"], known["speed"]  # finished runs would be measured as if they took no time
    found, began = {}, time.monotonic()
    for rate in rates:
        short = config.model_copy(update={"learning_rate": rate, "tokens": tokens, "evaluation_tokens": tokens})
        began = time.monotonic()
        if carry_out(short, folder / f"rate-{rate:g}")["tokens"] < tokens:
            raise SystemExit(f"stopped at learning rate {rate:g}; the same command goes on there")
        found[rate] = last_losses(folder / f"rate-{rate:g}")
        print(f"learning rate {rate:g}: mean held-out loss {mean_loss(found[rate]):.4f}", flush=True)
    chosen = min(found, key=lambda rate: mean_loss(found[rate]))
    speed = tokens / (time.monotonic() - began)
    losses = {f"{rate:g}": losses for rate, losses in found.items()}
    write_json(path, {"settings": settings, "tokens": tokens, "chosen": chosen, "speed": speed, "held_out": losses})
    return chosen, speed


def main() -> None:
    """Trains until the tokens are spent or a signal comes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the prepared review tables")
    parser.add_argument("--base", default="smollm2", help="the model to tune: a name, a folder, or a Hub id")
    parser.add_argument("--folder", type=Path, default=cache_dir() / "tuning" / "smollm2-reviews", help="checkpoints and log")
    parser.add_argument("--tokens", type=int, default=8_000_000, help="tokens until the learning rate is zero")
    parser.add_argument("--step-tokens", type=int, default=TuneConfig().step_tokens, help="of one optimizer step")
    parser.add_argument("--batch-tokens", type=int, default=TuneConfig().batch_tokens, help="in memory at once, padding included")
    parser.add_argument("--evaluation-tokens", type=int, default=100_000, help="between two measurements of the held-out losses")
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--rates", type=float, nargs="+", help="learning rates that short runs choose from")
    parser.add_argument("--rate-tokens", type=int, default=2_000_000, help="of each short run")
    parser.add_argument("--minutes", type=float, help="with --rates: train on as many tokens as fit, by the short runs' speed; --tokens at most")
    parser.add_argument("--drawers", type=int, default=0, help="processes that draw examples ahead; a GPU needs about ten")
    parser.add_argument("--seed", type=int, default=0, help="of the examples and of the adapter's first weights")
    options = parser.parse_args()
    counts: dict[str, dict[str, int]] = {}
    sets = load_sets(options.data, counts)
    held_out = load_held_out(options.data, sets)
    config = TuneConfig(
        tokens=options.tokens,
        learning_rate=options.learning_rate,
        step_tokens=options.step_tokens,
        batch_tokens=options.batch_tokens,
        evaluation_tokens=options.evaluation_tokens,
    )
    model = ModelConfig(name=options.base)

    def carry_out(config: TuneConfig, folder: Path, drawers: Drawers | None) -> dict[str, Any]:
        return tune(config, model, sets, held_out, folder, seed=options.seed, drawers=drawers)

    def carry_out_all(drawers: Drawers | None) -> dict[str, Any]:
        rate, tokens = options.learning_rate, options.tokens
        if options.rates:
            sizes = {"step_tokens": config.step_tokens, "batch_tokens": config.batch_tokens}
            settings = {"base": options.base, "seed": options.seed, "data": fingerprint_sets(sets), **sizes}
            tried = partial(carry_out, drawers=drawers)
            rate, speed = choose_rate(tried, config, options.rates, options.rate_tokens, options.folder, settings)
            if options.minutes is not None:
                tokens = min(tokens, max(1, round(speed * options.minutes * 60 / 1e6)) * 1_000_000)
            print(f"{speed:,.0f} tokens per second; learning rate {rate:g}, {tokens:,} tokens", flush=True)
        return carry_out(config.model_copy(update={"learning_rate": rate, "tokens": tokens}), options.folder, drawers)

    if options.drawers:
        recipe = Recipe.of(LocalModel(options.base, device="cpu"), options.base, sets, options.seed, MIXTURE, config.max_length)
        with Drawers(recipe, options.drawers) as drawers:
            result = carry_out_all(drawers)
    else:
        result = carry_out_all(None)
    write_json(options.folder / "data.json", counts)
    note(options.folder / COMMANDS_FILE, shlex.join(["python", "experiments/smollm2/train.py", *sys.argv[1:]]))
    print(f"{result['tokens']:,} tokens, {result['steps']:,} steps, {result['seconds']:,.0f} s")


if __name__ == "__main__":
    run(main)
