"""`grasper runs`: what is there, how far it is, and with what it was made."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def runs(folder: Annotated[Path, typer.Argument(help="The folder that holds runs.")] = Path("runs")) -> None:
    """List runs: stages finished or not, model, commit and when."""
    from grasper.errors import GrasperError, MissingFileError
    from grasper.runs import describe_run

    found = sorted(path.parent for path in folder.glob("*/config.yaml"))
    if not found:
        raise MissingFileError(f"no run in {folder.resolve()}; `grasper pipeline` makes one")
    for root in found:
        try:
            facts = describe_run(root)
        except GrasperError as error:
            typer.echo(f"{root.name}: {error}")
            continue
        typer.echo(
            f"{root.name}: {facts['state']}; model {facts['model'] or '-'}, commit {facts['commit'] or '-'}, {facts['finished'] or 'unfinished'}"
        )
