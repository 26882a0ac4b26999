"""Preference rounds over PAT's notes, by setting → one JSON file: do they raise the differential reward on held-out pairs, and at what price?

    python experiments/preference.py -c experiments/harbour.yaml --pairs 64 --held-out 48 \\
        --variant learning_rate=1e-5 --variant "learning_rate=1e-4 sft_weight=0" --out harbour.json

All variants start from one warm start, learn in their first round from the same judged notes, and are measured on the same held-out pairs (reserved
training users of their own) with the same seeds. Settings are those of `align.dpo`, except how notes are sampled and judged: that is `--set` for all
variants. `reward=likelihood` is the one exception: such variants share their judged notes among themselves, and their rewards, in bits per byte, are
not to be compared with others'. Every round is reported, also those that a run would have stopped after. Interrupted, the same command goes on.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from experiments.publish import made_by
from experiments.resumed import require_same
from grasper.align.dual import DualTraining, training_of
from grasper.align.lesson import Lesson
from grasper.align.pairs import make_pairs, select_pairs
from grasper.config import Config, load_config
from grasper.desk import Desk
from grasper.evaluate.compare import Bootstrap, summarize
from grasper.files import write_json
from grasper.methods import get_method
from grasper.models import fingerprint_model, open_model
from grasper.predict import fit, load
from grasper.prepare import build_tables
from grasper.reason.reward import make_reward
from grasper.retrieve.store import ReviewStore

ROOT = Path(__file__).parents[1]


def lesson_of(config: Config, out_dir: Path) -> Lesson:
    """What `grasper align` would give the trainer of `pat`, without the files of a run."""
    tables, _ = build_tables(config.prepare, seed=config.seed)
    model = open_model(config.model)
    if not (out_dir / "predict" / "model.safetensors").exists():
        (out_dir / "predict").mkdir(parents=True, exist_ok=True)
        fit(config.predict, tables, out_dir / "predict", seed=config.seed)
    predictor = load(out_dir / "predict", tables)
    store = ReviewStore(tables, seed=config.seed, predictor=lambda: predictor)
    desk = Desk(get_method("pat"), store, config.prompts, lambda: model, seed=config.seed)
    with_reviews = config.align.review_pairs
    train = make_pairs(desk, select_pairs(tables, "align", config.align.num_pairs, seed=config.seed), with_reviews=with_reviews)
    held_out = make_pairs(desk, select_pairs(tables, "held-out", config.align.num_held_out, seed=config.seed), with_reviews=with_reviews)
    return Lesson(config.align, desk, train, held_out, make_reward(config.align.reward), out_dir, config.seed)


def share_first_round(work: Path, out_dir: Path) -> None:
    """Take over what does not depend on the variant: the warm start's rewards, and the notes judged in the first round."""
    for name in ("round-0/round.json", "round-1/judged.jsonl", "round-1/judged-tokens.json"):
        known = next(iter(sorted(work.glob(f"*/{name}"))), None)
        if known is not None and not (out_dir / name).exists():
            (out_dir / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(known, out_dir / name)


def describe(found: dict[str, Any], items: list[str], seed: int) -> list[dict[str, Any]]:
    """Each round with intervals: the differential reward by reasoner, and what it gained over round 0 on the same pairs."""
    start = found["rounds"][0]["held_out"]["differences"]
    described = []
    for record in found["rounds"]:
        held_out = record["held_out"]
        columns: dict[tuple[str, str], np.ndarray] = {}
        for reasoner, values in held_out["differences"].items():
            columns["difference", reasoner] = np.array(values)
            columns["gain_over_round_0", reasoner] = np.array(values) - np.array(start[reasoner])
        both = [np.mean([columns[kind, reasoner] for reasoner in start], axis=0) for kind in ("difference", "gain_over_round_0")]
        columns["difference", "both"], columns["gain_over_round_0", "both"] = both
        intervals = summarize(Bootstrap(items, seed=seed).estimate(pd.DataFrame(columns)))
        kept = {name: held_out[name] for name in ("pairs", "reward", "rewards", "draft_words", "copied_share", "unread") if name in held_out}
        described.append({**{name: record[name] for name in ("round", "selection", "training") if name in record}, "held_out": kept | intervals})
    return described


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-c", "--config", type=Path, required=True)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--pairs", type=int, default=64)
    parser.add_argument("--held-out", type=int, default=48)
    parser.add_argument("--set", action="append", default=[], metavar="section.key=value", help="for every variant")
    parser.add_argument("--variant", action="append", required=True, metavar="'key=value …'", help="settings of align.dpo")
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "preference")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    fixed = [*options.set, f"align.num_pairs={options.pairs}", f"align.num_held_out={options.held_out}"]
    fixed += [f"prepare.data={options.data}"] if options.data else []
    found: dict[str, Any] = {}
    work = options.work / options.config.stem
    common = load_config(options.config, fixed)
    require_same(work, {"config": common.model_dump(mode="json"), "model": fingerprint_model(common.model)})
    bases: dict[str, dict[str, Any]] = {}
    for variant in options.variant:
        config = load_config(options.config, [*fixed, "align.dpo.patience=9", *(f"align.dpo.{setting}" for setting in variant.split())])
        training: DualTraining = training_of(lesson_of(config, work))
        if not (work / "warm-start" / "adapter").exists():
            training.warm_start(work / "warm-start")
        kind = config.align.dpo.reward
        shared = work if kind == "drafts" else work / kind
        out_dir = shared / variant.replace(" ", "_")
        share_first_round(shared, out_dir)
        if kind not in bases:
            bases[kind] = training.evaluate(training.base)
        result = training.improve(work / "warm-start" / "adapter", out_dir)
        items = [case.pair.example.item_id for case in training.held_out]
        found[variant] = {"stopped": result["stopped"], "best_round": result["best_round"], "rounds": describe(result, items, config.seed)}
        found[variant]["base_model"] = {name: value for name, value in bases[kind].items() if name != "differences"}
        for record in found[variant]["rounds"]:
            print(variant, record["round"], record["held_out"]["difference"]["both"], record["held_out"]["reward"], flush=True)
        write_json(options.out, {"provenance": made_by(config.seed), "variants": found})


if __name__ == "__main__":
    main()
