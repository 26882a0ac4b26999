from __future__ import annotations

import fcntl
import json
import os
import re
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from processes import options, run_grasper
from safetensors.torch import load_file, save_file
from tiny_model import save_adapter, save_model
from tune_reviews import make_reviews

from grasper.config import ModelConfig, PromptConfig, TuneConfig
from grasper.errors import AdapterError, ConfigError, ModelError, RunLockedError, RunMismatchError
from grasper.files import read_jsonl
from grasper.models import fingerprint_model
from grasper.models.local import LocalModel
from grasper.tune import checkpoint, training
from grasper.tune.ahead import Drawers, Recipe
from grasper.tune.examples import ReviewSet
from grasper.tune.stage import MIXTURE, tune

CONFIG = TuneConfig(
    rank=2,
    target_modules=("q_proj", "down_proj"),
    learning_rate=0.03,
    tokens=8000,
    warmup_tokens=500,
    batch_tokens=2048,
    max_length=1500,
    evaluation_tokens=6000,
    averaging=0.5,
    workers=1,
)


@pytest.fixture
def held_out() -> ReviewSet:
    return ReviewSet("world", 1.0, make_reviews(12, 7, "held"), {}, tuple(make_reviews(8, 8, "shown")))


def run(
    folder: Path,
    model_dir: Path,
    sets: ReviewSet,
    held_out: ReviewSet | None = None,
    seed: int = 0,
    prompts: PromptConfig | None = None,
    context_tokens: int | None = None,
    **changes: Any,
) -> dict[str, Any]:
    config, model = CONFIG.model_copy(update=changes), ModelConfig(name=str(model_dir), device="cpu", context_tokens=context_tokens)
    return tune(config, model, [sets], [held_out] if held_out else [], folder, seed=seed, prompts=prompts)


def test_the_losses_fall_and_the_adapter_is_the_one_that_was_measured(
    tmp_path: Path, model_dir: Path, review_set: ReviewSet, held_out: ReviewSet
) -> None:
    counts = run(tmp_path, model_dir, review_set, held_out)
    assert counts["tokens"] >= 8000
    entries = read_jsonl(tmp_path / "metrics.jsonl")
    measured = [entry["held_out"] for entry in entries if "held_out" in entry]
    assert next(entry["tokens"] for entry in entries if "held_out" in entry) == 0
    assert set(measured[0]) == {task + path for task in ("long", "title", "rating", "review") for path in ("", "+path")}
    first, last = (sum(task["loss"] for task in losses.values()) for losses in (measured[0], measured[-1]))
    assert last < first - 1
    settings = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert settings["base_model_name_or_path"] == str(model_dir)
    adapted = PeftModel.from_pretrained(LocalModel(str(model_dir), device="cpu").model, str(tmp_path / "adapter"))
    tensors = load_file(checkpoint.latest(tmp_path) / "tensors.safetensors")  # type: ignore[operator]
    shown = {name.replace(".default.", "."): value for name, value in adapted.named_parameters() if "lora_" in name}
    assert len(shown) == 8
    assert all(torch.allclose(value.float(), tensors[f"mean/{name}"], atol=0.01) for name, value in shown.items())


