"""The training: steps until the tokens are spent or a signal comes, with a log, held-out losses and checkpoints."""

from __future__ import annotations

import signal
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from grasper.errors import ModelError
from grasper.models.room import room_to_train
from grasper.tune import checkpoint
from grasper.tune.checkpoint import MetricsLog, TrainingProgress
from grasper.tune.lora import Adapter
from grasper.tune.schedule import Schedule
from grasper.tune.sequences import Batch, Stream, TrainingRow, collate, cut

LOG_EVERY_STEPS = 5
SHOW_EVERY_SECONDS = 30.0


@dataclass(frozen=True)
class Pace:
    """How much happens between two events."""

    step_tokens: int = 2048
    """Tokens of one optimizer step, at least."""
    checkpoint_seconds: float = 600.0
    evaluation_tokens: int = 300_000
    """Tokens between two measurements of the held-out losses."""


def train(
    folder: Path, adapter: Adapter, stream: Stream, held_out: Sequence[TrainingRow], schedule: Schedule, pace: Pace, *, batch_tokens: int, pad_id: int
) -> TrainingProgress:
    """Train until `schedule.tokens`, from the folder's last checkpoint on; a SIGTERM or SIGINT ends it with a checkpoint after the step under way.

    Raises:
        AdapterError: The checkpoint is damaged or of another shape.
        ModelError: The gradient is no longer finite, or the examples end; in the latter case a checkpoint is written first.
    """
    last = checkpoint.latest(folder)
    progress = checkpoint.load(last, adapter) if last else TrainingProgress()
    log = MetricsLog(folder, progress.tokens)
    groups = cut(held_out, batch_tokens)
    batches = stream.batches(progress.position)
    saved = shown = time.monotonic()
    first, started = progress.tokens, time.monotonic()
    losses: list[float] = []

    def evaluate() -> None:
        if groups and not any("held_out" in entry and entry["tokens"] == progress.tokens for entry in log.entries):
            log.append({"tokens": progress.tokens, "steps": progress.steps, "held_out": held_out_losses(adapter, groups, pad_id)})

    with room_to_train("tune.batch_tokens"), stop_signals() as stop:
        if not progress.tokens:
            evaluate()
        while progress.tokens < schedule.tokens and not stop:
            step_started = time.monotonic()
            try:
                chosen, position = _take(batches, pace.step_tokens)
            except ModelError:  # nothing more is drawn, and what was learned is sound
                if progress.tokens > first:
                    checkpoint.save(folder, adapter, progress)
                raise
            rate = schedule.rate(progress.tokens)
            losses.append(adapter.step(chosen, rate))
            now = time.monotonic()
            evaluation_due = progress.tokens // pace.evaluation_tokens
            progress = TrainingProgress(
                tokens=progress.tokens + sum(batch.num_tokens for batch in chosen),
                examples=progress.examples + sum(len(batch.ids) for batch in chosen),
                steps=progress.steps + 1,
                seconds=progress.seconds + now - step_started,
                position=position,
            )
            if progress.steps % LOG_EVERY_STEPS == 0:
                log.append(
                    {
                        "tokens": progress.tokens,
                        "steps": progress.steps,
                        "loss": round(sum(losses) / len(losses), 4),
                        "learning_rate": rate,
                        "seconds": round(progress.seconds, 1),
                    }
                )
                losses.clear()
            if now - shown >= SHOW_EVERY_SECONDS:
                shown = now
                _show(progress, schedule, (progress.tokens - first) / (now - started))
            if now - saved >= pace.checkpoint_seconds:
                checkpoint.save(folder, adapter, progress)
                saved = time.monotonic()
            if progress.tokens // pace.evaluation_tokens > evaluation_due and not stop:
                evaluate()
        if last is None or progress.tokens > first:
            checkpoint.save(folder, adapter, progress)
        if progress.tokens >= schedule.tokens:
            evaluate()
    return progress


def held_out_losses(adapter: Adapter, groups: Sequence[Sequence[TrainingRow]], pad_id: int) -> dict[str, dict[str, float]]:
    """By task: mean negative log-likelihood in nats per token of the answer (labels and end token included), and of its emphasised values alone."""
    plain = [[replace(row, weights=[float(weight > 0) for weight in row.weights]) for row in group] for group in groups]
    sums: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0, 0.0])
    for group, losses in zip(groups, adapter.losses([collate(rows, pad_id) for rows in plain]), strict=True):
        start = 0
        for row in group:
            weights = torch.tensor([weight for weight in row.weights[1:] if weight > 0])
            values = losses[start : start + len(weights)]
            start += len(weights)
            valued = weights > 1
            for index, value in enumerate((values.sum(), torch.tensor(len(values)), values[valued].sum(), valued.sum())):
                sums[row.task][index] += float(value)
    return {
        task: {"loss": round(loss / max(1.0, count), 4), "tokens": count} | ({"value_loss": round(valued / number, 4)} if number else {})
        for task, (loss, count, valued, number) in sorted(sums.items())
    }


def _take(batches: Iterator[tuple[Batch, Any]], step_tokens: int) -> tuple[list[Batch], Any]:
    chosen: list[Batch] = []
    while True:
        batch, position = next(batches)
        chosen.append(batch)
        if sum(batch.num_tokens for batch in chosen) >= step_tokens:
            return chosen, position


def _show(progress: TrainingProgress, schedule: Schedule, rate: float) -> None:
    left = (schedule.tokens - progress.tokens) / max(rate, 1e-9) / 3600
    print(f"tune: {progress.tokens:,}/{schedule.tokens:,} tokens ({rate:.0f}/s, {left:.1f} h left)", file=sys.stderr, flush=True)


@contextmanager
def stop_signals() -> Iterator[list[int]]:
    """A list that is empty until SIGTERM or SIGINT comes; the former handlers return at the end."""
    received: list[int] = []

    def receive(number: int, frame: FrameType | None) -> None:
        received.append(number)

    former = {number: signal.signal(number, receive) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield received
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
