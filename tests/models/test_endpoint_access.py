"""Addresses, logins and keys."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from servers import Answer, Body, chat, serving

from grasper import login
from grasper.config import Config, ModelConfig, load_config
from grasper.errors import ConfigError
from grasper.models import open_model
from grasper.models.base import Message, Prompt
from grasper.models.endpoint import EndpointModel
from grasper.models.endpoint.access import make_access, open_http
from grasper.models.endpoint.slots import Slots
from grasper.pipeline import dump_config

KEY = "sk-proj-1234567890abcdefghijklmn"


@pytest.fixture(autouse=True)
def _forget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(login, "_remembered", {})
    monkeypatch.delenv("GRASPER_LOGIN", raising=False)


@pytest.mark.parametrize(
    ("address", "plain", "known"),
    [
        ("http://ann:word@host:8000/v1", "http://host:8000/v1", ("ann", "word")),
        ("https://ann:w@r/d#?@host/v1", "https://host/v1", ("ann", "w@r/d#?")),
        ("https://ann:w%40rd@host/v1", "https://host/v1", ("ann", "w@rd")),
        ("https://token@host/v1", "https://host/v1", ("token", "")),
        ("https://host/v1", "https://host/v1", None),
        ("https://host/path/@scope/v1", "https://host/path/@scope/v1", None),
        ("http://host:8000/@scope/v1", "http://host:8000/@scope/v1", None),
        ("https://token@host/@scope/v1", "https://host/@scope/v1", ("token", "")),
        ("http://ann:123@host:8000/v1", "http://host:8000/v1", ("ann", "123")),
    ],
)
def test_a_login_leaves_the_address_at_once(address: str, plain: str, known: tuple[str, str] | None) -> None:
    """Whatever it holds; a configuration that is written down and read again still finds it in this process."""
    config = load_config(None, ["model.kind=endpoint"], model={"kind": "endpoint", "base_url": address})
    assert config.model.base_url == plain
    assert Config.model_validate_json(config.model_dump_json()).model.base_url == plain
    assert login.login_of(plain) == known
    for secret in known or ():
        assert not secret or f"{secret}@" not in dump_config(config) + repr(config)


def test_a_login_of_the_environment_comes_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRASPER_LOGIN", "bob:other:word")
    assert login.login_of("http://host/v1") == ("bob", "other:word")
    login.without_login("http://ann:word@host/v1")
    assert login.login_of("http://host/v1") == ("ann", "word")


def test_a_key_goes_before_a_login() -> None:
    access = make_access("http://ann:word-of-ann@host/v1", KEY)
    assert access.headers == {"Authorization": f"Bearer {KEY}"}
    assert access.base_url == "http://host/v1"
    assert KEY not in repr(access)


@pytest.mark.parametrize("address", ["http://host:port/v1", "http://host:99999/v1", "http://", "http://[::1/v1", "host/v1", "ftp://host"])
def test_an_address_that_is_none(address: str) -> None:
    with pytest.raises(ConfigError, match="expected an address such as"):
        make_access(address)


@pytest.mark.parametrize(("address", "is_checked"), [("https://host/v1", True), ("HTTPS://host/v1", True), ("http://host/v1", False)])
def test_certificates_are_checked_however_the_scheme_is_written(address: str, is_checked: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(httpx, "AsyncClient", lambda **settings: settings["verify"])
    assert open_http(make_access(address), concurrency=1, silence_seconds=1.0) == is_checked


def test_a_key_in_the_address_is_refused_and_not_shown() -> None:
    with pytest.raises(ConfigError, match="keys belong in MY_KEY") as caught:
        make_access(f"http://host/v1?api_key={KEY}", key_name="MY_KEY")
    assert KEY not in str(caught.value)


def test_redacts_whole_and_partial_secrets() -> None:
    """A quoted part is hidden with the word around it; what has nothing to do with a secret stays."""
    access = make_access("http://host/v1", KEY)
    assert access.redact(f"Bad key {KEY}, see https://host/help?key={KEY}") == "Bad key ***, see https://host/help?key=***"
    assert access.redact(f"Bad key '{KEY[:7]}***{KEY[-2:]}'") == "Bad key '***'"
    assert access.redact("Bad request: n must be 1") == "Bad request: n must be 1"
    assert make_access("http://host/v1", "x").redact("explain x") == "explain x"


def test_methods_share_what_was_found_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Equal settings open the same model, another key or cache another."""
    monkeypatch.setenv("GRASPER_CACHE", str(tmp_path))
    config = ModelConfig(kind="endpoint", name="tiny", base_url="http://host/v1", api_key_env="SOME_KEY")
    assert open_model(config) is open_model(config.model_copy())
    first = open_model(config)
    monkeypatch.setenv("SOME_KEY", "abc")
    assert open_model(config) is not first


