"""From a model's name to a folder with its weights, and from an adapter's folder to an adapted model."""

from __future__ import annotations

import json
import logging
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit
from urllib.request import getproxies

import torch
from huggingface_hub import constants, snapshot_download
from huggingface_hub.errors import HFValidationError
from safetensors import SafetensorError, safe_open
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from grasper.errors import AdapterError, ModelNotFoundError
from grasper.runs import fingerprint_file

NANO_DIR = Path(__file__).parent / "nano"
FILES = ["*.safetensors", "*.json", "*.jinja", "*.model", "*.txt"]
"""What is fetched from the Hub: weights as safetensors only, never pickles or code."""

DEFAULT_CHAT_TEMPLATE = (
    "{{ bos_token or '' }}{% for message in messages %}### {{ message['role'] | capitalize }}:\n{{ message['content'] }}\n\n{% endfor %}"
    "{% if add_generation_prompt %}### Assistant:\n{% endif %}"
)
"""How a conversation is written for a model whose tokenizer has no chat template of its own."""

logger = logging.getLogger(__name__)


def find_weights(name: str) -> tuple[Path, str]:
    """The folder that holds the model `name`, and its stable identity.

    `nano` is the embedded model (identity with a hash of its weights); a path is taken as it is; anything else is a Hub id, taken from the
    local cache where it is there, else downloaded.

    Raises:
        ModelNotFoundError: No such folder, no weights in it, or the Hub cannot be reached or does not know the id.
    """
    if name == "nano":
        _require_weights(NANO_DIR, "the embedded model nano", "install grasper with its weights, or train them with `make nano`")
        return NANO_DIR, f"nano@{fingerprint_file(NANO_DIR / 'model.safetensors')}"
    path = Path(name).expanduser()
    if path.is_dir():
        _require_weights(path, f"model folder {path}", "it needs config.json and weights as *.safetensors")
        return path, str(path)
    if path.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1:
        raise ModelNotFoundError(f"model folder {path} does not exist; give 'nano', a folder, or a Hub id such as Qwen/Qwen2.5-0.5B-Instruct")
    folder = _find_on_hub(name)
    _require_weights(folder, f"model {name}", "it needs config.json and weights as *.safetensors")
    return folder, f"{name}@{folder.name[:12]}"


def _require_weights(folder: Path, what: str, advice: str) -> None:
    missing = [pattern for pattern in ("config.json", "*.safetensors") if not any(folder.glob(pattern))]
    if missing:
        raise ModelNotFoundError(f"{what} has no {' and no '.join(missing)}; {advice}")


def _find_on_hub(name: str) -> Path:
    try:
        return Path(snapshot_download(name, local_files_only=True, allow_patterns=FILES))
    except HFValidationError:
        raise ModelNotFoundError(f"'{name}' is neither a folder nor a valid Hub id; give 'nano', a folder, or an id such as owner/model") from None
    except OSError:  # not in the cache
        pass
    if not _hub_is_reachable():
        raise ModelNotFoundError(f"model '{name}' is not in the local cache and the Hub cannot be reached; use model.name=nano, or download it first")
    try:
        return Path(snapshot_download(name, allow_patterns=FILES, etag_timeout=10))
    except Exception as error:  # the Hub's client raises errors of several libraries
        raise ModelNotFoundError(f"model '{name}' could not be downloaded: {_first_line(error)}") from None


def _hub_is_reachable() -> bool:
    """Whether a connection to the Hub opens within three seconds; False where the environment asks for offline work."""
    if constants.is_offline_mode():
        return False
    if getproxies().get("https"):
        return True  # only the proxy knows
    endpoint = urlsplit(constants.ENDPOINT)
    try:
        with socket.create_connection((endpoint.hostname or "", endpoint.port or 443), timeout=3):
            return True
    except OSError:
        return False


def choose_device(device: str) -> torch.device:
    """The device that a configuration asks for; `auto` takes CUDA where there is one."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(device)


def choose_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 on CUDA and on processors that multiply in it (AVX512-BF16, AMX), else float32."""
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
        tokenizer = cast(PreTrainedTokenizerBase, AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False))
    except Exception as error:  # a damaged tokenizer.json raises errors of several libraries
        raise ModelNotFoundError(f"the tokenizer of model {identity} cannot be read: {_first_line(error)}") from None
    if tokenizer.chat_template is None:
        logger.warning("model %s has no chat template; grasper's default one ('### User: …') is used", identity)
        tokenizer.chat_template = DEFAULT_CHAT_TEMPLATE
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_model(folder: Path, identity: str, *, device: torch.device, dtype: torch.dtype) -> PreTrainedModel:
    """The causal language model in a folder, in evaluation mode; its `name_or_path` is the identity, which adapters remember.

    Raises:
        ModelNotFoundError: The weights or the configuration cannot be read.
    """
    try:
        with _quiet():
            model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, use_safetensors=True, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # damaged files raise errors of several libraries
        raise ModelNotFoundError(f"the weights of model {identity} cannot be read: {_first_line(error)}") from None
    model.name_or_path = model.config._name_or_path = identity
    cast(torch.nn.Module, model).to(device)
    return cast(PreTrainedModel, model.eval())


def load_adapter(model: PreTrainedModel, adapter_dir: Path) -> PreTrainedModel:
    """The model with a LoRA adapter merged into its weights.

    Raises:
        AdapterError: The adapter is not there, is damaged, or was trained for another model.
    """
    from peft import PeftModel

    base = _read_adapter_config(adapter_dir).get("base_model_name_or_path")
    if base not in (model.name_or_path, str(model.name_or_path).partition("@")[0]):
        raise AdapterError(f"adapter {adapter_dir} was trained for model '{base}', not for '{model.name_or_path}'; run `grasper align` again")
    keys = _read_adapter_keys(adapter_dir)
    try:
        with without_future_warnings():
            warnings.filterwarnings("ignore", message="Found missing adapter keys")  # an error of ours, below
            adapted = PeftModel.from_pretrained(model, str(adapter_dir))
    except Exception as error:  # wrong shapes and wrong modules raise errors of several kinds
        raise AdapterError(f"adapter {adapter_dir} does not fit model '{model.name_or_path}': {_first_line(error)}") from None
    expected = {name.replace(".default.", ".") for name, _ in adapted.named_parameters() if "lora_" in name}
    if missing := expected - keys:
        raise AdapterError(f"adapter {adapter_dir} lacks {len(missing)} of {len(expected)} tensors, first {min(missing)}; it is damaged")
    return cast(PreTrainedModel, adapted.merge_and_unload().eval())


def _read_adapter_config(adapter_dir: Path) -> dict[str, Any]:
    path = adapter_dir / "adapter_config.json"
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise AdapterError(f"{adapter_dir} holds no adapter (adapter_config.json is missing); run `grasper align` first") from None
    except ValueError as error:
        raise AdapterError(f"{path} is not valid JSON ({error}); the adapter is damaged, run `grasper align` again") from None
    return cast(dict[str, Any], settings)


def _read_adapter_keys(adapter_dir: Path) -> set[str]:
    path = adapter_dir / "adapter_model.safetensors"
    try:
        with safe_open(path, framework="pt") as tensors:
            return set(tensors.keys())
    except (OSError, SafetensorError) as error:
        raise AdapterError(f"{path} cannot be read ({_first_line(error)}); the adapter is damaged, run `grasper align` again") from None


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bar while weights are loaded."""
    was_enabled = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if was_enabled:
            transformers_logging.enable_progress_bar()


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {next(iter(str(error).strip().splitlines()), '')}"[:300]
