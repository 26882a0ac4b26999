"""All-pairs overlap equals the pairwise definition."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from grasper.metrics.overlap import pairwise_f1
from grasper.metrics.text import rouge1, unicode_tokens

TEXTS = st.lists(st.lists(st.sampled_from(["sea", "bed", "não", "Sea", "cake"]), max_size=7).map(" ".join), min_size=1, max_size=5)


@given(TEXTS, TEXTS)
def test_single_words_give_rouge1(first: list[str], second: list[str]) -> None:
    """Of every pair; repeated words count as often as both hold them."""
    expected = [rouge1([text] * len(second), second, tokenizer=unicode_tokens) for text in first]
    assert np.allclose(pairwise_f1(first, second), expected)


def test_by_hand() -> None:
    """'a a b' and 'a a a c' share two of three and four words: F1 = 2·2/(3+4)."""
    assert pairwise_f1(["a a b"], ["a a a c", "c", ""]).tolist() == [[4 / 7, 0.0, 0.0]]


@given(TEXTS)
def test_among_themselves_texts_do_not_agree_with_themselves(texts: list[str]) -> None:
    expected = pairwise_f1(texts, texts)
    np.fill_diagonal(expected, 0)
    assert np.allclose(pairwise_f1(texts), expected)
