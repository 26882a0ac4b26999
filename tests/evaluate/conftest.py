"""A small scripted world: users who differ in style, items that differ in subject, and the outputs of six methods of known quality."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from grasper.evaluate import MethodFiles, RunData
from grasper.files import BatchLog
from grasper.records import (
    CANDIDATE_COLUMNS,
    EXAMPLE_COLUMNS,
    ITEM_COLUMNS,
    REVIEW_COLUMNS,
    Example,
    Item,
    Output,
    SyntheticReview,
    Tables,
    Task,
    tasks_of,
)

ITEMS = {
    "i0": ("Heron Guesthouse", "room view quiet garden breakfast terrace bed linen"),
    "i1": ("Anchor Café", "coffee cake counter window cinnamon queue cups milk"),
    "i2": ("Seal Island Boat Tour", "boat seals captain wind harbour deck waves binoculars"),
    "i3": ("Rope & Sail Shop", "rope lamp shelf price souvenir counter brass wool"),
    "i4": ("Smokehouse Larsen", "herring smoke bread table mustard platter onions beer"),
    "i5": ("Lighthouse Museum", "stairs lamp keeper exhibit story glass map children"),
}
OPENINGS = ("We had", "You get", "There was", "I found", "They offer", "One meets")
JUDGEMENTS = ("lovely", "rather plain", "a real surprise", "worth the money", "too loud for me", "exactly as promised", "a bit worn")
CLOSINGS = ("Would come back", "Maybe again in summer", "Not for us", "My children loved it", "Go early", "Bring a jacket")
METHODS = ("none", "copy", "lamp", "pgraphrag", "grasper", "grasper-no-graph")
SHARE_OF_TRUTH = {"none": 0.1, "copy": 0.3, "lamp": 0.25, "pgraphrag": 0.35, "grasper": 0.5, "grasper-no-graph": 0.4}


def write_sentence(rng: np.random.Generator, item_id: str) -> str:
    words = rng.choice(ITEMS[item_id][1].split(), 2, replace=False)
    return f"{rng.choice(OPENINGS)} {rng.choice(JUDGEMENTS)} {words[0]} and the {words[1]} was {rng.choice(JUDGEMENTS)}"


def write_review(rng: np.random.Generator, item_id: str, user: int) -> str:
    """Even users shout in short sentences, odd ones mumble in lower case."""
    sentences = [write_sentence(rng, item_id) for _ in range(1 + user % 3)] + [str(rng.choice(CLOSINGS))]
    return "!!! ".join(sentences).upper() + "!!!" if user % 2 == 0 else "; ".join(sentences).lower() + ", i would say."


@dataclass
class World:
    """Everything that the evaluate stage reads."""

    tables: Tables
    examples: list[Example]
    outputs: dict[str, Path]
    synthetic: dict[str, Path]
    candidates: pd.DataFrame
    costs: dict[str, dict[str, float]]
    records: dict[str, list[Output]] = field(default_factory=dict)

    def run_data(
        self,
        outputs: Mapping[str, Path] | None = None,
        *,
        synthetic: Mapping[str, Path] | None = None,
        costs: Mapping[str, Mapping[str, float]] | None = None,
        measured: Mapping[str, Sequence[Path]] | None = None,
        **changes: Any,
    ) -> RunData:
        """What is evaluated: everybody's outputs, or the given ones; further files by method."""
        given = self.outputs if outputs is None else outputs
        files = {
            method: MethodFiles(path, (synthetic or {}).get(method), (costs or {}).get(method, {}), (measured or {}).get(method, ()))
            for method, path in given.items()
        }
        return RunData(**{"dataset": "toy", "split": "dev-a", "tables": self.tables, "examples": self.examples, "files": files} | changes)


