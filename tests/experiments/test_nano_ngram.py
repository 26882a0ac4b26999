from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from experiments.nano.ngram import NgramModel
from grasper.errors import DataFormatError

END = 1


def random_documents(seed: int, count: int, vocabulary: int) -> list[np.ndarray]:
    """Documents in which a token depends on the one before it."""
    generator = np.random.default_rng(seed)
    documents = []
    for _ in range(count):
        tokens = [int(generator.integers(2, vocabulary))]
        while len(tokens) < 12:
            tokens.append(2 + (tokens[-1] * 3 + int(generator.integers(0, 3))) % (vocabulary - 2))
        documents.append(np.array(tokens))
    return documents


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_probabilities_of_all_tokens_sum_to_one(order: int) -> None:
    """After any history, seen or not, the whole vocabulary shares a probability of 1."""
    vocabulary = 17
    model = NgramModel(random_documents(0, 40, vocabulary), vocabulary, END, order)
    for history in ([END] * 4, [END, END, END, 5], [5, 16, 3, 9], [0, 0, 0, 0], [3, 10, 15, 14]):
        total = sum(model.probabilities(np.array([*history, token]))[-1] for token in range(vocabulary))
        assert total == pytest.approx(1.0, abs=1e-9)


def test_bigram_agrees_with_the_formula_worked_by_hand() -> None:
    """Chen and Goodman's interpolated bigram, written as loops over pairs, gives the same probability."""
    documents, vocabulary = random_documents(1, 30, 9), 9
    model = NgramModel(documents, vocabulary, END, order=2)
    pairs: dict[tuple[int, int], int] = {}
    for document in documents:
        tokens = [END, *map(int, document), END]
        for pair in pairwise(tokens):
            pairs[pair] = pairs.get(pair, 0) + 1
    continuation = [sum(pair[1] == token for pair in pairs) for token in range(vocabulary)]

    def discount(count: int, counts: list[int]) -> float:
        ones, twos, threes, fours = (max(1, counts.count(number)) for number in (1, 2, 3, 4))
        share = ones / (ones + 2 * twos)
        raw = [0.0, 1 - 2 * share * twos / ones, 2 - 3 * share * threes / twos, 3 - 4 * share * fours / threes]
        place = min(count, 3)
        return min(max(raw[place], 0.05), (0.0, 0.95, 1.9, 2.85)[place])

    seen = [count for count in continuation if count]
    unigram = [
        (max(0.0, count - discount(count, seen)) + sum(discount(other, seen) for other in seen) / vocabulary) / sum(seen) for count in continuation
    ]
    all_counts = list(pairs.values())
    for first, second in [(END, 4), (3, 4), (5, 8), (7, 7)]:
        after = {pair[1]: count for pair, count in pairs.items() if pair[0] == first}
        total = sum(after.values())
        left_over = sum(discount(count, all_counts) for count in after.values())
        count = after.get(second, 0)
        expected = (max(0.0, count - discount(count, all_counts)) + left_over * unigram[second]) / total
        assert model.probabilities(np.array([first, second]))[-1] == pytest.approx(expected)


def test_longer_histories_help_where_the_text_depends_on_them() -> None:
    """A 3-gram codes a text whose tokens depend on two others in fewer bits than a bigram."""
    generator = np.random.default_rng(2)

    def document() -> np.ndarray:
        tokens = list(generator.integers(2, 12, 2))
        while len(tokens) < 30:
            tokens.append(2 + (tokens[-1] + tokens[-2]) % 10)
        return np.array(tokens)

    training, unseen = [document() for _ in range(100)], document()
    bits = {order: NgramModel(training, 12, END, order).bits(unseen) for order in (2, 3)}
    assert bits[3] < 0.6 * bits[2]


def test_no_documents_are_an_error() -> None:
    """An empty corpus has nothing to count."""
    with pytest.raises(DataFormatError, match="at least one document"):
        NgramModel([], 10, END)
