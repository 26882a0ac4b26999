"""The checks of `grasper doctor`: the installation, the model, the data, each told in one line."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable

from grasper.config import Config
from grasper.errors import GrasperError
from grasper.runs import versions
from grasper.terminal import plain_console

ANSWER_SECONDS = 60.0
"""A server may have to load its model before its first answer; longer than this nobody waits for a check."""


def print_checks(config: Config) -> bool:
    """One line per check of the installation, the model and the data; whether all went well."""
    checks: list[tuple[str, Callable[[], str]]] = [
        ("packages", _check_packages),
        ("METEOR's WordNet", _check_wordnet),
        ("language model", lambda: _check_model(config)),
        ("data", lambda: _check_data(config)),
        ("device", _check_device),
    ]
    console, is_fine = plain_console(), True
    for name, check in checks:
        try:
            console.print(f"ok    {name}: {check()}", soft_wrap=True)
        except (GrasperError, ImportError) as error:
            is_fine = False
            console.print(f"FAIL  {name}: {error}", soft_wrap=True)
    return is_fine


def _check_packages() -> str:
    for module in ("torch", "torch_geometric", "transformers", "peft", "accelerate", "networkx", "pandas", "sklearn", "rouge_score"):
        importlib.import_module(module)
    return ", ".join(f"{name} {version}" for name, version in versions().items())


def _check_wordnet() -> str:
    from grasper.metrics.meteor import meteor_name

    advice = "not found; METEOR runs without synonyms and is named meteor_no_wordnet (set NLTK_DATA to a folder with corpora/wordnet.zip)"
    return "found" if meteor_name() == "meteor" else advice


def _check_model(config: Config) -> str:
    from grasper.models import open_model, require_model
    from grasper.models.base import Message, Prompt

    require_model(config.model)
    if config.model.kind == "endpoint" and not os.environ.get(config.model.api_key_env):
        key = f"; {config.model.api_key_env} is not set"
    else:
        key = ""
    patient = min(config.model.deadline_seconds, ANSWER_SECONDS)
    model = open_model(config.model.model_copy(update={"deadline_seconds": patient}))
    completion = model.generate([Prompt((Message("user", "Task: write the review title."),))], max_new_tokens=8, temperature=0.0)[0][0]
    return f"{model.name} answers ({completion.tokens_out} tokens), context {model.context_tokens}{key}"


def _check_data(config: Config) -> str:
    from grasper.prepare import check_data

    return check_data(config.prepare, seed=config.seed)


def _check_device() -> str:
    import torch

    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads"
