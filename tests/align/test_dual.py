"""Warm start and preference rounds of dual reasoning, with a tiny model that is really trained but whose answers are written for it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from worlds import shown

import grasper.align.dual as dual
from grasper.align.dual import Case, DualTraining
from grasper.align.preference import JudgedNotes
from grasper.concerns import concerns
from grasper.config import AlignConfig, DpoConfig, PromptConfig
from grasper.errors import ConfigError
from grasper.models.base import Completion, Message, Prompt
from grasper.models.local import LocalModel
from grasper.models.scripted import ScriptedModel
from grasper.prompts.render import _note
from grasper.prompts.templates import RATING_CHOICES
from grasper.reason import differential
from grasper.reason.differential import NotesTrial, Worth
from grasper.reason.dual import DualReasoning, Evidence
from grasper.reason.pair import TrainingPair
from grasper.records import Example, Item, Profile, Review, Task, request_for

AUDIENCE = Review("n", "ann", "inn", "Quiet room, good breakfast.")
CONFIG = AlignConfig(lora_rank=2, epochs=1, dpo=DpoConfig(rounds=2, num_notes=3, num_drafts=1, margin=0.0, learning_rate=0.01))


def case(number: int, task: Task = "long") -> Case:
    target = Review(f"t{number}", f"u{number}", "inn", "A clean room and a warm breakfast.", "Lovely", 5.0)
    example = Example(f"e{number}", target, "align")
    profile = Profile(neighbours=(AUDIENCE,))
    return Case(TrainingPair(example, request_for(example, task, Item("inn")), profile), Evidence(profile, profile, profile))


class LengthReward:
    """Longer drafts are better; so nothing but the answers' lengths decides."""

    def score(self, task, candidates, references):
        return np.array([min(1.0, len(candidate) / 100) for candidate in candidates])


@pytest.fixture
def training(make_model, tuned, monkeypatch: pytest.MonkeyPatch) -> DualTraining:
    """Fine-tuning and preference training are replaced by writers of little adapters; what they were given is kept in `tuned`."""
    monkeypatch.setattr(dual, "finetune", tuned)

    def preferences(model, adapter, pairs, config, lora, out_dir, *, seed):
        tuned.append((model, adapter, list(pairs), seed))
        (out_dir / "adapter").mkdir(parents=True, exist_ok=True)
        (out_dir / "adapter" / "adapter_model.safetensors").write_text(f"{out_dir.name}")
        (out_dir / "adapter" / "adapter_config.json").write_text('{"base_model_name_or_path": "tiny"}')
        return {"pairs": len(pairs)}

    monkeypatch.setattr(dual, "train_on_preferences", preferences)
    base = make_model()
    monkeypatch.setattr(type(base), "with_adapter", lambda self, adapter: _Named(self, adapter))
    return DualTraining(base, PromptConfig(), CONFIG, LengthReward(), [case(1), case(2)], [case(3)], seed=0)


@pytest.fixture
def sampled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every round finds one good and one bad note; gives the names of the models that were asked for them."""
    asked: list[str] = []

    def sample(self, model, seed, cases):
        asked.append(model.name)
        prompt = Prompt((Message("user", "note how they write."),))
        return [JudgedNotes("e1/long", "style", prompt, f"Style: {word}", value) for word, value in (("warm", 0.3), ("cold", 0.0))]

    monkeypatch.setattr(DualTraining, "sample", sample)
    return asked


class _Named:
    """The base model under the name of an adapter, so that it answers differently with each."""

    def __init__(self, base, adapter: Path) -> None:
        self._base, self.name = base, f"{adapter.parent.name}"

    def __getattr__(self, name: str):
        return getattr(self._base, name)

    def generate(self, prompts, **options):
        return [[replace(c, text=c.text + f" {self.name}") for c in group] for group in self._base.generate(prompts, **options)]


def test_warm_start_teaches_every_role_notes_drafts_and_revisions(training: DualTraining, tuned, tmp_path: Path) -> None:
    training.warm_start(tmp_path)
    [(_, train, evaluation, _)] = tuned
    assert {sequence.task for sequence in train} == {f"{role}/long" for role in ("style", "topic", "draft", "revise")}
    assert (len(train), len(evaluation)) == (12, 6)
    texts = tuned.completions(0)
    assert sum(text == "Text: A clean room and a warm breakfast." for text in texts) == 4
    assert sum(text.startswith("Style: unknown; likely ") for text in texts) == 4
    assert sum(text.startswith("Interests: ") and "\nPlan: " in text for text in texts) == 4


def test_later_steps_improve_what_the_model_wrote_first(training: DualTraining, tuned, tmp_path: Path) -> None:
    """A reasoner sees the notes of the model's own first step, not those that it is to write."""
    first = training.deliberate(training.base, training.cases, "warm start")
    training.warm_start(tmp_path)
    [(model, train, _, _)] = tuned
    texts = [model.tokenizer.decode(sequence.ids) for sequence in train if sequence.task in ("style/long", "topic/long")]
    later = [text for text in texts if "Draft:" in text]
    assert len(later) == 4
    for text, written in zip(later, (step for found in first for step in (found.steps[0], found.steps[0])), strict=True):
        assert f"Topic notes: {_note(written.topic)}" in text
        prompt, _, answer = text.rpartition("<|assistant|>\n")
        assert _note(answer.removesuffix("<|end|>")) not in prompt


