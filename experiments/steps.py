"""What PAT's steps change: the drafts of every step of a finished run against the real texts, and how its notes move → one JSON file.

    python -m experiments.steps runs/pat-hotel --method pat --name pat/hotel-steps

Steps that a request did not need, because its notes had settled, count with its last draft. Where the run kept the draft that agrees most
(`generate.kept_draft`), the answers stand beside the last drafts. Words of a plan's "about N words" are compared with those of the draft behind it.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from experiments.publish import RESULTS_DIR, made_by
from grasper.config import load_config
from grasper.evaluate.compare import Bootstrap, summarize
from grasper.evaluate.score import Answers, load_answers, reference_text
from grasper.files import write_json
from grasper.metrics.meteor import meteor
from grasper.metrics.text import rouge1
from grasper.records import Example, Output, Tables
from grasper.runs import Run

INTERESTS = re.compile(r"Interests: (?:likely )?(.*)")
PLANNED = re.compile(r"about (\d+) words")


def by_step(outputs: list[Output], examples: list[Example], task: str) -> dict[str, Any]:
    """Means of each step's drafts and paired differences to step 0, how many requests ended there, and whether drafts are as long as planned.

    Where answers are earlier drafts than the last, `kept` holds how many, their means and paired differences to the last step.
    """
    references = [reference_text(example.target, task) for example in examples]  # type: ignore[arg-type]
    last = max(len(output.notes) for output in outputs)
    drafts = {str(step): [output.notes[min(step, len(output.notes) - 1)]["draft"] for output in outputs] for step in range(last)}
    if earlier := sum(any("kept" in step for step in output.notes) for output in outputs):
        drafts["kept"] = [output.text or "" for output in outputs]
    columns: dict[tuple[str, ...], np.ndarray] = {}
    for step, texts in drafts.items():
        base = str(last - 1) if step == "kept" else "0"
        values = {
            "rouge1": rouge1(texts, references),
            "meteor_no_wordnet": meteor(texts, references, use_wordnet=False),
            "words": [len(text.split()) for text in texts],
        }
        for metric, numbers in values.items():
            columns[step, "value", metric] = np.asarray(numbers, dtype=float)
            columns[step, f"minus_step_{base}", metric] = columns[step, "value", metric] - columns[base, "value", metric]
    steps = summarize(Bootstrap([example.item_id for example in examples]).estimate(pd.DataFrame(columns)))
    first = [output.notes[0] for output in outputs]
    planned = [(int(match[1]), len(step["draft"].split())) for step in first if (match := PLANNED.search(step["topic"]))]
    kept = {"kept": {"earlier_drafts": earlier} | steps.pop("kept")} if earlier else {}
    return {
        "n": len(outputs),
        "steps": steps,
        **kept,
        "ended_after": {str(step): sum(len(output.notes) == step + 1 for output in outputs) for step in range(last)},
        "repeats_an_interest": [sum(map(_repeats, (output.notes[place]["topic"] for output in outputs))) for place in (0, -1)],
        "distinct_style_notes": len({step["style"] for step in first}),
        "planned_words": {"n": len(planned), "correlation": round(float(np.corrcoef(np.array(planned).T)[0, 1]), 4) if len(planned) > 2 else None},
    }


def _repeats(topic: str) -> bool:
    """Whether the line of interests names something twice."""
    match = INTERESTS.search(topic)
    named = [word.strip().lower() for word in match[1].split(",")] if match else []
    return len(set(named)) < len(named)


def parse_arguments(description: str | None) -> argparse.Namespace:
    """A finished run, the method in it that is looked at, and where the results go."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a finished run")
    parser.add_argument("--method", default="pat")
    parser.add_argument("--name", required=True, help="name of the results file")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments(__doc__)
    run = Run(arguments.run)
    config = load_config(run.root / "config.yaml")
    examples = Tables.load(run.folder("prepare")).select(config.split, config.limit)
    answers: Answers = load_answers(run.folder("generate", arguments.method) / "outputs.jsonl")
    found: dict[str, Any] = {}
    for task in config.tasks:
        asked = [example for example in examples if (example.example_id, task) in answers]
        outputs = [answers[example.example_id, task] for example in asked]
        if not all(output.notes for output in outputs):
            raise SystemExit(f"{arguments.method} of {run.root} writes no steps; name a method with trajectories, such as pat")
        if asked and task != "rating":
            found[task] = by_step(outputs, asked, task)
    path = RESULTS_DIR / f"{arguments.name}.json"
    facts = made_by(config.seed) | {"method": arguments.method, "split": config.split, "limit": config.limit}
    write_json(path, {"provenance": facts, "tasks": found})
    print(path)


if __name__ == "__main__":
    main()
