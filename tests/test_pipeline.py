from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from processes import TERSE
from worlds import SeededModel, shown, system_of

from grasper.config import Config, GenerateConfig, load_config
from grasper.errors import ConfigError, DataFormatError, MissingFileError, ModelNotFoundError, RunMismatchError, UnknownMethodError, UnknownNameError
from grasper.files import read_json, write_json
from grasper.methods import METHODS, Method, get_method
from grasper.metrics.metric import METRICS, Metric
from grasper.pipeline import Pipeline
from grasper.records import TASKS, Example, Output, Tables
from grasper.registry import load_plugin
from grasper.retrieve.pool import reserved_split
from grasper.retrieve.store import RETRIEVERS
from grasper.retrieve.topic import SimilarTaste
from grasper.runs import Run
from grasper.written import load_outputs


def plan(tmp_path: Path, *overrides: str, methods: tuple[str, ...] = ("copy",), limit: int = 4, only: str | None = None) -> Pipeline:
    """A plan over the bundled data that needs no language model."""
    return Pipeline(load_config(None, overrides, methods=methods, limit=limit), Run(tmp_path / "run"), only=only)


def carry_out(pipeline: Pipeline, **options: object) -> list[str]:
    said: list[str] = []
    pipeline.carry_out(say=said.append, **options)  # type: ignore[arg-type]
    return said


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of a plan without overrides, carried out once."""
    folder = tmp_path_factory.mktemp("finished")
    carry_out(plan(folder))
    return folder / "run"


@pytest.fixture
def finished(finished_run: Path, tmp_path: Path) -> None:
    """A copy of the finished run, for one test to change."""
    shutil.copytree(finished_run, tmp_path / "run")


def test_a_change_reaches_exactly_the_steps_that_depend_on_it(tmp_path: Path) -> None:
    """Each setting changes the keys of its own stage and of the later ones, and no other."""
    before = {step.name: step.fingerprint for step in plan(tmp_path, methods=("copy", "grasper")).steps}

    def changed(*overrides: str) -> set[str]:
        steps = plan(tmp_path, *overrides, methods=("copy", "grasper")).steps
        return {step.name for step in steps if step.fingerprint != before[step.name]}

    of_grasper = {"align/grasper", "synthesize/grasper", "generate/grasper"}
    assert changed("evaluate.report_examples=3") == {"evaluate"}
    assert changed("predict.top_k=3") == {"predict", *of_grasper, "evaluate"}
    assert changed("synthesize.num_items=4") == {*of_grasper, "evaluate"}
    assert changed("synthesize.num_items=12") == {"predict", *of_grasper, "evaluate"}, "more than predict.top_k"
    assert changed("align.epochs=3") == {*of_grasper, "evaluate"}
    assert changed("generate.temperature=0.9") == {"generate/grasper", "evaluate"}, "copy asks no model"
    assert changed("prepare.history_limit=1") == set(before)
    assert changed("model.batch_tokens=512") == set()


OTHERWISE = {
    "temperature": 0.9,
    "path_temperature": 0.8,
    "top_p": 0.5,
    "consensus_samples": 2,
    "counted_path": True,
    "pooled_paths": 2,
    "neighbour_sets": 2,
    "plain_weight": 0.2,
    "least_length": 0.7,
    "kept_draft": "agreed",
    "rating": "argmax",
}
"""Another value for every setting of `generate`."""


class Pooling(SeededModel):
    """Remembers all that it was asked, and how."""

    can_pool = True

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def generate(self, prompts, **settings):  # type: ignore[no-untyped-def]
        self.asked += [f"{shown(prompt)} {settings}" for prompt in prompts]
        return super().generate(prompts, **settings)

    def generate_pooled(self, pools, **settings):  # type: ignore[no-untyped-def]
        self.asked += [f"{[shown(prompt) for prompt in pool.prompts]} {pool.weights} {settings}" for pool in pools]
        return super().generate([pool.prompts[0] for pool in pools], n=settings["n"], seed=settings["seed"])


@pytest.mark.parametrize("name", ["copy", "none", "pgraphrag", "pgraphrag-sets", "grasper-no-reasoning", "rest_pg", "pat-one-step"])
def test_texts_stay_where_a_setting_changes_that_they_do_not_depend_on(tmp_path: Path, tables: Tables, name: str) -> None:
    """What the key leaves out changes nothing, neither in what the model is asked nor in what comes of it; every setting is in some key."""
    assert set(OTHERWISE) == set(GenerateConfig.model_fields)
    step = next(step for step in plan(tmp_path, methods=(name,)).steps if step.stage == "generate")
    unused = {setting: value for setting, value in OTHERWISE.items() if setting not in step.settings["generate"]}
    assert not {"temperature", "consensus_samples", "least_length"} & set(unused) or name == "copy"

    def written(**settings: object) -> tuple[list[Output], list[str]]:
        model = Pooling()
        system = system_of(name, tables, model, generation=GenerateConfig(**settings), neighbour_entries=1)  # type: ignore[arg-type]
        return [output for task in TASKS for output in system.write(task, tables.select("dev"), {})], model.asked

    before = written()
    for setting, value in unused.items():
        assert written(**{setting: value}) == before, setting


def test_every_setting_of_writing_is_in_the_key_of_some_method(tmp_path: Path) -> None:
    keys = [step.settings["generate"] for step in plan(tmp_path, methods=("grasper", "pgraphrag", "pat")).steps if step.stage == "generate"]
    assert set().union(*keys) == set(OTHERWISE)


def test_alignment_on_a_consensus_depends_on_how_it_is_written(tmp_path: Path) -> None:
    def key(*overrides: str, method: str = "grasper") -> str:
        chosen = ("align.consensus_samples=2", *overrides)
        return next(step.fingerprint for step in plan(tmp_path, *chosen, methods=(method,)).steps if step.stage == "align")

    assert key("generate.temperature=0.9") != key() != key("generate.least_length=1")
    assert key("generate.neighbour_sets=2") != key() != key("generate.plain_weight=0.1")
    assert key("generate.consensus_samples=8") == key() == key("generate.rating=argmax")
    assert key("align.consensus_samples=0", "generate.neighbour_sets=2") == key("align.consensus_samples=0")
    assert key("generate.temperature=0.9", method="rest_pg") == key(method="rest_pg")  # which learns none


def test_alignment_writes_its_consensus_before_it_trains(tmp_path: Path) -> None:
    """Without paths, each chosen among as many samples as asked, for every pair that has a text; once."""
    settings = ("align.consensus_samples=2", "align.num_pairs=3", "align.num_held_out=0", "align.num_samples=1", "align.epochs=1")
    for stage in ("prepare", "align"):
        run = plan(tmp_path, *settings, *TERSE, "align.reward_threshold=0", methods=("grasper-no-synthetic",), only=stage)
        carry_out(run)
    outputs = load_outputs(tmp_path / "run/align/grasper-no-synthetic/consensus/outputs.jsonl")
    assert len(outputs) == 3
    assert all(len(output.samples) == 2 and output.text in output.samples and output.path is None for output in outputs)
    pairs = {example.example_id: example for example in run.work.workshop.tables.select("align")}
    assert all(pairs[output.example_id].target.review_id not in output.evidence for output in outputs)


@pytest.mark.usefixtures("finished")
def test_the_alignment_is_given_pairs_of_reserved_users_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One share of them to train on, the other to be measured on, and nobody who is evaluated."""
    given: list[list[Example]] = []
    monkeypatch.setattr("grasper.align.align", lambda config, desk, pairs, held_out, *rest, **options: given.extend([pairs, held_out]) or {})
    monkeypatch.setattr("grasper.align.stage.is_trainable", lambda model: True)
    carry_out(plan(tmp_path, "model.kind=scripted", methods=("rest_pg",), only="align"))
    assert [{example.split for example in examples} for examples in given] == [{"align"}, {"held-out"}]
    assert [{reserved_split(example.user_id) for example in examples} for examples in given] == [{"align"}, {"held-out"}]