def test_sampled_notes_are_judged_distinct_and_come_from_both_forms_of_prompt(training: DualTraining) -> None:
    judged = training.sample(training.base, seed=0)
    assert {(notes.pair_id, notes.reasoner) for notes in judged} == {(f"e{n}/long", r) for n in (1, 2) for r in ("style", "topic")}
    assert len({(notes.pair_id, notes.reasoner, notes.notes) for notes in judged}) == len(judged)
    asked = {notes.pair_id: shown(notes.prompt) for notes in judged}
    assert "Draft:" not in asked["e1/long"]
    assert "Draft:" in asked["e2/long"]


def test_notes_of_a_later_step_are_judged_by_the_revision(training: DualTraining, monkeypatch: pytest.MonkeyPatch) -> None:
    """With and without them the writer revises the very draft that they were written in view of; first notes are judged by first drafts."""
    judged: list[NotesTrial] = []

    def judge(self: DualTraining, reasoning: DualReasoning, trials: Sequence[NotesTrial], seed: int) -> list[Worth]:
        judged.extend(trials)
        return [Worth(0.0, 0.5) for _ in trials]

    monkeypatch.setattr(DualTraining, "_judge", judge)
    asked = {notes.pair_id: shown(notes.prompt) for notes in training.sample(training.base, seed=0)}
    for trial in judged:
        is_later = trial.pair.pair_id == "e2/long"
        assert bool(trial.draft) == is_later
        prompts = [
            shown(DualReasoning(training.base, PromptConfig()).draft_prompt(trial.pair.request, trial.evidence.writer, notes))
            for notes in differential._with_and_without(trial)
        ]
        assert all(("Draft:" in prompt) == is_later for prompt in prompts)
        assert not is_later or trial.draft in asked["e2/long"]


def test_every_task_has_both_forms_of_prompt(training: DualTraining) -> None:
    """Where tasks take turns, too: first and later steps take turns within each."""
    tasks: list[Task] = ["long", "title", "long", "title"]
    two = replace(training, cases=[case(number, task) for number, task in enumerate(tasks)])
    asked = {notes.pair_id: shown(notes.prompt) for notes in two.sample(two.base, seed=0)}
    assert [f"{'Draft:' in asked[f'e{number}/{task}']} {task}" for number, task in enumerate(tasks)] == [
        "False long",
        "False title",
        "True long",
        "True title",
    ]


def test_rounds_go_on_from_the_last_adapter_and_the_best_is_the_result(training, tuned, sampled, tmp_path: Path, monkeypatch) -> None:
    rewards = iter([0.1, 0.3, 0.2])
    monkeypatch.setattr(DualTraining, "evaluate", lambda self, model: {"reward": next(rewards), "model": model.name})
    start = tmp_path / "warm" / "adapter"
    start.mkdir(parents=True)
    (start / "adapter_model.safetensors").write_text("warm")
    found = training.improve(start, tmp_path)
    assert [adapter for _, adapter, _, _ in tuned] == [start, tmp_path / "round-1" / "adapter"]
    assert sampled == ["warm", "round-1"]
    assert [record["held_out"]["model"] for record in found["rounds"]] == ["warm", "round-1", "round-2"]
    assert (found["best_round"], found["stopped"]) == (1, "all rounds done")
    assert (tmp_path / "adapter" / "adapter_model.safetensors").read_text() == "round-1"
    assert json.loads((tmp_path / "rounds.json").read_text())["best_round"] == 1


def test_the_counts_of_a_finished_alignment_can_be_told(training, tuned, sampled, tmp_path: Path, monkeypatch) -> None:
    """What the stage hands to its manifest is read there for what a person should hear; the tokens are those of all parts."""
    monkeypatch.setattr(dual, "training_of", lambda lesson: training)
    counts = dual.train_by_preference(SimpleNamespace(out_dir=tmp_path))  # type: ignore[arg-type]
    assert counts["preference_rounds"] == len(counts["held_out_reward"]) - 1 > 0
    assert counts["tokens_in"] > 0
    assert concerns(counts) == []


