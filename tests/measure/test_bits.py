"""Bits of the real answers behind each method's prompts: the right number, no leak, no half of a file."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from processes import TERSE
from typer.testing import CliRunner
from worlds import desk_of

from grasper.cli import app
from grasper.config import GenerateConfig, SynthesizeConfig, load_config
from grasper.errors import ConfigError, MissingFileError, RunMismatchError
from grasper.evaluate.compare import Bootstrap
from grasper.evaluate.measured import paths_in, read_measured
from grasper.evaluate.swap import Swap, swap_test
from grasper.files import BatchLog, read_json, read_jsonl
from grasper.measure.bits import Measurement, _log_probability, choose_partners
from grasper.models.base import Pool, Prompt
from grasper.models.local import LocalModel
from grasper.models.scripted import ScriptedModel
from grasper.pipeline import Pipeline
from grasper.reason.format import answer_of
from grasper.records import TASKS, Example, Item, Profile, Review, SyntheticReview, Tables, request_for
from grasper.runs import Run
from grasper.system import System


@cache
def nano() -> LocalModel:
    return LocalModel("nano", device="cpu")


def measurement(tables: Tables, method: str = "pgraphrag", model: Any = None, *, sets: int = 1, path_tokens: int = 16, **changes: Any) -> Measurement:
    """One of a method; with several sets, each is of one neighbour."""
    desk = desk_of(method, tables, model or nano(), neighbour_entries=4 if sets == 1 else 1, path_tokens=path_tokens, answer_tokens=16)
    settings: dict[str, Any] = {"synthetic": {}, "num_paths": 2, "swaps": ("bits",), "source": "s"}
    return Measurement(System(desk, SynthesizeConfig(), GenerateConfig(neighbour_sets=sets)), **{**settings, **changes})


def bits_of(path: Path, metric: str = "bits") -> dict[tuple[str, str], float]:
    return {(example, task): value for (example, task, name), value in read_measured([path]).items() if name == metric}


@pytest.fixture
def examples(tables: Tables) -> list[Example]:
    return tables.select("dev", None)


def test_is_the_models_own_log_probability_by_byte(tables: Tables, examples: list[Example], tmp_path: Path) -> None:
    """For a text −log₂ of the product over its tokens, for a rating of the digit's share; both by byte of what is spelled out."""
    one = measurement(tables)
    assert one.measure(examples, TASKS, tmp_path / "bits.jsonl") == sum(task in ("long", "title", "rating") for _ in examples for task in TASKS)
    found = bits_of(tmp_path / "bits.jsonl")
    desk = one.system.desk
    for example in examples:
        for task in TASKS:
            request = request_for(example, task, tables.item(example.item_id))
            [lead] = one.writer.lead([request], [example], [desk.profiles.for_request(request, example)], 1)
            [prompt] = lead.prompts
            assert lead.weights == (1.0,)
            answer = answer_of(example, task)
            if task == "rating":
                expected = -np.log2(nano().score_choices([prompt], [" 1", " 2", " 3", " 4", " 5"])[0, int(answer) - 1])
            else:
                expected = -nano().score_texts([prompt], [answer])[0] / np.log(2) / len(answer.encode())
            assert found[example.example_id, task] == pytest.approx(expected, rel=0.02)


def test_paths_are_a_mixture(tables: Tables, examples: list[Example], tmp_path: Path) -> None:
    """The mean of probabilities, which is never below the mean of log-probabilities."""
    one = measurement(tables, "grasper", num_paths=3, path_tokens=64)
    one.measure(examples, ("long",), tmp_path / "bits.jsonl")
    desk = one.system.desk
    for example in examples:
        request = request_for(example, "long", tables.item(example.item_id))
        [lead] = one.writer.lead([request], [example], [desk.profiles.for_request(request, example)], 3)
        assert len({prompt.prefix for prompt in lead.prompts}) > 1
        answer = answer_of(example, "long")
        nats = nano().score_texts(lead.prompts, [answer] * len(lead.prompts))
        expected = -np.logaddexp.reduce(nats + np.log(lead.weights)) / np.log(2) / len(answer.encode())
        assert bits_of(tmp_path / "bits.jsonl")[example.example_id, "long"] == pytest.approx(expected, rel=0.02)