def test_methods_that_share_an_adapter_share_its_alignment(tmp_path: Path) -> None:
    """Other items than the predicted ones are written about with GraSPer's weights, which need the link predictor."""
    alone = [step.name for step in plan(tmp_path, methods=("grasper-random-items",)).steps]
    assert alone == ["prepare", "predict", "align/grasper", "synthesize/grasper-random-items", "generate/grasper-random-items", "evaluate"]
    both = plan(tmp_path, "align.epochs=3", methods=("grasper-random-items", "grasper")).steps
    assert [step.name for step in both].count("align/grasper") == 1
    before = {step.name: step.fingerprint for step in plan(tmp_path, methods=("grasper-random-items", "grasper")).steps}
    assert {step.name for step in both if step.fingerprint == before[step.name]} == {"prepare", "predict"}


def test_without_training_pairs_every_method_writes_with_the_same_weights(tmp_path: Path) -> None:
    """Zero pairs leave the alignment out, which is said; everything after it goes on, on the model as it is."""
    unaligned = plan(tmp_path, *TERSE, "align.num_pairs=0", "tasks=[title]", "synthesize.num_items=1", methods=("grasper", "pgraphrag"), limit=1)
    assert not [step for step in unaligned.steps if step.stage == "align"]
    said = carry_out(unaligned)
    assert "grasper: not trained, align.num_pairs is 0" in said
    assert not (tmp_path / "run/align").exists()
    systems = [unaligned.work.workshop.system(get_method(method)) for method in ("grasper", "pgraphrag")]
    assert systems[0].desk.model.name == systems[1].desk.model.name
    assert "+" not in systems[0].desk.model.name  # what an adapter would add
    assert all(len(load_outputs(tmp_path / "run/generate" / method / "outputs.jsonl")) == 1 for method in ("grasper", "pgraphrag"))


