"""One network for many models: what opening, adapters and damage do to it."""

from __future__ import annotations

import gc
import json
import shutil
import warnings
import weakref
from contextlib import suppress
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from tiny_model import save_adapter, save_model
from transformers import AutoModelForCausalLM

from grasper.config import ModelConfig
from grasper.errors import AdapterError, ConfigError, GrasperError, ModelError
from grasper.files import fingerprint_file
from grasper.models import fingerprint_model, measure, open_model, require_model
from grasper.models.adapters import name_of
from grasper.models.backbone import MOST_IDLE, Backbone
from grasper.models.base import Message, Prompt
from grasper.models.fingerprints import fingerprint_weights
from grasper.models.local import LocalModel


def ask(text: str) -> Prompt:
    return Prompt((Message("system", "Write a review."), Message("user", text)))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GRASPER_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def adapter(model_dir: Path, tmp_path: Path) -> Path:
    return save_adapter(model_dir, tmp_path / "adapter", str(model_dir))


def settings(folder: Path) -> ModelConfig:
    return ModelConfig(name=str(folder), device="cpu")


def texts(model: object) -> list[str]:
    return [row[0].text for row in model.generate([ask("x"), ask("y")], max_new_tokens=8, seed=[1, 2])]  # type: ignore[attr-defined]


def test_opening_again_loads_nothing(model_dir: Path, adapter: Path) -> None:
    """All views share one network; with and without the adapter they write different texts, in any order the same ones."""
    base, adapted, again = open_model(settings(model_dir)), open_model(settings(model_dir), adapter), open_model(settings(model_dir))
    assert isinstance(base, LocalModel)
    assert len({id(model.model) for model in (base, adapted, again)}) == 1  # type: ignore[attr-defined]
    first = [texts(model) for model in (base, adapted, again)]
    assert first[0] == first[2] != first[1]
    assert [texts(model) for model in (adapted, base)] == [first[1], first[0]]


def test_the_base_is_the_same_to_the_bit_after_an_adapter(model_dir: Path, adapter: Path) -> None:
    """Adding and subtracting in bfloat16 would leave rounding behind."""
    base = LocalModel(str(model_dir), device="cpu", dtype=torch.bfloat16)
    before = {name: value.clone() for name, value in base.model.state_dict().items()}
    adapted = base.with_adapter(adapter)
    for _ in range(3):
        texts(adapted)
        texts(base)
    after = {name.replace(".base_layer", ""): value for name, value in base.model.state_dict().items() if "lora_" not in name}
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_an_adapter_that_was_made_anew_is_seen(model_dir: Path, adapter: Path) -> None:
    """Same folder, other content: the new view writes with it, the old one goes on as it was."""
    old = open_model(settings(model_dir), adapter)
    before = texts(old)
    content = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    (adapter / "adapter_config.json").write_text(json.dumps(content | {"lora_alpha": 64}), encoding="utf-8")
    new = open_model(settings(model_dir), adapter)
    assert new.name != old.name
    assert texts(new) != before == texts(old)


def test_a_deleted_or_unfinished_adapter_is_an_error(model_dir: Path, adapter: Path) -> None:
    """Never the untuned base in silence, also where the adapter was in memory a moment ago."""
    open_model(settings(model_dir), adapter)
    (adapter / "adapter_model.safetensors").unlink()
    with pytest.raises(AdapterError, match=r"adapter_model\.safetensors is missing"):
        open_model(settings(model_dir), adapter)
    shutil.rmtree(adapter)
    with pytest.raises(AdapterError, match="holds no adapter"):
        open_model(settings(model_dir), adapter)


def test_a_refused_adapter_leaves_the_network_as_it_was(model_dir: Path, adapter: Path, tmp_path: Path) -> None:
    """Refused by name and by shape, first on a bare network, then beside another adapter."""
    wider = save_model(tmp_path / "wider", hidden_size=64)
    misnamed = save_adapter(wider, tmp_path / "misnamed", str(model_dir))
    foreign = save_adapter(model_dir, tmp_path / "foreign", "someone/else")
    base = LocalModel(str(model_dir), device="cpu", dtype=torch.float32)
    before = texts(base)
    for _ in range(2):
        with pytest.raises(AdapterError, match="does not fit"):
            base.with_adapter(misnamed)
        with pytest.raises(AdapterError, match=f"'someone/else', not for '{model_dir}'"):
            base.with_adapter(foreign)
        assert texts(base) == before
        adapted = base.with_adapter(adapter)
        assert texts(adapted) != before


