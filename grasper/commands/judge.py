"""`grasper judge`: a language model grades what was written; its grades then stand in tables, comparisons and report."""

from __future__ import annotations

from shlex import quote
from typing import Annotated

import typer

RunArgument = Annotated[str, typer.Argument(help="Name or path of a run.")]
SetOption = Annotated[list[str] | None, typer.Option("--set", help="section.key=value, for example model.name=… of the judge.")]
MethodsOption = Annotated[str | None, typer.Option("--methods", help="Comma-separated methods; all of the run by default.")]
BudgetOption = Annotated[str | None, typer.Option("--budget", help="Endpoints: the most that may be spent, as 500requests, 200000tokens or 3.50.")]


def judge(run: RunArgument, settings: SetOption = None, methods: MethodsOption = None, budget: BudgetOption = None) -> None:
    """Let a language model grade the texts of a finished run, 0 to 1; run `grasper evaluate` afterwards."""
    from grasper.commands.plan import finished_run
    from grasper.commands.spending import within_budget
    from grasper.evaluate.judge import judge_outputs
    from grasper.models import open_model
    from grasper.records import Tables

    folder, config = finished_run(run, settings, methods)
    with folder.lock(), within_budget(config.model, budget, print):
        examples = Tables.load(folder.folder("prepare")).select(config.split, config.limit)
        model = open_model(config.model)
        for name in config.methods:
            folder.require_current(folder.folder("generate", name))
            paths = folder.folder("generate", name) / "outputs.jsonl", folder.folder("measure", name) / "judge.jsonl"
            graded, asked = judge_outputs(model, *paths, examples, config.tasks)
            remark = f" ({asked - graded} of {asked} are left out: it named no grade)" if graded < asked else ""
            print(f"judge/{name}: {graded} graded by {model.name}{remark}")
    print(f"now: grasper evaluate --run {quote(run)}")