def test_a_pool_is_a_product_of_sums_and_a_mixture_a_sum_of_products() -> None:
    """By hand: two prompts find two tokens as likely as 0.5 and 0.1, and as 0.1 and 0.5."""
    scores, prompts = np.log([[0.5, 0.1], [0.1, 0.5]]), (Prompt(()), Prompt(()))
    assert _log_probability(scores, Pool(prompts, (0.5, 0.5))) == pytest.approx(np.log(0.3 * 0.3))
    assert _log_probability(scores, Pool(prompts, (0.75, 0.25))) == pytest.approx(np.log(0.4 * 0.2))
    assert _log_probability(scores, Pool(prompts, (0.5, 0.5), is_mixture=True)) == pytest.approx(np.log(0.05))


def test_behind_several_sets_of_neighbours_every_token_counts_as_it_is_drawn(tables: Tables, examples: list[Example], tmp_path: Path) -> None:
    """By the weighted mean of its probabilities behind all prompts."""
    one = measurement(tables, "pgraphrag-sets", sets=3)
    one.measure(examples, ("long",), tmp_path / "bits.jsonl")
    for example in examples:
        request, answer = request_for(example, "long", tables.item(example.item_id)), answer_of(example, "long")
        [lead] = one.writer.lead([request], [example], [one.writer.profile(request, example, ())], 1)
        assert len(lead.prompts) == 3
        tokens = np.exp(nano().score_tokens(lead.prompts, [answer] * 3))
        expected = -np.log2(np.array(lead.weights) @ tokens).sum() / len(answer.encode())
        assert bits_of(tmp_path / "bits.jsonl")[example.example_id, "long"] == pytest.approx(expected, rel=0.02)


