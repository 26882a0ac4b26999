"""Many threads ask one model, as a web service does: each gets what it would get alone, and nothing is left broken."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from tiny_model import save_adapter

from grasper.models.base import Message, Prompt
from grasper.models.catalogue import KNOWN
from grasper.models.continuation import Continuation
from grasper.models.decoding import decode
from grasper.models.gather import Call, Gathering, Request
from grasper.models.local import LocalModel

PROMPTS = [Prompt((Message("user", f"Others about this item:\n{'The room was clean. ' * number}\nTask: write the text."),)) for number in range(8)]


@pytest.fixture(scope="module")
def nano() -> LocalModel:
    return LocalModel("nano", device="cpu", no_repeat_tokens=4)


@pytest.fixture(scope="module")
def adapted(nano: LocalModel, tmp_path_factory: pytest.TempPathFactory) -> LocalModel:
    return nano.with_adapter(save_adapter(KNOWN["nano"].folder, tmp_path_factory.mktemp("adapter"), nano.name))


def write(model: LocalModel, number: int) -> str:
    return model.generate([PROMPTS[number % 8]], max_new_tokens=12, seed=[number])[0][0].text


def test_threads_get_what_they_would_get_alone(nano: LocalModel, adapted: LocalModel) -> None:
    """Eight threads, 24 calls: texts of the base and of an adapter in turn, and ratings, equal those of one call after another."""
    calls = [(model, number) for number in range(8) for model in (nano, adapted)]
    alone = [write(model, number) for model, number in calls]
    ratings = [model.score_choices([PROMPTS[number]], ["1", "5"]).tolist() for model, number in calls[:8]]
    assert len(set(alone)) > 8
    with ThreadPoolExecutor(8) as pool:
        texts = [pool.submit(write, model, number) for model, number in calls]
        scored = [pool.submit(model.score_choices, [PROMPTS[number]], ["1", "5"]) for model, number in calls[:8]]
        assert [text.result() for text in texts] == alone
        assert [score.result().tolist() for score in scored] == ratings


def test_a_call_that_fails_leaves_nothing_broken(nano: LocalModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """One thread's prompt ends in an error in the middle of decoding: the others get their texts, and so does everybody afterwards."""
    alone = [write(nano, number) for number in range(8)]
    poison = tuple(nano.encode(PROMPTS[3]))

    def fail_at_poison(network: object, prompts: list[tuple[int, ...]], *arguments: object, **options: object) -> list[Continuation]:
        if poison in prompts:
            raise MemoryError("too long")
        return decode(network, prompts, *arguments, **options)  # type: ignore[arg-type]

    with monkeypatch.context() as patch, ThreadPoolExecutor(8) as pool:
        patch.setattr("grasper.models.local.decode", fail_at_poison)
        texts = [pool.submit(write, nano, number) for number in range(8)]
        assert [None if text.exception() else text.result() for text in texts] == [*alone[:3], None, *alone[4:]]
    assert [write(nano, number) for number in range(8)] == alone


def test_who_waits_is_answered_together() -> None:
    """While one call holds the network three come, two of one kind: two batches follow, not three."""
    gathering, network_is_free, is_working, batches = Gathering(), threading.RLock(), threading.Event(), list[int]()
    others_wait = threading.Event()

    def work(network: object, calls: list[Call]) -> None:
        is_working.set()
        others_wait.wait(10)
        batches.append(len(calls))
        for call in calls:
            call.answers = [Continuation([len(call.requests)], 1, True, 0.0)]

    def ask(kind: str, count: int) -> list[int]:
        return gathering.answer(Call(kind, [Request((1,), 0, 1)] * count), lambda: network_is_free, work)[0].tokens

    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(ask, "warm", 1)]
        is_working.wait(10)
        asked += [pool.submit(ask, kind, count) for kind, count in (("warm", 2), ("cold", 3), ("warm", 4))]
        while len(gathering._waiting) < 4:
            pass
        others_wait.set()
        assert [call.result() for call in asked] == [[1], [2], [3], [4]]
    assert sorted(batches) == [1, 1, 2]


def test_first_use_from_many_threads_loads_once() -> None:
    """In a fresh process, four threads open the model and write at the same time: one network, the right texts."""
    script = (
        "from concurrent.futures import ThreadPoolExecutor as Pool\n"
        "import grasper.models.weights as weights, grasper.models.backbone as backbone\n"
        "from grasper.config import ModelConfig; from grasper.models import open_model; from grasper.models.base import Message, Prompt\n"
        "loads, load = [], weights.load_model\n"
        "backbone.load_model = lambda *a, **o: loads.append(1) or load(*a, **o)\n"
        "def use(number):\n"
        "    model = open_model(ModelConfig(device='cpu'))\n"
        "    return id(model.backbone), model.generate([Prompt((Message('user', 'Hello'),))], max_new_tokens=5, seed=1)[0][0].text\n"
        "with Pool(4) as pool: print(len(set(pool.map(use, range(4)))), len(loads))"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300)
    assert result.stdout.split() == ["1", "1"], result.stderr[-2000:]


def test_few_kernels_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before torch is there, unless the user has said something else."""
    script = "import os, sys, grasper; print(os.environ['ONEDNN_PRIMITIVE_CACHE_CAPACITY'], 'torch' in sys.modules)"
    monkeypatch.delenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY", raising=False)
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout.split() == ["12", "False"]
    monkeypatch.setenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "1024")
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout.split() == ["1024", "False"]


def test_spinning_threads_are_asked_to_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    """Importing grasper says so to OpenMP before torch is there, unless the user has said something else."""
    script = "import os, sys, grasper; print(os.environ['OMP_WAIT_POLICY'], os.environ.get('GOMP_SPINCOUNT'), 'torch' in sys.modules)"
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout.split() == ["PASSIVE", "4000", "False"]
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout.split() == ["ACTIVE", "None", "False"]