def test_rounds_stop_where_the_held_out_reward_does_not_rise(training, tuned, sampled, tmp_path: Path, monkeypatch) -> None:
    rewards = iter([0.5, 0.4, 0.9])
    monkeypatch.setattr(DualTraining, "evaluate", lambda self, model: {"reward": next(rewards)})
    start = tmp_path / "warm" / "adapter"
    start.mkdir(parents=True)
    (start / "adapter_model.safetensors").write_text("warm")
    found = training.improve(start, tmp_path)
    assert (len(tuned), found["best_round"], found["stopped"]) == (1, 0, "the held-out reward did not rise by round 1")
    assert (tmp_path / "adapter" / "adapter_model.safetensors").read_text() == "warm"


def test_finished_rounds_and_judged_notes_are_not_done_again(training, tuned, sampled, tmp_path: Path) -> None:
    first = training.improve(None, tmp_path)
    calls, trained = len(training.base.calls), len(tuned)
    assert training.improve(None, tmp_path) == first
    assert (len(training.base.calls), len(tuned)) == (calls, trained)
    asked = len(sampled)
    (tmp_path / "round-1" / "round.json").unlink()
    assert training.improve(None, tmp_path) == first
    assert (len(tuned), len(sampled)) == (trained + 1, asked)  # the judged notes were read back


