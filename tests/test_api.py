from __future__ import annotations

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from processes import BRIEF
from servers import chat, serving
from typer.testing import CliRunner

import grasper
from grasper.api import LoadedRun, as_reviews, load_run, newest_run
from grasper.cli import app
from grasper.errors import ConfigError, DataFormatError, MissingFileError, UnknownIdError
from grasper.methods import METHODS, get_method
from grasper.pipeline import Pipeline, dump_config
from grasper.records import Review, request_for
from grasper.runs import STAGES, Run


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with data and a fitted predictor, without any language model."""
    folder = tmp_path_factory.mktemp("api") / "runs" / "small"
    config = grasper.load_config(None, ["predict.max_epochs=2", "methods=[grasper]", "prompts.answer_tokens=40"])
    for stage in ("prepare", "predict"):
        Pipeline(config, Run(folder), only=stage).carry_out(say=lambda line: None)
    return folder


def with_scripted_model(run_dir: Path) -> Path:
    """The same run, as if its texts were written by a model that answers from a list."""
    copy = run_dir.parent / "scripted"
    if not copy.exists():
        shutil.copytree(run_dir, copy)
        settings = grasper.load_config(run_dir / "config.yaml", ["model.kind=scripted"])
        (copy / "config.yaml").write_text(dump_config(settings), encoding="utf-8")
    return copy


@pytest.fixture(scope="module")
def numbered_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run over a table whose users and items are numbers."""
    folder = tmp_path_factory.mktemp("numbers")
    rows = [(5000 + number % 40, 10001 + (7 * number) % 9, f"text number {number} about this", 1 + number % 5) for number in range(200)]
    pd.DataFrame(rows, columns=["user_id", "item_id", "text", "rating"]).to_csv(folder / "reviews.csv", index=False)
    settings = ["prepare.source=table", f"prepare.data={folder / 'reviews.csv'}", "prepare.split=users", "predict.encoder=popularity"]
    config = grasper.load_config(None, [*settings, "prepare.columns.title=null", "prepare.columns.timestamp=null"])
    for stage in ("prepare", "predict"):
        Pipeline(config, Run(folder / "run"), only=stage).carry_out(say=lambda line: None)
    return folder / "run"


def test_known_users_get_unseen_items_with_falling_scores(run_dir: Path) -> None:
    """Rank 1 … k, scores in 0–1 that never rise, names from the data, nothing that the user has reviewed."""
    loaded = load_run(run_dir)
    users = list(dict.fromkeys(loaded.tables.reviews["user_id"]))[:20]
    table = grasper.predict_items(users, k=7, run=run_dir)
    seen = loaded.tables.reviews.groupby("user_id")["item_id"].agg(set)
    for user, rows in table.groupby("user_id", sort=False):
        assert rows["rank"].tolist() == list(range(1, 8))
        assert rows["score"].is_monotonic_decreasing
        assert rows["score"].between(0, 1).all()
        assert not seen[user] & set(rows["item_id"])
    assert table["name"].notna().all()


def test_the_reviews_of_a_stranger_decide(run_dir: Path) -> None:
    """Records, mappings and a table of the same reviews give the same items; the reviewed item is not among them."""
    item = load_run(run_dir).tables.items["item_id"].iloc[3]
    record = Review("r", "new user", item, "quiet rooms, kind hosts", rating=5.0)
    mapping = {"item_id": item, "text": "quiet rooms, kind hosts", "rating": 5.0}
    tables = [grasper.predict_items(history, run=run_dir) for history in ([record], [mapping], pd.DataFrame([mapping]))]
    assert tables[0]["item_id"].tolist() == tables[1]["item_id"].tolist() == tables[2]["item_id"].tolist()
    assert item not in set(tables[0]["item_id"])


