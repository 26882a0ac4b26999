"""The stages in order for the chosen methods: skips what is finished, resumes what was cut off, stops at what fails.

A step is one stage folder (for per-method stages, of one method). Its key holds everything that decides its content: its sections of the
configuration, the seed, and the fingerprints of the steps it reads. Keys follow from the configuration and the input data alone, so the whole
plan is known before any work starts.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from grasper.config import Config
from grasper.errors import RunMismatchError
from grasper.methods import Method, get_method
from grasper.models import fingerprint_model, require_model
from grasper.prompts.render import PROMPT_VERSION
from grasper.runs import Run, fingerprint, read_json, write_json, write_text
from grasper.work import Work

State = Literal["done", "cut off", "changed", "to do"]


@dataclass(frozen=True)
class Step:
    """One stage folder to be filled. `work` writes its files and returns the counts of its manifest."""

    stage: str
    method: str | None
    folder: Path
    key: dict[str, Any]
    work: Callable[[Path], dict[str, Any]] = field(repr=False)

    @property
    def name(self) -> str:
        return f"{self.stage}/{self.method}" if self.method else self.stage

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.key)

    def state(self) -> State:
        """What the folder holds now, seen from this step's key; a start that left nothing behind counts as none."""
        for file, state in (("manifest.json", "done"), ("started.json", "cut off")):
            path = self.folder / file
            if path.exists():
                if read_json(path)["fingerprint"] == self.fingerprint:
                    return state  # type: ignore[return-value]
                return "to do" if [*self.folder.iterdir()] == [self.folder / "started.json"] else "changed"
        return "to do"

    def differences(self) -> list[str]:
        """The entries of the key that differ from those that the folder was written with, as `name: then → now`."""
        path = next(path for file in ("manifest.json", "started.json") if (path := self.folder / file).exists())
        then, now = _flat(read_json(path)["key"]), _flat(json.loads(json.dumps(self.key, default=str)))
        return [f"{name}: {then.get(name)} → {now.get(name)}" for name in sorted({*then, *now}) if then.get(name) != now.get(name)]


