from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from peft import LoraConfig
from tiny_model import save_model
from transformers import TrainingArguments

from grasper.align.sft import TrainingSequence, balance_tasks, finetune, make_sequence
from grasper.align.trainer import WeightedTrainer, collate, on_device, recomputes_activations, shared_arguments, summed_nll
from grasper.config import AlignConfig
from grasper.errors import CheckpointError, ConfigError, ModelError
from grasper.models.base import Message, Prompt
from grasper.models.local import LocalModel
from grasper.progress import Progress

PROMPT = Prompt((Message("system", "You write."), Message("user", "Task: write the text.")))
PATH = "Style: short\nInterests: rooms\nPlan: praise"
CONFIG = AlignConfig(learning_rate=0.01, epochs=6, batch_size=4, lora_dropout=0.0)


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("align-model"), context_tokens=1024)


@pytest.fixture
def model(model_dir: Path) -> LocalModel:
    return LocalModel(str(model_dir), device="cpu", dtype=torch.float32)


def test_summed_nll_by_hand() -> None:
    """Two positions with probabilities 1/2 and 1/4 and weights 1 and 3: ln 2 + 3 ln 4; a position of weight 0 does not count."""
    logits = torch.log(torch.tensor([[[0.5, 0.25, 0.25], [0.5, 0.25, 0.25], [0.98, 0.01, 0.01]]]))
    loss = summed_nll(logits, torch.tensor([[0, 1, 2]]), torch.tensor([[1.0, 3.0, 0.0]]))
    assert loss.item() == pytest.approx((torch.log(torch.tensor(2.0)) + 3 * torch.log(torch.tensor(4.0))).item())


def test_a_path_without_room_for_its_answer_is_not_learned(model: LocalModel) -> None:
    """It would teach to plan and say nothing; where all are like that, the settings are to blame."""
    endless = make_sequence(model, PROMPT, "Plan: praise " + "rooms " * 1200, "Text: lovely", "long", path_weight=1.0)
    assert len(endless.ids) == model.context_tokens
    assert not any(endless.weights)
    cut = make_sequence(model, PROMPT, PATH, "Text: " + "lovely " * 1200, "long", path_weight=1.0)
    assert any(cut.weights)
    with pytest.raises(ConfigError, match="no training pair is left"):
        finetune(model, [endless], [], CONFIG, Path("unused"), seed=0)


def test_prompt_is_masked_and_path_weighted(model: LocalModel) -> None:
    """Weight 0 over the prompt, its own over the path, 1 over answer and end token; the ids are those of inference plus the completion."""
    sequence = make_sequence(model, PROMPT, PATH, "Text: lovely", "long", path_weight=0.25)
    prompt_ids = model.encode(PROMPT)
    num_path = len(model.encode_text(PATH + "\n"))
    assert sequence.ids[: len(prompt_ids)] == prompt_ids
    assert sequence.weights[: len(prompt_ids)] == [0.0] * len(prompt_ids)
    assert set(sequence.weights[len(prompt_ids) : len(prompt_ids) + num_path]) == {0.25}
    assert set(sequence.weights[len(prompt_ids) + num_path :]) == {1.0}
    assert sequence.ids[-1] == model.tokenizer.eos_token_id
    assert model.tokenizer.decode(sequence.ids[len(prompt_ids) : -1]) == f"{PATH}\nText: lovely"


def test_tokens_of_a_task_count_alike_and_tasks_by_their_pairs() -> None:
    """Within a task one factor for all, so that an end token weighs the same behind a short text and a long one; a sequence's mean total is 1."""
    short, long = TrainingSequence([1, 2], [0.0, 1.0], "long"), TrainingSequence([1] * 10, [0.0] + [1.0] * 9, "long")
    rating = TrainingSequence([1, 2], [0.0, 1.0], "rating")
    balanced = balance_tasks([short, long, rating])
    assert [sum(sequence.weights) for sequence in balanced] == pytest.approx([0.2, 1.8, 1.0])
    assert balanced[0].weights[-1] == balanced[1].weights[-1]


def test_the_loss_does_not_depend_on_who_shares_the_batch(model: LocalModel) -> None:
    """A short and a long sequence in one batch, or each in its own: the same mean loss, hence the same weight per token."""
    answers = ("Text: good", "Text: the rooms were clean and the breakfast on the terrace was the best that we had")
    rows = [
        {"input_ids": s.ids, "weights": s.weights} for s in (make_sequence(model, PROMPT, "", answer, "long", path_weight=0) for answer in answers)
    ]

    def loss(*batch: dict[str, Any]) -> float:
        return float(WeightedTrainer.compute_loss(SimpleNamespace(), model.model, collate(batch, pad_id=0)).detach())  # type: ignore[arg-type]

    assert loss(*rows) == pytest.approx((loss(rows[0]) + loss(rows[1])) / 2, rel=1e-5)


