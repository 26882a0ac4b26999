"""REST-PG's rounds: real texts at the start, sampled ones after it, always from the base, resumable, all of them kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from worlds import desk_of

from grasper.align import em, select_pairs
from grasper.align.em import self_train
from grasper.align.lesson import Lesson
from grasper.align.pairs import make_pairs
from grasper.config import AlignConfig
from grasper.errors import ConfigError
from grasper.files import BatchLog
from grasper.reason.reward import make_reward
from grasper.reason.traces import Trace
from grasper.records import Tables

CONFIG = AlignConfig(rounds=2, num_samples=3, reward_threshold=0.0, epochs=1, batch_size=2)


def train(tables: Tables, model: Any, out_dir: Path, config: AlignConfig = CONFIG) -> dict[str, Any]:
    """The rounds on lee's pairs, with ann's held out."""
    desk = desk_of("rest_pg", tables, model)
    align, held_out = (make_pairs(desk, select_pairs(tables, split, None, seed=0)) for split in ("align", "held-out"))
    return self_train(Lesson(config, desk, align, held_out, make_reward(), out_dir, 5))


def files_of(folder: Path) -> dict[str, bytes]:
    """All that a training left, but for what only the training library needs to go on."""
    kept = [path for path in sorted(folder.rglob("*")) if path.is_file() and "checkpoints" not in path.parts and path.name != "metrics.jsonl"]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in kept}


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch, tuned: Any, make_model: Callable[..., Any]) -> Any:
    """Rounds without the training itself: adapters are folders that nobody loads."""
    monkeypatch.setattr(em, "finetune", tuned)
    cls = type(make_model())

    def with_adapter(self: Any, adapter: Path) -> Any:
        adapted = make_model(self.fails_at)
        adapted.name, adapted.calls = f"{self.name}+{(adapter / 'adapter_model.safetensors').read_text()}", self.calls
        return adapted

    monkeypatch.setattr(cls, "with_adapter", with_adapter)
    return tuned


def test_the_start_learns_real_texts_and_the_rounds_sampled_ones(tables: Tables, make_model: Callable[..., Any], fast: Any, tmp_path: Path) -> None:
    """Round 0: [path; real answer] of every pair. Later: exactly the kept samples of that round, path and answer."""
    model = make_model()
    train(tables, model, tmp_path)
    real = [review.text for review in tables.reviews_by_id.values() if review.user_id == "lee"]
    pairs = make_pairs(desk_of("rest_pg", tables, model), select_pairs(tables, "align", None, seed=0))
    assert [text.split("\n", 3)[3] for text in fast.completions(0)] == [pair.answer_lines for pair in pairs] != []
    for number in (1, 2):
        traces = [Trace(**record) for record in BatchLog(tmp_path / f"round-{number}" / "traces.jsonl").records]
        completions = {f"{trace.path}\n{'Text' if trace.pair_id.endswith('long') else 'Title'}: {trace.answer}" for trace in traces}
        assert set(fast.completions(number)) == completions
        assert not any(text in completion for text in real for completion in fast.completions(number))


def test_sampled_texts_without_their_end_are_not_learned(
    tables: Tables, make_model: Callable[..., Any], fast: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The start learns real texts, whatever its paths led to; the rounds have nothing left where every sample was cut."""
    cls = type(make_model())
    write = cls._write
    monkeypatch.setattr(cls, "_write", lambda self, prompt, stream: replace(write(self, prompt, stream), finish_reason="length"))
    with pytest.raises(ConfigError, match=r"round 1: no whole sample .* or prompts\.answer_tokens, since samples were cut"):
        train(tables, make_model(), tmp_path)
    assert len(fast) == 1


def test_rounds_start_from_the_base_and_sample_with_the_last(tables: Tables, make_model: Callable[..., Any], fast: Any, tmp_path: Path) -> None:
    """The model handed to each training is the base itself; the one asked for samples carries the adapter of the round before."""
    model = make_model()
    train(tables, model, tmp_path)
    assert [call[0] is model for call in fast] == [True] * 3
    adapters = [path.read_text() for path in (tmp_path / f"round-{n}" / "adapter" / "adapter_model.safetensors" for n in range(3))]
    asked = list(dict.fromkeys(model.calls))
    assert asked == [model.name, *(f"{model.name}+{adapter}" for adapter in adapters)]
    assert len(set(adapters)) == 3


def test_samples_weigh_by_their_reward_within_their_task(tables: Tables, make_model: Callable[..., Any], fast: Any, tmp_path: Path) -> None:
    """Weight = reward / mean reward of the task's kept samples: they average one in each task, and keep their ratios."""
    train(tables, make_model(), tmp_path)
    traces = [Trace(**record) for record in BatchLog(tmp_path / "round-1" / "traces.jsonl").records]
    _, sequences, _, _ = fast[1]
    by_text = {text: max(sequence.weights) for text, sequence in zip(fast.completions(1), sequences, strict=True)}
    for task, label in (("long", "Text"), ("title", "Title")):
        chosen = [trace for trace in traces if trace.pair_id.endswith(task)]
        mean = sum(trace.reward for trace in chosen) / len(chosen)
        for trace in chosen:
            assert by_text[f"{trace.path}\n{label}: {trace.answer}"] == pytest.approx(max(trace.reward, 1e-3) / max(mean, 1e-3))


