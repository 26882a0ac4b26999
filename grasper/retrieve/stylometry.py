"""How a text is written, as a vector: function words, characters between masked words, and countable habits; never what it is about.

Three blocks, each of length 1 per text before it is weighted, so that none drowns the others:

- *habits*: lengths of text, sentences and words and how much they vary (rhythm), casing, emphasis, marks and white space, glad, unhappy, warm and
  hedging words, contractions, spelling with a small "i";
- *words*: shares of function words (of Burrows's Delta the part that is free of topic);
- *shapes*: character n-grams of the text after distortion: every word that is no function word becomes asterisks, every digit `#`, so that
  length, casing, punctuation and function words stay and the topic goes; TF-IDF, reduced by SVD.

Habits and words are standardised over the corpus, cut off at three standard deviations, and weighted by their reliability: the share of their
variance that lies between people and not between the texts of one person (intraclass correlation), as far as the corpus can tell.

References: Stamatatos 2017 (EACL), 'Authorship attribution using text distortion' (the view with multiple asterisks); Burrows 2002, 'Delta';
Evert et al. 2017, 'Understanding and explaining Delta measures' (cosine of standardised frequencies). The choice of habits, the block weights and
the reliability weights are this project's own (experiments/style.py).

The personalization measure of `metrics/style.py` is another, simpler space on purpose: what a method retrieves by is not what it is judged by.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence
from typing import Self

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.utils.extmath import randomized_svd

from grasper.errors import ShapeError
from grasper.lexicon import FUNCTION_WORDS, GLAD, HEDGES, UNHAPPY, WARM
from grasper.retrieve.similar import unit

WORD_PATTERN = r"[^\W\d_]+(?:['’][^\W\d_]+)*"
SHAPE_DIM = 200
"""Width of the shapes after SVD."""
BLOCK_WEIGHTS = {"habits": 1.0, "words": 1.0, "shapes": 1.5}
"""Tuned on half of the users of four data sets (experiments/style.py)."""

CHUNK_TEXTS = 10_000
"""Texts that are turned into vectors at once; what this takes besides the vectors is tens of kilobytes per text."""

_WORD = re.compile(WORD_PATTERN)
_DIGIT = re.compile(r"\d")
_SENTENCE_END = re.compile(r"[.!?…]+")
_STRETCHED = re.compile(r"(\w)\1\1", re.IGNORECASE)
_FACE = re.compile("[\U0001f300-\U0001faff☺☻♥❤]|[:;]-?[)D]")
_MARKS = (
    *("!", "?", ",", ";", ":", "-", "(", "...", "'", '"', "/", "&", "*", ".", "+", "$", "%", "#"),
    *("!!", "--", "  ", "\t", "\n", "\n\n"),
)
_MAX_DEVIATION = 3.0
_MIN_SHARE = 0.01
"""A function word that stands in fewer texts says too little to be worth a column."""
_MIN_COVERAGE = 0.3
"""Share of a corpus's words below which the word lists are of another language."""
_NUM_FREQUENT = 60
_MIN_TEXTS = 3
"""A shape must stand in so many texts."""


