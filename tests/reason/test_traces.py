"""Sampling traces: all three sources, resumable, deduplicated, counted, without leaks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from grasper.config import PromptConfig
from grasper.errors import LeakError
from grasper.models.base import Completion, Prompt
from grasper.models.scripted import ScriptedModel
from grasper.reason.gold import choose_gold
from grasper.reason.pair import TrainingPair
from grasper.reason.reward import make_reward
from grasper.reason.traces import Source, Trace, describe, rewards_by_pair, sample_traces
from grasper.records import Example, Item, Profile, Review, request_for

PATH = "Style: short\nInterests: rooms\nPlan: praise rooms"


def pair(number: int, task: str = "long", text: str = "The rooms were clean and the staff was kind to us.") -> TrainingPair:
    target = Review(f"t{number}", f"u{number}", "inn", text, f"Title {number}", 4.0)
    example = Example(f"e{number}", target, "align")
    profile = Profile(neighbours=(Review("n", "v", "inn", "Clean rooms, slow lift.", "Fine", 4.0),))
    return TrainingPair(example, request_for(example, task, Item("inn", "Gull Inn")), profile)  # type: ignore[arg-type]


class SeededModel(ScriptedModel):
    """Answers differ by seed and prompt, as those of a real model do."""

    def generate(self, prompts: Sequence[Prompt], *, n: int = 1, seed: int = 0, **options: object) -> list[list[Completion]]:  # type: ignore[override]
        self.prompts += prompts
        begun = [bool(prompt.prefix) for prompt in prompts]
        answers = [[f" answer {own % 97} {row} {j}" for j in range(n)] for row, own in enumerate(seed)]
        return [[Completion(text if has else f"{PATH}\nText:{text}", 10, 5) for text in group] for has, group in zip(begun, answers, strict=True)]


def sample(pairs: list[TrainingPair], model: ScriptedModel, path: Path, sources: Sequence[Source] = ("sampled",), **options: object) -> list[Trace]:
    return sample_traces(pairs, model, make_reward(), path, prompts=PromptConfig(), sources=sources, batch_size=2, **options)  # type: ignore[arg-type]


def test_every_pair_gets_its_samples_with_their_rewards(tmp_path: Path) -> None:
    """The reward is that of the answer against the real text, and argmax finds the better one."""
    model = ScriptedModel([f"{PATH}\nText: The rooms were clean.", f"{PATH}\nText: It was windy."])
    traces = sample([pair(0), pair(1), pair(2)], model, tmp_path / "traces.jsonl", num_samples=2)
    assert [(trace.pair_id, trace.number) for trace in traces] == [(f"e{i}/long", j) for i in range(3) for j in range(2)]
    assert traces[0].path == PATH
    assert traces[0].reward == pytest.approx(make_reward().score("long", ["The rooms were clean."], [pair(0).reference])[0])
    assert {trace.answer for trace in choose_gold(traces).traces} == {"The rooms were clean."}


def test_titles_are_judged_and_learned_as_they_will_be_shown(tmp_path: Path) -> None:
    """Without the words that no title may have: "1" would be right, but comes too late."""
    ten = "a b c d e f g h i j"
    [trace] = sample([pair(1, "title")], ScriptedModel([f"{PATH}\nTitle: {ten} Title 1"]), tmp_path / "traces.jsonl", num_samples=1)
    assert (trace.answer, trace.answer_lines("title"), trace.reward) == (ten, f"Title: {ten}", 0.0)


def test_answers_without_their_end_are_told(tmp_path: Path) -> None:
    """Not where a cut completion goes on after the answer, nor where an equal answer ended by itself."""
    ends = [("Text: The rooms were", "length"), ("Text: The rooms were clean.", "stop"), ("Text: The rooms.\nTitle: Cle", "length")]
    ends += [("Text: The lift", "length"), ("Text: The lift", "stop")]

    class Cut(ScriptedModel):
        def generate(self, prompts: Sequence[Prompt], **options: object) -> list[list[Completion]]:  # type: ignore[override]
            return [[Completion(f"{PATH}\n{text}", 10, 5, finish_reason) for text, finish_reason in ends] for _ in prompts]  # type: ignore[arg-type]

    traces = sample([pair(0)], Cut(), tmp_path / "traces.jsonl", num_samples=5)
    assert [(trace.answer, trace.is_cut) for trace in traces] == [
        ("The rooms were", True),
        ("The rooms were clean.", False),
        ("The rooms.", False),
        ("The lift", False),
    ]
    assert [trace.is_learnable for trace in traces] == [False, True, True, True]
    assert describe(traces)["cut"] == 1


@pytest.mark.parametrize(("finish_reason", "cut"), [("length", True), ("stop", False)])
def test_a_title_that_never_ended_is_not_learned_for_its_first_words(tmp_path: Path, finish_reason: str, cut: bool) -> None:
    """A title has ten words at most; one that ran on for want of an end is no lesson in how titles end, one that was merely long may be."""

    class Long(ScriptedModel):
        def generate(self, prompts: Sequence[Prompt], **options: object) -> list[list[Completion]]:  # type: ignore[override]
            return [[Completion(f"{PATH}\nTitle: {' '.join(['very'] * 14)}", 10, 20, finish_reason)] for _ in prompts]  # type: ignore[arg-type]

    (trace,) = sample([pair(0, "title")], Long(), tmp_path / "traces.jsonl", num_samples=1)
    assert trace.answer == " ".join(["very"] * 10)
    assert trace.is_cut == cut
    assert trace.is_learnable != cut


def test_an_answers_room_is_its_tasks_whoever_stands_beside_it(tmp_path: Path) -> None:
    """A title asked for in one batch with a text may be no longer than a title asked for alone."""

    class Measuring(SeededModel):
        def generate(self, prompts: Sequence[Prompt], *, max_new_tokens: Sequence[int], **options: object) -> list[list[Completion]]:  # type: ignore[override]
            rooms.append(list(max_new_tokens))
            return super().generate(prompts, **options)  # type: ignore[arg-type]

    rooms: list[list[int]] = []
    sample([pair(0), pair(1, "title")], Measuring(), tmp_path / "both.jsonl")
    sample([pair(1, "title")], Measuring(), tmp_path / "alone.jsonl")
    (text, title), alone = rooms[0], rooms[-1][0]
    assert title == alone < text


def test_a_damaged_batch_loses_itself_alone(tmp_path: Path) -> None:
    """Those behind it are kept, and only its own pairs are asked again."""
    pairs = [pair(number) for number in range(6)]
    whole = sample(pairs, SeededModel(), tmp_path / "traces.jsonl")
    lines = (tmp_path / "traces.jsonl").read_bytes().splitlines(keepends=True)
    lines[0] = lines[0].replace(b"answer", b"ans\xffer")
    (tmp_path / "traces.jsonl").write_bytes(b"".join(lines))
    model = SeededModel()
    assert sample(pairs, model, tmp_path / "traces.jsonl") == whole
    assert len(model.prompts) == 2


def test_a_resumed_run_equals_an_undisturbed_one(tmp_path: Path) -> None:
    """Killed in the middle of the second batch."""
    pairs = [pair(number) for number in range(5)]
    sources: tuple[Source, ...] = ("analysed", "sampled", "hindsight")
    whole = sample(pairs, SeededModel(), tmp_path / "whole.jsonl", sources)
    lines = (tmp_path / "whole.jsonl").read_text().splitlines(keepends=True)
    first = next(index for index, line in enumerate(lines) if line.startswith('{"batch"'))
    (tmp_path / "cut.jsonl").write_text("".join(lines[: first + 2]) + lines[first + 2][:20])
    model = SeededModel()
    assert sample(pairs, model, tmp_path / "cut.jsonl", sources) == whole
    assert (tmp_path / "cut.jsonl").read_text() == (tmp_path / "whole.jsonl").read_text()
    again = SeededModel()
    assert sample(pairs, again, tmp_path / "cut.jsonl", sources) == whole
    assert again.prompts == []


def test_traces_come_in_the_order_of_the_pairs_that_are_asked_for(tmp_path: Path) -> None:
    """Whatever the log holds before, more pairs or others."""
    pairs = [pair(number) for number in range(4)]
    sample(pairs[2:], SeededModel(), tmp_path / "traces.jsonl", num_samples=1)
    assert [trace.pair_id for trace in sample(pairs, SeededModel(), tmp_path / "traces.jsonl", num_samples=1)] == [one.pair_id for one in pairs]
    assert [trace.pair_id for trace in sample(pairs[1:2], SeededModel(), tmp_path / "traces.jsonl", num_samples=1)] == [pairs[1].pair_id]


def test_equal_samples_are_kept_once_with_their_cost(tmp_path: Path) -> None:
    """Four times the same answer."""
    traces = sample([pair(0)], ScriptedModel([f"{PATH}\nText: Fine."]), tmp_path / "traces.jsonl", num_samples=4)
    assert [trace.copies for trace in traces] == [4]
    assert traces[0].tokens_out % 4 == 0


@pytest.mark.parametrize("first", [0, 1])
def test_a_sample_in_the_asked_form_is_not_lost_to_one_without_it(tmp_path: Path, first: int) -> None:
    """The same answer with and without its label, in either order: the one with it is gold."""
    forms = [f"{PATH}\nText: Fine.", f"{PATH}\nFine."]
    traces = sample([pair(0)], ScriptedModel(forms[first:] + forms[:first]), tmp_path / "traces.jsonl", num_samples=2)
    assert sorted(trace.is_parsed for trace in traces) == [False, True]
    assert [trace.answer for trace in choose_gold(traces).traces] == ["Fine."]


def test_a_prompt_is_counted_once_for_all_its_samples(tmp_path: Path) -> None:
    """Four samples from the prompt alone, and four behind an analysed path: two prompts are read, eight answers written."""
    model = ScriptedModel([f"{PATH}\nText: Fine."])
    traces = sample([pair(0)], model, tmp_path / "traces.jsonl", ("sampled", "analysed"), num_samples=4)
    read = [sum(model.count_tokens(message.content) for message in prompt.messages) + model.count_tokens(prompt.prefix) for prompt in model.prompts]
    assert sum(trace.copies for trace in traces) == 8
    assert len(read) == 2
    assert describe(traces)["tokens_in"] == sum(read)


def test_answers_that_never_parse_are_kept_and_counted(tmp_path: Path) -> None:
    """Nothing is silently skipped: the guess has a reward, but never becomes gold."""
    traces = sample([pair(0)], ScriptedModel(["The rooms were clean."]), tmp_path / "traces.jsonl", num_samples=1)
    assert describe(traces)["unparsed"] == 1
    assert traces[0].reward > 0
    assert choose_gold(traces).counts["unusable"] == 1


def test_analysed_paths_are_written_before_the_answer_starts(tmp_path: Path) -> None:
    """The model continues behind `Text:`, and the trace holds path and answer."""
    model = ScriptedModel([" Clean rooms."])
    (trace,) = sample([pair(0)], model, tmp_path / "traces.jsonl", ("analysed",), num_samples=1)
    assert model.prompts[0].prefix.endswith("\nText:")
    assert model.prompts[0].prefix.startswith(trace.path)
    assert (trace.answer, trace.is_usable, trace.source) == ("Clean rooms.", True, "analysed")


def test_hindsight_paths_that_leak_are_counted_and_not_continued(tmp_path: Path) -> None:
    """One path quotes five words of the answer, the other does not."""

    def answer(prompt: Prompt) -> str:
        if prompt.prefix:
            return " Clean rooms."
        return next(plans)

    plans = iter([f"{PATH}\n", "Style: short\nInterests: rooms\nPlan: say the staff was kind to us"])
    model = ScriptedModel(answer)
    good, bad = sample([pair(0)], model, tmp_path / "traces.jsonl", ("hindsight",), num_samples=2)
    assert (good.answer, good.is_usable) == ("Clean rooms.", True)
    assert (bad.is_leak, bad.answer, bad.is_usable) == (True, "", False)
    assert len(model.prompts) == 2  # the real answer is in view of the first, and only of the first
    assert "Real answer: The rooms" in model.prompts[0].messages[1].content
    assert "staff was kind" not in model.prompts[1].messages[1].content + model.prompts[1].prefix


def test_hindsight_paths_that_lack_a_line_are_not_continued(tmp_path: Path) -> None:
    """What would follow could not become gold."""
    model = ScriptedModel(["Style: short\nPlan: praise"])
    [refused] = sample([pair(0)], model, tmp_path / "traces.jsonl", ("hindsight",), num_samples=1)
    assert (refused.is_parsed, refused.is_leak, refused.answer) == (False, False, "")
    assert len(model.prompts) == 1


def test_answers_behind_two_paths_of_a_pair_have_seeds_of_their_own(tmp_path: Path) -> None:
    """Neither the other path's, nor those of the paths or of another pair."""

    class Watched(SeededModel):
        def generate(self, prompts: Sequence[Prompt], *, seed: Sequence[int], **options: object) -> list[list[Completion]]:  # type: ignore[override]
            seeds.extend(seed)
            return super().generate(prompts, seed=seed, **options)  # type: ignore[arg-type]

    seeds: list[int] = []
    sample([pair(0), pair(1)], Watched(), tmp_path / "traces.jsonl", ("hindsight",), num_samples=2)
    assert len(set(seeds)) == len(seeds) == 2 + 4