def build_world(folder: Path, *, num_users: int = 30, methods: Sequence[str] = METHODS, seed: int = 0) -> World:
    """Users 0 … n−1 with 0 to 7 own visible reviews each (most have none) and one target; every method answers every task."""
    rng = np.random.default_rng(seed)
    reviews, examples = [], []
    for user in range(num_users):
        num_own = (0, 0, 0, 1, 0, 2, 0, 1, 4, 0, 7)[user % 11]
        for number in range(num_own + 1):
            item_id = f"i{rng.integers(len(ITEMS))}"
            text = write_review(rng, item_id, user)
            title = " ".join(text.split()[2:6]).strip("!;,.")
            review_id = f"r{user}-{number}"
            reviews.append((review_id, f"user {user}", item_id, float(rng.integers(1, 6)), title, text, None, "dev"))
        examples.append((f"e{user}", f"r{user}-0", f"user {user}", reviews[-num_own - 1][2], "dev-a", None, user % 10 == 9))
    tables = Tables(
        pd.DataFrame(reviews, columns=list(REVIEW_COLUMNS)),
        pd.DataFrame([(item_id, name, "place", None) for item_id, (name, _) in ITEMS.items()], columns=list(ITEM_COLUMNS)),
        pd.DataFrame(examples, columns=list(EXAMPLE_COLUMNS)),
    )
    selected = tables.select("dev-a")
    world = World(tables, selected, {}, {}, _candidates(rng, selected), {})
    for method in methods:
        world.records[method] = [_answer(rng, example, task, method) for example in selected for task in tasks_of(example)]
        world.outputs[method] = write_outputs(folder / method / "outputs.jsonl", world.records[method])
        world.costs[method] = {"generate_seconds": 0.5 + 40 * SHARE_OF_TRUTH.get(method, 0.2), "synthesize_seconds": 3.0}
        if method.startswith("grasper"):
            log = BatchLog(folder / method / "synthetic.jsonl")
            for example in selected:
                log.append(asdict(entry) for entry in _synthetic(rng, example, world.candidates))
            world.synthetic[method] = log.path
    return world


def write_outputs(path: Path, outputs: Sequence[Output], batch_size: int = 8) -> Path:
    path.unlink(missing_ok=True)
    log = BatchLog(path)
    for start in range(0, len(outputs), batch_size):
        log.append(output.to_json() for output in outputs[start : start + batch_size])
    return path


def _answer(rng: np.random.Generator, example: Example, task: Task, method: str) -> Output:
    """A text of which a known share is the reference's; every seventeenth answer is not in the expected format."""
    target, share = example.target, SHARE_OF_TRUTH.get(method, 0.2)
    is_parsed = rng.integers(17) > 0
    path = "Style: short; lower case\nInterests: quiet, breakfast\nPlan: praise the view" if method == "grasper" else None
    common: dict[str, Any] = {"path": path, "is_parsed": bool(is_parsed), "tokens_in": 300, "tokens_out": 40, "evidence": (example.target.review_id,)}
    if task == "rating":
        rating = target.rating if rng.random() < share else float(rng.integers(1, 6))
        return Output(example.example_id, task, method, rating=rating if is_parsed else None, raw="?", **common | {"evidence": ()})
    real = ((target.title if task == "title" else target.text) or "").split()
    other = write_review(rng, example.item_id, int(rng.integers(100))).split()
    words = [word if rng.random() < share else str(rng.choice(other)) for word in real]
    text = " ".join(words)
    return Output(example.example_id, task, method, text=text if is_parsed else None, raw=text if is_parsed else f"{text}\nand so on", **common)


def _candidates(rng: np.random.Generator, examples: Sequence[Example]) -> pd.DataFrame:
    rows = []
    for example in examples:
        items = [item_id for item_id in ITEMS if item_id != example.item_id]
        scores = np.sort(rng.random(len(items)))[::-1]
        order = rng.permutation(items)
        rows += [(example.example_id, example.user_id, item_id, rank, scores[rank - 1]) for rank, item_id in enumerate(order, start=1)]
    return pd.DataFrame(rows, columns=list(CANDIDATE_COLUMNS))


def _synthetic(rng: np.random.Generator, example: Example, candidates: pd.DataFrame) -> list[SyntheticReview]:
    mine = candidates[candidates["example_id"] == example.example_id].head(3)
    entries = []
    for row in mine.itertuples(index=False):
        text = write_review(rng, row.item_id, int(example.user_id.split()[1]))
        rejected = str(rng.choice(["copied", "repeated"])) if rng.random() < 0.2 else None
        item = Item(row.item_id, ITEMS[row.item_id][0])
        entries.append(
            SyntheticReview(
                example.example_id, example.user_id, item, text, "A title", 4.0, "Style: loud", int(row.rank), float(row.score), rejected, 200, 50
            )
        )
    return entries


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Thirty users, six methods; read only."""
    return build_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="session", name="build_world")
def build_world_fixture() -> Callable[..., World]:
    return build_world


@pytest.fixture(scope="session", name="write_outputs")
def write_outputs_fixture() -> Callable[..., Path]:
    return write_outputs
