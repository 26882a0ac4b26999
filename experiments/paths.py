"""What a reasoning path costs or saves, line by line: bits per byte of the real texts behind paths, whole and in parts → one JSON file.

    python experiments/paths.py -c experiments/hotel.yaml -c experiments/models/smollm2-reviews.yaml --data ../shared/data/hotel --limit 60 \\
        --out experiments/results/smollm2/paths.json

For every target and its evidence without synthetic reviews: the path as the model writes it; its first two lines counted from the evidence instead
(`generate.counted_path`); that without the plan's guess of a length, and without the plan; the analysis of the evidence in place of it all; paths and
no path mixed. All paired against no path at all. Nothing but probabilities is measured. Dev-a only, since settings are chosen by it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from experiments.kinds import TASK, arguments, open_targets, write_record
from grasper.config import Config
from grasper.generate.thinking import Thinking
from grasper.models.local import LocalModel
from grasper.prompts.render import after_path
from grasper.reason.analyse import analyse, without_length
from grasper.reason.format import answer_of, parse_path
from grasper.records import Example, request_for
from grasper.system import System

NO_PATH = "no path"
BATCH = 20


def bits_of(system: System, config: Config, examples: Sequence[Example], count: int) -> pd.DataFrame:
    """Bits per byte of the examples' texts, a column for each kind of path."""
    desk, model = system.desk, system.desk.model
    assert isinstance(model, LocalModel)
    requests = [request_for(example, TASK, desk.store.tables.item(example.item_id)) for example in examples]
    profiles = [desk.profiles.for_request(request, example) for request, example in zip(requests, examples, strict=True)]
    prompts = [desk.prompt(request, profile) for request, profile in zip(requests, profiles, strict=True)]
    seeds = [desk.seed_of("paths", request.example_id) for request in requests]
    written, counted = (
        Thinking(desk, config.generate.model_copy(update={"counted_path": is_counted})).think(requests, profiles, prompts, seeds, count)
        for is_counted in (False, True)
    )
    groups: list[dict[str, list[str]]] = []
    for request, profile, own, half in zip(requests, profiles, written, counted, strict=True):
        blind = analyse(request, profile)
        guess = parse_path(own[0].text)
        length = guess.plan.split(";")[0].removeprefix(without_length(guess.plan).split(";")[0]) if guess else ""
        plan = parse_path(half[0].text)
        feeling, *rest = (plan.plan if plan else "").split(";")
        groups.append(
            {
                NO_PATH: [""],
                "as the model writes it": [one.text for one in own],
                "style and interests counted": [replace(plan, plan=";".join([feeling + length, *rest])).render() if plan else ""],
                "… and no length in the plan": [one.text for one in half],
                "… and no plan": [half[0].text.split("\nPlan:")[0]],
                "all of it counted": [blind.render()],
                "all of it counted, no length": [replace(blind, plan=without_length(blind.plan)).render()],
            }
        )
    asked = [
        (after_path(prompt, path, TASK), answer_of(example, TASK))
        for prompt, example, group in zip(prompts, examples, groups, strict=True)
        for paths in group.values()
        for path in paths
    ]
    nats = iter(model.score_texts([prompt for prompt, _ in asked], [answer for _, answer in asked]))
    rows = []
    for example, group in zip(examples, groups, strict=True):
        scores = {name: np.array([next(nats) for _ in paths]) for name, paths in group.items()}
        row = {name: float(values.mean()) for name, values in scores.items()}
        mixtures = {name: float(np.logaddexp.reduce(values) - np.log(len(values))) for name, values in scores.items()}
        for name in ("as the model writes it", "… and no length in the plan"):
            row[f"{name}: {count} mixed"] = mixtures[name]
            row[f"{name}: {count} and none mixed"] = float(np.logaddexp(mixtures[name], mixtures[NO_PATH]) - np.log(2))
        rows.append({name: -value / np.log(2) / len(answer_of(example, TASK).encode()) for name, value in row.items()})
    return pd.DataFrame(rows)


def main() -> None:
    parser = arguments(__doc__, "paths")
    parser.add_argument("--paths", type=int, default=4, help="paths sampled for each target")
    options = parser.parse_args()
    config, system, targets = open_targets(options)
    batches = []
    for start in range(0, len(targets), BATCH):
        batches.append(bits_of(system, config, targets[start : start + BATCH], options.paths))
        print(f"{min(start + BATCH, len(targets))} of {len(targets)}", flush=True)
    write_record(options.out, config, system, targets, pd.concat(batches, ignore_index=True), NO_PATH)


if __name__ == "__main__":
    main()
