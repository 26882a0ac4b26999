"""Instruction tuning: solved requests in the project's own prompts, mixed with corpus documents, while the learning rate falls to zero.

Goes on from the pre-training checkpoint with its optimizer state. Answers count fully, the user's message counts little (most of it is
review text), the system's not at all.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import cast

import numpy as np
import torch
from transformers import AutoTokenizer, LlamaForCausalLM, PreTrainedTokenizerBase

from experiments.nano.command import run
from experiments.nano.emphasis import Emphasis
from experiments.nano.pretrain import CorpusStream, add_training_arguments, build_model, seconds_until
from experiments.nano.reviews import load_review_sets
from experiments.nano.tokenizer import CONTEXT_LENGTH, SPECIAL_TOKENS
from experiments.nano.training import Batch, PhaseProgress, Schedule, load_checkpoint, make_optimizers, train, weighted_loss
from experiments.nano.workers import start_workers, wait_for_all
from grasper.errors import MissingFileError
from grasper.models.base import TextModel
from grasper.tune.examples import ExampleMaker, Solved

PROMPT_WEIGHT = 0.2
CORPUS_WEIGHT = 0.5
DECAY_FROM = 0.35
NUM_VALIDATION = 160


class PromptTokens:
    """What prompt rendering needs of a model: to count and to cut. It answers nothing."""

    name = "nano-tokenizer"
    context_tokens = CONTEXT_LENGTH

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer

    def count_tokens(self, text: str) -> int:
        """Gives the number of tokens of plain text."""
        return len(self.encode(text))

    def truncate(self, text: str, max_tokens: int) -> str:
        """Gives the longest beginning of at most `max_tokens` tokens."""
        ends = [end for _, end in self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)["offset_mapping"]]
        return text if len(ends) <= max_tokens else text[: ends[max_tokens - 1]]

    def encode(self, text: str) -> list[int]:
        """Gives the tokens of plain text, special tokens broken."""
        return list(self.tokenizer(text.replace("<|", "< |"), add_special_tokens=False, verbose=False)["input_ids"])


def encode_solved(solved: Solved, tokenizer: PreTrainedTokenizerBase) -> tuple[list[int], list[float]]:
    """Gives the tokens of an example and the weight of each: the answer and its end 1, the user's message little, the rest 0."""
    turns = [{"role": message.role, "content": message.content} for message in solved.prompt.messages]
    conversation = str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))
    ids: list[int] = tokenizer(conversation, add_special_tokens=False, verbose=False)["input_ids"]
    user = SPECIAL_TOKENS.index("<|user|>")
    start = ids.index(user)
    answer: list[int] = tokenizer(solved.answer.replace("<|", "< |"), add_special_tokens=False, verbose=False)["input_ids"]
    weights = [0.0] * start + [PROMPT_WEIGHT] * (len(ids) - start) + [1.0] * (len(answer) + 1)
    return [*ids, *answer, int(tokenizer.eos_token_id)], weights