@pytest.mark.usefixtures("finished")
def test_a_finished_plan_is_skipped_and_new_methods_join(tmp_path: Path) -> None:
    """The second call does nothing; a further method adds its own step and a new evaluation."""
    assert {step.state() for step in plan(tmp_path).steps} == {"done"}
    assert all("finished earlier" in line for line in carry_out(plan(tmp_path)))
    metrics = tmp_path / "run/evaluate/metrics.json"
    written = metrics.stat().st_mtime_ns
    fewer = plan(tmp_path, "tasks=[long]")
    assert [step.name for step in fewer.steps if step.state() == "changed"] == ["evaluate"]
    assert metrics.stat().st_mtime_ns == written


def test_more_targets_and_tasks_add_to_what_is_there(tmp_path: Path) -> None:
    """A larger limit writes the missing texts behind the old ones; a smaller one finds all that it asks for."""
    carry_out(plan(tmp_path, "tasks=[long]", limit=3))
    outputs = tmp_path / "run/generate/copy/outputs.jsonl"
    before = outputs.read_bytes()
    more = plan(tmp_path, limit=6)
    assert {step.name: step.state() for step in more.steps} == {"prepare": "done", "generate/copy": "more to do", "evaluate": "changed"}
    assert "generate/copy: writing what is missing" in carry_out(more)
    assert outputs.read_bytes().startswith(before)
    whole = Pipeline(more.config, Run(tmp_path / "whole"))
    carry_out(whole)
    grown, undisturbed = (sorted(map(repr, load_outputs(root / "generate/copy/outputs.jsonl"))) for root in (tmp_path / "run", tmp_path / "whole"))
    assert grown == undisturbed
    assert plan(tmp_path, "tasks=[rating]", limit=2).steps[1].state() == "done"


@pytest.mark.usefixtures("finished")
def test_another_configuration_is_refused_and_overwrite_redoes_it(tmp_path: Path) -> None:
    """The error names the difference; nothing is touched until the user says so."""
    other = plan(tmp_path, "prepare.history_limit=1")
    with pytest.raises(RunMismatchError, match=r"prepare was.*prepare\.history_limit: None → 1"):
        carry_out(other)
    assert plan(tmp_path).steps[1].state() == "done"
    carry_out(other, overwrite=True)
    assert {step.state() for step in other.steps} == {"done"}