def test_bad_questions_are_named(run_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unknown user or item, no run, a history without items, k = 0."""
    with pytest.raises(UnknownIdError, match="'nobody' is not in"):
        grasper.predict_items("nobody", run=run_dir)
    with pytest.raises(UnknownIdError, match="'nowhere' is not in"):
        grasper.personalize([], "nowhere", method="copy", run=run_dir)
    with pytest.raises(DataFormatError, match="entry 1"):
        as_reviews([{"item_id": "a"}, {"text": "no item"}])
    with pytest.raises(ConfigError, match="k is 0"):
        grasper.predict_items([], k=0, run=run_dir)
    for k in (float("nan"), float("inf"), None, "abc", 2.5, True):
        with pytest.raises(ConfigError, match=f"k is {k!r}, expected a whole number"):
            grasper.predict_items([], k=k, run=run_dir)  # type: ignore[arg-type]
    for users in ([pd.NA], [pd.NaT], np.array([["a", "b"]]), [np.nan]):
        with pytest.raises(ConfigError, match="is no id; expected text or a number"):
            grasper.predict_items(users, run=run_dir)
    with pytest.raises(DataFormatError, match=r"entry 1 is 'mira'"):
        grasper.predict_items([{"item_id": load_run(run_dir).tables.items["item_id"].iloc[0]}, "mira"], run=run_dir)
    with pytest.raises(MissingFileError, match="not complete"):
        load_run(tmp_path / "absent").config  # noqa: B018
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MissingFileError, match="make pipeline"):
        grasper.predict_items([])
    monkeypatch.chdir(run_dir.parent.parent)
    with pytest.raises(ConfigError, match="there is no folder small here, but runs/small; pass run='runs/small'"):
        grasper.predict_items([], run="small")


def test_recommendations_come_in_the_order_of_the_questions(run_dir: Path) -> None:
    """Strangers keep their places among the known, and whoever is named twice is answered twice."""
    known = list(dict.fromkeys(load_run(run_dir).tables.reviews["user_id"]))[:2]
    asked = ["stranger", known[1], "nobody", known[0], known[1]]
    told = CliRunner().invoke(app, ["recommend", *asked, "-k", "2", "--run", str(run_dir)]).stdout
    assert [line.split("\t")[0] for line in told.splitlines()] == [user for user in asked for _ in range(2)]


def test_a_stranger_is_told_with_the_users_of_the_likest_names(run_dir: Path) -> None:
    """A slip of the pen is seen, and what the name may hold beside letters is not obeyed."""
    known = next(iter(load_run(run_dir).tables.reviews["user_id"]))
    told = CliRunner().invoke(app, ["recommend", f"{known}\x1b[2J", known, "-k", "1", "--run", str(run_dir)]).stderr
    assert rf"'{known}\x1b[2J' (nearest: {known}" in told
    assert f"is not in {run_dir}: they get what people without history get" in told
    told = CliRunner().invoke(app, ["recommend", "one", "two", known, "-k", "1", "--run", str(run_dir)]).stderr
    assert "2 of 3 users, the first of them 'one' (nearest: " in told


def test_a_history_that_no_recommendation_reads_is_told(run_dir: Path, tmp_path: Path) -> None:
    (file := tmp_path / "asked.json").write_text('[{"user_id": "stranger", "history": [{"item_id": "inn"}]}, {"user_id": "nobody"}]')
    told = CliRunner().invoke(app, ["recommend", "--file", str(file), "-k", "1", "--run", str(run_dir)]).stderr
    assert f"{file}: the column 'history' is not read" in told
    file.write_text('[{"user_id": "stranger", "history": null}]')
    assert "history' is" not in CliRunner().invoke(app, ["recommend", "--file", str(file), "-k", "1", "--run", str(run_dir)]).stderr


def test_what_a_request_is_not_given_is_refused_and_not_dropped(run_dir: Path, tmp_path: Path) -> None:
    """As the Python API does; beside a file the columns say what is asked."""
    item = load_run(run_dir).tables.items["item_id"].iloc[0]
    (file := tmp_path / "asked.jsonl").write_text('{"item_id": "inn", "history": ["FelixD"]}\n')

    def refusal(*arguments: str) -> str:
        result = CliRunner().invoke(app, [*arguments, "--method", "copy", "--run", str(run_dir)])
        assert isinstance(result.exception, ConfigError | DataFormatError | UnknownIdError), result.output
        return str(result.exception)

    assert refusal("write", "--item", item, "--text", "x") == "task 'long' is not given a text; it takes title and rating"
    assert "not given a title" in refusal("write", "--task", "title", "--item", item, "--text", "x", "--title", "y")
    assert refusal("write", "--item", "moon").startswith("item 'moon' is not in"), "and no word of rows"
    assert "--user, --title cannot stand beside --file" in refusal("write", "--file", str(file), "--user", "u", "--title", "t")
    assert "--text cannot stand beside --file" in refusal("rate", "--file", str(file), "--text", "t")
    assert refusal("write", "--file", str(file)).startswith(f"{file}: 1 of 1 requests cannot be asked: row 1: 'history' is ['FelixD']")


def test_a_user_whom_the_run_does_not_know_is_told(run_dir: Path) -> None:
    """A mistyped id writes for a stranger; who names nobody knows that."""
    item = load_run(run_dir).tables.items["item_id"].iloc[0]
    asked = ["write", "--item", item, "--method", "copy", "--run", str(run_dir)]
    told = CliRunner().invoke(app, [*asked, "--user", "nobody"]).stderr
    assert told.splitlines() == [f"user 'nobody' is not in {run_dir}, and counts as somebody without a history"]
    assert CliRunner().invoke(app, asked).stderr == ""


def test_who_can_be_shown_is_told(run_dir: Path) -> None:
    """`show` takes no reviews of a stranger, so it does not ask for any."""
    shown = CliRunner().invoke(app, ["show", "nobody", "--run", str(run_dir)])
    assert isinstance(shown.exception, UnknownIdError)
    assert str(shown.exception).endswith("whoever wrote a review is listed in prepare/reviews.parquet")


def test_newest_run_wins(run_dir: Path) -> None:
    """Without a name, the run whose predictor was finished last."""
    assert newest_run(run_dir.parent) == run_dir


def test_somebody_without_history_gets_items_too(run_dir: Path) -> None:
    """With an item in mind, which is never predicted itself, and without one; the item changes the answer."""
    item = load_run(run_dir).tables.items["item_id"].iloc[3]
    alone, near = grasper.predict_items([], k=5, run=run_dir), grasper.predict_items([], k=5, near=item, run=run_dir)
    assert len(alone) == len(near) == 5
    assert item not in set(near["item_id"])
    assert alone["score"].tolist() != near["score"].tolist()
    system = load_run(with_scripted_model(run_dir)).workshop.system(get_method("grasper"), is_aligned=False)
    example = load_run(run_dir).asker.request([], item, "long", title="A quiet stay")
    assert len(system.items_of(example)) == 3


def test_ids_of_any_kind_are_found_as_files_hold_them(numbered_run: Path) -> None:
    """Whole numbers, numpy's and floats that are whole; a generator of ids; what is not found names similar ids."""
    for one in (5009, np.int64(5009), 5009.0, "5009"):
        assert set(grasper.predict_items(one, k=2, run=numbered_run)["user_id"]) == {"5009"}
    assert len(grasper.predict_items((user for user in (5009, "5010")), k=2, run=numbered_run)) == 4
    assert str(grasper.personalize(5009, 10001, method="copy", run=numbered_run)) != ""
    with pytest.raises(UnknownIdError, match=r"user '509' is not in .* e\.g\. 50\d9"):
        grasper.predict_items(509, run=numbered_run)


def test_what_the_user_wrote_about_the_item_is_never_shown(run_dir: Path) -> None:
    """A request that names user and item, and no record: the user's own review of it is hidden, whatever the method."""
    loaded = load_run(with_scripted_model(run_dir))
    reviews = loaded.tables.reviews
    training = reviews[reviews["split"] == "train"]
    for user in training["user_id"].value_counts().index[:4]:
        own = training[training["user_id"] == user].iloc[0]
        for name in ("lamp", "pgraphrag", "grasper-no-synthetic"):
            system = loaded.workshop.system(get_method(name), is_aligned=False)
            example = loaded.asker.request(user, own["item_id"], "long", title="Once more")
            answer = system.personalize("long", [example])[0]
            assert answer.output.evidence
            assert own["review_id"] not in answer.output.evidence
            assert not any(own["text"] in message.content for prompt in system.desk.model.prompts for message in prompt.messages)  # type: ignore[attr-defined]


@pytest.mark.parametrize(("kind", "limit", "num_items"), [("scripted", 1, 3), ("local", 2, 1)])
def test_a_target_of_the_run_gets_the_runs_own_output(tmp_path: Path, kind: str, limit: int, num_items: int) -> None:
    """For every method: asked with the fields that the task gives, text, path, evidence, synthetic reviews and costs are those of the run."""
    methods = METHODS.names() if kind == "scripted" else ["copy", "grasper-random-items"]
    settings = [*BRIEF, "align.sources=[analysed]", f"model.kind={kind}", f"synthesize.num_items={num_items}"]
    config = grasper.load_config(None, settings, methods=methods, limit=limit)
    for stage in STAGES[:-1]:  # an evaluation is not asked for
        Pipeline(config, Run(tmp_path), only=stage).carry_out(say=lambda line: None)
    loaded = load_run(tmp_path)
    checked = 0
    for name in methods:
        for output in loaded.outputs(name):
            target = next(example for example in loaded.tables.select("dev-a") if example.example_id == output.example_id)
            request = request_for(target, output.task, loaded.tables.item(target.item_id))
            given = {"title": request.title, "text": request.text, "rating": request.rating}
            result = grasper.personalize(target.user_id, target.item_id, task=output.task, method=name, run=tmp_path, **given)  # type: ignore[arg-type]
            assert result.output == output
            assert list(result.synthetic) == [
                review for review in loaded.synthetic(name) if review.example_id == output.example_id and review.rejected is None
            ]
            again = loaded.workshop.system(get_method(name)).personalize(output.task, [target])[0]  # computed anew, not looked up
            assert replace(again.output, probabilities=output.probabilities) == output
            assert again.output.probabilities == pytest.approx(output.probabilities, abs=2e-6)  # of other targets beside it
            checked += 1
    assert checked == 3 * limit * len(methods)


def test_a_target_gets_the_runs_own_output_behind_a_server_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that never answers twice alike, and is gone by then: exemplars, texts and ratings are those of the run."""
    monkeypatch.setenv("GRASPER_CACHE", str(tmp_path / "cache"))
    answer = "Style: calm\nInterests: rooms\nPlan: praise\nRating: 4\nTitle: Fine {0}\nText: It was fine and calm, number {0} of many."
    settings = ["model.kind=endpoint", "model.name=m", "align.num_pairs=3", "align.num_samples=1", "align.reward_threshold=0", "predict.max_epochs=1"]
    methods = ["copy", "pgraphrag", "grasper"]
    with serving(lambda body, number: chat(answer.format(number))) as server:
        config = grasper.load_config(None, [*settings, f"model.base_url={server.url}"], methods=methods, limit=2)
        Pipeline(config, Run(tmp_path / "run")).carry_out(say=lambda line: None)
    loaded = load_run(tmp_path / "run")
    for output in (output for name in methods for output in loaded.outputs(name)):
        target = next(example for example in loaded.tables.select("dev-a") if example.example_id == output.example_id)
        request = request_for(target, output.task, loaded.tables.item(target.item_id))
        given = {"title": request.title, "text": request.text, "rating": request.rating}
        result = loaded.personalize(target.user_id, target.item_id, task=output.task, method=output.method, **given)  # type: ignore[arg-type]
        assert result.output == output


def test_an_unaligned_method_is_refused(run_dir: Path) -> None:
    """The untuned model never writes in the place of the aligned one."""
    item = load_run(run_dir).tables.items["item_id"].iloc[0]
    with pytest.raises(MissingFileError, match=r"align/grasper is not complete; run `grasper align --run \S+ --methods grasper` first"):
        grasper.personalize([], item, run=run_dir)
    asked = CliRunner().invoke(app, ["write", "--item", item, "--run", str(run_dir)])
    assert str(asked.exception).endswith("--methods grasper` first; --method pgraphrag needs no alignment")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"task": "review"}, "unknown task 'review'; known: long"),
        ({"rating": 9}, "'rating' is 9, expected a number from 1 to 5"),
        ({"rating": "many"}, "'rating' is 'many'"),
        ({"title": ["a", "b"]}, r"title is \['a', 'b'\], expected text"),
        ({"text": "given"}, "task 'long' is not given a text; it takes title and rating"),
        ({"task": "title"}, "task 'title' needs the text"),
        ({"task": "rating"}, "task 'rating' needs the text or the title"),
    ],
)
def test_fields_that_a_task_cannot_take_are_named(run_dir: Path, fields: dict[str, Any], message: str) -> None:
    item = load_run(run_dir).tables.items["item_id"].iloc[0]
    with pytest.raises(ConfigError, match=message):
        grasper.personalize([], item, method="none", run=run_dir, **fields)


def test_histories_are_read_as_files_are(run_dir: Path) -> None:
    """Dates as text, as timestamps of pandas and as seconds, numbers as text, missing values of every kind, halves of characters."""
    item = load_run(run_dir).tables.items["item_id"].iloc[0]
    days = pd.to_datetime(["2024-05-01"] * 4)
    table = pd.DataFrame({"item_id": [item] * 4, "timestamp": days, "rating": [5, None, float("nan"), 4], "title": [None] * 4})
    assert {review.timestamp for review in as_reviews(table)} == {1714521600}
    assert [review.rating for review in as_reviews(table)] == [5.0, None, None, 4.0]
    (review,) = as_reviews({"item_id": item, "timestamp": "2024-05-01", "rating": "5", "text": "half \ud83d of it ", "title": float("nan")})
    assert (review.timestamp, review.rating, review.text, review.title) == (1714521600, 5.0, "half  of it", None)
    with pytest.raises(DataFormatError, match=r"entry 1.*'rating' is 7"):
        as_reviews([{"item_id": item}, {"item_id": item, "rating": 7}])
    assert len(grasper.predict_items(table, k=3, run=run_dir)) == 3


def test_data_and_models_are_opened_once(run_dir: Path) -> None:
    """A second question finds the same system; all methods share one review store."""
    loaded = load_run(with_scripted_model(run_dir))
    systems = [loaded.workshop.system(get_method(name)) for name in ("lamp", "pgraphrag", "lamp")]
    assert systems[0] is systems[2]
    assert systems[0].desk.store is systems[1].desk.store
    assert systems[0].desk.model is systems[2].desk.model
    assert load_run(run_dir) is load_run(str(run_dir))


def test_threads_get_what_one_after_another_get(run_dir: Path) -> None:
    """A new run object, asked first by eight threads at once: the same answers as in turn."""
    loaded = load_run(run_dir)
    item, users = loaded.tables.items["item_id"].iloc[0], list(dict.fromkeys(loaded.tables.reviews["user_id"]))[:8]

    def ask(loaded: LoadedRun, user: str) -> str:
        return str(loaded.personalize(user, item, title="A quiet stay", method="pgraphrag"))

    fresh = LoadedRun(run_dir)
    with ThreadPoolExecutor(8) as threads:
        together = list(threads.map(lambda user: ask(fresh, user), users))
    in_turn = LoadedRun(run_dir)
    assert together == [ask(in_turn, user) for user in users]


def test_a_method_without_model_personalizes(run_dir: Path) -> None:
    """`copy` needs neither model nor adapter; the text comes with its evidence."""
    item = load_run(run_dir).tables.reviews["item_id"].value_counts().index[0]
    result = grasper.personalize([], item, title="A quiet stay", method="copy", run=run_dir)
    assert str(result).startswith("A quiet stay")


def test_neighbourhood_is_drawn_escaped(run_dir: Path) -> None:
    """The picture is one SVG document."""
    loaded = load_run(run_dir)
    user = loaded.candidates()["user_id"].iloc[0]
    picture = loaded.draw_neighbourhood(user)
    assert picture.lstrip().startswith(("<?xml", "<svg"))
    assert "<script" not in picture


def test_what_answers_rest_on_is_what_their_method_reads(run_dir: Path) -> None:
    """A file of requests goes on after a kill unless something changed that decides its answers; other methods' steps do not."""
    copy = run_dir.parent / "origin"
    shutil.copytree(run_dir, copy)
    first = LoadedRun(copy).origin(get_method("pgraphrag"))
    (copy / "generate" / "none").mkdir(parents=True)
    shutil.copy(copy / "predict" / "manifest.json", copy / "generate" / "none" / "manifest.json")
    assert LoadedRun(copy).origin(get_method("pgraphrag")) == first
    for setting in ("generate.temperature=0.9", "prompts.own_entries=1", "model.kind=scripted", "seed=7"):
        changed = grasper.load_config(run_dir / "config.yaml", [setting])
        (copy / "config.yaml").write_text(dump_config(changed), encoding="utf-8")
        assert LoadedRun(copy).origin(get_method("pgraphrag")) != first, setting


def test_a_run_for_use_is_finished_without_an_evaluation(run_dir: Path, tmp_path: Path) -> None:
    """Of an evaluated run and a later one that is trained on all data, to write and recommend with, the later one is taken."""
    for name, split, stages in (("measured", "given", ("predict", "evaluate")), ("shop", "none", ("predict",)), ("begun", "given", ("predict",))):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.yaml").write_text(f"prepare: {{split: {split}}}\n", encoding="utf-8")
        for stage in stages:
            (tmp_path / name / stage).mkdir()
            (tmp_path / name / stage / "manifest.json").write_text("{}", encoding="utf-8")
    for number, path in enumerate(("measured/evaluate", "shop/predict", "begun/predict")):
        os.utime(tmp_path / path / "manifest.json", (number, number))
    assert newest_run(tmp_path) == tmp_path / "shop"


def test_the_newest_run_that_can_answer_is_taken(tmp_path: Path) -> None:
    """One that was evaluated later, but fitted no link predictor, cannot recommend."""
    for number, path in enumerate(("begun/predict", "fitted/predict", "fitted/evaluate", "copies/evaluate")):
        (tmp_path / path).mkdir(parents=True)
        (tmp_path / path / "manifest.json").write_text("{}", encoding="utf-8")
        os.utime(tmp_path / path / "manifest.json", (number, number))
    assert newest_run(tmp_path) == tmp_path / "copies"
    assert newest_run(tmp_path, with_stage="predict") == tmp_path / "fitted"
    (tmp_path / "fitted/predict/manifest.json").unlink()
    assert newest_run(tmp_path, with_stage="predict") == tmp_path / "begun"
    (tmp_path / "begun/predict/manifest.json").unlink()
    assert newest_run(tmp_path, with_stage="predict") == tmp_path / "copies", "which says what it lacks"


def test_the_newest_run_that_can_write_with_the_method_is_taken(tmp_path: Path) -> None:
    """One that was evaluated later, but lacks the adapter, cannot; one whose configuration aligns nobody needs none."""
    for number, (name, settings, stages) in enumerate(
        (
            ("aligned", "", ("prepare", "predict", "align/grasper", "evaluate")),
            ("compared", "", ("prepare", "predict", "evaluate")),
            ("plain", "align: {num_pairs: 0}\n", ("prepare", "evaluate")),
        )
    ):
        for stage in stages:
            (tmp_path / name / stage).mkdir(parents=True)
            (tmp_path / name / stage / "manifest.json").write_text("{}", encoding="utf-8")
            os.utime(tmp_path / name / stage / "manifest.json", (number, number))
        (tmp_path / name / "config.yaml").write_text(settings, encoding="utf-8")
    taken = {name: newest_run(tmp_path, method=get_method(name)).name for name in ("grasper", "grasper-one-set", "rest_pg", "copy")}
    assert taken == {"grasper": "aligned", "grasper-one-set": "aligned", "rest_pg": "plain", "copy": "plain"}
    shutil.rmtree(tmp_path / "aligned")
    assert newest_run(tmp_path, method=get_method("grasper")) == tmp_path / "plain", "which says what it lacks"


def test_a_run_that_is_made_anew_meanwhile_is_no_error(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that serves looks for the newest run while a pipeline takes manifests away and writes them."""
    listed = [run_dir / "predict/manifest.json", run_dir.parent / "gone/predict/manifest.json"]
    monkeypatch.setattr(Path, "glob", lambda self, pattern: iter(listed if "predict" in pattern else ()))
    assert newest_run(run_dir.parent) == run_dir


def test_looking_for_a_run_reads_a_configuration_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every call without `run` looks for the newest one: only what was written since is read again."""
    read: list[Path] = []
    monkeypatch.setattr("grasper.api.load_config", lambda path: (read.append(path), grasper.load_config(path))[1])
    for stage in ("prepare", "predict", "evaluate"):
        (tmp_path / "run" / stage).mkdir(parents=True)
        (tmp_path / "run" / stage / "manifest.json").write_text("{}", encoding="utf-8")
    config = tmp_path / "run/config.yaml"
    for number, split in enumerate(("given", "given", "none")):
        config.write_text(f"prepare: {{split: {split}}}\n", encoding="utf-8")
        os.utime(config, ns=(0, number // 2))
        assert newest_run(tmp_path, method=get_method("copy")) == tmp_path / "run"
    assert read == [config.resolve()] * 2


@pytest.mark.parametrize("path", [3, ["runs/harbour"], b"runs/harbour"])
def test_what_is_no_path_is_no_run(path: Any) -> None:
    with pytest.raises(ConfigError, match="expected the path of a run's folder"):
        load_run(path)


def test_whoever_met_every_item_is_told(tmp_path: Path) -> None:
    """Nothing is left for them: a line says so, and the file has its header."""
    pd.DataFrame([("all", "a", "x"), ("all", "b", "y"), ("some", "a", "z")], columns=["user_id", "item_id", "text"]).to_csv(tmp_path / "r.csv")
    settings = ["prepare.source=table", f"prepare.data={tmp_path / 'r.csv'}", "prepare.split=none", "predict.encoder=popularity"]
    config = grasper.load_config(None, [*settings, *(f"prepare.columns.{name}=null" for name in ("title", "rating", "timestamp"))])
    for stage in ("prepare", "predict"):
        Pipeline(config, Run(tmp_path / "run"), only=stage).carry_out(say=lambda line: None)
    told = CliRunner().invoke(app, ["recommend", "all", "--run", str(tmp_path / "run"), "--out", str(tmp_path / "out.csv")])
    assert f"all has met every item of {tmp_path / 'run'}: nothing is left to recommend" in told.stderr
    assert (tmp_path / "out.csv").read_text().splitlines() == ["user_id,item_id,rank,score,name"]
    assert "met every item" not in CliRunner().invoke(app, ["recommend", "some", "--run", str(tmp_path / "run")]).stderr
