"""What evidence is worth by its amount and by the form in which it is shown: bits per byte of the real texts → one JSON file.

    python experiments/evidence.py -c experiments/hotel.yaml -c experiments/models/smollm2-reviews.yaml --data ../shared/data/hotel --limit 60 \\
        --out experiments/results/smollm2/evidence-hotel.json

For every target: more and fewer neighbours, whole and cut; the same evidence in a prompt that asks for a path and gets none, and behind the model's
own paths; and pools of both, linear and logarithmic. All paired against the evidence as configured, in a prompt that asks for no path. Nothing but
probabilities is measured. Dev-a only, since settings are chosen by it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from experiments.kinds import TASK, arguments, open_targets, write_record
from grasper.config import Config
from grasper.generate.thinking import Thinking
from grasper.models.base import Prompt
from grasper.models.local import LocalModel
from grasper.progress import Progress
from grasper.prompts.render import after_path, render
from grasper.reason.format import answer_of
from grasper.records import Example, Profile, request_for
from grasper.system import System

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
    options = arguments(__doc__, "evidence").parse_args()
    config, system, targets = open_targets(options)
    rows = []
    with Progress("evidence", len(targets)) as progress:
        for example in targets:
            rows.append(bits_of(system, config, example))
            progress.advance(1)
    write_record(options.out, config, system, targets, pd.DataFrame(rows), USUAL)


if __name__ == "__main__":
    main()