@pytest.mark.parametrize("task", ["long", "title", "rating"])
def test_the_hidden_answer_is_in_no_sampling_prompt(tmp_path: Path, task: str) -> None:
    """Neither of `sampled` nor of `analysed` paths, though the plan of the latter may name its key phrases."""
    model = ScriptedModel([f"{PATH}\nText: x\nTitle: x\nRating: 3"])
    made = pair(0, task, text="grey herons nest beside the eastern pier wall")
    target = replace(made.example.target, title="Herons galore today")
    example = replace(made.example, target=target)
    made = TrainingPair(example, request_for(example, task, Item("inn")), made.profile)  # type: ignore[arg-type]
    sample([made], model, tmp_path / "traces.jsonl", ("sampled", "analysed"), num_samples=1)
    hidden = {"long": "grey herons nest beside the", "title": "herons galore", "rating": "4"}[task]
    assert len(model.prompts) == 2
    for prompt in model.prompts:
        shown = prompt.messages[1].content.replace("[4]", "") + prompt.prefix
        assert hidden not in shown.lower()


def test_a_pair_that_shows_its_own_target_is_refused() -> None:
    """By identity of the record."""
    made = pair(0)
    with pytest.raises(LeakError, match="own target"):
        replace(made, profile=Profile(neighbours=(made.example.target,)))