def pack(examples: Iterable[tuple[list[int], list[float]]], length: int, end_id: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Gives rows of `length + 1` tokens and weights that hold whole examples; the rest of a row is filled with the end token at weight 0.

    Examples that are too long for a row are left out. Two rows are open at once, so that little stays empty.
    """
    size = length + 1
    open_rows: list[tuple[list[int], list[float]]] = [([end_id], [0.0]), ([end_id], [0.0])]
    for ids, weights in examples:
        if len(ids) >= size:
            continue
        place = next((row for row in open_rows if len(row[0]) + len(ids) <= size), None)
        if place is None:
            fullest = max(open_rows, key=lambda row: len(row[0]))
            open_rows.remove(fullest)
            yield _padded(fullest, size, end_id)
            place = ([end_id], [0.0])
            open_rows.append(place)
        place[0].extend(ids)
        place[1].extend(weights)
    for row in open_rows:
        if len(row[0]) > 1:
            yield _padded(row, size, end_id)


def _padded(row: tuple[list[int], list[float]], size: int, end_id: int) -> tuple[np.ndarray, np.ndarray]:
    missing = size - len(row[0])
    return np.array(row[0] + [end_id] * missing, dtype=np.int64), np.array(row[1] + [0.0] * missing, dtype=np.float32)


def build_rows(data_dir: Path, tokenizer: PreTrainedTokenizerBase, work_dir: Path, num_examples: int, seed: int) -> None:
    """Writes the packed rows of all examples, those kept for validation, and counts, to the work folder; does nothing when they are there."""
    path = work_dir / "instruct-rows.npz"
    if path.exists():
        return
    counts: dict[str, dict[str, int]] = {}
    maker = ExampleMaker(load_review_sets(data_dir, counts), cast(TextModel, PromptTokens(tokenizer)), seed)
    solved = list(islice(maker.draw(), num_examples))
    tasks: dict[str, int] = {}
    for example in solved:
        tasks[example.task] = tasks.get(example.task, 0) + 1
    encoded = [encode_solved(example, tokenizer) for example in solved]
    end_id = int(tokenizer.eos_token_id)
    parts = {}
    for name, chosen in (("validation", encoded[:NUM_VALIDATION]), ("train", encoded[NUM_VALIDATION:])):
        ids, weights = zip(*pack(chosen, CONTEXT_LENGTH, end_id), strict=True)
        parts[f"{name}_ids"], parts[f"{name}_weights"] = np.stack(ids).astype(np.uint16), np.stack(weights).astype(np.float16)
    (work_dir / "instruct-counts.json").write_text(json.dumps({"sets": counts, "examples": tasks}, indent=1) + "\n", encoding="utf-8")
    partial = work_dir / "instruct-rows.partial.npz"
    np.savez(partial, **parts)  # type: ignore[arg-type]
    partial.replace(path)


def instruct_steps(
    rows: tuple[np.ndarray, np.ndarray],
    stream: CorpusStream,
    emphasis: Emphasis,
    position: dict[str, int],
    *,
    rows_per_batch: int,
    batches_per_step: int,
    seed: int,
) -> Iterator[tuple[list[Batch], dict[str, int]]]:
    """Gives micro-batches with one row of corpus documents in four, and the position after each step; rounds are shuffled anew."""
    ids, weights = rows
    num_corpus = rows_per_batch // 4
    num_solved = rows_per_batch - num_corpus
    number, place = position.get("round", 0), position.get("row", 0)
    corpus_position = {"pass": position.get("pass", 0), "offset": position.get("offset", 0)}
    while True:
        order = np.array(random.Random(f"{seed}:round:{number}").sample(range(len(ids)), len(ids)))
        while place + num_solved * batches_per_step <= len(order):
            batches = []
            for _ in range(batches_per_step):
                chosen = order[place : place + num_solved]
                corpus, corpus_position = stream.rows(corpus_position, num_corpus, CONTEXT_LENGTH)
                batch_ids = torch.cat([torch.from_numpy(ids[chosen].astype(np.int64)), corpus])
                batch_weights = torch.cat([torch.from_numpy(weights[chosen].astype(np.float32)), torch.full(corpus.shape, CORPUS_WEIGHT)])
                batches.append(Batch(batch_ids, batch_weights * emphasis.factors(batch_ids)))
                place += num_solved
            yield batches, {**corpus_position, "round": number, "row": place}
        number, place = number + 1, 0


def answer_loss(model: LlamaForCausalLM, ids: np.ndarray, weights: np.ndarray) -> float:
    """Mean cross-entropy of held-out answers in nats a token."""
    device = next(model.parameters()).device
    is_answer = torch.from_numpy((weights == 1).astype(np.float32))
    rows = torch.from_numpy(ids.astype(np.int64))
    with torch.no_grad():
        losses = [weighted_loss(model, part.to(device), mask.to(device)).item() for part, mask in zip(rows.split(4), is_answer.split(4), strict=True)]
    return sum(losses) / float(is_answer[:, 1:].sum())


def main() -> None:
    """Tunes the pre-trained model, or goes on where the checkpoint in the work folder stands."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_training_arguments(parser)
    parser.add_argument("--data", type=Path, required=True, help="folder of the prepared review tables")
    parser.add_argument("--examples", type=int, default=50_000, help="solved requests to build at most")
    parser.add_argument("--tokens", type=int, default=4_000_000, help="tokens to train on")
    options = parser.parse_args()
    worker, num_workers = start_workers()
    tokenizer = AutoTokenizer.from_pretrained(options.work / "tokenizer")
    if worker == 0:
        build_rows(options.data, tokenizer, options.work, options.examples, options.seed)
    wait_for_all()
    rows = np.load(options.work / "instruct-rows.npz")
    model = build_model(options, tokenizer)
    optimizers = make_optimizers(model)
    checkpoint_path, base_path = options.work / "instruct.pt", options.work / "pretrain.pt"
    if checkpoint_path.exists():
        progress = load_checkpoint(checkpoint_path, model, optimizers)
    elif base_path.exists():
        progress = PhaseProgress("instruct", position=load_checkpoint(base_path, model, optimizers).position)
    else:
        raise MissingFileError(f"{base_path}: expected the checkpoint of the pre-training; run experiments.nano.pretrain first")
    if options.only_prepare:
        return
    stream = CorpusStream(options.corpus, tokenizer, options.work, options.share, options.seed)
    schedule = Schedule(tokens=options.tokens, seconds=progress.seconds + seconds_until(options.until), warmup_steps=1, decay_from=DECAY_FROM)
    rows_per_batch = options.tokens_per_batch // CONTEXT_LENGTH
    steps = instruct_steps(
        (rows["train_ids"], rows["train_weights"]),
        stream,
        Emphasis(tokenizer),
        progress.position,
        rows_per_batch=rows_per_batch,
        batches_per_step=options.tokens_per_step // options.tokens_per_batch,
        seed=options.seed,
    )
    validation_ids, validation_weights = rows["validation_ids"], rows["validation_weights"]
    progress = train(
        model,
        steps,
        schedule,
        progress,
        optimizers,
        options.work,
        worker=worker,
        num_workers=num_workers,
        validate=lambda: answer_loss(model, validation_ids, validation_weights),
        compile_model=not options.no_compile,
    )
    if worker == 0:
        print(f"tuned on {progress.tokens:,} tokens in {progress.seconds:,.0f} s of training")


if __name__ == "__main__":
    run(main)
