"""Text metrics against the libraries they stand for, naive loops and values worked by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from grasper.errors import ShapeError
from grasper.metrics import text as metrics
from grasper.metrics.meteor import meteor
from grasper.metrics.standard import bleu, chrf

SCORES = (metrics.rouge1, metrics.rougeL, meteor, bleu, chrf)

WORDS = st.lists(st.sampled_from(["the", "staff", "Rooms", "clean", "was", "n't", "great!", "não", "2nd", "…"]), max_size=12).map(" ".join)


@settings(max_examples=60, deadline=None)
@given(prediction=WORDS, reference=WORDS)
def test_rouge_equals_the_rouge_score_package(prediction: str, reference: str) -> None:
    """ROUGE-1 and ROUGE-L are the package's F-measures for any texts, empty ones included."""
    expected = RougeScorer(["rouge1", "rougeL"]).score(reference, prediction)
    assert metrics.rouge1([prediction], [reference])[0] == pytest.approx(expected["rouge1"].fmeasure, abs=1e-12)
    assert metrics.rougeL([prediction], [reference])[0] == pytest.approx(expected["rougeL"].fmeasure, abs=1e-12)


def test_rouge_by_hand() -> None:
    """`a b c d` against `d c b a`: all four tokens are shared, the longest common subsequence is one token long."""
    assert metrics.rouge1(["a b c d"], ["d c b a"])[0] == 1.0
    assert metrics.rougeL(["a b c d"], ["d c b a"])[0] == 0.25


@settings(max_examples=60, deadline=None)
@given(first=st.text("abc", max_size=30), second=st.text("abc", max_size=30))
def test_lcs_equals_the_textbook_table(first: str, second: str) -> None:
    """The bit-parallel length equals that of dynamic programming over a table."""
    table = np.zeros((len(first) + 1, len(second) + 1), dtype=int)
    for i, left in enumerate(first):
        for j, right in enumerate(second):
            table[i + 1, j + 1] = table[i, j] + 1 if left == right else max(table[i, j + 1], table[i + 1, j])
    assert metrics.lcs_length(first, second) == table[-1, -1]


def test_unicode_tokenizer_keeps_words_of_any_script_whole() -> None:
    """The default tokenizer breaks "não" into "n" and "o"; the Unicode one does not, and knows scripts without spaces."""
    assert metrics.ascii_tokens("Não é bom") == ("n", "o", "bom")
    assert metrics.unicode_tokens("Não é bom_demais!") == ("não", "é", "bom", "demais")
    assert metrics.unicode_tokens("東京 is भारत") == ("東", "京", "is", "भारत")
    assert metrics.rouge1(["não"], ["no"])[0] == 0.0
    assert metrics.rouge1(["NÃO"], ["não"], tokenizer=metrics.unicode_tokens)[0] == 1.0


def test_copied_share_by_hand() -> None:
    """Of the four trigrams of the prediction, two stand in the sources; a text shorter than one n-gram copies nothing."""
    shares = metrics.copied_share(["one two three four five six", "one two"], [["ONE two, three four!"], ["one two"]], length=3)
    assert shares.tolist() == [0.5, 0.0]


def test_empty_and_missing_texts_score_zero() -> None:
    """Every metric gives 0 for an empty prediction, a missing one and one without a single word."""
    for score in SCORES:
        assert score(["", None, "!!! …"], ["good", "good", "good"]).tolist() == [0.0, 0.0, 0.0], score


def test_equal_texts_score_highest() -> None:
    """Equal texts reach 1 in ROUGE and nearly 1 in METEOR (its penalty never vanishes)."""
    texts = ["the rooms were clean and the staff was very kind", "não é bom mas também não é mau, eu acho"]
    for score in SCORES:
        values = score(texts, texts)
        assert (values <= 1).all(), score
        assert (values > 0.99).all(), score


def test_unpaired_batches_are_an_error() -> None:
    """Different lengths, or a bare string instead of a list, are refused."""
    with pytest.raises(ShapeError, match="2 predictions and 1 references"):
        metrics.rouge1(["a", "b"], ["a"])
    with pytest.raises(ShapeError):
        metrics.rouge1("ab", ["a", "b"])
