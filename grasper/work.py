"""What each step of a run does: asks a system for what a stage's folder is to hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from grasper.config import Config
from grasper.errors import ConfigError
from grasper.methods import Method
from grasper.records import Example, Output, tasks_of
from grasper.runs import Run, derive_seed
from grasper.system import System
from grasper.workshop import Workshop
from grasper.written import by_example, load_outputs, load_synthetic


class Work:
    """The stages of one run, bound to its configuration."""

    def __init__(self, config: Config, run: Run, methods: Sequence[Method]) -> None:
        self.config, self.run, self.methods = config, run, methods
        self.workshop = Workshop(config, run)

    @cached_property
    def targets(self) -> list[Example]:
        """The examples to be written, the same for every method.

        Raises:
            ConfigError: The split has none, or none that any of the tasks can be asked of.
        """
        tables = self.workshop.tables
        targets = tables.select(self.config.split, self.config.limit)
        if not targets:
            splits = ", ".join(sorted(set(tables.examples["split"]))) or "none"
            raise ConfigError(f"split '{self.config.split}' has no targets in this data set (splits with targets: {splits}); choose another --split")
        if not any(task in tasks_of(target) for target in targets for task in self.config.tasks):
            names = " and no ".join({"long": "text", "title": "title", "rating": "rating"}[task] for task in self.config.tasks)
            raise ConfigError(f"the targets of '{self.config.split}' have no {names} to be asked for; set tasks to what the data hold")
        return targets

    def require_targets(self) -> None:
        """Raise ConfigError for a split without targets."""
        _ = self.targets

    def prepare(self, folder: Path) -> dict[str, Any]:
        from grasper.prepare import prepare

        return prepare(self.config.prepare, folder, seed=self._seed("prepare"))

    def predict(self, folder: Path) -> dict[str, Any]:
        from grasper.predict import fit

        config = self.config.predict.model_copy(update={"top_k": self.config.num_candidates})
        return fit(config, self.workshop.tables, folder, seed=self._seed("predict"))

    def align(self, method: Method, folder: Path) -> dict[str, Any]:
        from grasper.align import align, select_pairs
        from grasper.align.stage import is_trainable
        from grasper.generate import generate
        from grasper.synthesize import synthesize
        from grasper.synthesize.stage import BATCH_SIZE

        config, tables = self.config.align, self.workshop.tables
        system = self.workshop.system(method, is_aligned=False)
        pairs = select_pairs(tables, "align", self.config.num_alignment_pairs, seed=self._seed("align"))
        # Held-out pairs are for losses and rounds, which a backbone that cannot be trained has none of.
        held_out = select_pairs(tables, "held-out", config.num_held_out, seed=self._seed("align")) if is_trainable(system.desk.model) else []
        counts: dict[str, Any] = {}
        context = []
        if method.predicts_items:
            # The pairs see synthetic reviews as the targets will; the unaligned model writes them.
            size = system.desk.at_once(BATCH_SIZE)
            counts["context"] = synthesize(system.synthesize, [*pairs, *held_out], folder / "context", name=method.name, batch_size=size)
            context = load_synthetic(folder / "context" / "synthetic.jsonl")
        consensus: list[Output] = []
        if config.consensus_samples and method.training == "gold" and is_trainable(system.desk.model):
            write = partial(self._teacher(system).write, synthetic=by_example(context))
            size = system.desk.at_once(BATCH_SIZE)
            counts["consensus"] = generate(write, pairs, ("long",), folder / "consensus", name=method.name, batch_size=size)
            consensus = load_outputs(folder / "consensus" / "outputs.jsonl")
        return counts | align(config, system.desk, pairs, held_out, context, folder, seed=self._seed("align", method.name), consensus=consensus)

    def _teacher(self, system: System) -> System:
        """A method before its alignment, writing without a path and choosing among several samples, as it is to write in one afterwards."""
        desk = system.desk
        plain = replace(desk, method=replace(desk.method, reasoning=False), open_model=lambda: desk.model)
        settings = system.generation.model_copy(update={"consensus_samples": self.config.align.consensus_samples})
        return replace(system, desk=plain, generation=settings)

    def synthesize(self, method: Method, folder: Path) -> dict[str, Any]:
        from grasper.synthesize import synthesize
        from grasper.synthesize.stage import BATCH_SIZE

        system = self.workshop.system(method)
        return synthesize(system.synthesize, self.targets, folder, name=method.name, batch_size=system.desk.at_once(BATCH_SIZE))

    def generate(self, method: Method, folder: Path) -> dict[str, Any]:
        from grasper.generate import generate
        from grasper.generate.stage import BATCH_SIZE

        written = load_synthetic(self.run.folder("synthesize", method.name) / "synthetic.jsonl") if method.predicts_items else []
        system = self.workshop.system(method)
        write = partial(system.write, synthetic=by_example(written))
        size = system.desk.at_once(BATCH_SIZE)
        return generate(write, self.targets, self.config.tasks, folder, name=method.name, batch_size=size)

    def evaluate(self, folder: Path) -> dict[str, Any]:
        from grasper.evaluate.stage import evaluate_run
        from grasper.prepare.bundled import harbour_folder

        latent_dir = harbour_folder() if self.config.prepare.is_bundled else None
        return evaluate_run(self.config, self.run, [method.name for method in self.methods], folder, latent_dir=latent_dir)

    def _seed(self, *names: str) -> int:
        return derive_seed(self.config.seed, *names)
