"""Logs and results of a training → its summary (training.json) and the model card, so that no number in the card is typed by hand."""

from __future__ import annotations

import argparse
import json
import os
import platform
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig

from experiments.nano.command import run
from experiments.nano.emphasis import EMPHASIS
from experiments.nano.evaluate import RESULTS_DIR, commit
from experiments.nano.export import PACKAGE_DIR
from experiments.nano.instruct import CORPUS_WEIGHT, PROMPT_WEIGHT
from grasper.errors import MissingFileError
from grasper.files import write_json

TEMPLATE = Path(__file__).with_name("card_template.md")


def summarize_phase(log_path: Path) -> dict[str, Any]:
    """Gives tokens, steps, seconds and losses of one phase from its log.

    Raises:
        MissingFileError: There is no log.
    """
    if not log_path.exists():
        raise MissingFileError(f"{log_path}: expected the log of a training phase; train first")
    entries = [json.loads(line) for line in log_path.read_text(encoding="utf-8").splitlines()]
    losses = [entry for entry in entries if "loss" in entry]
    validations = [entry for entry in entries if "validation_loss" in entry]
    last = entries[-1]
    return {
        "tokens": last["tokens"],
        "steps": last["step"],
        "seconds": last["seconds"],
        "tokens_per_second": round(last["tokens"] / max(1, last["seconds"])),
        "loss": losses[-1]["loss"] if losses else None,
        "validation_loss": validations[-1]["validation_loss"] if validations else None,
        "validation_losses": [[entry["tokens"], entry["validation_loss"]] for entry in validations],
    }


def summarize(work_dir: Path, seed: int, note: str = "") -> dict[str, Any]:
    """Gives the summary of both phases with the machine they ran on, if it is this one."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{os.cpu_count()} {platform.machine()} processor cores"
    counts = json.loads((work_dir / "instruct-counts.json").read_text(encoding="utf-8"))
    return {
        "command": "python experiments/nano/train.py --corpus ../shared/corpus --data ../shared/data",
        "commit": commit(),
        "seed": seed,
        "hardware": f"{device}, torch {torch.__version__}",
        "phases": {phase: summarize_phase(work_dir / f"{phase}.jsonl") for phase in ("pretrain", "instruct")},
        "instruct_examples": counts["examples"],
        "instruct_reviews": counts["sets"],
        "note": note,
    }


def write_card(summary: dict[str, Any], model_dir: Path, results_dir: Path) -> str:
    """Gives the text of the model card; what has not been measured yet says so."""
    config = AutoConfig.from_pretrained(model_dir)
    weights = model_dir / "model.safetensors"
    hidden, layers = config.hidden_size, config.num_hidden_layers
    parameters = config.vocab_size * hidden + layers * (4 * hidden**2 + 3 * hidden * config.intermediate_size)
    return TEMPLATE.read_text(encoding="utf-8").format(
        parameters=f"{parameters / 1e6:.1f} million",
        layers=layers,
        hidden_size=hidden,
        heads=config.num_attention_heads,
        intermediate_size=config.intermediate_size,
        vocab_size=f"{config.vocab_size:,}",
        context=f"{config.max_position_embeddings:,}",
        megabytes=f"{weights.stat().st_size / 1e6:.1f}",
        prompt_version=config.prompt_version,
        hardware=summary["hardware"],
        phases="\n".join(_phase_row(name, phase) for name, phase in summary["phases"].items()),
        prompt_weight=PROMPT_WEIGHT,
        corpus_weight=CORPUS_WEIGHT,
        emphasis=" and ".join(f"{factor:g} times in `{label}:` lines" for label, factor in EMPHASIS.items()),
        note=summary["note"],
        seed=summary["seed"],
        examples=", ".join(f"{count:,} {task}" for task, count in sorted(summary["instruct_examples"].items())),
        bits=_bits_table(results_dir / "bits_per_byte.json"),
        parsed=_parsed(results_dir / "parse_rate.json"),
        seen=f"{sum(phase['tokens'] for phase in summary['phases'].values()) / 1e6:.1f}",
        corpus_note=f"{summary['phases']['pretrain']['tokens'] / 1e6:.1f} million tokens",
    )


def _phase_row(name: str, phase: dict[str, Any]) -> str:
    counts = " | ".join(f"{phase[key]:,}" for key in ("tokens", "steps", "seconds", "tokens_per_second"))
    return f"| {name} | {counts} | {phase['loss']} | {phase['validation_loss']} |"


def _bits_table(path: Path) -> str:
    if not path.exists():
        return "Not measured yet."
    sets = json.loads(path.read_text(encoding="utf-8"))["sets"]
    coders = list(next(iter(sets.values())))
    lines = [f"| set | texts | {' | '.join(coders)} |", f"|---|--:|{'--:|' * len(coders)}"]
    for name, group in sets.items():
        cells = [f"{group[coder]['value']:.3f} ({group[coder]['low']:.3f}–{group[coder]['high']:.3f})" for coder in coders]
        lines.append(f"| {name} | {group[coders[0]]['n']:,} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _parsed(path: Path) -> str:
    if not path.exists():
        return "not measured yet"
    share = json.loads(path.read_text(encoding="utf-8"))["share_parsed"]["all"]
    return f"{share['value']:.1%} of {share['n']:,} (all tasks, with and without a reasoning path)"


def main() -> None:
    """Writes training.json and the card."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, help="folder with the logs; without it the card is written from training.json as it is")
    parser.add_argument("--model", type=Path, default=PACKAGE_DIR, help="model folder that gets README.md")
    parser.add_argument("--results", type=Path, default=RESULTS_DIR)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--note", default="", help="what a reader must know of this training beside the recipe")
    options = parser.parse_args()
    summary_path = options.results / "training.json"
    if options.work:
        write_json(summary_path, summarize(options.work, options.seed, options.note))
    summary = json.loads(summary_path.read_text(encoding="utf-8"))
    (options.model / "README.md").write_text(write_card(summary, options.model, options.results), encoding="utf-8")
    print(f"{summary_path} and {options.model / 'README.md'} written")


if __name__ == "__main__":
    run(main)
