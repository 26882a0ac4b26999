"""`grasper bits`: what the real answers cost to spell out given each method's prompts; the numbers then stand in tables, comparisons and report."""

from __future__ import annotations

from typing import Annotated

import typer

RunArgument = Annotated[str, typer.Argument(help="Name or path of a run whose texts are written.")]
MethodsOption = Annotated[str | None, typer.Option("--methods", help="Comma-separated methods; all of the run by default.")]
PathsOption = Annotated[int, typer.Option("--paths", min=1, help="Sampled paths that a method which thinks is averaged over.")]
SwapOption = Annotated[bool, typer.Option("--swap", help="Also with another user's own reviews, and with another item's neighbours.")]


def bits(run: RunArgument, methods: MethodsOption = None, paths: PathsOption = 4, swap: SwapOption = False) -> None:
    """Measure the real answers' bits per byte behind each method's prompts (local models); run `grasper evaluate` afterwards."""
    from grasper.config import load_config
    from grasper.errors import ConfigError
    from grasper.evaluate.bits import SWAPS, Measurement
    from grasper.methods import get_method
    from grasper.runs import Run, run_folder
    from grasper.synthesize import load_synthetic
    from grasper.system import by_example
    from grasper.work import Work

    folder = Run(run_folder(run))
    folder.require(folder.folder("prepare"))
    names = None if methods is None else [name.strip() for name in methods.split(",")]
    config = load_config(folder.root / "config.yaml", methods=names)
    with folder.lock():
        work = Work(config, folder, [get_method(name) for name in config.methods])
        for method in work.methods:
            source = folder.require(folder.folder("generate", method.name))["fingerprint"]
            written = load_synthetic(folder.folder("synthesize", method.name) / "synthetic.jsonl") if method.predicted != "none" else []
            system = work.workshop.system(method)
            measurement = Measurement(system, by_example(written), paths, SWAPS if swap else SWAPS[:1], source)
            try:
                count = measurement.measure(work.targets, config.tasks, folder.folder("measure", method.name) / "bits.jsonl")
            except ConfigError as error:
                print(f"bits/{method.name}: left out; {error}")
            else:
                print(f"bits/{method.name}: {count} measured")
    print(f"now: grasper evaluate --run {run}")
