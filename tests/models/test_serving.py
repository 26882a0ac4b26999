"""The endpoint model against `transformers serve` on loopback."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from grasper.models.base import Message, Prompt
from grasper.models.endpoint import EndpointModel
from grasper.models.endpoint.client import Patience

pytestmark = [pytest.mark.slow]
START_SECONDS = 180


@pytest.fixture(scope="module")
def address(model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A running server with the tiny model."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(Path(sys.executable).with_name("transformers")), "serve", str(model_dir), "--host", "127.0.0.1", "--port", str(port)]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    log = tmp_path_factory.mktemp("serve") / "log"
    with log.open("wb") as output:
        process = subprocess.Popen([*command, "--device", "cpu"], stdout=output, stderr=output, env=environment)
    try:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                httpx.get(f"http://127.0.0.1:{port}/health", timeout=5).raise_for_status()
                break
            except httpx.HTTPError:
                assert process.poll() is None, log.read_text(errors="replace")
                assert time.monotonic() < deadline, log.read_text(errors="replace")
                time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait(20)


def test_speaks_with_transformers_serve(address: str, model_dir: Path, tmp_path: Path) -> None:
    """Samples come with token counts although this server ignores `n`; it gives no log-probabilities, so choices are read from the text."""
    model = EndpointModel(str(model_dir), address, cache_dir=tmp_path, patience=Patience(max_repeats=1))
    prompts = [Prompt((Message("user", f"Write a review of room {number}."),), "Title:") for number in range(2)]
    completions = model.generate(prompts, n=2, max_new_tokens=6)
    assert [len(row) for row in completions] == [2, 2]
    assert all(0 < completion.tokens_out <= 6 for row in completions for completion in row)
    assert model.score_choices(prompts, ["1", "2"]).sum(axis=1).tolist() == [1, 1]
    assert {one.told_by for one in model.scored(prompts, ["1", "2"])} <= {"sampled", "none"}
