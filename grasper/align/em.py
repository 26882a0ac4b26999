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
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from grasper.align.sft import METRICS_FILE, TrainingSequence, finetune, pair_sequence, replace_folder
from grasper.config import AlignConfig, PromptConfig
from grasper.errors import ConfigError
from grasper.prompts.templates import AnswerTask
from grasper.reason.gold import choose_gold
from grasper.reason.reward import Reward
from grasper.reason.traces import TrainingPair, describe, sample_traces
from grasper.runs import derive_seed, read_json, write_json

if TYPE_CHECKING:
    from grasper.models.local import LocalModel

_LEAST_REWARD = 1e-3
"""Keeps a sample of no reward at all from having no weight, and a mean from being zero."""


def self_train(
    config: AlignConfig,
    prompts: PromptConfig,
    pairs: Sequence[TrainingPair],
    held_out: Sequence[TrainingPair],
    evaluation: Sequence[TrainingSequence],
    reward: Reward,
    model: LocalModel,
    out_dir: Path,
    *,
    seed: int,
) -> dict[str, Any]:
    """Run the SFT start (round 0) and `config.rounds` EM rounds; `out_dir/adapter` is the last round's.

    A round whose folder holds `counts.json` is finished and not done again; sampling inside a round resumes per batch.

    Returns:
        `rounds`: one mapping per round with its counts and its mean rewards on the held-out pairs (`held_out`, by task), round 0 first.
    """
    rounds = []
    for number in range(config.rounds + 1):
        folder = out_dir / f"round-{number}"
        if not (folder / "counts.json").exists():
            adapted = model if number == 0 else model.with_adapter(out_dir / f"round-{number - 1}" / "adapter")
            counts = _round(number, config, prompts, pairs, evaluation, reward, model, adapted, folder, seed=derive_seed(seed, "round", number))
            aligned = model.with_adapter(folder / "adapter")
            counts["held_out"] = held_out_rewards(aligned, held_out, reward, config, prompts, folder / "held-out.jsonl", seed=seed)
            write_json(folder / "counts.json", counts)
        rounds.append({"round": number, **read_json(folder / "counts.json")})
    last = out_dir / f"round-{config.rounds}"
    shutil.copytree(last / "adapter", out_dir / "adapter.part", dirs_exist_ok=True)
    replace_folder(out_dir / "adapter.part", out_dir / "adapter")
    shutil.copyfile(last / METRICS_FILE, out_dir / METRICS_FILE)
    write_json(out_dir / "rounds.json", rounds)
    total = {name: sum(entry.get("traces", {}).get(name, 0) for entry in rounds) for name in ("tokens_in", "tokens_out")}
    return {"rounds": rounds, **total}


def _round(
    number: int,
    config: AlignConfig,
    prompts: PromptConfig,
    pairs: Sequence[TrainingPair],
    evaluation: Sequence[TrainingSequence],
    reward: Reward,
    base: LocalModel,
    adapted: LocalModel,
    folder: Path,
    *,
    seed: int,
) -> dict[str, Any]:
    """One round: its sampling by `adapted` and its training from `base`."""
    traces = sample_traces(
        pairs,
        adapted,
        reward,
        folder / "traces.jsonl",
        prompts=prompts,
        sources=("hindsight",) if number == 0 else ("sampled",),
        num_samples=config.num_samples,
        temperature=config.temperature,
        top_p=config.top_p,
        seed=seed,
    )
    kept = choose_gold(traces, threshold=config.reward_threshold, top_n=1 if number == 0 else config.max_per_input)
    by_id = {pair.pair_id: pair for pair in pairs}
    sequences = []
    if number == 0:
        hindsight = {trace.pair_id: trace.path for trace in kept.traces}
        for pair in pairs:
            path = hindsight.get(pair.pair_id) or pair.analysed_path(sees_answer=True).render()
            sequences.append(pair_sequence(base, pair, path, pair.answer_lines, prompts, config))
    else:
        usual = _mean_by_task([(by_id[trace.pair_id].task, trace.reward) for trace in kept.traces])
        for trace in kept.traces:
            pair = by_id[trace.pair_id]
            weight = max(trace.reward, _LEAST_REWARD) / max(usual[pair.task], _LEAST_REWARD)
            sequences.append(pair_sequence(base, pair, trace.path, trace.answer_lines(pair.task), prompts, config, weight=weight))
    if not sequences:
        raise ConfigError(f"round {number}: no sample reaches align.reward_threshold {config.reward_threshold}; lower it, or raise align.num_samples")
    counts = finetune(base, sequences, evaluation, config, folder, seed=seed)
    return counts | {"traces": describe(traces), "kept": kept.counts}


def held_out_rewards(
    model: LocalModel,
    pairs: Sequence[TrainingPair],
    reward: Reward,
    config: AlignConfig,
    prompts: PromptConfig,
    log_path: Path,
    *,
    seed: int,
) -> dict[str, float]:
    """Mean reward by task of one sampled answer per pair; unparsable ones count with their best-effort text. Empty without pairs."""
    traces = sample_traces(
        pairs,
        model,
        reward,
        log_path,
        prompts=prompts,
        sources=("sampled",),
        num_samples=1,
        temperature=config.temperature,
        top_p=config.top_p,
        seed=seed,
    )
    task_of = {pair.pair_id: pair.task for pair in pairs}
    return _mean_by_task([(task_of[trace.pair_id], trace.reward) for trace in traces])


def _mean_by_task(rewards: Sequence[tuple[AnswerTask, float]]) -> dict[str, float]:
    tasks = dict.fromkeys(task for task, _ in rewards)
    return {task: float(np.mean([reward for of, reward in rewards if of == task])) for task in tasks}
