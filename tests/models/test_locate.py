from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError, RepositoryNotFoundError

from grasper.errors import ModelNotFoundError
from grasper.models import locate

GATED, ABSENT = (kind.__new__(kind, "401 Client Error") for kind in (GatedRepoError, RepositoryNotFoundError))  # made without a response


@pytest.mark.parametrize(
    ("error", "wrapped", "message"),
    [
        (GATED, False, "'owner/model' is gated: accept its licence on https://huggingface.co/owner/model, then log in with `hf auth login`"),
        (GATED, True, "is gated: accept its licence"),
        (ABSENT, False, "the Hub has no model 'owner/model', or shows it only to those who log in"),
        (OSError("disk full"), False, "could not be downloaded: OSError: disk full"),
    ],
)
def test_what_the_hub_refuses_is_explained(error: Exception, wrapped: bool, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one line that says what to do, also where the Hub's client wraps its own error."""

    def download(name: str, *, local_files_only: bool = False, **options: Any) -> Path:
        if local_files_only:
            raise LocalEntryNotFoundError("not in the cache")
        if wrapped:
            raise LocalEntryNotFoundError("see above") from error
        raise error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    monkeypatch.setattr(locate, "_hub_is_reachable", lambda: True)
    with pytest.raises(ModelNotFoundError) as caught:
        locate.find_weights("owner/model")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


PARTS = [f"model-0000{number}-of-00002.safetensors" for number in (1, 2)]


@pytest.mark.parametrize(
    "left",
    [["config.json"], ["tokenizer.json"], ["config.json", "consolidated.safetensors"], ["config.json", "model.safetensors.index.json", PARTS[0]]],
)
def test_what_is_whole_is_taken_from_the_cache_and_what_is_not_is_fetched(left: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other programs leave a tokenizer, or one of several parts; offline, what is there is taken, and what it lacks is said."""
    files = {"model.safetensors.index.json": json.dumps({"weight_map": dict(zip("ab", PARTS, strict=True))})}
    for name in left:
        (tmp_path / name).write_text(files.get(name, "{}"))
    asked: list[bool] = []

    def download(name: str, *, local_files_only: bool = False, **options: object) -> str:
        asked.append(local_files_only)
        if not local_files_only:
            for part in ("config.json", *PARTS):
                (tmp_path / part).write_text("{}")
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    monkeypatch.setattr(locate, "_hub_is_reachable", lambda: True)
    assert locate.find_on_hub("owner/model") == tmp_path
    assert asked == [True, False]
    locate.find_on_hub("owner/model")
    assert asked == [True, False, True]


def test_a_second_copy_of_the_weights_is_not_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mistral's repositories hold `consolidated.safetensors`, or several of them with an index, beside what transformers reads."""
    names = ["config.json", "consolidated.safetensors", "consolidated-00001-of-00002.safetensors", "consolidated.safetensors.index.json", PARTS[0]]
    asked: list[list[str]] = []

    def download(name: str, *, local_files_only: bool = False, etag_timeout: float = 0, **patterns: Any) -> str:
        asked.append(list(huggingface_hub.utils.filter_repo_objects(names, **patterns)))
        if local_files_only:
            raise LocalEntryNotFoundError("not in the cache")
        return "folder"

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    monkeypatch.setattr(locate, "_hub_is_reachable", lambda: True)
    locate.find_on_hub("owner/model")
    assert asked == [["config.json", PARTS[0]]] * 2


def test_a_second_copy_of_the_weights_is_no_part_of_what_a_model_is(tmp_path: Path) -> None:
    """Whether a folder holds it or not, the fingerprint is the same, and its gigabytes are not read for it."""
    for name in ("config.json", PARTS[0], "consolidated.safetensors"):
        (tmp_path / name).write_text("{}")
    assert [path.name for path in locate.find_weights(str(tmp_path)).files] == [PARTS[0]]


@pytest.mark.parametrize(
    ("endpoint", "address"),
    [("https://hub.example", ("hub.example", 443)), ("http://mirror", ("mirror", 80)), ("http://mirror:8080", ("mirror", 8080))],
)
def test_a_mirror_of_the_hub_is_looked_for_at_its_port(endpoint: str, address: tuple[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, int]] = []
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", endpoint)
    monkeypatch.setattr(locate, "getproxies", dict)
    monkeypatch.setattr(locate.socket, "create_connection", lambda address, timeout: asked.append(address) or nullcontext())
    assert locate._hub_is_reachable()
    assert asked == [address]


def test_a_proxy_for_everything_is_one_to_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(locate, "getproxies", lambda: {"all": "socks5://127.0.0.1:9"})
    assert locate._hub_is_reachable()
