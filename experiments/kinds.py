"""What the scripts share that compare kinds of prompts by the bits per byte of real texts: their targets on dev-a, and the record that they leave."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from experiments.publish import made_by
from grasper.config import Config, load_config
from grasper.evaluate.compare import Bootstrap, summarize
from grasper.evaluate.score import sizes_of
from grasper.files import write_json
from grasper.methods import get_method
from grasper.pipeline import Pipeline
from grasper.reason.format import answer_of
from grasper.records import Example, Task
from grasper.runs import Run
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


def write_record(out: Path, config: Config, system: System, targets: Sequence[Example], bits: pd.DataFrame, usual: str) -> None:
    """Means with intervals of every kind (a column of `bits`), and the paired differences from the usual one."""
    kinds = {str(kind): bits[kind] for kind in bits}
    columns = {("bits", kind): values for kind, values in kinds.items()}
    columns |= {(f"minus {usual}", kind): values - bits[usual] for kind, values in kinds.items()}
    facts = made_by(config.seed) | {"split": SPLIT, "model": system.desk.model.name, "prompts": config.prompts.model_dump(mode="json")}
    write_json(out, {"provenance": facts, "n": len(targets), **means(columns, targets, config.seed)})


def means(
    columns: Mapping[tuple[str, str], pd.Series], targets: Sequence[Example], seed: int, *, counts: Collection[str] = ()
) -> dict[str, dict[str, Any]]:
    """Means with intervals, `{group: {kind: entry}}`: bits per byte are averaged by bytes, as everywhere.

    Args:
        columns: Bits per byte of the targets' texts, by group and kind.
        counts: Kinds that are no bits, for which every text counts alike.
    """
    named = {(group, kind, TASK, kind if kind in counts else "bits"): values for (group, kind), values in columns.items()}
    bootstrap = Bootstrap([example.item_id for example in targets], sizes=sizes_of(targets, [TASK]), seed=seed)
    found: dict[str, Any] = summarize(bootstrap.estimate(pd.DataFrame(named)))
    return {group: {kind: entry for kind, by_task in kinds.items() for entry in by_task[TASK].values()} for group, kinds in found.items()}
