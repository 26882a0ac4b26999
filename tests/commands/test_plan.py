from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from grasper.cli import app
from grasper.commands.plan import finished_run, listed, plan_of_options, read_config
from grasper.config import Config, PrepareConfig
from grasper.errors import ConfigError, MissingFileError, UnknownMethodError, UnknownNameError
from grasper.pipeline import dump_config
from grasper.runs import Run


@pytest.fixture
def prepared(tmp_path: Path) -> str:
    """A run of which nothing but its data is there."""
    run = Run(tmp_path / "run")
    run.folder("prepare").mkdir(parents=True)
    (run.root / "config.yaml").write_text(dump_config(Config(seed=7)), encoding="utf-8")
    run.finish(run.folder("prepare"), key={}, seed=7, counts={}, seconds=0.0)
    return str(run.root)


def test_names_are_listed_with_or_without_a_last_comma() -> None:
    assert listed("copy, none,") == listed("copy,none") == ("copy", "none")
    assert listed(None) is None
    assert listed(" , ") == ()


def test_a_finished_run_comes_with_its_configuration(prepared: str, tmp_path: Path) -> None:
    """Its own, under the settings and methods of the command."""
    run, config = finished_run(prepared, ["limit=3"], "copy,")
    assert (run.root, config.seed, config.limit, config.methods) == (Path(prepared), 7, 3, ("copy",))
    assert finished_run(prepared, None, None)[1] == Config(seed=7)
    for setting in ("predict.encoder=magic", "align.reward=magic", "evaluate.extra_metrics=[magic]"):
        with pytest.raises((ConfigError, UnknownNameError), match="magic"):
            read_config(None, [setting])
    with pytest.raises(MissingFileError, match="prepare"):
        finished_run(str(tmp_path / "absent"), None, None)


def test_a_judge_at_a_server_may_grade_what_was_aligned_by_likelihood(prepared: str) -> None:
    """The model of a command over finished texts is another than the one that they were made with, which alone must have told probabilities."""
    config = Config(methods=("pat",)).model_dump(mode="json") | {"align": {"dpo": {"reward": "likelihood"}}}
    (Path(prepared) / "config.yaml").write_text(dump_config(Config.model_validate(config)), encoding="utf-8")
    _, judging = finished_run(prepared, ["model.kind=endpoint", "model.name=strong", "model.base_url=http://localhost:1/v1"], None)
    assert (judging.model.name, judging.methods) == ("strong", ("pat",))


def test_no_method_is_never_all_methods(prepared: str) -> None:
    for refuse in (lambda: finished_run(prepared, None, ","), lambda: plan_of_options(None, None, None, prepared, "", None, None)):
        with pytest.raises(ConfigError, match="--methods is empty"):
            refuse()


def test_a_run_without_a_name_goes_on_with_its_own_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The folder is that of the data set's name; what was asked for there holds on, under the options of the command, and is said."""
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "runs/harbour"
    root.mkdir(parents=True)
    (root / "config.yaml").write_text(dump_config(Config(limit=4, methods=("copy",), seed=7)), encoding="utf-8")
    plan = plan_of_options(None, None, ["seed=8"], None, None, None, None, only="evaluate")
    assert (plan.config.methods, plan.config.limit, plan.config.seed) == (("copy",), 4, 8)
    assert "configuration of runs/harbour" in capsys.readouterr().err
    other = plan_of_options(None, None, ["prepare.name=another"], None, None, None, None)
    assert (other.run.root.name, other.config) == ("another", Config().model_copy(update={"prepare": other.config.prepare}))
    (root / "config.yaml").write_text(dump_config(Config(limit=4, prepare=PrepareConfig(name="hotel"))), encoding="utf-8")
    assert plan_of_options(None, None, None, None, None, None, None).config == Config(), "of another data set"
    assert not capsys.readouterr().err


def test_a_configuration_that_made_nothing_is_said(tmp_path: Path, prepared: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "failed").mkdir()
    (tmp_path / "failed/config.yaml").write_text(dump_config(Config(seed=7)), encoding="utf-8")
    for root in (str(tmp_path / "failed"), prepared):
        assert plan_of_options(None, None, None, root, None, None, None).config.seed == 7
    assert [line.split(",")[1:] for line in capsys.readouterr().err.splitlines()] == [[" with which nothing is finished yet; -c chooses another"]]


def test_an_unknown_method_of_a_run_is_named_as_such(prepared: str) -> None:
    with pytest.raises(UnknownMethodError, match="unknown method 'nosuch'"):
        finished_run(prepared, None, "nosuch")


def test_a_judge_may_have_a_budget(prepared: str) -> None:
    """Which is for servers, as everywhere, and refused before a model is opened."""
    failed = CliRunner().invoke(app, ["judge", prepared, "--methods", "copy", "--budget", "5requests"]).exception
    assert isinstance(failed, ConfigError)
    assert "--budget is for servers" in str(failed)