def test_answers_stand_in_the_lines_of_their_task() -> None:
    """The real answer of a pair, and the sampled one of a trace; of a whole review without the path before it."""
    assert pair(0).answer_lines == "Text: The rooms were clean and the staff was kind to us."
    assert pair(0, "rating").answer_lines == "Rating: 4"
    assert Trace("p", 0, "sampled", PATH, "Nice.", 0.5, True).answer_lines("long") == "Text: Nice."
    review = "Rating: 5\nTitle: Good\nText: Nice."
    assert Trace("p", 0, "sampled", PATH, "Nice.", 0.5, True, raw=f"{PATH}\n{review}").answer_lines("review") == review


def test_description_has_mean_best_and_spread_per_pair() -> None:
    """Rewards .2 and .4, and .6 alone: mean .45, best .5, spread .05."""
    traces = [
        Trace("a", 0, "sampled", PATH, "x", 0.2, True),
        Trace("a", 1, "sampled", PATH, "y", 0.4, True),
        Trace("b", 0, "analysed", PATH, "z", 0.6, True),
    ]
    described = describe(traces)
    assert (described["mean_reward"], described["best_reward"], described["spread_of_reward"]) == pytest.approx((0.45, 0.5, 0.05))
    assert described["by_source"]["analysed"]["pairs"] == 1
    assert rewards_by_pair(traces) == {"a": [0.2, 0.4], "b": [0.6]}
