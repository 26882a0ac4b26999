"""The generate stage on the tiny data set: plan, parsing, ratings, consensus, resume."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from worlds import SeededModel, shown, system_of

from grasper.config import GenerateConfig, PromptConfig
from grasper.errors import ConfigError
from grasper.generate import generate
from grasper.generate import stage as stage_module
from grasper.generate.writers import uses_model
from grasper.methods import METHODS, get_method
from grasper.models.base import Prompt, Scored
from grasper.models.scripted import ScriptedModel
from grasper.prompts.render import Exemplar
from grasper.records import TASKS, Example, Output, Tables, Task
from grasper.written import load_outputs

PATH = "Style: short\nInterests: rooms\nPlan: praise\n"


def written(tables: Tables, out_dir: Path, model, method: str = "pgraphrag", tasks: Sequence[Task] = TASKS, **settings) -> list[Output]:  # type: ignore[no-untyped-def]
    stage(tables, out_dir, model, method, tasks, **settings)
    return load_outputs(out_dir / "outputs.jsonl")


def stage(tables: Tables, out_dir: Path, model, method: str, tasks: Sequence[Task] = TASKS, examples=None, **settings):  # type: ignore[no-untyped-def]
    """The stage's counts; a method's settings of generation are keyword arguments."""
    system = system_of(method, tables, model, seed=3, exemplars=settings.pop("exemplars", None), generation=GenerateConfig(**settings))
    chosen = tables.select("dev") if examples is None else examples
    return generate(partial(system.write, synthetic={}), chosen, tasks, out_dir, name=method)


def test_one_output_per_target_and_task(tables: Tables, tmp_path: Path) -> None:
    outputs = written(tables, tmp_path, ScriptedModel(["Title: Good\nText: A good stay."]))
    assert [(output.task, output.example_id) for output in outputs] == [
        (task, example) for task in TASKS for example in sorted(example.example_id for example in tables.select("dev"))
    ]
    assert {output.text for output in outputs if output.task == "long"} == {"A good stay."}
    assert {output.text for output in outputs if output.task == "title"} == {"Good"}
    assert all(output.rating is not None and output.text is None for output in outputs if output.task == "rating")
    assert all(output.method == "pgraphrag" and output.evidence for output in outputs)


def test_tasks_without_reference_are_left_out(tables: Tables, tmp_path: Path) -> None:
    """carl's boat review has no title: there is nothing to compare a written one with."""
    carl = next(review for review in tables.reviews_by_id.values() if review.user_id == "carl")
    example = Example("carl", carl, "held-out")
    assert stage(tables, tmp_path, ScriptedModel(), "none", examples=[example])["requests"] == 2


def test_titles_are_cut_to_ten_words(tables: Tables, tmp_path: Path) -> None:
    outputs = written(tables, tmp_path, ScriptedModel(["Title: one two three four five six seven eight nine ten eleven"]), tasks=["title"])
    assert {output.text for output in outputs} == {"one two three four five six seven eight nine ten"}


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("pgraphrag", {}),
        ("pgraphrag", {"consensus_samples": 2}),
        ("grasper-no-graph", {}),
        ("grasper-no-graph", {"path_temperature": 0.7}),
        ("pat-one-step", {}),
        ("pat-one-step", {"consensus_samples": 2}),
    ],
)
def test_texts_without_their_end_are_told(tables: Tables, tmp_path: Path, method: str, settings: dict[str, object]) -> None:
    """Those that came to the most tokens that they may have; not a short one, nor a title behind which the model went on."""
    room = PromptConfig().answer_tokens + PromptConfig().path_tokens
    for number, (text, is_cut) in enumerate([("clean " * room, True), ("Clean.", False)]):
        model = ScriptedModel(partial(_after_a_path, text))
        outputs = written(tables, tmp_path / str(number), model, method, ["long", "title"], **settings)
        assert {output.is_cut for output in outputs if output.task == "long"} == {is_cut}
        assert not any(output.is_cut for output in outputs if output.task == "title" and "path_temperature" not in settings)


