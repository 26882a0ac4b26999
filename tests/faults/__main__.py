"""Run the fault trials for some minutes and record what survived: `make faults`, or `PYTHONPATH=tests python -m faults --seed 1 --only kills:17`."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):  # no threads before a fork, and equal sums
    os.environ[_name] = "1"

from faults import damage, disk, hostile, kills, odd_servers  # noqa: E402
from faults.process import preload  # noqa: E402
from faults.world import Outcome, Place  # noqa: E402

Trials = Callable[[Place, Iterable[int]], Iterator[Outcome]]
KINDS: dict[str, tuple[Trials, float]] = {
    "disk": (disk.trials, 0.08),
    "servers": (odd_servers.trials, 0.1),
    "damage": (damage.trials, 0.15),
    "kills": (kills.trials, 0.37),
    "hostile": (hostile.trials, 0.3),
}
"""Each kind with its share of the time."""
RECORD = Path("experiments/results/faults.json")


def main() -> None:
    """Run, print, record; exit code 1 where something did not survive."""
    options = _options()
    preload()
    from grasper.files import write_json
    from grasper.runs import commit

    only, _, case = options.only.partition(":")
    chosen = {name: KINDS[name] for name in KINDS if only in ("", name)}
    started, outcomes, tried_commit = time.monotonic(), list[Outcome](), commit()
    with tempfile.TemporaryDirectory(prefix="grasper-faults-") as folder:
        place = Place(Path(folder), options.seed)
        was_interrupted = False
        try:
            for name, outcome in _all(place, chosen, int(case) if case else None, options):
                outcomes.append(outcome)
                if outcome.problem:
                    print(f"{name}:{outcome.number}  {outcome.problem}", flush=True)
        except KeyboardInterrupt:
            was_interrupted = True
    kinds = {name: summarize([each for each in outcomes if each.kind == name]) for name in chosen}
    for name, counts in kinds.items():
        print(f"{name:10} tried {counts['tried']:6,}   survived {counts['survived']:6,}   in {counts['cases']:,} cases")
    failures = [each for each in outcomes if each.problem]
    record = {
        "command": f"make faults SEED={options.seed} MINUTES={options.minutes:g} KILLS={options.kills}",
        "commit": tried_commit,
        "seed": options.seed,
        "was_interrupted": was_interrupted,
        "seconds": round(time.monotonic() - started, 1),
        "kinds": kinds,
        "failures": [{"problem": each.problem, "repeat": f"make faults SEED={options.seed} ONLY={each.kind}:{each.number}"} for each in failures],
    }
    if not only:
        write_json(options.record, record)
        print(f"record: {options.record}")
    raise SystemExit(1 if failures else 0)


def _all(place: Place, chosen: dict[str, tuple[Trials, float]], case: int | None, options: argparse.Namespace) -> Iterator[tuple[str, Outcome]]:
    """The outcomes of all kinds, each within its share of the time that is left; at least the kills, inputs and damages asked, whatever it takes."""
    ends = time.monotonic() + options.minutes * 60
    shares = sum(share for _, share in chosen.values())
    for name, (trials, share) in chosen.items():
        now = time.monotonic()
        until, shares = now + max(ends - now, 0) * share / shares, shares - share
        wanted = {"kills": options.kills, "hostile": options.inputs, "damage": damage.AT_LEAST}.get(name, 0)
        most = options.inputs if name == "hostile" else sys.maxsize
        tried = 0
        print(f"{name} …", flush=True)
        for outcome in trials(place, count() if case is None else [case]):
            tried += outcome.tried
            yield name, outcome
            if tried >= most or (time.monotonic() > until and tried >= wanted):
                break


def summarize(outcomes: list[Outcome]) -> dict[str, Any]:
    """Cases, what was tried and survived, and the details added up."""
    detail: Counter[str] = sum((Counter(each.detail) for each in outcomes), Counter[str]())
    tried = sum(each.tried for each in outcomes)
    survived = sum(each.tried for each in outcomes if not each.problem)
    return {"cases": len(outcomes), "tried": tried, "survived": survived, **dict(sorted(detail.items()))}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="faults", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=15.0, help="of all kinds together")
    parser.add_argument("--kills", type=int, default=100, help="at least so many, whatever it takes")
    parser.add_argument("--inputs", type=int, default=2000, help="hostile inputs")
    parser.add_argument("--only", default="", help=f"one kind ({', '.join(KINDS)}), or one case of it, as kills:17")
    parser.add_argument("--record", type=Path, default=RECORD)
    return parser.parse_args()


if __name__ == "__main__":
    main()
