from __future__ import annotations

from pathlib import Path

import pytest

from grasper.config import Config, load_config
from grasper.errors import ConfigError, DataFormatError, MissingFileError, ModelNotFoundError, RunMismatchError, UnknownMethodError
from grasper.pipeline import Pipeline
from grasper.runs import Run


def plan(tmp_path: Path, *overrides: str, methods: tuple[str, ...] = ("copy",)) -> Pipeline:
    """A plan over the bundled data that needs no language model."""
    return Pipeline(load_config(None, overrides, methods=methods, limit=4), Run(tmp_path / "run"))


def carry_out(pipeline: Pipeline, **options: object) -> list[str]:
    said: list[str] = []
    pipeline.carry_out(say=said.append, **options)  # type: ignore[arg-type]
    return said


def test_a_change_reaches_exactly_the_steps_that_depend_on_it(tmp_path: Path) -> None:
    """Each setting changes the keys of its own stage and of the later ones, and no other."""
    before = {step.name: step.fingerprint for step in plan(tmp_path, methods=("copy", "grasper")).steps}

    def changed(*overrides: str) -> set[str]:
        steps = plan(tmp_path, *overrides, methods=("copy", "grasper")).steps
        return {step.name for step in steps if step.fingerprint != before[step.name]}

    of_grasper = {"align/grasper", "synthesize/grasper", "generate/grasper"}
    assert changed("evaluate.report_examples=3") == {"evaluate"}
    assert changed("predict.top_k=3") == {"predict", *of_grasper, "evaluate"}
    assert changed("align.epochs=3") == {*of_grasper, "evaluate"}
    assert changed("generate.temperature=0.9") == {"generate/copy", "generate/grasper", "evaluate"}
    assert changed("prepare.history_limit=1") == set(before)
    assert changed("model.batch_tokens=512") == set()


def test_methods_that_share_an_adapter_share_its_alignment(tmp_path: Path) -> None:
    """Other items than the predicted ones are written about with GraSPer's weights, which need the link predictor."""
    alone = [step.name for step in plan(tmp_path, methods=("grasper-random-items",)).steps]
    assert alone == ["prepare", "predict", "align/grasper", "synthesize/grasper-random-items", "generate/grasper-random-items", "evaluate"]
    both = plan(tmp_path, "align.epochs=3", methods=("grasper-random-items", "grasper")).steps
    assert [step.name for step in both].count("align/grasper") == 1
    before = {step.name: step.fingerprint for step in plan(tmp_path, methods=("grasper-random-items", "grasper")).steps}
    assert {step.name for step in both if step.fingerprint == before[step.name]} == {"prepare", "predict"}


def test_a_finished_plan_is_skipped_and_new_methods_join(tmp_path: Path) -> None:
    """The second call does nothing; a further method adds its own step and a new evaluation."""
    carry_out(plan(tmp_path))
    assert {step.state() for step in plan(tmp_path).steps} == {"done"}
    assert all("finished earlier" in line for line in carry_out(plan(tmp_path)))
    metrics = tmp_path / "run/evaluate/metrics.json"
    written = metrics.stat().st_mtime_ns
    more = plan(tmp_path, "tasks=[long]")
    assert [step.name for step in more.steps if step.state() == "changed"] == ["generate/copy", "evaluate"]
    assert metrics.stat().st_mtime_ns == written


def test_another_configuration_is_refused_and_overwrite_redoes_it(tmp_path: Path) -> None:
    """The error names the difference; nothing is touched until the user says so."""
    carry_out(plan(tmp_path))
    other = plan(tmp_path, "tasks=[rating]")
    with pytest.raises(RunMismatchError, match=r"generate/copy.*tasks"):
        carry_out(other)
    assert plan(tmp_path).steps[1].state() == "done"
    carry_out(other, overwrite=True)
    assert {step.state() for step in other.steps} == {"done"}


def test_nothing_is_given_up_for_a_model_that_is_not_there(tmp_path: Path) -> None:
    """Redoing a step with a mistyped model leaves what the step had written, and the run's configuration."""
    carry_out(plan(tmp_path, methods=("none",)))
    files = [tmp_path / "run" / name for name in ("generate/none/outputs.jsonl", "config.yaml")]
    written = [file.read_bytes() for file in files]
    with pytest.raises(ModelNotFoundError):
        carry_out(plan(tmp_path, "model.name=no/such-model", methods=("none",)), overwrite=True)
    assert [file.read_bytes() for file in files] == written


def test_a_single_stage_needs_its_inputs(tmp_path: Path) -> None:
    """`grasper evaluate` before `grasper generate` says what to run first."""
    with pytest.raises(MissingFileError, match="grasper prepare"):
        carry_out(plan(tmp_path), only="generate")
    carry_out(plan(tmp_path), only="prepare")
    with pytest.raises(RunMismatchError, match="redo it with `grasper prepare --overwrite`"):
        carry_out(plan(tmp_path, "prepare.history_limit=1"), only="generate", overwrite=True)
    carry_out(plan(tmp_path), only="generate")
    carry_out(plan(tmp_path), only="evaluate")
    assert (tmp_path / "run/evaluate/report.html").exists()


def test_a_failed_step_is_not_taken_for_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error in the middle leaves the step cut off; the next call resumes it."""
    import grasper.generate

    def fail(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(grasper.generate, "generate", fail)
        with pytest.raises(KeyboardInterrupt):
            carry_out(plan(tmp_path))
    states = {step.name: step.state() for step in plan(tmp_path).steps}
    assert states == {"prepare": "done", "generate/copy": "cut off", "evaluate": "to do"}
    assert "generate/copy: resuming" in carry_out(plan(tmp_path))


def test_a_step_that_left_nothing_may_start_with_another_configuration(tmp_path: Path) -> None:
    """After a mistake in the settings nothing has to be overwritten; what a step did write is still protected."""
    (table := tmp_path / "reviews.csv").write_text("who,what,body\n", encoding="utf-8")
    with pytest.raises(DataFormatError, match="no column 'user_id'"):
        carry_out(plan(tmp_path, "prepare.source=table", f"prepare.data={table}"))
    prepared = tmp_path / "run/prepare"
    assert [path.name for path in prepared.iterdir()] == ["started.json"]
    (prepared / "half").touch()
    with pytest.raises(RunMismatchError):
        carry_out(plan(tmp_path))
    (prepared / "half").unlink()
    assert carry_out(plan(tmp_path))[0] == "prepare: running"


def test_unknown_methods_and_empty_splits_are_named(tmp_path: Path) -> None:
    """The known names are listed; a split without targets lists those that have some, before anything is fitted."""
    with pytest.raises(UnknownMethodError, match="pgraphrag"):
        Pipeline(Config(methods=("magic",)), Run(tmp_path))
    pipeline = plan(tmp_path)
    carry_out(pipeline, only="prepare")
    empty = Pipeline(pipeline.config.model_copy(update={"split": "test", "methods": ("grasper",)}), pipeline.run)
    empty.work.tables.examples.drop(empty.work.tables.examples.index[empty.work.tables.examples["split"] == "test"], inplace=True)
    with pytest.raises(ConfigError, match="dev-a"):
        carry_out(empty)
    assert not (tmp_path / "run/predict").exists()