def _after_a_path(text: str, prompt: Prompt) -> str:
    return text if prompt.prefix else f"{PATH}Title: Fine\nText: {text}"


def test_unparsable_answers_are_kept_and_counted(tables: Tables, tmp_path: Path) -> None:
    counts = stage(tables, tmp_path, ScriptedModel(["No label here."]), "none", ["long"])
    assert (counts["requests"], counts["unparsed"]) == (3, 3)
    (output, *_) = load_outputs(tmp_path / "outputs.jsonl")
    assert (output.text, output.is_parsed, output.raw) == ("No label here.", False, "No label here.")


def test_the_path_is_kept_apart_from_the_text(tables: Tables, tmp_path: Path) -> None:
    (output, *_) = written(tables, tmp_path, ScriptedModel([PATH + "Text: Fine."]), "grasper-no-graph", ["long"])
    assert (output.text, output.path) == ("Fine.", PATH.strip())


class Recording(ScriptedModel):
    """Keeps with which temperature and which beginning it was asked."""

    def generate(self, prompts, *, temperature=0.7, **options):  # type: ignore[no-untyped-def]
        self.asked = [*getattr(self, "asked", []), (temperature, prompts[0].prefix)]
        return super().generate(prompts, temperature=temperature, **options)


def test_paths_may_have_a_temperature_of_their_own(tables: Tables, tmp_path: Path) -> None:
    """The path is drawn first; the answer is written anew behind it, at its own temperature."""
    model = Recording(lambda prompt: " Fine." if prompt.prefix else PATH + "Text: Never shown.")
    (output, *_) = written(tables, tmp_path, model, "grasper-no-graph", ["long"], temperature=0.2, path_temperature=0.9)
    assert model.asked == [(0.9, ""), (0.2, PATH + "Text:")]
    assert (output.text, output.path, output.raw, output.is_parsed) == ("Fine.", PATH.strip(), PATH + "Text: Fine.", True)


def test_a_method_without_paths_ignores_their_temperature(tables: Tables, tmp_path: Path) -> None:
    model = Recording(["Text: Fine."])
    written(tables, tmp_path, model, "pgraphrag", ["long"], temperature=0.2, path_temperature=0.9)
    assert model.asked == [(0.2, "")]


def test_a_lost_path_is_counted_though_an_answer_stands_behind_it(tables: Tables, tmp_path: Path) -> None:
    model = ScriptedModel(lambda prompt: " Fine." if prompt.prefix else "no path at all")
    (output, *_) = written(tables, tmp_path, model, "grasper-no-graph", ["long"], path_temperature=0.9)
    assert (output.text, output.path, output.is_parsed) == ("Fine.", None, False)


@pytest.mark.parametrize(("rule", "expected"), [("median", 4), ("argmax", 4), ("expectation", 0.99 * 4 + 0.0025 * (1 + 2 + 3 + 5))])
def test_ratings_come_from_choice_probabilities(tables: Tables, tmp_path: Path, rule: str, expected: float) -> None:
    outputs = written(tables, tmp_path, ScriptedModel(choice=lambda prompt: " 4"), tasks=["rating"], rating=rule)
    assert [output.rating for output in outputs] == pytest.approx([expected] * 3)


def test_a_rating_is_asked_behind_the_models_own_path(tables: Tables, tmp_path: Path) -> None:
    """The path is written first; the digits are compared behind it and the label. What the model wrote after its path does not count."""
    prefixes = []

    def choice(prompt):  # type: ignore[no-untyped-def]
        prefixes.append(prompt.prefix)
        return " 2"

    outputs = written(tables, tmp_path, ScriptedModel([PATH + "Rating: 5"], choice=choice), "grasper-no-graph", ["rating"])
    assert set(prefixes) == {PATH + "Rating:"}
    assert {output.rating for output in outputs} == {2.0}
    assert {output.path for output in outputs} == {PATH.strip()}


