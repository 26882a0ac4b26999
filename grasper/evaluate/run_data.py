"""What a run holds for its evaluation: its targets, and what each method wrote for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from grasper.config import Config
from grasper.errors import ConfigError
from grasper.evaluate.measured import measured_files
from grasper.evaluate.provenance import cost_of, provenance_of
from grasper.files import read_json
from grasper.methods import get_method
from grasper.records import TASKS, Example, Tables, Task
from grasper.retrieve.store import uses_predictor
from grasper.runs import Run, read_manifest


@dataclass(frozen=True)
class MethodFiles:
    """What one method wrote, and what that took."""

    outputs: Path
    """Its `outputs.jsonl`."""
    synthetic: Path | None = None
    """Its `synthetic.jsonl`, where it writes synthetic reviews."""
    cost: Mapping[str, float] = field(default_factory=dict)
    """Seconds behind the two files, and what its alignment took (`provenance.cost_of`)."""
    measured: Sequence[Path] = ()
    """Files of numbers that were measured with a model, for the metrics without a function."""
    source: str | None = None
    """The fingerprint of what wrote the outputs; measured numbers that go back to another one are left out."""

    @classmethod
    def of_run(cls, run: Run, method: str) -> MethodFiles:
        """What a run's folders hold of a method."""
        folder = run.folder("generate", method)
        manifest = read_manifest(folder)
        return cls(
            folder / "outputs.jsonl",
            run.folder("synthesize", method) / "synthetic.jsonl" if get_method(method).predicts_items else None,
            cost_of(run, method),
            measured_files(run.folder("measure", method)),
            manifest["fingerprint"] if manifest else None,
        )


@dataclass(frozen=True)
class RunData:
    """The targets, what each method wrote for them, and what else the results and the report tell."""

    dataset: str
    split: str
    tables: Tables
    examples: Sequence[Example]
    """The targets, the same for every method."""
    files: Mapping[str, MethodFiles]
    """By method, in the order of the results table."""
    tasks: Sequence[Task] = TASKS
    candidates: pd.DataFrame | None = None
    """Predicted items of the examples, where any method rests on them."""
    prediction: Mapping[str, Any] | None = None
    """The link predictor's `metrics.json`."""
    latent_dir: Path | None = None
    """Folder of the latent truth of a generated data set, if it has one."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """What the outputs were made with (`provenance.provenance_of`)."""

    @classmethod
    def load(cls, run: Run, config: Config, methods: Sequence[str], *, latent_dir: Path | None = None) -> RunData:
        """What a run's folder holds.

        Args:
            methods: Those that are compared, in the order of the tables.

        Raises:
            MissingFileError: The run is not prepared.
            ConfigError: The methods are no list.
        """
        if isinstance(methods, str):
            raise ConfigError(f"the methods are {methods!r}, expected a list of names; write [{methods!r}]")
        run.require(run.folder("prepare"))
        tables = Tables.load(run.folder("prepare"))
        candidates, prediction = (run.folder("predict") / name for name in ("candidates.parquet", "metrics.json"))
        is_predicted = any(uses_predictor(get_method(name)) for name in methods) and candidates.exists()
        return cls(
            config.prepare.name,
            config.split,
            tables,
            tables.select(config.split, config.limit),
            {name: MethodFiles.of_run(run, name) for name in methods},
            config.tasks,
            pd.read_parquet(candidates) if is_predicted else None,
            read_json(prediction) if prediction.exists() else None,
            latent_dir,
            provenance_of(run, config, methods),
        )