def test_threads_and_models_of_one_server_keep_to_its_limit_together(tmp_path: Path) -> None:
    """A service that asks from many threads, some with the adapter of another method: no more requests at once than one call may send."""

    def respond(body: Body, number: int) -> Answer:
        time.sleep(0.02)
        return chat("fine")

    with serving(respond) as server, ThreadPoolExecutor(6) as threads:
        models = [EndpointModel(name, server.url, concurrency=2, cache_dir=tmp_path) for name in ("tiny", "adapted")]
        asked = [[Prompt((Message("user", f"{thread}-{number}"),)) for number in range(3)] for thread in range(6)]
        list(threads.map(lambda pair: pair[0].generate(pair[1]), zip(models * 3, asked, strict=True)))
        assert (len(server.requests), server.most_at_once) == (18, 2)


def test_a_long_batch_of_one_call_lets_a_request_of_another_through() -> None:
    """Slots go round in the order in which they were asked for."""
    batch, other = (Slots("http://busy/v1", 1, asyncio.Event()) for _ in range(2))
    order: list[str] = []

    async def ask(slots: Slots, name: str) -> None:
        async with slots.one():
            order.append(name)
            await asyncio.sleep(0.05)

    async def work() -> None:
        await asyncio.gather(*(ask(batch, str(number)) for number in range(4)), ask(other, "another"))

    asyncio.run(work())
    assert order == ["0", "another", "1", "2", "3"]


def test_nobody_waits_for_a_slot_once_their_call_has_failed() -> None:
    """What holds it may take minutes; and nobody's slot is lost by that."""
    held, stopping = Slots("http://full/v1", 1, asyncio.Event()), asyncio.Event()
    waiting = Slots("http://full/v1", 1, stopping)
    went_on: list[str] = []

    async def work() -> None:
        async with held.one():
            asyncio.get_running_loop().call_later(0.05, stopping.set)
            async with asyncio.timeout(20), waiting.one():
                went_on.append("without a slot")
        stopping.clear()
        async with asyncio.timeout(20), waiting.one():
            went_on.append("with the one that is free again")

    asyncio.run(work())
    assert went_on == ["without a slot", "with the one that is free again"]


def test_threads_get_the_same_as_one_after_another(tmp_path: Path) -> None:
    """Eight threads with one model; every answer belongs to its prompt."""
    with serving(lambda body, number: chat(f"{body['messages'][0]['content']} {body['seed']}")) as server:
        prompts = [[Prompt((Message("user", f"{thread}-{number}"),)) for number in range(5)] for thread in range(8)]
        alone = [EndpointModel("tiny", server.url, cache_dir=tmp_path / "a").generate(some, seed=3) for some in prompts]
        model, barrier = EndpointModel("tiny", server.url, cache_dir=tmp_path / "b"), threading.Barrier(8)

        def ask(some: list[Prompt]) -> object:
            barrier.wait(10)
            return model.generate(some, seed=3)

        with ThreadPoolExecutor(8) as threads:
            assert list(threads.map(ask, prompts)) == alone
