"""The align stage: what a method's model is trained on, what is written, and what happens where nothing can be trained."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tiny_model import save_model
from worlds import desk_of, shown, system_of

from grasper.align import TRAINERS, align, select_pairs
from grasper.align import gold as gold_module
from grasper.align.exemplars import ExemplarIndex
from grasper.align.lesson import Lesson
from grasper.align.pairs import make_pairs
from grasper.align.sft import make_sequence
from grasper.config import AlignConfig, DpoConfig, ModelConfig, PromptConfig
from grasper.errors import AdapterError, ConfigError, UnknownNameError
from grasper.files import BatchLog
from grasper.methods import METHODS, Method
from grasper.models import open_model
from grasper.models.scripted import ScriptedModel
from grasper.prompts.render import after_path
from grasper.prompts.templates import RATING_CHOICES
from grasper.reason.traces import Trace
from grasper.records import Output, Tables, request_for, tasks_of

PROMPTS = PromptConfig()
CONFIG = AlignConfig(num_samples=3, reward_threshold=0.0, epochs=1, batch_size=2, rounds=1)
PATH = "Style: short\nInterests: rooms\nPlan: praise"
ANSWER = "Rating: 4\nTitle: Sampled title\nText: Sampled good coffee."


def scripted() -> ScriptedModel:
    """Writes path and answer, behind a path that is begun already only what is missing."""
    return ScriptedModel(lambda prompt: " Sampled good coffee." if prompt.prefix else f"{PATH}\n{ANSWER}", context_tokens=4096)


def run(tables: Tables, model: Any, out_dir: Path, method: str = "grasper", config: AlignConfig = CONFIG) -> dict[str, Any]:
    align_examples, held_out = (select_pairs(tables, split, None, seed=0) for split in ("align", "held-out"))
    return align(config, desk_of(method, tables, model), align_examples, held_out, [], out_dir, seed=7)


def real_answers(tables: Tables, tasks: Sequence[str] = ("long", "title", "rating", "review")) -> set[str]:
    """What lee's pairs should be answered with: the pairs take turns, so each example has one task."""
    pairs = make_pairs(desk_of("grasper", tables), select_pairs(tables, "align", None, seed=0), with_reviews=True)
    return {pair.answer_lines for pair in pairs if pair.task in tasks}


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch, tuned: Any) -> Any:
    """The stage without the training itself."""
    monkeypatch.setattr(gold_module, "finetune", tuned)
    return tuned


@pytest.mark.parametrize(("plain", "threshold", "count"), [("none", 0.0, 0), ("all", 0.0, 4), ("hopeless", 0.0, 0), ("hopeless", 0.9, None)])
def test_real_texts_may_also_be_learned_without_a_path(
    tables: Tables, make_model: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plain: str, threshold: float, count: int | None
) -> None:
    """Of all pairs, or of those whose paths are not good enough; the prompt then asks for no path."""
    learned: list[tuple[str, str]] = []
    monkeypatch.setattr(gold_module, "finetune", lambda *args, **options: {})
    monkeypatch.setattr(Lesson, "sequence", lambda self, pair, path, answer, **options: learned.append((path, answer)))
    config = CONFIG.model_copy(update={"plain": plain, "reward_threshold": threshold, "sources": ("sampled",)})
    counts = run(tables, make_model(), tmp_path, config=config)
    without = [answer for path, answer in learned if not path]
    expected = counts["gold"]["pairs"] - counts["gold"]["gold"] if count is None else counts["gold"]["pairs"] if plain == "all" else count
    assert len(without) == expected
    assert set(without) <= real_answers(tables)
    assert count is not None or expected > 0


