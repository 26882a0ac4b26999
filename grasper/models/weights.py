"""From a model's folder into memory."""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import torch
from transformers import (
    MODEL_FOR_MASKED_LM_MAPPING,
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging as transformers_logging

from grasper.errors import ConfigError, ModelError, ModelNotFoundError
from grasper.models.locate import first_line

DEFAULT_CHAT_TEMPLATE = (
    "{{ bos_token or '' }}{% for message in messages %}### {{ message['role'] | capitalize }}:\n{{ message['content'] }}\n\n{% endfor %}"
    "{% if add_generation_prompt %}### Assistant:\n{% endif %}"
)
"""How a conversation is written for a model whose tokenizer has no chat template of its own."""

_THE_DAY = {"%d": "26", "%-d": "26", "%b": "Jul", "%B": "July", "%m": "07", "%Y": "2024", "%y": "24", "%A": "Friday", "%a": "Fri"}
_ALWAYS_THE_SAME_DAY = (
    "{%- macro strftime_now(format) -%}{{ format"
    + "".join(f" | replace('{directive}', '{value}')" for directive, value in _THE_DAY.items())
    + " }}{%- endmacro -%}"
)
"""Stands in front of templates that write today's date: the same prompt is then the same on every day. Llama 3.1's own take this day, too."""

logger = logging.getLogger(__name__)

_LOADING = threading.Lock()
"""The library changes global state while it loads a model."""


def choose_device(device: str) -> torch.device:
    """The device that a configuration asks for; `auto` takes CUDA where there is one.

    Raises:
        ConfigError: There is no such device, or not on this machine.
    """
    there = ["cpu", *(f"cuda:{number}" for number in range(torch.cuda.device_count())), *(["mps"] if torch.backends.mps.is_available() else [])]
    if device == "auto":
        return torch.device("cuda" if "cuda:0" in there else "cpu")
    if device not in there and f"{device}:0" not in there:
        raise ConfigError(f"model.device is '{device}', but this machine has {', '.join(there)}; use one of these, or auto")
    return torch.device(device)


def choose_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 on devices and processors that multiply in it (CUDA from compute capability 8.0 on, mps, AVX512-BF16, AMX), else float32."""
    if device.type == "cuda":
        with torch.cuda.device(device):
            return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    if device.type != "cpu":
        return torch.bfloat16
    is_fast = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
    return torch.bfloat16 if is_fast else torch.float32


@contextmanager
def without_future_warnings() -> Iterator[None]:
    """Keeps what peft is told about coming versions of transformers from people who can do nothing about it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        yield


def load_tokenizer(folder: Path, identity: str) -> PreTrainedTokenizerBase:
    """The tokenizer in a model folder, with a chat template and a padding token.

    Raises:
        ModelNotFoundError: There is none, or it cannot be read.
    """
    try:
        with _LOADING:
            tokenizer = cast(PreTrainedTokenizerBase, AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False))
    except Exception as error:  # a damaged tokenizer.json raises errors of several libraries
        raise ModelNotFoundError(f"the tokenizer of model {identity} cannot be read: {first_line(error)}") from None
    if tokenizer.chat_template is None:
        logger.warning("model %s has no chat template; grasper's default one ('### User: …') is used", identity)
        tokenizer.chat_template = DEFAULT_CHAT_TEMPLATE
    tokenizer.chat_template = _without_today(tokenizer.chat_template)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def _without_today(template: str | dict[str, str]) -> str | dict[str, str]:
    """The chat template, or all of several, with one and the same day for today's."""
    if isinstance(template, dict):
        return {name: str(_without_today(one)) for name, one in template.items()}
    return _ALWAYS_THE_SAME_DAY + template if "strftime_now" in template else template


def load_model(folder: Path, identity: str, *, device: torch.device, dtype: torch.dtype) -> PreTrainedModel:
    """The causal language model in a folder, in evaluation mode; its `name_or_path` is the identity, which adapters remember.

    Raises:
        ModelNotFoundError: The weights or the configuration cannot be read.
        ModelError: It is no causal language model, or the device has no room for it.
    """
    try:
        with _LOADING, quiet():
            config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
            _require_causal(config, identity)
            model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, use_safetensors=True, local_files_only=True, trust_remote_code=False)
    except ModelError:
        raise
    except Exception as error:  # damaged files raise errors of several libraries
        raise ModelNotFoundError(f"the weights of model {identity} cannot be read: {first_line(error)}") from None
    model.name_or_path = model.config._name_or_path = identity
    try:
        cast(torch.nn.Module, model).to(device)
    except torch.OutOfMemoryError:
        size = f"{model.num_parameters() * dtype.itemsize / 1e9:.1f} GB"
        raise ModelError(
            f"{device} has no room for the weights of model {identity} ({size}); end what else uses it, or take a smaller model or model.device=cpu"
        ) from None
    return cast(PreTrainedModel, model.eval())


def _require_causal(config: PretrainedConfig, identity: str) -> None:
    """Raise for networks that read both ways (BERT) or by an encoder (T5, BART): of many of them the library would take a part, and write nonsense.

    Raises:
        ModelError: It is such a one.
    """
    reads_both_ways = type(config) in MODEL_FOR_MASKED_LM_MAPPING and not getattr(config, "is_decoder", False)
    if config.is_encoder_decoder or reads_both_ways:
        how = "an encoder and a decoder" if config.is_encoder_decoder else "a network that reads both ways"
        raise ModelError(f"model {identity} ({config.model_type}) is {how}; grasper writes with causal language models, such as Qwen or SmolLM")


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bar while weights are loaded."""
    was_enabled = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if was_enabled:
            transformers_logging.enable_progress_bar()
