"""METEOR: matches of words, stems and (with WordNet) synonyms, with a penalty for scattered matches.

`meteor` is nltk's. Deviation: nltk's `word_tokenize` finds sentences with a downloaded model (punkt); here a sentence ends after `.!?` and
white space, then the same Treebank tokenizer follows. References in a script that it cannot cut into words are compared by `unicode_tokens`.
Where WordNet is not installed the synonym stage is left out and the metric is called `meteor_no_wordnet`, so the two are never mixed up. Nothing
is ever downloaded. Stems and synonyms are remembered between calls.
"""

from __future__ import annotations

import re
import threading
import warnings
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Any

import numpy as np
from nltk.stem.porter import PorterStemmer
from nltk.tokenize.destructive import NLTKWordTokenizer
from nltk.translate.meteor_score import single_meteor_score

from grasper.metrics.text import CACHED_TEXTS, Text, has_published_tokens, score_pairs, unicode_tokens

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")


@lru_cache(maxsize=CACHED_TEXTS)
def treebank_tokens(text: str) -> tuple[str, ...]:
    """Tokens as nltk's `word_tokenize` gives them, with sentences split after `.!?` and white space instead of by punkt."""
    return tuple(token for sentence in _SENTENCE_END.split(text.strip()) for token in _treebank().tokenize(sentence))


@cache
def _treebank() -> NLTKWordTokenizer:
    return NLTKWordTokenizer()


def meteor(predictions: Sequence[Text], references: Sequence[Text], *, use_wordnet: bool | None = None) -> np.ndarray:
    """nltk's METEOR (exact, stem and, with WordNet, synonym matches), `[n]`, 0–1.

    Args:
        use_wordnet: None takes WordNet where it is installed; `meteor_name` says which of the two that is.

    Raises:
        LookupError: WordNet is asked for and not installed.
    """
    synonyms = _Synonyms(_wordnet() if use_wordnet is None else _require_wordnet() if use_wordnet else None)

    def score(prediction: str, reference: str) -> float:
        tokens = treebank_tokens if has_published_tokens(reference) else unicode_tokens
        return float(single_meteor_score(tokens(reference), tokens(prediction), stemmer=_STEMMER, wordnet=synonyms))

    return score_pairs(predictions, references, score)


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
