from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from transformers import CONFIG_MAPPING, AutoModelForCausalLM

from grasper.errors import ConfigError, ModelError
from grasper.models.local import LocalModel
from grasper.tune.lora import Adapter, token_nll
from grasper.tune.sequences import Batch, TrainingRow, collate

ROWS = [
    TrainingRow([5, 6, 7, 8, 9, 10], [0.0, 0.0, 0.0, 1.0, 4.0, 1.0], "long"),
    TrainingRow([11, 12, 13, 14], [0.0, 0.0, 1.0, 1.0], "title"),
    TrainingRow([15, 16, 17, 18, 19], [0.0, 1.0, 1.0, 16.0, 1.0], "rating"),
]


def make_adapter(model: LocalModel, workers: int = 1, averaging: float = 0.99) -> Adapter:
    modules = ("q_proj", "v_proj", "down_proj")
    return Adapter(model.model, rank=2, alpha=4, target_modules=modules, num_workers=workers, threads=1, seed=0, averaging=averaging)


def test_losses_are_those_of_each_row_alone(tiny: LocalModel) -> None:
    """Padding on the right changes nothing, and the losses come in row order."""
    batch = collate(ROWS, pad_id=1)
    expected = []
    for row in ROWS:
        logits = tiny.model(torch.tensor([row.ids])).logits[0, :-1].detach()
        losses = F.cross_entropy(logits.float(), torch.tensor(row.ids[1:]), reduction="none")
        expected += [float(loss) for loss, weight in zip(losses, row.weights[1:], strict=True) if weight > 0]
    assert token_nll(tiny.model, batch.ids, batch.weights).tolist() == pytest.approx(expected, rel=1e-5)


SMALL = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8}


@pytest.mark.parametrize(
    ("family", "settings"),
    [("gemma2", {"final_logit_softcapping": 2.0}), ("cohere", {"logit_scale": 0.25}), ("granite", {"logits_scaling": 8.0}), ("opt", {"ffn_dim": 48})],
)
def test_losses_are_of_the_logits_that_the_model_itself_gives(family: str, settings: dict[str, Any]) -> None:
    """Some cap or scale them behind the output layer."""
    config = CONFIG_MAPPING[family](**SMALL, **settings, vocab_size=400, pad_token_id=0, initializer_range=0.3)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    batch = collate(ROWS, pad_id=1)
    counted = batch.weights[:, 1:] > 0
    expected = F.cross_entropy(model(batch.ids).logits[:, :-1][counted], batch.ids[:, 1:][counted], reduction="none")
    assert token_nll(model, batch.ids, batch.weights).tolist() == pytest.approx(expected.tolist(), rel=1e-5)


def test_a_step_is_adams_on_the_weighted_mean_however_it_is_cut_into_batches(tiny: LocalModel, model_dir: object) -> None:
    """Against torch's own Adam on one batch of all rows."""
    whole = collate(ROWS, 1)
    cut = [collate([row], 1) for row in ROWS]
    other = LocalModel(str(model_dir), device="cpu", dtype=torch.float32)
    reference = make_adapter(other)
    parameters = [parameter for parameter in reference.peft_model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(parameters, lr=0.01, betas=(0.9, 0.98))
    adapter = make_adapter(tiny, workers=2)
    for _ in range(3):
        optimizer.zero_grad()
        weights = whole.weights[:, 1:]
        losses = token_nll(other.model, whole.ids, whole.weights)
        loss = (losses * weights[weights > 0]).sum() / weights.sum()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        assert adapter.step(cut, 0.01) == pytest.approx(loss.item(), rel=1e-5)
    for ours, theirs in zip(adapter.masters, parameters, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-5)


def test_held_out_losses_are_those_of_the_mean_weights_and_leave_the_training_as_it_was(tiny: LocalModel) -> None:
    adapter = make_adapter(tiny)
    batch = collate(ROWS, 1)
    before = adapter.losses([batch])[0]
    for _ in range(5):
        adapter.step([batch], 0.05)
    trained = token_nll(adapter.base, batch.ids, batch.weights).detach()
    mean = adapter.losses([batch])[0]
    assert trained.sum() < mean.sum() < before.sum()
    assert token_nll(adapter.base, batch.ids, batch.weights).equal(trained)


def test_small_steps_add_up_although_the_model_is_in_bfloat16(model_dir: object) -> None:
    """0.02 in bfloat16 does not change by 1e-6, a hundred times 1e-6 it does."""
    model = LocalModel(str(model_dir), device="cpu", dtype=torch.bfloat16)
    adapter = make_adapter(model)
    assert {value.dtype for value in adapter._working} == {torch.bfloat16}
    assert {value.dtype for value in adapter.masters} == {torch.float32}
    start = [value.clone() for value in adapter.masters]
    batch = collate(ROWS, 1)
    for _ in range(20):
        adapter.step([batch], 1e-6)
    moved = max(float((now - then).abs().max()) for now, then in zip(adapter.masters, start, strict=True))
    assert 1e-5 < moved < 2.1e-5


def test_modules_that_the_model_lacks_are_told(tiny: LocalModel) -> None:
    with pytest.raises(ConfigError, match=r"tune.target_modules \['qproj'\] do not fit the model"):
        Adapter(tiny.model, rank=2, alpha=4, target_modules=["qproj"], num_workers=1, threads=1, seed=0, averaging=0.9)


def test_a_gradient_that_is_no_number_is_told(tiny: LocalModel) -> None:
    adapter = make_adapter(tiny)
    batch = Batch(torch.tensor([[5, 6, 7]]), torch.tensor([[0.0, 1.0, float("inf")]]), 3)
    with pytest.raises(ModelError, match="gradient became"):
        adapter.step([batch], 0.01)
