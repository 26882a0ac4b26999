"""Writing on a busy machine: processor time of the same texts beside 0, 1 and 4 busy processes, by what OpenMP's threads do while they wait.

    python -m experiments.bench.busy

A fresh process opens the model and writes; its time counts from the first request on. Busy processes are loops that never wait. `PASSIVE` lets
threads sleep while they wait for one another, `ACTIVE` lets them spin, `grasper` is what the package sets where nobody else does: sleep after a spin
of some microseconds. Repetitions alternate between all cases; numbers are medians. The machine has to be quiet otherwise: the load that was there
before is noted.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from experiments.publish import made_by
from grasper.files import write_json

OUT = Path(__file__).parents[1] / "results" / "bench" / "busy.json"
POLICIES = ("grasper", "PASSIVE", "ACTIVE")
VARIABLES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
LOOP = "while True: pass"
WRITE = """
import json, sys
from grasper.models.local import LocalModel
from experiments.bench.decoding import make_prompts, run_grasper, timed
name, count, length = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
model = LocalModel(name)
print(json.dumps(timed(lambda: run_grasper(model, make_prompts(count, 0), length, 0))))
"""


def write_beside(busy: int, policy: str, options: argparse.Namespace) -> dict[str, float]:
    """Gives tokens, seconds by the clock and processor seconds of a process that writes beside `busy` loops."""
    loops = [subprocess.Popen([sys.executable, "-c", LOOP]) for _ in range(busy)]
    try:
        command = [sys.executable, "-c", WRITE, options.model, str(options.requests), str(options.max_new_tokens)]
        environment = {name: value for name, value in os.environ.items() if name not in VARIABLES}
        if policy != "grasper":
            environment["OMP_WAIT_POLICY"] = policy
        result: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout)
        return result
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def main() -> None:
    """Measures all cases in turn and writes busy.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="nano")
    parser.add_argument("--requests", type=int, default=128)
    parser.add_argument("--max-new-tokens", type=int, default=64)
    parser.add_argument("--busy", type=int, nargs="+", default=[0, 1, 4], help="busy processes beside the one that writes")
    parser.add_argument("--policies", nargs="+", choices=POLICIES, default=POLICIES)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    load_before = os.getloadavg()[0]
    cases = [(busy, policy) for busy in options.busy for policy in options.policies]
    measured: dict[tuple[int, str], list[dict[str, float]]] = {case: [] for case in cases}
    for _ in range(options.repetitions):
        for busy, policy in cases:
            measured[busy, policy].append(write_beside(busy, policy, options))
            print(busy, policy, measured[busy, policy][-1], flush=True)

    def median(busy: int, policy: str, clock: str) -> float:
        return statistics.median(one[clock] for one in measured[busy, policy])

    rows: list[dict[str, Any]] = [
        {
            "busy_processes": busy,
            "wait_policy": policy,
            "tokens": measured[busy, policy][0]["tokens"],
            "seconds": round(median(busy, policy, "seconds"), 2),
            "processor_seconds": round(median(busy, policy, "processor_seconds"), 2),
            "processor_time_ratio": round(median(busy, policy, "processor_seconds") / median(options.busy[0], policy, "processor_seconds"), 2),
        }
        for busy, policy in cases
    ]
    result = {
        **made_by(0),
        "load_before": round(load_before, 2),
        "model": options.model,
        "n": options.requests,
        "repetitions": options.repetitions,
        "cases": rows,
    }
    write_json(options.out, result)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