class Pipeline:
    """The plan of one run and the means to carry it out."""

    def __init__(self, config: Config, run: Run) -> None:
        self.config, self.run = config, run
        self.methods: list[Method] = [get_method(name) for name in config.methods]
        self.work = Work(config, run, self.methods)

    # -- the plan ------------------------------------------------------------------------------------------------------------------

    @cached_property
    def steps(self) -> list[Step]:
        """All steps in order; later ones read earlier ones."""
        steps = [self._prepare_step()]
        prepare = steps[0].fingerprint
        predict = None
        aligning = {method.aligned_as: get_method(method.aligned_as) for method in self.methods}
        if any(method.uses_predictor for method in (*self.methods, *aligning.values())):
            steps.append(self._predict_step(prepare))
            predict = steps[-1].fingerprint
        aligned: dict[str, dict[str, str]] = {}
        written: dict[str, str] = {}
        for method in self.methods:
            owner = aligning[method.aligned_as]
            if owner.name not in aligned:
                step = self._align_step(owner, {"prepare": prepare, "predict": predict if owner.uses_predictor else None})
                steps += [step] if step else []
                aligned[owner.name] = {"align": step.fingerprint} if step else {}
            upstream = {"prepare": prepare, "predict": predict if method.uses_predictor else None} | aligned[owner.name]
            for make in (self._synthesize_step, self._generate_step):
                if step := make(method, upstream):
                    steps.append(step)
                    upstream = upstream | {step.stage: step.fingerprint}
            written[method.name] = upstream["generate"] or ""
        steps.append(self._evaluate_step(prepare, written))
        return steps

    def _step(self, stage: str, work: Callable[[Path], dict[str, Any]], key: dict[str, Any], method: Method | None = None) -> Step:
        plain = json.loads(json.dumps({"seed": self.config.seed, **key}, default=str))
        name = method.name if method else None
        return Step(stage, name, self.run.folder(stage, name), plain, work)

    def _prepare_step(self) -> Step:
        from grasper.prepare import fingerprint_data

        config = self.config.prepare
        key = {"prepare": config.model_dump(mode="json"), "data": fingerprint_data(config)}
        return self._step("prepare", self.work.prepare, key)

    def _predict_step(self, prepare: str) -> Step:
        key = {"predict": self.config.predict.model_dump(mode="json"), "inputs": {"prepare": prepare}}
        return self._step("predict", self.work.predict, key)

    def _writing_key(self, method: Method, upstream: dict[str, str | None]) -> dict[str, Any]:
        """What decides the texts of any stage that asks the language model."""
        return {
            "method": asdict(method),
            "model": fingerprint_model(self.config.model) if method.uses_model else None,
            "prompts": self.config.prompts.model_dump(mode="json") | {"version": PROMPT_VERSION} if method.uses_model else None,
            "ranker": self.config.generate.ranker,
            "inputs": upstream,
        }

    def _align_step(self, method: Method, upstream: dict[str, str | None]) -> Step | None:
        if method.training == "none":
            return None
        key = self._writing_key(method, upstream) | {"align": self.config.align.model_dump(mode="json")}
        if method.predicted != "none":
            key["synthesize"] = self.config.synthesize.model_dump(mode="json")
        return self._step("align", lambda folder: self.work.align(method, folder), key, method)

    def _synthesize_step(self, method: Method, upstream: dict[str, str | None]) -> Step | None:
        if method.predicted == "none":
            return None
        key = self._writing_key(method, upstream) | self._targets_key() | {"synthesize": self.config.synthesize.model_dump(mode="json")}
        return self._step("synthesize", lambda folder: self.work.synthesize(method, folder), key, method)

    def _generate_step(self, method: Method, upstream: dict[str, str | None]) -> Step:
        key = self._writing_key(method, upstream) | self._targets_key()
        key |= {"tasks": self.config.tasks, "generate": self.config.generate.model_dump(mode="json")}
        return self._step("generate", lambda folder: self.work.generate(method, folder), key, method)

    def _targets_key(self) -> dict[str, Any]:
        return {"split": self.config.split, "limit": self.config.limit}

    def _evaluate_step(self, prepare: str, written: dict[str, str]) -> Step:
        inputs = {"prepare": prepare, **written}
        key = {"evaluate": self.config.evaluate.model_dump(mode="json"), "tasks": self.config.tasks, "inputs": inputs, **self._targets_key()}
        return self._step("evaluate", self.work.evaluate, key)

    # -- carrying it out -----------------------------------------------------------------------------------------------------------

    def carry_out(self, *, only: str | None = None, overwrite: bool = False, say: Callable[[str], None] = print) -> None:
        """Run every unfinished step, in order, under the run's lock.

        Args:
            only: Run just this stage; the earlier ones must be finished.
            overwrite: Redo steps whose configuration changed, instead of refusing.
            say: Receives one line per step.

        Raises:
            RunMismatchError: A folder was written by another configuration and `overwrite` is not set. Nothing is touched then.
            MissingFileError: With `only`, an earlier stage is not finished.
        """
        with self.run.lock():
            chosen = [step for step in self.steps if only in (None, step.stage)]
            stale = [step for step in chosen if step.state() == "changed" and step.stage != "evaluate"]
            if stale and not overwrite:
                raise RunMismatchError(_explain_stale(stale))
            if only:
                for step in self._before(only):
                    self.run.require(step.folder)
                    if step.state() == "changed":
                        raise RunMismatchError(_explain_stale([step], f"`grasper {step.stage} --overwrite`"))
            if any(step.key.get("model") for step in stale):
                require_model(self.config.model)  # before anything is given up for it
            write_text(self.run.root / "config.yaml", dump_config(self.config))
            for step in chosen:
                self._carry_out_step(step, say)
                if step.stage == "prepare" and any(later.state() != "done" for later in chosen):
                    self.work.require_targets()  # before hours are spent on what leads to them

    def _before(self, stage: str) -> Iterator[Step]:
        """The steps that a stage reads from."""
        reads = {
            "prepare": (),
            "predict": ("prepare",),
            "align": ("prepare", "predict"),
            "synthesize": ("prepare", "predict", "align"),
            "generate": ("prepare", "predict", "align", "synthesize"),
            "evaluate": ("prepare", "generate"),
        }[stage]
        return (step for step in self.steps if step.stage in reads)

    def _carry_out_step(self, step: Step, say: Callable[[str], None]) -> None:
        state = step.state()
        if state == "done":
            say(f"{step.name}: finished earlier ({step.folder})")
            return
        if state == "changed":
            shutil.rmtree(step.folder)
        step.folder.mkdir(parents=True, exist_ok=True)
        elapsed_path = step.folder / "started.json"
        if state != "cut off":
            write_json(elapsed_path, {"fingerprint": step.fingerprint, "key": step.key, "seconds": 0.0})
        say(f"{step.name}: {'resuming' if state == 'cut off' else 'running'}")
        earlier = read_json(elapsed_path)["seconds"]
        started = time.monotonic()
        try:
            counts = step.work(step.folder)
        except BaseException:
            seconds = earlier + time.monotonic() - started
            write_json(elapsed_path, {"fingerprint": step.fingerprint, "key": step.key, "seconds": seconds})
            raise
        seconds = earlier + time.monotonic() - started
        self.run.finish(step.folder, key=step.key, seed=self.config.seed, counts=counts, seconds=seconds)
        elapsed_path.unlink()
        say(f"{step.name}: done in {seconds:.1f} s ({step.folder})")


def dump_config(config: Config) -> str:
    """The resolved configuration as YAML. Secrets are never part of it: it names only the environment variable of a key."""
    import yaml

    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def _flat(value: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, entry in value.items():
        flat |= _flat(entry, f"{prefix}{name}.") if isinstance(entry, dict) else {f"{prefix}{name}": entry}
    return flat


def _explain_stale(steps: Sequence[Step], remedy: str = "--overwrite") -> str:
    step = steps[0]
    differences = "; ".join(step.differences()[:4])
    return f"{step.folder} was written by another configuration ({differences}); choose another --run, or redo it with {remedy}"