class Stylometry:
    """Texts → style vectors, `[n, dim]`; learns what is usual from a corpus."""

    dim: int
    blocks: dict[str, slice]
    """Where each block stands in a vector."""
    reliability: float
    """Share of a habit's variance that lies between people, for single texts, 0–1; 0 where nobody in the corpus wrote twice."""

    def fit(self, texts: Sequence[str], user_ids: Sequence[str]) -> Self:
        """Learn what is usual, and what is a person's own.

        Args:
            texts: `[n]`, of training reviews only, since a hidden text must not shape any feature.
            user_ids: Who wrote each, `[n]`.

        Raises:
            ShapeError: There is no text, or the two do not pair up.
        """
        if not texts or len(texts) != len(user_ids):
            raise ShapeError(f"{len(texts)} texts and {len(user_ids)} writers: style is learned from at least one text, with its writer")
        self.kept = function_words_of(texts)
        self._counter = CountVectorizer(token_pattern=WORD_PATTERN, preprocessor=_plain, lowercase=False, vocabulary=sorted(self.kept))
        counts = self._counter.transform(texts)
        share = np.asarray((counts > 0).mean(axis=0)).ravel()
        self._columns = np.flatnonzero(share > _MIN_SHARE)
        self._scales: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}
        reliabilities = []
        for name, values in (("habits", habits_of(texts)), ("words", self._word_shares(texts))):
            mean, spread = values.mean(axis=0), values.std(axis=0)
            spread[spread == 0] = np.inf  # tells nobody apart
            reliability = between_person_share(_clipped((values - mean) / spread), user_ids)
            reliabilities.append(reliability)
            self._scales[name] = mean, spread, np.sqrt(reliability) if reliability.any() else np.ones(len(mean))
        self.reliability = float(np.concatenate(reliabilities).mean())
        self._fit_shapes([distort(text, self.kept) for text in texts])
        widths = [len(self._scales["habits"][0]), len(self._scales["words"][0]), 0 if self._tfidf is None else len(self._shape_mean)]
        ends = np.cumsum(widths)
        self.blocks = {name: slice(end - width, end) for name, end, width in zip(BLOCK_WEIGHTS, ends.tolist(), widths, strict=True)}
        self.dim = int(ends[-1])
        return self

    def vectors(self, texts: Sequence[str]) -> np.ndarray:
        """The style of each text, `[n, dim]`, `[0, dim]` without texts; the blocks side by side, each of its weight's length."""
        vectors = np.empty((len(texts), self.dim), dtype=np.float32)
        for start in range(0, len(texts), CHUNK_TEXTS):
            chunk = texts[start : start + CHUNK_TEXTS]
            vectors[start : start + len(chunk)] = self._encode(chunk)
        return vectors

    def _encode(self, texts: Sequence[str]) -> np.ndarray:
        blocks = {"habits": self._standardised("habits", habits_of(texts)), "words": self._standardised("words", self._word_shares(texts))}
        blocks["shapes"] = self._shapes([distort(text, self.kept) for text in texts])
        return np.hstack([BLOCK_WEIGHTS[name] * unit(block) for name, block in blocks.items()])

    def _standardised(self, name: str, values: np.ndarray) -> np.ndarray:
        mean, spread, weight = self._scales[name]
        return np.asarray(_clipped((values - mean) / spread) * weight)

    def _word_shares(self, texts: Sequence[str]) -> np.ndarray:
        """Square roots of the shares of the function words, `[n, columns]`; the root steadies the variance of rare words."""
        counts = csr_matrix(self._counter.transform(texts))[:, self._columns].toarray()
        lengths = np.array([max(1, len(_WORD.findall(text))) for text in texts])
        return np.asarray(np.sqrt(counts / lengths[:, None]))

    def _fit_shapes(self, distorted: Sequence[str]) -> None:
        smallest = min(_MIN_TEXTS, len(distorted))
        self._tfidf: TfidfVectorizer | None = TfidfVectorizer(
            analyzer="char", ngram_range=(3, 5), lowercase=False, sublinear_tf=True, min_df=smallest, max_features=20_000, dtype=np.float32
        )
        try:
            weighted = self._tfidf.fit_transform(distorted)
        except ValueError:  # no n-gram stands in enough texts
            self._tfidf = None
            return
        self._components = randomized_svd(weighted, min(SHAPE_DIM, *weighted.shape), random_state=0)[2]
        self._shape_mean = np.asarray(weighted.mean(axis=0)).ravel() @ self._components.T

    def _shapes(self, distorted: Sequence[str]) -> np.ndarray:
        if self._tfidf is None:
            return np.zeros((len(distorted), 0))
        return np.asarray(self._tfidf.transform(distorted) @ self._components.T - self._shape_mean)


def distort(text: str, kept: Collection[str]) -> str:
    """The text with every word outside `kept` masked letter by letter (`*`, capitals `^`) and every digit as `#` (Stamatatos 2017)."""

    def mask(match: re.Match[str]) -> str:
        word = match[0]
        return word if _plain(word) in kept else "".join("^" if letter.isupper() else "*" for letter in word)

    return _DIGIT.sub("#", _WORD.sub(mask, text))