@pytest.mark.parametrize("fault", [{"is_parsed": False}, {"is_cut": True}])
@pytest.mark.parametrize("method", ["grasper", "grasper-no-reasoning"])
def test_the_consensus_is_learned_in_the_place_of_real_texts(
    tables: Tables, make_model: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, fault: dict[str, bool]
) -> None:
    """Without a path every text is the model's own, also where the pair's turn is another task; behind gold paths the real ones stay."""
    learned: list[tuple[str, str, str]] = []
    monkeypatch.setattr(gold_module, "finetune", lambda *args, **options: {})
    monkeypatch.setattr(Lesson, "sequence", lambda self, pair, path, answer, **options: learned.append((pair.pair_id, path, answer)))
    config = CONFIG.model_copy(update={"plain": "all", "consensus_samples": 2, "sources": ("sampled",)})
    examples = select_pairs(tables, "align", None, seed=0)
    written = [Output(example.example_id, "long", method, f"Own words {number}.", is_parsed=True) for number, example in enumerate(examples[:-1])]
    faulty = Output(examples[-1].example_id, "long", method, "Own words", **fault)
    align(config, desk_of(method, tables, make_model()), examples, [], [], tmp_path, seed=7, consensus=[*written, faulty])
    plain = {(pair, answer) for pair, path, answer in learned if not path and pair.endswith("/long")}
    assert plain == {(f"{output.example_id}/long", f"Text: {output.text}") for output in written}
    others = [answer for pair, path, answer in learned if path or not pair.endswith("/long")]
    assert others
    assert set(others) <= real_answers(tables)


def test_gold_paths_stand_before_real_texts(tables: Tables, make_model: Callable[..., Any], fast: Any, tmp_path: Path) -> None:
    """[Z*; t]: Z* is the path whose sampled answer had the best reward, t is what the user wrote, never the sample."""
    counts = run(tables, make_model(), tmp_path)
    traces = [Trace(**record) for record in BatchLog(tmp_path / "traces.jsonl").records]
    best = {}
    for trace in traces:
        if trace.is_usable and trace.reward > best.get(trace.pair_id, trace).reward - (trace.pair_id not in best):
            best[trace.pair_id] = trace
    expected = {f"{trace.path}\n" for trace in best.values()}
    answers = real_answers(tables)
    assert len(fast.completions(0)) == len(answers) == len(best)
    for completion in fast.completions(0):
        answer = next(answer for answer in answers if completion.endswith(answer))
        assert completion.removesuffix(answer) in expected
    gold = [json.loads(line) for line in (tmp_path / "gold.jsonl").read_text().splitlines()]
    assert {entry["pair_id"]: entry["reward"] for entry in gold} == {pair_id: trace.reward for pair_id, trace in best.items()}
    assert counts["gold"]["gold"] == len(best)


def test_a_method_without_reasoning_learns_real_texts_alone(tables: Tables, make_model: Callable[..., Any], fast: Any, tmp_path: Path) -> None:
    model = make_model()
    run(tables, model, tmp_path, "grasper-no-reasoning")
    assert set(fast.completions(0)) == real_answers(tables)
    assert model.calls == []
    assert not (tmp_path / "traces.jsonl").exists()


def test_sampled_texts_may_stand_behind_gold_paths(tables: Tables, make_model: Callable[..., Any], fast: Any, tmp_path: Path) -> None:
    """`align.gold_text: sampled`: [Z*; the text that made it gold], and nothing that the user wrote."""
    run(tables, make_model(), tmp_path, config=CONFIG.model_copy(update={"gold_text": "sampled"}))
    gold = [json.loads(line) for line in (tmp_path / "gold.jsonl").read_text().splitlines()]
    assert len(fast.completions(0)) == len(gold) > 0
    for entry, completion in zip(gold, fast.completions(0), strict=True):
        assert completion.startswith(entry["path"])
        assert completion.endswith(f": {entry['answer']}")
    assert not any(answer in completion for completion in fast.completions(0) for answer in real_answers(tables, ("long", "title", "review")))


