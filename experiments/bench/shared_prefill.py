"""Eight samples per prompt: one shared prefill beside eight unshared ones, at the same batch width.

    python -m experiments.bench.shared_prefill

The prompts are those of GraSPer's alignment pairs on the bundled data set, with whatever evidence they show; nothing is predicted for them.
Unshared means that every sample is a row with a prompt of its own, as when the library repeats the prompt before its prefill; both go
through grasper's decoding loop with the same number of rows in a batch. Repetitions alternate between the two; the ratio is the median.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import torch

from experiments.publish import made_by
from grasper.align import select_pairs
from grasper.align.pairs import make_pairs
from grasper.config import load_config
from grasper.desk import Desk
from grasper.files import write_json
from grasper.methods import get_method
from grasper.models.continuation import Row
from grasper.models.decoding import decode
from grasper.models.local import LocalModel
from grasper.models.sampling import Sampling
from grasper.prepare import build_tables
from grasper.retrieve.store import ReviewStore
from grasper.runs import derive_seed

OUT = Path(__file__).parents[1] / "results" / "bench" / "shared_prefill.json"
SAMPLING = Sampling(temperature=0.7, top_p=0.9)


def pair_prompts(model: LocalModel, count: int, seed: int) -> list[list[int]]:
    """Gives the token ids of the alignment prompts, shortest first."""
    config, method = load_config(), get_method("grasper")
    tables, _ = build_tables(config.prepare, seed=seed)
    desk = Desk(method, ReviewStore(tables), config.prompts, lambda: model, seed)
    pairs = make_pairs(desk, select_pairs(tables, "align", count, seed=seed), with_reviews=True)
    return sorted((model.encode(pair.render(reasoning=True, config=config.prompts, model=model)) for pair in pairs), key=len)


def sample(model: LocalModel, prompts: list[list[int]], options: argparse.Namespace, seed: int, *, is_shared: bool) -> dict[str, float]:
    """Gives the tokens, the seconds by the clock and the processor seconds of all samples of all prompts, in batches of `width` rows."""
    per_batch = options.width // options.samples
    tokens, clock, processor = 0, time.perf_counter(), time.process_time()
    for start in range(0, len(prompts), per_batch):
        batch = prompts[start : start + per_batch]
        places = [(number, index) for number in range(len(batch)) for index in range(options.samples)]
        seeds = [derive_seed(seed, start + number, index) for number, index in places]
        if is_shared:
            rows = [Row(number, row_seed, options.max_new_tokens) for (number, _), row_seed in zip(places, seeds, strict=True)]
        else:
            rows = [Row(place, row_seed, options.max_new_tokens) for place, row_seed in enumerate(seeds)]
            batch = [batch[number] for number, _ in places]
        continuations = decode(model.model, batch, rows, SAMPLING, end_ids=model.end_ids, pad_id=model.tokenizer.pad_token_id)
        tokens += sum(continuation.num_generated for continuation in continuations)
    return {"tokens": tokens, "seconds": time.perf_counter() - clock, "processor_seconds": time.process_time() - processor}


def main() -> None:
    """Measures both and writes shared_prefill.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="nano")
    parser.add_argument("--prompts", type=int, default=32)
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--width", type=int, default=32, help="rows in a batch")
    parser.add_argument("--max-new-tokens", type=int, default=128)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model = LocalModel(options.model)
    prompts = pair_prompts(model, options.prompts, options.seed)
    for is_shared in (True, False):  # warm-up
        sample(model, prompts[: options.width // options.samples], options, options.seed, is_shared=is_shared)
    measured: list[dict[str, dict[str, float]]] = []
    for repetition in range(options.repetitions):
        seed = options.seed + repetition
        measured.append({name: sample(model, prompts, options, seed, is_shared=name == "shared") for name in ("shared", "unshared")})
        print(measured[-1], flush=True)
    ratios = {
        clock: [
            round(values["shared"]["tokens"] / values["shared"][clock] / (values["unshared"]["tokens"] / values["unshared"][clock]), 2)
            for values in measured
        ]
        for clock in ("seconds", "processor_seconds")
    }
    result: dict[str, Any] = {
        **made_by(options.seed),
        "machine": f"{options.threads} threads of an x86-64 server processor, shared with other work",
        "model": {"name": model.name, "parameters": sum(p.numel() for p in model.model.parameters()), "format": str(model.model.dtype)},
        "n": len(prompts),
        "samples": options.samples,
        "batch_rows": options.width,
        "repetitions": options.repetitions,
        "mean_prompt_tokens": round(statistics.mean(map(len, prompts)), 1),
        "tokens_per_second": {
            clock: {name: round(statistics.median(values[name]["tokens"] / values[name][clock] for values in measured), 1) for name in measured[0]}
            for clock in ("seconds", "processor_seconds")
        },
        "ratio_by_repetition": ratios,
        "ratio": statistics.median(ratios["seconds"]),
    }
    write_json(options.out, result)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
