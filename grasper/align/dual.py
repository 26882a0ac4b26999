"""The alignment of dual reasoning (PAT, arXiv 2604.24996): a warm start of all roles, then rounds of preferences over the reasoners' notes.

Warm start: LoRA fine-tuning on analysed notes, drafts and revisions (`reason.roles`); those of later steps improve what the model itself wrote in
the first one. Each round: the adapter of the round before samples notes for the training pairs, their differential reward is measured, preference
pairs are chosen and trained on with that same adapter as reference, and the new adapter is measured on held-out pairs of other users. Rounds end
where the held-out reward does not rise; the best adapter is the result. Both rewards are of one kind, by drafts or by the real text's likelihood
(`align.dpo.reward`).

Deviations: number and form of the rounds are not public; all of it is this project's own. Every second training pair is asked in the form of a later
step, with the others' notes and the draft in view, so that both forms of a reasoner's prompt are trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from grasper.align.counting import TokenCountingModel
from grasper.align.dpo import MORE_PAIRS, require_trl, train_on_preferences
from grasper.align.lesson import Lesson
from grasper.align.preference import JudgedNotes, choose_pairs
from grasper.align.rounds import finished, take_over
from grasper.align.sft import finetune, make_sequence
from grasper.config import AlignConfig, DpoConfig, PromptConfig
from grasper.errors import ConfigError
from grasper.files import BatchLog, read_json, read_jsonl, write_json, write_lines
from grasper.methods.base import REASONERS, Reasoner
from grasper.models.base import Completion, TextModel, at_once
from grasper.progress import Progress
from grasper.prompts.render import Notes
from grasper.reason.differential import NotesTrial, Worth, copied_from, judge, judge_by_likelihood
from grasper.reason.dual import Deliberation, DualReasoning, Evidence, read_notes
from grasper.reason.evidence import evidence_of
from grasper.reason.format import is_cut
from grasper.reason.likelihood import require_likelihoods
from grasper.reason.pair import TrainingPair
from grasper.reason.reward import Reward
from grasper.reason.roles import role_examples
from grasper.runs import derive_seed

if TYPE_CHECKING:
    from grasper.models.local import LocalModel

ROUNDS_FILE = "rounds.json"
BATCH_SIZE = 16
"""Pairs whose notes are sampled and judged in one batch, where the model does not want more at once."""
_OTHER: dict[Reasoner, Reasoner] = {"style": "topic", "topic": "style"}


@dataclass(frozen=True, slots=True)
class Case:
    """A training pair with what each role may see of it."""

    pair: TrainingPair
    evidence: Evidence


def train_roles(lesson: Lesson) -> dict[str, Any]:
    """Warm start of all roles into `out_dir/adapter`; gives the counts."""
    return training_of(lesson).warm_start(lesson.out_dir)


def train_by_preference(lesson: Lesson) -> dict[str, Any]:
    """Warm start into `out_dir/warm-start/`, then preference rounds into `out_dir/round-N/`; the best adapter in `out_dir/adapter`.

    Raises:
        ConfigError: trl is not installed, or there is no held-out pair.
    """
    require_trl()  # before hours are spent on what leads to it
    training, folder = training_of(lesson), lesson.out_dir / "warm-start"
    counts = finished(folder / "counts.json", training.warm_start)
    found = training.improve(folder / "adapter", lesson.out_dir)
    selections = [record["selection"] for record in found["rounds"] if "selection" in record]
    spent = [counts, *selections, *found["fruitless"], *(record["held_out"] for record in found["rounds"])]
    return {
        "warm_start": counts,
        "preference_rounds": len(selections),
        "best_round": found["best_round"],
        "stopped": found["stopped"],
        "preference_pairs": sum(selection["pairs"] for selection in selections),
        "held_out_reward": [round(record["held_out"]["reward"], 6) for record in found["rounds"]],
        **{name: sum(part.get(name, 0) for part in spent) for name in ("tokens_in", "tokens_out")},
    }


def training_of(lesson: Lesson) -> DualTraining:
    """The training of a lesson's method, its pairs with the evidence of every role."""

    def cases(pairs: Sequence[TrainingPair]) -> list[Case]:
        return [Case(pair, evidence_of(lesson.desk, pair.request, pair.example, pair.profile)) for pair in pairs if not pair.is_review]

    return DualTraining(lesson.base, lesson.desk.prompts, lesson.config, lesson.reward, cases(lesson.pairs), cases(lesson.held_out), lesson.seed)


