"""Tokens per second of a model on this processor: reading prompts, writing answers, and a step of tuning, on requests of the hotel set.

    python -m experiments.bench.speed --data ../shared/data --model smollm2

Reading is the same requests with answers of one token; writing is what answers of `--max-new-tokens` take longer, per token. Tuning is whole steps of
`grasper tune` (gradient and optimizer) on its own examples. Each is told by the clock and per processor second: on a machine that is busy otherwise
only the latter, times the number of cores, says what a quiet one would do. The load before is noted.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as grasper does, for torch is loaded here first
os.environ.setdefault("GOMP_SPINCOUNT", "4000")
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "12")

import torch

from experiments.bench.decoding import run_grasper, timed
from experiments.nano.reviews import load_review_sets
from experiments.publish import made_by
from experiments.smollm2.data import MAX_WORDS
from grasper.config import TuneConfig
from grasper.files import write_json
from grasper.models.base import Prompt
from grasper.models.local import LocalModel
from grasper.tune.examples import ExampleMaker
from grasper.tune.lora import Adapter
from grasper.tune.sequences import Batch, Drawer, Position, Stream
from grasper.tune.stage import MIXTURE

OUT = Path(__file__).parents[1] / "results" / "bench" / "speed.json"


def prompts_of(maker: ExampleMaker, count: int) -> list[Prompt]:
    """Requests for long texts, as a training would draw them."""
    return [solved.prompt for solved in islice((solved for solved in maker.draw() if solved.task == "long"), count)]


def make_adapter(model: LocalModel, config: TuneConfig, threads: int) -> Adapter:
    """An adapter as `grasper tune` begins with."""
    shape: dict[str, Any] = {"rank": config.rank, "alpha": config.alpha, "target_modules": config.target_modules}
    return Adapter(model.model, **shape, num_workers=1, threads=threads, seed=0, averaging=config.averaging)


def take_steps(adapter: Adapter, steps: list[list[Batch]]) -> int:
    """Gives the tokens of the steps taken."""
    for batches in steps:
        adapter.step(batches, 1e-4)
    return sum(batch.num_tokens for batches in steps for batch in batches)


def medians(work: Callable[[int], int], repetitions: int) -> dict[str, float]:
    """Medians of tokens, seconds and processor seconds over the repetitions."""
    runs = [timed(lambda: work(number)) for number in range(repetitions)]  # noqa: B023  called at once
    return {name: statistics.median(run[name] for run in runs) for name in runs[0]}


def rates(tokens: float, seconds: float, processor_seconds: float) -> dict[str, float]:
    return {"tokens": round(tokens), "per_second": round(tokens / seconds, 1), "per_processor_second": round(tokens / processor_seconds, 1)}


def main() -> None:
    """Measures all three and writes the model's part of speed.json, one for each number format."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the prepared review tables")
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--requests", type=int, default=32)
    parser.add_argument("--max-new-tokens", type=int, default=96)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--repetitions", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    load = os.getloadavg()[0]
    torch.set_num_threads(options.threads)
    model, config = LocalModel(options.model), TuneConfig()
    maker = ExampleMaker(load_review_sets(options.data, {}, shares={"hotel/train": 1.0}, max_words=MAX_WORDS), model, 0, MIXTURE)
    prompts = prompts_of(maker, options.requests)
    read_tokens = sum(len(model.encode(prompt)) for prompt in prompts)
    run_grasper(model, prompts[:2], 2, 0)  # warm-up
    short = medians(lambda seed: run_grasper(model, prompts, 1, seed), options.repetitions)
    whole = medians(lambda seed: run_grasper(model, prompts, options.max_new_tokens, seed), options.repetitions)
    clocks = ("seconds", "processor_seconds")
    result: dict[str, Any] = {
        "reading": rates(read_tokens, *(short[clock] for clock in clocks)),
        "writing": rates(whole["tokens"] - short["tokens"], *(whole[clock] - short[clock] for clock in clocks)),
    }
    drawer = Drawer(maker, model, max_length=config.max_length)
    stream = Stream(drawer, seed=0, batch_tokens=config.batch_tokens, pad_id=int(model.tokenizer.pad_token_id or 0)).batches(Position())
    steps = [[next(stream)[0], next(stream)[0]] for _ in range(options.steps + 1)]
    adapter = make_adapter(model, config, options.threads)
    take_steps(adapter, steps[:1])  # warm-up
    tuned = medians(lambda _: take_steps(adapter, steps[1:]), options.repetitions)
    result["tuning"] = rates(tuned["tokens"], *(tuned[clock] for clock in clocks))
    facts = {
        **made_by(0),
        "machine": f"{options.threads} threads of an x86-64 server processor",
        "load_before": round(load, 2),
        "parameters": sum(value.numel() for value in model.model.parameters()),
        "n": len(prompts),
        "repetitions": options.repetitions,
        "mean_prompt_tokens": round(read_tokens / len(prompts), 1),
    }
    known = json.loads(options.out.read_text()) if options.out.exists() else {}
    write_json(options.out, known | {options.model: known.get(options.model, {}) | {facts["hardware"]["format"]: facts | result}})
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
