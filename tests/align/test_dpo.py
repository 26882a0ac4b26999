"""The traps of preference training with trl, one by one."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

pytest.importorskip("trl", reason="needs the extra rl")

from tiny_model import save_model

import grasper.align.dpo as dpo
from grasper.align.preference import JudgedNotes, PreferencePair
from grasper.config import AlignConfig, DpoConfig
from grasper.errors import ConfigError, ModelError, PromptTooLongError
from grasper.models.base import Message, Prompt
from grasper.models.local import LocalModel

LORA = AlignConfig(lora_rank=4, lora_alpha=8)
CONFIG = DpoConfig(learning_rate=0.01, epochs=8, batch_size=2, sft_weight=0.0)


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("dpo-model"), context_tokens=256)


@pytest.fixture
def model(model_dir: Path) -> LocalModel:
    return LocalModel(str(model_dir), device="cpu", dtype=torch.float32)


def pair(chosen: str = "Style: short; warm", rejected: str = "Style: long; cold", question: str = "note how they write.") -> PreferencePair:
    prompt = Prompt((Message("system", "You write."), Message("user", question)))
    return PreferencePair(JudgedNotes("e/long", "style", prompt, chosen, 0.2), JudgedNotes("e/long", "style", prompt, rejected, 0.0))


PAIRS = [pair(question=f"note how they write, {number}.") for number in range(4)]


def logprob(model: LocalModel, prompt: Prompt, answer: str) -> float:
    """Log-probability of an answer with its end token, summed."""
    head, tail = model.encode(prompt), [*model.encode_text(answer), model.tokenizer.eos_token_id]
    ids = torch.tensor([head + tail])
    with torch.no_grad(), model.network() as network:
        scores = network(input_ids=ids).logits.float().log_softmax(-1)
    return float(scores[0, len(head) - 1 : -1].gather(1, torch.tensor(tail)[:, None]).sum())


def gap(model: LocalModel, one: PreferencePair) -> float:
    return logprob(model, one.prompt, one.chosen.notes) - logprob(model, one.prompt, one.rejected.notes)


def train(model: LocalModel, tmp_path: Path, adapter: Path | None = None, config: DpoConfig = CONFIG, pairs: list[PreferencePair] = PAIRS):
    return dpo.train_on_preferences(model, adapter, pairs, config, LORA, tmp_path, seed=0)


def test_step_zero_has_margin_zero_and_loss_ln_2_and_training_prefers_the_chosen(model: LocalModel, tmp_path: Path) -> None:
    counts = train(model, tmp_path)
    assert counts["first_loss"] == pytest.approx(math.log(2), abs=1e-4)
    assert counts["first_margin"] == pytest.approx(0.0, abs=1e-4)
    assert (counts["pairs"], counts["steps"]) == (4, 16)
    assert counts["last_loss"] < counts["first_loss"]
    trained = model.with_adapter(tmp_path / "adapter")
    assert gap(trained, PAIRS[0]) > gap(model, PAIRS[0]) + 0.1


def test_reference_is_the_adapter_before_the_round_and_not_the_base(model: LocalModel, tmp_path: Path) -> None:
    """A second round starts again from margin 0, although its start is far from the base model; and it goes on from there."""
    train(model, tmp_path / "one")
    first = model.with_adapter(tmp_path / "one" / "adapter")
    counts = train(model, tmp_path / "two", tmp_path / "one" / "adapter")
    assert counts["first_margin"] == pytest.approx(0.0, abs=1e-4)
    assert counts["first_loss"] == pytest.approx(math.log(2), abs=1e-4)
    assert gap(model.with_adapter(tmp_path / "two" / "adapter"), PAIRS[0]) > gap(first, PAIRS[0]) > gap(model, PAIRS[0])


def test_what_trl_trains_on_has_the_log_probabilities_of_inference(model: LocalModel, tmp_path: Path) -> None:
    """Counted here from the prompt and the answer as generation encodes them, end token included."""
    train(model, tmp_path, config=CONFIG.model_copy(update={"epochs": 1.0, "batch_size": 1}), pairs=PAIRS[:1])
    first = json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[0])
    assert first["logps/chosen"] == pytest.approx(logprob(model, PAIRS[0].prompt, PAIRS[0].chosen.notes), rel=1e-4)
    assert first["logps/rejected"] == pytest.approx(logprob(model, PAIRS[0].prompt, PAIRS[0].rejected.notes), rel=1e-4)


def test_only_the_trained_adapter_is_exported(model: LocalModel, tmp_path: Path) -> None:
    train(model, tmp_path)
    files = sorted(path.relative_to(tmp_path / "adapter").as_posix() for path in (tmp_path / "adapter").rglob("*") if path.is_file())
    assert files == ["adapter_config.json", "adapter_model.safetensors"]
    keys = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    assert keys
    assert not any("ref" in key.split(".") for key in keys)
    assert json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())["base_model_name_or_path"] == model.name


def test_the_base_model_is_left_as_it_was(model: LocalModel, tmp_path: Path) -> None:
    before = {name: value.clone() for name, value in model.model.state_dict().items()}
    forward = type(model.model).forward
    train(model, tmp_path)
    after = model.model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not model.model.training
    assert model.model.forward.__func__ is forward  # trl hangs a forward of its own on the model
    assert all(parameter.dtype == torch.float32 for parameter in model.model.parameters())


def test_the_networks_own_dropout_comes_back(model: LocalModel, tmp_path: Path) -> None:
    """trl takes it out for good; what is trained next in this process would train without it."""
    dropout = torch.nn.Dropout(0.25)
    model.model.add_module("dropout_of_its_own", dropout)
    train(model, tmp_path)
    assert dropout.p == 0.25


def test_what_one_side_has_beyond_the_others_length_weighs_less(model: LocalModel, tmp_path: Path) -> None:
    """`ld_alpha` reaches the loss."""
    pairs = [pair(rejected="Style: long; cold; it goes on and on", question=f"note how they write, {number}.") for number in range(4)]
    whole, less = (
        train(model, tmp_path / str(alpha), config=CONFIG.model_copy(update={"ld_alpha": alpha}), pairs=pairs)["last_loss"] for alpha in (None, 0.2)
    )
    assert less > 1.5 * whole, "the rejected side's surplus, which is easily made unlikely, counts for less"


def test_nothing_is_cut_and_a_pair_that_does_not_fit_is_refused(model: LocalModel, tmp_path: Path) -> None:
    tokens = dpo.tokenise(model, PAIRS[0])
    assert tokens.prompt_ids == model.encode(PAIRS[0].prompt)
    assert model.tokenizer.decode(tokens.chosen_ids) == "Style: short; warm<|end|>"
    assert model.tokenizer.decode(tokens.rejected_ids) == "Style: long; cold<|end|>"
    with pytest.raises(PromptTooLongError, match=r"a preference pair of e/long has \d+ tokens, model .* holds 256"):
        train(model, tmp_path, pairs=[*PAIRS, pair(rejected="Style: " + "long; " * 200)])
    assert not (tmp_path / "adapter").exists()


def test_sequences_beyond_trls_default_length_arrive_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both answers of every pair reach the loss whole, behind a prompt that is longer than trl's `max_length` of 1024."""
    model = LocalModel(str(save_model(tmp_path / "long-model", context_tokens=2048)), device="cpu", dtype=torch.float32)
    one = pair(question="room " * 600)
    expected = dpo.tokenise(model, one)
    assert len(expected.prompt_ids) > 1024
    trainer_class, *_ = dpo.require_trl()
    seen = []
    compute = trainer_class._compute_loss

    def watched(self, model, inputs, return_outputs):
        seen.append(inputs)
        return compute(self, model, inputs, return_outputs)

    monkeypatch.setattr(trainer_class, "_compute_loss", watched)
    train(model, tmp_path / "out", config=CONFIG.model_copy(update={"epochs": 1.0}), pairs=[one])
    [batch] = seen
    for row, answer in enumerate((expected.chosen_ids, expected.rejected_ids)):
        assert batch["input_ids"][row][batch["completion_mask"][row] == 1].tolist() == answer


