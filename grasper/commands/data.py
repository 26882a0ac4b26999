"""Data of one's own and of others: `grasper init` looks at a table, `grasper data` lists, explains and fetches known data sets."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

data_app = typer.Typer(help="Known data sets and the layouts that grasper reads.", no_args_is_help=True)


def init(
    files: Annotated[list[Path], typer.Argument(help="A table of reviews, and further ones: with the same columns, or with the items' names by id.")],
    out: Annotated[Path | None, typer.Option("--out", help="The YAML file. Default: beside you, named after the first table.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the YAML file.")] = False,
) -> None:
    """Look at your data, tell all that is found, and write a configuration that reads them."""
    from grasper.config import load_config
    from grasper.errors import ConfigError, DataFormatError
    from grasper.files import write_text
    from grasper.prepare import check_data
    from grasper.prepare.survey import survey_further, survey_table
    from grasper.prepare.template import configuration

    survey = survey_table(files[0].expanduser())
    target = out or Path(f"{survey.settings['name']}.yaml")
    if target.exists() and not overwrite:
        raise ConfigError(f"{target} exists already; choose another --out, or replace it with --overwrite")
    for file in files[1:]:
        survey_further(file.expanduser(), survey)
    for finding in survey.findings:
        typer.echo(f"  {finding}")
    for name, column in survey.settings["columns"].items():
        if column is not None:
            typer.echo(f"  {name:<10} is read from '{column}'")
    items = survey.settings.get("items", {})
    for name, column in items.get("columns", {}).items():
        if column is not None:
            typer.echo(f"  {name:<10} is read from '{column}' of {Path(items['data']).name}")
    write_text(target, configuration(survey))
    typer.echo(f"written: {target}")
    if survey.missing:
        keys = ", ".join(f"prepare.columns.{name}" for name in survey.missing)
        raise DataFormatError(f"no column seems to hold {' or '.join(survey.missing)}: set {keys} in {target}")
    try:
        typer.echo(f"checked: {check_data(load_config(target).prepare)}")
    except DataFormatError as error:
        raise DataFormatError(f"{error}; correct {target} and check it with grasper doctor -c {quote(str(target))}") from None
    named, run = quote(str(target)), quote(f"{survey.settings['name']}-all")
    if survey.settings["split"] == "none":
        typer.echo(f"next, to write and recommend: grasper pipeline -c {named}")
        return
    typer.echo(f"next, to compare methods: grasper pipeline -c {named}")
    typer.echo(f"next, to write and recommend: grasper pipeline -c {named} --set prepare.split=none --run {run}")


@data_app.command("list")
def list_data() -> None:
    """Known data sets, and the layouts that `prepare.source` may name."""
    from grasper.prepare.collections import COLLECTIONS
    from grasper.prepare.inputs import sources

    typer.echo("data sets (grasper data info NAME):")
    for name, collection in COLLECTIONS.items():
        typer.echo(f"  {name:<32} {collection.size:<28} {collection.about}")
    typer.echo("layouts (prepare.source):")
    for name, source in sources().items():
        typer.echo(f"  {name:<32} {source.reads}")


@data_app.command()
def info(name: Annotated[str, typer.Argument(help="A data set of `grasper data list`.")]) -> None:
    """Licence, size, where from, and how to use a data set."""
    from grasper.prepare.collections import COLLECTIONS, data_folder

    found = COLLECTIONS.get(name)
    folder = data_folder() / name
    typer.echo(f"{found.name}: {found.about}\nlicence: {found.licence}\nsize: {found.size}\nfrom: {found.origin}\nchecked: {found.checked}")
    if found.files:
        typer.echo(f"get: grasper data get {name}, or place these files in {folder}:")
        for file in found.files:
            typer.echo(f"  {file.name} from {file.url}")
    elif found.by_hand:
        typer.echo(f"get: {found.by_hand}, in {folder}")
    if found.source != "harbour":
        split = " --set prepare.split=last-out" if found.source not in ("pgraphrag", "lamp") else ""
        called, where = ("hotel", folder / "data_splits") if found.source == "pgraphrag" else (name, folder)
        typer.echo(f"use: grasper prepare --set prepare.source={found.source} --set prepare.name={called}{split} --data {quote(str(where))}")
        if found.source == "pgraphrag":
            typer.echo("  or with prepare.name=gap, prepare.name=b2w")


@data_app.command()
def get(
    name: Annotated[str, typer.Argument(help="A data set of `grasper data list`.")],
    folder: Annotated[Path | None, typer.Option("--to", help="Folder. Default: $GRASPER_DATA, else data in the cache ($GRASPER_CACHE).")] = None,
) -> None:
    """Fetch a data set; what was fetched before is kept, what broke off goes on."""
    from grasper.prepare.collections import COLLECTIONS, data_folder, fetch_collection

    fetch_collection(COLLECTIONS.get(name), folder.expanduser() if folder else data_folder() / name, typer.echo)
