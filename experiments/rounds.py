"""The preference rounds of a finished run, on its held-out pairs, with intervals → one JSON file, as `experiments/preference.py` writes it.

    python -m experiments.rounds runs/pat-hotel --method pat --name preference/hotel

What decides the pairs (seed, data, `align.num_held_out`) is read from the run; nothing is trained or written again.
"""

from __future__ import annotations

from experiments.preference import describe
from experiments.publish import RESULTS_DIR, made_by
from experiments.steps import parse_arguments
from grasper.align.dual import ROUNDS_FILE
from grasper.align.pairs import make_pairs, select_pairs
from grasper.config import Config, load_config
from grasper.config.training import DpoConfig
from grasper.desk import Desk
from grasper.files import read_json, write_json
from grasper.methods import get_method
from grasper.models import open_model
from grasper.predict import load
from grasper.records import Tables
from grasper.retrieve.store import ReviewStore
from grasper.runs import Run


def held_out_items(run: Run, config: Config, method: str) -> list[str]:
    """The item of each held-out pair that the rounds were judged on, in their order."""
    tables = Tables.load(run.folder("prepare"))
    store = ReviewStore(tables, seed=config.seed, predictor=lambda: load(run.folder("predict"), tables))
    desk = Desk(get_method(method), store, config.prompts, lambda: open_model(config.model), seed=config.seed)
    examples = select_pairs(tables, "held-out", config.align.num_held_out, seed=config.seed)
    return [pair.example.item_id for pair in make_pairs(desk, examples, with_reviews=config.align.review_pairs)]


def settings(config: DpoConfig) -> str:
    """What differs from the defaults."""
    chosen, usual = config.model_dump(), DpoConfig().model_dump()
    return " ".join(f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}" for name, value in chosen.items() if value != usual[name])


def main() -> None:
    arguments = parse_arguments(__doc__)
    run = Run(arguments.run)
    config = load_config(run.root / "config.yaml")
    found = read_json(run.folder("align", arguments.method) / ROUNDS_FILE)
    rounds = describe(found, held_out_items(run, config, arguments.method), config.seed)
    facts = made_by(config.seed) | {"method": arguments.method, "dataset": config.prepare.name}
    variant = {"stopped": found["stopped"], "best_round": found["best_round"], "rounds": rounds}
    path = RESULTS_DIR / f"{arguments.name}.json"
    write_json(path, {"provenance": facts, "variants": {settings(config.align.dpo): variant}})
    print(path)


if __name__ == "__main__":
    main()