def test_a_training_that_is_stopped_by_a_signal_ends_as_an_undisturbed_one(
    tmp_path: Path, model_dir: Path, review_set: ReviewSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGTERM in the second step: that step is finished, the rest is done by the next call."""
    run(tmp_path / "whole", model_dir, review_set, tokens=6000)
    steps = 0
    real = training._take

    def interrupted(*arguments: Any) -> Any:
        nonlocal steps
        steps += 1
        if steps == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return real(*arguments)

    monkeypatch.setattr(training, "_take", interrupted)
    counts = run(tmp_path / "cut", model_dir, review_set, tokens=6000)
    assert (counts["steps"], steps) == (2, 2)
    monkeypatch.setattr(training, "_take", real)
    run(tmp_path / "cut", model_dir, review_set, tokens=6000)
    whole, cut = (load_file(checkpoint.latest(tmp_path / name) / "tensors.safetensors") for name in ("whole", "cut"))  # type: ignore[operator]
    assert whole.keys() == cut.keys()
    assert all(value.equal(cut[name]) for name, value in whole.items())


def test_a_killed_drawing_process_costs_no_step(tmp_path: Path, model_dir: Path, review_set: ReviewSet, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the system kills the largest process where memory ends: told in one line, with a checkpoint, from which the training goes on."""
    recipe = Recipe.of(LocalModel(str(model_dir), device="cpu"), str(model_dir), [review_set], 0, MIXTURE, CONFIG.max_length)
    real, steps = training._take, 0

    def killing(*arguments: Any) -> Any:
        nonlocal steps
        steps += 1
        if steps == 3:
            for process in drawers._pool._processes.values():
                process.kill()
        return real(*arguments)

    monkeypatch.setattr(training, "_take", killing)
    config = CONFIG.model_copy(update={"tokens": 10**9})
    with Drawers(recipe, 1) as drawers, pytest.raises(ModelError, match="a process that draws examples was ended"):
        tune(config, ModelConfig(name=str(model_dir), device="cpu"), [review_set], [], tmp_path, seed=0, drawers=drawers)
    monkeypatch.setattr(training, "_take", real)
    saved = checkpoint.latest(tmp_path)
    assert saved is not None
    progress = checkpoint.read_progress(saved)
    assert progress.steps == steps - 1 >= 2
    assert run(tmp_path, model_dir, review_set, tokens=progress.tokens + 1)["steps"] == progress.steps + 1


def test_a_longer_training_goes_on(tmp_path: Path, model_dir: Path, review_set: ReviewSet) -> None:
    first = run(tmp_path, model_dir, review_set, tokens=5000)
    assert run(tmp_path, model_dir, review_set, tokens=5000) == first  # nothing is left to do
    assert run(tmp_path, model_dir, review_set, tokens=9000)["steps"] > first["steps"]
    assert len(list(tmp_path.glob("checkpoint-*"))) == 2


def test_a_checkpoint_that_was_set_aside_stays(tmp_path: Path, model_dir: Path, review_set: ReviewSet) -> None:
    """Under a name of its own it is nobody's to delete, and counts for none of the two that are kept."""
    run(tmp_path, model_dir, review_set, tokens=1)
    first = checkpoint.latest(tmp_path)
    assert first is not None
    aside = first.rename(first.with_name(f"{first.name}-before-decay"))
    for tokens in (2000, 4000, 6000):
        run(tmp_path, model_dir, review_set, tokens=tokens)
    assert (aside / "tensors.safetensors").is_file()
    assert len(checkpoint.checkpoints(tmp_path)) == 2


def test_a_training_goes_on_from_an_adapter(tmp_path: Path, model_dir: Path, review_set: ReviewSet, held_out: ReviewSet) -> None:
    """In the adapter's own shape; what was learned is there at the first measurement, and the adapter that comes out names the base."""
    run(tmp_path / "first", model_dir, review_set, held_out)
    adapter = tmp_path / "first" / "adapter"
    run(tmp_path / "second", adapter, review_set, held_out, tokens=600, rank=7)
    then, before = (
        [entry["held_out"] for entry in read_jsonl(tmp_path / name / "metrics.jsonl") if "held_out" in entry][place]
        for name, place in (("second", 0), ("first", -1))
    )
    assert {task: loss["loss"] for task, loss in then.items()} == pytest.approx({task: loss["loss"] for task, loss in before.items()}, abs=0.05)
    settings = json.loads((tmp_path / "second" / "adapter" / "adapter_config.json").read_text())
    assert (settings["r"], settings["base_model_name_or_path"]) == (2, str(model_dir))
    with pytest.raises(RunMismatchError, match="start"):
        run(tmp_path / "first", adapter, review_set, held_out)
    other = {name: value[:1] for name, value in load_file(adapter / "adapter_model.safetensors").items()}
    save_file(other, adapter / "adapter_model.safetensors", metadata={"format": "pt"})
    with pytest.raises(AdapterError, match="does not fit"):
        run(tmp_path / "third", adapter, review_set)


@pytest.mark.parametrize(
    "beyond",
    [
        {"use_rslora": True},
        {"use_dora": True},
        {"alpha_pattern": {"q_proj": 8}},
        {"rank_pattern": {"q_proj": 4}},
        {"modules_to_save": ["lm_head"]},
        {"target_modules": "all-linear"},
    ],
    ids=lambda beyond: next(iter(beyond)),
)
def test_an_adapter_that_is_no_plain_lora_is_not_gone_on_from(beyond: dict[str, Any], tmp_path: Path, model_dir: Path, review_set: ReviewSet) -> None:
    """In its bare shape it would be another adapter, scaled otherwise or without a part of it."""
    adapter = save_adapter(model_dir, tmp_path / "adapter", str(model_dir))
    settings = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(json.dumps(settings | beyond))
    with pytest.raises(AdapterError, match=f"has {next(iter(beyond))}=.*only plain LoRA"):
        run(tmp_path / "run", adapter, review_set, tokens=1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("base", "was begun with base"),
        ("data", "was begun with data"),
        ("seed", "was begun with seed"),
        ("rank", "was begun with adapter"),
    ],
)
def test_a_folder_of_another_training_is_refused(tmp_path: Path, model_dir: Path, review_set: ReviewSet, change: str, message: str) -> None:
    run(tmp_path / "run", model_dir, review_set, tokens=1)
    other = save_model(tmp_path / "other", seed=1, context_tokens=2048) if change == "base" else model_dir
    sets = replace(review_set, reviews=review_set.reviews[1:]) if change == "data" else review_set
    with pytest.raises(RunMismatchError, match=message):
        run(tmp_path / "run", other, sets, seed=int(change == "seed"), rank=4 if change == "rank" else 2)


