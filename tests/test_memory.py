"""Freed memory is handed back, and a container's limit counts."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from grasper import memory
from grasper.memory import give_back


@pytest.mark.skipif(sys.platform != "linux", reason="looks at the pages that Linux counts")
def test_freed_blocks_go_back_to_the_system() -> None:
    process = psutil.Process()
    kept = [np.ones(12_000) for _ in range(1_500)]  # 94 KiB each, so they lie in the heap
    full = process.memory_info().rss
    survivor = kept[-1]  # at the top of the heap: what lies below cannot be given back by lowering it
    del kept
    give_back()
    assert process.memory_info().rss < full - 100 * 2**20
    assert survivor.sum() == 12_000


def test_a_containers_limit_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a container may still take is less than what the machine has."""
    for name, value in (("CGROUP_LIMIT", "5000"), ("CGROUP_USAGE", "2000"), ("CGROUP_PARTS", "")):
        path = tmp_path / name
        path.write_text(value)
        monkeypatch.setattr(memory, name, path)
    assert memory.available_bytes() == 3000
    (tmp_path / "CGROUP_PARTS").write_text("anon 500\ninactive_file 1500\n")
    assert memory.available_bytes() == 4500  # pages of files that were read are given up when they are needed
    (tmp_path / "CGROUP_LIMIT").write_text("max")
    assert memory.available_bytes() > 3000


def test_what_torch_keeps_for_itself_on_a_gpu_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 80 GB another process holds 10; torch has taken 50 and uses 20 of them: 50 may still be had, not 20."""
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda device: (20, 80))
    monkeypatch.setattr("torch.cuda.memory_reserved", lambda device: 50)
    monkeypatch.setattr("torch.cuda.memory_allocated", lambda device: 20)
    assert memory.available_gpu_bytes(torch.device("cuda:0")) == 50
