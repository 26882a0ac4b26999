"""LoRA fine-tuning on reasoning paths and texts, through transformers' Trainer, peft and accelerate (GraSPer, Sec. 3.2).

The loss is the token NLL over the concatenation [Z*; t] with the prompt masked. Deviations from the paper:

- Eq. (9) as printed holds only t. Here a weight on the tokens of Z* covers both readings: 1 trains path and text jointly, 0 is the printed equation.
  REST-PG's loss is joint, and its paths always weigh 1.
- A sequence may carry a weight of its own: REST-PG's M-step weights by reward (Sec. 3.3 there).
"""

from __future__ import annotations

import json
import shutil
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from peft import LoraConfig, PeftModel
from transformers import PrinterCallback, TrainingArguments

from grasper.align.checkpoints import newest_whole
from grasper.align.trainer import ShowProgress, WeightedTrainer, collate, on_device, save_adapter, shared_arguments, undone_checkpointing
from grasper.config import AlignConfig, PromptConfig
from grasper.errors import ConfigError
from grasper.files import write_text
from grasper.memory import give_back
from grasper.models.base import Prompt
from grasper.models.room import room_to_train
from grasper.models.spelling import without_surrogates
from grasper.models.weights import without_future_warnings

if TYPE_CHECKING:
    from grasper.models.local import LocalModel
    from grasper.reason.pair import TrainingPair

METRICS_FILE = "metrics.jsonl"
LOGGED_STEPS = 5
"""A logged loss is the mean of so many steps. Checkpoints fall on the ends of such spans, so that a resumed training logs what a whole one does."""


@dataclass(frozen=True)
class TrainingSequence:
    """One tokenised training pair: `ids` = prompt + completion + end token; `weights` per token, 0 over the prompt; and what is asked for."""

    ids: list[int]
    weights: list[float]
    task: str


def make_sequence(
    model: LocalModel, prompt: Prompt, path: str, answer: str, task: str, *, path_weight: float, weight: float = 1.0
) -> TrainingSequence:
    """Tokenise prompt, path and answer as at inference, and weight each token. Where the template opens a thought, its end belongs to the path.

    A sequence that is longer than the model's context is cut at its end; the end token is then not trained on. One that keeps nothing of its answer
    has no weight at all, so that no path is learned without what it leads to.

    Args:
        model: Gives tokenizer and chat template.
        prompt: The rendered request.
        path: Reasoning path Z*, empty for methods without reasoning.
        answer: The answer sections that follow the path.
        task: What is asked for; see `balance_tasks`.
        path_weight: Weight of the path's tokens relative to the answer's (≥ 0).
        weight: Weight of the whole pair (> 0).
    """
    prompt_ids = model.encode(prompt)
    begun = model.begin_answer(prompt_ids)
    head = f"{path}\n" if path else ""
    answer_ids, spans = model.backbone.encode_plain(without_surrogates(head + answer))
    is_before = [*(True for _ in begun), *(end <= len(head) for _, end in spans)]
    token_weights = [path_weight * weight if before else weight for before in is_before]
    ids = [*prompt_ids, *begun, *answer_ids, *model.turn_end]
    weights = [*([0.0] * len(prompt_ids)), *token_weights, *(weight for _ in model.turn_end)]
    if len(prompt_ids) + sum(is_before) >= model.context_tokens:
        weights = [0.0] * len(ids)
    return TrainingSequence(ids[: model.context_tokens], weights[: model.context_tokens], task)


def pair_sequence(
    model: LocalModel, pair: TrainingPair, path: str, answer: str, prompts: PromptConfig, *, path_weight: float, weight: float = 1.0
) -> TrainingSequence:
    """One sequence [prompt; path; answer] of a pair; without a path the prompt asks for none."""
    prompt = pair.render(reasoning=bool(path), config=prompts, model=model)
    return make_sequence(model, prompt, path, answer, pair.task, path_weight=path_weight, weight=weight)


def balance_tasks(sequences: Sequence[TrainingSequence]) -> list[TrainingSequence]:
    """The sequences with weights that add up to 1 per sequence, on average over each task.

    Tasks then count by their number of pairs (a title would else drown in the texts), and within a task every token counts alike, whether its
    sequence is short or long.
    """
    totals: dict[str, list[float]] = defaultdict(list)
    for sequence in sequences:
        totals[sequence.task].append(sum(sequence.weights))
    factor = {task: len(sums) / sum(sums) if any(sums) else 0.0 for task, sums in totals.items()}
    return [replace(sequence, weights=[weight * factor[sequence.task] for weight in sequence.weights]) for sequence in sequences]


