"""Decoding throughput: grasper's batched sampling beside the library's text-generation pipeline called once per request.

Both answer the same chat requests of mixed length with the same sampling settings on the same two threads; tokens are those generated, the end
token included. The plain loop answers a part of the requests, since it is slow; its rate is per token, so the part does not favour either.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import subprocess
import time
from pathlib import Path
from typing import Any

import torch
from transformers import pipeline
from transformers.utils import logging as transformers_logging

from grasper.models.base import Message, Prompt
from grasper.models.local import LocalModel
from grasper.prompts.templates import SYSTEM

OUT = Path(__file__).parents[1] / "results" / "bench" / "decoding.json"
COMMON = "the room was clean and quiet but breakfast late staff friendly price good location walk to beach view old carpet shower bed"
WORDS = COMMON.split()


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


def time_grasper(model: LocalModel, prompts: list[Prompt], max_new_tokens: int, seed: int) -> tuple[int, float]:
    """Gives the generated tokens and the seconds of grasper's local model."""
    started = time.perf_counter()
    completions = model.generate(prompts, temperature=0.7, top_p=0.9, max_new_tokens=max_new_tokens, seed=seed)
    return sum(completion.tokens_out for group in completions for completion in group), time.perf_counter() - started


def time_plain_loop(model: LocalModel, prompts: list[Prompt], max_new_tokens: int, seed: int) -> tuple[int, float]:
    """Gives the generated tokens and the seconds of the library's pipeline, one call per request."""
    generator: Any = pipeline("text-generation", model=model.model, tokenizer=model.tokenizer)  # type: ignore[call-overload]
    tokens = 0
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        started = time.perf_counter()
        for prompt in prompts:
            turns = [{"role": message.role, "content": message.content} for message in prompt.messages]
            answer = generator(
                turns, max_new_tokens=max_new_tokens, do_sample=True, temperature=0.7, top_p=0.9, return_tensors=False, return_full_text=False
            )
            text = answer[0]["generated_text"]
            tokens += model.count_tokens(text if isinstance(text, str) else text[-1]["content"]) + 1
        seconds = time.perf_counter() - started
    return tokens, seconds


def main() -> None:
    """Measures both and writes decoding.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="nano")
    parser.add_argument("--requests", type=int, default=256)
    parser.add_argument("--plain-requests", type=int, default=64, help="requests of the plain loop")
    parser.add_argument("--max-new-tokens", type=int, default=128)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    transformers_logging.set_verbosity_error()
    model = LocalModel(options.model)
    prompts = make_prompts(options.requests, options.seed)
    model.generate(prompts[:4], max_new_tokens=8)  # warm-up
    ours, our_seconds = time_grasper(model, prompts, options.max_new_tokens, options.seed)
    step = max(1, len(prompts) // options.plain_requests)
    plain, plain_seconds = time_plain_loop(model, prompts[::step], options.max_new_tokens, options.seed)
    result = {
        "command": f"python experiments/bench/decoding.py --requests {options.requests} --max-new-tokens {options.max_new_tokens}",
        "commit": subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout.strip(),
        "seed": options.seed,
        "threads": options.threads,
        "machine": f"{platform.machine()}, torch {torch.__version__}, {model.model.dtype}",
        "grasper": {"requests": len(prompts), "tokens": ours, "seconds": round(our_seconds, 2), "tokens_per_second": round(ours / our_seconds, 1)},
        "plain_loop": {
            "requests": len(prompts[::step]),
            "tokens": plain,
            "seconds": round(plain_seconds, 2),
            "tokens_per_second": round(plain / plain_seconds, 1),
        },
        "ratio": round((ours / our_seconds) / (plain / plain_seconds), 2),
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
