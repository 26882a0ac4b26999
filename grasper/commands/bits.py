"""`grasper bits`: what the real answers cost to spell out given each method's prompts; the numbers then stand in tables, comparisons and report."""

from __future__ import annotations

from shlex import quote
from typing import Annotated

import typer

RunArgument = Annotated[str, typer.Argument(help="Name or path of a run.")]
MethodsOption = Annotated[str | None, typer.Option("--methods", help="Comma-separated methods; all of the run by default.")]
PathsOption = Annotated[int, typer.Option("--paths", min=1, help="Sampled paths that a method which thinks is averaged over.")]
SwapOption = Annotated[bool, typer.Option("--swap", help="Also with another user's own reviews, and with another item's neighbours.")]


def bits(run: RunArgument, methods: MethodsOption = None, paths: PathsOption = 4, swap: SwapOption = False) -> None:
    """Measure the real answers' bits per byte behind each method's prompts (local models); needs all stages before `generate`."""
    from grasper.commands.plan import finished_run
    from grasper.evaluate.bits import summarize_bits
    from grasper.evaluate.swap import SWAPS
    from grasper.measure.bits import measure_plan
    from grasper.pipeline import Pipeline
    from grasper.runs import derive_seed
    from grasper.terminal import print_bits

    folder, config = finished_run(run, None, methods)
    plan = Pipeline(config, folder, only="generate")
    measured = measure_plan(plan, num_paths=paths, swaps=SWAPS if swap else SWAPS[:1], say=print)
    if measured:
        seed = derive_seed(config.seed, "evaluate")
        print_bits(summarize_bits(plan.work.targets, config.tasks, measured, config.evaluate, seed=seed), config.prepare.name, config.split)
        print(f"with all other metrics: grasper evaluate --run {quote(run)}, once the texts are written")