def function_words_of(texts: Sequence[str]) -> frozenset[str]:
    """The function words of the corpus's language: those of the lexicon, or for a language that it does not know, the most frequent words."""
    counts = Counter(_plain(word) for text in texts for word in _WORD.findall(text))
    known = sum(count for word, count in counts.items() if word in FUNCTION_WORDS)
    if known >= _MIN_COVERAGE * counts.total():
        return FUNCTION_WORDS
    return frozenset(word for word, _ in counts.most_common(_NUM_FREQUENT))


def habits_of(texts: Sequence[str]) -> np.ndarray:
    """Countable habits of each text, `[n, habits]`."""
    return np.array([_habits(text) for text in texts], dtype=float).reshape(len(texts), -1)


def between_person_share(values: np.ndarray, user_ids: Sequence[str]) -> np.ndarray:
    """Intraclass correlation of each column, `[columns]`, 0–1: the variance between people over all variance; 0 where nobody wrote twice.

    Args:
        values: `[n, columns]`.
        user_ids: Who wrote each row, `[n]`.
    """
    _, codes = np.unique(np.asarray(user_ids, dtype=object).astype(str), return_inverse=True)
    counts = np.bincount(codes)
    freedom = len(values) - len(counts)
    if freedom < 1 or len(counts) < 2:
        return np.zeros(values.shape[1])
    means = mean_rows(values, codes, np.ones(len(values)), len(counts))
    within = ((values - means[codes]) ** 2).sum(axis=0) / freedom
    total = values.var(axis=0)
    return np.clip(1.0 - within / np.where(total > 0, total, np.inf), 0.0, 1.0) * (total > 0)


def mean_rows(values: np.ndarray, codes: np.ndarray, weights: np.ndarray, size: int) -> np.ndarray:
    """Weighted mean of the rows of each code from 0 to `size` − 1, `[size, columns]`; 0 for codes without rows."""
    chosen = csr_matrix((weights, (codes, np.arange(len(codes)))), shape=(size, len(codes)))
    totals = np.asarray(chosen.sum(axis=1))
    return np.asarray(chosen @ values) / np.where(totals > 0, totals, 1.0)


def num_words(text: str) -> int:
    """Words of letters in a text."""
    return len(_WORD.findall(text))


def _habits(text: str) -> list[float]:
    words = _WORD.findall(text)
    plain = [_plain(word) for word in words]
    count, letters = max(1, len(words)), max(1, sum(character.isalpha() for character in text))
    sentences = [sentence.strip() for sentence in _SENTENCE_END.split(text) if sentence.strip()]
    lengths = [len(_WORD.findall(sentence)) for sentence in sentences] or [0]
    sizes = [len(word) for word in words] or [0]
    end = text.rstrip()[-1:]
    rhythm = [float(np.mean(lengths)), float(np.std(lengths)), float(lengths[0]), float(lengths[-1]), float(max(lengths))]
    shares = [
        *(sum(word in group for word in plain) for group in (GLAD, UNHAPPY, HEDGES, WARM, FUNCTION_WORDS)),
        sum("'" in word for word in plain),
        sum(word == "i" for word in words),
        sum(len(word) > 1 and word.isupper() for word in words),
        len(_STRETCHED.findall(text)),
        len(_FACE.findall(text)),
        *(text.count(mark) for mark in _MARKS),
    ]
    return [
        np.log1p(len(words)),
        float(np.mean(sizes)),
        float(np.std(sizes)),
        *(float(np.log1p(value)) for value in rhythm),
        len(set(plain)) / count**0.8,
        sum(character.isupper() for character in text) / letters,
        sum(sentence[0].islower() for sentence in sentences) / max(1, len(sentences)),
        sum(character.isdigit() for character in text) / max(1, len(text)),
        float(text[:1].islower()),
        float(end != "" and end in ".!?"),
        float(end == "!"),
        *(float(np.sqrt(share / count)) for share in shares),
    ]


def _plain(word: str) -> str:
    return word.lower().replace("’", "'")


def _clipped(deviations: np.ndarray) -> np.ndarray:
    return np.asarray(np.clip(deviations, -_MAX_DEVIATION, _MAX_DEVIATION))
