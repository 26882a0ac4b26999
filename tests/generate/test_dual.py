"""PAT through the whole system: its evidence, its steps in the record, its choices."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count, cycle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from servers import serving, write_reviews
from worlds import system_of, tables_of

from grasper.config import GenerateConfig
from grasper.models.base import Completion, Prompt, Scored
from grasper.models.endpoint.model import EndpointModel
from grasper.models.scripted import ScriptedModel
from grasper.records import Example, Output, Review, Tables
from grasper.retrieve import style


def answer(prompt: Prompt) -> str:
    asked = prompt.messages[-1].content.rpartition("Answer in these lines: ")[2]
    if asked.startswith("Style"):
        return "Style: short; warm"
    if asked.startswith("Interests"):
        return "Interests: staff\nPlan: praise"
    return "Title: one two three four five six seven eight nine ten eleven\nText: A good stay."


def write(tables: Tables, task: str, method: str = "pat", model: ScriptedModel | None = None, **settings) -> tuple[list[Output], ScriptedModel]:
    model = model or ScriptedModel(answer)
    system = system_of(method, tables, model, generation=GenerateConfig(**settings))
    return system.write(task, tables.select("dev"), {}), model


def test_every_step_stands_in_the_output(tables: Tables) -> None:
    outputs, _ = write(tables, "long")
    assert len(outputs) == len(tables.select("dev"))
    for output in outputs:
        assert (output.method, output.text, output.is_parsed) == ("pat", "A good stay.", True)
        assert output.path == "Style: short; warm\nInterests: staff\nPlan: praise"
        assert [step["draft"] for step in output.notes] == ["A good stay.", "A good stay."]  # settled after one revision
        assert output.notes[0]["style_evidence"]
        assert output.evidence
        assert output.tokens_out > 0
        assert Output.from_json(output.to_json()) == output


def test_titles_are_cut_and_ratings_come_from_probabilities(tables: Tables) -> None:
    titles, _ = write(tables, "title")
    assert {output.text for output in titles} == {"one two three four five six seven eight nine ten"}
    ratings, _ = write(tables, "rating", model=ScriptedModel(answer, choice=lambda prompt: " 4"))
    assert {output.rating for output in ratings} == {4.0}
    assert all(output.text is None and len(output.probabilities) == 5 and output.notes for output in ratings)


@pytest.mark.parametrize(("method", "empty"), [("pat-style-only", "topic"), ("pat-topic-only", "style")])
def test_one_trajectory_writes_one_kind_of_notes(tables: Tables, method: str, empty: str) -> None:
    outputs, _ = write(tables, "long", method)
    assert all(step[empty] == "" for output in outputs for step in output.notes)
    assert all(output.notes[0]["style" if empty == "topic" else "topic"] for output in outputs)


def test_one_step_revises_nothing(tables: Tables) -> None:
    outputs, model = write(tables, "long", "pat-one-step")
    assert [len(output.notes) for output in outputs] == [1] * len(outputs)
    assert not any("Draft:" in prompt.messages[-1].content for prompt in model.prompts)


def test_several_drafts_vote_from_the_same_notes(tables: Tables) -> None:
    """The last draft's own prompt is asked for the others."""
    outputs, model = write(tables, "long", consensus_samples=3)
    assert all(len(output.samples) == 3 for output in outputs)
    last = model.prompts[-1].messages[-1].content
    assert "Style notes: short; warm" in last
    single, _ = write(tables, "long")
    assert all(more.tokens_out > one.tokens_out for more, one in zip(outputs, single, strict=True))


class Restless(ScriptedModel):
    """Notes never settle; each step's draft, and what is drawn after the last, is the next of a list, over and over."""

    def __init__(self, *drafts: str) -> None:
        super().__init__(answer)
        self.drafts, self.steps = cycle(drafts), count()

    def generate(self, prompts: Sequence[Prompt], **settings: Any) -> list[list[Completion]]:
        texts = [answer(prompt) for prompt in prompts]
        if texts[0].startswith("Title"):
            draft = next(self.drafts)
            texts = [draft if draft.startswith("no line") else f"Text: {draft}"] * len(prompts)
        else:
            step = next(self.steps)
            texts = [text.replace("warm", f"warm {step}").replace("praise", f"praise {step}") for text in texts]
        return [[Completion(text, 5, 5)] * settings["n"] for text in texts]


AGREED = "Clean and calm, good coffee and cake, a great trip, the staff was kind and the breakfast warm."