@pytest.mark.usefixtures("finished")
def test_the_runs_configuration_is_what_its_folders_were_made_with(tmp_path: Path) -> None:
    """One-off options of a command reach `config.yaml` only where they made something."""
    path = tmp_path / "run/config.yaml"
    carry_out(plan(tmp_path, "evaluate.bootstrap_samples=200", "model.name=no/such-model", "predict.top_k=3", limit=2, only="evaluate"))
    kept = load_config(path)
    assert (kept.evaluate.bootstrap_samples, kept.model.name, kept.predict.top_k, kept.limit, kept.methods) == (200, "nano", 10, 4, ("copy",))
    carry_out(plan(tmp_path, "predict.max_epochs=1", "predict.top_k=3", methods=("grasper",), only="predict"))
    assert load_config(path).predict.top_k == 3
    carry_out(plan(tmp_path, limit=5))
    assert load_config(path).limit == 5


def test_methods_that_nothing_came_of_are_none_of_the_run(tmp_path: Path) -> None:
    """Prepared with all methods, carried out with one: `evaluate` alone asks for no other; a method that has begun stays."""
    carry_out(plan(tmp_path, methods=("none", "copy"), only="prepare"))
    carry_out(plan(tmp_path, methods=("copy",)))
    kept = load_config(tmp_path / "run/config.yaml")
    assert kept.methods == ("copy",)
    carry_out(Pipeline(kept, Run(tmp_path / "run"), only="evaluate"))
    carry_out(plan(tmp_path, "align.num_pairs=0", methods=("grasper-popular-items",), only="predict"))
    assert load_config(tmp_path / "run/config.yaml").methods == ("copy", "grasper-popular-items")


@pytest.mark.usefixtures("finished")
def test_a_setting_of_a_failed_step_holds_for_no_later_command(tmp_path: Path) -> None:
    """Neither its own nor those of the steps that it kept from being done; what was made before it stays recorded."""
    path = tmp_path / "run/config.yaml"
    (table := tmp_path / "reviews.csv").write_text("who,what,body\n", encoding="utf-8")
    before = load_config(path)
    settings = ("prepare.source=table", "prepare.split=users", f"prepare.data={table}", "prepare.encoding=cp1252", "predict.top_k=3")
    with pytest.raises(DataFormatError, match="no column 'user_id'"):
        carry_out(plan(tmp_path, *settings, methods=("grasper",)), overwrite=True)
    assert load_config(path) == before
    overrides = ("predict.encoder=ease", "predict.top_k=3", "generate.top_p=0.5", "model.kind=scripted", "tasks=[rating]", "align.num_pairs=0")
    failing = plan(tmp_path, *overrides, methods=("grasper-popular-items",), limit=2)
    failing.work.synthesize = lambda method, folder: fail()  # type: ignore[method-assign]

    def fail() -> dict[str, object]:
        raise ConfigError("that cannot be")

    with pytest.raises(ConfigError, match="that cannot be"):
        carry_out(failing)
    kept = load_config(path)
    assert (kept.predict.top_k, kept.generate, kept.model, kept.tasks) == (3, before.generate, before.model, before.tasks)


@pytest.mark.parametrize("damage", ["cut", "changed", "removed"])
@pytest.mark.usefixtures("finished")
def test_damage_is_told_and_mended_by_running_again(tmp_path: Path, damage: str) -> None:
    """A file of a finished stage that is not what was written is never read; what is whole of it is kept."""
    outputs = tmp_path / "run/generate/copy/outputs.jsonl"
    whole = outputs.read_bytes()
    if damage == "removed":
        outputs.unlink()
    else:
        outputs.write_bytes(whole[:-200] if damage == "cut" else whole.replace(b"the", b"teh", 1))
    with pytest.raises(RunMismatchError, match=r"outputs\.jsonl.*run `grasper generate --run \S+` again"):
        carry_out(plan(tmp_path, only="evaluate"))
    assert plan(tmp_path).steps[1].state() == "damaged"
    carry_out(plan(tmp_path, only="generate"))
    mended, undamaged = (sorted(line for line in content.splitlines() if b'"batch"' not in line) for content in (outputs.read_bytes(), whole))
    assert mended == undamaged
    carry_out(plan(tmp_path, only="evaluate"))