def test_a_round_that_was_killed_goes_on_with_the_next_batch(training: DualTraining, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The finished batches are not asked again, and notes and tokens are those of an undisturbed round."""
    monkeypatch.setattr(dual, "BATCH_SIZE", 1)
    training.improve(None, tmp_path / "whole")
    sample, asked = DualTraining.sample, []

    def killed(self, model, seed, cases):
        asked.append([case.pair.pair_id for case in cases])
        if len(asked) == 2:
            raise KeyboardInterrupt
        return sample(self, model, seed, cases)

    monkeypatch.setattr(DualTraining, "sample", killed)
    with pytest.raises(KeyboardInterrupt):
        training.improve(None, tmp_path / "killed")
    training.improve(None, tmp_path / "killed")
    assert asked[:3] == [["e1/long"], ["e2/long"], ["e2/long"]]
    for name in ("judged.jsonl", "judged-tokens.json"):
        assert (tmp_path / "killed" / "round-1" / name).read_bytes() == (tmp_path / "whole" / "round-1" / name).read_bytes()
    assert not list(tmp_path.rglob("*.part*"))


def test_where_all_notes_are_alike_the_warm_start_stands(training: DualTraining, tuned, tmp_path: Path, monkeypatch) -> None:
    """Hours of other methods' work do not end because nothing is to be preferred; what was spent on finding that out is counted."""
    monkeypatch.setattr(LengthReward, "score", lambda self, task, candidates, references: np.full(len(candidates), 0.5))
    start = tmp_path / "warm-start" / "adapter"
    start.mkdir(parents=True)
    (start / "adapter_model.safetensors").write_text("warm")
    found = training.improve(start, tmp_path / "out")
    assert (tuned, found["best_round"], len(found["rounds"])) == ([], 0, 1)
    assert found["stopped"].startswith("in round 1 none of 4 groups of notes gave a preference pair (0 ties, 4 without notes that help")
    assert found["fruitless"][0]["tokens_in"] > 0
    assert (tmp_path / "out" / "adapter" / "adapter_model.safetensors").read_text() == "warm"


def test_without_held_out_pairs_nothing_tells_when_to_stop(training: DualTraining, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"raise align\.num_held_out"):
        replace(training, held_out=()).improve(None, tmp_path)


def test_evaluation_gives_the_same_for_the_same_model_and_differences_by_pair(training: DualTraining) -> None:
    one, two = training.evaluate(training.base), training.evaluate(training.base)
    assert one == two
    assert one["pairs"] == 1
    assert {reasoner: len(values) for reasoner, values in one["differences"].items()} == {"style": 1, "topic": 1}
    assert one["difference"]["style"] == pytest.approx(one["differences"]["style"][0])


def test_tokens_are_counted_once_per_prompt_read(training: DualTraining) -> None:
    """One held-out pair: two notes and a draft, then one draft for each of three settings of notes (both, without style, without topic)."""
    found = training.evaluate(training.base)
    assert found["tokens_in"] == 10 * (2 + 1 + 3)


def test_tokens_of_ratings_are_counted(training: DualTraining) -> None:
    """A draft of a rating is read and answered in one token, whatever its probabilities are for."""
    prompts = [Prompt((Message("user", text),), prefix="Rating:") for text in ("a clean room", "a warm cake")]
    meter = dual.TokenCountingModel(training.base)
    assert np.array_equal(meter.score_choices(prompts, RATING_CHOICES), training.base.score_choices(prompts, RATING_CHOICES))
    assert meter.tokens == {"tokens_in": sum(map(len, training.base.encode_all(prompts))), "tokens_out": 2}


def test_notes_without_their_end_are_never_chosen(training: DualTraining) -> None:
    """One that ends by itself shows that nothing is missing; so does what the model goes on to write behind the last line."""
    ends = [("Style: short and", "length"), ("Style: warm", "stop"), ("Style: short and", "length"), ("Style: dry\nInterests: ro", "length")]
    found = dual._read_all("style", [Completion(text, 10, 5, reason) for text, reason in ends])  # type: ignore[arg-type]
    assert found == {"Style: short and": False, "Style: warm": True, "Style: dry": True}
    assert dual._read_all("style", [Completion("Style: short and", 10, 5)]) == {"Style: short and": True}


def test_unreadable_notes_are_kept_for_the_rejected_side(training: DualTraining, monkeypatch) -> None:
    monkeypatch.setattr(type(training.base), "_write", lambda self, prompt, stream: Completion("gibberish", 3, 2))
    judged = training.sample(training.base, seed=0)
    assert judged
    assert not any(notes.is_read or notes.is_sound for notes in judged)


class TestByLikelihood:
    """Rounds whose notes are judged by what they do to the real text's probability."""

    TEXT = "A clean room and a warm breakfast."

    @pytest.fixture
    def training(self, training: DualTraining) -> DualTraining:
        return replace(training, align=CONFIG.model_copy(update={"dpo": CONFIG.dpo.model_copy(update={"reward": "likelihood"})}))

    @pytest.fixture
    def scored(self, monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[Prompt], list[str]]]:
        """What the model is asked to score."""
        calls: list[tuple[list[Prompt], list[str]]] = []
        score = LocalModel.score_texts

        def watched(self, prompts, texts):
            calls.append((list(prompts), list(texts)))
            return score(self, prompts, texts)

        monkeypatch.setattr(LocalModel, "score_texts", watched)
        return calls

    def test_nothing_is_drawn_to_judge(self, training: DualTraining, scored) -> None:
        """The model writes first notes, first drafts and the notes to be judged; then all of these are scored at once."""
        judged = training.sample(training.base, seed=0)
        assert len(training.base.calls) == 3
        assert len(scored) == 1
        assert {notes.draft_words for notes in judged} == {None}
        assert len({notes.difference for notes in judged}) > 1

    def test_the_real_text_is_scored_and_reaches_neither_prompt_nor_file_nor_log(self, training, tuned, scored, tmp_path: Path, caplog) -> None:
        caplog.set_level("DEBUG")
        training.improve(None, tmp_path)
        assert {text for _, texts in scored for text in texts} == {self.TEXT}
        assert not any(self.TEXT in message.content + prompt.prefix for prompts, _ in scored for prompt in prompts for message in prompt.messages)
        assert (tmp_path / "round-1" / "judged.jsonl").exists()
        assert not any(self.TEXT in path.read_text() for path in tmp_path.rglob("*.json*"))
        assert self.TEXT not in caplog.text

    def test_rounds_stop_by_the_same_kind_of_reward(self, training: DualTraining, scored) -> None:
        """Minus the bits per byte of the held-out text with both notes in the prompt; words are those of the draft that was written anyway."""
        found = training.evaluate(training.base)
        assert found == training.evaluate(training.base)
        [both, *_], [text, *_] = scored[0]
        bits = -training.base.score_texts([both], [text])[0] / np.log(2) / len(self.TEXT)
        assert found["reward"] == pytest.approx(-bits, abs=1e-4)
        assert found["rewards"] == {"long": found["reward"]}
        assert found["draft_words"] == 4.0

    def test_a_finished_round_is_not_done_again(self, training: DualTraining, tuned, scored, tmp_path: Path) -> None:
        first = training.improve(None, tmp_path)
        asked, written, trained = len(scored), len(training.base.calls), len(tuned)
        assert asked > 1
        assert training.improve(None, tmp_path) == first
        assert (len(scored), len(training.base.calls), len(tuned)) == (asked, written, trained)
        (tmp_path / "round-1" / "round.json").unlink()  # killed between the judged notes and the end of the round
        assert training.improve(None, tmp_path) == first
        assert (len(scored), len(tuned)) == (asked + 1, trained + 1)  # the evaluation alone

    def test_reading_is_counted(self, training: DualTraining, scored) -> None:
        """Beside 30 tokens of the notes and draft, see above: the prompts that were scored."""
        found = training.evaluate(training.base)
        assert found["tokens_in"] == 30 + sum(len(training.base.encode(prompt)) for prompt in scored[0][0])

    def test_a_model_without_probabilities_is_refused_at_once(self, training: DualTraining) -> None:
        with pytest.raises(ConfigError, match=r"align\.dpo\.reward=likelihood needs a local model"):
            replace(training, base=ScriptedModel())  # type: ignore[arg-type]
