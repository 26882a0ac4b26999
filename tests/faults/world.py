"""The small run that is killed, starved and damaged: its command, its model, its stages, and what of it must always come out the same."""

from __future__ import annotations

import hashlib
import json
import random
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from faults.process import Ending, grasper

ROOT = Path(__file__).parents[2]
STEPS = ("prepare", "predict", "generate/copy", "align/grasper", "synthesize/grasper", "generate/grasper", "evaluate")
"""In the order in which they are carried out."""
READERS = {
    "prepare": "predict",
    "predict": "synthesize",
    "align/grasper": "generate",
    "synthesize/grasper": "generate",
    "generate/copy": "evaluate",
    "generate/grasper": "evaluate",
}
"""A stage that reads what each step wrote."""
OPTIONS = [
    *("-c", str(ROOT / "experiments" / "harbour.yaml"), "--methods", "copy,grasper", "--limit", "2"),
    *(part for setting in ("align.num_pairs=4", "align.num_samples=2", "align.num_held_out=2") for part in ("--set", setting)),
]
QUICK = [*OPTIONS, "--set", "predict.encoder=popularity", "--set", "align.reward_threshold=0", "--set", "model.kind=scripted"]
TRAINED = [*OPTIONS, "--set", "predict.max_epochs=1"]
_WORDS = ("warm", "cold", "quiet", "noisy", "kind", "late", "sea", "cake", "bed", "harbour", "boat", "tea", "view", "price", "host", "stairs")


@dataclass(frozen=True)
class Outcome:
    """What came of one case."""

    kind: str
    number: int
    problem: str = ""
    """Empty where it survived."""
    tried: int = 1
    """Kills, requests or inputs in it that count."""
    detail: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Place:
    """A folder to work in, the seed, and the undisturbed run that everything is compared with."""

    root: Path
    seed: int

    def random_of(self, kind: str, number: int) -> random.Random:
        """All randomness of one case."""
        return random.Random(f"{self.seed}/{kind}/{number}")

    def fresh(self, name: str) -> Path:
        """An empty folder."""
        folder = self.root / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder

    @cached_property
    def undisturbed(self) -> tuple[Path, Ending]:
        """The folder of the finished run, and how it went."""
        return self.finished("undisturbed", QUICK)

    @cached_property
    def trained(self) -> tuple[Path, Ending]:
        """The same of a run that trains the embedded model."""
        return self.finished("undisturbed-training", TRAINED)

    def finished(self, name: str, options: list[str]) -> tuple[Path, Ending]:
        """A run to its end in a folder of its own."""
        folder = self.fresh(name)
        ending = pipeline(folder, options)
        if ending.code != 0:
            raise RuntimeError(f"the undisturbed run failed: {ending.err[-500:]}")
        return folder, ending


def pipeline(folder: Path, options: list[str] = QUICK, *, before: Callable[[], None] = lambda: None, kill_after: float | None = None) -> Ending:
    """`grasper pipeline` with the scripted model, or the one that the options name."""
    return command("pipeline", folder, options, before=before, kill_after=kill_after)


def command(
    name: str, folder: Path, options: list[str] = QUICK, *, before: Callable[[], None] = lambda: None, kill_after: float | None = None
) -> Ending:
    """One command of the same run."""

    def prepare() -> None:
        script_answers()
        before()

    return grasper([*name.split(), *options], folder, before=prepare, kill_after=kill_after)


def script_answers() -> None:
    """Let scripted models answer every task, by the prompt alone and differently to each."""
    from grasper.models.scripted import ScriptedModel

    ScriptedModel.__init__.__defaults__ = (answer_of,)


def answer_of(prompt: Any) -> str:
    """An answer to any task that follows from the prompt's text."""
    return answer_to("\n".join(message.content for message in prompt.messages))


def answer_to(text: str) -> str:
    digest = hashlib.sha256(text.encode("utf-8", "replace")).digest()
    words = [_WORDS[byte % len(_WORDS)] for byte in digest[:14]]
    path = f"Style: {words[0]} and short\nInterests: {words[1]} {words[2]}\nPlan: praise the {words[3]}"
    return f"{path}\nTitle: Such a {words[4]} {words[5]}\nText: {' '.join(words[6:])}.\nRating: {1 + digest[20] % 5}"


def run_of(folder: Path) -> Path:
    return folder / "runs" / "harbour"


_TOKENS = re.compile(r', "tokens_(?:in|out)": \d+')


def results(folder: Path, *, ordered: bool = True) -> dict[str, object]:
    """Texts, synthetic reviews, gold paths, candidates, adapters, scores; without times and process facts.

    Args:
        ordered: Whether the order of records and the number of tokens count; both may change where a batch was damaged and written again, or an
            answer asked for again.
    """
    import pandas as pd

    run = run_of(folder)
    found: dict[str, object] = {}
    for path in sorted(path for path in run.rglob("*.jsonl") if path.name != "metrics.jsonl"):
        text = path.read_text("utf-8")
        records = sorted(_TOKENS.sub("", line) for line in text.splitlines() if '"crc32"' not in line)
        found[path.relative_to(run).as_posix()] = text if ordered else records
    for path in sorted(run.rglob("adapter/*.safetensors")):
        found[path.relative_to(run).as_posix()] = hashlib.sha256(path.read_bytes()).hexdigest()
    found["candidates"] = pd.read_parquet(run / "predict/candidates.parquet").to_csv()
    found["methods"] = json.loads((run / "evaluate/metrics.json").read_text())["methods"]
    return found


def difference(folder: Path, other: Path, *, ordered: bool = True) -> str:
    """The names of the results that are not the same; empty where all are."""
    try:
        one, two = results(folder, ordered=ordered), results(other, ordered=ordered)
    except (OSError, ValueError) as error:
        return f"results cannot be read: {error}"
    names = sorted(name for name in {*one, *two} if one.get(name) != two.get(name))
    return f"differs from the undisturbed run: {', '.join(names)}" if names else ""


def without_later(folder: Path, step: str) -> None:
    """Take a step and all that come after it out of a finished run."""
    for name in STEPS[STEPS.index(step) :]:
        shutil.rmtree(run_of(folder) / name, ignore_errors=True)


def step_under_way(folder: Path) -> str:
    """The step that was being carried out when the process died."""
    begun = [step for step in STEPS if (run_of(folder) / step / "started.json").exists()]
    return begun[-1].split("/")[0] if begun else "between stages"
