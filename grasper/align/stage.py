"""The align stage: which pairs, which paths, which training; one adapter per method, or exemplars for a backbone that cannot be fine-tuned."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grasper.align.em import self_train
from grasper.align.pairs import make_pairs
from grasper.align.sft import TrainingSequence, finetune, make_sequence, pair_sequence
from grasper.config import AlignConfig, PromptConfig
from grasper.errors import ConfigError
from grasper.methods.base import Method
from grasper.models.base import TextModel
from grasper.reason.gold import choose_gold
from grasper.reason.reward import Reward, make_reward
from grasper.reason.traces import Source, Trace, TrainingPair, describe, sample_traces
from grasper.records import Example, Profile, SyntheticReview, Tables
from grasper.retrieve.rank import RankerName, query_of
from grasper.runs import atomic_path, derive_seed, write_text

if TYPE_CHECKING:
    from grasper.models.local import LocalModel


def align(
    config: AlignConfig,
    prompts: PromptConfig,
    method: Method,
    tables: Tables,
    examples: Sequence[Example],
    held_out: Sequence[Example],
    synthetic: Sequence[SyntheticReview],
    model: TextModel,
    out_dir: Path,
    *,
    ranker: RankerName = "bm25",
    seed: int,
) -> dict[str, Any]:
    """Align the model for one method and write `traces.jsonl`, `gold.jsonl`, `adapter/`, `metrics.jsonl` and `README.md`.

    A method without reasoning is trained on the real texts alone. A model that cannot be fine-tuned gets `exemplars.jsonl` instead of an adapter.

    Args:
        examples: The align examples; see `select_pairs`.
        held_out: Examples for the evaluation loss and the rewards of the rounds.
        synthetic: The synthetic reviews of both, for methods that show predicted items.
        model: The base model.

    Raises:
        ConfigError: There are no align examples, or no pair survived the selection.
    """
    if not examples:
        raise ConfigError(
            "this data set has no alignment pairs (no training user's hash is reserved); use more training data, or a method without training"
        )

    def pairs_of(chosen: Sequence[Example]) -> list[TrainingPair]:
        with_reviews = config.review_pairs and method.predicted != "none"
        return make_pairs(method, tables, chosen, synthetic, prompts, with_reviews=with_reviews, ranker=ranker, seed=seed)

    pairs = pairs_of(examples)
    reward = make_reward(config.reward, judge=model if config.reward == "judge" else None)
    counts: dict[str, Any] = {"pairs": len(pairs), "zero_history_pairs": sum(not pair.profile.own for pair in pairs)}
    if not is_trainable(model):
        return counts | _write_exemplars(config, prompts, method, pairs, reward, model, out_dir, seed=seed)

    from grasper.models.local import LocalModel

    assert isinstance(model, LocalModel)
    unseen = pairs_of(held_out)
    evaluation = [evaluation_sequence(pair, method, prompts, model) for pair in unseen]
    if method.training == "em":
        counts |= self_train(config, prompts, pairs, unseen, evaluation, reward, model, out_dir, seed=seed)
    else:
        solved, selection = _solve(config, prompts, method, pairs, reward, model, out_dir, seed=seed)
        sequences = [pair_sequence(model, one.pair, one.path, one.answer, prompts, config) for one in solved]
        counts |= selection | finetune(model, sequences, evaluation, config, out_dir, seed=derive_seed(seed, "sft"))
    write_text(out_dir / "README.md", _model_card(method, model, config, counts))
    return counts


def is_trainable(model: TextModel) -> bool:
    """Whether an adapter can be trained: only a model in this process has weights to adapt."""
    return hasattr(model, "tokenizer")


@dataclass(frozen=True, slots=True)
class Solved:
    """A pair with the answer that is to be learned."""

    pair: TrainingPair
    path: str
    """Empty for methods without reasoning."""
    answer: str
    """The lines of the task."""


def _solve(
    config: AlignConfig,
    prompts: PromptConfig,
    method: Method,
    pairs: Sequence[TrainingPair],
    reward: Reward,
    model: TextModel,
    out_dir: Path,
    *,
    seed: int,
) -> tuple[list[Solved], dict[str, Any]]:
    """What a method learns, with counts: [Z*; real text] of every pair with a gold path, or by `align.gold_text` [Z*; sampled text].

    Without reasoning it is the text alone; nothing is sampled for real ones. REST-PG's samples are for a backbone that cannot be fine-tuned.

    Raises:
        ConfigError: No pair is left.
    """
    is_real = config.gold_text == "real" and method.training != "em"
    counts: dict[str, Any] = {}
    if is_real and not method.reasoning:
        solved = [Solved(pair, "", pair.answer_lines) for pair in pairs]
    else:
        sources: Sequence[Source] = config.sources if method.reasoning else ("direct",)
        gold, counts = _sample_gold(config, prompts, pairs, sources, reward, model, out_dir, seed=seed)
        by_id = {pair.pair_id: pair for pair in pairs}
        chosen = [(by_id[trace.pair_id], trace) for trace in gold]
        solved = [Solved(pair, trace.path, pair.answer_lines if is_real else trace.answer_lines(pair.task)) for pair, trace in chosen]
    if not solved:
        raise ConfigError("no training pair is left to align on; lower align.reward_threshold, or raise align.num_pairs or align.num_samples")
    return solved, counts


def evaluation_sequence(pair: TrainingPair, method: Method, prompts: PromptConfig, model: LocalModel) -> TrainingSequence:
    """A held-out pair for the evaluation loss: the path that the visible evidence suggests, then the real text."""
    prompt = pair.render(reasoning=method.reasoning, config=prompts, model=model)
    path = pair.analysed_path(sees_answer=False).render() if method.reasoning else ""
    # Only the real text counts, so that the losses of methods with and without reasoning can be compared.
    return make_sequence(model, prompt, path, pair.answer_lines, pair.task, path_weight=0.0)


def _sample_gold(
    config: AlignConfig,
    prompts: PromptConfig,
    pairs: Sequence[TrainingPair],
    sources: Sequence[Source],
    reward: Reward,
    model: TextModel,
    out_dir: Path,
    *,
    seed: int,
) -> tuple[tuple[Trace, ...], dict[str, Any]]:
    """Sample paths and texts, and choose the gold ones by reward (GraSPer, Sec. 3.2)."""
    traces = sample_traces(
        pairs,
        model,
        reward,
        out_dir / "traces.jsonl",
        prompts=prompts,
        sources=sources,
        num_samples=config.num_samples,
        temperature=config.temperature,
        top_p=config.top_p,
        seed=seed,
    )
    gold = choose_gold(traces, threshold=config.reward_threshold, top_n=config.top_n)
    write_lines(
        out_dir / "gold.jsonl",
        [{"pair_id": t.pair_id, "source": t.source, "path": t.path, "answer": t.answer, "reward": t.reward} for t in gold.traces],
    )
    sampled = describe(traces)
    return gold.traces, {"traces": sampled, "gold": gold.counts, "tokens_in": sampled["tokens_in"], "tokens_out": sampled["tokens_out"]}


def _write_exemplars(
    config: AlignConfig,
    prompts: PromptConfig,
    method: Method,
    pairs: Sequence[TrainingPair],
    reward: Reward,
    model: TextModel,
    out_dir: Path,
    *,
    seed: int,
) -> dict[str, Any]:
    """Gold answers [Z*; t] as solved requests for a backbone that cannot be fine-tuned."""
    solved, counts = _solve(config, prompts, method, pairs, reward, model, out_dir, seed=seed)
    records = [
        {
            "task": one.pair.task,
            "query": query_of(one.pair.request),
            "question": replace(one.pair, profile=Profile()).render(reasoning=method.reasoning, config=prompts, model=model).messages[-1].content,
            "answer": f"{one.path}\n{one.answer}" if one.path else one.answer,
        }
        for one in solved
    ]
    write_lines(out_dir / "exemplars.jsonl", records)
    return {**counts, "exemplars": len(records)}


def write_lines(path: Path, records: Sequence[dict[str, Any]]) -> None:
    """A JSONL file, at once or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records), encoding="utf-8")


def _model_card(method: Method, model: LocalModel, config: AlignConfig, counts: dict[str, Any]) -> str:
    """What the adapter is, from the facts of its training."""
    facts = {name: value for name, value in counts.items() if not isinstance(value, dict | list)}
    rows = "\n".join(f"| {name} | {value} |" for name, value in facts.items())
    if method.training == "em":
        content = "[reasoning path; sampled text], weighted by reward,"
    else:
        content = f"[gold reasoning path; {config.gold_text} text]" if method.reasoning else f"[{config.gold_text} text]"
    return f"""---
base_model: {model.name}
library_name: peft
tags: [grasper, lora, personalization]
---

# Adapter of `{method.name}`

A LoRA adapter on `{model.name}`, made by `grasper align`: {method.description}.

Trained on {content}
of reserved training users, with rank {config.lora_rank}, α {config.lora_alpha}, dropout {config.lora_dropout} on {", ".join(config.target_modules)},
learning rate {config.learning_rate}, {config.epochs:g} epochs, path weight {config.path_weight:g}.

| fact | value |
|---|---|
{rows}

Load it with `grasper`, or with peft: `PeftModel.from_pretrained(base, "adapter")`. It shares the licence and the limits of its base model and of the
reviews that it was trained on.
"""
