"""Decoding throughput: grasper's batched sampling beside the library's text-generation pipeline called once per request.

    python -m experiments.bench.decoding

Both answer the same chat requests of mixed length with the same sampling settings and threads; tokens are those generated, the end token
included. The plain loop answers an evenly spaced part of the requests, since it is slow; its rate is per token, so the part favours nobody.
It runs in every number format, and the ratio is taken to its faster one. Repetitions alternate between the systems, so that other work on
the machine slows all of them; the ratio is the median over repetitions, in seconds by the clock and in seconds of processor time.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import pipeline
from transformers.utils import logging as transformers_logging

from experiments.publish import made_by
from grasper.files import write_json
from grasper.models.base import Message, Prompt
from grasper.models.local import LocalModel
from grasper.prompts.templates import SYSTEM

OUT = Path(__file__).parents[1] / "results" / "bench" / "decoding.json"
COMMON = "the room was clean and quiet but breakfast late staff friendly price good location walk to beach view old carpet shower bed"
WORDS = COMMON.split()
FORMATS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def make_prompts(count: int, seed: int) -> list[Prompt]:
    """Gives requests with 0 to 8 reviews of 5 to 80 words each, made of common words."""
    chooser = random.Random(seed)
    prompts = []
    for number in range(count):
        lines = [f"- [{chooser.randint(1, 5)}] " + " ".join(chooser.choices(WORDS, k=chooser.randint(5, 80))) for _ in range(chooser.randint(0, 8))]
        task = f"Given title: {' '.join(chooser.choices(WORDS, k=4))} {number}\nTask: write the text of their review."
        user = "\n".join(["Others about this item:", *lines, task, "Answer in these lines: Text: the review."])
        prompts.append(Prompt((Message("system", SYSTEM), Message("user", user))))
    return prompts


def timed(work: Callable[[], int]) -> dict[str, float]:
    """Gives the tokens that `work` reports, its seconds by the clock, and its seconds of processor time."""
    clock, processor = time.perf_counter(), time.process_time()
    tokens = work()
    return {"tokens": tokens, "seconds": time.perf_counter() - clock, "processor_seconds": time.process_time() - processor}


def run_grasper(model: LocalModel, prompts: list[Prompt], max_new_tokens: int, seed: int) -> int:
    """Gives the number of tokens that grasper's local model generates for all prompts."""
    completions = model.generate(prompts, temperature=0.7, top_p=0.9, max_new_tokens=max_new_tokens, seed=seed)
    return sum(completion.tokens_out for group in completions for completion in group)


def run_plain_loop(model: LocalModel, prompts: list[Prompt], max_new_tokens: int, seed: int) -> int:
    """Gives the number of tokens that the library's pipeline generates, one call per prompt."""
    generator: Any = pipeline("text-generation", model=model.model, tokenizer=model.tokenizer)  # type: ignore[call-overload]
    tokens = 0
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for prompt in prompts:
            turns = [{"role": message.role, "content": message.content} for message in prompt.messages]
            answer = generator(turns, max_new_tokens=max_new_tokens, do_sample=True, temperature=0.7, top_p=0.9, return_full_text=False)
            text = answer[0]["generated_text"]
            tokens += min(model.count_tokens(text if isinstance(text, str) else text[-1]["content"]) + 1, max_new_tokens)
    return tokens


def rate(measured: dict[str, float], clock: str) -> float:
    """Gives the tokens per second of a measurement."""
    return measured["tokens"] / measured[clock]


def main() -> None:
    """Measures all systems in turn and writes decoding.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="nano")
    parser.add_argument("--requests", type=int, default=256)
    parser.add_argument("--plain-requests", type=int, default=32, help="requests of the plain loop")
    parser.add_argument("--max-new-tokens", type=int, default=128)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch-tokens", type=int, default=32768)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    transformers_logging.set_verbosity_error()
    ours = LocalModel(options.model, batch_tokens=options.batch_tokens)
    plain = {name: LocalModel(options.model, dtype=dtype) for name, dtype in FORMATS.items() if dtype in (torch.float32, ours.model.dtype)}
    prompts = make_prompts(options.requests, options.seed)
    part = prompts[:: max(1, len(prompts) // options.plain_requests)]
    run_grasper(ours, prompts[:4], 8, options.seed)  # warm-up
    measured: list[dict[str, dict[str, float]]] = []
    for repetition in range(options.repetitions):
        seed = options.seed + repetition
        round_ = {"grasper": timed(lambda: run_grasper(ours, prompts, options.max_new_tokens, seed))}  # noqa: B023  called at once
        for name, model in plain.items():
            round_[f"plain_{name}"] = timed(lambda: run_plain_loop(model, part, options.max_new_tokens, seed))  # noqa: B023
        print({name: round(rate(values, "seconds"), 1) for name, values in round_.items()}, flush=True)
        measured.append(round_)
    result = {
        **made_by(options.seed),
        "machine": f"{options.threads} threads of an x86-64 server processor, shared with other work",
        "model": {"name": ours.name, "parameters": sum(p.numel() for p in ours.model.parameters()), "format": str(ours.model.dtype)},
        "n": len(prompts),
        "plain_n": len(part),
        "repetitions": options.repetitions,
        "mean_prompt_tokens": round(statistics.mean(len(ours.encode(prompt)) for prompt in prompts), 1),
        "tokens_per_second": {
            clock: {name: round(statistics.median(rate(round_[name], clock) for round_ in measured), 1) for name in measured[0]}
            for clock in ("seconds", "processor_seconds")
        },
        "ratio_to_faster_plain_loop": {
            clock: [
                round(rate(round_["grasper"], clock) / max(rate(values, clock) for name, values in round_.items() if name != "grasper"), 2)
                for round_ in measured
            ]
            for clock in ("seconds", "processor_seconds")
        },
    }
    result["ratio"] = statistics.median(result["ratio_to_faster_plain_loop"]["seconds"])
    write_json(options.out, result)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
