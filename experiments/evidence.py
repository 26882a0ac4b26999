"""What evidence is worth by its amount and by the form in which it is shown: bits per byte of the real texts → one JSON file.

    python experiments/evidence.py -c experiments/hotel.yaml -c experiments/models/smollm2-reviews.yaml --data ../shared/data/hotel --limit 60 \\
        --out experiments/results/smollm2/evidence-hotel.json

For every target: more and fewer neighbours, whole and cut; the same evidence in a prompt that asks for a path and gets none, and behind the model's
own paths; and pools of both, linear and logarithmic. All paired against the evidence as configured, in a prompt that asks for no path. Nothing but
probabilities is measured. Dev-a only, since settings are chosen by it.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from experiments.publish import hardware
from grasper.config import Config, load_config
from grasper.evaluate.bits import answer_of
from grasper.evaluate.compare import Bootstrap, summarize
from grasper.files import write_json
from grasper.generate.thinking import Thinking
from grasper.methods import get_method
from grasper.models.base import Prompt
from grasper.models.local import LocalModel
from grasper.pipeline import Pipeline
from grasper.progress import Progress
from grasper.prompts.render import after_path, render
from grasper.records import Example, Profile, Task, request_for
from grasper.runs import Run, commit, versions
from grasper.system import System

ROOT = Path(__file__).parents[1]
METHOD, SPLIT = "grasper-no-synthetic", "dev-a"
TASK: Task = "long"
AMOUNTS = ((4, 48), (4, 96), (4, 192), (8, 96), (12, 192), (24, 192))
"""Neighbours, and tokens of each."""
NUM_PATHS = 2
USUAL = "as configured"


@torch.inference_mode()
def distributions(model: LocalModel, prompt: Prompt, text: str) -> tuple[Tensor, Tensor]:
    """The log-probabilities of every token at each place of the text, `[length, vocabulary]`, and its tokens, `[length]`."""
    before = [*model.encode(replace(prompt, prefix="")), *model.encode_text(prompt.prefix)]
    tokens = [*model.encode_text(f" {text}"), model.tokenizer.eos_token_id]
    with model.network() as network:
        ids = torch.tensor([[*before, *tokens]], device=model.device)
        hidden = network.base_model(input_ids=ids, use_cache=False).last_hidden_state[0, len(before) - 1 : -1]
        return network.get_output_embeddings()(hidden).float().log_softmax(-1), ids[0, len(before) :]


def bits_of(system: System, config: Config, example: Example) -> dict[str, float]:
    """Bits per byte of the example's text behind each kind of prompt, and in each pool."""
    desk, model, text = system.desk, system.desk.model, answer_of(example, TASK)
    assert isinstance(model, LocalModel)
    request = request_for(example, TASK, desk.store.tables.item(example.item_id))
    usual = desk.profiles.for_request(request, example)
    wide = replace(usual, neighbours=tuple(desk.store.retriever("neighbours").retrieve(request, example, max(AMOUNTS)[0])))

    def shown(profile: Profile, count: int, tokens: int) -> Prompt:
        changes = {"neighbour_entries": count, "neighbour_tokens": tokens, "context_tokens": model.context_tokens}
        prompts = config.prompts.model_copy(update=changes)
        return after_path(render(request, profile, reasoning=False, config=prompts, model=model), "", TASK)

    asking = desk.prompt(request, usual)
    paths = Thinking(desk, config.generate).think([request], [usual], [asking], [desk.seed_of("evidence", example.example_id)], NUM_PATHS)[0]
    prompts = {
        USUAL: after_path(desk.prompt(request, usual, reasoning=False), "", TASK),
        "no neighbours": shown(replace(usual, neighbours=()), 0, 0),
        **{f"{count} neighbours, {tokens} tokens of each": shown(wide, count, tokens) for count, tokens in AMOUNTS},
        "asked for a path, none written": after_path(asking, "", TASK),
        **{f"path {number}": after_path(asking, path.text, TASK) for number, path in enumerate(paths)},
    }
    logs = {name: distributions(model, prompt, text) for name, prompt in prompts.items()}
    found = {name: float(-log.gather(1, tokens[:, None]).sum()) for name, (log, tokens) in logs.items()}
    tokens = logs[USUAL][1][:, None]
    behind = [f"path {number}" for number in range(NUM_PATHS)]
    for plain in (USUAL, "asked for a path, none written"):
        members = torch.stack([logs[name][0] for name in (plain, *behind)])
        shares = torch.tensor([0.5, *[0.5 / NUM_PATHS] * NUM_PATHS])[:, None, None]
        linear, logarithmic = (members + shares.log()).logsumexp(0), (members * shares).sum(0).log_softmax(-1)
        found |= {f"{kind} pool, {plain}": float(-pool.gather(1, tokens).sum()) for kind, pool in (("linear", linear), ("log", logarithmic))}
    found["behind a path"] = float(np.mean([found.pop(name) for name in behind]))
    size = np.log(2) * len(text.encode())
    return {name: nats / size for name, nats in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-c", "--config", type=Path, action="append", required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=60)
    parser.add_argument("--set", action="append", default=[], metavar="section.key=value")
    parser.add_argument("--run", type=Path, default=ROOT / "runs" / "evidence")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    settings = [f"prepare.data={options.data}", *options.set]
    config = load_config(options.config, settings, methods=("pgraphrag", METHOD), limit=options.limit, split=SPLIT)
    run = Run(options.run)
    Pipeline(config, run, only="prepare").carry_out(say=print)
    work = Pipeline(config, run, only="generate").work
    system = work.workshop.system(get_method(METHOD), is_aligned=False)
    targets = [example for example in work.targets if answer_of(example, TASK)]
    rows = []
    with Progress("evidence", len(targets)) as progress:
        for example in targets:
            rows.append(bits_of(system, config, example))
            progress.advance(1)
    bits = pd.DataFrame(rows)
    columns = {("bits", TASK, name): bits[name] for name in bits} | {(f"minus {USUAL}", TASK, name): bits[name] - bits[USUAL] for name in bits}
    found: dict[str, Any] = summarize(Bootstrap([example.item_id for example in targets], seed=config.seed).estimate(pd.DataFrame(columns)))
    facts = {
        "command": shlex.join(["python", "experiments/evidence.py", *sys.argv[1:]]),
        "commit": commit(),
        "split": SPLIT,
        "seed": config.seed,
        "model": system.desk.model.name,
        "prompts": config.prompts.model_dump(mode="json"),
        "hardware": hardware(),
        "versions": versions(),
    }
    write_json(options.out, {"provenance": facts, "n": len(targets), **{name: by_task[TASK] for name, by_task in found.items()}})


if __name__ == "__main__":
    main()