def test_ratings_are_averaged_over_sampled_paths(tables: Tables, tmp_path: Path) -> None:
    """Two of three paths lead to 5, one to 1: the median of the mean probabilities is 5."""

    def choice(prompt):  # type: ignore[no-untyped-def]
        return " 1" if "gloomy" in prompt.prefix else " 5"

    answers = [PATH.replace("praise", plan) + "Rating: 3" for plan in ("praise", "gloomy", "praise more")]
    outputs = written(tables, tmp_path, ScriptedModel(answers, choice=choice), "grasper-no-graph", ["rating"], consensus_samples=3)
    assert {output.rating for output in outputs} == {5.0}
    assert {output.samples for output in outputs} == {("5", "1", "5")}


def test_ratings_of_models_without_probabilities_are_marked(tables: Tables, tmp_path: Path) -> None:
    """One of three ratings is the share of samples, and only that one is left without probabilities."""

    class Wordy(ScriptedModel):
        def scored(self, prompts, choices):  # type: ignore[no-untyped-def]
            self.asked += len(prompts)
            told = ["sampled" if number == self.asked - len(prompts) == 0 else "measured" for number in range(len(prompts))]
            return [Scored(row, how) for row, how in zip(self.score_choices(prompts, choices), told, strict=True)]

        asked = 0

    model = Wordy(choice=lambda prompt: " 2")
    assert stage(tables, tmp_path, model, "lamp", ["rating"])["ratings_without_probabilities"] == 1
    outputs = load_outputs(tmp_path / "outputs.jsonl")
    assert {output.rating for output in outputs} == {2.0}
    assert sorted(len(output.probabilities) for output in outputs) == [0, 5, 5]


@pytest.mark.parametrize(("names_one", "rating", "num_unparsed"), [(False, 3.0, 3), (True, 5.0, 0)])
def test_ratings_that_nothing_was_said_of_are_unparsed(tables: Tables, tmp_path: Path, names_one: bool, rating: float, num_unparsed: int) -> None:
    """A refusal is no 3: it counts as unparsed, and takes no part in a mean in which another path led to a rating."""

    class Refusing(ScriptedModel):
        def scored(self, prompts, choices):  # type: ignore[no-untyped-def]
            rows = self.score_choices(prompts, choices)
            even = np.full(len(choices), 1 / len(choices))
            is_told = [names_one and "praise more" in prompt.prefix for prompt in prompts]
            return [Scored(row, "sampled") if told else Scored(even, "none") for row, told in zip(rows, is_told, strict=True)]

    answers = [PATH.replace("praise", plan) + "Rating: 3" for plan in ("praise", "gloomy", "praise more")]
    model = Refusing(answers, choice=lambda prompt: " 5")
    assert stage(tables, tmp_path, model, "grasper-no-graph", ["rating"], consensus_samples=3)["unparsed"] == num_unparsed
    outputs = load_outputs(tmp_path / "outputs.jsonl")
    assert {(output.rating, output.is_parsed, output.probabilities) for output in outputs} == {(rating, num_unparsed == 0, ())}


def test_probabilities_are_kept(tables: Tables, tmp_path: Path) -> None:
    outputs = written(tables, tmp_path, ScriptedModel(choice=lambda prompt: " 4"), tasks=["rating"])
    assert {output.probabilities for output in outputs} == {(0.0025, 0.0025, 0.0025, 0.99, 0.0025)}


def test_consensus_chooses_among_the_models_own_samples(tables: Tables, tmp_path: Path) -> None:
    """The neighbours' words vote, but their texts are never the answer; unparsable samples are no candidates."""
    samples = ["Text: Lovely quiet room and breakfast.", "Text: Rocket science."]
    samples += ["quiet room and a warm breakfast", "Text: Warm breakfast, quiet room."]
    outputs = written(tables, tmp_path, ScriptedModel(samples), tasks=["long"], consensus_samples=4)
    dora = next(output for output in outputs if output.evidence and "tiny-train-000001" in output.evidence)
    assert dora.text == "Lovely quiet room and breakfast."
    assert len(dora.samples) == 4
    texts = {review.text for review in tables.reviews_by_id.values()}
    assert not texts & {output.text for output in outputs}