def test_a_prompt_that_held_the_target_would_be_far_cheaper_and_no_methods_is(
    tables: Tables, examples: list[Example], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planting the target among the own reviews saves a quarter of the bits even with nano; no method comes near, of each kind of prompt one."""
    by_method = {}
    for method in ("none", "pgraphrag", "grasper", "pat"):
        synthetic = {one.example_id: [SyntheticReview(one.example_id, one.user_id, Item("pier"), "A fine day out.")] for one in examples}
        one = measurement(tables, method, num_paths=1, synthetic=synthetic)
        one.measure(examples, ("long",), tmp_path / f"{method}.jsonl")
        by_method[method] = np.mean(list(bits_of(tmp_path / f"{method}.jsonl").values()))
    planted = measurement(tables)
    monkeypatch.setattr(
        type(planted.system.desk.profiles), "for_request", lambda self, request, example, synthetic=(), *, sets: Profile(own=(example.target,))
    )
    planted.measure(examples, ("long",), tmp_path / "planted.jsonl")
    leaked = np.mean(list(bits_of(tmp_path / "planted.jsonl").values()))
    assert all(leaked < 0.8 * value for value in by_method.values()), (leaked, by_method)


def test_the_file_never_holds_a_text(tables: Tables, examples: list[Example], tmp_path: Path) -> None:
    for method, path in (("pgraphrag", tmp_path / "plain.jsonl"), ("grasper", tmp_path / "thinks.jsonl")):
        measurement(tables, method).measure(examples, TASKS, path)
        fields = {"example_id", "task", "metric", "value", "source", *(["paths"] if method == "grasper" else [])}
        assert all(set(record) in (fields, {"batch", "done", "crc32"}) for record in read_jsonl(path))  # no field for a text
        assert not any(example.target.text in path.read_text() for example in examples)


def test_a_stopped_measurement_goes_on_and_another_source_begins_anew(tables: Tables, examples: list[Example], tmp_path: Path) -> None:
    """What is there is not measured again; numbers of another alignment are given up, those of other paths only by hand."""
    path = tmp_path / "bits.jsonl"
    one = measurement(tables, "grasper")
    assert one.measure(examples[:1], ("long",), path) == 1
    first = path.read_bytes()
    assert one.measure(examples, ("long",), path) == len(examples) - 1
    assert path.read_bytes().startswith(first)
    assert replace(one, source="t").measure(examples, ("long",), path) == len(examples)
    assert read_measured([path], source="s") == {}
    assert len(read_measured([path], source="t")) == len(examples)
    with pytest.raises(RunMismatchError, match=r"bits\.jsonl holds numbers that were measured with --paths 2; ask for the same, or delete it"):
        replace(one, source="t", num_paths=5).measure(examples, ("long",), path)
    assert len(read_measured([path], source="t")) == len(examples)
    assert replace(one, source="u", num_paths=5).measure(examples, ("long",), path) == len(examples)
    assert paths_in([path], source="u") == [5]


def test_the_number_of_paths_is_nothing_to_methods_that_do_not_think(tables: Tables, examples: list[Example], tmp_path: Path) -> None:
    path = tmp_path / "bits.jsonl"
    one = measurement(tables)
    assert one.measure(examples, ("long",), path) == len(examples)
    assert replace(one, num_paths=5).measure(examples, ("long",), path) == 0
    assert paths_in([path]) == []


@pytest.mark.parametrize(("method", "sets"), [("pgraphrag", 1), ("pgraphrag-sets", 3)])
@pytest.mark.parametrize("swap", ["bits_other_user", "bits_other_item"])
def test_a_swap_shows_a_strangers_evidence_and_never_the_target(
    tables: Tables, swap: Swap, method: str, sets: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the swapped part changes, in every prompt; what the user wrote, the target, and repeats of it do not come back."""
    reviews = tables.reviews.copy()
    reviews.loc[reviews.review_id == "tiny-dev-000004", "text"] = "clean and calm, the staff HELPED with our bags."  # user3 repeats dora's target
    tables = Tables(reviews, tables.items, tables.examples)
    examples = tables.select("dev", None)
    one = measurement(tables, method, sets=sets, swaps=(swap,))
    shown: list[tuple[Example, Profile]] = []
    writer = type(one.writer)
    lead = writer.lead

    def spy(self: Any, requests: Any, asked: Any, profiles: Any, count: int) -> Any:
        shown.extend(zip(asked, profiles, strict=True))
        return lead(self, requests, asked, profiles, count)

    monkeypatch.setattr(writer, "lead", spy)
    one.measure(examples, ("long",), tmp_path / "bits.jsonl")
    assert shown
    pool = one.system.desk.store.pool
    assert any(profile.further for _, profile in shown) == (sets > 1)
    partners = choose_partners(examples, lambda example: bool(pool.own(example) if swap == "bits_other_user" else pool.neighbours(example)))
    for example, profile in shown:
        request = request_for(example, "long", tables.item(example.item_id))
        usual = one.writer.profile(request, example, ())
        swapped, kept = ("own", "neighbours") if swap == "bits_other_user" else ("neighbours", "own")
        assert getattr(profile, kept) == getattr(usual, kept)
        assert kept == "own" or profile.further == usual.further
        partner = partners[example.example_id]
        assert partner.user_id != example.user_id
        assert partner.item_id != example.item_id
        theirs = profile.own if swapped == "own" else (*profile.neighbours, *chain.from_iterable(profile.further))
        assert theirs
        assert all(review.user_id != example.user_id for review in theirs)
        assert all((review.user_id == partner.user_id) if swapped == "own" else (review.item_id == partner.item_id) for review in theirs)
        assert all(review.text.lower() != example.target.text.lower() for review in theirs)
    assert set(bits_of(tmp_path / "bits.jsonl", swap)) == {(example.example_id, "long") for example, _ in shown}


def test_who_stands_in_does_not_depend_on_how_many_are_measured(tables: Tables, examples: list[Example], tmp_path: Path) -> None:
    """A few targets first and all later gives the numbers of all at once."""
    for path, parts in (("once", [examples]), ("grown", [examples[:1], examples])):
        for part in parts:
            measurement(tables, swaps=("bits_other_item",), lenders=examples).measure(part, ("long",), tmp_path / path)
    assert bits_of(tmp_path / "grown", "bits_other_item") == bits_of(tmp_path / "once", "bits_other_item") != {}
    others = measurement(tables, swaps=("bits_other_item",), lenders=[*examples, *tables.select("align")])
    with pytest.raises(RunMismatchError, match="measured with the evidence of other targets"):
        others.measure(examples, ("long",), tmp_path / "grown")
    assert bits_of(tmp_path / "grown", "bits_other_item") == bits_of(tmp_path / "once", "bits_other_item")


def test_only_those_who_have_evidence_lend_it() -> None:
    """Everybody who shows own reviews gets somebody's, however few people have any; nobody gets their own user's or item's."""
    reviews = [Review(f"r{number}", f"u{number // 2}", f"i{number % 5}", "text") for number in range(20)]
    examples = [Example(f"e{number}", review, "dev-a") for number, review in enumerate(reviews)]
    partners = choose_partners(examples, lambda example: example.example_id in ("e3", "e8"))
    assert {partner.example_id for partner in partners.values()} == {"e3", "e8"}
    assert len(partners) == 20 - sum(
        all(one.user_id == other.user_id or one.item_id == other.item_id for other in (examples[3], examples[8])) for one in examples
    )
    assert choose_partners(examples, lambda example: False) == {}


@pytest.mark.parametrize(
    ("method", "model", "message"),
    [("copy", None, "writes without a language model"), ("pgraphrag", ScriptedModel(), "no probability of a given text")],
)
def test_methods_without_probabilities_are_told(
    tables: Tables, examples: list[Example], tmp_path: Path, method: str, model: Any, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        measurement(tables, method, model).measure(examples, TASKS, tmp_path / "bits.jsonl")
    assert not (tmp_path / "bits.jsonl").exists()


def test_ratings_between_digits_have_no_bits(examples: list[Example]) -> None:
    target = replace(examples[0].target, rating=3.5)
    assert answer_of(replace(examples[0], target=target), "rating") == ""
    assert answer_of(replace(examples[0], target=replace(target, rating=3.0)), "rating") == "3"


def test_savings_are_taken_on_the_examples_that_show_the_evidence() -> None:
    """(1 − mean right / mean wrong) over examples with both numbers, with its interval; nothing where nothing was swapped."""
    columns = pd.MultiIndex.from_tuples([("m", "long", "bits"), ("m", "long", "bits_other_user"), ("n", "long", "bits")])
    values = pd.DataFrame([[1.0, 2.0, 1.0], [2.0, 2.0, 1.0], [9.0, np.nan, 1.0], [1.0, 2.0, 1.0]], columns=columns)
    found = swap_test(values, Bootstrap(["a", "b", "c", "d"], samples=200, seed=0))
    entry = found["m"]["long"]["own reviews"]
    assert list(found) == ["m"]
    assert entry["n"] == 3
    assert entry["value"] == pytest.approx(1 - 4 / 6, abs=1e-6)
    assert entry["low"] < entry["value"] < entry["high"]


def test_a_log_is_whole_after_a_kill(tables: Tables, examples: list[Example], tmp_path: Path) -> None:
    """A line that was cut off is dropped, and its batch measured again."""
    path = tmp_path / "bits.jsonl"
    measurement(tables).measure(examples, ("long",), path)
    whole = path.read_text()
    path.write_text(whole[: len(whole) // 2])
    measurement(tables).measure(examples, ("long",), path)
    assert [json.loads(line) for line in path.read_text().splitlines()] == [json.loads(line) for line in whole.splitlines()]
    assert len(BatchLog(path).done) == len(examples)


def test_a_run_is_measured_before_any_text_is_written(tmp_path: Path) -> None:
    """By the command; a stage that is missing is named, `copy` is left out and said so, and the numbers join the evaluation once texts are there."""
    config = load_config(None, ["tasks=[long]", "evaluate.bootstrap_samples=100", *TERSE], methods=("copy", "none", "lamp"), limit=12)
    run = Run(tmp_path / "run")
    Pipeline(config, run, only="prepare").carry_out(say=lambda line: None)
    result = CliRunner().invoke(app, ["bits", str(run.root), "--swap"])
    assert result.exit_code == 0, result.output
    assert "bits/copy: left out; copy writes without a language model" in result.output
    assert "bits/none: 12 measured" in result.output
    assert "minus none" in result.output
    Pipeline(config, run).carry_out(say=lambda line: None)
    metrics = read_json(run.folder("evaluate") / "metrics.json")
    assert metrics["methods"]["none"]["long"]["bits"]["n"] == 12
    assert "bits" not in metrics["methods"]["copy"]["long"]
    swapped = read_measured([run.folder("measure", "lamp") / "bits.jsonl"])
    shown = sum(metric == "bits_other_user" for _, _, metric in swapped)
    assert shown == metrics["swap"]["lamp"]["long"]["own reviews"]["n"] > 0
    again = CliRunner().invoke(app, ["bits", str(run.root), "--methods", "grasper"])
    assert isinstance(again.exception, MissingFileError)
    assert "predict" in str(again.exception)
