"""Every family of architectures that a user may name, as a tiny random network: our texts and probabilities against the library's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_model import save_tokenizer
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, AutoModelForMaskedLM, AutoModelForSeq2SeqLM

from grasper.errors import ModelError
from grasper.models.base import Message, Prompt
from grasper.models.library import keeps_keys_only
from grasper.models.local import LocalModel
from grasper.models.prefix import can_share_prefix

USUAL = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 256,
}
GPT = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 256, "n_inner": 48}
EXPERTS = {"num_experts": 4, "num_local_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
LINEAR = {
    "layer_types": ["linear_attention", "full_attention"],
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
}
SSM = {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 4}
BERT = {name: USUAL[name] for name in ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")}

FAMILIES: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("llama", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text", "phi", "olmo", "olmo2", "stablelm"), USUAL),
    **dict.fromkeys(("starcoder2", "granite", "cohere", "smollm3", "glm", "phi3", "gpt_neox", "exaone4", "ministral", "helium"), USUAL),
    **dict.fromkeys(("qwen3_moe", "mixtral", "olmoe"), USUAL | EXPERTS),
    "mistral": USUAL | {"sliding_window": None},
    "bert": BERT | {"is_decoder": True},  # then it reads from left to right
    "gpt2": GPT,
    "gpt_bigcode": GPT,
    "gptj": GPT | {"rotary_dim": 4},
    "bloom": {"hidden_size": 32, "n_layer": 2, "n_head": 4},
    "falcon": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 256},
    "mpt": {"d_model": 32, "n_layers": 2, "n_heads": 4, "max_seq_len": 256},
    "opt": {**USUAL, "ffn_dim": 48, "word_embed_proj_dim": 32},
    "gpt_neo": {"hidden_size": 32, "num_layers": 2, "num_heads": 4, "attention_types": [[["global", "local"], 1]], "max_position_embeddings": 256},
    "gpt_oss": USUAL | EXPERTS | {"layer_types": ["sliding_attention", "full_attention"], "sliding_window": 8},
    "mamba": SSM,
    "mamba2": SSM | {"num_heads": 8, "head_dim": 8, "n_groups": 1, "chunk_size": 8},
    "falcon_mamba": SSM,
    "qwen3_next": USUAL | EXPERTS | LINEAR | {"shared_expert_intermediate_size": 16, "decoder_sparse_step": 1},
    "qwen3_5_text": USUAL | LINEAR,
    "lfm2": USUAL | {"layer_types": ["conv", "full_attention"], "block_auto_adjust_ff_dim": False},
}
WITH_A_STATE = {"mamba", "mamba2", "falcon_mamba", "qwen3_next", "qwen3_5_text", "lfm2"}
"""Networks that keep more of a text than keys and values: they go through the library's `generate`."""

PROMPTS = [Prompt((Message("user", "word " * count),)) for count in (2, 12, 5)]
CHOICES = ["1", "5", "10"]


@pytest.fixture(scope="module")
def tokenizer_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    save_tokenizer(folder)
    return folder


def save_family(family: str, folder: Path, tokenizer_dir: Path) -> Path:
    """A tiny network of the family with random weights, large enough that its next token depends on what it reads."""
    for file in tokenizer_dir.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    tokens = {"vocab_size": 400, "pad_token_id": 0, "eos_token_id": 1, "bos_token_id": None}
    config = CONFIG_MAPPING[family](**FAMILIES[family], **tokens, initializer_range=0.3)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        AutoModelForCausalLM.from_config(config, dtype=torch.float32).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("family", FAMILIES)
def test_writes_and_rates_as_the_library_does(family: str, tmp_path: Path, tokenizer_dir: Path) -> None:
    """Greedy texts of a batch equal `generate` prompt by prompt; probabilities of choices equal a plain pass over prompt and choice."""
    model = LocalModel(str(save_family(family, tmp_path, tokenizer_dir)), device="cpu", dtype=torch.float32)
    assert keeps_keys_only(model.model) != (family in WITH_A_STATE)
    assert can_share_prefix(model.model) == (family in ("llama", "mistral", "qwen2", "qwen3"))
    ours = model.generate(PROMPTS, n=2, temperature=0.0, max_new_tokens=8)
    probabilities = model.score_choices(PROMPTS, CHOICES)
    for prompt, texts, row in zip(PROMPTS, ours, probabilities, strict=True):
        ids = model.encode(prompt)
        asked = torch.tensor([ids])
        theirs = model.model.generate(asked, attention_mask=torch.ones_like(asked), do_sample=False, max_new_tokens=8)[0, len(ids) :]
        assert [text.text for text in texts] == [model.tokenizer.decode(theirs, skip_special_tokens=True)] * 2
        likelihoods = []
        for choice in CHOICES:
            ending = model.encode_text(choice)
            with torch.inference_mode():
                logprobs = model.model(input_ids=torch.tensor([[*ids, *ending]])).logits[0, len(ids) - 1 : -1].log_softmax(-1)
            likelihoods.append(float(logprobs.gather(1, torch.tensor(ending)[:, None]).sum().exp()))
        assert row == pytest.approx(np.array(likelihoods) / sum(likelihoods), abs=1e-3)
        ending = [*model.encode_text("a b"), model.tokenizer.eos_token_id]
        with torch.inference_mode():
            logprobs = model.model(input_ids=torch.tensor([[*ids, *ending]])).logits[0, len(ids) - 1 : -1].log_softmax(-1)
        assert model.score_texts([prompt], ["a b"])[0] == pytest.approx(float(logprobs.gather(1, torch.tensor(ending)[:, None]).sum()), abs=1e-2)


ENCODERS = {
    "bert": BERT,
    "bart": {"d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 4, "decoder_attention_heads": 4},
    "t5": {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 1, "num_heads": 4},
}


@pytest.mark.parametrize("family", ENCODERS)
def test_networks_that_do_not_write_from_left_to_right_are_refused(family: str, tmp_path: Path, tokenizer_dir: Path) -> None:
    """In one line that says why, also those of which the library would load a part: BART's decoder without what it reads, BERT with its mask off."""
    for file in tokenizer_dir.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    kind = AutoModelForMaskedLM if family == "bert" else AutoModelForSeq2SeqLM
    kind.from_config(CONFIG_MAPPING[family](**ENCODERS[family], vocab_size=400)).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=rf"\({family}\) is a.* causal language models") as caught:
        LocalModel(str(tmp_path), device="cpu")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("family", sorted(WITH_A_STATE))
def test_samples_with_a_state_are_drawn_as_everywhere(family: str, tmp_path: Path, tokenizer_dir: Path) -> None:
    """A sample depends on its own seed alone, differs from others, and ends at its limit; the log-probability is the network's own."""
    model = LocalModel(str(save_family(family, tmp_path, tokenizer_dir)), device="cpu", dtype=torch.float32, no_repeat_tokens=2)
    together = model.generate(PROMPTS, n=2, temperature=1.0, max_new_tokens=6, seed=[7, 8, 9])
    alone = model.generate(PROMPTS[1:2], n=2, temperature=1.0, max_new_tokens=6, seed=[8])[0]
    assert [one.text for one in alone] == [one.text for one in together[1]]
    assert alone[0].text != alone[1].text
    assert all(one.tokens_out <= 6 and (one.mean_logprob or 0) < 0 for one in alone)
