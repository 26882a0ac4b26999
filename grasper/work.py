"""What each step of a run does: reads the files of earlier stages, calls one stage, and hands it what it needs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grasper.config import Config
from grasper.errors import ConfigError
from grasper.methods import Method, get_method
from grasper.runs import Run, derive_seed

if TYPE_CHECKING:
    import pandas as pd

    from grasper.models.base import TextModel
    from grasper.records import Example, SyntheticReview, Tables


class Work:
    """The stages of one run, bound to its configuration; data and models are loaded when the first step needs them."""

    def __init__(self, config: Config, run: Run, methods: Sequence[Method]) -> None:
        self.config, self.run, self.methods = config, run, methods
        self._models: dict[Path | None, TextModel] = {}

    @cached_property
    def tables(self) -> Tables:
        from grasper.records import Tables

        self.run.require(self.run.folder("prepare"))
        return Tables.load(self.run.folder("prepare"))

    @cached_property
    def targets(self) -> list[Example]:
        """The examples to be written, the same for every method."""
        targets = self.tables.select(self.config.split, self.config.limit)
        if not targets:
            splits = ", ".join(sorted(set(self.tables.examples["split"]))) or "none"
            raise ConfigError(f"split '{self.config.split}' has no targets in this data set (splits with targets: {splits}); choose another --split")
        return targets

    def require_targets(self) -> None:
        """Raise ConfigError for a split without targets."""
        _ = self.targets

    def _seed(self, *names: str) -> int:
        return derive_seed(self.config.seed, *names)

    def prepare(self, folder: Path) -> dict[str, Any]:
        from grasper.prepare import prepare

        return prepare(self.config.prepare, folder, seed=self._seed("prepare"))

    def predict(self, folder: Path) -> dict[str, Any]:
        from grasper.predict import fit

        return fit(self.config.predict, self.tables, folder, seed=self._seed("predict"))

    def _candidates(self, method: Method) -> pd.DataFrame | None:
        if not method.uses_predictor:
            return None
        import pandas as pd

        folder = self.run.folder("predict")
        self.run.require(folder)
        return pd.read_parquet(folder / "candidates.parquet")

    def _adapter(self, method: Method) -> Path | None:
        if method.training == "none":
            return None
        folder = self.run.folder("align", method.aligned_as)
        self.run.require(folder)
        adapter = folder / "adapter"
        return adapter if adapter.is_dir() else None

    def _model(self, adapter: Path | None = None) -> TextModel:
        if adapter not in self._models:
            from grasper.models import open_model

            self._models.clear()  # one model in memory at a time
            self._models[adapter] = open_model(self.config.model, adapter)
        return self._models[adapter]

    def align(self, method: Method, folder: Path) -> dict[str, Any]:
        from grasper.align import align, select_pairs

        config, model = self.config, self._model()
        pairs = select_pairs(self.tables, "align", config.align.num_pairs, seed=self._seed("align"))
        held_out = select_pairs(self.tables, "held-out", config.align.num_held_out, seed=self._seed("align"))
        context: list[SyntheticReview] = []
        counts: dict[str, Any] = {}
        if method.predicted != "none":
            # The pairs see synthetic reviews as the targets will; the unaligned model writes them.
            counts["context"] = self._write_synthetic(method, [*pairs, *held_out], model, folder / "context")
            context = read_synthetic(folder / "context")
        return counts | align(
            config.align,
            config.prompts,
            method,
            self.tables,
            pairs,
            held_out,
            context,
            model,
            folder,
            ranker=config.generate.ranker,
            seed=self._seed("align", method.name),
        )

    def _write_synthetic(self, method: Method, examples: Sequence[Example], model: TextModel, folder: Path) -> dict[str, Any]:
        from grasper.synthesize import synthesize

        config = self.config
        candidates = self._candidates(method)
        seed = self._seed("synthesize")
        return synthesize(
            config.synthesize,
            config.prompts,
            method,
            self.tables,
            list(examples),
            candidates,
            model,
            folder,
            ranker=config.generate.ranker,
            seed=seed,
            **self._exemplars(method),
        )

    def synthesize(self, method: Method, folder: Path) -> dict[str, Any]:
        return self._write_synthetic(method, self.targets, self._model(self._adapter(method)), folder)

    def generate(self, method: Method, folder: Path) -> dict[str, Any]:
        from grasper.generate import generate

        config = self.config
        synthetic = read_synthetic(self.run.folder("synthesize", method.name)) if method.predicted != "none" else []
        model = self._model(self._adapter(method)) if method.uses_model else None
        seed = self._seed("generate")
        return generate(
            config.generate,
            config.prompts,
            method,
            self.tables,
            self.targets,
            config.tasks,
            synthetic,
            model,
            folder,
            seed=seed,
            **self._exemplars(method),
        )

    def _exemplars(self, method: Method) -> dict[str, Any]:
        """Gold paths shown in the prompt, for a backbone that cannot be fine-tuned."""
        folder = self.run.folder("align", method.aligned_as)
        if method.training == "none" or self.config.model.kind == "local" or not (folder / "manifest.json").exists():
            return {}
        from grasper.align.exemplars import ExemplarIndex

        return {"exemplars": ExemplarIndex.load(folder, self.config.align.exemplars)}

    def evaluate(self, folder: Path) -> dict[str, Any]:
        from grasper.evaluate import evaluate
        from grasper.prepare.bundled import harbour_folder

        run, names = self.run, [method.name for method in self.methods]
        outputs = {name: run.folder("generate", name) / "outputs.jsonl" for name in names}
        synthetic = {method.name: run.folder("synthesize", method.name) / "synthetic.jsonl" for method in self.methods if method.predicted != "none"}
        predicting = next((method for method in self.methods if method.uses_predictor), None)
        candidates = self._candidates(predicting) if predicting else None
        return evaluate(
            self.config.evaluate,
            self.tables,
            self.targets,
            outputs,
            folder,
            synthetic=synthetic,
            candidates=candidates,
            dataset=self.config.prepare.name,
            split=self.config.split,
            tasks=self.config.tasks,
            costs={name: self.cost(name) for name in names},
            predict_metrics=run.folder("predict") / "metrics.json",
            latent_dir=harbour_folder() if self.config.prepare.is_bundled else None,
            seed=self._seed("evaluate"),
        )

    def cost(self, method: str) -> dict[str, float]:
        """Seconds and tokens of writing with a method (synthesize + generate), and the seconds of its alignment."""
        cost: dict[str, float] = {"seconds": 0.0, "tokens_in": 0, "tokens_out": 0, "align_seconds": 0.0}
        for stage in ("synthesize", "generate"):
            if manifest := self.run.manifest(self.run.folder(stage, method)):
                cost["seconds"] += manifest["seconds"]
                for name in ("tokens_in", "tokens_out"):
                    cost[name] += manifest["counts"].get(name, 0)
        if manifest := self.run.manifest(self.run.folder("align", get_method(method).aligned_as)):
            cost["align_seconds"] = manifest["seconds"]
        return {name: round(value, 3) for name, value in cost.items()}


def read_synthetic(folder: Path) -> list[SyntheticReview]:
    """All synthetic reviews of a finished synthesize folder, rejected ones included."""
    from grasper.synthesize import load_synthetic

    return load_synthetic(folder / "synthetic.jsonl")
