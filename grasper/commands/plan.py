"""From the options that commands share to names, to a finished run, and to the plan of one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from grasper.errors import ConfigError

if TYPE_CHECKING:
    from grasper.config import Config
    from grasper.pipeline import Pipeline
    from grasper.runs import Run


def listed(names: str | None) -> tuple[str, ...] | None:
    """The names of a comma-separated option; None where it was not given."""
    return None if names is None else tuple(name.strip() for name in names.split(",") if name.strip())


def _listed_methods(methods: str | None) -> tuple[str, ...] | None:
    names = listed(methods)
    if names == ():
        raise ConfigError("--methods is empty; name at least one, for example --methods pgraphrag,grasper")
    return names


def read_config(path: Sequence[Path] | Path | None, settings: Sequence[str]) -> Config:
    """The configuration of a command that makes no plan, with what a plan would refuse of it.

    Raises:
        ConfigError: A setting that cannot be.
        UnknownNameError: No method, encoder, reward or metric has this name.
    """
    from grasper.config import load_config
    from grasper.methods import get_method
    from grasper.pipeline import require_parts

    config = load_config(path, settings)
    require_parts(config, [get_method(name) for name in config.methods])
    return config


def finished_run(name: str, settings: Sequence[str] | None, methods: str | None) -> tuple[Run, Config]:
    """A run whose data are prepared, and its configuration with these settings and methods over it, for work on what is finished: whether the parts
    that it was made with go together with the settings, a judge's model say, is not asked.

    Raises:
        MissingFileError: The run is not prepared.
        ConfigError: A setting that cannot be, or no method.
        UnknownMethodError: No method has this name.
    """
    from grasper.config import load_config
    from grasper.methods import get_method
    from grasper.runs import Run, run_folder

    for method in _listed_methods(methods) or ():
        get_method(method)
    run = Run(run_folder(name))
    run.require(run.folder("prepare"))
    return run, load_config(run.root / "config.yaml", settings or (), methods=_listed_methods(methods))


def plan_of_options(
    config: list[Path] | None,
    data: Path | None,
    settings: list[str] | None,
    run: str | None,
    methods: str | None,
    limit: int | None,
    split: str | None,
    *,
    only: str | None = None,
) -> Pipeline:
    """The plan that the common options describe. A run that is there goes on with its own configuration unless another is named; where the run is
    not named either, or nothing came of that configuration so far, it is said.
    """
    from grasper.config import load_config
    from grasper.runs import Run, run_folder

    overrides = list(settings or [])
    if data is not None:
        overrides.append(f"prepare.data={data}")

    def resolve(files: Sequence[Path] | None) -> Config:
        return load_config(files, overrides, methods=_listed_methods(methods), limit=limit, split=split)

    root = run_folder(run) if run else None
    if not config and root and (root / "config.yaml").exists():
        config = [root / "config.yaml"]
        if not any(root.glob("*/manifest.json")):
            typer.echo(f"goes on with the configuration of {root}, with which nothing is finished yet; -c chooses another", err=True)
    resolved = resolve(config)
    if root is None:
        root = run_folder(resolved.prepare.name)
        if not config and (root / "config.yaml").exists() and (own := resolve([root / "config.yaml"])).prepare.name == resolved.prepare.name:
            resolved = own
            typer.echo(f"goes on with the configuration of {root}; -c or --run chooses another", err=True)
    from grasper.pipeline import Pipeline

    return Pipeline(resolved, Run(root), only=only)
