"""What PAT's notes are worth to the writer, and how sure their reward is → one JSON file.

    python -m experiments.notes -c experiments/harbour.yaml --pairs 64 --held-out 48 --out experiments/results/preference/harbour-notes.json

Goes on from the work folder of `experiments/preference.py`, run with the same numbers of pairs: the warm start, and the notes that were judged in the
first round. On the held-out pairs, with the same draft seeds and the other reasoner's notes held, drafts are written with

- `own`: the notes that the reasoner wrote for this request;
- `shuffled`: the notes that it wrote for another request of the same task;
- `analysed`: notes by counting alone, the plan with the real answer in view (leak-guarded): about the best that notes could say;

each minus drafts without notes. Own notes are judged again with other draft seeds, and so are both sides of every preference pair of the first round:
how much of the difference between them is left on drafts that did not choose them says how much of it was luck.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from experiments.preference import lesson_of
from experiments.publish import made_by
from experiments.resumed import require_same
from grasper.align.dual import Case, DualTraining, training_of
from grasper.align.preference import JudgedNotes, PreferencePair, choose_pairs
from grasper.config import load_config
from grasper.evaluate.compare import Bootstrap, summarize
from grasper.files import read_jsonl, write_json
from grasper.methods.base import REASONERS, Reasoner
from grasper.models import fingerprint_model
from grasper.models.base import TextModel
from grasper.reason.differential import NotesTrial, judge
from grasper.reason.dual import DualReasoning, notes_of
from grasper.reason.roles import analysed_notes
from grasper.runs import derive_seed

ROOT = Path(__file__).parents[1]
OTHER: dict[Reasoner, Reasoner] = {"style": "topic", "topic": "style"}


def worth(training: DualTraining, model: TextModel, trials: Sequence[NotesTrial], purpose: str) -> np.ndarray:
    """Differential reward of each trial, `[n]`, on drafts of a purpose."""
    seeds = [derive_seed(training.seed, purpose, trial.pair.pair_id) for trial in trials]
    config, reasoning = training.config, DualReasoning(model, training.prompts, steps=0)
    found = judge(reasoning, trials, training.reward, seeds, num_drafts=config.num_drafts, temperature=config.draft_temperature)
    return np.array([one.difference for one in found])


def value_of_notes(training: DualTraining, model: TextModel, seed: int) -> dict[str, Any]:
    """Differential rewards on the held-out pairs by kind of notes, with paired differences, for each reasoner, and of texts alone."""
    cases = training.held_out
    first = training.deliberate(model, cases, "evaluation")
    written = dict(zip((case.pair.pair_id for case in cases), first, strict=True))
    own = {(pair_id, reasoner): getattr(found.steps[0], reasoner) for pair_id, found in written.items() for reasoner in REASONERS}
    columns: dict[tuple[str, ...], np.ndarray] = {}
    is_text = np.array([case.pair.task != "rating" for case in cases])
    for reasoner in REASONERS:
        notes = {
            "own": [own[case.pair.pair_id, reasoner] for case in cases],
            "shuffled": [own[_next(cases, place).pair.pair_id, reasoner] for place in range(len(cases))],
            "analysed": [notes_of(reasoner, analysed_notes(case.pair, case.evidence)) for case in cases],
        }

        def trials(kind: str, notes: dict[str, list[str]] = notes, reasoner: Reasoner = reasoner) -> list[NotesTrial]:
            held = [own[case.pair.pair_id, OTHER[reasoner]] for case in cases]
            return [NotesTrial(case.pair, case.evidence, reasoner, text, kept) for case, text, kept in zip(cases, notes[kind], held, strict=True)]

        flat = worth(training, model, [one for kind in notes for one in trials(kind)], "notes")
        values = dict(zip(notes, flat.reshape(len(notes), len(cases)), strict=True))
        values["own, other drafts"] = worth(training, model, trials("own"), "notes again")
        values["own minus shuffled"] = values["own"] - values["shuffled"]
        values["analysed minus own"] = values["analysed"] - values["own"]
        for kind, numbers in values.items():
            columns[reasoner, "all", kind] = numbers
            columns[reasoner, "texts", kind] = np.where(is_text, numbers, np.nan)
    items = [case.pair.example.item_id for case in cases]
    found = summarize(Bootstrap(items, seed=seed).estimate(pd.DataFrame(columns)))
    for reasoner in REASONERS:
        pairs = [columns[reasoner, "texts", kind][is_text] for kind in ("own", "own, other drafts")]
        found[reasoner]["correlation_of_two_judgements"] = round(float(np.corrcoef(*pairs)[0, 1]), 4)
    return found


def _next(cases: Sequence[Case], place: int) -> Case:
    """The next case of the same task, around the end."""
    turned = [*cases[place + 1 :], *cases[:place]]
    return next((case for case in turned if case.pair.task == cases[place].pair.task), cases[place])


def luck_of_the_draw(training: DualTraining, model: TextModel, judged: Sequence[JudgedNotes], seed: int) -> dict[str, Any]:
    """The gap between the sides of the first round's pairs: on the drafts that chose them, and on others; and how often the chosen side is ahead."""
    config = training.config
    pairs, _ = choose_pairs(judged, margin=config.margin, max_length_ratio=config.max_length_ratio)
    cases = {case.pair.pair_id: case for case in training.cases}
    first = training.deliberate(model, training.cases, f"held {derive_seed(training.seed, 'round', 1)}")
    held = {case.pair.pair_id: found.steps[0] for case, found in zip(training.cases, first, strict=True)}
    trials = []
    for side in (side for pair in pairs for side in (pair.chosen, pair.rejected)):
        case, kept = cases[side.pair_id], getattr(held[side.pair_id], OTHER[side.reasoner])
        trials.append(NotesTrial(case.pair, case.evidence, side.reasoner, side.notes, kept))
    chosen, rejected = worth(training, model, trials, "judged again").reshape(-1, 2).T
    is_ahead = (chosen > rejected) + 0.5 * (chosen == rejected)
    first_gap = np.array([pair.chosen.difference - pair.rejected.difference for pair in pairs])
    columns: dict[tuple[str, ...], np.ndarray] = {}
    for task in ("all", "texts", "rating"):
        where = np.array([task == "all" or (_task(pair) == "rating") == (task == "rating") for pair in pairs])
        columns[task, "gap", "when chosen"] = np.where(where, first_gap, np.nan)
        columns[task, "gap", "on other drafts"] = np.where(where, chosen - rejected, np.nan)
        columns[task, "chosen_is_ahead", "on other drafts"] = np.where(where, is_ahead, np.nan)
    items = [cases[pair.chosen.pair_id].pair.example.item_id for pair in pairs]
    return {"pairs": len(pairs)} | summarize(Bootstrap(items, seed=seed).estimate(pd.DataFrame(columns)))


def _task(pair: PreferencePair) -> str:
    return pair.chosen.pair_id.rpartition("/")[2]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-c", "--config", type=Path, required=True)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--pairs", type=int, default=64)
    parser.add_argument("--held-out", type=int, default=48)
    parser.add_argument("--set", action="append", default=[], metavar="section.key=value")
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "preference")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    fixed = [*options.set, f"align.num_pairs={options.pairs}", f"align.num_held_out={options.held_out}"]
    config = load_config(options.config, fixed + ([f"prepare.data={options.data}"] if options.data else []))
    work = options.work / options.config.stem
    require_same(work, {"config": config.model_dump(mode="json"), "model": fingerprint_model(config.model)})
    training = training_of(lesson_of(config, work))
    warm = training.base.with_adapter(work / "warm-start" / "adapter")
    found: dict[str, Any] = {"provenance": made_by(config.seed), "held_out": value_of_notes(training, warm, config.seed)}
    write_json(options.out, found)
    judged = [JudgedNotes.from_json(record) for record in read_jsonl(next(iter(sorted(work.glob("*/round-1/judged.jsonl")))))]
    found["first_round"] = luck_of_the_draw(training, warm, judged, config.seed)
    write_json(options.out, found)


if __name__ == "__main__":
    main()
