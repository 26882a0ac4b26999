"""How near written texts come to their references: the words of any script, ROUGE and copied n-grams, in batches.

Every function takes `n` predictions and `n` references and gives an array `[n]` with values 0–1. A missing or empty prediction scores 0.
Tokens are remembered between calls, since the same references meet many candidates.

`rouge1` and `rougeL` are the F-measures of the `rouge-score` package with its default tokenizer and no stemming, as PGraphRAG reports
them. That tokenizer knows only `[a-z0-9]`: it sees nothing of "очень чисто", and accented letters fall apart ("não" → "n", "o"). So a reference
whose letters are mostly not Latin is compared by `unicode_tokens`, which know the words of any script; `tokenization_of` says how often that was.
For texts in Latin letters the numbers are exactly the published ones, and `tokenizer=unicode_tokens` gives the others beside them.

Whatever compares answers elsewhere (rewards, consensus, gates, the leak guard) uses `unicode_tokens`, too. `reason.reading`,
`retrieve.stylometry` and `tune.decontaminate` look for phrases, habits and shared runs, and cut words of their own.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import regex
from rouge_score.tokenize import tokenize as rouge_tokenize

from grasper.errors import ShapeError

Text = str | None
Tokenizer = Callable[[str], tuple[str, ...]]

CACHED_TEXTS = 32_768
CHARACTERS_PER_WORD = 1.6
"""Where a script has no spaces: so many characters say about as much as a word."""

_UNSPACED = r"\p{scx=Han}\p{scx=Hiragana}\p{scx=Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
_LETTERS = rf"[[\p{{L}}\p{{M}}]--[{_UNSPACED}]]"
_EMOJI = r"\p{RI}{2}|[\p{Extended_Pictographic}--[©®™]](?:\p{EMod}|\uFE0F|\u200D\p{Extended_Pictographic})*+"
_UNICODE_WORD = regex.compile(rf"{_EMOJI}|[[{_UNSPACED}]&&[\p{{L}}\p{{N}}]]\p{{M}}*+|[{_LETTERS}\p{{N}}][{_LETTERS}\p{{N}}\u200C\u200D]*+", regex.V1)
_WHOLE_WORD = regex.compile(_UNICODE_WORD.pattern + rf"(?:'{_LETTERS}++)?", regex.V1)
_CHARACTER = regex.compile(rf"[[{_UNSPACED}]&&\p{{L}}]", regex.V1)
_LATIN, _OTHER = regex.compile(r"[[\p{L}]&&[\p{Latin}]]", regex.V1), regex.compile(r"[\p{L}--\p{Latin}]", regex.V1)


# ---- tokens ------------------------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=CACHED_TEXTS)
def ascii_tokens(text: str) -> tuple[str, ...]:
    """Lower-cased runs of `[a-z0-9]`, as `rouge-score` makes them."""
    return tuple(rouge_tokenize(text, None))


@lru_cache(maxsize=CACHED_TEXTS)
def unicode_tokens(text: str) -> tuple[str, ...]:
    """Lower-cased words of any script, and emoji; in scripts written without spaces every character is a token."""
    return tuple(_UNICODE_WORD.findall(unicodedata.normalize("NFKC", text).lower()))


@lru_cache(maxsize=CACHED_TEXTS)
def whole_words(text: str) -> tuple[str, ...]:
    """`unicode_tokens` with contractions whole (`don't`, whichever apostrophe), as word lists have them."""
    return tuple(_WHOLE_WORD.findall(unicodedata.normalize("NFKC", text).lower().replace("’", "'")))


@lru_cache(maxsize=CACHED_TEXTS)
def has_published_tokens(text: str) -> bool:
    """Whether the published English protocol fits a text: it is no less Latin than anything else, or holds nothing but digits."""
    if text.isascii():
        return True
    latin, other = len(_LATIN.findall(text)), len(_OTHER.findall(text))
    return latin >= other if latin or other else bool(ascii_tokens(text))


def rouge_tokens(reference: str) -> Tokenizer:
    """The tokenizer that both sides of a comparison with this reference go through."""
    return ascii_tokens if has_published_tokens(reference) else unicode_tokens


def tokenization_of(references: Sequence[Text]) -> dict[str, int]:
    """How many references are compared by `rouge-score`'s tokenizer, as published, and how many by `unicode` words."""
    published = sum(has_published_tokens(reference or "") for reference in references)
    return {"rouge-score": published, "unicode": len(references) - published}


def is_unspaced(text: str) -> bool:
    """Whether a text is mostly written in a script without spaces, so that its length is counted in characters."""
    return not text.isascii() and 2 * len(_CHARACTER.findall(text)) > len(unicode_tokens(text))


