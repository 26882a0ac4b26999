"""Reviews + base model → a tuned adapter: opens both, checks that the folder belongs to them, trains, and writes the adapter.

Not a part of `align`: that makes an adapter for each method from the few reserved pairs, on the model that a run names. This makes a *model* of all
other training reviews, in the prompts of all methods, before any run that names it; so all methods start from the same ground.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from grasper.config import ModelConfig, PromptConfig, TuneConfig
from grasper.errors import ConfigError
from grasper.files import write_json
from grasper.models import fingerprint_model
from grasper.models.adapters import base_of, find_adapter, name_of, shape_of
from grasper.models.local import LocalModel
from grasper.models.locate import find_weights
from grasper.prompts.templates import PROMPT_VERSION
from grasper.runs import Run, fingerprint
from grasper.tune import checkpoint
from grasper.tune.ahead import Drawers, Recipe
from grasper.tune.examples import Mixture, ReviewSet
from grasper.tune.export import export_adapter
from grasper.tune.held_out import held_out_rows
from grasper.tune.lora import Adapter
from grasper.tune.reviews import fingerprint_sets
from grasper.tune.schedule import Schedule
from grasper.tune.sequences import Stream, WindowSource
from grasper.tune.training import Pace, train

MIXTURE = Mixture(
    tasks={"long": 0.36, "title": 0.19, "rating": 0.22, "review": 0.15, "pat": 0.08},
    path=0.5,
    neighbours=0.8,
    own=0.85,
    predicted=0.35,
    bare={"title": 0.4, "rating": 0.4, "long": 0.05},
    item_name=0.85,
    ranked=0.7,
)
"""Texts most, ratings and titles next, whole reviews as synthesis asks for them, and PAT's roles; half of the answers begin with a path."""

MOST_DRAWERS = 12
"""A GPU is kept busy by fewer; each holds the reviews and a tokenizer."""


def tune(
    config: TuneConfig,
    model_config: ModelConfig,
    sets: Sequence[ReviewSet],
    held_out: Sequence[ReviewSet],
    folder: Path,
    *,
    seed: int,
    prompts: PromptConfig | None = None,
    drawers: Drawers | None = None,
) -> dict[str, Any]:
    """Train in `folder` until `config.tokens`, or until a SIGTERM or Ctrl-C, from its last checkpoint on; writes `folder/adapter`; gives counts.

    Where the model is an adapter on another one, training goes on from that adapter, in its shape, with fresh moments.

    Args:
        sets: What may be asked for and shown.
        held_out: What the losses in the log are measured on; their users must not be in `sets`.
        prompts: What a prompt shows at most; None: what it does by default.
        drawers: Processes that draw the examples, where several trainings of one model, seed and data share them.

    Raises:
        ConfigError: The model is no local one, or target modules that it lacks.
        RunMismatchError: The folder holds a training of another base, tokenizer, adapter shape, beginning, seed, data, context or prompts.
        RunLockedError: Another process trains in it.
        AdapterError: The checkpoint, or the adapter to go on from, is damaged or of another shape.
    """
    if model_config.kind != "local":
        raise ConfigError(f"only local models can be tuned, but model.kind is {model_config.kind}; use --set model.kind=local")
    start = find_weights(model_config.name).adapter
    if start is not None:
        config = config.model_copy(update=shape_of(start))
        model_config = model_config.model_copy(update={"name": name_of(base_of(start))})
    with Run(folder).lock():
        model = LocalModel(
            model_config.name, device=model_config.device, context_tokens=model_config.context_tokens, template=model_config.template_settings
        )
        prompts = prompts or PromptConfig()
        settings = _settings(config, model_config, model, sets, seed, prompts) | ({"start": find_adapter(start).fingerprint} if start else {})
        checkpoint.check_settings(folder, settings)
        write_json(folder / "prompts.json", {"version": PROMPT_VERSION})
        rows = held_out_rows(held_out, model, max_length=config.max_length, seed=seed, prompts=prompts)
        workers, threads = _share_cores(config, model.device)
        recipe = Recipe.of(model, model_config.name, sets, seed, MIXTURE, config.max_length, prompts)
        with _threads(threads), _source(recipe, model, config, drawers) as source:
            stream = Stream(source, seed=seed, batch_tokens=config.batch_tokens, pad_id=model.pad_id)
            adapter = Adapter(
                model.model,
                rank=config.rank,
                alpha=config.alpha,
                target_modules=config.target_modules,
                num_workers=workers,
                threads=threads,
                seed=seed,
                averaging=config.averaging,
            )
            if start is not None:
                adapter.begin_from(start)
            progress = train(
                folder,
                adapter,
                stream,
                rows,
                Schedule(config.learning_rate, config.tokens, config.warmup_tokens, config.decay_share),
                Pace(config.step_tokens, config.checkpoint_minutes * 60, config.evaluation_tokens),
                batch_tokens=config.batch_tokens,
                pad_id=model.pad_id,
            )
        export_adapter(folder, folder / "adapter", base=model.name)
    return {"tokens": progress.tokens, "examples": progress.examples, "steps": progress.steps, "seconds": round(progress.seconds, 1)}


def _settings(
    config: TuneConfig, model_config: ModelConfig, model: LocalModel, sets: Sequence[ReviewSet], seed: int, prompts: PromptConfig
) -> dict[str, Any]:
    """What a training belongs to. How fast it learns, and how long, may change on the way. What is as by default is not named."""
    changed = prompts.model_dump(mode="json", exclude_defaults=True)
    return {
        "base": fingerprint_model(model_config)["weights"] or model.name,
        "tokenizer": fingerprint([model.tokenizer.get_vocab(), model.tokenizer.chat_template]),
        "adapter": {"rank": config.rank, "alpha": config.alpha, "target_modules": list(config.target_modules)},
        "data": fingerprint_sets(sets),
        "seed": seed,
        **({"template": model.template} if model.template else {}),
        **({"context_tokens": model_config.context_tokens} if model_config.context_tokens else {}),
        **({"prompts": changed} if changed else {}),
    }


def _share_cores(config: TuneConfig, device: torch.device) -> tuple[int, int]:
    """Workers, and threads of each. A GPU has one worker."""
    cores = _cores()
    if device.type != "cpu":
        return 1, cores
    workers = min(config.workers, cores)
    return workers, max(1, cores // workers)


@contextmanager
def _source(recipe: Recipe, model: LocalModel, config: TuneConfig, drawers: Drawers | None) -> Iterator[WindowSource]:
    """Where the examples come from: processes that are there, new ones, or this one."""
    processes = config.drawers if config.drawers is not None else 0 if model.device.type == "cpu" else min(MOST_DRAWERS, _cores() - 1)
    if drawers is not None:
        yield drawers
    elif processes:
        with Drawers(recipe, processes) as own:
            yield own
    else:
        yield recipe.drawer(model)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def _threads(number: int) -> Iterator[None]:
    former = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(former)
