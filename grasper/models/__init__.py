"""The one door to language models."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from grasper.errors import AdapterError
from grasper.models.base import Completion, Message, Prompt, TextModel

if TYPE_CHECKING:
    from grasper.config import ModelConfig

__all__ = ["Completion", "Message", "Prompt", "TextModel", "open_model"]


def open_model(config: ModelConfig, adapter: Path | None = None) -> TextModel:
    """The language model that the configuration names, with a LoRA adapter on it where one is given.

    Raises:
        ModelNotFoundError: The model is neither on disk nor reachable.
        AdapterError: The adapter belongs to another model, is damaged, or the model cannot take one.
    """
    if config.kind == "local":
        from grasper.models.local import LocalModel

        return LocalModel(
            config.name, adapter=adapter, device=config.device, batch_tokens=config.batch_tokens, context_tokens=config.context_tokens
        )
    if adapter is not None:
        raise AdapterError(f"a model of kind '{config.kind}' cannot take the adapter {adapter}; use model.kind=local")
    if config.kind == "endpoint":
        from grasper.models.endpoint import EndpointModel

        return EndpointModel.from_config(config)
    from grasper.models.scripted import ScriptedModel

    return ScriptedModel(context_tokens=config.context_tokens or 1024)
