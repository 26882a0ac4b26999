"""Where the numbers of a run come from, read from the run folder: what was spent on each method, and what the run was made with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from grasper.config import Config
from grasper.methods import get_method
from grasper.runs import Run, read_manifest
from grasper.settings import flatten

_TOKENS = ("tokens_in", "tokens_out")
_ELSEWHERE = ("seed", "split", "limit", "tasks", "methods", "model.name", "prepare.name")
"""Settings that have a place of their own."""


def cost_of(run: Run, method: str) -> dict[str, float]:
    """Seconds of writing with a method (`synthesize_seconds`, `generate_seconds`), for all that was written, and seconds and tokens of its alignment,
    with all that was sampled for it.

    Methods that share an adapter share its cost: each shows it in full.
    """
    cost: dict[str, float] = {"align_seconds": 0.0, "align_tokens_in": 0, "align_tokens_out": 0}
    for stage in ("synthesize", "generate"):
        manifest = read_manifest(run.folder(stage, method))
        cost[f"{stage}_seconds"] = manifest["seconds"] if manifest else 0.0
    if manifest := read_manifest(run.folder("align", get_method(method).aligned_as)):
        counts = manifest["counts"]
        cost["align_seconds"] = manifest["seconds"]
        for name in _TOKENS:
            cost[f"align_{name}"] = (counts.get(name) or 0) + (counts.get("context", {}).get(name) or 0)
    return {name: round(value, 3) for name, value in cost.items()}


def provenance_of(run: Run, config: Config, methods: Iterable[str]) -> dict[str, Any]:
    """What the outputs of a run were made with.

    Returns:
        `model`, `seed`, `split`, `limit`; `settings`: those that differ from their defaults, `section.key` → value; `commits`, `versions` and
        `finished` (first and last moment, UTC) of the finished stages; a package that they had in several versions tells all.
    """
    folders = [run.folder(stage) for stage in ("prepare", "predict")]
    for method in methods:
        folders += [run.folder("align", get_method(method).aligned_as), *(run.folder(stage, method) for stage in ("synthesize", "generate"))]
    known = [manifest for folder in dict.fromkeys(folders) if (manifest := read_manifest(folder))]
    finished = sorted(manifest["finished"] for manifest in known if manifest.get("finished"))
    return {
        "model": config.model.name,
        "seed": config.seed,
        "split": config.split,
        "limit": config.limit,
        "settings": changed_settings(config),
        "commits": sorted({manifest["commit"] for manifest in known if manifest.get("commit")}),
        "versions": {name: " and ".join(sorted(found)) for name, found in _versions(known).items()},
        "finished": [finished[0], finished[-1]] if finished else [],
    }


def _versions(manifests: Iterable[Mapping[str, Any]]) -> dict[str, set[str]]:
    """By package, those that the stages were made with."""
    found: dict[str, set[str]] = {}
    for manifest in manifests:
        for name, version in manifest.get("versions", {}).items():
            found.setdefault(name, set()).add(version)
    return found


def changed_settings(config: Config) -> dict[str, Any]:
    """The settings that differ from their defaults and are told nowhere else, `section.key` → value."""
    now, usual = flatten(config.model_dump(mode="json")), flatten(Config().model_dump(mode="json"))
    return {name: value for name, value in now.items() if value != usual.get(name) and name not in _ELSEWHERE}