@pytest.mark.parametrize("place", [0, 1, 2])
def test_the_draft_that_agrees_most_can_be_kept(tables: Tables, place: int) -> None:
    """With its own notes, at the same cost; by itself the last one is the answer."""
    drafts = ["zzz", "yyy", "xxx"]
    drafts[place] = AGREED
    last, _ = write(tables, "long", model=Restless(*drafts))
    for output, usual in zip(write(tables, "long", model=Restless(*drafts), kept_draft="agreed")[0], last, strict=True):
        assert [step["draft"] for step in output.notes] == drafts
        assert (output.text, usual.text) == (AGREED, drafts[-1])
        assert output.raw == f"Text: {AGREED}"
        assert output.path == f"{output.notes[place]['style']}\n{output.notes[place]['topic']}"
        assert [step["step"] for step in output.notes if "kept" in step] == ([] if place == 2 else [str(place)])
        assert not [step for step in usual.notes if "kept" in step]
        assert (output.tokens_in, output.tokens_out, output.samples) == (usual.tokens_in, usual.tokens_out, ())
        assert Output.from_json(output.to_json()) == output


def test_a_draft_that_cannot_be_read_is_kept_for_want_of_others_only(tables: Tables) -> None:
    """What tells of the answer is said of the kept draft, not of the last one."""
    outputs, _ = write(tables, "long", model=Restless("zzz yyy", f"no line: {AGREED}", f"no line: {AGREED}"), kept_draft="agreed")
    assert {(output.text, output.is_parsed) for output in outputs} == {("zzz yyy", True)}
    outputs, _ = write(tables, "long", model=Restless(f"no line: {AGREED}"), kept_draft="agreed")
    assert {output.is_parsed for output in outputs} == {False}


def test_kept_drafts_and_drawn_ones_vote_together(tables: Tables) -> None:
    """Three drafts and one more from the last notes; a draft that a settled deliberation repeats has one vote."""
    outputs, _ = write(tables, "long", model=Restless("zzz", AGREED, "yyy", "xxx"), kept_draft="agreed", consensus_samples=2)
    assert {(output.text, len(output.samples)) for output in outputs} == {(AGREED, 4)}
    outputs, _ = write(tables, "long", kept_draft="agreed", consensus_samples=2)
    assert {(output.text, len(output.samples)) for output in outputs} == {("A good stay.", 2)}, "settled after one draft"


def test_ratings_are_averaged_over_deliberations(tables: Tables) -> None:
    """As other methods average over their paths: the mean of the probabilities decides, each deliberation's rating is kept, and all are paid."""

    class Wavering(ScriptedModel):
        """Every other rating is a 2, the others are a 5."""

        def score_choices(self, prompts: Sequence[Prompt], choices: Sequence[str]) -> np.ndarray:
            rows = []
            for _ in prompts:
                self.asked += 1
                rows.append([0.0, 0.9, 0.1, 0.0, 0.0] if self.asked % 2 else [0.0, 0.0, 0.0, 0.1, 0.9])
            return np.array(rows)

        asked = 0

    outputs, _ = write(tables, "rating", model=Wavering(answer), consensus_samples=3)
    single, _ = write(tables, "rating", model=Wavering(answer))
    for output, one in zip(outputs, single, strict=True):
        assert len(output.samples) == 3
        assert set(output.samples) <= {"2", "5"}
        assert sum(output.probabilities) == pytest.approx(1, abs=1e-5)
        assert output.probabilities != one.probabilities
        assert output.rating == float(np.searchsorted(np.cumsum(output.probabilities), 0.5) + 1)
        assert output.tokens_out == 3 * one.tokens_out


def test_ratings_of_pat_tell_how_they_were_found(tables: Tables) -> None:
    """Shares of samples are no probabilities; a deliberation that ends without any rating is unparsed, and counts nothing beside one with one."""

    class Wordy(ScriptedModel):
        how: tuple[str, ...] = ()

        def scored(self, prompts: Sequence[Prompt], choices: Sequence[str]) -> list[Scored]:
            rows = {"sampled": [0.0, 0.9, 0.1, 0.0, 0.0], "none": [0.2] * 5, "measured": [0.0, 0.0, 0.0, 0.1, 0.9]}
            told = [self.how[number % len(self.how)] for number in range(len(prompts))]
            return [Scored(np.array(rows[name]), name) for name in told]  # type: ignore[arg-type]

    for how, is_parsed, rating in (("sampled", True, 2.0), ("none", False, 3.0), ("measured", True, 5.0)):
        model = Wordy(answer)
        model.how = (how,)
        for samples in (1, 2):
            outputs, _ = write(tables, "rating", model=model, consensus_samples=samples)
            assert {(output.rating, output.is_parsed, bool(output.probabilities)) for output in outputs} == {(rating, is_parsed, how == "measured")}


