"""Methods of several runs on the same targets → one results file, as if one run had written them.

    python -m experiments.joined runs/pat-hotel:copy,lamp,pgraphrag,grasper runs/pat-hotel-warm:pat,pat-one-step --name pat/hotel \\
        --command "…" --command "…" --zero-history pat

For runs whose settings differ in parts that only some methods read, so that no single configuration names them all. What was prepared must be the
same, and so must seed, split and model; targets are those of the run with the fewest, tasks those of the first run.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments.publish import RESULTS_DIR, provenance, zero_history
from grasper.config import load_config
from grasper.errors import GrasperError, RunMismatchError
from grasper.evaluate.run_data import MethodFiles, RunData
from grasper.evaluate.stage import evaluate
from grasper.files import read_json, write_json
from grasper.records import Tables
from grasper.runs import Run, derive_seed


def join(parts: list[tuple[Run, list[str]]], out: Run) -> dict[str, Any]:
    """Score all methods together into `out`'s `evaluate` folder; gives the metrics.

    Raises:
        MissingFileError: A method's texts are not complete.
        RunMismatchError: The runs differ in what was prepared, in seed, split or model, two bring the same method, or a method's texts were made from
            what is there no longer.
    """
    configs = [load_config(run.root / "config.yaml") for run, _ in parts]
    first, run = configs[0], parts[0][0]
    prepared = [there.require(there.folder("prepare"))["fingerprint"] for there, _ in parts]
    for other, data, (there, _) in zip(configs, prepared, parts, strict=True):
        if (other.seed, other.split, other.model.name, data) != (first.seed, first.split, first.model.name, prepared[0]):
            raise RunMismatchError(f"{there.root} and {run.root} differ in data, seed, split or model; run them alike first")
    where = {method: there for there, methods in parts for method in methods}
    if len(where) != sum(len(methods) for _, methods in parts):
        raise RunMismatchError("two runs bring the same method; name each once")
    for method, there in where.items():
        there.require_current(there.folder("generate", method))
    tables = Tables.load(run.folder("prepare"))
    examples = tables.select(first.split, min((config.limit for config in configs if config.limit), default=None))
    files = {method: MethodFiles.of_run(there, method) for method, there in where.items()}
    data = RunData(first.prepare.name, first.split, tables, examples, files, first.tasks)
    evaluate(data, first.evaluate, out.folder("evaluate"), seed=derive_seed(first.seed, "evaluate"))
    return dict(read_json(out.folder("evaluate") / "metrics.json"))


def joined_facts(facts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The provenance of the first run with the commands and stages of all; stages of a run of other versions tell their own."""
    stages: dict[str, Any] = {}
    for fact in facts:
        others = {} if fact["versions"] == facts[0]["versions"] else {"versions": fact["versions"]}
        stages = {name: others | stage for name, stage in fact["stages"].items()} | stages
    return facts[0] | {"command": " ; ".join(fact["command"] for fact in facts), "stages": stages}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", metavar="FOLDER:METHOD,METHOD", help="finished runs and the methods that each brings")
    parser.add_argument("--command", action="append", required=True, help="the command line of each run, in their order")
    parser.add_argument("--name", required=True, help="name of the results file")
    parser.add_argument("--zero-history", metavar="METHOD", help="compare this method over people without other reviews, too")
    arguments = parser.parse_args()
    parts = [(Run(Path(folder)), methods.split(",")) for folder, _, methods in (name.rpartition(":") for name in arguments.runs)]
    out = Run(parts[0][0].root.parent / f"joined-{arguments.name.replace('/', '-')}")
    try:
        metrics = join(parts, out)
    except GrasperError as error:
        raise SystemExit(str(error)) from None
    facts = [provenance(run, command, methods) for (run, methods), command in zip(parts, arguments.command, strict=True)]
    if arguments.zero_history:
        metrics["zero_history"] = zero_history(out, arguments.zero_history)
    metrics.pop("provenance")
    path = RESULTS_DIR / f"{arguments.name}.json"
    write_json(path, {"provenance": joined_facts(facts) | {"limit": metrics["n_examples"]}, **metrics})
    print(path)


if __name__ == "__main__":
    main()
