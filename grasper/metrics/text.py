"""How near written texts come to their references: ROUGE, METEOR and copied n-grams, in batches.

Every function takes `n` predictions and `n` references and gives an array `[n]` with values 0–1. A missing or empty prediction scores 0.
Tokens, stems and synonyms are remembered between calls, since the same references meet many candidates.

`rouge1` and `rougeL` are the F-measures of the `rouge-score` package with its default tokenizer and no stemming, as PGraphRAG reports
them. That tokenizer knows only `[a-z0-9]`, so accented letters fall apart ("não" → "n", "o"); the `_unicode` variants keep words of any
script whole.

`meteor` is nltk's. Deviation: nltk's `word_tokenize` finds sentences with a downloaded model (punkt); here a sentence ends after `.!?` and
white space, then the same Treebank tokenizer follows. Where WordNet is not installed the synonym stage is left out and the metric is
called `meteor_no_wordnet`, so the two are never mixed up. Nothing is ever downloaded.
"""

from __future__ import annotations

import re
import threading
import unicodedata
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from typing import Any

import numpy as np
import regex
from nltk.stem.porter import PorterStemmer
from nltk.tokenize.destructive import NLTKWordTokenizer
from nltk.translate.meteor_score import single_meteor_score
from rouge_score.tokenize import tokenize as rouge_tokenize

from grasper.errors import ShapeError

Text = str | None
Tokenizer = Callable[[str], tuple[str, ...]]

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
_UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}"
_UNICODE_WORD = regex.compile(rf"[{_UNSPACED}]\p{{M}}*|[[\p{{L}}\p{{M}}\p{{N}}]--[{_UNSPACED}]]+", regex.V1)
_CACHED_TEXTS = 32_768


# ---- tokens ------------------------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=_CACHED_TEXTS)
def ascii_tokens(text: str) -> tuple[str, ...]:
    """Lower-cased runs of `[a-z0-9]`, as `rouge-score` makes them."""
    return tuple(rouge_tokenize(text, None))


@lru_cache(maxsize=_CACHED_TEXTS)
def unicode_tokens(text: str) -> tuple[str, ...]:
    """Lower-cased words of any script; in scripts written without spaces every character is a token."""
    return tuple(_UNICODE_WORD.findall(unicodedata.normalize("NFKC", text).lower()))


@lru_cache(maxsize=_CACHED_TEXTS)
def treebank_tokens(text: str) -> tuple[str, ...]:
    """Tokens as nltk's `word_tokenize` gives them, with sentences split after `.!?` and white space instead of by punkt."""
    return tuple(token for sentence in _SENTENCE_END.split(text.strip()) for token in _treebank().tokenize(sentence))


@cache
def _treebank() -> NLTKWordTokenizer:
    return NLTKWordTokenizer()


# ---- ROUGE -------------------------------------------------------------------------------------------------------------------------


def rouge1(predictions: Sequence[Text], references: Sequence[Text], *, tokenizer: Tokenizer = ascii_tokens) -> np.ndarray:
    """F-measure of shared single tokens, `[n]`, 0–1."""
    return _batch(predictions, references, lambda prediction, reference: _rouge1(tokenizer(prediction), tokenizer(reference)))


def rougeL(predictions: Sequence[Text], references: Sequence[Text], *, tokenizer: Tokenizer = ascii_tokens) -> np.ndarray:
    """F-measure of the longest common subsequence of tokens, `[n]`, 0–1."""
    return _batch(predictions, references, lambda prediction, reference: _rouge_l(tokenizer(prediction), tokenizer(reference)))


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


# ---- METEOR ------------------------------------------------------------------------------------------------------------------------


def meteor(predictions: Sequence[Text], references: Sequence[Text], *, use_wordnet: bool | None = None) -> np.ndarray:
    """nltk's METEOR (exact, stem and, with WordNet, synonym matches), `[n]`, 0–1.

    Args:
        use_wordnet: None takes WordNet where it is installed; `meteor_name` says which of the two that is.

    Raises:
        LookupError: WordNet is asked for and not installed.
    """
    synonyms = _Synonyms(_wordnet() if use_wordnet is None else _require_wordnet() if use_wordnet else None)

    def score(prediction: str, reference: str) -> float:
        return float(single_meteor_score(treebank_tokens(reference), treebank_tokens(prediction), stemmer=_STEMMER, wordnet=synonyms))

    return _batch(predictions, references, score)


def meteor_name() -> str:
    """What METEOR is called on this machine: `meteor`, or `meteor_no_wordnet` where WordNet is not installed."""
    return "meteor" if _wordnet() is not None else "meteor_no_wordnet"


