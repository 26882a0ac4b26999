"""Load test of the LoRA fine-tuning: tokens per second and peak memory on a randomly initialised Llama of a chosen size.

    python experiments/bench/sft_load.py --parameters 1                    (seconds on a CPU)
    python experiments/bench/sft_load.py --parameters 300 --sequences 512  (on a GPU)

Nothing is learned: weights and tokens are random, the sequences as long as real ones. The model is trained through `grasper.align.sft.finetune`,
with gradient checkpointing and bf16 where it would use them.
"""

from __future__ import annotations

import argparse
import platform
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from experiments.publish import made_by
from grasper.align.sft import TrainingSequence, finetune
from grasper.config import AlignConfig
from grasper.files import write_json
from grasper.models.catalogue import KNOWN
from grasper.models.local import LocalModel

OUT = Path(__file__).parents[1] / "results" / "bench" / "sft_load.json"
SHAPES = {1: (128, 4, 2), 7: (256, 6, 4), 30: (512, 8, 8), 100: (768, 12, 12), 300: (1024, 22, 16), 1000: (2048, 19, 16)}
"""Millions of parameters (about) → hidden size, layers, heads."""


def save_random_model(folder: Path, millions: int, context_tokens: int, seed: int) -> None:
    """A Llama of that size with nano's tokenizer and random weights."""
    tokenizer = AutoTokenizer.from_pretrained(KNOWN["nano"].folder)
    hidden_size, num_layers, num_heads = SHAPES[millions]
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden_size,
        intermediate_size=hidden_size * 8 // 3,
        num_hidden_layers=num_layers,
        num_attention_heads=num_heads,
        num_key_value_heads=num_heads,
        max_position_embeddings=context_tokens,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def random_sequences(model: LocalModel, count: int, prompt_tokens: int, answer_tokens: int, seed: int) -> list[TrainingSequence]:
    """Sequences of random tokens, half to one and a half times as long as asked, the prompt masked."""
    generator = np.random.default_rng(seed)
    sequences = []
    for _ in range(count):
        lengths = [int(generator.integers(tokens // 2, tokens * 3 // 2 + 1)) for tokens in (prompt_tokens, answer_tokens)]
        ids = generator.integers(10, len(model.tokenizer), sum(lengths)).tolist()
        sequences.append(TrainingSequence(ids, [0.0] * lengths[0] + [1.0] * lengths[1], "long"))
    return sequences


def peak_memory_mib(device: torch.device) -> dict[str, float]:
    """The most memory that the process, and on a GPU the allocator, has held."""
    peak = {"process_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)}
    if device.type == "cuda":
        peak["gpu_mib"] = round(torch.cuda.max_memory_allocated(device) / 2**20, 1)
    return peak


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    context_tokens = 2 * (options.prompt_tokens + options.answer_tokens)
    save_random_model(folder / "model", options.parameters, context_tokens, options.seed)
    model = LocalModel(str(folder / "model"), device=options.device)
    config = AlignConfig(batch_size=options.batch_size, lora_rank=options.rank, target_modules=tuple(options.modules), epochs=1)
    sequences = random_sequences(model, options.sequences, options.prompt_tokens, options.answer_tokens, options.seed)
    before = peak_memory_mib(model.device)
    finetune(model, sequences[: options.batch_size], [], config, folder / "warm-up", seed=options.seed)
    started = time.perf_counter()
    counts = finetune(model, sequences, [], config, folder / "out", seed=options.seed)
    seconds = time.perf_counter() - started
    on_gpu = model.device.type == "cuda"
    return {
        **made_by(options.seed),
        "device": torch.cuda.get_device_name(model.device) if on_gpu else f"CPU {platform.machine()}, {torch.get_num_threads()} threads",
        "dtype": str(model.model.dtype),
        "parameters": sum(parameter.numel() for parameter in model.model.parameters()),
        "trained_parameters": adapter_size(folder / "out" / "adapter"),
        "batch_size": options.batch_size,
        "sequences": counts["sequences"],
        "steps": counts["steps"],
        "tokens": counts["tokens"],
        "seconds": round(seconds, 2),
        "tokens_per_second": round(counts["tokens"] / seconds, 1),
        "memory_before_training": before,
        "peak_memory": peak_memory_mib(model.device),
    }


def adapter_size(folder: Path) -> int:
    """Numbers in the adapter."""
    from safetensors.torch import load_file

    return sum(tensor.numel() for tensor in load_file(folder / "adapter_model.safetensors").values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parameters", type=int, choices=sorted(SHAPES), default=1, help="millions, about")
    parser.add_argument("--sequences", type=int, default=32)
    parser.add_argument("--prompt-tokens", type=int, default=400)
    parser.add_argument("--answer-tokens", type=int, default=150)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--modules", nargs="+", default=["q_proj", "v_proj"])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = measure(options, Path(folder))
    write_json(options.out, result)
    print(f"{result['tokens_per_second']} tokens/s, peak {result['peak_memory']}")


if __name__ == "__main__":
    main()
