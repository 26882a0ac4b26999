"""REST-PG's expectation–maximisation self-training (arXiv:2501.04167, Sec. 3.3).

The start is SFT on reasoning data: paths written with the expected text in view, guarded against leaks, with the real text. Then T rounds:
the E-step samples paths and texts with the current model and keeps those with reward ≥ τ, at most 10 per input; the M-step minimises the
reward-weighted NLL of [z; sampled text], from the base checkpoint each round. Every round is kept and evaluated on held-out pairs.

Deviations from the paper:

- A small model cannot explain a text in hindsight, so the analysed path of the pair with its answer in view (leak-guarded) stands in where the
  model's own hindsight paths were refused.
- The paper trains one task at a time, here one adapter serves all. Rewards of ratings are far higher than those of texts, so a sample's weight
  is its reward over the mean reward of its task.
- The final adapter is the last round's, as in the paper; every round's held-out reward is in `rounds.json`.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from grasper.align.lesson import Lesson
from grasper.align.rounds import finished, take_over
from grasper.align.sft import METRICS_FILE, finetune
from grasper.errors import ConfigError
from grasper.files import write_json
from grasper.models.base import TextModel
from grasper.prompts.templates import AnswerTask
from grasper.reason.gold import choose_gold
from grasper.reason.traces import describe
from grasper.runs import derive_seed

_TOKENS = ("tokens_in", "tokens_out")
_LEAST_REWARD = 1e-3
"""Keeps a sample of no reward at all from having no weight, and a mean from being zero."""


def self_train(lesson: Lesson) -> dict[str, Any]:
    """Run the SFT start (round 0) and `align.rounds` EM rounds; `out_dir/adapter` is the last round's.

    A round whose folder holds `counts.json` and the adapter that it names is finished and not done again; sampling inside a round resumes per batch.

    Returns:
        `rounds`: one mapping per round with its counts and its mean rewards on the held-out pairs (`held_out`, by task), round 0 first.
    """
    out_dir, rounds = lesson.out_dir, []
    for number in range(lesson.config.rounds + 1):
        counts = finished(out_dir / f"round-{number}" / "counts.json", partial(_round, number, lesson))
        rounds.append({"round": number, **counts})
    last = out_dir / f"round-{lesson.config.rounds}"
    take_over(last / "adapter", out_dir)
    shutil.copyfile(last / METRICS_FILE, out_dir / METRICS_FILE)
    write_json(out_dir / "rounds.json", rounds)
    spent = [entry.get(part, {}) for entry in rounds for part in ("traces", "held_out_tokens")]
    return {"rounds": rounds, **{name: sum(part.get(name, 0) for part in spent) for name in _TOKENS}}


def _round(number: int, lesson: Lesson, folder: Path) -> dict[str, Any]:
    """One round in its folder: sampling with the adapter of the round before, training from the base, rewards on the held-out pairs."""
    base = lesson.base
    adapted = base if number == 0 else base.with_adapter(lesson.out_dir / f"round-{number - 1}" / "adapter")
    counts = _train(number, lesson, adapted, folder, seed=derive_seed(lesson.seed, "round", number))
    aligned = base.with_adapter(folder / "adapter")
    counts["held_out"], counts["held_out_tokens"] = held_out_rewards(lesson, aligned, folder / "held-out.jsonl", seed=lesson.seed)
    return counts


def _train(number: int, lesson: Lesson, adapted: TextModel, folder: Path, *, seed: int) -> dict[str, Any]:
    """The sampling of a round by `adapted` and its training from the base."""
    config, pairs = lesson.config, lesson.pairs
    traces = lesson.sample(folder / "traces.jsonl", ("hindsight",) if number == 0 else ("sampled",), seed=seed, model=adapted)
    top_n = 1 if number == 0 else config.max_per_input
    kept = choose_gold(traces, threshold=config.reward_threshold, top_n=top_n, learns_answers=number > 0)
    by_id = {pair.pair_id: pair for pair in pairs}
    if number == 0:
        hindsight = {trace.pair_id: trace.path for trace in kept.traces}
        paths = [hindsight.get(pair.pair_id) or pair.analysed_path(sees_answer=True).render() for pair in pairs]
        sequences = [lesson.sequence(pair, path, pair.answer_lines) for pair, path in zip(pairs, paths, strict=True)]
    else:
        usual = _mean_by_task([(by_id[trace.pair_id].task, trace.reward) for trace in kept.traces])
        sequences = []
        for trace in kept.traces:
            pair = by_id[trace.pair_id]
            weight = max(trace.reward, _LEAST_REWARD) / max(usual[pair.task], _LEAST_REWARD)
            sequences.append(lesson.sequence(pair, trace.path, trace.answer_lines(pair.task), weight=weight))
    if not sequences:
        raise ConfigError(
            f"round {number}: no whole sample reaches align.reward_threshold {config.reward_threshold}; lower it, or raise align.num_samples"
            + (" or prompts.answer_tokens, since samples were cut" if any(trace.is_cut for trace in traces) else "")
        )
    counts = finetune(lesson.base, sequences, lesson.evaluation, config, folder, seed=seed)
    return counts | {"traces": describe(traces), "kept": kept.counts}


def held_out_rewards(lesson: Lesson, model: TextModel, log_path: Path, *, seed: int) -> tuple[dict[str, float], dict[str, int]]:
    """Mean reward by task of one sampled answer per held-out pair, unparsable ones with their best-effort text, and the tokens that they took. Both
    are empty, or zero, without pairs."""
    traces = lesson.sample(log_path, ("sampled",), seed=seed, model=model, pairs=lesson.held_out, num_samples=1)
    task_of = {pair.pair_id: pair.task for pair in lesson.held_out}
    tokens = describe(traces)
    return _mean_by_task([(task_of[trace.pair_id], trace.reward) for trace in traces]), {name: tokens[name] for name in _TOKENS}


def _mean_by_task(rewards: Sequence[tuple[AnswerTask, float]]) -> dict[str, float]:
    tasks = dict.fromkeys(task for task, _ in rewards)
    return {task: float(np.mean([reward for of, reward in rewards if of == task])) for task in tasks}
