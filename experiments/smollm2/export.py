"""The last checkpoint of the training → the adapter in the package, its model card, and the curve; no number in the card is typed by hand."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from experiments.nano.command import run
from experiments.smollm2.train import COMMANDS_FILE, RATES_FILE
from grasper.errors import MissingFileError
from grasper.files import cache_dir, read_json, read_jsonl, write_json, write_text
from grasper.models.catalogue import KNOWN
from grasper.runs import commit
from grasper.tune.checkpoint import latest, read_progress
from grasper.tune.export import export_adapter

TEMPLATE, LICENCE = Path(__file__).with_name("card_template.md"), Path(__file__).with_name("LICENSE-WEIGHTS")
RESULTS = Path(__file__).parents[1] / "results" / "smollm2" / "training.json"
PLANNED_TOKENS = 8_000_000


def summarize(folder: Path, earlier: Mapping[str, Any] | None = None, untuned: Path | None = None) -> dict[str, Any]:
    """Tokens, steps, seconds, the held-out losses by task before and last, and the curve of the training loss.

    A training that went on from the shipped adapter is one more leg behind those of its record; all numbers then count from the first one's start.

    Args:
        folder: Of the training.
        earlier: The record of the shipped adapter.
        untuned: A training of the base with the same seed, that is, held-out examples: what it measured first is what all else is compared with.

    Raises:
        MissingFileError: There is no checkpoint, or no measurement in the log.
    """
    checkpoint = latest(folder)
    entries = read_jsonl(folder / "metrics.jsonl")
    measured = [entry for entry in entries if "held_out" in entry]
    if checkpoint is None or not measured:
        raise MissingFileError(f"{folder} holds no checkpoint with held-out losses yet; run experiments/smollm2/train.py first")
    progress, settings = read_progress(checkpoint), read_json(folder / "settings.json")
    leg = {
        **read_json(folder / COMMANDS_FILE),
        **({"rates": read_json(folder / RATES_FILE)} if (folder / RATES_FILE).exists() else {}),
        "commit": commit(),
        "settings": settings,
        "tokens": progress.tokens,
        "examples": progress.examples,
        "steps": progress.steps,
        "seconds": round(progress.seconds),
    }
    former = [one for one in (earlier or {}).get("legs", []) if one["settings"] != settings] if "start" in settings else []
    legs = [*former, leg]
    start = sum(one["tokens"] for one in former)
    held_out = [{**entry["held_out"], "tokens": start + entry["tokens"]} for entry in measured if entry["tokens"] <= progress.tokens]
    if untuned is not None:
        held_out.insert(0, next({**entry["held_out"], "tokens": 0} for entry in read_jsonl(untuned / "metrics.jsonl") if "held_out" in entry))
    return {
        "legs": legs,
        **{name: sum(one[name] for one in legs) for name in ("tokens", "examples", "steps", "seconds")},
        "planned_tokens": PLANNED_TOKENS,
        "sets": read_json(folder / "data.json"),
        "held_out": held_out,
        "training_loss": [one for one in (earlier or {}).get("training_loss", []) if one[0] <= start]
        + [[start + entry["tokens"], entry["loss"]] for entry in entries if "loss" in entry and entry["tokens"] <= progress.tokens],
    }


def card(facts: dict[str, Any]) -> str:
    """The model card."""
    first, last = facts["held_out"][0], facts["held_out"][-1]
    tasks = [task for task in last if task != "tokens"]
    losses = "\n".join(f"| {task} | {first[task]['loss']:.2f} | {last[task]['loss']:.2f} | {last[task]['tokens']:.0f} |" for task in tasks)
    state = (
        "" if facts["tokens"] >= facts["planned_tokens"] else f"**Intermediate**: {facts['tokens']:,} of {facts['planned_tokens']:,} planned tokens."
    )
    sets = "\n".join(f"| {name} | {count['kept']:,} | {count['rows']:,} |" for name, count in facts["sets"].items())
    adapter = facts["legs"][0]["settings"]["adapter"]
    return TEMPLATE.read_text(encoding="utf-8").format(
        **{name: f"{facts[name]:,}" for name in ("tokens", "examples", "steps", "seconds")},
        state=state,
        losses=losses,
        sets=sets,
        measured=f"{last['tokens']:,}",
        rank=adapter["rank"],
        alpha=adapter["alpha"],
        seed=", then ".join(str(leg["settings"]["seed"]) for leg in facts["legs"]),
        hardware=facts["legs"][-1]["commands"][-1]["hardware"]["gpu"] or "a processor",
    )


def main() -> None:
    """Writes adapter, card, licence and curve."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--folder", type=Path, default=cache_dir() / "tuning" / "smollm2-reviews", help="of the training")
    parser.add_argument("--untuned", type=Path, help="of a training of the base with the same seed: train.py --base smollm2 --tokens 1 --folder …")
    options = parser.parse_args()
    facts, out = summarize(options.folder, read_json(RESULTS) if RESULTS.exists() else None, options.untuned), KNOWN["smollm2-reviews"].folder
    export_adapter(options.folder, out, base="smollm2")
    write_text(out / "README.md", card(facts))
    shutil.copyfile(LICENCE, out / LICENCE.name)
    write_json(RESULTS, facts)
    print(f"{out}: {facts['tokens']:,} tokens, {sum(path.stat().st_size for path in out.iterdir()) / 1e6:.1f} MB")


if __name__ == "__main__":
    run(main)
