"""Variants of one method's settings on dev-a, beside the settings as they stand → one JSON file with paired differences.

    python experiments/variants.py -c experiments/hotel.yaml --data ../shared/data/hotel --method grasper-no-synthetic --limit 120 \\
        --variant generate.path_temperature=1.0 --variant "generate.path_temperature=0.7 generate.consensus_samples=5" --out hotel.json

Every variant is a run of its own in `--work`; stages that its settings do not touch are taken over from the first run. Settings are chosen on
dev-a, so no other split is offered. Interrupted, the same command goes on.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import Any

import pandas as pd

from experiments.publish import made_by
from grasper.config import load_config
from grasper.evaluate.compare import Bootstrap, summarize
from grasper.files import write_json
from grasper.pipeline import Pipeline
from grasper.runs import Run

ROOT = Path(__file__).parents[1]
SPLIT = "dev-a"
SEED = 0
"""Of the draws of the intervals; that of the runs is a setting."""
METRICS = ("rouge1", "rougeL", "meteor", "meteor_no_wordnet", "words", "parsed", "absolute_error")
AS_CONFIGURED = "as configured"


def carry_out(options: argparse.Namespace, settings: str, folder: Path) -> pd.DataFrame:
    """Run the pipeline with the settings and give one row per target and task, sorted."""
    overrides = [f"prepare.data={options.data}", *options.set, *settings.split()]
    config = load_config(options.config, overrides, methods=(options.method,), limit=options.limit, split=SPLIT)
    Pipeline(config, Run(folder)).carry_out(overwrite=True, say=lambda line: print(f"[{settings or AS_CONFIGURED}] {line}", flush=True))
    rows = pd.read_parquet(folder / "evaluate" / "per_example.parquet")
    return rows.sort_values(["task", "example_id"]).reset_index(drop=True)


def compare(rows: pd.DataFrame, base: pd.DataFrame) -> dict[str, Any]:
    """Means of a variant by task, and their paired differences to the base."""
    columns = {}
    for task in rows["task"].unique():
        is_task = rows["task"] == task
        for metric in METRICS:
            if metric in rows:
                columns[task, "variant", metric] = rows[metric].where(is_task)
                columns[task, "minus_base", metric] = (rows[metric] - base[metric]).where(is_task)
    return summarize(Bootstrap(rows["item_id"].tolist(), seed=SEED).estimate(pd.DataFrame(columns)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-c", "--config", type=Path, action="append", required=True, help="several are laid over one another")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--method", default="grasper")
    parser.add_argument("--limit", type=int, default=120, help="targets of dev-a")
    parser.add_argument("--set", action="append", default=[], metavar="section.key=value", help="for every run")
    parser.add_argument("--variant", action="append", required=True, metavar="'section.key=value …'")
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "variants")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    name = f"{options.config[0].stem}-{options.method}"
    base_folder = options.work / f"{name}-base"
    base = carry_out(options, "", base_folder)
    found = {AS_CONFIGURED: compare(base, base)}
    for number, settings in enumerate(options.variant):
        folder = options.work / f"{name}-{number}"
        if not folder.exists():
            partial = folder.with_suffix(".partial")
            shutil.rmtree(partial, ignore_errors=True)
            shutil.copytree(base_folder, partial)
            partial.replace(folder)
        found[settings] = compare(carry_out(options, settings, folder), base)
    facts = made_by(SEED) | {"split": SPLIT, "limit": options.limit, "method": options.method}
    write_json(options.out, {"provenance": facts, "variants": found})


if __name__ == "__main__":
    main()
