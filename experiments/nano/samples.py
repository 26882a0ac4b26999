"""How often nano's answers have the asked form, and 40 unselected ones to read: the first requests of each set's dev-b in the order of a hash.

Written are the model's own words and item names, never a user's text.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.nano.command import run
from experiments.nano.evaluate import RESULTS_DIR, commit
from experiments.nano.export import PACKAGE_DIR
from experiments.nano.reviews import BENCHMARK_SETS
from grasper.config import PrepareConfig, PromptConfig
from grasper.methods.grasper import NO_SYNTHETIC
from grasper.models.base import Prompt
from grasper.models.local import LocalModel
from grasper.prepare import build_tables
from grasper.prompts.budget import max_new_tokens
from grasper.prompts.render import render, render_review
from grasper.prompts.templates import AnswerTask
from grasper.reason.format import parse_answer
from grasper.records import Item, request_for, tasks_of
from grasper.retrieve.profile import ProfileBuilder
from grasper.retrieve.store import ReviewStore

TASKS: tuple[AnswerTask, ...] = ("long", "title", "rating", "review")
SHOWN_TASKS, SHOWN_EACH = ("long", "title"), 5
TEMPERATURE, TOP_P = 0.7, 0.9


@dataclass(frozen=True)
class Asked:
    """One request as the model gets it."""

    set_name: str
    task: AnswerTask
    reasoning: bool
    item: Item
    prompt: Prompt


def ask(data_dir: Path, set_name: str, count: int, model: LocalModel, prompts: PromptConfig) -> list[Asked]:
    """Gives the first `count` requests of each task on dev-b, with and without a path, with own reviews and neighbours."""
    config = PrepareConfig(source="pgraphrag", name=set_name, data=data_dir / set_name, pooled_user_limit=50, invalid_rating="null")
    tables, _ = build_tables(config, seed=0)
    profiles = ProfileBuilder(NO_SYNTHETIC, ReviewStore(tables), prompts)
    asked = []
    for example in tables.select("dev-b", count):
        item = tables.item(example.item_id)
        for reasoning in (False, True):
            for task in tasks_of(example):
                request = request_for(example, task, item)
                profile = profiles.for_request(request, example)
                prompt = render(request, profile, reasoning=reasoning, config=prompts, model=model)
                asked.append(Asked(set_name, task, reasoning, item, prompt))
            whole = render_review(item, profiles.for_item(item, example), reasoning=reasoning, config=prompts, model=model)
            asked.append(Asked(set_name, "review", reasoning, item, whole))
    return asked


def main() -> None:
    """Writes samples.json and parse_rate.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the prepared review tables")
    parser.add_argument("--model", type=Path, default=PACKAGE_DIR, help="model folder")
    parser.add_argument("--out", type=Path, default=RESULTS_DIR, help="folder of the two files")
    parser.add_argument("--requests", type=int, default=25, help="requests of each set, task and form")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    model = LocalModel(str(options.model))
    prompts = PromptConfig()
    asked = [one for name in BENCHMARK_SETS for one in ask(options.data, name, options.requests, model, prompts)]
    answers = [""] * len(asked)
    for task in TASKS:
        for reasoning in (False, True):
            chosen = [number for number, one in enumerate(asked) if (one.task, one.reasoning) == (task, reasoning)]
            room = max_new_tokens(task, prompts, reasoning=reasoning)
            completions = model.generate(
                [asked[number].prompt for number in chosen], temperature=TEMPERATURE, top_p=TOP_P, max_new_tokens=room, seed=options.seed
            )
            for number, (completion,) in zip(chosen, completions, strict=True):
                answers[number] = completion.text
    head = {
        "command": f"python -m experiments.nano.samples --data ../shared/data --requests {options.requests} --seed {options.seed}",
        "commit": commit(),
        "seed": options.seed,
        "temperature": TEMPERATURE,
        "top_p": TOP_P,
    }
    options.out.mkdir(parents=True, exist_ok=True)
    _write(options.out / "parse_rate.json", head | {"share_parsed": parse_rates(asked, answers)})
    _write(options.out / "samples.json", head | {"samples": first_samples(asked, answers)})


def parse_rates(asked: list[Asked], answers: list[str]) -> dict[str, Any]:
    """Gives the share of answers that have the asked form, over all and by set, task and form."""
    groups: dict[str, list[bool]] = {}
    for one, answer in zip(asked, answers, strict=True):
        is_parsed = parse_answer(answer, one.task, expects_path=one.reasoning).is_parsed
        form = "path" if one.reasoning else "plain"
        for group in ("all", one.set_name, f"{one.task} {form}"):
            groups.setdefault(group, []).append(is_parsed)
    return {group: {"value": round(sum(parsed) / len(parsed), 4), "n": len(parsed)} for group, parsed in groups.items()}


def first_samples(asked: list[Asked], answers: list[str]) -> list[dict[str, Any]]:
    """Gives the first five answers of each set and shown task, in the order asked; odd ones with a path."""
    samples: list[dict[str, Any]] = []
    for set_name in BENCHMARK_SETS:
        for task in SHOWN_TASKS:
            pairs = [(one, answer) for one, answer in zip(asked, answers, strict=True) if (one.set_name, one.task) == (set_name, task)]
            plain = [pair for pair in pairs if not pair[0].reasoning][:SHOWN_EACH]
            path = [pair for pair in pairs if pair[0].reasoning][:SHOWN_EACH]
            for number, (one, answer) in enumerate(path[index] if index % 2 else plain[index] for index in range(min(len(plain), SHOWN_EACH))):
                samples.append({"set": set_name, "task": task, "number": number, "item": one.item.name, "answer": answer})
    return samples


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(path)


if __name__ == "__main__":
    run(main)