@pytest.mark.usefixtures("finished")
def test_texts_of_unknown_origin_are_not_adopted(tmp_path: Path) -> None:
    """Without its manifest nobody knows what a folder was made with: it is redone on demand only."""
    for content in (None, "{}", "[]", "{"):
        path = tmp_path / "run/generate/copy/manifest.json"
        path.unlink() if content is None else path.write_text(content)
        with pytest.raises(RunMismatchError, match=r"manifest.*--overwrite"):
            carry_out(plan(tmp_path))
        with pytest.raises((RunMismatchError, MissingFileError)):
            carry_out(plan(tmp_path, only="evaluate"))
        carry_out(plan(tmp_path), overwrite=True)


@pytest.mark.parametrize("only", [None, "evaluate"])
def test_a_folder_of_somebodys_own_is_not_replaced_by_the_report(tmp_path: Path, only: str | None) -> None:
    """Results of grasper's own are made anew without a word; whatever else is called `evaluate` needs `--overwrite`."""
    for stage in ("prepare", "generate"):
        carry_out(plan(tmp_path, only=stage))
    notes = tmp_path / "run/evaluate/notes.txt"
    notes.parent.mkdir()
    notes.write_text("mine")
    with pytest.raises(RunMismatchError, match=r"evaluate was written.*nothing tells what they were made with.*--overwrite"):
        carry_out(plan(tmp_path, only=only))
    assert notes.read_text() == "mine"
    carry_out(plan(tmp_path, only=only), overwrite=True)
    assert not notes.exists()
    carry_out(plan(tmp_path, "evaluate.bootstrap_samples=200", only=only))


@pytest.mark.usefixtures("finished")
def test_what_a_link_leads_to_is_left_alone(tmp_path: Path) -> None:
    """A stage folder that is a link is read and added to; to be made anew, somebody has to say what becomes of the other place."""
    (tmp_path / "run/generate/copy").rename(tmp_path / "elsewhere")
    (tmp_path / "run/generate/copy").symlink_to(tmp_path / "elsewhere")
    assert {step.state() for step in plan(tmp_path).steps} == {"done"}
    with pytest.raises(RunMismatchError, match=r"generate/copy is to be made anew, but is a link to .*elsewhere"):
        carry_out(plan(tmp_path, "prepare.history_limit=1"), overwrite=True)
    assert (tmp_path / "elsewhere/outputs.jsonl").exists()


def test_evaluation_needs_the_run_folder_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the raw data nor the model is looked at, and the numbers are made anew each time."""
    table = tmp_path / "reviews.csv"
    rows = [f"u{i},i{i % 3},{1 + i % 5},words number {i} of a review,title {i}" for i in range(400)]
    table.write_text("user_id,item_id,rating,text,title\n" + "\n".join(rows), encoding="utf-8")
    settings = ("prepare.source=table", f"prepare.data={table}", "prepare.split=users", "prepare.columns.timestamp=null")
    carry_out(plan(tmp_path, *settings))
    table.unlink()
    metrics = tmp_path / "run/evaluate/metrics.json"
    before = metrics.read_bytes()
    metrics.write_text("{}")
    carry_out(Pipeline(load_config(tmp_path / "run/config.yaml"), Run(tmp_path / "run"), only="evaluate"))
    assert metrics.read_bytes() == before


@pytest.mark.usefixtures("finished")
def test_a_metric_that_is_registered_later_joins_a_finished_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The texts stay, the numbers are made anew."""
    monkeypatch.setattr(METRICS, "_parts", dict(METRICS._parts))
    METRICS.register("ones", Metric("ones", "Ones", lambda batch: [1.0] * len(batch.texts), tasks=("long",)))
    said = carry_out(plan(tmp_path))
    assert [line.split(":")[0] for line in said if "finished earlier" in line] == ["prepare", "generate/copy"]
    assert read_json(tmp_path / "run/evaluate/metrics.json")["methods"]["copy"]["long"]["ones"]["value"] == 1


