"""Text metrics against the libraries they stand for, naive loops and values worked by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nltk.tokenize import word_tokenize
from nltk.translate.meteor_score import single_meteor_score
from rouge_score.rouge_scorer import RougeScorer

from grasper.errors import ShapeError
from grasper.metrics import text as metrics

WORDS = st.lists(st.sampled_from(["the", "staff", "Rooms", "clean", "was", "n't", "great!", "não", "2nd", "…"]), max_size=12).map(" ".join)

PAIRS = [
    ("The rooms were clean and the staff was great.", "Clean rooms, great staff. The breakfast was poor."),
    ("the the the cat", "the cat"),
    ("Wasn't worth it!!! Rude employees.", "Not worth it. The staff were rude."),
    ("a b c d", "d c b a"),
    ("same words here", "same words here"),
]


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


@pytest.mark.parametrize(
    "sentence",
    [
        "The staff wasn't friendly, but we'd come back.",
        'He said "great" (twice) and paid $20.50 at 7:30...',
        "it's 50% off -- cannot complain!",
        "no full stop at the end",
    ],
)
def test_meteor_tokens_equal_word_tokenize_within_a_sentence(sentence: str) -> None:
    """Without a sentence border inside, punkt has no say and the tokens are exactly nltk's."""
    assert list(metrics.treebank_tokens(sentence)) == word_tokenize(sentence, preserve_line=True)


def test_meteor_tokens_split_sentences_before_the_treebank_rules() -> None:
    """The full stop of an inner sentence is a token of its own, as after `sent_tokenize`; glued to its word it would cost matches."""
    text = "Nice room. Bad food!\nWould return?"
    sentences = ["Nice room.", "Bad food!", "Would return?"]
    assert list(metrics.treebank_tokens(text)) == [token for part in sentences for token in word_tokenize(part, preserve_line=True)]
    assert "room." in word_tokenize(text, preserve_line=True), "the reason for splitting"


def test_meteor_equals_nltk_without_wordnet() -> None:
    """The remembered stems give nltk's own value when no synonyms are known."""

    class NoSynonyms:
        def synsets(self, word: str) -> list[str]:
            return []

    expected = [
        single_meteor_score(metrics.treebank_tokens(reference), metrics.treebank_tokens(prediction), wordnet=NoSynonyms())
        for prediction, reference in PAIRS
    ]
    found = metrics.meteor([pair[0] for pair in PAIRS], [pair[1] for pair in PAIRS], use_wordnet=False)
    assert found == pytest.approx(expected)


def test_meteor_by_hand() -> None:
    """Three equal tokens in one chunk: F = 1, penalty = 0.5 · (1/3)³; case is ignored."""
    assert metrics.meteor(["Same words here"], ["same WORDS here"], use_wordnet=False)[0] == pytest.approx(1 - 0.5 / 27)


@pytest.mark.skipif(metrics.meteor_name() != "meteor", reason="WordNet is not installed")
def test_meteor_equals_nltk_with_wordnet() -> None:
    """With WordNet the remembered synonyms give nltk's own value, and synonyms do match."""
    tokens = [tuple(map(metrics.treebank_tokens, pair)) for pair in PAIRS]
    expected = [single_meteor_score(reference, prediction) for prediction, reference in tokens]
    assert metrics.meteor([pair[0] for pair in PAIRS], [pair[1] for pair in PAIRS]) == pytest.approx(expected)
    assert metrics.meteor(["a large car"], ["a big auto"])[0] > metrics.meteor(["a large car"], ["a big auto"], use_wordnet=False)[0]


def test_meteor_without_wordnet_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where WordNet is missing the metric has another name, and asking for it by force says what to do."""
    monkeypatch.setattr(metrics, "_wordnet", lambda: None)
    assert metrics.meteor_name() == "meteor_no_wordnet"
    assert "meteor_no_wordnet" in metrics.score_texts(["a"], ["a"])
    with pytest.raises(LookupError, match="NLTK_DATA"):
        metrics.meteor(["a"], ["a"], use_wordnet=True)


def test_copied_share_by_hand() -> None:
    """Of the four trigrams of the prediction, two stand in the sources; a text shorter than one n-gram copies nothing."""
    shares = metrics.copied_share(["one two three four five six", "one two"], [["ONE two, three four!"], ["one two"]], length=3)
    assert shares.tolist() == [0.5, 0.0]


def test_empty_and_missing_texts_score_zero() -> None:
    """Every metric gives 0 for an empty prediction, a missing one and one without a single word."""
    for name, values in metrics.score_texts(["", None, "!!! …"], ["good", "good", "good"]).items():
        assert values.tolist() == [0.0, 0.0, 0.0], name


def test_equal_texts_score_highest() -> None:
    """Equal texts reach 1 in ROUGE and nearly 1 in METEOR (its penalty never vanishes)."""
    texts = ["the rooms were clean and the staff was very kind", "não é bom mas também não é mau, eu acho"]
    for name, values in metrics.score_texts(texts, texts).items():
        assert (values <= 1).all(), name
        assert (values > 0.99).all(), name


def test_unpaired_batches_are_an_error() -> None:
    """Different lengths, or a bare string instead of a list, are refused."""
    with pytest.raises(ShapeError, match="2 predictions and 1 references"):
        metrics.rouge1(["a", "b"], ["a"])
    with pytest.raises(ShapeError):
        metrics.rouge1("ab", ["a", "b"])
