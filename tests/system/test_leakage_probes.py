"""Leakage probes through the real stages: planted tokens and altered targets, in every method, from the raw file to the outputs.

Every text and every title of a small shop's table holds a token of its own, so what a prompt knows can be read off it.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from worlds import RecordingModel, shown

from grasper.config import load_config
from grasper.methods import METHODS
from grasper.pipeline import Pipeline
from grasper.records import Tables
from grasper.runs import Run
from grasper.written import load_outputs

SUBJECTS = ("rooms", "breakfast", "harbour view", "staff", "garden", "terrace", "queue", "coffee")
OPINIONS = ("lovely and warm", "rather plain", "worth the money", "too loud", "clean", "a bit worn")
NUM_USERS, NUM_ITEMS = 48, 8
Rows = list[dict[str, Any]]


def shop() -> Rows:
    """Users with one to four reviews, oldest first; record `n` holds the tokens `textn` and `titlen`."""
    rows: Rows = []
    for user in range(NUM_USERS):
        for place in range(1 + user % 4):
            number = len(rows)
            subject, opinion = SUBJECTS[(user + place) % len(SUBJECTS)], OPINIONS[number % len(OPINIONS)]
            rows.append(
                {
                    "user_id": f"user{user}",
                    "item_id": f"item{(user * 3 + place * 2) % NUM_ITEMS}",
                    "rating": 1 + number % 5,
                    "title": f"title{number}x {subject}",
                    "text": f"We found the {subject} {opinion} at this place. secret text{number}x was near the {SUBJECTS[number % len(SUBJECTS)]}.",
                    "timestamp": 1_600_000_000 + 1000 * number,
                }
            )
    return rows


class Probed:
    """One run of all methods over a table: its prompts, its outputs, its candidates."""

    def __init__(
        self,
        rows: Rows,
        folder: Path,
        monkeypatch: pytest.MonkeyPatch,
        tasks: str,
        methods: Sequence[str] = tuple(METHODS),
        encoder: str = "lightgcn",
    ) -> None:
        folder.mkdir()
        data = folder / "shop.csv"
        with data.open("w", newline="", encoding="utf-8") as handle:
            writer = csv.DictWriter(handle, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        self.models: list[RecordingModel] = []

        def open_recording_model(*arguments: Any, **settings: Any) -> RecordingModel:
            self.models.append(RecordingModel())
            return self.models[-1]

        monkeypatch.setattr("grasper.models.open_model", open_recording_model)
        overrides = ["prepare.source=table", f"prepare.data={data}", "prepare.split=users", "prepare.dev_share=0.3", "prepare.name=shop"]
        overrides += [f"predict.encoder={encoder}", "predict.max_epochs=2"]
        overrides += ["model.kind=scripted", "prompts.context_tokens=4096", f"tasks=[{tasks}]", "align.num_samples=2"]
        overrides += ["evaluate.bootstrap_samples=100", "align.sources=[analysed, sampled, hindsight]", "align.reward_threshold=0"]
        self.methods, self.run = methods, Run(folder / "run")
        Pipeline(load_config(None, overrides, methods=list(methods), split="dev"), self.run).carry_out(say=lambda line: None)
        self.tables = Tables.load(self.run.folder("prepare"))
        self.targets = self.tables.select("dev")

    @property
    def prompts(self) -> list[str]:
        """All that any model was shown, in no order."""
        return sorted(shown(prompt) for model in self.models for prompt in model.prompts)

    def outputs(self) -> dict[tuple[str, str, str], dict[str, Any]]:
        """What was written, by method, task and example; ids of records are their places in the file and the same in every run."""
        found = {}
        for method in self.methods:
            for output in load_outputs(self.run.folder("generate", method) / "outputs.jsonl"):
                found[method, output.task, output.example_id] = asdict(output)
        return found


def token_of(kind: str, text: str) -> str:
    found = re.search(rf"{kind}\d+x", text)
    assert found
    return found.group()


def given(prompt: str, kind: str) -> str:
    """A given field of the request, or nothing; exemplars stand before it."""
    return next((line for line in reversed(prompt.splitlines()) if line.startswith(f"Given {kind}:")), "")


def own_section(prompt: str) -> str:
    """The lines of the request's own reviews; exemplars stand before it."""
    return re.split(r"^(?:Others about|Predicted|Task:)", prompt.rpartition("\nOwn reviews:")[2], maxsplit=1, flags=re.MULTILINE)[0]


@pytest.fixture(scope="module")
def probed(tmp_path_factory: pytest.TempPathFactory) -> Probed:
    with pytest.MonkeyPatch.context() as patch:
        return Probed(shop(), tmp_path_factory.mktemp("probes") / "shop", patch, "long, title, rating")


