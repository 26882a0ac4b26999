"""The language models that grasper knows by name, and those that lie ready in the Hub's cache: what they are, how large, under which licence.

nano              embedded in the package
smollm2           fetched once by `grasper models get smollm2` into the user's cache folder
smollm2-reviews   an adapter, embedded in the package, on smollm2
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from grasper.errors import ModelNotFoundError
from grasper.files import cache_dir
from grasper.models.snapshot import WEIGHTS, is_whole, weights_in


@dataclass(frozen=True, slots=True)
class KnownModel:
    """A model that has a name of its own."""

    name: str
    description: str
    licence: str
    num_parameters: int
    """Of the model as it runs, its base included."""
    folder_name: str
    """Below this package where it is embedded, else below `models_dir()`."""
    is_embedded: bool
    base: str | None = None
    """For adapters: the known model they are opened on."""
    download_bytes: int = 0
    """To be fetched, where it is not embedded."""

    @property
    def folder(self) -> Path:
        """Where its files lie, or would lie."""
        return (Path(__file__).parent if self.is_embedded else models_dir()) / self.folder_name

    @property
    def is_there(self) -> bool:
        """Whether its own weights lie on this disk."""
        return any(self.folder.glob(WEIGHTS))


KNOWN = {
    model.name: model
    for model in (
        KnownModel("nano", "writes short reviews; the default, for a first look and for tests", "research only", 7_400_000, "nano", is_embedded=True),
        KnownModel(
            "smollm2",
            "SmolLM2-135M-Instruct, the smallest useful pre-trained model (English)",
            "Apache-2.0",
            134_515_008,
            "smollm2",
            is_embedded=False,
            download_bytes=92_871_040,
        ),
        KnownModel(
            "smollm2-reviews",
            "smollm2 with an adapter tuned on public reviews in grasper's prompts",
            "research only (base Apache-2.0)",
            134_515_008,
            "smollm2_reviews",
            is_embedded=True,
            base="smollm2",
        ),
    )
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of `grasper models`."""

    name: str
    description: str
    licence: str
    state: str
    """`ready`, or what is to be done first."""
    num_bytes: int | None
    """On disk, or to be fetched; None where unknown."""
    memory_bytes: int | None
    """Of the weights in memory on this machine's processor; None where unknown."""


def models_dir() -> Path:
    """Where fetched models lie."""
    return cache_dir() / "models"


def require_known(name: str) -> None:
    """Raise where a model of the catalogue, or the base of an adapter of it, is not on this disk.

    Raises:
        ModelNotFoundError: The message says how to get it.
    """
    missing = missing_part(KNOWN[name])
    if missing is None:
        return
    if missing.is_embedded:
        raise ModelNotFoundError(f"the model {name} has no weights in {missing.folder}; install grasper with its weights")
    needed_by = "" if missing.name == name else f", the base of {name},"
    size = f"{missing.download_bytes / 1e6:.0f} MB, once"
    raise ModelNotFoundError(f"model {missing.name}{needed_by} is not on this machine yet; run `grasper models get {missing.name}` ({size})")


def missing_part(model: KnownModel) -> KnownModel | None:
    """The model itself or its base, whichever has no weights on this disk; None where all is there."""
    parts = [model, *([KNOWN[model.base]] if model.base else [])]
    return next((part for part in parts if not part.is_there), None)


def list_models(bytes_per_parameter: int) -> list[Entry]:
    """The known models, then those in the Hub's cache that could be opened.

    Args:
        bytes_per_parameter: 2 where the processor is fast in bfloat16, else 4.
    """
    return [*(_entry_of(model, bytes_per_parameter) for model in KNOWN.values()), *_cached_entries(bytes_per_parameter)]


def _entry_of(model: KnownModel, bytes_per_parameter: int) -> Entry:
    missing = missing_part(model)
    if missing is None:
        state = "ready"
    elif missing.is_embedded:
        state = "not in this installation"
    else:
        state = f"grasper models get {missing.name}"
    size = _folder_bytes(model.folder) if model.is_there else model.download_bytes or None
    return Entry(model.name, model.description, model.licence, state, size, model.num_parameters * bytes_per_parameter)


def _cached_entries(bytes_per_parameter: int) -> Iterator[Entry]:
    """Models whose configuration and safetensors lie whole in the Hub's cache; nothing is fetched."""
    from huggingface_hub import constants, scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        repositories = scan_cache_dir(constants.HF_HUB_CACHE).repos
    except CacheNotFound:
        return
    for repository in sorted(repositories, key=lambda found: found.repo_id):
        newest_first = sorted(repository.revisions, key=lambda revision: -revision.last_modified)
        folder = next((revision.snapshot_path for revision in newest_first if is_whole(revision.snapshot_path)), None)
        if repository.repo_type != "model" or folder is None:
            continue
        num_bytes = sum(path.stat().st_size for path in weights_in(folder))
        yield Entry(repository.repo_id, "in the Hub's cache", "see its card", "ready", num_bytes, num_bytes * bytes_per_parameter // 2)


def _folder_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
