"""How preparing grows: gzip JSON lines of 0.1 to 5 million reviews become prepared parquet; time, processor time and peak memory of a fresh process.

python experiments/bench/prepare.py --rows 100000 1000000 5000000 --out experiments/results/bench/prepare.json
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from experiments.publish import made_by
from grasper.files import write_json

WORDS = ("warm", "cold", "bed", "cake", "noisy", "kind", "sea", "late", "soft", "slow", "bright", "cheap", "large", "worn", "clean", "strong")


def write_reviews(path: Path, count: int, seed: int) -> None:
    """Reviews of count / 3 users and count / 25 items in the layout of Amazon 2023, about 60 words each, as in its smaller categories."""
    random.seed(seed)
    texts = [" ".join(random.choices(WORDS, k=random.randint(5, 115))) for _ in range(2000)]
    with gzip.open(path, "wt", encoding="utf-8", compresslevel=1) as lines:
        for number in range(count):
            row = {
                "rating": float(random.randint(1, 5)),
                "title": f"{random.choice(WORDS)} {random.choice(WORDS)}",
                "text": f"{number} {random.choice(texts)}",
                "images": [],
                "asin": f"B{number % 97:09d}",
                "parent_asin": f"B{int(count / 25 * random.random() ** 2):09d}",
                "user_id": f"AE{int(count / 3 * random.random()):026d}",
                "timestamp": 1_500_000_000_000 + random.randrange(10**11),
                "helpful_vote": 0,
                "verified_purchase": True,
            }
            lines.write(json.dumps(row) + "\n")


def measure(data: Path, split: str, memory_mib: int) -> None:
    """Prepare in this process, and print what it took."""
    from grasper.config import PrepareConfig
    from grasper.errors import GrasperError
    from grasper.prepare import prepare

    config = PrepareConfig(source="amazon", name="bench", data=data, split=split, memory_mib=memory_mib)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(dir=data.parent) as folder:
        try:
            counts = prepare(config, Path(folder), seed=0)
        except GrasperError as error:
            sys.exit(str(error))
    used = resource.getrusage(resource.RUSAGE_SELF)
    record = {
        "reviews": counts["reviews"],
        "users": counts["users"],
        "seconds": round(time.monotonic() - started, 1),
        "processor_seconds": round(used.ru_utime + used.ru_stime, 1),
        "peak_mib": round(used.ru_maxrss / 1024),
    }
    print(json.dumps(record))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 300_000, 1_000_000, 5_000_000])
    parser.add_argument("--split", default="last-out")
    parser.add_argument("--memory-mib", type=int, default=768, help="prepare.memory_mib")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(options.measure, options.split, options.memory_mib)
        return
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for count in options.rows:
            data = Path(folder) / f"reviews_{count}.jsonl.gz"
            write_reviews(data, count, options.seed)
            command = [sys.executable, __file__, "--measure", str(data), "--split", options.split, "--memory-mib", str(options.memory_mib)]
            before = os.getloadavg()[0]
            answer = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True)  # what it complains of is shown as it comes
            if answer.returncode:
                sys.exit(f"preparing {count:,} reviews ended with {answer.returncode}")
            taken, load = json.loads(answer.stdout.splitlines()[-1]), {"load_before": round(before, 1), "load": round(os.getloadavg()[0], 1)}
            results.append({"rows": count, "file_mib": round(data.stat().st_size / 2**20), **taken, **load})
            print(results[-1], flush=True)
            data.unlink()
    note = "load: processes that wanted a core, one of them the benchmark's own; seconds grow with it, processor_seconds less so"
    facts = made_by(options.seed) | {"memory_mib": options.memory_mib, "note": note}
    if options.out:
        write_json(options.out, {**facts, "results": results})


if __name__ == "__main__":
    main()