@dataclass(frozen=True)
class DualTraining:
    """What warm start and rounds share.

    Args:
        base: The model that is adapted, without any adapter.
        cases: Pairs that are trained on.
        held_out: Pairs of other users, for the evaluation alone.

    Raises:
        ConfigError: The base model tells no likelihoods, and `align.dpo.reward` asks for them.
    """

    base: LocalModel
    prompts: PromptConfig
    align: AlignConfig
    reward: Reward
    cases: Sequence[Case]
    held_out: Sequence[Case]
    seed: int

    def __post_init__(self) -> None:
        if self.config.reward == "likelihood":
            require_likelihoods(self.base, "align.dpo.reward")

    @property
    def config(self) -> DpoConfig:
        return self.align.dpo

    def warm_start(self, out_dir: Path) -> dict[str, Any]:
        """Teach all roles their form into `out_dir/adapter`; gives the counts of the fine-tuning, and the tokens of the first steps to be
        improved."""
        sequences, meter = [], TokenCountingModel(self.base)
        for cases in (self.cases, self.held_out):
            first, reasoning = self.deliberate(meter, cases, "warm start"), self._reasoning(self.base)
            examples = [
                example
                for case, deliberation in zip(cases, first, strict=True)
                for example in role_examples(case.pair, case.evidence, reasoning, deliberation.steps[0])
            ]
            sequences.append([make_sequence(self.base, e.prompt, "", e.answer, f"{e.role}/{e.task}", path_weight=1.0) for e in examples])
        train, evaluation = sequences
        return finetune(self.base, train, evaluation, self.align, out_dir, seed=derive_seed(self.seed, "warm start")) | meter.tokens

    def improve(self, adapter: Path | None, out_dir: Path) -> dict[str, Any]:
        """Run the rounds from `adapter` (None: the base model), write `round-N/` and `rounds.json`, and leave the best adapter in `out_dir/adapter`.

        A finished round is not done again. Where a round finds no preference pair, the rounds before it stand. Gives counts: `rounds` (one record
        each), `best_round` (0: what it started from), `stopped`, `fruitless` (the counts of a round that found no pair).

        Raises:
            ConfigError: No held-out pair.
        """
        if not self.held_out:
            raise ConfigError("preference rounds stop by the reward on held-out pairs, but there are none; raise align.num_held_out")
        rounds = [finished(out_dir / "round-0" / "round.json", partial(self._start, adapter))]
        adapters = {0: adapter}
        stopped, fruitless = "all rounds done", []
        for number in range(1, self.config.rounds + 1):
            folder = out_dir / f"round-{number}"
            record = finished(folder / "round.json", partial(self._round, number, adapters[number - 1]))
            if not record["selection"]["pairs"]:
                stopped, fruitless = _no_pairs(number, record["selection"]), [record["selection"]]
                break
            rounds.append(record)
            adapters[number] = folder / "adapter"
            if number - _best(rounds) >= self.config.patience and number < self.config.rounds:
                stopped = f"the held-out reward did not rise by round {number}"
                break
        best = _best(rounds)
        found = {"rounds": rounds, "best_round": best, "stopped": stopped, "fruitless": fruitless}
        write_json(out_dir / ROUNDS_FILE, found)
        if (chosen := adapters[best]) is not None and chosen != out_dir / "adapter":
            take_over(chosen, out_dir)
        return found

    def _start(self, adapter: Path | None, folder: Path) -> dict[str, Any]:
        """The record of round 0: how what the rounds start from does on the held-out pairs."""
        return {"round": 0, "held_out": self.evaluate(self._adapted(adapter))}

    def _round(self, number: int, adapter: Path | None, folder: Path) -> dict[str, Any]:
        path, tokens_path = folder / "judged.jsonl", folder / "judged-tokens.json"
        if not path.exists():
            log = self._sample_all(adapter, derive_seed(self.seed, "round", number), folder / "judged.part.jsonl")
            write_json(tokens_path, {name: sum(batch[name] for batch in log.records) for name in ("tokens_in", "tokens_out")})
            places = {case.pair.pair_id: place for place, case in enumerate(self.cases)}
            write_lines(path, sorted((notes for batch in log.records for notes in batch["notes"]), key=lambda notes: places[notes["pair_id"]]))
            log.path.unlink()
        judged = [JudgedNotes.from_json(record) for record in read_jsonl(path)]
        pairs, selection = choose_pairs(judged, margin=self.config.margin, max_length_ratio=self.config.max_length_ratio)
        selection |= read_json(tokens_path) if tokens_path.exists() else {}
        selection["mean_difference"] = float(np.mean([notes.difference for notes in judged])) if judged else None
        if not pairs:
            return {"round": number, "selection": selection}
        seed = derive_seed(self.seed, "dpo", number)
        training = train_on_preferences(self.base, adapter, pairs, self.config, self.align, folder, seed=seed)
        held_out = self.evaluate(self._adapted(folder / "adapter"))
        return {"round": number, "selection": selection, "training": training, "held_out": held_out}

    def _sample_all(self, adapter: Path | None, seed: int, log_path: Path) -> BatchLog:
        """The judged notes of all training pairs with the tokens that they took, a record for each batch; finished batches are not done again."""
        log, model = BatchLog(log_path), self._adapted(adapter)
        missing = [case for case in self.cases if case.pair.pair_id not in log.done]
        size = at_once(BATCH_SIZE, model)
        with Progress("judging notes", len(self.cases), done=len(self.cases) - len(missing)) as progress:
            for start in range(0, len(missing), size):
                batch, meter = missing[start : start + size], TokenCountingModel(model)
                notes = [asdict(notes) for notes in self.sample(meter, seed, batch)]
                log.append([{"notes": notes, **meter.tokens}], done=[case.pair.pair_id for case in batch])
                progress.advance(len(batch))
        return log

    def sample(self, model: TextModel, seed: int, cases: Sequence[Case] | None = None) -> list[JudgedNotes]:
        """Notes of both reasoners for some training pairs (None: all), `num_notes` each, with their differential rewards; equal ones once. Those of a
        later step are judged by what the writer makes of the draft that they were written in view of."""
        reasoning, config = self._reasoning(model), self.config
        cases = self.cases if cases is None else cases
        first = self.deliberate(model, cases, f"held {seed}")
        asked: list[tuple[Case, Reasoner, Notes, str, Any]] = []
        for case, deliberation in zip(cases, first, strict=True):
            is_later = case.pair.pair_id in self._asked_later
            for reasoner in REASONERS:
                if (profile := case.evidence.of(reasoner)) is not None:
                    seen = deliberation.steps[0] if is_later else Notes()
                    prompt = reasoning.notes_prompt(reasoner, case.pair.request, profile, seen)
                    asked.append((case, reasoner, deliberation.steps[0], deliberation.draft if is_later else "", prompt))
        drawn = model.generate(
            [prompt for *_, prompt in asked],
            n=config.num_notes,
            temperature=config.temperature,
            top_p=1.0,
            max_new_tokens=self.prompts.path_tokens,
            seed=[derive_seed(seed, "notes", case.pair.pair_id, reasoner) for case, reasoner, *_ in asked],
        )
        trials: list[NotesTrial] = []
        judged: list[JudgedNotes] = []
        for (case, reasoner, held, draft, prompt), completions in zip(asked, drawn, strict=True):
            # Notes that lack their end count as unread: chosen, they would teach to stop in the middle.
            for text, is_read in _read_all(reasoner, completions).items():
                trials.append(NotesTrial(case.pair, case.evidence, reasoner, text, held.of(_OTHER[reasoner]), draft))
                judged.append(JudgedNotes(case.pair.pair_id, reasoner, prompt, text, 0.0, is_read=is_read))
        worth = self._judge(reasoning, trials, seed)
        return [replace(notes, difference=value.difference, draft_words=value.draft_words) for notes, value in zip(judged, worth, strict=True)]

    @cached_property
    def _asked_later(self) -> set[str]:
        """Pairs whose prompts are those of a later step: in every task the half of them."""
        by_task: dict[str, list[str]] = {}
        for case in self.cases:
            by_task.setdefault(case.pair.task, []).append(case.pair.pair_id)
        return {pair_id for pair_ids in by_task.values() for pair_id in pair_ids[1::2]}

    def evaluate(self, model: TextModel) -> dict[str, Any]:
        """On the held-out pairs, with the same seeds for every adapter: differential reward of each reasoner's first notes, mean reward with both,
        the words of the drafts, the share of their 8-grams that is copied, and the tokens that it took.

        By drafts it is they that are measured. By likelihood the reward of texts is minus the bits per byte of the real ones, and the words are those
        of the first drafts, which decide nothing.
        """
        model = counted = TokenCountingModel(model)
        found = self.deliberate(model, self.held_out, "evaluation")
        trials = [
            NotesTrial(case.pair, case.evidence, reasoner, notes.of(reasoner), notes.of(_OTHER[reasoner]))
            for case, deliberation in zip(self.held_out, found, strict=True)
            for notes in [deliberation.steps[0]]
            for reasoner in REASONERS
            if case.evidence.of(reasoner) is not None
        ]
        worth = self._judge(self._reasoning(model), trials, derive_seed(self.seed, "evaluation"))
        differences = {
            reasoner: [value.difference for trial, value in zip(trials, worth, strict=True) if trial.reasoner == reasoner] for reasoner in REASONERS
        }
        rewards: dict[str, list[float]] = {}
        for trial, value in zip(trials, worth, strict=True):
            rewards.setdefault(trial.pair.task, []).append(value.reward)
        words, copied = self._drafts_of(found, worth)
        return {
            "pairs": len(self.held_out),
            "reward": float(np.mean([value.reward for value in worth])),
            "rewards": {task: float(np.mean(values)) for task, values in rewards.items()},
            "difference": {reasoner: float(np.mean(values)) for reasoner, values in differences.items() if values},
            "differences": {reasoner: [round(value, 6) for value in values] for reasoner, values in differences.items() if values},
            "draft_words": float(np.mean(words)),
            "copied_share": float(np.mean(copied)),
            "unread": sum(deliberation.unread for deliberation in found),
            **counted.tokens,
        }

    def _drafts_of(self, found: Sequence[Deliberation], worth: Sequence[Worth]) -> tuple[list[float], list[float]]:
        """Words and copied share of the drafts that judged, or, where none did, of the held-out pairs' first ones; 0 for ratings."""
        known = [(value.draft_words, value.copied) for value in worth if value.draft_words is not None and value.copied is not None]
        if not known:
            texts = ["" if case.pair.task == "rating" else one.draft for case, one in zip(self.held_out, found, strict=True)]
            copied = [float(copied_from(case.evidence, [text])[0]) for case, text in zip(self.held_out, texts, strict=True)]
            known = [(float(len(text.split())), share) for text, share in zip(texts, copied, strict=True)]
        return [words for words, _ in known], [share for _, share in known]

    def _judge(self, reasoning: DualReasoning, trials: Sequence[NotesTrial], seed: int) -> list[Worth]:
        if self.config.reward == "likelihood":
            return judge_by_likelihood(reasoning, cast("LocalModel", reasoning.model), trials)
        seeds = [derive_seed(seed, "drafts", trial.pair.pair_id) for trial in trials]
        return judge(reasoning, trials, self.reward, seeds, num_drafts=self.config.num_drafts, temperature=self.config.draft_temperature)

    def deliberate(self, model: TextModel, cases: Sequence[Case], purpose: str) -> list[Deliberation]:
        """The first notes and draft of every case."""
        done: dict[str, Deliberation] = {}
        for task in dict.fromkeys(case.pair.request.task for case in cases):
            chosen = [case for case in cases if case.pair.request.task == task]
            seeds = [derive_seed(self.seed, purpose, case.pair.pair_id) for case in chosen]
            written = self._reasoning(model).write([case.pair.request for case in chosen], [case.evidence for case in chosen], seeds)
            done.update((case.pair.pair_id, deliberation) for case, deliberation in zip(chosen, written, strict=True))
        return [done[case.pair.pair_id] for case in cases]

    def _reasoning(self, model: TextModel) -> DualReasoning:
        return DualReasoning(model, self.prompts, steps=0)

    def _adapted(self, adapter: Path | None) -> LocalModel:
        return self.base if adapter is None else self.base.with_adapter(adapter)


def _read_all(reasoner: Reasoner, completions: Sequence[Completion]) -> dict[str, bool]:
    """The distinct notes of a reasoner, and whether one of the completions that hold them has all of their lines to the end."""
    found: dict[str, bool] = {}
    for completion in completions:
        notes = read_notes(reasoner, completion.text)
        if text := notes or completion.text.strip():
            last_line = text.splitlines()[-1].partition(": ")[2]
            is_read = notes is not None and not is_cut(completion.text, last_line, completion.finish_reason)
            found[text] = found.get(text, False) or is_read
    return found


def _best(rounds: Sequence[dict[str, Any]]) -> int:
    """The round with the highest held-out reward; of equals the earliest."""
    return max(range(len(rounds)), key=lambda number: (rounds[number]["held_out"]["reward"], -number))


def _no_pairs(number: int, selection: dict[str, Any]) -> str:
    return (
        f"in round {number} none of {selection['groups']} groups of notes gave a preference pair ({selection['ties']} ties, "
        f"{selection['useless']} without notes that help, {selection['unmatched']} of unequal length); {MORE_PAIRS}"
    )
