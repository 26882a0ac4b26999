"""From a model's name to the folder with its weights. Loads no weights and no library that could."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies

from grasper.errors import GrasperError, ModelNotFoundError
from grasper.models.adapters import base_of, find_adapter, is_adapter, name_of
from grasper.models.catalogue import KNOWN, require_known
from grasper.models.fingerprints import fingerprint_weights
from grasper.models.snapshot import SECOND_COPY, WEIGHTS, is_whole, weights_in

FILES = [WEIGHTS, "*.json", "*.jinja", "*.model", "*.txt"]
"""What is fetched from the Hub: weights as safetensors only, never pickles or code."""


@dataclass(frozen=True, slots=True)
class FoundModel:
    """Where a model lies."""

    folder: Path
    """Weights, configuration and tokenizer."""
    identity: str
    """What adapters for it remember, and a part of a run's fingerprint."""
    base_identity: str
    """Identity of the weights in `folder` alone."""
    adapter: Path | None = None
    """Folder of an adapter that belongs to the model."""

    @property
    def files(self) -> list[Path]:
        """The files with weights."""
        return sorted(path for folder in (self.folder, self.adapter) if folder for path in weights_in(folder))


def named_folder(name: str) -> Path | None:
    """The folder of a model of the catalogue, whether or not it is there; None for paths and Hub ids."""
    return KNOWN[name].folder if name in KNOWN else None


def find_weights(name: str) -> FoundModel:
    """Where the model `name` lies, and its stable identity.

    A name of the catalogue such as `nano` has an identity with a hash of its weights; a path is taken as it is; where the folder holds an adapter,
    its base is looked for; anything else is a Hub id, taken from the local cache where it is there, else downloaded (identity with its revision).

    Raises:
        ModelNotFoundError: No such folder, no weights in it, or the Hub cannot be reached or does not know the id.
        AdapterError: The folder holds an adapter that is damaged or names no base.
    """
    named = named_folder(name)
    path = named or Path(name).expanduser()
    if named is not None:
        require_known(name)
    if is_adapter(path):
        base = _find_base(path)
        return FoundModel(base.folder, f"{base.identity}+{find_adapter(path).fingerprint}", base.identity, path)
    if named is not None:
        _require_weights(named, f"the model {name}", f"delete {named} and get it anew")
        return _found(named, f"{name}@{fingerprint_weights(named / 'model.safetensors')}")
    if path.is_dir():
        _require_weights(path, f"model folder {path}", "it needs config.json and weights as *.safetensors")
        return _found(path, str(path))
    if path.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1:
        raise ModelNotFoundError(f"model folder {path} does not exist; give 'nano', a folder, or a Hub id such as Qwen/Qwen2.5-0.5B-Instruct")
    folder = find_on_hub(name)
    _require_weights(folder, f"model {name}", "it needs config.json and weights as *.safetensors")
    return _found(folder, f"{name}@{folder.name[:12]}")


def _found(folder: Path, identity: str) -> FoundModel:
    return FoundModel(folder, identity, identity)


def _find_base(adapter: Path) -> FoundModel:
    """The model that an adapter was made for, the very weights where its identity tells them."""
    identity = base_of(adapter)
    base = find_weights(name_of(identity))
    if base.adapter is not None:
        raise ModelNotFoundError(f"model folder {adapter} holds an adapter for another adapter, {base.adapter}; merge that one into its base first")
    return base


def _require_weights(folder: Path, what: str, advice: str) -> None:
    missing = [pattern for pattern in ("config.json", "*.safetensors") if not any(folder.glob(pattern))]
    if missing:
        raise ModelNotFoundError(f"{what} has no {' and no '.join(missing)}; {advice}")


