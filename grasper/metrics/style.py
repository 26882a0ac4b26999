"""Personalization: does a written text resemble this user's text more than another user's text about the same item?

ROUGE cannot tell: a text that fits the item scores well whoever wrote the reference. Here every target stands in a line-up with real
reviews of the same item by other people, and the text must pick its author out of it. A text that anyone could have written wins half of
the time.

Two spaces decide what "resembles" means: `CharacterSpace` (characters in words: what is said and how) and `StyleSpace` (function words,
punctuation, lengths, case: only how it is said).

Deviation: the papers measure personalization only through the reference; the line-up is this project's own measure.
Reference for the style distance: Burrows 2002, 'Delta': a measure of stylistic difference.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Protocol, Self

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer

from grasper.errors import ShapeError
from grasper.metrics.text import unicode_tokens

_SENTENCE = re.compile(r"[.!?…。؟।]+")
_WIDE_MARKS = str.maketrans("！？，、；：（）،؛", "!?,,;:(),;")
_MARKS = ("!", "?", ",", ";", ":", "-", "(", "...", "'", '"', "\n")
_MAX_DEVIATION = 3.0


class Space(Protocol):
    """A space of texts in which likeness can be measured; larger is more alike."""

    def vectors(self, texts: Sequence[str]) -> np.ndarray | csr_matrix:
        """One row per text, `[n, d]`."""
        ...

    def likeness(self, left: np.ndarray | csr_matrix, right: np.ndarray | csr_matrix) -> np.ndarray:
        """Likeness of matching rows, `[n]`."""
        ...


class CharacterSpace:
    """TF-IDF over character n-grams of length 3 and 4 inside words; likeness is the cosine, 0–1."""

    def __init__(self) -> None:
        self._hash = HashingVectorizer(analyzer="char_wb", ngram_range=(3, 4), n_features=2**17, alternate_sign=False, norm=None)
        self._weigh = TfidfTransformer(sublinear_tf=True)

    def fit(self, texts: Sequence[str]) -> Self:
        """Learn how common each n-gram is."""
        self._weigh.fit(self._hash.transform(texts))
        return self

    def vectors(self, texts: Sequence[str]) -> csr_matrix:
        return csr_matrix(self._weigh.transform(self._hash.transform(texts)))

    def likeness(self, left: csr_matrix, right: csr_matrix) -> np.ndarray:
        return np.asarray(left.multiply(right).sum(axis=1)).ravel()


class StyleSpace:
    """Standardised habits of writing; likeness is minus Burrows's Delta, the mean absolute difference in standard deviations.

    The habits: shares of the language's most frequent words (learned from the texts, so any language works), marks per word, mean lengths
    of words and sentences, text length, share of capitals, of sentences that begin in lower case and of digits.
    """

    def __init__(self, num_words: int = 50) -> None:
        self._num_words = num_words
        self._words: dict[str, int] = {}

    def fit(self, texts: Sequence[str]) -> Self:
        """Learn the most frequent words and each habit's mean and spread.

        Raises:
            ShapeError: There is no text to learn from.
        """
        if not texts:
            raise ShapeError("a style space needs at least one text")
        counts = Counter(token for text in texts for token in unicode_tokens(text))
        self._words = {word: place for place, (word, _) in enumerate(counts.most_common(self._num_words))}
        habits = self._habits(texts)
        spread = habits.std(axis=0)
        self._mean, self._spread = habits.mean(axis=0), np.where(spread > 0, spread, 1.0)
        return self

    def vectors(self, texts: Sequence[str]) -> np.ndarray:
        """Habits in standard deviations from the mean, `[n, d]`, at most 3 either way so that one oddity does not decide."""
        deviations = (self._habits(texts) - self._mean) / self._spread
        return np.asarray(np.clip(deviations, -_MAX_DEVIATION, _MAX_DEVIATION))

    def likeness(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        return np.asarray(-np.abs(left - right).mean(axis=1))

    def _habits(self, texts: Sequence[str]) -> np.ndarray:
        return np.array([self._describe(text) for text in texts]).reshape(len(texts), -1)

    def _describe(self, text: str) -> np.ndarray:
        tokens = unicode_tokens(text)
        num_tokens = max(len(tokens), 1)
        text = text.translate(_WIDE_MARKS)
        sentences = [part.strip() for part in _SENTENCE.split(text) if part.strip()]
        letters = max(sum(character.isalpha() for character in text), 1)
        words = np.zeros(len(self._words))
        for token in tokens:
            if (place := self._words.get(token)) is not None:
                words[place] += 1
        shape = [
            np.log1p(len(tokens)),
            sum(map(len, tokens)) / num_tokens,
            np.log1p(len(tokens) / max(len(sentences), 1)),
            sum(character.isupper() for character in text) / letters,
            sum(sentence[0].islower() for sentence in sentences) / max(len(sentences), 1),
            sum(character.isdigit() for character in text) / max(len(text), 1),
            *(text.count(mark) / num_tokens for mark in _MARKS),
        ]
        return np.concatenate([shape, words / num_tokens])


class LineUp:
    """The user's real text and other people's texts about the same item, for each of `n` targets, in one space."""

    def __init__(self, space: Space, own: Sequence[str], others: Sequence[Sequence[str]]) -> None:
        """Compute the vectors once; every method's texts are then compared with the same line-up.

        Args:
            own: The user's text, `[n]`.
            others: Texts by other people about the same item, for each target; may be empty.

        Raises:
            ShapeError: The two do not pair up.
        """
        if len(own) != len(others):
            raise ShapeError(f"{len(own)} own texts and {len(others)} groups of other people's texts must match")
        self._space = space
        self._index = np.repeat(np.arange(len(own)), [len(texts) for texts in others])
        self._own = space.vectors(own) if own else None
        flat = [text for texts in others for text in texts]
        self._others = space.vectors(flat) if flat else None

    def win_rate(self, predictions: Sequence[str | None]) -> np.ndarray:
        """Share of the other texts that each prediction resembles less than the user's text, ties as halves, `[n]`, 0–1.

        0.5 is chance, and what an empty prediction gets; NaN where nobody else wrote about the item.

        Raises:
            ShapeError: Not one prediction per target.
        """
        size = 0 if self._own is None else self._own.shape[0]
        if len(predictions) != size:
            raise ShapeError(f"{len(predictions)} predictions for a line-up of {size} targets")
        rates = np.full(size, np.nan)
        if self._others is None:
            return rates
        texts = [prediction or "" for prediction in predictions]
        written = self._space.vectors(texts)
        to_own = self._space.likeness(written, self._own)[self._index]
        to_others = self._space.likeness(written[self._index], self._others)
        wins = (to_own > to_others) + 0.5 * (to_own == to_others)
        counts = np.bincount(self._index, minlength=size)
        known = counts > 0
        rates[known] = np.bincount(self._index, weights=wins, minlength=size)[known] / counts[known]
        is_empty = np.array([not text.strip() for text in texts])
        rates[known & is_empty] = 0.5
        return rates
