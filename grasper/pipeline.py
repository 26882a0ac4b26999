"""The stages in order for the chosen methods: skips what is finished, resumes what was cut off, adds what is missing, stops at what fails.

A step (`grasper.step`) is one stage folder, for per-method stages of one method. Its key follows from the configuration and the input data alone,
so the whole plan is known before any work starts.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

from grasper.concerns import concerns
from grasper.config import Config, ModelConfig, load_config
from grasper.errors import ConfigError, RunMismatchError
from grasper.files import is_leftover, write_json, write_text
from grasper.generate.writers import WRITERS, settings_for, uses_model
from grasper.memory import give_back
from grasper.methods import Method, get_method
from grasper.models import fingerprint_model, require_model
from grasper.prompts.render import PROMPT_VERSION
from grasper.registry import plugin_versions
from grasper.retrieve.store import RETRIEVERS, uses_predictor
from grasper.runs import STAGES, Run, commit, read_manifest
from grasper.step import State, Step
from grasper.work import Work


def require_parts(config: Config, methods: Sequence[Method]) -> None:
    """Raise where the configuration or a method names a part that nobody registered, or that the model lacks, before anything is touched."""
    from grasper.metrics.choose import choose_metrics
    from grasper.predict import ENCODERS
    from grasper.reason.reward import REWARDS

    REWARDS.get(config.align.reward)
    ENCODERS.get(config.predict.encoder)
    choose_metrics(config.evaluate.extra_metrics)
    for method in methods:
        if method.training == "dpo" and config.align.dpo.reward == "likelihood" and not config.model.has_weights:
            raise ConfigError(
                f"align.dpo.reward=likelihood needs a local model, which tells the probability of a given text, and for {method.name} "
                f"model.kind is {config.model.kind}; name one with model.trained, or choose align.dpo.reward=drafts"
            )
        if method.adapter_of:
            _require_same_training(method, get_method(method.adapter_of))
        WRITERS.get(method.writer)
        for name in method.retrievers:
            RETRIEVERS.get(name)


def _require_same_training(method: Method, owner: Method) -> None:
    if owner.adapter_of:
        raise ConfigError(
            f"{method.name} is to write with the adapter of {owner.name}, which has that of {owner.adapter_of}; name {owner.adapter_of}"
        )
    if owner.training != method.training:
        raise ConfigError(
            f"{method.name} is to write with the adapter of {owner.name}, whose training is {owner.training!r}, and declares {method.training!r}; "
            "declare the same"
        )


class Pipeline:
    """The plan of one run and the means to carry it out.

    Args:
        only: Run just this stage; the earlier ones must be finished, and are taken as they are: neither the input data nor, for `evaluate`, the
            model's weights are looked at again.

    Raises:
        ConfigError: There is no such stage, the run has no targets for it, or parts of the configuration do not go together.
        UnknownNameError: A method, or a part that one names, is not registered.
    """

    def __init__(self, config: Config, run: Run, *, only: str | None = None) -> None:
        if only is not None and only not in STAGES:
            raise ConfigError(f"there is no stage {only!r}; the stages are {', '.join(STAGES)}")
        self.config, self.run, self.only = config, run, only
        self.methods: list[Method] = [get_method(name) for name in config.methods]
        self.work = Work(config, run, self.methods)
        self.is_for_use = config.prepare.split == "none"
        """There are no targets by configuration: the run is trained on all data, to write and recommend with."""
        if self.is_for_use and only in ("synthesize", "generate", "evaluate"):
            raise ConfigError(f"prepare.split is none, so there are no targets to {only}; use `grasper write` or `grasper recommend`")
        require_parts(config, self.methods)

    # -- the plan ------------------------------------------------------------------------------------------------------------------

    @cached_property
    def steps(self) -> list[Step]:
        """All steps in order; later ones read earlier ones. A run that is for use alone ends before the steps that write for targets."""
        prepare = self._prepare_step()
        steps, written = [prepare], []
        owners = {method.aligned_as: get_method(method.aligned_as) for method in self.methods}
        is_asked_for = self.is_for_use or self.only == "predict"  # `recommend` needs it, whatever the methods do
        predict = self._predict_step(prepare) if is_asked_for or any(uses_predictor(one) for one in (*self.methods, *owners.values())) else None
        steps += [predict] if predict else []
        aligned: dict[str, Step] = {}
        for method in self.methods:
            owner = owners[method.aligned_as]
            if self.config.aligns(owner) and owner.name not in aligned:
                aligned[owner.name] = self._align_step(owner, _present(prepare, predict if uses_predictor(owner) else None))
                steps.append(aligned[owner.name])
            if self.is_for_use:
                continue
            upstream = _present(prepare, predict if uses_predictor(method) else None, aligned.get(owner.name))
            if method.predicts_items:
                steps.append(self._synthesize_step(method, upstream))
                upstream = (*upstream, steps[-1])
            steps.append(self._generate_step(method, upstream))
            written.append(steps[-1])
        return steps if self.is_for_use else [*steps, self._evaluate_step((prepare, *written))]

    def _prepare_step(self) -> Step:
        from grasper.prepare import fingerprint_data

        config = self.config.prepare
        recorded = self._recorded("prepare").get("data") if self.only not in (None, "prepare") else None
        settings = {"prepare": config.model_dump(mode="json"), "data": recorded or fingerprint_data(config)}
        return self._step("prepare", None, settings, (), self.work.prepare, sections=("prepare",))

    def _predict_step(self, prepare: Step) -> Step:
        settings = self._sections("predict")
        settings["predict"]["top_k"] = self.config.num_candidates
        return self._step("predict", None, settings, (prepare,), self.work.predict, sections=("predict",))

    def _align_step(self, method: Method, reads: tuple[Step, ...]) -> Step:
        names = ("align", "synthesize") if method.predicts_items else ("align",)
        settings = self._writing("align", method) | self._sections(*names)
        settings["align"]["num_pairs"] = self.config.num_alignment_pairs
        if self.config.align.consensus_samples and method.training == "gold":
            written_by = {"temperature", "top_p", "least_length", "neighbour_sets", "plain_weight"}
            settings["generate"] = self.config.generate.model_dump(mode="json", include=written_by)
        return self._step("align", method, settings, reads, lambda folder: self.work.align(method, folder), sections=(*names, "model", "prompts"))

    def _synthesize_step(self, method: Method, reads: tuple[Step, ...]) -> Step:
        settings = self._writing("synthesize", method) | self._sections("synthesize")
        scope, sections = self._targets(), ("synthesize", "model", "prompts")
        return self._step("synthesize", method, settings, reads, lambda folder: self.work.synthesize(method, folder), scope, sections)

    def _generate_step(self, method: Method, reads: tuple[Step, ...]) -> Step:
        settings = self._writing("generate", method) | {"generate": settings_for(method, self.config.generate)}
        scope = self._targets() | {"tasks": list(self.config.tasks)}
        sections = ("generate", "model", "prompts")
        return self._step("generate", method, settings, reads, lambda folder: self.work.generate(method, folder), scope, sections)

    def _evaluate_step(self, reads: tuple[Step, ...]) -> Step:
        from grasper.metrics.choose import choose_metrics

        metrics = sorted(metric.name for metric in choose_metrics(self.config.evaluate.extra_metrics))
        settings = self._sections("evaluate") | self._targets() | {"tasks": self.config.tasks, "metrics": metrics, "plugins": plugin_versions()}
        return self._step("evaluate", None, settings, reads, self.work.evaluate, sections=("evaluate",))

    def _step(
        self,
        stage: str,
        method: Method | None,
        settings: dict[str, Any],
        reads: tuple[Step, ...],
        work: Callable[[Path], dict[str, Any]],
        scope: dict[str, Any] | None = None,
        sections: tuple[str, ...] = (),
    ) -> Step:
        name = method.name if method else None
        return Step(stage, name, self.run.folder(stage, name), {"seed": self.config.seed, **settings}, reads, work, scope or {}, sections)

    def _sections(self, *names: str) -> dict[str, Any]:
        return {name: getattr(self.config, name).model_dump(mode="json") for name in names}

    def _writing(self, stage: str, method: Method) -> dict[str, Any]:
        """What decides the texts of any stage that asks the language model."""
        if not uses_model(method):
            return {"method": asdict(method), "model": None, "prompts": None}
        recorded = self._recorded(stage, method.name).get("model") if self.only == "evaluate" else None
        prompts = self.config.prompts.model_dump(mode="json") | {"version": PROMPT_VERSION}
        # Which model it is, the configuration says, so that what different ones wrote is not compared; the weights may be elsewhere by now.
        model = fingerprint_model(self._model_of(stage, method), weights=recorded["weights"] if recorded else None)
        return {"method": asdict(method), "model": model, "prompts": prompts}

    def _model_of(self, stage: str, method: Method) -> ModelConfig:
        """The model that a stage asks: the one that is trained, the one that writes, or that one with the method's adapter at a server."""
        model = self.config.model
        if stage == "align":
            return model.for_training()
        return model.for_adapter(method.aligned_as) if self.config.aligns(method) else model

    def _targets(self) -> dict[str, Any]:
        return {"split": self.config.split, "limit": self.config.limit}

    def _recorded(self, stage: str, method: str | None = None) -> dict[str, Any]:
        """The key that a finished folder was written with; empty where there is none."""
        manifest = read_manifest(self.run.folder(stage, method))
        return dict(manifest["key"]) if manifest else {}

    # -- carrying it out -----------------------------------------------------------------------------------------------------------

    def carry_out(self, *, overwrite: bool = False, say: Callable[[str], None] = print) -> None:
        """Run every unfinished step, in order, under the run's lock.

        Args:
            overwrite: Redo steps whose configuration changed, instead of refusing.
            say: Receives one line per step.

        Raises:
            RunMismatchError: A folder was written by another configuration and `overwrite` is not set. Nothing is touched then.
            MissingFileError: With `only`, an earlier stage is not finished.
        """
        commit()  # that of the code which is loaded now
        with self.run.lock():
            chosen = [step for step in self.steps if self.only in (None, step.stage)]
            states = {step.name: step.state() for step in chosen}
            self._tell_untrained(say)
            changed = [step for step in chosen if states[step.name] == "changed"]
            stale = [step for step in changed if step.stage != "evaluate" or not step.has_known_origin()]  # numbers of our own are cheap
            if stale and not overwrite:
                raise RunMismatchError(stale[0].explain_stale())
            if linked := [step.folder for step in changed if step.folder.is_symlink()]:
                raise RunMismatchError(
                    f"{linked[0]} is to be made anew, but is a link to {linked[0].resolve()}, which is left alone; remove the link"
                )
            self.require_inputs(chosen)
            unfinished = [step for step in chosen if states[step.name] != "done" or step.stage == self.only == "evaluate"]
            if any(step.settings.get("model") for step in unfinished):
                require_model(self.config.model)  # before anything is given up for it
            if training := {get_method(step.method).training for step in unfinished if step.stage == "align" and step.method}:
                from grasper.align import TRAINERS

                for name in training:
                    TRAINERS.get(name)
            self._record_config()
            _tell_other_plugins([step for step in chosen if states[step.name] in ("done", "more to do") and step.stage != "evaluate"], say)
            for step in chosen:
                if step in unfinished:
                    self._carry_out_step(step, states[step.name], say)
                    give_back()
                else:
                    say(f"{step.name}: finished earlier ({step.folder})")
                if step.stage == "prepare" and len(unfinished) > (step in unfinished) and not self.is_for_use:
                    self.work.require_targets()  # before hours are spent on what leads to them

    def _tell_untrained(self, say: Callable[[str], None]) -> None:
        """Say which methods stay without the training that they declare."""
        if self.only in (None, "align"):
            for method in self.methods:
                if method.training == "none" or self.config.aligns(method):
                    continue
                reason = "align.num_pairs is 0"
                if self.config.align.num_pairs != 0:
                    reason = f"{self.config.model.name} gives no weights; its roles go by their prompts alone"
                say(f"{method.name}: not trained, {reason}")

    def require_inputs(self, chosen: Sequence[Step]) -> None:
        """Raise where a step that is read, and not itself to be done, is unfinished, damaged or of another configuration."""
        for step in {read.name: read for reader in chosen for read in reader.reads if read not in chosen}.values():
            state = step.state()
            if state == "changed" and (step.folder / "manifest.json").exists():
                raise RunMismatchError(step.explain_stale(f"`grasper {step.stage} --overwrite`"))
            self.run.require(step.folder)
            if state == "more to do":
                raise RunMismatchError(f"{step.folder} does not hold all targets that are asked for; run `grasper {step.stage}` with them first")

    def _record_config(self, step: Step | None = None) -> None:
        """Keep in `config.yaml` what the folders are made with: of the present configuration only what this step reads, of a new run all of it.

        A method that was named before and of which nothing is there, as after `grasper prepare` alone, is no method of the run.
        """
        path, now = self.run.root / "config.yaml", self.config
        if not path.exists():
            write_text(path, dump_config(now))
        elif step or (self.is_for_use and self.only is None):
            kept = load_config(path)
            names = ["seed", *(step.sections if step else ("model", "prompts", "synthesize", "generate"))]  # no step reads those: `write` does
            if step and step.scope:
                names += ["split", "limit", "tasks"]
            changes = {name: getattr(now, name) for name in names}
            begun = [name for name in kept.methods if any((self.run.root / stage / name).is_dir() for stage in ("align", "synthesize", "generate"))]
            methods = tuple(dict.fromkeys([*begun, *now.methods]))
            write_text(path, dump_config(kept.model_copy(update={**changes, "methods": methods})))

    def _carry_out_step(self, step: Step, state: State, say: Callable[[str], None]) -> None:
        if state == "changed":
            shutil.rmtree(step.folder)
        step.folder.mkdir(parents=True, exist_ok=True)
        manifest = read_manifest(step.folder) if state != "done" else None  # what is done and asked for all the same, an evaluation, is made anew
        earlier = step.seconds_spent() if state == "cut off" else manifest["seconds"] if manifest else 0.0
        for path in filter(is_leftover, list(step.folder.rglob("*"))):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)  # gone with its folder
        started_path = step.folder / "started.json"

        def note(seconds: float) -> None:
            write_json(started_path, {"fingerprint": step.fingerprint, "key": step.key, "seconds": seconds})

        note(earlier)
        (step.folder / "manifest.json").unlink(missing_ok=True)
        config_path = self.run.root / "config.yaml"
        config_before = config_path.read_text(encoding="utf-8")
        self._record_config(step)
        say(f"{step.name}: {_WORDS.get(state, 'running')}")
        started = time.monotonic()
        try:
            counts = step.work(step.folder)
        except BaseException:
            note(earlier + time.monotonic() - started)
            if not step.holds_anything():
                write_text(config_path, config_before)  # a setting that made nothing holds for no later command
            raise
        seconds = earlier + time.monotonic() - started
        self.run.finish(step.folder, key=step.key, seed=self.config.seed, counts=counts, seconds=seconds, scope=step.scope)
        started_path.unlink()
        say(f"{step.name}: done in {seconds:.1f} s ({step.folder})")
        for concern in concerns(counts):
            say(f"{step.name}: {concern}")


def _tell_other_plugins(kept: Sequence[Step], say: Callable[[str], None]) -> None:
    """Say what was made while a plugin held something else: its code is no part of a step's key, or a new metric would cost all texts."""
    for name, version in plugin_versions().items():
        if made := [step.name for step in kept if (read_manifest(step.folder) or {}).get("versions", {}).get(name, version) != version]:
            say(f"{name} has changed since {', '.join(made)} were made; where that matters, delete their folders or choose another --run")


_WORDS = {
    "cut off": "resuming",
    "more to do": "writing what is missing",
    "damaged": "a file was damaged or lost; keeping what is whole, writing the rest",
}


def dump_config(config: Config) -> str:
    """The resolved configuration as YAML. Secrets are never part of it: it names only the environment variable of a key."""
    import yaml

    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def _present(*steps: Step | None) -> tuple[Step, ...]:
    return tuple(step for step in steps if step is not None)
