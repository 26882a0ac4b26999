"""Pre-training: packed corpus documents → a base model that writes reviews.

One pass is tokenised at a time into `tokens-<pass>.npy`; rows of a step are cut from it in order, so a data position is two numbers.
"""

from __future__ import annotations

import argparse
import os
import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import torch
from transformers import AutoTokenizer, LlamaForCausalLM, PreTrainedTokenizerBase

from experiments.nano.command import run
from experiments.nano.corpus import Document, held_out, read_documents, render_document, select_for_pass
from experiments.nano.emphasis import Emphasis
from experiments.nano.tokenizer import CONTEXT_LENGTH
from experiments.nano.training import Batch, PhaseProgress, Schedule, load_checkpoint, make_model, make_optimizers, train, weighted_loss
from experiments.nano.workers import start_workers, wait_for_all
from grasper.errors import DataFormatError

VALIDATION_TOKENS = 32_768


def encode_documents(texts: list[str], tokenizer: PreTrainedTokenizerBase) -> np.ndarray:
    """Gives the tokens of all texts one after another, `[tokens]` of uint16."""
    encoded = tokenizer(texts, add_special_tokens=False)["input_ids"] if texts else []
    return np.concatenate([np.zeros(0, np.uint16), *(np.array(ids, dtype=np.uint16) for ids in encoded)])


class CorpusStream:
    """Endless rows of tokens of the corpus, pass after pass, that can be entered at any position."""

    def __init__(self, corpus_dir: Path, tokenizer: PreTrainedTokenizerBase, work_dir: Path, share: float, seed: int) -> None:
        self.corpus_dir, self.tokenizer, self.work_dir, self.share, self.seed = corpus_dir, tokenizer, work_dir, share, seed
        self._documents: list[Document] | None = None

    def tokens(self, number: int) -> np.ndarray:
        """Gives the tokens of one pass, from the file if it was made before, `[tokens]` of uint16."""
        path = self.work_dir / f"tokens-{number}.npy"
        if not path.exists():
            chosen = select_for_pass(self._all_documents(), number, self.share, self.seed)
            chooser = random.Random(f"{self.seed}:render:{number}")
            self._write(path, [render_document(self._all_documents()[index], chooser) for index in chosen])
        return np.load(path, mmap_mode="r")

    def validation(self) -> np.ndarray:
        """Gives the tokens of the held-out documents, at most 32,768 of them, `[tokens]` of uint16."""
        path = self.work_dir / "tokens-validation.npy"
        if not path.exists():
            chooser = random.Random(f"{self.seed}:validation")
            self._write(path, [render_document(document, chooser) for document in held_out(self._all_documents())])
        return np.load(path)[: VALIDATION_TOKENS + 1]

    def rows(self, position: dict[str, int], count: int, length: int) -> tuple[torch.Tensor, dict[str, int]]:
        """Gives the next rows, `[count, length + 1]`, and the position after them; the rest of a pass too short for them is left out.

        Raises:
            DataFormatError: A whole pass is too short for them.
        """
        number, offset = position.get("pass", 0), position.get("offset", 0)
        tokens = self.tokens(number)
        if offset + count * length + 1 > len(tokens):
            number, offset = number + 1, 0
            tokens = self.tokens(number)
            if count * length + 1 > len(tokens):
                needed = f"at least {count * length + 1:,} tokens in a pass, found {len(tokens):,}"
                raise DataFormatError(f"{self.corpus_dir}: expected {needed}; give a larger corpus, --share 1, or fewer --tokens-per-batch")
        window = tokens[offset : offset + count * length + 1].astype(np.int64)
        rows = np.lib.stride_tricks.sliding_window_view(window, length + 1)[::length]
        return torch.from_numpy(rows.copy()), {"pass": number, "offset": offset + count * length}

    def _all_documents(self) -> list[Document]:
        if self._documents is None:
            self._documents = list(read_documents(self.corpus_dir))
        return self._documents

    def _write(self, path: Path, texts: list[str]) -> None:
        partial = path.with_suffix(f".{os.getpid()}.partial.npy")  # every process comes to a new pass by itself
        np.save(partial, encode_documents(texts, self.tokenizer))
        os.replace(partial, path)