def test_the_probes_see_every_kind_of_prompt(probed: Probed) -> None:
    """Writing, titles, ratings, synthetic reviews and hindsight were all asked, for many targets."""
    kinds = Counter(re.findall(r"^Task: (.*)$", prompt, re.MULTILINE)[-1] for prompt in probed.prompts)
    assert len(kinds) >= 5
    assert len(probed.targets) >= 10
    assert sum(bool(given(prompt, "title")) for prompt in probed.prompts) > 5 * len(probed.targets)


def test_a_prompt_never_holds_what_its_task_hides(probed: Probed) -> None:
    """Given the title, the token of the text is nowhere in the prompt, exemplars included; given the text alone, that of the title."""
    texts = {token_of("title", review.title or ""): token_of("text", review.text) for review in probed.tables.reviews_by_id.values()}
    titles = {text: title for title, text in texts.items()}
    checked = Counter[str]()
    for prompt in probed.prompts:
        title, text = given(prompt, "title"), given(prompt, "text")
        if "Real answer" in prompt.rpartition("Given")[2]:
            continue  # hindsight explains the answer that it sees; what it writes goes through the leak guard
        if title and not text:
            assert texts[token_of("title", title)] not in prompt
            checked["long"] += 1
        elif text and not title:
            assert titles[token_of("text", text)] not in prompt
            checked["title"] += 1
    assert min(checked["long"], checked["title"]) > 5 * len(probed.targets)


def test_a_synthetic_review_never_knows_the_target(probed: Probed) -> None:
    """Where somebody's own reviews stand in a prompt for a predicted item, neither field of their target does."""
    reviews = probed.tables.reviews_by_id.values()
    users = {token_of("text", review.text): review.user_id for review in reviews}
    targets = {example.user_id: example.target for example in probed.targets}
    checked = 0
    for prompt in probed.prompts:
        own = {users[token] for token in re.findall(r"text\d+x", own_section(prompt)) if token in users}
        if "they would give this item" in prompt and len(own) == 1 and (target := targets.get(*own)):
            assert token_of("text", target.text) not in prompt
            assert token_of("title", target.title or "") not in prompt
            checked += 1
    assert checked > 10


def test_evidence_and_candidates_leave_the_target_out(probed: Probed) -> None:
    """No output names its own target among what it saw, and the target's item is not predicted."""
    targets = {example.example_id: example for example in probed.targets}
    for (_, _, example_id), output in probed.outputs().items():
        assert targets[example_id].target.review_id not in output["evidence"]
    import pandas as pd

    candidates = pd.read_parquet(probed.run.folder("predict") / "candidates.parquet")
    for row in candidates[candidates["example_id"].isin(targets)].itertuples():
        assert row.item_id != targets[row.example_id].item_id


@pytest.mark.parametrize(("task", "hidden"), [("long", ("text", "rating")), ("title", ("title", "rating")), ("rating", ("rating",))])
def test_what_a_target_hides_changes_nothing(
    task: str, hidden: Sequence[str], probed: Probed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A target about an item that nobody else met: whatever it hides, every prompt and every output of the whole run is the same.

    Methods that show anybody's reviews, or predict anything, at random may show this one to others, and so may those that look for people who write
    alike or have similar taste: of `pat-style-only` the target's own outputs are compared. Popularity predicts the lonely item to nobody.
    """
    methods = [name for name, method in METHODS.items() if "random" not in name and not method.trajectories]
    rows = shop()
    target = max(probed.targets, key=lambda example: sum(review.user_id == example.user_id for review in probed.tables.reviews_by_id.values()))
    place = next(number for number, row in enumerate(rows) if row["text"] == target.target.text)
    rows[place]["item_id"] = "an inn of its own"
    changes = {"text": "Something wholly different, othersecret, about rope.", "title": "othersecret rope", "rating": rows[place]["rating"] % 5 + 1}
    other = [row | ({field: changes[field] for field in hidden} if number == place else {}) for number, row in enumerate(rows)]
    first, second = (Probed(table, tmp_path / name, monkeypatch, task, methods, "popularity") for name, table in (("first", rows), ("second", other)))
    assert any(example.item_id == "an inn of its own" for example in first.targets)
    assert first.prompts == second.prompts
    assert first.outputs() == second.outputs()
    alike = [Probed(table, tmp_path / name, monkeypatch, task, ["pat-style-only"], "popularity") for name, table in (("one", rows), ("two", other))]
    own = next(example.example_id for example in first.targets if example.item_id == "an inn of its own")
    outputs = [probe.outputs()["pat-style-only", task, own] for probe in alike]
    assert outputs[0] == outputs[1]
    evaluated = [probe.run.folder("evaluate") / "metrics.json" for probe in (first, second)]
    assert evaluated[0].read_text() != evaluated[1].read_text(), "the evaluation alone sees the difference"