def test_a_spoiled_reference_is_noticed(model: LocalModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the frozen copy differs from the policy, the first margin is not 0."""
    train(model, tmp_path / "one")
    trainer_class, *_ = dpo.require_trl()
    start = trainer_class.train

    def spoiled(self, *arguments, **options):
        for name, parameter in self.model.named_parameters():
            if ".ref." in name and "lora_B" in name:
                parameter.data.zero_()
        return start(self, *arguments, **options)

    monkeypatch.setattr(trainer_class, "train", spoiled)
    with pytest.raises(ModelError, match="policy and reference differ"):
        train(model, tmp_path / "two", tmp_path / "one" / "adapter")
    assert not (tmp_path / "two" / "adapter").exists()


@pytest.mark.parametrize(("change", "first_loss_is_ln_2"), [({"sft_weight": 0.5}, False), ({"ld_alpha": 0.5}, True)])
def test_the_variants_train(model: LocalModel, tmp_path: Path, change: dict[str, float], first_loss_is_ln_2: bool) -> None:
    counts = train(model, tmp_path, config=CONFIG.model_copy(update=change), pairs=[pair(rejected="Style: long; cold; dull; dry")])
    assert counts["first_margin"] == pytest.approx(0.0, abs=1e-4)
    assert (counts["first_loss"] == pytest.approx(math.log(2), abs=1e-4)) == first_loss_is_ln_2
    assert counts["last_margin"] > 0


def test_the_same_seed_gives_the_same_adapter(model: LocalModel, tmp_path: Path) -> None:
    for name in ("one", "two"):
        torch.manual_seed(hash(name) % 1000)
        train(model, tmp_path / name)
    one, two = (load_file(tmp_path / name / "adapter" / "adapter_model.safetensors") for name in ("one", "two"))
    assert all(torch.equal(one[key], two[key]) for key in one)


def test_without_trl_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trl.trainer.dpo_trainer", None)
    dpo.require_trl.cache_clear()
    with pytest.raises(ConfigError, match=r"needs the extra `rl` \(pip install 'grasper\[rl\]'\)"):
        dpo.require_trl()
    dpo.require_trl.cache_clear()


def test_no_pair_is_an_error_in_one_line(model: LocalModel, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no preference pair is left"):
        train(model, tmp_path, pairs=[])


def test_precision_and_checkpointing_do_not_follow_trls_defaults(model: LocalModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer_class, config_class, dataset_class = dpo.require_trl()
    made = []

    def config(**options):
        made.append(config_class(**options))
        return made[-1]

    monkeypatch.setattr(dpo, "require_trl", lambda: (trainer_class, config, dataset_class))
    train(model, tmp_path, config=CONFIG.model_copy(update={"epochs": 1.0}))
    [arguments] = made
    assert (arguments.bf16, arguments.gradient_checkpointing, arguments.max_length) == (False, False, None)


def test_recomputed_activations_change_nothing_and_leave_nothing_behind(model: LocalModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As for a large network on a GPU: gradients reach the adapter through the frozen embeddings, the reference is still the start."""
    train(model, tmp_path / "plain")
    hooks = len(model.model.get_input_embeddings()._forward_hooks)
    recomputed: list[bool] = []

    def checkpoints() -> bool:
        return any(getattr(module, "gradient_checkpointing", False) for module in model.model.modules())

    trainer_class, *_ = dpo.require_trl()
    step = trainer_class.training_step

    def watched(self, *arguments, **options):
        recomputed.append(checkpoints())
        return step(self, *arguments, **options)

    monkeypatch.setattr(trainer_class, "training_step", watched)
    monkeypatch.setattr("grasper.align.trainer.recomputes_activations", lambda model, tokens: True)
    counts = train(model, tmp_path / "recomputed")
    assert set(recomputed) == {True}
    assert counts["first_margin"] == pytest.approx(0.0, abs=1e-4)
    plain, again = (load_file(tmp_path / name / "adapter" / "adapter_model.safetensors") for name in ("plain", "recomputed"))
    assert all(torch.allclose(plain[key], again[key], atol=1e-5) for key in plain)
    assert not checkpoints()
    assert len(model.model.get_input_embeddings()._forward_hooks) == hooks


def test_without_a_compiler_trls_plain_kernels_are_used(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    from trl.kernels import chunked_logprob

    monkeypatch.setattr(chunked_logprob, "_TRITON_AVAILABLE", True)
    monkeypatch.setattr(dpo, "_triton_compiles", lambda: False)
    with dpo._kernels_that_compile(torch.device("cuda")):
        assert not chunked_logprob._use_triton(torch.device("cuda"))
    assert chunked_logprob._use_triton(torch.device("cuda"))
    assert "no working C compiler" in caplog.text
    monkeypatch.setattr(dpo, "_triton_compiles", lambda: True)
    with dpo._kernels_that_compile(torch.device("cuda")):
        assert chunked_logprob._use_triton(torch.device("cuda"))


def test_mixed_precision_as_on_a_gpu_starts_from_the_reference_and_learns(model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """bfloat16 network, products in bfloat16, adapters in float32, inputs not cast to and fro; in both rounds."""
    model = LocalModel(str(model_dir), device="cpu", dtype=torch.bfloat16)
    trainer_class, config_class, dataset_class = dpo.require_trl()
    monkeypatch.setattr(dpo, "require_trl", lambda: (trainer_class, lambda **options: config_class(**options | {"bf16": True}), dataset_class))
    start = None
    for name in ("one", "two"):
        counts = train(model, tmp_path / name, start)
        assert counts["first_margin"] == pytest.approx(0.0, abs=1e-3)
        assert counts["last_loss"] < counts["first_loss"] < 0.7
        start = tmp_path / name / "adapter"
    assert {value.dtype for value in load_file(start / "adapter_model.safetensors").values()} == {torch.float32}