def test_an_adapter_that_is_not_finite_is_refused(model_dir: Path, adapter: Path) -> None:
    """Told when it is put on, and the base writes on as before, also for whoever holds the network meanwhile."""
    from safetensors.torch import load_file, save_file

    base = LocalModel(str(model_dir), device="cpu", dtype=torch.float32)
    before = texts(base)
    tensors = load_file(adapter / "adapter_model.safetensors")
    save_file({name: tensor if "layers.0" in name else tensor * torch.nan for name, tensor in tensors.items()}, adapter / "adapter_model.safetensors")
    for _ in range(2):
        with pytest.raises(AdapterError, match="NaN"):
            texts(base.with_adapter(adapter))
        assert texts(base) == before
    ids = torch.tensor([[5, 6, 7]])
    with base.network() as network:
        expected = network(input_ids=ids).logits
        with pytest.raises(AdapterError, match="NaN"):
            texts(base.with_adapter(adapter))
        assert torch.equal(network(input_ids=ids).logits, expected)


def test_nested_use_by_one_thread(model_dir: Path, adapter: Path) -> None:
    """Who holds the network with an adapter may ask the base in between, and still holds the same network afterwards."""
    base = LocalModel(str(model_dir), device="cpu", dtype=torch.float32)
    ids = torch.tensor([[5, 6, 7]])
    with base.with_adapter(adapter).network() as network:
        before = network(input_ids=ids).logits
        texts(base)
        assert torch.equal(network(input_ids=ids).logits, before)
    with base.network() as network:
        assert not torch.allclose(network(input_ids=ids).logits, before, atol=1e-2)


def test_opening_an_adapter_leaves_the_one_in_use_on(model_dir: Path, adapter: Path, tmp_path: Path) -> None:
    """Within a block that wears another, whether the new one is sound or not."""
    other = save_adapter(model_dir, tmp_path / "other", str(model_dir), seed=5)
    broken = shutil.copytree(other, tmp_path / "broken")
    settings = json.loads((broken / "adapter_config.json").read_text())
    (broken / "adapter_config.json").write_text(json.dumps(settings | {"r": 3}))
    base = LocalModel(str(model_dir), device="cpu", dtype=torch.float32)
    worn, ids = base.with_adapter(adapter), torch.tensor([[1, 2, 3]])
    with worn.network() as network, torch.no_grad():
        expected = network(input_ids=ids).logits
        opened = base.with_adapter(other)
        assert torch.equal(network(input_ids=ids).logits, expected)
        with pytest.raises(AdapterError):
            base.with_adapter(broken)
        assert torch.equal(network(input_ids=ids).logits, expected)
    with opened.network() as network, torch.no_grad():
        assert not torch.equal(network(input_ids=ids).logits, expected)


def test_a_training_leaves_the_adapter_in_use_on(model_dir: Path, adapter: Path) -> None:
    """Within a block of the same thread that wears one, and also where it fails."""
    base, ids = LocalModel(str(model_dir), device="cpu", dtype=torch.float32), torch.tensor([[1, 2, 3]])
    lora = peft.LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM", init_lora_weights=False)
    with base.with_adapter(adapter).network() as network, torch.no_grad():
        expected = network(input_ids=ids).logits
        with suppress(KeyboardInterrupt), base.backbone.training(lora) as trained:
            assert not torch.allclose(trained(input_ids=ids).logits, expected, atol=1e-2)
            raise KeyboardInterrupt
        assert torch.equal(network(input_ids=ids).logits, expected)