class _RememberingStemmer(PorterStemmer):
    """Porter's stemmer with a memory: the alignment stems every unmatched token of every pair again."""

    def stem(self, word: str, to_lowercase: bool = True) -> str:
        return _stem(word)


@lru_cache(maxsize=200_000)
def _stem(word: str) -> str:
    return str(_PORTER.stem(word))


_PORTER, _STEMMER = PorterStemmer(), _RememberingStemmer()


class _Lemma:
    """One synonym, in the shape that nltk's alignment asks for."""

    def __init__(self, name: str) -> None:
        self._name = name

    def name(self) -> str:
        return self._name


class _Synset:
    def __init__(self, names: Sequence[str]) -> None:
        self._lemmas = [_Lemma(name) for name in names]

    def lemmas(self) -> list[_Lemma]:
        return self._lemmas


class _Synonyms:
    """Stands where nltk's alignment expects its WordNet reader; remembers each word's synonyms, knows none without WordNet."""

    def __init__(self, wordnet: Any) -> None:
        self._wordnet = wordnet

    def synsets(self, word: str) -> list[_Synset]:
        return [] if self._wordnet is None else _synsets(word)


_WORDNET_LOCK = threading.Lock()


@lru_cache(maxsize=200_000)
def _synsets(word: str) -> list[_Synset]:
    with _WORDNET_LOCK:  # nltk's reader moves a file position
        names = {name for synset in _require_wordnet().synsets(word) for name in synset.lemma_names() if "_" not in name}
    return [_Synset(sorted(names))]


@cache
def _wordnet() -> Any:
    """nltk's WordNet reader, or None where its data are not installed (searched along `NLTK_DATA`, unpacked or zipped)."""
    from nltk.corpus import LazyCorpusLoader, WordNetCorpusReader

    class EnglishWordNet(WordNetCorpusReader):
        """WordNet without the maps to other languages, which take most of the time of loading."""

        def map_wn(self, version: str = "wordnet") -> None:
            return None

    wordnet: Any = LazyCorpusLoader("wordnet", EnglishWordNet, None)
    try:
        with warnings.catch_warnings(action="ignore"):  # says that other languages are missing
            wordnet.ensure_loaded()
    except LookupError:
        return None
    return wordnet


def _require_wordnet() -> Any:
    wordnet = _wordnet()
    if wordnet is None:
        raise LookupError("WordNet is not installed; point NLTK_DATA to a folder with corpora/wordnet.zip, or use meteor_no_wordnet")
    return wordnet


# ---- copying, and everything at once -----------------------------------------------------------------------------------------------


def copied_share(predictions: Sequence[Text], sources: Sequence[Sequence[str]], *, length: int = 8) -> np.ndarray:
    """Share of each prediction's word n-grams that stand in one of its sources, `[n]`, 0–1; 0 for texts shorter than `length` words."""
    _check_lengths(predictions, sources)
    shares = np.zeros(len(predictions))
    for index, (prediction, texts) in enumerate(zip(predictions, sources, strict=True)):
        grams = _ngrams(unicode_tokens(prediction or ""), length)
        if grams:
            known = {gram for text in texts for gram in _ngrams(unicode_tokens(text), length)}
            shares[index] = sum(gram in known for gram in grams) / len(grams)
    return shares


def _ngrams(tokens: Sequence[str], length: int) -> list[tuple[str, ...]]:
    return [tuple(tokens[start : start + length]) for start in range(len(tokens) - length + 1)]


def score_texts(predictions: Sequence[Text], references: Sequence[Text]) -> dict[str, np.ndarray]:
    """All similarity metrics by the names they have in results files, each `[n]`, 0–1."""
    return {
        "rouge1": rouge1(predictions, references),
        "rougeL": rougeL(predictions, references),
        meteor_name(): meteor(predictions, references),
        "rouge1_unicode": rouge1(predictions, references, tokenizer=unicode_tokens),
        "rougeL_unicode": rougeL(predictions, references, tokenizer=unicode_tokens),
    }


def _batch(predictions: Sequence[Text], references: Sequence[Text], score: Callable[[str, str], float]) -> np.ndarray:
    _check_lengths(predictions, references)
    pairs = zip(predictions, references, strict=True)
    return np.array([score(prediction, reference) if prediction and reference else 0.0 for prediction, reference in pairs], dtype=float)


def _check_lengths(predictions: Sequence[Any], references: Sequence[Any]) -> None:
    if isinstance(predictions, str) or isinstance(references, str) or len(predictions) != len(references):
        counts = f"{len(predictions)} predictions and {len(references)} references"
        raise ShapeError(f"expected as many predictions as references, each a list of texts; got {counts}")
