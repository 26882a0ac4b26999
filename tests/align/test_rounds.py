"""Rounds that are finished stay as they are; others are done again, and nothing half copied becomes the result."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from grasper.align.rounds import finished, take_over


def write_adapter(folder: Path, weights: str = "weights") -> Path:
    (folder / "adapter").mkdir(parents=True, exist_ok=True)
    (folder / "adapter" / "adapter_model.safetensors").write_text(weights)
    (folder / "adapter" / "adapter_config.json").write_text('{"base_model_name_or_path": "tiny"}')
    return folder / "adapter"


def test_a_round_is_done_until_its_record_names_the_adapter_beside_it(tmp_path: Path) -> None:
    calls = []

    def carry_out(folder: Path) -> dict[str, Any]:
        calls.append(write_adapter(folder))
        return {"pairs": 2}

    path = tmp_path / "round-1" / "counts.json"
    first = finished(path, carry_out)
    assert first == json.loads(path.read_text())
    assert (first["pairs"], len(first["adapter"]) > 0) == (2, True)
    assert finished(path, carry_out) == first
    assert len(calls) == 1
    for harm in (lambda: write_adapter(path.parent, "spoiled"), (calls[0] / "adapter_config.json").unlink, path.unlink):
        harm()
        assert finished(path, carry_out) == first
    assert len(calls) == 4


def test_a_round_without_an_adapter_is_finished_by_its_record(tmp_path: Path) -> None:
    finished(tmp_path / "round.json", lambda folder: {"pairs": 0})
    assert finished(tmp_path / "round.json", lambda folder: {"pairs": 1}) == {"pairs": 0}


def test_what_an_interrupted_copy_left_is_not_mixed_into_the_result(tmp_path: Path) -> None:
    """Neither files of an adapter that was only half copied nor those of one that stood there before."""
    for left in ("adapter.part", "adapter"):
        (tmp_path / left).mkdir()
        (tmp_path / left / "of-another.json").write_text("{}")
    take_over(write_adapter(tmp_path / "round-2"), tmp_path)
    assert sorted(path.name for path in (tmp_path / "adapter").iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]
    assert not (tmp_path / "adapter.part").exists()
