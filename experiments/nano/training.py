"""One training loop for both phases: batches of weighted tokens → a better model, with checkpoints to resume from.

Hidden matrices are stepped by Muon (Jordan et al. 2024: orthogonalised momentum), embeddings and norms by AdamW. The learning rate
warms up, stays, and in the last part falls to zero in a line (warm-up, stable, decay), so a run may end whenever the time is over.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import LlamaConfig, LlamaForCausalLM

from experiments.nano.workers import add_gradients, agree
from grasper.errors import RunMismatchError

MUON_LEARNING_RATE = 0.02
ADAM_LEARNING_RATE = 3e-3
GRADIENT_CLIP = 1.0
CHECKPOINT_SECONDS = 300.0
LOG_EVERY_STEPS = 10


@dataclass(frozen=True)
class Batch:
    """Token ids and the weight of each as something to be predicted, both `[rows, length + 1]`; weights in [0, 1]."""

    ids: Tensor
    weights: Tensor


@dataclass(frozen=True)
class Schedule:
    """How the learning rate goes: up over `warmup_steps`, constant, and down to zero from `decay_from` of the budget on.

    The budget is whichever is used up first of `tokens` and `seconds`.
    """

    tokens: int
    seconds: float
    warmup_steps: int = 60
    decay_from: float = 1.0

    def used(self, tokens: int, seconds: float) -> float:
        """Gives the share of the budget that is used up; 1 or more means: stop."""
        return max(tokens / self.tokens, seconds / self.seconds)

    def rate(self, step: int, used: float) -> float:
        """Gives the factor of the learning rate, in [0, 1]."""
        warm = min(1.0, (step + 1) / self.warmup_steps)
        falling = 1.0 if used <= self.decay_from else max(0.0, (1 - used) / (1 - self.decay_from))
        return warm * falling


@dataclass
class PhaseProgress:
    """Where a phase stands; all of it is in the checkpoint."""

    phase: str
    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    position: dict[str, int] = field(default_factory=dict)


def make_model(vocab_size: int, context_length: int, *, hidden_size: int, num_layers: int, num_heads: int, seed: int) -> LlamaForCausalLM:
    """Gives a Llama-architecture model with random weights; head and embedding are one matrix."""
    config = LlamaConfig(
        vocab_size=vocab_size,
        hidden_size=hidden_size,
        intermediate_size=int(hidden_size * 2.75),
        num_hidden_layers=num_layers,
        num_attention_heads=num_heads,
        num_key_value_heads=num_heads,
        max_position_embeddings=context_length,
        tie_word_embeddings=True,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=None,
        initializer_range=0.02,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
    for layer in model.model.layers:  # each layer starts as the identity, which lets the first steps be large
        torch.nn.init.zeros_(layer.self_attn.o_proj.weight)
        torch.nn.init.zeros_(layer.mlp.down_proj.weight)
    return model


def weighted_loss(model: LlamaForCausalLM, ids: Tensor, weights: Tensor) -> Tensor:
    """Sum of the cross-entropies in nats, each times the weight of the token to be predicted.

    Args:
        model: The model; bfloat16 products are used where autocast is on.
        ids: Token ids, `[rows, length + 1]`.
        weights: Weight of each token, `[rows, length + 1]`; the first column is not predicted.
    """
    with torch.autocast(ids.device.type, torch.bfloat16):
        hidden = model.model(input_ids=ids[:, :-1], use_cache=False).last_hidden_state
        logits = model.lm_head(hidden)
    losses = F.cross_entropy(logits.float().flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
    return (losses * weights[:, 1:].flatten()).sum()


def make_optimizers(model: LlamaForCausalLM) -> list[torch.optim.Optimizer]:
    """Gives Muon for the hidden matrices and AdamW for the rest; each group keeps its base rate as `full_lr`."""
    matrices = [p for p in model.model.layers.parameters() if p.ndim == 2]
    others = [p for p in model.parameters() if all(p is not m for m in matrices)]
    optimizers = [
        torch.optim.Muon(matrices, lr=MUON_LEARNING_RATE, momentum=0.95, weight_decay=0.05, adjust_lr_fn="original"),
        torch.optim.AdamW(others, lr=ADAM_LEARNING_RATE, betas=(0.9, 0.95), weight_decay=0.0, fused=True),
    ]
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["full_lr"] = group["lr"]
    return optimizers


def save_checkpoint(path: Path, model: LlamaForCausalLM, optimizers: list[torch.optim.Optimizer], progress: PhaseProgress) -> None:
    """Writes everything that a resumed run needs; the file is replaced in one step, so a kill leaves the old or the new one."""
    content = {
        "config": architecture(model.config),
        "model": model.state_dict(),
        "optimizers": [optimizer.state_dict() for optimizer in optimizers],
        "progress": vars(progress),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    torch.save(content, partial)
    os.replace(partial, path)


def load_checkpoint(path: Path, model: LlamaForCausalLM, optimizers: list[torch.optim.Optimizer] | None = None) -> PhaseProgress:
    """Fills model and optimizers from a checkpoint and gives the progress that it holds.

    Raises:
        RunMismatchError: The checkpoint is of a model of another shape, or is damaged.
    """
    content = read_checkpoint(path)
    expected, found = architecture(model.config), content["config"]
    if expected != found:
        different = ", ".join(f"{key} is {found.get(key)}, expected {value}" for key, value in expected.items() if found.get(key) != value)
        raise RunMismatchError(f"{path}: checkpoint of another configuration: {different}; remove it or name another --work folder")
    model.load_state_dict(content["model"])
    for optimizer, state in zip(optimizers or [], content["optimizers"], strict=False):
        optimizer.load_state_dict(state)
    return PhaseProgress(**content["progress"])


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Gives the content of a checkpoint file.

    Raises:
        RunMismatchError: The file is not a checkpoint.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        return {key: content[key] for key in ("config", "model", "optimizers", "progress")}
    except (RuntimeError, KeyError, TypeError, EOFError, ValueError) as error:
        raise RunMismatchError(f"{path}: expected a checkpoint of nano, could not read one ({error}); remove it to start anew") from error


def architecture(config: LlamaConfig) -> dict[str, int]:
    """Gives the numbers that fix the shapes of all weights."""
    names = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads")
    return {name: getattr(config, name) for name in names}


def train(
    model: LlamaForCausalLM,
    batches: Iterable[tuple[list[Batch], dict[str, int]]],
    schedule: Schedule,
    progress: PhaseProgress,
    optimizers: list[torch.optim.Optimizer],
    work_dir: Path,
    *,
    worker: int,
    num_workers: int,
    validate: Callable[[], float],
    compile_model: bool = True,
) -> PhaseProgress:
    """Steps the model until the budget is used up or the process is told to end, and gives where it stands.

    Args:
        model: Stepped in place.
        batches: For each step its micro-batches, and the data position after it.
        schedule: Budget and learning rate.
        progress: Where the phase stands; carried on.
        optimizers: From `make_optimizers`.
        work_dir: Gets `<phase>.pt` every five minutes and `<phase>.jsonl` with losses in nats a token and tokens a second.
        worker: Number of this process; it takes every `num_workers`-th micro-batch, and the first one writes the files.
        num_workers: How many processes train together.
        validate: Gives the validation loss, written at every checkpoint.
        compile_model: Whether to compile the loss with inductor, which needs a C compiler.
    """
    loss_function = torch.compile(weighted_loss, dynamic=False) if compile_model else weighted_loss
    checkpoint_path, log_path = work_dir / f"{progress.phase}.pt", work_dir / f"{progress.phase}.jsonl"
    stopping: list[int] = []
    previous = signal.signal(signal.SIGTERM, lambda number, frame: stopping.append(number))
    started, before = time.monotonic(), progress.seconds
    last_checkpoint = last_log = started
    tokens_at_log, total, total_weight = progress.tokens, 0.0, 0.0
    device = next(model.parameters()).device

    def checkpoint() -> None:
        if worker == 0:
            save_checkpoint(checkpoint_path, model, optimizers, progress)
            _append(log_path, {**_where(progress), "validation_loss": round(validate(), 4)})

    model.train()
    for micro_batches, position in batches:
        progress.seconds = before + time.monotonic() - started
        used = agree(1.0 if stopping else schedule.used(progress.tokens, progress.seconds), device)
        if used >= 1:
            break
        weight = sum(float(batch.weights[:, 1:].sum()) for batch in micro_batches)
        for batch in micro_batches[worker::num_workers]:
            loss = loss_function(model, batch.ids.to(device), batch.weights.to(device)) / weight
            loss.backward()
            total += float(loss.detach()) * weight
            total_weight += float(batch.weights[:, 1:].sum())
        add_gradients(model.parameters())
        torch.nn.utils.clip_grad_norm_(model.parameters(), GRADIENT_CLIP)
        rate = schedule.rate(progress.step, used)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["full_lr"] * rate
            optimizer.step()
            optimizer.zero_grad()
        progress.step += 1
        progress.tokens += sum(batch.ids[:, 1:].numel() for batch in micro_batches)
        progress.position = position
        now = time.monotonic()
        if progress.step % LOG_EVERY_STEPS == 0:
            speed = (progress.tokens - tokens_at_log) / (now - last_log)
            if worker == 0:
                loss_now = {"loss": round(total / total_weight, 4), "rate": round(rate, 4), "tokens_per_second": round(speed)}
                _append(log_path, {**_where(progress), **loss_now})
            last_log, tokens_at_log, total, total_weight = now, progress.tokens, 0.0, 0.0
        if now - last_checkpoint > CHECKPOINT_SECONDS:
            last_checkpoint = now
            checkpoint()
    checkpoint()
    signal.signal(signal.SIGTERM, previous)
    return progress


def _where(progress: PhaseProgress) -> dict[str, float]:
    return {"step": progress.step, "tokens": progress.tokens, "seconds": round(progress.seconds)}


def _append(path: Path, entry: dict[str, float]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry) + "\n")
