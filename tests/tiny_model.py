"""A tiny language model with random weights: real architecture, real tokenizer, no download."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>\\n' + message['content'] + '<|end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}"
)
TEXTS = [
    "The rooms were clean and the staff was friendly. Rating: 5",
    "Title: Great stay\nText: We loved the breakfast, the view and the quiet rooms.",
    "Ótimo produto, chegou antes do prazo. Não gostei da cor! Rating: 4",
    "Terrible, noisy and expensive; I will never come back. Rating: 1 2 3 10",
]


def save_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer of 400 tokens with chat roles as special tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"]
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    tokenizer.train_from_iterator(TEXTS * 4, trainer)
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<|pad|>", eos_token="<|end|>", chat_template=CHAT_TEMPLATE)
    wrapped.save_pretrained(folder)
    return wrapped


def save_model(folder: Path, *, seed: int = 0, hidden_size: int = 32, context_tokens: int = 256, **settings: object) -> Path:
    """A random two-layer Llama and its tokenizer, as `save_pretrained` lays them out."""
    tokenizer = save_tokenizer(folder)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden_size,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=context_tokens,
        tie_word_embeddings=True,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=None,
        initializer_range=0.3,
        **settings,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def save_adapter(model_dir: Path, adapter_dir: Path, base: str, *, seed: int = 1) -> Path:
    """An adapter with weights that matter, as training leaves it."""
    import peft

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_pretrained(model_dir, dtype=torch.float32)
        model.name_or_path = base
        config = peft.LoraConfig(r=2, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM", init_lora_weights=False)
        peft.get_peft_model(model, config).save_pretrained(adapter_dir, save_embedding_layers=False)
    return adapter_dir
