"""Everything in one command: tokenizer → pre-training → instruction tuning → export → evaluation → card. `make nano` calls it.

Every step resumes: run the same command again after an interruption. Progress is in `<work>/pretrain.jsonl` and `<work>/instruct.jsonl`.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from experiments.resumed import require_same

ROOT = Path(__file__).parents[2]
TOKENS_PER_EXAMPLE = 400


def run_step(name: str, *arguments: str, workers: int = 1) -> None:
    """Runs one script of this folder; ends this process with the script's exit code if it fails."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(workers)] if workers > 1 else []
    print(f"== {name}", flush=True)
    environment = os.environ | {"OMP_NUM_THREADS": "1"} if workers > 1 else None
    code = subprocess.run(
        [sys.executable, *launcher, "-m", f"experiments.nano.{name}", *arguments], cwd=ROOT, env=environment, check=False
    ).returncode
    if code:
        raise SystemExit(code)


def main() -> None:
    """Runs all steps."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", type=Path, required=True, help="folder of *.jsonl or *.jsonl.zst")
    parser.add_argument("--data", type=Path, required=True, help="folder of the prepared review tables")
    parser.add_argument("--work", type=Path, default=ROOT / ".scratch" / "nano", help="folder for tokens, checkpoints and logs")
    parser.add_argument("--out", type=Path, default=ROOT / "grasper" / "models" / "nano", help="model folder to write")
    parser.add_argument("--tokens", type=int, default=12_000_000, help="tokens of the pre-training")
    parser.add_argument("--instruct-tokens", type=int, default=4_000_000, help="tokens of the instruction tuning")
    parser.add_argument("--examples", type=int, help="solved requests to build at most; by default enough for one round of the instruction tokens")
    parser.add_argument("--pretrain-until", metavar="HH:MM", help="end the pre-training when the clock shows this")
    parser.add_argument("--instruct-until", metavar="HH:MM", help="end the instruction tuning when the clock shows this")
    parser.add_argument("--share", default="0.15", help="share of the less fitting sources in one pass; 1 where time is plenty")
    parser.add_argument("--workers", type=int, default=_default_workers(), help="training processes: one for each GPU or processor core")
    parser.add_argument("--seed", default="0")
    options = parser.parse_args()
    corpus, work = str(options.corpus.resolve()), str(options.work.resolve())
    data = str(options.data.resolve())
    examples = options.examples or max(1_000, options.instruct_tokens // TOKENS_PER_EXAMPLE)
    require_same(options.work, {"corpus": corpus, "data": data, "seed": options.seed, "share": options.share, "examples": examples})
    common = ("--corpus", corpus, "--work", work, "--seed", options.seed, "--share", options.share)
    run_step("tokenizer", "--corpus", corpus, "--out", f"{work}/tokenizer", "--seed", options.seed)
    for name, tokens, until, more in (
        ("pretrain", options.tokens, options.pretrain_until, ()),
        ("instruct", options.instruct_tokens, options.instruct_until, ("--data", data, "--examples", str(examples))),
    ):
        clock = ("--until", until) if until else ()
        run_step(name, *common, *more, "--only-prepare")  # one process, so that bad input ends with one line
        run_step(name, *common, *more, "--tokens", str(tokens), *clock, workers=options.workers)
    run_step("export", "--work", work, "--out", str(options.out.resolve()))
    run_step("evaluate", "--corpus", corpus, "--data", data, "--model", str(options.out.resolve()))
    run_step("samples", "--data", data, "--model", str(options.out.resolve()))
    run_step("card", "--work", work, "--model", str(options.out.resolve()), "--seed", options.seed)


def _default_workers() -> int:
    import torch

    return torch.cuda.device_count() or min(2, os.cpu_count() or 1)


if __name__ == "__main__":
    main()