def test_what_a_plugin_made_before_it_changed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its texts are kept and its numbers made anew; the manifests say which version made what."""
    monkeypatch.setattr("grasper.registry._plugins", {})
    (tmp_path / "ours.py").write_text("NUMBER = 1\n")
    load_plugin(tmp_path / "ours.py")
    first = carry_out(plan(tmp_path))
    assert not [line for line in first if "has changed" in line]
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/ours.py").write_text("NUMBER = 2\n")
    load_plugin(tmp_path / "elsewhere/ours.py")  # as another process would find the file
    said = carry_out(plan(tmp_path))
    assert said[0] == "ours.py has changed since prepare, generate/copy were made; where that matters, delete their folders or choose another --run"
    assert [line.split(":")[0] for line in said if "finished earlier" in line] == ["prepare", "generate/copy"]
    then, now = (read_json(tmp_path / f"run/{stage}/manifest.json")["versions"]["ours.py"] for stage in ("generate/copy", "evaluate"))
    assert then != now


def test_texts_of_two_models_are_not_compared(tmp_path: Path) -> None:
    """A method that another model wrote anew stands beside those of the first one: that is told, with both names."""

    def scripted(name: str, *methods: str, only: str | None = None) -> Pipeline:
        return plan(tmp_path, "model.kind=scripted", f"model.name={name}", "tasks=[long]", methods=methods, limit=2, only=only)

    carry_out(scripted("alpha", "none", "lamp"))
    carry_out(scripted("alpha", "none", "lamp", only="evaluate"))
    carry_out(scripted("beta", "lamp"), overwrite=True)
    with pytest.raises(RunMismatchError, match=r"generate/none was written by another configuration \(model\.name: alpha → beta\)"):
        carry_out(scripted("beta", "none", "lamp", only="evaluate"))


def test_evaluation_goes_by_the_weights_of_the_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that a local model wrote is evaluated where that model is not."""
    from grasper.models import locate

    monkeypatch.setattr(locate, "describe_weights", lambda name: {"model.safetensors": "1234"})
    writing = plan(tmp_path, "model.name=my/model", "tasks=[long]", methods=("none",), limit=1, only="evaluate")
    then = next(step for step in writing.steps if step.name == "generate/none")
    then.folder.mkdir(parents=True)
    writing.run.finish(then.folder, key=then.key, seed=0, counts={}, seconds=0.0, scope=then.scope)
    monkeypatch.setattr(locate, "describe_weights", lambda name: pytest.fail("the weights were looked for"))
    assert plan(tmp_path, "model.name=my/model", "tasks=[long]", methods=("none",), limit=1, only="evaluate").steps[1].state() == "done"


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
        carry_out(plan(tmp_path, only="generate"))
    carry_out(plan(tmp_path, only="prepare"))
    with pytest.raises(RunMismatchError, match="redo it with `grasper prepare --overwrite`"):
        carry_out(plan(tmp_path, "prepare.history_limit=1", only="generate"), overwrite=True)
    carry_out(plan(tmp_path, only="generate"))
    with pytest.raises(RunMismatchError, match="does not hold all targets"):
        carry_out(plan(tmp_path, limit=9, only="evaluate"))
    carry_out(plan(tmp_path, only="evaluate"))
    assert (tmp_path / "run/evaluate/report.html").exists()


