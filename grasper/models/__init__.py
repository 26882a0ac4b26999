"""The one door to language models."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from grasper.errors import AdapterError
from grasper.models.base import Completion, Message, Prompt, TextModel

if TYPE_CHECKING:
    from grasper.config import ModelConfig

__all__ = ["Completion", "Message", "Prompt", "TextModel", "fingerprint_model", "open_model", "require_model"]


def open_model(config: ModelConfig, adapter: Path | None = None) -> TextModel:
    """The language model that the configuration names, with a LoRA adapter on it where one is given.

    At an endpoint it is the server that holds the adapter, under `model.served_adapter`; the file here tells one adapter of that name from the next.
    Local models of one name are light views on one network in memory: opening one again, or with another adapter, loads no weights. An adapter whose
    content has changed since is another one.

    Raises:
        ConfigError: This machine has no such device.
        ModelNotFoundError: The model is neither on disk nor reachable.
        AdapterError: The adapter belongs to another model, is damaged, or the model cannot take one.
    """
    if config.kind == "local":
        from grasper.models.backbone import shared_backbone
        from grasper.models.local import LocalModel

        return LocalModel(
            adapter=adapter,
            backbone=shared_backbone(config.name, config.device),
            batch_tokens=config.batch_tokens,
            context_tokens=config.context_tokens,
            no_repeat_tokens=config.no_repeat_tokens,
            template=config.template_settings,
        )
    if adapter is not None and not (config.kind == "endpoint" and config.trained):
        raise AdapterError(
            f"a model of kind '{config.kind}' cannot take the adapter {adapter}; use model.kind=local, or model.trained at an endpoint"
        )
    if config.kind == "endpoint":
        from grasper.files import fingerprint_file
        from grasper.models.endpoint import EndpointModel

        return EndpointModel.from_config(config, adapter=fingerprint_file(adapter / "adapter_model.safetensors") if adapter else None)
    from grasper.models.scripted import ScriptedModel

    return ScriptedModel(context_tokens=config.context_tokens or 1024)


def require_model(config: ModelConfig) -> None:
    """Look for the model and its device, and for the one that `align` trains, without loading weights.

    Raises:
        ConfigError: This machine has no such device.
        ModelNotFoundError: The model is neither on disk nor reachable.
    """
    if config.for_training() is not config:
        require_model(config.for_training())
    if config.kind == "local":
        from grasper.models.locate import find_weights

        if config.device not in ("auto", "cpu"):
            from grasper.models.weights import choose_device

            choose_device(config.device)
        find_weights(config.name)
    else:
        open_model(config)


def fingerprint_model(config: ModelConfig, *, weights: dict[str, Any] | None = None) -> dict[str, Any]:
    """What decides a model's texts: kind, name, address, context, and the weights' hashes or their revision on the Hub. Loads no weights.

    Batch size, device and the name of the key's variable are no part of it.

    Args:
        weights: What is known of the weights already; given, they are not looked for, so the model need not be on this machine.
    """
    facts: dict[str, Any] = {
        "kind": config.kind,
        "name": config.name,
        "base_url": config.base_url,
        "context_tokens": config.context_tokens,
        "no_repeat_tokens": config.no_repeat_tokens,
        "weights": {},
        **({"rating_samples": config.rating_samples, "extra": config.extra} if config.kind == "endpoint" else {}),
    }
    if config.kind == "local":
        from grasper.models.locate import describe_weights

        facts["weights"] = describe_weights(config.name) if weights is None else weights
        if config.template_settings:
            facts["template"] = config.template_settings
    return facts