def pretraining_steps(
    stream: CorpusStream, emphasis: Emphasis, position: dict[str, int], *, length: int, tokens_per_step: int, tokens_per_batch: int
) -> Iterator[tuple[list[Batch], dict[str, int]]]:
    """Gives the micro-batches of each step and the position after it."""
    while True:
        micro_batches = []
        for _ in range(tokens_per_step // tokens_per_batch):
            ids, position = stream.rows(position, tokens_per_batch // length, length)
            micro_batches.append(Batch(ids, emphasis.factors(ids)))
        yield micro_batches, position


def validation_loss(model: LlamaForCausalLM, tokens: np.ndarray, length: int = 512) -> float:
    """Mean cross-entropy of held-out tokens in nats a token."""
    length = min(length, len(tokens) - 1)
    rows = np.lib.stride_tricks.sliding_window_view(tokens.astype(np.int64), length + 1)[::length]
    device = next(model.parameters()).device
    with torch.no_grad():
        losses = [weighted_loss(model, ids, torch.ones_like(ids)).item() for ids in torch.from_numpy(rows.copy()).to(device).split(8)]
    return sum(losses) / (len(rows) * length)


def seconds_until(clock: str | None) -> float:
    """Gives the seconds from now to the next time the clock shows HH:MM; infinite for None."""
    if clock is None:
        return float("inf")
    now = datetime.now()
    end = datetime.combine(now.date(), datetime.strptime(clock, "%H:%M").time())
    return ((end if end > now else end + timedelta(days=1)) - now).total_seconds()


def add_training_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what both phases need."""
    parser.add_argument("--corpus", type=Path, required=True, help="folder of *.jsonl or *.jsonl.zst")
    parser.add_argument("--work", type=Path, required=True, help="folder for tokens, checkpoints and logs")
    parser.add_argument("--until", metavar="HH:MM", help="end when the clock shows this, should the tokens not be reached before")
    parser.add_argument("--share", type=float, default=0.15, help="share of the less fitting sources in one pass; 1 where time is plenty")
    parser.add_argument("--tokens-per-step", type=int, default=8192)
    parser.add_argument("--tokens-per-batch", type=int, default=4096)
    parser.add_argument("--hidden-size", type=int, default=256)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only-prepare", action="store_true", help="read and check all input, write the tokens, and end before training")
    parser.add_argument("--no-compile", action="store_true", help="do not compile the model")


def build_model(options: argparse.Namespace, tokenizer: PreTrainedTokenizerBase) -> LlamaForCausalLM:
    """Gives a fresh model of the asked size on the fastest device."""
    model = make_model(
        len(tokenizer), CONTEXT_LENGTH, hidden_size=options.hidden_size, num_layers=options.layers, num_heads=options.heads, seed=options.seed
    )
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return model.to(device)  # type: ignore[arg-type]


def main() -> None:
    """Pre-trains, or goes on where the checkpoint in the work folder stands."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_training_arguments(parser)
    parser.add_argument("--tokens", type=int, default=12_000_000, help="tokens to train on")
    parser.add_argument("--length", type=int, default=512, help="tokens in a row")
    options = parser.parse_args()
    worker, num_workers = start_workers()
    tokenizer = AutoTokenizer.from_pretrained(options.work / "tokenizer")
    stream = CorpusStream(options.corpus, tokenizer, options.work, options.share, options.seed)
    if worker == 0:  # the others read what the first one has written
        validation = stream.validation()
        stream.tokens(0)
    wait_for_all()
    model = build_model(options, tokenizer)
    optimizers = make_optimizers(model)
    progress = PhaseProgress("pretrain")
    checkpoint_path = options.work / "pretrain.pt"
    if checkpoint_path.exists():
        progress = load_checkpoint(checkpoint_path, model, optimizers)
    if options.only_prepare:
        stream.rows(progress.position, options.tokens_per_batch // options.length, options.length)
        return
    schedule = Schedule(tokens=options.tokens, seconds=progress.seconds + seconds_until(options.until))
    steps = pretraining_steps(
        stream,
        Emphasis(tokenizer),
        progress.position,
        length=options.length,
        tokens_per_step=options.tokens_per_step,
        tokens_per_batch=options.tokens_per_batch,
    )
    progress = train(
        model,
        steps,
        schedule,
        progress,
        optimizers,
        options.work,
        worker=worker,
        num_workers=num_workers,
        validate=lambda: validation_loss(model, validation),
        compile_model=not options.no_compile,
    )
    if worker == 0:
        print(f"pre-trained on {progress.tokens:,} tokens in {progress.seconds:,.0f} s of training")


if __name__ == "__main__":
    run(main)