def test_prompts_and_context_belong_to_a_training(tmp_path: Path, model_dir: Path, review_set: ReviewSet) -> None:
    """In whatever direction they change; what is as by default is not named, so that folders of former versions go on."""
    narrow = PromptConfig(own_entries=1)
    run(tmp_path / "usual", model_dir, review_set, tokens=1)
    run(tmp_path / "usual", model_dir, review_set, tokens=1, prompts=PromptConfig())
    assert not {"prompts", "context_tokens"} & json.loads((tmp_path / "usual" / "settings.json").read_text()).keys()
    with pytest.raises(RunMismatchError, match=r'was begun with prompts as by default, now it is \{"own_entries": 1\}'):
        run(tmp_path / "usual", model_dir, review_set, tokens=1, prompts=narrow)
    with pytest.raises(RunMismatchError, match="was begun with context_tokens as by default, now it is 1536"):
        run(tmp_path / "usual", model_dir, review_set, tokens=1, context_tokens=1536)
    run(tmp_path / "narrow", model_dir, review_set, tokens=1, prompts=narrow)
    with pytest.raises(RunMismatchError, match=r"prompts .* now it is as by default"):
        run(tmp_path / "narrow", model_dir, review_set, tokens=1)


def test_a_checkpoint_of_another_shape_or_a_damaged_one_is_told(tmp_path: Path, model_dir: Path, review_set: ReviewSet) -> None:
    run(tmp_path, model_dir, review_set, tokens=1)
    path = checkpoint.latest(tmp_path) / "tensors.safetensors"  # type: ignore[operator]
    tensors = load_file(path)
    name = next(name for name in sorted(tensors) if name.startswith("mean/"))
    save_file({**tensors, name: torch.zeros(3, 3)}, path)
    with pytest.raises(AdapterError, match=r"does not fit: mean/.* is \[3, 3\] there"):
        run(tmp_path, model_dir, review_set)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(AdapterError, match="cannot be read"):
        run(tmp_path, model_dir, review_set)


def test_two_trainers_on_one_folder_are_one_too_many(tmp_path: Path, model_dir: Path, review_set: ReviewSet) -> None:
    with (tmp_path / ".lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        with pytest.raises(RunLockedError, match="in use"):
            run(tmp_path, model_dir, review_set)


def test_a_server_cannot_be_tuned(tmp_path: Path, review_set: ReviewSet) -> None:
    with pytest.raises(ConfigError, match="only local models"):
        tune(CONFIG, ModelConfig(kind="endpoint", base_url="http://localhost:1/v1"), [review_set], [], tmp_path, seed=0)


def test_the_command_tunes_and_its_adapter_is_a_model_like_any_other(tmp_path: Path) -> None:
    """On the bundled data: reviews are counted, the same command finds its work done, and a run writes with the adapter and says whose it is."""
    small = ("tune.tokens=3000", "tune.warmup_tokens=500", "tune.rank=2", "tune.evaluation_tokens=100000", "tune.workers=1")
    command = ("tune", "--run", "x", *options([*small, "prompts.context_tokens=320"]))
    tuned = run_grasper(*command, cwd=tmp_path)
    assert tuned.returncode == 0, tuned.stderr
    assert re.search(r"reviews: reviews [\d,]+, reserved [\d,]+, evaluated_user [\d,]+, shared \d+, kept [\d,]+", tuned.stdout)
    adapter = tmp_path / "runs/x/tune/adapter"
    assert (adapter / "adapter_model.safetensors").is_file()
    assert run_grasper(*command, cwd=tmp_path).returncode == 0
    assert json.loads((tmp_path / "runs/x/tune/adapter/adapter_config.json").read_text())["r"] == 2
    written = run_grasper("pipeline", "--run", "y", "--methods", "none", "--limit", "1", "--set", f"model.name={adapter}", cwd=tmp_path)
    assert written.returncode == 0, written.stderr
    written_by = json.loads((tmp_path / "runs/y/generate/none/manifest.json").read_text())["key"]["model"]
    assert written_by["weights"] != fingerprint_model(ModelConfig())["weights"]
    assert written_by["weights"] == fingerprint_model(ModelConfig(name=str(adapter)))["weights"], "known by its content"