def test_random_people_take_the_place_of_both_trajectories(tables: Tables) -> None:
    outputs, _ = write(tables, "long", "pat-random-users")
    assert all("style_evidence" not in output.notes[0] and output.evidence for output in outputs)


def test_nobody_above_the_floor_is_told_in_the_record(tables: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of style and of taste; the item's audience is read instead."""
    monkeypatch.setattr(style, "MIN_FIT_TEXTS", 1)
    monkeypatch.setattr(style.SimilarWriters.__init__, "__kwdefaults__", {"floor": 1.0})
    for output in write(tables, "long")[0]:
        assert output.notes[0]["style_evidence"].startswith("no other person's style is nearer than 1")
        assert output.notes[0]["topic_evidence"] == "no other person's taste is nearer than 0.3; the item's audience is shown instead"
        assert output.text == "A good stay."


def test_a_data_set_of_one_person_is_written_for_without_others() -> None:
    """Their own reviews are all that there is, and the record says so."""
    reviews = [Review(f"r{number}", "only", f"i{number % 4}", f"A fine day {number}.", "Fine", 4.0, split="dev") for number in range(9)]
    example = Example("e", reviews[0], "dev-a")
    for task in ("long", "title", "rating"):
        [output], model = write(tables_of(reviews, [example]), task, model=ScriptedModel(answer, choice=lambda prompt: " 4"))
        assert output.text or output.rating == 4
        assert set(output.evidence) <= {review.review_id for review in reviews[1:]}
        assert output.notes[0]["style_evidence"] == "nothing shows how the user writes; the item's audience is shown instead"
        assert output.notes[0]["topic_evidence"].startswith("no other person's taste")
        assert not any("People who write alike" in prompt.messages[-1].content for prompt in model.prompts)


@pytest.mark.parametrize("good", [0, 1, 2])
def test_of_several_drafts_a_parsed_one_goes_before_the_others(tables: Tables, good: int) -> None:
    """Whichever draft keeps the form: the record's text, raw answer and form are those of one and the same draft."""
    count = 0

    def rambling(prompt: Prompt) -> str:
        nonlocal count
        if "Answer in these lines: Text" not in prompt.messages[-1].content:
            return answer(prompt)
        count += 1
        return "Text: A good stay." if count == number_of_good else "I would rather talk about the weather."

    one, steps = tables.select("dev")[:1], 1  # notes settle at once, so there is one draft; the further samples follow
    number_of_good = steps + good
    system = system_of("pat", tables, ScriptedModel(rambling), generation=GenerateConfig(consensus_samples=3))
    [output] = system.write("long", one, {})
    assert (output.text, output.raw, output.is_parsed) == ("A good stay.", "Text: A good stay.", True)
    assert len(output.samples) == 3


def test_a_server_without_log_probabilities_is_taken_at_its_word(tables: Tables, tmp_path: Path) -> None:
    """Ratings come from what it writes, and no probabilities are made up for the record."""
    with serving(lambda body, number: (422, {"detail": "logprobs unknown"}) if "logprobs" in body else write_reviews(body, number)) as server:
        outputs, _ = write(tables, "rating", model=EndpointModel("tiny", server.url, cache_dir=tmp_path))
    assert {output.rating for output in outputs} == {4.0}
    assert all(output.probabilities == () and len(output.notes) > 1 and output.is_parsed for output in outputs)


def test_drafts_are_held_to_the_length_of_their_evidence(tables: Tables) -> None:
    """Notes and titles are not; every draft of a text is, further samples too."""

    class Held(ScriptedModel):
        can_hold_length = True

        def __init__(self) -> None:
            self.asked: list[tuple[str, Sequence[int] | None]] = []
            super().__init__(answer)

        def generate(self, prompts: Sequence[Prompt], *, min_new_tokens: Sequence[int] | None = None, **options: Any) -> list[list[Completion]]:
            lines = prompts[0].messages[-1].content.rpartition("Answer in these lines: ")[2]
            self.asked.append((lines.partition(":")[0], min_new_tokens))
            return super().generate(prompts, **options)

    model = Held()
    write(tables, "long", model=model, least_length=1.0, consensus_samples=2)
    write(tables, "title", model=model, least_length=1.0, consensus_samples=2)
    held = {label: [least for name, least in model.asked if name == label] for label in ("Style", "Text", "Title")}
    assert len(held["Text"]) == 2  # the draft, whose notes settle at once, and one more sample
    assert all(least and max(least) > 0 for least in held["Text"])
    assert not any(held["Style"])
    assert not any(held["Title"])
