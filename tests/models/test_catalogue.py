from __future__ import annotations

import json
from pathlib import Path

import pytest
from safetensors import safe_open

from grasper.config import ModelConfig
from grasper.errors import ModelNotFoundError
from grasper.models import fingerprint_model, require_model
from grasper.models.adapters import base_of
from grasper.models.catalogue import KNOWN, list_models, models_dir, require_known
from grasper.models.locate import find_weights, named_folder


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of grasper and of the Hub."""
    monkeypatch.setenv("GRASPER_CACHE", str(tmp_path / "grasper"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path


def put(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"weights")


def test_names_are_folders_and_anything_else_is_not_known(cache: Path) -> None:
    put(models_dir() / "smollm2")
    assert named_folder("nano") == KNOWN["nano"].folder
    assert find_weights("smollm2").folder == cache / "grasper" / "models" / "smollm2"
    assert named_folder("owner/model") is None
    assert named_folder("./nano") is None


def test_a_model_that_must_be_fetched_first_says_how(cache: Path) -> None:
    """By every door that is looked through before work starts."""
    for look in (require_known, find_weights, lambda name: require_model(ModelConfig(name=name))):
        with pytest.raises(ModelNotFoundError, match=r"smollm2 is not on this machine yet; run `grasper models get smollm2` \(93 MB"):
            look("smollm2")
    assert fingerprint_model(ModelConfig(name="smollm2"))["weights"] == {}


def test_an_adapter_names_its_missing_base(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(KNOWN["nano"]), "is_there", property(lambda model: model.is_embedded))
    with pytest.raises(ModelNotFoundError, match="model smollm2, the base of smollm2-reviews, is not on this machine yet"):
        require_known("smollm2-reviews")


def test_other_weights_under_the_same_name_are_another_model(cache: Path) -> None:
    """A run made with the one is not gone on with the other."""
    put(models_dir() / "smollm2")
    before = fingerprint_model(ModelConfig(name="smollm2"))
    (models_dir() / "smollm2" / "model.safetensors").write_bytes(b"others!")
    assert fingerprint_model(ModelConfig(name="smollm2")) != before


def test_the_list_tells_sizes_and_what_is_to_be_done(cache: Path) -> None:
    by_name = {entry.name: entry for entry in list_models(2)}
    assert by_name["nano"].state == "ready"
    assert by_name["smollm2"].state == "grasper models get smollm2"
    assert by_name["smollm2"].num_bytes == 92_871_040
    assert by_name["smollm2"].memory_bytes == 2 * 134_515_008
    put(models_dir() / "smollm2")
    by_name = {entry.name: entry for entry in list_models(4)}
    assert (by_name["smollm2"].state, by_name["smollm2"].num_bytes) == ("ready", len(b"weights") + 2)
    assert by_name["smollm2"].memory_bytes == 4 * 134_515_008


def test_models_of_the_hubs_cache_are_listed_if_they_can_be_opened(cache: Path) -> None:
    found = {
        "whole": ["config.json", "model.safetensors", "consolidated.safetensors"],
        "pickle": ["config.json", "pytorch_model.bin"],
        "other": ["config.json", "consolidated.safetensors"],
        "half": ["config.json", "model-00001-of-00002.safetensors", "model.safetensors.index.json"],
    }
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    for name, files in found.items():
        snapshot = cache / "hub" / f"models--owner--{name}" / "snapshots" / "abc"
        snapshot.mkdir(parents=True)
        (snapshot.parents[1] / "refs").mkdir()
        (snapshot.parents[1] / "refs" / "main").write_text("abc")
        for file in files:
            (snapshot / file).write_text(json.dumps(index if "index" in file else {}))
    listed = list_models(2)[len(KNOWN) :]
    assert [(entry.name, entry.num_bytes) for entry in listed] == [
        ("owner/whole", len(json.dumps({})))
    ]  # a second copy of the weights is not counted


def test_the_shipped_adapter_is_small_whole_and_tells_how_far_it_was_trained() -> None:
    """LoRA of rank 16 on seven modules of 30 layers, at most 12 MB, with a card that names the tokens seen."""
    folder = KNOWN["smollm2-reviews"].folder
    assert base_of(folder) == "smollm2"
    assert (folder / "adapter_model.safetensors").stat().st_size <= 12_000_000
    with safe_open(folder / "adapter_model.safetensors", framework="pt") as tensors:
        assert len(tensors.keys()) == 2 * 7 * 30
    tokens = json.loads((folder / "training.json").read_text())["tokens"]
    card = (folder / "README.md").read_text()
    assert f"{tokens:,} tokens" in card
    assert ("**Intermediate**" in card) == (tokens < 8_000_000)
    assert (folder / "LICENSE-WEIGHTS").exists()