def test_paths_weigh_as_much_as_texts(tables: Tables, make_model: Callable[..., Any], fast: Any, tmp_path: Path) -> None:
    """Whatever GraSPer's Eq. (9) is set to: REST-PG's loss is that of [z; text]."""
    for weight in (0.0, 1.0):
        train(tables, make_model(), tmp_path / f"{weight}", CONFIG.model_copy(update={"path_weight": weight, "rounds": 1}))
    learned = [[sequence.weights for sequence in sequences] for _, sequences, _, _ in fast]
    assert learned[:2] == learned[2:]


def test_every_round_is_kept_and_evaluated(tables: Tables, make_model: Callable[..., Any], fast: Any, tmp_path: Path) -> None:
    counts = train(tables, make_model(), tmp_path)
    rounds = json.loads((tmp_path / "rounds.json").read_text())
    assert rounds == counts["rounds"]
    assert [entry["round"] for entry in rounds] == [0, 1, 2]
    assert all(set(entry["held_out"]) == {"long", "title", "rating"} for entry in rounds)
    assert all((tmp_path / f"round-{number}" / "adapter").is_dir() for number in range(3))
    held_out = [Trace(**record) for path in tmp_path.glob("round-*/held-out.jsonl") for record in BatchLog(path).records]
    assert {trace.source for trace in held_out} == {"sampled"}  # a path that saw the answer would flatter its round
    assert {trace.pair_id.partition("/")[0] for trace in held_out} == {example.example_id for example in tables.select("held-out")}
    for name in ("tokens_in", "tokens_out"):  # what is sampled to evaluate a round is spent, too
        logs = [*tmp_path.glob("round-*/traces.jsonl"), *tmp_path.glob("round-*/held-out.jsonl")]
        assert counts[name] == sum(record[name] for path in logs for record in BatchLog(path).records) > 0
    last = tmp_path / "round-2" / "adapter" / "adapter_model.safetensors"
    assert (tmp_path / "adapter" / "adapter_model.safetensors").read_bytes() == last.read_bytes()


@pytest.mark.parametrize("harm", ["changed", "gone"])
def test_a_round_whose_adapter_is_no_longer_what_it_was_is_done_again(
    tables: Tables, make_model: Callable[..., Any], fast: Any, tmp_path: Path, harm: str
) -> None:
    """Weights that a disk spoiled are never taken over into the finished adapter."""
    train(tables, make_model(), tmp_path)
    whole, weights = len(fast), tmp_path / "round-2" / "adapter" / "adapter_model.safetensors"
    kept = weights.read_bytes()
    if harm == "changed":
        weights.write_bytes(b"spoiled")
    else:
        weights.unlink()
    train(tables, make_model(), tmp_path)
    assert len(fast) == whole + 1
    assert weights.read_bytes() == kept == (tmp_path / "adapter" / "adapter_model.safetensors").read_bytes()


def test_at_most_so_many_samples_per_input_and_only_good_ones(tables: Tables, make_model: Callable[..., Any], fast: Any, tmp_path: Path) -> None:
    train(tables, make_model(), tmp_path / "two", CONFIG.model_copy(update={"max_per_input": 2, "rounds": 1}))
    assert len(fast.completions(1)) == 2 * len(tables.select("align"))
    kept = json.loads((tmp_path / "two" / "rounds.json").read_text())[1]["kept"]
    assert kept["gold"] == len(fast.completions(1))


def test_hopeless_pairs_are_an_error_that_names_the_threshold(tables: Tables, make_model: Callable[..., Any], fast: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"round 1.*reward_threshold"):
        train(tables, make_model(), tmp_path, CONFIG.model_copy(update={"reward_threshold": 1.0}))


@pytest.mark.parametrize("fails_at", range(5))
def test_killed_rounds_end_as_undisturbed_ones(tables: Tables, make_model: Callable[..., Any], fast: Any, tmp_path: Path, fails_at: int) -> None:
    """Killed in any call of the model: same files, and no finished round is done again."""
    train(tables, make_model(), tmp_path / "whole")
    whole = list(fast)
    fast.clear()
    with pytest.raises(KeyboardInterrupt):
        train(tables, make_model(fails_at), tmp_path / "cut")
    before = len(fast)
    train(tables, make_model(), tmp_path / "cut")
    assert files_of(tmp_path / "cut") == files_of(tmp_path / "whole")
    assert len(fast) <= len(whole) + (before > 0)


def test_a_kill_after_the_adapter_was_saved_does_no_harm(tables: Tables, make_model: Callable[..., Any], tmp_path: Path) -> None:
    """With real training: killed when the first adapter is evaluated, then in round 1's sampling; the adapters are the same to the bit."""
    config = CONFIG.model_copy(update={"rounds": 1})
    train(tables, make_model(), tmp_path / "whole", config)
    # Calls 0 and 1 write hindsight paths and their answers, 2 follows the first training; the second run has 2 as its call 0.
    for fails_at in (2, 1):
        with pytest.raises(KeyboardInterrupt):
            train(tables, make_model(fails_at), tmp_path / "cut", config)
    train(tables, make_model(), tmp_path / "cut", config)
    assert files_of(tmp_path / "cut") == files_of(tmp_path / "whole")
    # A finished training that is asked for again (killed before its manifest was written) ends the same.
    train(tables, make_model(), tmp_path / "cut", config)
    assert files_of(tmp_path / "cut") == files_of(tmp_path / "whole")
