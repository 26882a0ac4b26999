"""What alignment teaches about the end of a text: the real texts' bits with and without it, taken apart → one JSON file.

    python experiments/ends.py -c experiments/hotel.yaml -c experiments/models/smollm2-reviews.yaml --data ../shared/data/hotel --limit 60 \\
        --adapter runs/hotel/align/grasper/adapter --out experiments/results/smollm2/ends-hotel.json

For every target and the evidence that a prompt without a path shows: bits per byte of not ending before the end (−log₂ of 1 − p(end) at every place),
of ending there, and of the words themselves, which is the rest; and how many ends would be drawn too early, the sum of p(end). All with the aligned
adapter minus without it, on the same texts. Nothing is written. Dev-a only.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from experiments.evidence import distributions
from experiments.kinds import SPLIT, TASK, arguments, means, open_targets
from experiments.publish import made_by
from grasper.files import write_json
from grasper.models.adapters import find_adapter
from grasper.models.base import Prompt
from grasper.models.local import LocalModel
from grasper.progress import Progress
from grasper.prompts.render import after_path
from grasper.reason.format import answer_of
from grasper.records import request_for


def taken_apart(model: LocalModel, prompt: Prompt, text: str) -> dict[str, float]:
    """Bits per byte of the text, what of them is its end, and the ends that would be drawn too early."""
    logs, tokens = distributions(model, prompt, text)
    ends = torch.stack([logs[:, end] for end in sorted(model.end_ids)]).logsumexp(0).exp()[:-1]
    size = np.log(2) * len(text.encode())
    found = {
        "all": float(-logs.gather(1, tokens[:, None]).sum()) / size,
        "ending": float(-logs[-1, tokens[-1]]) / size,
        "going on": float(-torch.log1p(-ends.clamp(max=1 - 1e-9)).sum()) / size,
    }
    return found | {"words": found["all"] - found["ending"] - found["going on"], "early ends": float(ends.sum())}


def main() -> None:
    parser = arguments(__doc__, "ends")
    parser.add_argument("--adapter", type=Path, required=True, help="folder with the aligned adapter")
    options = parser.parse_args()
    config, system, targets = open_targets(options)
    tuned = system.desk.model
    assert isinstance(tuned, LocalModel)
    models = {"as tuned": tuned, "aligned": tuned.with_adapter(options.adapter)}
    rows: list[dict[tuple[str, str], float]] = []
    with Progress("ends", len(targets)) as progress:
        for example in targets:
            request = request_for(example, TASK, system.desk.store.tables.item(example.item_id))
            profile = system.desk.profiles.for_request(request, example)
            prompt = after_path(system.desk.prompt(request, profile, reasoning=False), "", TASK)
            parts = {name: taken_apart(model, prompt, answer_of(example, TASK)) for name, model in models.items()}
            row = {(name, part): value for name, found in parts.items() for part, value in found.items()}
            rows.append(row | {("difference", part): parts["aligned"][part] - parts["as tuned"][part] for part in parts["aligned"]})
            progress.advance(1)
    columns = {column: pd.Series([row[column] for row in rows]) for column in rows[0]}
    facts = made_by(config.seed) | {
        "split": SPLIT,
        "model": tuned.name,
        "adapter": find_adapter(options.adapter).fingerprint,
    }
    found = means(columns, targets, config.seed, counts=["early ends"])
    write_json(options.out, {"provenance": facts, "n": len(targets), **found})


if __name__ == "__main__":
    main()
