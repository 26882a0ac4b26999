"""What the scripts share that compare kinds of prompts by the bits per byte of real texts: their targets on dev-a, and the record that they leave."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from experiments.publish import hardware
from grasper.config import Config, load_config
from grasper.evaluate.compare import Bootstrap, summarize
from grasper.files import write_json
from grasper.measure.bits import answer_of
from grasper.methods import get_method
from grasper.pipeline import Pipeline
from grasper.records import Example, Task
from grasper.runs import Run, commit, versions
from grasper.system import System

ROOT = Path(__file__).parents[1]
METHOD, SPLIT = "grasper-no-synthetic", "dev-a"
TASK: Task = "long"


def arguments(description: str | None, run: str) -> argparse.ArgumentParser:
    """The options that all of them take; `run` is the name of the folder that they work in."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-c", "--config", type=Path, action="append", required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=60)
    parser.add_argument("--set", action="append", default=[], metavar="section.key=value")
    parser.add_argument("--run", type=Path, default=ROOT / "runs" / run)
    parser.add_argument("--out", type=Path, required=True)
    return parser


def open_targets(options: argparse.Namespace) -> tuple[Config, System, list[Example]]:
    """The configuration, the method with the model as it is before alignment, and the targets that have a text."""
    settings = [f"prepare.data={options.data}", *options.set]
    config = load_config(options.config, settings, methods=("pgraphrag", METHOD), limit=options.limit, split=SPLIT)
    run = Run(options.run)
    Pipeline(config, run, only="prepare").carry_out(say=print)
    work = Pipeline(config, run, only="generate").work
    system = work.workshop.system(get_method(METHOD), is_aligned=False)
    return config, system, [example for example in work.targets if answer_of(example, TASK)]


def write_record(out: Path, script: str, config: Config, system: System, targets: Sequence[Example], bits: pd.DataFrame, usual: str) -> None:
    """Means with intervals of every kind (a column of `bits`), and the paired differences from the usual one."""
    columns = {("bits", TASK, name): bits[name] for name in bits} | {(f"minus {usual}", TASK, name): bits[name] - bits[usual] for name in bits}
    found: dict[str, Any] = summarize(Bootstrap([example.item_id for example in targets], seed=config.seed).estimate(pd.DataFrame(columns)))
    facts = {
        "command": shlex.join(["python", f"experiments/{script}.py", *sys.argv[1:]]),
        "commit": commit(),
        "split": SPLIT,
        "seed": config.seed,
        "model": system.desk.model.name,
        "prompts": config.prompts.model_dump(mode="json"),
        "hardware": hardware(),
        "versions": versions(),
    }
    write_json(out, {"provenance": facts, "n": len(targets), **{name: by_task[TASK] for name, by_task in found.items()}})