def test_a_cut_sample_is_gold_for_its_path_alone(
    tables: Tables, make_model: Callable[..., Any], fast: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind it stands the real text; as the text to be learned it is left out."""
    cls = type(make_model())
    write = cls._write
    monkeypatch.setattr(cls, "_write", lambda self, prompt, stream: replace(write(self, prompt, stream), finish_reason="length"))
    assert run(tables, make_model(), tmp_path / "real")["gold"]["gold"] > 0
    with pytest.raises(ConfigError, match="no training pair is left"):
        run(tables, make_model(), tmp_path / "sampled", config=CONFIG.model_copy(update={"gold_text": "sampled"}))


def test_without_reasoning_the_best_of_the_direct_answers_is_learned(
    tables: Tables, make_model: Callable[..., Any], fast: Any, tmp_path: Path
) -> None:
    """So that GraSPer and its ablation differ in the path alone, with sampled texts too."""
    run(tables, make_model(), tmp_path, "grasper-no-reasoning", CONFIG.model_copy(update={"gold_text": "sampled"}))
    traces = [Trace(**record) for record in BatchLog(tmp_path / "traces.jsonl").records]
    assert {trace.source for trace in traces} == {"direct"}
    assert not any(trace.path for trace in traces)
    best: dict[str, Trace] = {}
    for trace in traces:
        if trace.is_usable and (trace.pair_id not in best or trace.reward > best[trace.pair_id].reward):
            best[trace.pair_id] = trace
    assert set(fast.completions(0)) == {trace.answer_lines(trace.pair_id.rpartition("/")[2]) for trace in best.values()}  # type: ignore[arg-type]


def test_evaluation_counts_the_real_text_alone(tables: Tables, make_model: Callable[..., Any], fast: Any, tmp_path: Path) -> None:
    """So that the losses of methods with and without reasoning can be compared: the same number of tokens count."""
    run(tables, make_model(), tmp_path / "a", "grasper")
    run(tables, make_model(), tmp_path / "b", "grasper-no-reasoning")
    counted = [[sum(weight > 0 for weight in sequence.weights) for sequence in call[2]] for call in fast]
    assert counted[0] == counted[1]
    assert len(counted[0]) == len(tables.select("held-out"))


def test_the_paths_of_the_evaluation_do_not_look_at_the_answer(tables: Tables, make_model: Callable[..., Any], fast: Any, tmp_path: Path) -> None:
    """A plan that names what the real text praises would make every loss too low; none behind the visible evidence alone does."""
    run(tables, make_model(), tmp_path)
    pairs = make_pairs(desk_of("grasper", tables), select_pairs(tables, "held-out", None, seed=0), with_reviews=True)
    assert any(pair.analysed_path(sees_answer=True) != pair.analysed_path(sees_answer=False) for pair in pairs)
    assert fast.evaluated(0) == [f"{pair.analysed_path(sees_answer=False).render()}\n{pair.answer_lines}" for pair in pairs]


def test_hopeless_pairs_are_an_error(tables: Tables, make_model: Callable[..., Any], tmp_path: Path) -> None:
    """No sample reaches the threshold: nothing is trained on nothing, with an adapter or with exemplars."""
    hopeless = CONFIG.model_copy(update={"reward_threshold": 1.0, "sources": ("sampled",)})
    for name, model in (("a", make_model()), ("b", ScriptedModel([f"{PATH}\nText: x"]))):
        with pytest.raises(ConfigError, match=r"align\.reward_threshold"):
            run(tables, model, tmp_path / name, config=hopeless)


def test_answers_that_never_parse_are_an_error(tables: Tables, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no training pair is left"):
        run(tables, ScriptedModel(["nonsense"]), tmp_path, config=CONFIG.model_copy(update={"sources": ("sampled",)}))


def test_a_training_that_nobody_knows_is_refused(tables: Tables, make_model: Callable[..., Any], tmp_path: Path) -> None:
    """A declaration with a mistyped trainer never gets another one in silence."""
    desk = desk_of(Method("odd", "trains as nobody does", training="dpoo"), tables, make_model())
    with pytest.raises(UnknownNameError, match=r"unknown trainer 'dpoo'; known: .*gold.*em"):
        align(CONFIG, desk, tables.select("align"), [], [], tmp_path, seed=0)
    assert {method.training for method in METHODS.values()} - {"none"} <= set(TRAINERS)


def test_data_without_reserved_users_are_an_error(tables: Tables, make_model: Callable[..., Any], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no alignment pairs"):
        align(CONFIG, desk_of("grasper", tables, make_model()), [], [], [], tmp_path, seed=0)


def test_a_whole_stage_writes_adapter_and_model_card(tables: Tables, make_model: Callable[..., Any], model_dir: Path, tmp_path: Path) -> None:
    """With real training, twice: same bytes; the card names base, data and losses; the adapter loads on its base and on no other."""
    model = make_model()
    counts = run(tables, model, tmp_path / "a")
    run(tables, make_model(), tmp_path / "b")
    for name in ("traces.jsonl", "gold.jsonl", "adapter/adapter_model.safetensors", "adapter/adapter_config.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    card = (tmp_path / "a" / "README.md").read_text()
    assert f"base_model: {model.name}" in card
    assert "[gold reasoning path; real text]" in card
    assert f"| eval_loss | {counts['eval_loss']} |" in card
    assert json.loads((tmp_path / "a" / "metrics.jsonl").read_text().splitlines()[0])["loss"] > 0
    settings = {"kind": "local", "device": "cpu"}
    assert open_model(ModelConfig(name=str(model_dir), **settings), tmp_path / "a" / "adapter").name != model.name  # type: ignore[arg-type]
    other = save_model(tmp_path / "other", seed=1, context_tokens=1024)
    with pytest.raises(AdapterError, match="trained for model"):
        open_model(ModelConfig(name=str(other), **settings), tmp_path / "a" / "adapter")  # type: ignore[arg-type]
    with pytest.raises(AdapterError, match="cannot take the adapter"):
        open_model(ModelConfig(kind="scripted"), tmp_path / "a" / "adapter")


@pytest.mark.parametrize("method", ["grasper", "rest_pg"])
def test_a_model_that_cannot_be_tuned_gets_exemplars(tables: Tables, tmp_path: Path, method: str) -> None:
    """Solved requests instead of an adapter: with real texts for GraSPer, sampled ones for REST-PG; generation then shows them."""
    model = scripted()
    counts = run(tables, model, tmp_path, method)
    records = [json.loads(line) for line in (tmp_path / "exemplars.jsonl").read_text().splitlines()]
    assert counts["exemplars"] == len(records) > 0
    assert not (tmp_path / "adapter").exists()
    assert {record["user_id"] for record in records} == {example.user_id for example in select_pairs(tables, "align", None, seed=0)}
    for record in records:
        path, answer = record["answer"].split("\n")[:3], "\n".join(record["answer"].split("\n")[3:])
        assert [line.partition(":")[0] for line in path] == ["Style", "Interests", "Plan"]
        assert (answer in real_answers(tables)) == (method == "grasper")
        assert ("Sampled" in answer) == (method == "rest_pg")
        assert "Own reviews: none" in record["question"]
    task = records[0]["task"]
    model.prompts.clear()
    system_of(method, tables, model, exemplars=ExemplarIndex.load(tmp_path, 1)).write(task, tables.select("dev"), {})
    wanted = [record["answer"] for record in records if record["task"] == task]
    assert model.prompts
    assert all(any(answer in shown(prompt) for answer in wanted) for prompt in model.prompts)


def test_an_exemplar_never_holds_the_review_that_is_asked_for(tables: Tables, tmp_path: Path) -> None:
    """A known training user asks for an item that they reviewed, and the review is one of the exemplars."""
    model = scripted()
    run(tables, model, tmp_path)
    system = system_of("grasper", tables, model, exemplars=ExemplarIndex.load(tmp_path, 8))
    for example in select_pairs(tables, "align", None, seed=0):
        model.prompts.clear()
        asked = replace(example, target=replace(example.target, review_id="asked", title=None, text="", rating=None), is_request=True)
        system.write("long", [asked], {})
        assert model.prompts
        assert not any(example.target.text in message.content for prompt in model.prompts for message in prompt.messages[:-1])


def test_plain_answers_are_no_exemplars(tables: Tables, tmp_path: Path) -> None:
    """They are for training: one that is shown without a path would teach to leave out the path that is asked for."""
    run(tables, scripted(), tmp_path, config=CONFIG.model_copy(update={"plain": "all"}))
    records = [json.loads(line) for line in (tmp_path / "exemplars.jsonl").read_text().splitlines()]
    assert records
    assert all(record["answer"].startswith("Style: ") for record in records)


def test_exemplars_serve_synthesis_too(tables: Tables, tmp_path: Path) -> None:
    """Whole reviews are among the pairs of a method that predicts items: their exemplars are found by synthesis' own task."""
    examples = select_pairs(tables, "align", None, seed=0) * 2
    model = scripted()
    align(CONFIG, desk_of("grasper", tables, model), examples, [], [], tmp_path, seed=7)
    example = tables.select("dev")[0]
    (exemplar,) = ExemplarIndex.load(tmp_path, 1).nearest(request_for(example, "long", tables.item(example.item_id)), "review")
    assert "Rating: 1 to 5; Title" in exemplar.question
    assert [line.partition(":")[0] for line in exemplar.answer.split("\n")[3:]] == ["Rating", "Title", "Text"]


@pytest.mark.parametrize("path", [PATH, ""])
@pytest.mark.parametrize("rating", [1, 3, 5])
def test_what_is_trained_is_what_is_scored(tables: Tables, make_model: Callable[..., Any], path: str, rating: int) -> None:
    """A rating's training tokens are those by which generation compares the choices behind the same path."""
    model = make_model()
    example = next(example for example in tables.select("align") if "rating" in tasks_of(example))
    pair = make_pairs(desk_of("grasper", tables), [example], tasks=("rating",))[0]
    prompt = pair.render(reasoning=bool(path), config=PROMPTS, model=model)
    sequence = make_sequence(model, prompt, path, f"Rating: {rating}", "rating", path_weight=1.0)
    asked = after_path(prompt, path, "rating")
    prompt_ids = model.encode(prompt)
    assert sequence.ids == [*prompt_ids, *model.encode_text(asked.prefix + RATING_CHOICES[rating - 1]), model.tokenizer.eos_token_id]


def test_a_text_that_is_longer_than_the_context_is_cut(tables: Tables, make_model: Callable[..., Any]) -> None:
    """The sequence ends with the context, and nobody learns to stop there."""
    model = make_model()
    pair = make_pairs(desk_of("grasper", tables), tables.select("align"))[0]
    prompt = pair.render(reasoning=False, config=PROMPTS, model=model)
    sequence = make_sequence(model, prompt, "", "Text: " + "lovely " * 2000, "long", path_weight=0.0)
    assert len(sequence.ids) == len(sequence.weights) == model.context_tokens
    assert sequence.ids[-1] != model.tokenizer.eos_token_id


def test_notes_are_judged_by_likelihood_only_where_the_model_tells_it(tables: Tables, tmp_path: Path) -> None:
    """Before the model is asked for anything."""
    model = scripted()
    config = CONFIG.model_copy(update={"dpo": DpoConfig(reward="likelihood")})
    with pytest.raises(ConfigError, match=r"align\.dpo\.reward=likelihood needs a local model, which tells .* got scripted"):
        run(tables, model, tmp_path, "pat", config)
    assert model.prompts == []


def test_a_reward_of_paths_cannot_judge_notes_by_their_drafts(tables: Tables, make_model: Callable[..., Any], tmp_path: Path) -> None:
    """What can is named; and with that, the reward of paths is left to the methods that have some."""
    config = CONFIG.model_copy(update={"reward": "likelihood"})
    model = make_model()
    with pytest.raises(ConfigError, match=r"judged by drafts; choose align\.reward=mean, or align\.dpo\.reward=likelihood"):
        run(tables, model, tmp_path, "pat", config)
    assert model.calls == []


@pytest.mark.parametrize(
    ("method", "gold_text", "advice"),
    [("rest_pg", "real", r"mean$"), ("grasper", "sampled", r"mean, or align\.gold_text=real$"), ("grasper-no-reasoning", "sampled", "real$")],
)
def test_a_reward_of_paths_cannot_choose_texts_to_learn(
    tables: Tables, make_model: Callable[..., Any], tmp_path: Path, method: str, gold_text: str, advice: str
) -> None:
    """Any text would do, however bad, behind a path that it likes."""
    model = make_model()
    config = CONFIG.model_copy(update={"reward": "likelihood", "sources": ("sampled",), "gold_text": gold_text})
    with pytest.raises(ConfigError, match=rf"is to learn sampled texts; choose align\.reward=.*{advice}"):
        run(tables, model, tmp_path, method, config)
    assert model.calls == []