def test_batches_end_together() -> None:
    """Left padding: completions end in the last column, positions count real tokens only."""
    batch = collate([{"input_ids": [5, 6, 7], "weights": [0, 1, 1]}, {"input_ids": [8], "weights": [1]}], pad_id=0)
    assert all(set(tensor[:, :-3].flatten().tolist()) == {0} for tensor in batch.values())  # filled up to a multiple of 32
    batch = {name: tensor[:, -3:] for name, tensor in batch.items()}
    assert batch["input_ids"].tolist() == [[5, 6, 7], [0, 0, 8]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [0, 0, 1]]
    assert batch["position_ids"].tolist() == [[0, 1, 2], [0, 0, 0]]


def test_loss_over_completions_equals_loss_over_everything(model: LocalModel) -> None:
    """The output layer runs over the tail only; the loss is the same as over all positions."""
    sequences = [make_sequence(model, PROMPT, PATH, answer, "long", path_weight=0.5) for answer in ("Text: a b c", "Text: the rooms were clean")]
    batch = collate([{"input_ids": s.ids, "weights": s.weights} for s in sequences], pad_id=0)
    weights = batch.pop("weights")
    with torch.no_grad():
        logits = model.model(**batch).logits
        first = int((weights > 0).any(0).nonzero()[0, 0])
        tail = model.model(**batch, logits_to_keep=weights.shape[1] - first + 1).logits
    whole = summed_nll(logits[:, :-1], batch["input_ids"][:, 1:], weights[:, 1:])
    assert summed_nll(tail[:, :-1], batch["input_ids"][:, first:], weights[:, first:]).item() == pytest.approx(whole.item(), rel=1e-5)


@pytest.mark.filterwarnings("error")  # a user could do nothing about them
def test_training_learns_and_leaves_the_base_alone(model: LocalModel, tmp_path: Path) -> None:
    """The loss falls, the adapter loads and changes the model, and the base model's weights are bit for bit what they were."""
    before = {name: value.clone() for name, value in model.model.state_dict().items()}
    sequences = [make_sequence(model, PROMPT, PATH, "Text: We loved the breakfast.", "long", path_weight=1.0)] * 8
    counts = finetune(model, sequences, sequences[:2], CONFIG, tmp_path, seed=1)
    assert counts["eval_loss"] < 0.8 * counts["first_loss"]
    assert all(torch.equal(before[name], value) for name, value in model.model.state_dict().items())
    adapted = model.with_adapter(tmp_path / "adapter")
    assert adapted.name != model.name
    logged = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert sum("loss" in entry for entry in logged) > 1
    assert sum("eval_loss" in entry for entry in logged) == 6