def count_words(text: str) -> int:
    """Length of a text: what stands between white space, or the characters of a script without spaces."""
    return len(unicode_tokens(text)) if is_unspaced(text) else len(text.split())


def ngram_length(words: int, text: str) -> int:
    """How many tokens of a text say as much as so many words: more of them where a token is a character."""
    return round(words * CHARACTERS_PER_WORD) if is_unspaced(text) else words


# ---- ROUGE -------------------------------------------------------------------------------------------------------------------------


def rouge1(predictions: Sequence[Text], references: Sequence[Text], *, tokenizer: Tokenizer | None = None) -> np.ndarray:
    """F-measure of shared single tokens, `[n]`, 0–1; without a tokenizer the one that fits the reference, see the module."""
    return _by_tokens(predictions, references, tokenizer, _rouge1)


def rougeL(predictions: Sequence[Text], references: Sequence[Text], *, tokenizer: Tokenizer | None = None) -> np.ndarray:
    """F-measure of the longest common subsequence of tokens, `[n]`, 0–1; without a tokenizer the one that fits the reference, see the module."""
    return _by_tokens(predictions, references, tokenizer, _rouge_l)


def _by_tokens(
    predictions: Sequence[Text], references: Sequence[Text], tokenizer: Tokenizer | None, compare: Callable[[Sequence[str], Sequence[str]], float]
) -> np.ndarray:
    def score(prediction: str, reference: str) -> float:
        tokens = tokenizer or rouge_tokens(reference)
        return compare(tokens(prediction), tokens(reference))

    return score_pairs(predictions, references, score)


def _rouge1(prediction: Sequence[str], reference: Sequence[str]) -> float:
    shared = sum((Counter(prediction) & Counter(reference)).values())
    return _f_measure(shared, len(prediction), len(reference))


def _rouge_l(prediction: Sequence[str], reference: Sequence[str]) -> float:
    return _f_measure(lcs_length(prediction, reference), len(prediction), len(reference))


def _f_measure(shared: int, prediction_length: int, reference_length: int) -> float:
    return 2 * shared / (prediction_length + reference_length) if shared else 0.0


def lcs_length(first: Sequence[str], second: Sequence[str]) -> int:
    """Length of the longest common subsequence.

    One bit per token of `first` and one big-integer step per token of `second`, some fifty times faster than a table of Python lists.

    Reference: Hyyrö 2004, Bit-parallel LCS-length computation revisited.
    """
    positions: dict[str, int] = {}
    for index, token in enumerate(first):
        positions[token] = positions.get(token, 0) | 1 << index
    ones = (1 << len(first)) - 1
    row = ones
    for token in second:
        matches = row & positions.get(token, 0)
        row = (row + matches | row - matches) & ones
    return len(first) - row.bit_count()


# ---- copying -------------------------------------------------------------------------------------------------------------------------


def copied_share(predictions: Sequence[Text], sources: Sequence[Sequence[str]], *, length: int = 8) -> np.ndarray:
    """Share of each prediction's word n-grams that stand in one of its sources, `[n]`, 0–1; 0 for texts shorter than `length` words.

    Texts in a script without spaces are compared by as many characters as say about as much.
    """
    _check_lengths(predictions, sources)
    shares = np.zeros(len(predictions))
    for index, (prediction, texts) in enumerate(zip(predictions, sources, strict=True)):
        size = ngram_length(length, prediction or "")
        grams = ngrams(unicode_tokens(prediction or ""), size)
        if grams:
            known = {gram for text in texts for gram in ngrams(unicode_tokens(text), size)}
            shares[index] = sum(gram in known for gram in grams) / len(grams)
    return shares


def ngrams(tokens: Sequence[str], length: int) -> list[tuple[str, ...]]:
    """All runs of so many tokens, in order."""
    return [tuple(tokens[start : start + length]) for start in range(len(tokens) - length + 1)]


def score_pairs(predictions: Sequence[Text], references: Sequence[Text], score: Callable[[str, str], float]) -> np.ndarray:
    """The score of every pair, `[n]`; 0 where one of the two is missing or empty.

    Raises:
        ShapeError: The two do not pair up one to one.
    """
    _check_lengths(predictions, references)
    pairs = zip(predictions, references, strict=True)
    return np.array([score(prediction, reference) if prediction and reference else 0.0 for prediction, reference in pairs], dtype=float)


def _check_lengths(predictions: Sequence[Any], references: Sequence[Any]) -> None:
    if isinstance(predictions, str) or isinstance(references, str) or len(predictions) != len(references):
        counts = f"{len(predictions)} predictions and {len(references)} references"
        raise ShapeError(f"expected as many predictions as references, each a list of texts; got {counts}")