def test_exemplars_stand_in_the_prompt(tables: Tables, tmp_path: Path) -> None:
    class Source:
        def nearest(self, request, task):  # type: ignore[no-untyped-def]
            return [Exemplar(f"A solved {task} request", "Text: solved")]

    model = ScriptedModel()
    stage(tables, tmp_path, model, "grasper-no-graph", ["long"], exemplars=Source())
    assert all("A solved long request" in shown(prompt) for prompt in model.prompts)


def test_a_method_that_writes_needs_a_model(tables: Tables, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="lamp"):
        written(tables, tmp_path, None, "lamp")
    assert written(tables, tmp_path, None, "copy")


@pytest.mark.parametrize("path_temperature", [None, 0.9])
@pytest.mark.parametrize("method", sorted(METHODS))
@pytest.mark.parametrize("fails_at", [0, 1, 3])
def test_a_killed_run_ends_as_an_undisturbed_one(
    tables: Tables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, fails_at: int, path_temperature: float | None
) -> None:
    """Killed in some batch and started again: the same bytes."""
    settings = {"consensus_samples": 2, "path_temperature": path_temperature}
    monkeypatch.setattr(stage_module, "BATCH_SIZE", 1)
    written(tables, tmp_path / "whole", SeededModel(), method, **settings)
    if uses_model(get_method(method)):
        with pytest.raises(KeyboardInterrupt):
            written(tables, tmp_path / "cut", SeededModel(fails_at), method, **settings)
    written(tables, tmp_path / "cut", SeededModel(), method, **settings)
    whole, cut = (tmp_path / name / "outputs.jsonl" for name in ("whole", "cut"))
    assert whole.read_bytes() == cut.read_bytes()


def test_every_request_has_a_seed_of_its_own(tables: Tables, tmp_path: Path) -> None:
    outputs = written(tables, tmp_path, SeededModel(), tasks=["long", "title"])
    assert len({output.raw.split()[-6] for output in outputs}) == len(outputs) == 6


@pytest.mark.parametrize("size", [1, 2, 32])
@pytest.mark.parametrize("order", [1, -1])
def test_what_is_written_depends_on_nothing_but_the_request(
    tables: Tables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, order: int
) -> None:
    """Another order of targets, another width of batches, a target alone: the same answer to each request."""
    usual = {(output.task, output.example_id): output for output in written(tables, tmp_path / "usual", SeededModel())}
    monkeypatch.setattr(stage_module, "BATCH_SIZE", size)
    examples = tables.select("dev")[::order]
    stage(tables, tmp_path / "other", SeededModel(), "pgraphrag", examples=examples)
    stage(tables, tmp_path / "alone", SeededModel(), "pgraphrag", examples=examples[:1])
    for name in ("other", "alone"):
        for output in load_outputs(tmp_path / name / "outputs.jsonl"):
            assert output == usual[output.task, output.example_id]


def test_more_targets_keep_what_is_written(tables: Tables, tmp_path: Path) -> None:
    """First one target, then all: nothing is asked twice, and the end is that of asking for all at once."""
    first, model = SeededModel(), SeededModel()
    stage(tables, tmp_path / "grown", first, "pgraphrag", examples=tables.select("dev", 1))
    before = (tmp_path / "grown/outputs.jsonl").read_bytes()
    assert stage(tables, tmp_path / "grown", model, "pgraphrag")["requests"] == 9
    assert (tmp_path / "grown/outputs.jsonl").read_bytes().startswith(before)
    assert (first.calls, model.calls) == (2, 2)  # texts and titles; ratings are scored
    whole = written(tables, tmp_path / "whole", SeededModel())
    assert sorted(map(repr, load_outputs(tmp_path / "grown/outputs.jsonl"))) == sorted(map(repr, whole))


def test_thousands_of_prompts_render_in_seconds(tables: Tables, tmp_path: Path) -> None:
    """1,300 targets × 3 tasks, without a model's time, in half a minute of processor time."""
    examples = tables.select("dev") * 434
    started = time.process_time()
    stage(tables, tmp_path, ScriptedModel(), "pgraphrag", examples=examples)
    assert time.process_time() - started < 30
