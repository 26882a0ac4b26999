"""The align stage: which pairs, which training; one adapter per method, or exemplars for a backbone that cannot be fine-tuned."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grasper.align.dual import train_by_preference, train_roles
from grasper.align.em import self_train
from grasper.align.gold import solve, train_on_gold
from grasper.align.lesson import Lesson
from grasper.align.pairs import make_pairs
from grasper.config import AlignConfig
from grasper.desk import Desk
from grasper.errors import ConfigError
from grasper.files import write_lines, write_text
from grasper.methods.base import Method
from grasper.models.base import TextModel
from grasper.reason.likelihood import require_likelihoods
from grasper.reason.reward import PathReward, Reward, make_reward
from grasper.records import Example, Output, Profile, SyntheticReview
from grasper.registry import Registry
from grasper.retrieve.rank import query_of

if TYPE_CHECKING:
    from grasper.models.local import LocalModel

Trainer = Callable[[Lesson], dict[str, Any]]
"""Trains an adapter into `lesson.out_dir / "adapter"` and gives the counts of the manifest."""

TRAINERS: Registry[Trainer] = Registry("trainer")
"""How a method's model is trained, by the name that `Method.training` declares."""
TRAINERS.register("gold", train_on_gold)
TRAINERS.register("em", self_train)
TRAINERS.register("roles", train_roles)
TRAINERS.register("dpo", train_by_preference)


def align(
    config: AlignConfig,
    desk: Desk,
    examples: Sequence[Example],
    held_out: Sequence[Example],
    synthetic: Sequence[SyntheticReview],
    out_dir: Path,
    *,
    seed: int,
    consensus: Sequence[Output] = (),
) -> dict[str, Any]:
    """Align the model for one method and write `adapter/`, `metrics.jsonl` and `README.md`, and what its trainer leaves (`traces.jsonl` …).

    A method without reasoning is trained on the real texts alone. A model that cannot be fine-tuned gets `exemplars.jsonl` instead of an adapter.

    Args:
        desk: The method's desk, with the base model.
        examples: The align examples; see `select_pairs`.
        held_out: Examples for the evaluation loss and the rewards of the rounds.
        synthetic: The synthetic reviews of both, for methods that show predicted items.
        consensus: The model's own texts of align examples that are to be learned without a path, in the place of the real ones.

    Raises:
        UnknownNameError: The method declares a training that no trainer is registered for.
        ConfigError: There are no align examples, the reward cannot judge what is to be learned, or no pair survived the selection.
    """
    method, model = desk.method, desk.model
    trainer = TRAINERS.get(method.training)
    if not examples:
        raise ConfigError(
            "this data set has no alignment pairs (no training user's hash is reserved); use more training data, or a method without training"
        )
    pairs, unseen = (make_pairs(desk, chosen, synthetic, with_reviews=config.review_pairs) for chosen in (examples, held_out))
    reward = make_reward(config.reward, judge=model)
    if method.training == "dpo":
        _check_reward_of_notes(method, config, model, reward)
    elif isinstance(reward, PathReward):
        _check_learned_texts(method, config)
    written = {output.example_id: output.text for output in consensus if output.is_parsed and output.text and not output.is_cut}
    asked = make_pairs(desk, [example for example in examples if example.example_id in written], synthetic, tasks=("long",))
    lesson = Lesson(config, desk, pairs, unseen, reward, out_dir, seed, [(pair, written[pair.example.example_id]) for pair in asked])
    counts: dict[str, Any] = {"pairs": len(pairs), "zero_history_pairs": sum(not pair.profile.own for pair in pairs)}
    if not is_trainable(model):
        return counts | _write_exemplars(lesson)
    counts |= trainer(lesson)
    write_text(out_dir / "README.md", _model_card(method, lesson.base, config, counts))
    return counts


def _check_reward_of_notes(method: Method, config: AlignConfig, model: TextModel, reward: Reward) -> None:
    """Raise where the notes of a method cannot be judged as the settings ask."""
    if config.dpo.reward == "likelihood":
        require_likelihoods(model, "align.dpo.reward")
    elif isinstance(reward, PathReward):
        raise ConfigError(
            f"align.reward={config.reward} scores reasoning paths, and the notes of {method.name} are judged by drafts; "
            "choose align.reward=mean, or align.dpo.reward=likelihood"
        )


def _check_learned_texts(method: Method, config: AlignConfig) -> None:
    """Raise where sampled texts are to be learned that the reward of paths does not look at."""
    if method.training == "em" or (method.training == "gold" and config.gold_text == "sampled"):
        advice = "" if method.training == "em" else ", or align.gold_text=real"
        raise ConfigError(
            f"align.reward={config.reward} scores reasoning paths and not the texts behind them, and {method.name} is to learn sampled texts; "
            f"choose align.reward=mean{advice}"
        )


def is_trainable(model: TextModel) -> bool:
    """Whether an adapter can be trained: only a model in this process has weights to adapt."""
    return hasattr(model, "tokenizer")


def _write_exemplars(lesson: Lesson) -> dict[str, Any]:
    """Gold answers [Z*; t] as solved requests for a backbone that cannot be fine-tuned."""
    desk = lesson.desk
    solved, counts = solve(lesson)
    records = []
    for one in solved:
        if desk.method.reasoning and not one.path:
            continue  # plain answers (`align.plain`) are for training: as an example one would teach to leave out the path that is asked for
        bare = replace(one.pair, profile=Profile())
        question = bare.render(reasoning=desk.method.reasoning, config=desk.prompts, model=desk.model).messages[-1].content
        answer = f"{one.path}\n{one.answer}" if one.path else one.answer
        known = {"task": one.pair.task, "user_id": one.pair.request.user_id, "query": query_of(one.pair.request)}
        records.append({**known, "question": question, "answer": answer})
    if not records:
        raise ConfigError(
            "no pair has a gold path to show as an example; lower align.reward_threshold, or raise align.num_pairs or align.num_samples"
        )
    write_lines(lesson.out_dir / "exemplars.jsonl", records)
    return {**counts, "exemplars": len(records)}


def _model_card(method: Method, model: LocalModel, config: AlignConfig, counts: dict[str, Any]) -> str:
    """What the adapter is, from the facts of its training."""
    facts = {name: value for name, value in counts.items() if not isinstance(value, dict | list)}
    rows = "\n".join(f"| {name} | {value} |" for name, value in facts.items())
    if method.trajectories:
        rounds = ", then on preferences among the reasoners' notes" if method.training == "dpo" else ""
        content = f"notes, drafts and revisions of each role{rounds},"
    elif method.training == "em":
        content = "[reasoning path; sampled text], weighted by reward,"
    else:
        content = f"[gold reasoning path; {config.gold_text} text]" if method.reasoning else f"[{config.gold_text} text]"
    weighted = f", path weight {config.path_weight:g}" if method.training == "gold" and method.reasoning else ""
    return f"""---
base_model: {model.name}
library_name: peft
tags: [grasper, lora, personalization]
---

# Adapter of `{method.name}`

A LoRA adapter on `{model.name}`, made by `grasper align`: {method.description}.

Trained on {content}
of reserved training users, with rank {config.lora_rank}, α {config.lora_alpha}, dropout {config.lora_dropout} on {", ".join(config.target_modules)},
learning rate {config.learning_rate}, {config.epochs:g} epochs{weighted}.

| fact | value |
|---|---|
{rows}

Load it with `grasper`, or with peft: `PeftModel.from_pretrained(base, "adapter")`. It shares the licence and the limits of its base model and of the
reviews that it was trained on.
"""