def test_adapters_that_nobody_holds_do_not_pile_up(model_dir: Path, tmp_path: Path) -> None:
    """As rounds of a training leave them at one place: the last few stay, and one that somebody holds writes on as before."""
    base = LocalModel(str(model_dir), device="cpu", dtype=torch.float32)
    before = texts(base)
    held = base.with_adapter(save_adapter(model_dir, tmp_path / "rounds", str(model_dir), seed=2))
    first = texts(held)
    for seed in range(10, 18):
        latest = base.with_adapter(save_adapter(model_dir, tmp_path / "rounds", str(model_dir), seed=seed))
        written = texts(latest)
    assert len(base.model.peft_config) == MOST_IDLE + 2
    assert (texts(held), texts(latest), texts(base)) == (first, written, before)


@pytest.mark.parametrize(
    "kind",
    [
        {"target_modules": ["q_proj", "lm_head"]},
        {"target_modules": ["q_proj", "embed_tokens"]},
        {"target_modules": ["embed_tokens", "lm_head"]},
        {"target_modules": ["embed_tokens"], "ensure_weight_tying": True},
        {"target_modules": ["q_proj", "lm_head"], "use_dora": True},
    ],
    ids=["last-layer", "first-layer", "both", "both-as-one", "dora"],
)
def test_an_adapter_does_what_peft_makes_of_it(model_dir: Path, tmp_path: Path, kind: dict[str, Any]) -> None:
    """Also on embeddings that are tied, where what is added to one layer must not reach the other; afterwards the base is the same to the bit."""
    network = AutoModelForCausalLM.from_pretrained(model_dir, dtype=torch.float32)
    network.name_or_path, ids = str(model_dir), torch.tensor([[5, 6, 7, 30, 31]])
    with torch.random.fork_rng(), torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # peft tells of tied embeddings
        torch.manual_seed(1)
        wrapped = peft.get_peft_model(network, peft.LoraConfig(r=2, task_type="CAUSAL_LM", init_lora_weights=False, **kind)).eval()
        for name, parameter in wrapped.named_parameters():
            if "magnitude" in name:
                parameter.mul_(1.5)
        wrapped.save_pretrained(tmp_path / "adapter", save_embedding_layers=False)
        expected = wrapped(input_ids=ids).logits
        base = LocalModel(str(model_dir), device="cpu", dtype=torch.float32)
        plain = base.model(input_ids=ids).logits
        with base.with_adapter(tmp_path / "adapter").network() as worn:
            assert torch.allclose(worn(input_ids=ids).logits, expected, atol=1e-3)
        with base.network() as bare:
            assert torch.equal(bare(input_ids=ids).logits, plain)
        whole = LocalModel(str(tmp_path / "adapter"), device="cpu", dtype=torch.float32)
        assert torch.allclose(whole.model(input_ids=ids).logits, expected, atol=1e-3)
    assert not torch.allclose(plain, expected, atol=0.1)


def test_a_folder_with_an_adapter_is_a_model(model_dir: Path, adapter: Path, tmp_path: Path) -> None:
    """It writes as base and adapter do, takes adapters of its own, and refuses those of its base."""
    name, expected = str(adapter), texts(open_model(settings(model_dir), adapter))
    model = open_model(settings(adapter))
    assert texts(model) == expected
    assert set(fingerprint_model(settings(adapter))["weights"]) == {"model.safetensors", "adapter_model.safetensors"}
    on_top = save_adapter(model_dir, tmp_path / "on-top", model.name)
    assert texts(open_model(settings(adapter), on_top)) != expected
    with pytest.raises(AdapterError, match="was trained for model"):
        open_model(ModelConfig(name=name, device="cpu"), adapter)


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "mps", ""])
def test_a_device_that_is_not_there_is_told_in_one_line(device: str) -> None:
    """Also before any weights are looked for."""
    config = ModelConfig(device=device)
    for look in (require_model, open_model):
        with pytest.raises(ConfigError, match="this machine has cpu") as caught:
            look(config)
        assert "\n" not in str(caught.value)


def test_a_folder_may_have_an_at_sign_in_its_path(tmp_path: Path) -> None:
    """Only what stands behind the name of a model of the catalogue or of the Hub is a revision."""
    base = save_model(tmp_path / "mira@home" / "model@2")
    adapter = save_adapter(base, tmp_path / "adapter", str(base))
    assert LocalModel(str(adapter), device="cpu", dtype=torch.float32).name.startswith(f"{base}+")
    pinned = {"smollm2@0123abc": "smollm2", "owner/model@0123abc": "owner/model", "nano": "nano", "/gone/mira@home": "/gone/mira@home"}
    assert {identity: name_of(identity) for identity in pinned} == pinned


