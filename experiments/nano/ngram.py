"""An interpolated 5-gram with modified Kneser–Ney smoothing over the same tokens: the yardstick of nano's bits per byte.

Counting is sorting: each k-gram type gets a number, its place among the sorted pairs (number of its first k − 1 tokens, last token).

Reference: Chen and Goodman 1998, "An empirical study of smoothing techniques for language modeling", Sec. 3.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from grasper.errors import DataFormatError


@dataclass(frozen=True)
class _Order:
    """All k-grams of one length; histories are numbered as the (k − 1)-grams of the order below."""

    types: np.ndarray
    """Sorted keys: number of the history times the vocabulary plus the last token, `[types]`."""
    discounted: np.ndarray
    """Count minus discount, `[types]`."""
    totals: np.ndarray
    """Sum of the counts after each history, `[histories]`."""
    left_over: np.ndarray
    """Sum of the discounts after each history, `[histories]`."""


class NgramModel:
    """Probabilities of the next token from the four before it.

    Args:
        documents: Token ids of each document, the end token not included.
        vocabulary: Number of different tokens.
        end_id: The end token; it also stands before the first token of a document.
        order: Longest gram.

    Raises:
        DataFormatError: There is no document.
    """

    def __init__(self, documents: Iterable[np.ndarray], vocabulary: int, end_id: int, order: int = 5) -> None:
        self.vocabulary, self.end_id, self.order = vocabulary, end_id, order
        tokens, is_predicted = self._join(documents)
        if not len(tokens):
            raise DataFormatError("expected at least one document to count, found none")
        numbers = tokens.astype(np.int64)  # number of the k-gram that ends at each place
        predicted = np.flatnonzero(is_predicted)
        raw: list[tuple[np.ndarray, np.ndarray]] = []  # sorted keys and counts of each order
        continuations: list[np.ndarray] = []
        for length in range(1, order + 1):
            keys = numbers if length == 1 else self._keys(numbers, tokens)
            types, first, places, counts = np.unique(keys[predicted], return_index=True, return_inverse=True, return_counts=True)
            if length > 1:  # how many different tokens stand before each (length − 1)-gram
                continuations.append(np.bincount(numbers[predicted[first]], minlength=len(raw[-1][0])))
            raw.append((types, counts))
            numbers = self._number(keys, predicted, types, places)
        continuations.append(raw[-1][1])
        self._orders = [
            self._smooth(types, counts, histories=1 if length == 0 else len(raw[length - 1][0]) + 1)
            for length, ((types, _), counts) in enumerate(zip(raw, continuations, strict=True))
        ]

    def bits(self, document: np.ndarray) -> float:
        """Gives the code length of a document and its end token in bits."""
        tokens, is_predicted = self._join([document])
        return float(-np.log2(self.probabilities(tokens)[is_predicted]).sum())

    def probabilities(self, tokens: np.ndarray) -> np.ndarray:
        """Gives the probability of every token after those before it, `[tokens]`; in the first places, after fewer tokens."""
        tokens = tokens.astype(np.int64)
        result = np.full(len(tokens), 1.0 / self.vocabulary)
        for length, order in enumerate(self._orders, start=1):
            histories = self._history_numbers(tokens, length - 1)
            known = histories >= 0
            known[known] = order.totals[histories[known]] > 0
            history = histories[known]
            keys = tokens[known] if length == 1 else history * self.vocabulary + tokens[known]
            place = np.minimum(np.searchsorted(order.types, keys), len(order.types) - 1)
            seen = np.where(order.types[place] == keys, order.discounted[place], 0.0)
            result[known] = (seen + order.left_over[history] * result[known]) / order.totals[history]
        return result

    def _join(self, documents: Iterable[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """All documents, each after `order` − 1 end tokens and before one, and which of these tokens are predicted."""
        before = np.full(self.order - 1, self.end_id, dtype=np.uint16)
        after = np.array([self.end_id], dtype=np.uint16)
        pieces: list[np.ndarray] = []
        flags: list[np.ndarray] = []
        for document in documents:
            pieces += [before, document.astype(np.uint16), after]
            flags += [np.zeros(len(before), dtype=bool), np.ones(len(document) + 1, dtype=bool)]
        if not pieces:
            return np.empty(0, dtype=np.uint16), np.empty(0, dtype=bool)
        return np.concatenate(pieces), np.concatenate(flags)

    @staticmethod
    def _number(keys: np.ndarray, predicted: np.ndarray, types: np.ndarray, places: np.ndarray) -> np.ndarray:
        """Number of the gram at each place; runs of end tokens are looked up, and where they are no type, share a number of their own."""
        numbers = np.full(len(keys), -1, dtype=np.int64)
        numbers[predicted] = places
        others = np.flatnonzero(numbers < 0)
        found = np.searchsorted(types, keys[others])
        is_type = types[np.minimum(found, len(types) - 1)] == keys[others]
        numbers[others] = np.where(is_type, found, len(types))
        return numbers

    def _keys(self, numbers: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        """Key of the gram that is one longer, at each place; the first place has no history and takes that of an unseen gram."""
        history = np.empty_like(numbers)
        history[0], history[1:] = numbers.max() + 1, numbers[:-1]
        return history * self.vocabulary + tokens

    def _history_numbers(self, tokens: np.ndarray, length: int) -> np.ndarray:
        """Number of the gram of `length` tokens before each place, −1 where training has not seen it."""
        result = np.zeros(len(tokens), dtype=np.int64)
        for part in range(length):
            shift = length - part  # distance from the place to this token
            token = np.full(len(tokens), -1, dtype=np.int64)
            token[shift:] = tokens[:-shift]
            types = self._orders[part].types
            keys = token if part == 0 else result * self.vocabulary + token
            place = np.minimum(np.searchsorted(types, keys), len(types) - 1)
            result = np.where((token >= 0) & (result >= 0) & (types[place] == keys), place, -1)
        return result

    def _smooth(self, types: np.ndarray, counts: np.ndarray, histories: int) -> _Order:
        """Takes the three discounts of modified Kneser–Ney from the counts."""
        ones, twos, threes, fours = (max(1, int((counts == number).sum())) for number in (1, 2, 3, 4))
        share = ones / (ones + 2 * twos)
        discounts = np.array([0.0, 1 - 2 * share * twos / ones, 2 - 3 * share * threes / twos, 3 - 4 * share * fours / threes])
        discounts = np.clip(discounts, 0.05, [1.0, 0.95, 1.9, 2.85]) * (np.arange(4) > 0)
        discount = discounts[np.minimum(counts, 3)]
        history = np.zeros(len(types), dtype=np.int64) if histories == 1 else types // self.vocabulary
        return _Order(
            types=types,
            discounted=counts - discount,
            totals=np.bincount(history, weights=counts, minlength=histories),
            left_over=np.bincount(history, weights=discount, minlength=histories),
        )
