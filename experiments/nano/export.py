"""Checkpoint → the folder that the package ships: 16-bit safetensors, configuration, tokenizer with chat template, generation defaults."""

from __future__ import annotations

import argparse
from pathlib import Path

from transformers import AutoTokenizer, GenerationConfig, LlamaForCausalLM

from experiments.nano.command import run
from experiments.nano.tokenizer import CHAT_TEMPLATE, CONTEXT_LENGTH
from experiments.nano.training import read_checkpoint
from grasper.errors import MissingFileError
from grasper.prompts.templates import PROMPT_VERSION

PACKAGE_DIR = Path(__file__).parents[2] / "grasper" / "models" / "nano"


def latest_checkpoint(work_dir: Path) -> Path:
    """Gives the checkpoint of the last phase that has one.

    Raises:
        MissingFileError: Nothing has been trained in this folder.
    """
    for phase in ("instruct", "pretrain"):
        path = work_dir / f"{phase}.pt"
        if path.exists():
            return path
    raise MissingFileError(f"{work_dir}: expected instruct.pt or pretrain.pt, found neither; train first")


def load_trained(checkpoint_path: Path) -> LlamaForCausalLM:
    """Gives the model of a checkpoint in float32; its configuration names the prompt version if it was tuned on prompts, else 0."""
    from transformers import LlamaConfig

    content = read_checkpoint(checkpoint_path)
    config = LlamaConfig(
        **content["config"],
        max_position_embeddings=CONTEXT_LENGTH,
        tie_word_embeddings=True,
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=1,
    )
    config.prompt_version = PROMPT_VERSION if content["progress"]["phase"] == "instruct" else 0
    model = LlamaForCausalLM(config)
    model.load_state_dict(content["model"])
    return model.eval()


def export(work_dir: Path, out_dir: Path) -> Path:
    """Writes the last checkpoint of `work_dir` as a model folder and gives the checkpoint's path."""
    checkpoint_path = latest_checkpoint(work_dir)
    model = load_trained(checkpoint_path).half()
    model.generation_config = GenerationConfig(pad_token_id=0, eos_token_id=1, do_sample=True, temperature=0.7, top_p=0.9)
    model.save_pretrained(out_dir)
    tokenizer = AutoTokenizer.from_pretrained(work_dir / "tokenizer")
    tokenizer.chat_template = CHAT_TEMPLATE
    tokenizer.save_pretrained(out_dir)
    return checkpoint_path


def main() -> None:
    """Exports."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder with the checkpoints and the tokenizer")
    parser.add_argument("--out", type=Path, default=PACKAGE_DIR, help="model folder to write")
    options = parser.parse_args()
    print(f"{export(options.work, options.out)} exported to {options.out}")


if __name__ == "__main__":
    run(main)