def test_checkpoints_ask_no_hub(model: LocalModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A base whose identity is no folder, such as the embedded model, would otherwise be looked up at every save."""

    def refuse(*arguments: object, **options: object) -> None:
        raise AssertionError("asked the Hub")

    monkeypatch.setattr("peft.utils.save_and_load.check_file_exists_on_hf_hub", refuse)
    model.model.name_or_path = "tiny@0123456789abcdef"
    sequences = [make_sequence(model, PROMPT, PATH, "Text: Dry cake.", "long", path_weight=1.0)] * 4
    finetune(model, sequences, [], CONFIG, tmp_path, seed=1)
    assert list(tmp_path.glob("checkpoints/checkpoint-*/adapter_model.safetensors"))


def test_training_is_deterministic_and_seeds_nothing_globally(model: LocalModel, tmp_path: Path) -> None:
    """Same seed, same adapter; the caller's random state is untouched."""
    sequences = [make_sequence(model, PROMPT, PATH, f"Text: view {number}", "long", path_weight=1.0) for number in range(6)]
    config = CONFIG.model_copy(update={"epochs": 1, "lora_dropout": 0.1})
    state = torch.get_rng_state()
    for name in ("a", "b"):
        finetune(model, sequences, [], config, tmp_path / name, seed=3)
    assert torch.equal(state, torch.get_rng_state())
    first, second = ((tmp_path / name / "adapter" / "adapter_model.safetensors").read_bytes() for name in ("a", "b"))
    assert first == second


@pytest.fixture
def sequences(model: LocalModel) -> list[TrainingSequence]:
    """Eight sequences; with batches of two and two epochs they make eight steps and two checkpoints, after steps 5 and 8."""
    return [make_sequence(model, PROMPT, PATH, f"Text: view {number}", "long", path_weight=1.0) for number in range(8)]


TWO_CHECKPOINTS = CONFIG.model_copy(update={"epochs": 2, "batch_size": 2})


def unfinish(out_dir: Path) -> None:
    """Leave what a training leaves that was killed after its first checkpoint."""
    shutil.rmtree(out_dir / "checkpoints" / "checkpoint-8")
    shutil.rmtree(out_dir / "adapter")
    (out_dir / "metrics.jsonl").unlink()


def losses(out_dir: Path) -> list[tuple[int, float]]:
    entries = map(json.loads, (out_dir / "metrics.jsonl").read_text().splitlines())
    return [(entry["step"], entry["loss"]) for entry in entries if "loss" in entry]


def test_resuming_from_a_checkpoint_equals_training_through(model: LocalModel, sequences: list[TrainingSequence], tmp_path: Path) -> None:
    """A training that was stopped after its checkpoint ends with the same files and the same logged losses as an undisturbed one."""
    finetune(model, sequences, [], TWO_CHECKPOINTS, tmp_path / "through", seed=3)
    shutil.copytree(tmp_path / "through", tmp_path / "stopped")
    unfinish(tmp_path / "stopped")
    finetune(model, sequences, [], TWO_CHECKPOINTS, tmp_path / "stopped", seed=3)
    for file in ("adapter_model.safetensors", "adapter_config.json"):
        first, second = ((tmp_path / name / "adapter" / file).read_bytes() for name in ("through", "stopped"))
        assert first == second
    assert losses(tmp_path / "stopped") == losses(tmp_path / "through") != []


@pytest.mark.parametrize("damage", ["cut off", "a file gone", "empty", "never named"])
def test_a_broken_checkpoint_does_not_block_the_run(
    model: LocalModel, sequences: list[TrainingSequence], tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    """The newest whole one is taken, told in one line; with none left, the training starts over. The adapter is the same to the bit."""
    finetune(model, sequences, [], TWO_CHECKPOINTS, tmp_path, seed=3)
    whole = (tmp_path / "adapter" / "adapter_model.safetensors").read_bytes()
    first, second = (tmp_path / "checkpoints" / f"checkpoint-{step}" for step in (5, 8))
    for broken, goes_on in ((second, "from checkpoint-5"), (first, "over")):
        shutil.rmtree(tmp_path / "adapter")
        if damage == "cut off":
            (broken / "optimizer.pt").write_bytes((broken / "optimizer.pt").read_bytes()[:100])
        elif damage == "a file gone":
            (broken / "trainer_state.json").unlink()
        elif damage == "empty":
            shutil.rmtree(broken)
            broken.mkdir()
        else:
            broken.rename(broken.parent / "part")
        if broken == first:
            shutil.rmtree(second)
        caplog.clear()
        finetune(model, sequences, [], TWO_CHECKPOINTS, tmp_path, seed=3)
        assert [record.getMessage().rpartition("starts ")[2] for record in caplog.records if "checkpoint" in record.getMessage()] == [goes_on]
        assert (tmp_path / "adapter" / "adapter_model.safetensors").read_bytes() == whole


@pytest.mark.parametrize("failing", ["torch.save", "grasper.align.trainer.publish"])
def test_a_full_disk_is_told_and_leaves_what_can_be_resumed(
    model: LocalModel, sequences: list[TrainingSequence], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    """No room while the second checkpoint is written: one line; with room again the training goes on from the first."""
    finetune(model, sequences, [], TWO_CHECKPOINTS, tmp_path / "through", seed=3)
    shutil.copytree(tmp_path / "through", tmp_path / "full")
    unfinish(tmp_path / "full")

    def no_room(*arguments: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(failing, no_room)
        with pytest.raises(CheckpointError, match="make room"):
            finetune(model, sequences, [], TWO_CHECKPOINTS, tmp_path / "full", seed=3)
    assert [path.name for path in (tmp_path / "full" / "checkpoints").iterdir()] == ["checkpoint-5"]
    finetune(model, sequences, [], TWO_CHECKPOINTS, tmp_path / "full", seed=3)
    first, second = ((tmp_path / name / "adapter" / "adapter_model.safetensors").read_bytes() for name in ("through", "full"))
    assert first == second


def test_the_order_of_modules_is_the_same_in_every_process(model_dir: Path, tmp_path: Path) -> None:
    """Python orders sets differently from process to process; the settings of equal adapters are equal to the byte."""
    script = (
        "from pathlib import Path; from peft import LoraConfig; from grasper.models.backbone import Backbone\n"
        "from grasper.align.trainer import save_adapter\n"
        "modules = ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'up_proj', 'down_proj', 'gate_proj']\n"
        "backbone = Backbone({model!r}, device='cpu')\n"
        "with backbone.training(LoraConfig(target_modules=modules, task_type='CAUSAL_LM')) as model: save_adapter(model, Path({folder!r}))"
    )
    exec(script.format(model=str(model_dir), folder=str(tmp_path / "here")), {})
    other = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
    command = [sys.executable, "-c", script.format(model=str(model_dir), folder=str(tmp_path / "there"))]
    subprocess.run(command, check=True, capture_output=True, env=os.environ | {"PYTHONHASHSEED": other})
    here, there = ((tmp_path / folder / "adapter_config.json").read_bytes() for folder in ("here", "there"))
    assert here == there


def test_in_bfloat16_adapters_multiply_as_the_network_does(model_dir: Path, tmp_path: Path) -> None:
    """Products of all layers are bfloat16 in training, while the adapter keeps float32, which small steps need."""
    model = LocalModel(str(model_dir), device="cpu", dtype=torch.bfloat16)
    seen: list[torch.dtype] = []
    with model.backbone.training(LoraConfig(target_modules=["q_proj"], task_type="CAUSAL_LM")) as peft_model:
        layers = [module for name, module in peft_model.named_modules() if name.endswith(("lora_A.default", "lora_B.default"))]
        for layer in layers:
            layer.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
        batch = collate([{"input_ids": [5, 6, 7], "weights": [0, 1, 1]}], pad_id=0)
        WeightedTrainer.compute_loss(SimpleNamespace(), peft_model, batch).backward()  # type: ignore[arg-type]
        assert len(seen) == len(layers) == 4
        assert set(seen) == {torch.bfloat16}
        assert all(layer.weight.dtype == layer.weight.grad.dtype == torch.float32 for layer in layers)


def test_training_on_a_network_that_others_use(model: LocalModel, sequences: list[TrainingSequence], tmp_path: Path) -> None:
    """Another adapter in memory changes nothing of what is learned, and base and adapters write afterwards what they wrote before."""
    ask = {"max_new_tokens": 8, "temperature": 1.0, "seed": 1}
    finetune(model, sequences, [], TWO_CHECKPOINTS, tmp_path / "alone", seed=3)
    finetune(model, sequences, [], TWO_CHECKPOINTS.model_copy(update={"learning_rate": 0.1}), tmp_path / "other", seed=4)
    other = model.with_adapter(tmp_path / "other" / "adapter")
    before = [one.generate([PROMPT], **ask) for one in (model, other)]  # type: ignore[arg-type]
    assert before[0] != before[1]
    finetune(model, sequences, [], TWO_CHECKPOINTS, tmp_path / "beside", seed=3)
    assert [one.generate([PROMPT], **ask) for one in (model, other)] == before  # type: ignore[arg-type]
    first, second = ((tmp_path / name / "adapter" / "adapter_model.safetensors").read_bytes() for name in ("alone", "beside"))
    assert first == second


def test_a_tokenizer_without_padding_and_end_is_enough(model: LocalModel, sequences: list[TrainingSequence], tmp_path: Path) -> None:
    """What fills up shorter rows is seen by none, so the adapter is the same to the bit."""
    adapters = []
    for name in ("with", "without"):
        if name == "without":
            model.tokenizer.pad_token = model.tokenizer.eos_token = None
            assert model.tokenizer.pad_token_id is None
        finetune(model, sequences, [], CONFIG.model_copy(update={"epochs": 1}), tmp_path / name, seed=3)
        adapters.append((tmp_path / name / "adapter" / "adapter_model.safetensors").read_bytes())
    assert adapters[0] == adapters[1]


def test_bad_training_input(model: LocalModel, tmp_path: Path) -> None:
    """No sequence, modules that the model lacks, a loss that is not finite: each is named."""
    sequence = make_sequence(model, PROMPT, PATH, "Text: view", "long", path_weight=1.0)
    with pytest.raises(ConfigError, match="reward_threshold"):
        finetune(model, [], [], CONFIG, tmp_path, seed=0)
    with pytest.raises(ConfigError, match="target_modules"):
        finetune(model, [sequence], [], CONFIG.model_copy(update={"target_modules": ("absent",)}), tmp_path / "modules", seed=0)
    with torch.no_grad():
        model.model.model.norm.weight.fill_(float("nan"))
    with pytest.raises(ModelError, match="learning_rate"):
        finetune(model, [sequence], [], CONFIG, tmp_path / "nan", seed=0)


@pytest.mark.parametrize(
    ("device", "parameters", "tokens", "free", "expected"),
    [
        ("cuda", 135e6, 4_000, 80e9, False),
        ("cuda", 135e6, 4_000, 16e9, True),
        ("cuda", 7e9, 4_000, 800e9, True),
        ("cpu", 7e9, 4_000, 80e9, False),
        ("cpu", 135e6, 2_000, 16e9, False),
        ("cpu", 135e6, 6_000, 16e9, True),
    ],
)
def test_activations_are_recomputed_for_large_networks_on_a_gpu_and_where_there_is_no_room(
    device: str, parameters: float, tokens: int, free: float, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SmolLM2's thirty layers take some 2.4 MB a token."""
    monkeypatch.setattr("grasper.align.trainer.available_gpu_bytes", lambda device: int(free))
    monkeypatch.setattr("grasper.align.trainer.available_bytes", lambda: int(free))
    config = SimpleNamespace(get_text_config=lambda: SimpleNamespace(num_hidden_layers=30, hidden_size=576))
    network = SimpleNamespace(num_parameters=lambda: int(parameters), config=config, dtype=torch.bfloat16, supports_gradient_checkpointing=True)
    model = SimpleNamespace(device=torch.device(device), model=network)
    assert recomputes_activations(model, tokens) == expected  # type: ignore[arg-type]
    network.supports_gradient_checkpointing = False
    assert not recomputes_activations(model, tokens)  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_trains_in_the_format_of_the_network(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU that emulates bfloat16 has its network in float32, and torch says all the same that it supports the other."""
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
    monkeypatch.setattr("grasper.align.trainer.recomputes_activations", lambda model, tokens: False)
    model = SimpleNamespace(device=torch.device("cuda"), model=SimpleNamespace(dtype=dtype))
    assert shared_arguments(model, 100, seed=0)["bf16"] == (dtype == torch.bfloat16)  # type: ignore[arg-type]


def test_progress_ends_with_a_training_that_fails(
    model: LocalModel, sequences: list[TrainingSequence], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bar that goes on keeps the cursor hidden; a failed training is no finished one."""
    ended: list[type[BaseException] | None] = []
    monkeypatch.setattr(Progress, "__exit__", lambda progress, kind, error, traceback: ended.append(kind))
    finetune(model, sequences, [], CONFIG, tmp_path / "whole", seed=0)
    assert ended == [None]
    monkeypatch.setattr("grasper.align.trainer.summed_nll", lambda *tensors: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        finetune(model, sequences, [], CONFIG, tmp_path / "interrupted", seed=0)
    assert ended == [None, KeyboardInterrupt]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_recomputed_activations_change_nothing_and_leave_nothing_behind(
    model_dir: Path, sequences: list[TrainingSequence], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype
) -> None:
    """In either format of the network; adapters are in float32 always, and multiply in the network's."""
    model = LocalModel(str(model_dir), device="cpu", dtype=dtype)
    config = CONFIG.model_copy(update={"lora_dropout": 0.1})
    plain = finetune(model, sequences, [], config, tmp_path / "plain", seed=0)
    hooks = len(model.model.get_input_embeddings()._forward_hooks)
    monkeypatch.setattr("grasper.align.trainer.recomputes_activations", lambda model, tokens: True)
    again = finetune(model, sequences, [], config, tmp_path / "recomputed", seed=0)
    assert again["last_loss"] == pytest.approx(plain["last_loss"], rel=1e-3)
    assert again["last_loss"] < again["first_loss"]
    assert not any(getattr(module, "gradient_checkpointing", False) for module in model.model.modules())
    assert len(model.model.get_input_embeddings()._forward_hooks) == hooks


def test_several_gpus_in_sight_are_one(tmp_path: Path) -> None:
    """Otherwise the library would spread every batch over all of them."""
    arguments = TrainingArguments(output_dir=str(tmp_path), use_cpu=True)
    arguments._n_gpu = 4
    with on_device(arguments, torch.device("cpu")):
        assert arguments.n_gpu == 1


def test_training_stays_on_the_device_that_was_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of several GPUs it is the network's, within the block alone."""
    entered: list[torch.device] = []
    monkeypatch.setattr("torch.cuda.device", lambda device: entered.append(device) or nullcontext())
    arguments = TrainingArguments(output_dir=str(tmp_path), use_cpu=True)
    with on_device(arguments, torch.device("cuda:1")):
        assert arguments.device == torch.device("cuda:1")
    assert entered == [torch.device("cuda:1")]