def finetune(
    model: LocalModel,
    train: Sequence[TrainingSequence],
    evaluation: Sequence[TrainingSequence],
    config: AlignConfig,
    out_dir: Path,
    *,
    seed: int,
) -> dict[str, Any]:
    """Train a LoRA adapter into `out_dir/adapter` and log losses to `out_dir/metrics.jsonl`; resumes from `out_dir/checkpoints`.

    The base model is left as it was, and other threads wait for it. Sequences without weight are left out. Returns counts: sequences, those left out,
    tokens, steps, losses.

    Raises:
        ConfigError: No training sequence, or target modules that the model lacks.
        ModelError: The loss is not a finite number, or a GPU has no room for a step.
        CheckpointError: A checkpoint cannot be written.
    """
    asked = len(train)
    train, evaluation = ([sequence for sequence in sequences if any(sequence.weights)] for sequences in (train, evaluation))
    if not train:
        raise ConfigError("no training pair is left to align on; lower align.reward_threshold, or raise align.num_pairs or align.num_samples")

    checkpoint_dir = out_dir / "checkpoints"
    with without_future_warnings():  # the name of checkpointing is a coming version's
        arguments = TrainingArguments(
            output_dir=str(checkpoint_dir),
            per_device_train_batch_size=config.batch_size,
            per_device_eval_batch_size=config.batch_size,
            num_train_epochs=config.epochs,
            learning_rate=config.learning_rate,
            logging_steps=LOGGED_STEPS,
            logging_first_step=True,
            eval_strategy="epoch" if evaluation else "no",
            save_strategy="steps",
            save_steps=LOGGED_STEPS * max(1, min(10, len(train) // config.batch_size // (2 * LOGGED_STEPS))),
            remove_unused_columns=False,
            label_names=[],
            report_to=["trackio"] if config.log_to_trackio else [],
            **shared_arguments(model, config.batch_size * max(len(sequence.ids) for sequence in (*train, *evaluation)), seed),
        )
    give_back()  # what sampling left, before the pages of training come on top
    with (
        room_to_train("align.batch_size"),
        preserved_random_state(seed),
        on_device(arguments, model.device),
        model.backbone.training(new_adapter(config)) as peft_model,
        undone_checkpointing(model.model),
        ShowProgress() as progress,
    ):
        trainer = WeightedTrainer(
            seed,
            model=peft_model,
            args=arguments,
            data_collator=lambda batch: collate(batch, model.pad_id),
            train_dataset=_rows(balance_tasks(train)),
            eval_dataset=_rows(balance_tasks(evaluation)) or None,
            callbacks=[progress],
        )
        trainer.remove_callback(PrinterCallback)
        checkpoint = newest_whole(checkpoint_dir)
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        evaluated = [entry["step"] for entry in trainer.state.log_history if "eval_loss" in entry]
        if trainer.eval_dataset is not None and trainer.state.global_step not in evaluated:
            trainer.evaluate()  # a run that was killed after its last checkpoint
        keep_training(peft_model, trainer.state.log_history, out_dir)
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    evaluations = [entry["eval_loss"] for entry in trainer.state.log_history if "eval_loss" in entry]
    return {
        "sequences": len(train),
        "without_answer": asked - len(train),
        "tokens": sum(len(sequence.ids) for sequence in train),
        "steps": trainer.state.global_step,
        "first_loss": losses[0] if losses else None,
        "last_loss": losses[-1] if losses else None,
        "eval_loss": evaluations[-1] if evaluations else None,
    }


def _rows(sequences: Sequence[TrainingSequence]) -> list[dict[str, Any]]:
    return [{"input_ids": sequence.ids, "weights": sequence.weights} for sequence in sequences]


def new_adapter(config: AlignConfig) -> LoraConfig:
    """The shape of a new adapter."""
    return LoraConfig(
        r=config.lora_rank,
        lora_alpha=config.lora_alpha,
        lora_dropout=config.lora_dropout,
        target_modules=list(config.target_modules),
        task_type="CAUSAL_LM",
    )


def keep_training(peft_model: PeftModel, history: list[dict[str, Any]], out_dir: Path) -> None:
    """Write the trained adapter alone as safetensors into `out_dir/adapter`, complete or not at all, and the log of the training beside it."""
    part = out_dir / "adapter.part"
    save_adapter(peft_model, part)
    (part / "README.md").unlink(missing_ok=True)
    replace_folder(part, out_dir / "adapter")
    write_text(out_dir / METRICS_FILE, "".join(json.dumps(entry) + "\n" for entry in history))


def replace_folder(new: Path, old: Path) -> None:
    """Put a finished folder in the place of one that an interrupted run may have left there."""
    if old.exists():
        shutil.rmtree(old)
    new.replace(old)


@contextmanager
def preserved_random_state(seed: int) -> Iterator[None]:
    """Run a library that seeds the global generators, and leave them as they were."""
    import random

    import numpy as np

    python_state, numpy_state = random.getstate(), np.random.get_state()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        try:
            yield
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)
