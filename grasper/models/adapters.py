"""LoRA adapters on disk: whether a folder holds a whole one, and for which model it was made."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from safetensors import SafetensorError, safe_open

from grasper.errors import AdapterError
from grasper.models.fingerprints import fingerprint_weights
from grasper.runs import stable_hash

CONFIG_FILE, WEIGHTS_FILE, TRAINING_FILE = "adapter_config.json", "adapter_model.safetensors", "training.json"
_BEYOND_PLAIN = ("use_rslora", "use_dora", "alpha_pattern", "rank_pattern", "modules_to_save")
"""Settings of peft with which rank, alpha and target modules do not tell all of an adapter."""
_ADVICE = "run `grasper align` again"


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Adapter:
    """A whole adapter as it lay in its folder: another content at the same place is another adapter."""

    folder: Path
    fingerprint: str
    """Hash of weights and settings."""


def is_adapter(folder: Path) -> bool:
    """Whether a folder claims to hold an adapter and no model of its own."""
    return (folder / CONFIG_FILE).is_file() and not (folder / "config.json").exists()


def find_adapter(folder: Path) -> Adapter:
    """The adapter in a folder.

    Raises:
        AdapterError: There is none, or a part of it is missing.
    """
    settings, weights = folder / CONFIG_FILE, folder / WEIGHTS_FILE
    base_of(folder)
    if not weights.is_file():
        raise AdapterError(f"{folder} holds no whole adapter ({WEIGHTS_FILE} is missing); {_ADVICE}")
    return Adapter(folder, stable_hash(f"{fingerprint_weights(settings)} {fingerprint_weights(weights)}")[:16])


def prompt_version_of(folder: Path) -> int | None:
    """Version of grasper's prompts that the adapter in a folder was tuned on; None where nothing tells."""
    try:
        told = json.loads((folder / TRAINING_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    version = told.get("prompt_version") if isinstance(told, dict) else None
    return version if isinstance(version, int) else None


def is_this_adapter(folder: Path, fingerprint: str | None) -> bool:
    """Whether the folder holds a whole adapter, and this one."""
    try:
        return find_adapter(folder).fingerprint == fingerprint
    except AdapterError:
        return False


def base_of(folder: Path) -> str:
    """Identity of the model that the adapter in a folder was made for.

    Raises:
        AdapterError: There is no adapter, its settings cannot be read, or they name no model.
    """
    base = _read_settings(folder).get("base_model_name_or_path")
    if not isinstance(base, str) or not base:
        raise AdapterError(f"{folder / CONFIG_FILE} does not name its base model (base_model_name_or_path); {_ADVICE}")
    return base


def name_of(identity: str) -> str:
    """What a model is opened by, without the revision or hash that an identity ends with (`owner/model@0123abc`); a folder may have @ in its path."""
    if Path(identity).expanduser().is_dir() or identity.startswith(("/", ".", "~")):
        return identity
    name, _, pin = identity.rpartition("@")
    return name if name and "/" not in pin else identity


def shape_of(folder: Path) -> dict[str, Any]:
    """Rank, alpha and target modules of the adapter in a folder, by the names of `TuneConfig`.

    Raises:
        AdapterError: There is no adapter, its settings lack them, or there is more to it than they tell.
    """
    settings = _read_settings(folder)
    more = [f"{name}={settings[name]!r}" for name in _BEYOND_PLAIN if settings.get(name)]
    if isinstance(settings.get("target_modules"), str):
        more.append(f"target_modules={settings['target_modules']!r}")
    if more:
        raise AdapterError(
            f"{folder / CONFIG_FILE} has {', '.join(more)}: only plain LoRA with a list of target modules can be trained on; "
            "merge the adapter into its base, and name the folder of that as the model"
        )
    try:
        return {
            "rank": int(settings["r"]),
            "alpha": int(settings["lora_alpha"]),
            "target_modules": tuple(str(name) for name in settings["target_modules"]),
        }
    except (KeyError, TypeError, ValueError) as error:
        raise AdapterError(f"{folder / CONFIG_FILE} does not tell the adapter's shape ({type(error).__name__}: {error})") from None


def require_fitting(adapter: Adapter, identity: str) -> set[str]:
    """The names of the adapter's tensors, after a look at the model that it was made for.

    Raises:
        AdapterError: The adapter was made for another model than `identity`, or is damaged.
    """
    base = base_of(adapter.folder)
    if base not in (identity, name_of(identity)):
        raise AdapterError(f"adapter {adapter.folder} was trained for model '{base}', not for '{identity}'; {_ADVICE}, or open it on its own model")
    path = adapter.folder / WEIGHTS_FILE
    try:
        with safe_open(path, framework="pt") as tensors:
            return set(tensors.keys())
    except (OSError, SafetensorError) as error:
        raise AdapterError(f"{path} cannot be read ({type(error).__name__}: {error}); the adapter is damaged, {_ADVICE}") from None


def _read_settings(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG_FILE
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise AdapterError(f"{folder} holds no adapter ({CONFIG_FILE} is missing); run `grasper align` first") from None
    except ValueError as error:
        raise AdapterError(f"{path} is not valid JSON ({error}); the adapter is damaged, {_ADVICE}") from None
    if not isinstance(settings, dict):
        raise AdapterError(f"{path} holds no settings but {type(settings).__name__}; the adapter is damaged, {_ADVICE}")
    return cast(dict[str, Any], settings)