def cut_off(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C before the first text is written."""
    import grasper.generate

    def fail(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(grasper.generate, "generate", fail)
        with pytest.raises(KeyboardInterrupt):
            carry_out(plan(folder))


def test_a_failed_step_is_not_taken_for_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error in the middle leaves the step cut off; the next call resumes it."""
    cut_off(tmp_path, monkeypatch)
    states = {step.name: step.state() for step in plan(tmp_path).steps}
    assert states == {"prepare": "done", "generate/copy": "cut off", "evaluate": "to do"}
    assert "generate/copy: resuming" in carry_out(plan(tmp_path))


def test_an_evaluation_that_is_asked_for_again_takes_its_own_seconds(finished: None, tmp_path: Path) -> None:
    """It is made anew each time, so what the last one took is no part of it."""
    run = Run(tmp_path / "run")
    then = run.require(run.folder("evaluate"))
    run.finish(run.folder("evaluate"), key=then["key"], seed=0, counts=then["counts"], seconds=1000.0)
    carry_out(plan(tmp_path, only="evaluate"))
    assert run.require(run.folder("evaluate"))["seconds"] < 1000


def test_a_kill_loses_no_seconds_of_finished_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Five seconds were noted at the start, and the last batch before the kill was written a hundred seconds later."""
    cut_off(tmp_path, monkeypatch)
    folder = tmp_path / "run/generate/copy"
    write_json(folder / "started.json", read_json(folder / "started.json") | {"seconds": 5.0})
    (outputs := folder / "outputs.jsonl").touch()
    noted = (folder / "started.json").stat().st_mtime
    os.utime(outputs, (noted + 100, noted + 100))
    carry_out(plan(tmp_path))
    assert 105 <= read_json(folder / "manifest.json")["seconds"] < 165


def test_a_step_that_left_nothing_may_start_with_another_configuration(tmp_path: Path) -> None:
    """After a mistake in the settings nothing has to be overwritten; what a step did write is still protected."""
    (table := tmp_path / "reviews.csv").write_text("who,what,body\n", encoding="utf-8")
    with pytest.raises(DataFormatError, match="no column 'user_id'"):
        carry_out(plan(tmp_path, "prepare.source=table", "prepare.split=users", f"prepare.data={table}"))
    prepared = tmp_path / "run/prepare"
    assert [path.name for path in prepared.iterdir()] == ["started.json"]
    (prepared / "half").touch()
    with pytest.raises(RunMismatchError):
        carry_out(plan(tmp_path))
    (prepared / "half").unlink()
    (prepared / ".started.json.123.tmp").touch()  # what a kill leaves while the start is written
    assert carry_out(plan(tmp_path))[0] == "prepare: running"
    assert not (prepared / ".started.json.123.tmp").exists()


def test_likelihoods_that_the_model_cannot_tell_are_refused_before_anything_is_done(tmp_path: Path) -> None:
    """Behind an endpoint PAT's notes cannot be judged by them; a local model that is trained for it can."""
    endpoint = ("align.dpo.reward=likelihood", "model.kind=endpoint", "model.name=served", "model.base_url=http://localhost:1/v1")
    with pytest.raises(ConfigError, match=r"align\.dpo\.reward=likelihood needs a local model.* for pat model\.kind is endpoint"):
        plan(tmp_path, *endpoint, methods=("pat",))
    assert not (tmp_path / "run").exists()
    plan(tmp_path, *endpoint, methods=("pat-no-rl", "grasper"))
    plan(tmp_path, *endpoint, "model.trained=nano", methods=("pat",))


def test_without_alignment_the_key_names_the_model_that_writes(tmp_path: Path) -> None:
    """At a server that would serve a trained adapter under a name of its own, the base writes where there is none."""
    server = ("model.kind=endpoint", "model.base_url=http://127.0.0.1:9", "model.trained=nano", "align.num_pairs=0")
    keys = [
        {step.name: step.fingerprint for step in plan(tmp_path, *server, f"model.name={name}", methods=("grasper",)).steps}
        for name in ("model-a", "model-b")
    ]
    assert {name for name in keys[0] if keys[0][name] != keys[1][name]} == {"synthesize/grasper", "generate/grasper", "evaluate"}


def test_an_unknown_encoder_is_named_before_anything_is_done(tmp_path: Path) -> None:
    """Also where no method needs a predictor: a mistyped setting is never passed over."""
    with pytest.raises(UnknownNameError, match=r"unknown encoder 'magic'; known: .*hybrid"):
        plan(tmp_path, "predict.encoder=magic")
    assert not (tmp_path / "run").exists()


def test_unknown_methods_and_empty_splits_are_named(tmp_path: Path) -> None:
    """The known names are listed; a split without targets lists those that have some, before anything is fitted."""
    with pytest.raises(UnknownMethodError, match="pgraphrag"):
        Pipeline(Config(methods=("magic",)), Run(tmp_path))
    pipeline = plan(tmp_path, only="prepare")
    carry_out(pipeline)
    empty = Pipeline(pipeline.config.model_copy(update={"split": "test", "methods": ("grasper",)}), pipeline.run)
    examples = empty.work.workshop.tables.examples
    examples.drop(examples.index[examples["split"] == "test"], inplace=True)
    with pytest.raises(ConfigError, match="dev-a"):
        carry_out(empty)
    assert not (tmp_path / "run/predict").exists()


@pytest.mark.parametrize("methods", [("copy",), ("grasper", "pgraphrag")])
def test_a_run_for_use_ends_before_targets_are_asked_for(tmp_path: Path, methods: tuple[str, ...]) -> None:
    """By configuration there are none: data, predictor and the chosen methods' alignment are all that is made, and no stage asks for targets."""
    names = [step.name for step in plan(tmp_path, "prepare.split=none", methods=methods).steps]
    assert names == ["prepare", "predict", *(["align/grasper"] if "grasper" in methods else [])]
    for stage in ("synthesize", "generate", "evaluate"):
        with pytest.raises(ConfigError, match=f"no targets to {stage}; use `grasper write`"):
            plan(tmp_path, "prepare.split=none", only=stage)
    if methods == ("copy",):
        for number in range(2):
            said = carry_out(plan(tmp_path, "prepare.split=none", "predict.encoder=popularity"))
            assert [line.split()[1] for line in said] == (["finished"] * 2 if number else ["running", "done"] * 2)
        assert sorted(path.name for path in (tmp_path / "run").iterdir() if path.is_dir()) == ["predict", "prepare"]


def test_a_run_for_use_remembers_how_it_shall_write(tmp_path: Path) -> None:
    """No step of its own reads the settings of writing; `grasper write` does, from the run's configuration. A single stage leaves them alone."""
    settings = ("prepare.split=none", "predict.encoder=popularity")
    for overrides, temperature in (((), 0.4), (("generate.temperature=0.9", "prompts.own_entries=2"), 0.9)):
        carry_out(plan(tmp_path, *settings, *overrides, methods=("pgraphrag",)))
        assert load_config(tmp_path / "run/config.yaml").generate.temperature == pytest.approx(temperature)
    carry_out(plan(tmp_path, *settings, methods=("pgraphrag",), only="predict"))
    kept = load_config(tmp_path / "run/config.yaml")
    assert (kept.generate.temperature, kept.prompts.own_entries) == (0.9, 2)


def test_a_retriever_of_ones_own_may_ask_the_predictor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says so when it is registered; the plan of a method with it fits the predictor, and what is written depends on it."""
    monkeypatch.setattr(METHODS, "_parts", dict(METHODS._parts))
    monkeypatch.setattr(RETRIEVERS, "_parts", dict(RETRIEVERS._parts))
    monkeypatch.setattr(RETRIEVERS, "_needing_predictor", set(RETRIEVERS._needing_predictor))
    RETRIEVERS.register("ours", lambda store: SimilarTaste(store.pool, store.ranker, store.predictor), needs_predictor=True)
    METHODS.register("ours", Method("ours", "reviews of people with similar taste", others="ours"))
    steps = {step.name: step for step in plan(tmp_path, methods=("ours",)).steps}
    assert list(steps) == ["prepare", "predict", "generate/ours", "evaluate"]
    assert steps["predict"] in steps["generate/ours"].reads


def test_the_predictor_is_fitted_where_it_is_asked_for(tmp_path: Path) -> None:
    """Also where no method needs it: recommendations do."""
    assert [step.name for step in plan(tmp_path).steps] == ["prepare", "generate/copy", "evaluate"]
    carry_out(plan(tmp_path, "predict.encoder=popularity", only="prepare"))
    assert carry_out(plan(tmp_path, "predict.encoder=popularity", only="predict"))[0] == "predict: running"
    assert (tmp_path / "run/predict/manifest.json").exists()


@pytest.mark.parametrize(
    ("owner", "training", "told"),
    [
        ("grasper-one-set", "gold", "which has that of grasper; name grasper"),
        ("rest_pg", "gold", "whose training is 'em', and declares 'gold'"),
        ("pgraphrag", "gold", "whose training is 'none', and declares 'gold'"),
        ("graspr", "gold", "unknown method 'graspr'; known: grasper"),
    ],
)
def test_a_borrowed_adapter_must_be_one_that_is_trained_so(
    owner: str, training: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(METHODS, "_parts", dict(METHODS._parts))
    METHODS.register("ours", Method("ours", "ours", own=True, reasoning=True, training=training, adapter_of=owner))
    with pytest.raises((ConfigError, UnknownMethodError), match=told):
        plan(tmp_path, methods=("ours",))


def test_an_unknown_stage_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no stage 'write'; the stages are prepare, predict, align, synthesize, generate, evaluate"):
        plan(tmp_path, only="write")