def find_on_hub(name: str) -> Path:
    """The folder of a Hub id in the local cache, fetched where it is not there.

    Raises:
        ModelNotFoundError: The Hub cannot be reached, does not know the id, or does not give it.
    """
    from huggingface_hub import snapshot_download

    cached = _find_in_cache(name)
    if cached is not None and is_whole(cached):
        return cached
    if not _hub_is_reachable():
        if cached is not None:
            return cached  # what it lacks is told by whoever needs it
        raise ModelNotFoundError(
            f"model '{name}' is not in the local cache and the Hub cannot be reached; use model.name=nano, or run `hf download {name}` where there "
            "is a network and bring its folder of the cache here, or name a folder that holds the model"
        )
    try:
        return Path(snapshot_download(name, allow_patterns=FILES, ignore_patterns=SECOND_COPY, etag_timeout=10))
    except Exception as error:  # the Hub's client raises errors of several libraries
        raise ModelNotFoundError(_why_not(name, error)) from None


def _why_not(name: str, error: BaseException) -> str:
    """What the Hub's refusal means, and what to do."""
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    causes = [cause for cause in (error, error.__cause__, error.__context__) if cause is not None]
    if any(isinstance(cause, GatedRepoError) for cause in causes):
        return (
            f"model '{name}' is gated: accept its licence on https://huggingface.co/{name}, then log in with `hf auth login` or HF_TOKEN; "
            "or use a model that is not, such as Qwen/Qwen2.5-0.5B-Instruct"
        )
    if any(isinstance(cause, RepositoryNotFoundError) for cause in causes):
        return f"the Hub has no model '{name}', or shows it only to those who log in (`hf auth login` or HF_TOKEN)"
    return f"model '{name}' could not be downloaded: {first_line(error)}"


def _find_in_cache(name: str) -> Path | None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    try:
        return Path(snapshot_download(name, local_files_only=True, allow_patterns=FILES, ignore_patterns=SECOND_COPY))
    except HFValidationError:
        raise ModelNotFoundError(f"'{name}' is neither a folder nor a valid Hub id; give 'nano', a folder, or an id such as owner/model") from None
    except OSError:
        return None


def _hub_is_reachable() -> bool:
    """Whether a connection to the Hub opens within three seconds; False where the environment asks for offline work."""
    from huggingface_hub import constants

    if constants.is_offline_mode():
        return False
    endpoint, proxies = urlsplit(constants.ENDPOINT), getproxies()
    if proxies.get(endpoint.scheme) or proxies.get("all"):
        return True  # only the proxy knows
    port = endpoint.port or (80 if endpoint.scheme == "http" else 443)
    try:
        with socket.create_connection((endpoint.hostname or "", port), timeout=3):
            return True
    except OSError:
        return False


def describe_weights(name: str) -> dict[str, str]:
    """What tells a model's weights from others of the same name: hashes of the files in its folders, or the revision on the Hub.

    Nothing is downloaded, and a model that cannot be found has no description: whoever needs it will say so.
    """
    path = named_folder(name) or Path(name).expanduser()
    try:
        if is_adapter(path) or path.is_dir():
            found = find_weights(name)
            return {file.name: fingerprint_weights(file) for file in found.files}
        if named_folder(name):
            return {}
        cached = _find_in_cache(name)
        is_taken = cached is not None and is_whole(cached)  # else the Hub's newest is fetched, where it can be reached
        revision = (None if is_taken else _revision_on_hub(name)) or (cached.name if cached else None)
    except GrasperError:
        return {}
    return {"revision": revision} if revision else {}


def _revision_on_hub(name: str) -> str | None:
    """The revision that a download would get; None where the Hub does not tell."""
    if not _hub_is_reachable():
        return None
    from huggingface_hub import HfApi

    try:
        return HfApi().model_info(name, timeout=10).sha
    except Exception:  # the Hub's client raises errors of several libraries; the download will tell
        return None


def first_line(error: BaseException) -> str:
    """Kind and first line of another library's error."""
    return f"{type(error).__name__}: {next(iter(str(error).strip().splitlines()), '')}"[:300]
