"""`grasper tune`: one adapter of a base model, tuned on a data set's training reviews in the prompts of all methods."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def tune(
    config: Annotated[list[Path] | None, typer.Option("-c", "--config", help="YAML file, or a shipped one's name; later ones win.")] = None,
    data: Annotated[Path | None, typer.Option("--data", help="Folder or file with the data (prepare.data).")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="section.key=value; for example tune.tokens=4000000.")] = None,
    run: Annotated[str | None, typer.Option("--run", help="The run whose prepared data are used, made where they are missing.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Folder of checkpoints, log and adapter. Default: tune/ in the run.")] = None,
) -> None:
    """Tune the model on the training reviews in the prompts of all methods; the same command resumes, Ctrl-C stops with a checkpoint."""
    from grasper.commands.plan import plan_of_options
    from grasper.records import Tables
    from grasper.runs import derive_seed
    from grasper.tune.reviews import allowed_reviews
    from grasper.tune.stage import tune as train

    plan = plan_of_options(config, data, settings, run, None, None, None, only="prepare")
    plan.carry_out(say=typer.echo)
    resolved = plan.config
    folder = out or plan.run.folder("tune")
    allowed, held_out, counts = allowed_reviews(Tables.load(plan.run.folder("prepare")), resolved.prepare.name)
    typer.echo("reviews: " + ", ".join(f"{name} {count:,}" for name, count in counts.items()))
    shown = [held_out] if held_out.reviews else []
    seed = derive_seed(resolved.seed, "tune")
    result = train(resolved.tune, resolved.model, [allowed], shown, folder, seed=seed, prompts=resolved.prompts)
    typer.echo(
        f"{result['tokens']:,} of {resolved.tune.tokens:,} tokens in {result['seconds']:,.0f} s; use it with --set model.name={folder / 'adapter'}"
    )