def test_weights_that_do_not_fit_are_told_in_one_line(model_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_room(module: torch.nn.Module, device: torch.device) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(torch.nn.Module, "to", no_room)
    with pytest.raises(ModelError, match=r"no room for the weights of model .* GB\); end what else uses it"):
        Backbone(str(model_dir), device="cpu", dtype=torch.float32)


def test_weights_are_hashed_once(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second look, in another process too, reads no content; a changed file is read again; a damaged memory costs only time."""
    file, read = tmp_path / "model.safetensors", list[Path]()

    def count(path: Path) -> str:
        read.append(path)
        return fingerprint_file(path)

    monkeypatch.setattr("grasper.models.fingerprints.fingerprint_file", count)
    file.write_bytes(b"weights")
    expected = fingerprint_file(file)
    for _ in range(3):
        assert fingerprint_weights(file) == expected
        monkeypatch.setattr("grasper.models.fingerprints._remembered", {})  # as in a new process
    assert len(read) == 1
    (cache / "weights.json").write_text("{broken")
    assert fingerprint_weights(file) == expected
    file.write_bytes(b"others")
    assert fingerprint_weights(file) == fingerprint_file(file) != expected


def test_hashes_of_files_that_are_gone_are_forgotten(tmp_path: Path, cache: Path) -> None:
    """Adapters come and go by the thousand; the memory of them does not grow without end."""
    gone, new = tmp_path / "gone.safetensors", tmp_path / "new.safetensors"
    for file in (gone, new):
        file.write_bytes(file.name.encode())
    fingerprint_weights(gone)
    gone.unlink()
    fingerprint_weights(new)
    remembered = (cache / "weights.json").read_text()
    assert "new.safetensors" in remembered
    assert "gone.safetensors" not in remembered


def test_odd_prompts(tiny: LocalModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a surrogate pair is read as �; a prompt without any token is an error of ours."""
    assert tiny.encode(ask("a \ud83d b")) == tiny.encode(ask("a \N{REPLACEMENT CHARACTER} b"))
    assert tiny.truncate("\ud83d" * 9, 3).encode(errors="replace")
    assert tiny.generate([ask("\ud83d")], max_new_tokens=2)[0][0].tokens_out > 0
    assert tiny.generate([ask("")], max_new_tokens=2)[0][0].tokens_out > 0
    monkeypatch.setattr(tiny.tokenizer, "chat_template", "{{ '' }}")
    for use in (tiny.generate, lambda prompts: tiny.score_choices(prompts, ["1", "2"])):
        with pytest.raises(ModelError, match="no tokens") as caught:
            use([ask("")])
        assert isinstance(caught.value, GrasperError)


def test_a_network_that_nobody_holds_leaves_memory_at_once(model_dir: Path) -> None:
    """Nothing waits for the garbage collector: two large networks would not fit beside each other."""
    gc.collect()
    gc.disable()
    try:
        backbone = Backbone(str(model_dir), device="cpu")
        assert backbone.count_tokens("two words") == backbone.count_tokens("two words") == len(backbone.encode("two words"))
        dropped = weakref.ref(backbone), weakref.ref(backbone.model)
        del backbone
        assert dropped[0]() is None
        gc.collect()  # transformers may tie a network to itself
        assert dropped[1]() is None
    finally:
        gc.enable()


def test_networks_are_measured_one_at_a_time(model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the one before left in cycles is gone when the next is opened."""
    left: list[weakref.ref[object]] = []

    class Cycle:
        pass

    def measure_speed(name: str) -> measure.Speed:
        assert not left or left[-1]() is None
        cycle: Any = Cycle()
        cycle.itself = cycle
        left.append(weakref.ref(cycle))
        return measure.Speed(1.0, 2.0)

    monkeypatch.setattr(measure, "measure_speed", measure_speed)
    gc.disable()
    try:
        assert measure.measure_speeds(["a", "b"]) == {"a": measure.Speed(1.0, 2.0), "b": measure.Speed(1.0, 2.0)}
    finally:
        gc.enable()
