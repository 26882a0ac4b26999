"""From the options that the stages' commands share to the plan of a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from grasper.errors import ConfigError

if TYPE_CHECKING:
    from grasper.pipeline import Pipeline


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
    """The plan that the common options describe."""
    from grasper.config import load_config
    from grasper.runs import Run, run_folder

    root = run_folder(run) if run else None
    if not config and root and (root / "config.yaml").exists():
        config = [root / "config.yaml"]
    overrides = list(settings or [])
    if data is not None:
        overrides.append(f"prepare.data={data}")
    names = [name.strip() for name in methods.split(",") if name.strip()] if methods is not None else None
    if names == []:
        raise ConfigError("--methods is empty; name at least one, for example --methods pgraphrag,grasper")
    resolved = load_config(config, overrides, methods=names, limit=limit, split=split)
    from grasper.pipeline import Pipeline

    return Pipeline(resolved, Run(root or run_folder(resolved.prepare.name)), only=only)
