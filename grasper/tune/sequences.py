"""Solved requests → weighted token sequences → batches of similar length, at any place of an endless, repeatable stream.

The stream is cut into windows of targets. A window's examples are drawn, sorted by length, cut into batches, and the batches shuffled; everything
follows from (seed, round, window), so a training that is resumed in the middle of a window rebuilds just that window.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import torch
from torch import Tensor

from grasper.errors import ConfigError
from grasper.models.local import LocalModel
from grasper.models.spelling import Speller
from grasper.prompts.templates import RATING, TITLE
from grasper.tune.examples import ExampleMaker, Solved

EMPHASIS = {TITLE: 4.0, RATING: 16.0}
"""Weight of each token of a title or a rating: a rating is one token beside a hundred of the text, so at equal weight it is hardly learned."""
WINDOW = 256
"""Targets whose examples are sorted by length together: many enough for little padding, few enough to be drawn anew in a second or two."""


@dataclass(frozen=True, slots=True)
class TrainingRow:
    """One tokenised example: `ids` = prompt + answer + end token; `weights` per token, 0 over the prompt, > 0 over the answer and its end."""

    ids: list[int]
    weights: list[float]
    task: str


@dataclass(frozen=True, slots=True)
class Batch:
    """Right-padded rows `[rows, length]`. Attention is causal, so no token sees the padding behind it, and weight 0 keeps it out of the loss:
    the mask goes by position, because pad and end may be the same token."""

    ids: Tensor
    weights: Tensor
    num_tokens: int
    """Without padding."""


@dataclass(frozen=True, slots=True)
class Position:
    """A place in the stream: the next batch to be trained on."""

    round: int = 0
    window: int = 0
    batch: int = 0


def encode(solved: Solved, model: LocalModel | Speller, max_length: int) -> TrainingRow:
    """Tokenise an example as at inference; what is longer than `max_length` loses its end, and there the end token is not learned."""
    prompt_ids = model.encode(solved.prompt)
    encoded = model.tokenizer(solved.answer, add_special_tokens=False, return_offsets_mapping=True, split_special_tokens=True, verbose=False)
    begun, spans = model.begin_answer(prompt_ids), _emphasised(solved.answer)
    weights = [max((factor for start, end, factor in spans if start < stop <= end), default=1.0) for _, stop in encoded["offset_mapping"]]
    ids = [*prompt_ids, *begun, *encoded["input_ids"], *model.turn_end]
    weights = [*([0.0] * len(prompt_ids)), *(1.0 for _ in begun), *weights, *(1.0 for _ in model.turn_end)]
    return TrainingRow(ids[:max_length], weights[:max_length], solved.task)


def _emphasised(answer: str) -> list[tuple[int, int, float]]:
    """Where the values of `Title:` and `Rating:` lines stand, and their weight; the labels themselves count once."""
    spans, start = [], 0
    for line in answer.split("\n"):
        label, separator, _ = line.partition(":")
        if separator and label in EMPHASIS:
            spans.append((start + len(label) + 1, start + len(line), EMPHASIS[label]))
        start += len(line) + 1
    return spans


def collate(sequences: Sequence[TrainingRow], pad_id: int) -> Batch:
    """Rows of one batch, padded on the right."""
    length = max(len(sequence.ids) for sequence in sequences)
    ids = torch.full((len(sequences), length), pad_id)
    weights = torch.zeros((len(sequences), length))
    for row, sequence in enumerate(sequences):
        ids[row, : len(sequence.ids)] = torch.tensor(sequence.ids)
        weights[row, : len(sequence.ids)] = torch.tensor(sequence.weights)
    return Batch(ids, weights, sum(len(sequence.ids) for sequence in sequences))


def cut(sequences: Sequence[TrainingRow], batch_tokens: int) -> list[list[TrainingRow]]:
    """Length-sorted groups of at most `batch_tokens` tokens, padding included; a longer sequence stands alone."""
    groups: list[list[TrainingRow]] = []
    for sequence in sorted(sequences, key=lambda sequence: len(sequence.ids), reverse=True):
        if groups and (len(groups[-1]) + 1) * len(groups[-1][0].ids) <= batch_tokens:
            groups[-1].append(sequence)
        else:
            groups.append([sequence])
    return groups


class Drawer:
    """Draws the examples of any window of a training's endless stream; equal makers give equal windows, in any process.

    Args:
        maker: Draws the examples.
        model: Its tokenizer and chat template.
        max_length: Tokens that a sequence is cut at.
    """

    def __init__(self, maker: ExampleMaker, model: LocalModel | Speller, *, max_length: int) -> None:
        self._maker, self._model, self._max_length = maker, model, max_length
        self._targets = lru_cache(maxsize=2)(maker.targets)

    def num_windows(self, round_number: int) -> int:
        """How many windows a round has."""
        return -(-len(self._targets(round_number)) // WINDOW)

    def draw(self, round_number: int, window: int) -> list[TrainingRow]:
        """The examples of one window, without those whose answer was cut off whole."""
        targets = self._targets(round_number)[window * WINDOW : (window + 1) * WINDOW]
        seed = window_seed(self._maker.seed, round_number, window)
        drawn = (self._maker.draw_one(review_set, review, f"{seed}:{index}") for index, (review_set, review) in enumerate(targets))
        rows = [encode(solved, self._model, self._max_length) for solved in drawn if solved is not None]
        return [row for row in rows if any(row.weights)]


def window_seed(seed: int, round_number: int, window: int) -> str:
    """What all chance within a window follows from."""
    return f"{seed}:{round_number}:{window}"


class WindowSource(Protocol):
    """Where a stream gets its windows: a `Drawer`, or processes that draw ahead (`tune.ahead`)."""

    def num_windows(self, round_number: int) -> int: ...

    def draw(self, round_number: int, window: int) -> list[TrainingRow]: ...


class Stream:
    """The batches of a training, round after round.

    Args:
        source: Gives the examples of each window.
        seed: Of the order of a window's batches.
        batch_tokens: Most tokens of a batch, padding included.
        pad_id: Token that fills up shorter rows.
    """

    def __init__(self, source: WindowSource, *, seed: int, batch_tokens: int, pad_id: int) -> None:
        self._source, self._seed, self._batch_tokens, self._pad_id = source, seed, batch_tokens, pad_id

    def batches(self, position: Position) -> Iterator[tuple[Batch, Position]]:
        """The batches from a position on, without end, each with the position that follows it.

        Raises:
            ConfigError: A whole round gives none.
        """
        round_number, window, skipped = position.round, position.window, position.batch
        while True:
            num_batches = 0
            for number in range(window, self._source.num_windows(round_number)):
                batches = self._window(round_number, number)
                num_batches += len(batches)
                for index in range(skipped, len(batches)):
                    following = Position(round_number, number, index + 1) if index + 1 < len(batches) else Position(round_number, number + 1, 0)
                    yield collate(batches[index], self._pad_id), following
                skipped = 0
            if not window and not num_batches:
                raise ConfigError("no review gives an example to tune on: texts need a title or a rating, and room in tune.max_length")
            round_number, window = round_number + 1, 0

    def _window(self, round_number: int, number: int) -> list[list[TrainingRow]]:
        groups = cut(self._source.draw(round_number, number), self._batch_tokens)
        random.Random(f"{window_seed(self._seed, round_number, number)}:order").shuffle(groups)
        return groups
