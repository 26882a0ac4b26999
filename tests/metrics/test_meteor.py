"""METEOR against nltk and values worked by hand."""

from __future__ import annotations

import pytest
from nltk.tokenize import word_tokenize
from nltk.translate.meteor_score import single_meteor_score

import grasper.metrics.meteor as module
from grasper.metrics.choose import choose_metrics
from grasper.metrics.meteor import meteor, meteor_name, treebank_tokens

PAIRS = [
    ("The rooms were clean and the staff was great.", "Clean rooms, great staff. The breakfast was poor."),
    ("the the the cat", "the cat"),
    ("Wasn't worth it!!! Rude employees.", "Not worth it. The staff were rude."),
    ("a b c d", "d c b a"),
    ("same words here", "same words here"),
]


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
    assert list(treebank_tokens(sentence)) == word_tokenize(sentence, preserve_line=True)


def test_meteor_tokens_split_sentences_before_the_treebank_rules() -> None:
    """The full stop of an inner sentence is a token of its own, as after `sent_tokenize`; glued to its word it would cost matches."""
    text = "Nice room. Bad food!\nWould return?"
    sentences = ["Nice room.", "Bad food!", "Would return?"]
    assert list(treebank_tokens(text)) == [token for part in sentences for token in word_tokenize(part, preserve_line=True)]
    assert "room." in word_tokenize(text, preserve_line=True), "the reason for splitting"


def test_meteor_equals_nltk_without_wordnet() -> None:
    """The remembered stems give nltk's own value when no synonyms are known."""

    class NoSynonyms:
        def synsets(self, word: str) -> list[str]:
            return []

    expected = [single_meteor_score(treebank_tokens(reference), treebank_tokens(prediction), wordnet=NoSynonyms()) for prediction, reference in PAIRS]
    found = meteor([pair[0] for pair in PAIRS], [pair[1] for pair in PAIRS], use_wordnet=False)
    assert found == pytest.approx(expected)


def test_meteor_by_hand() -> None:
    """Three equal tokens in one chunk: F = 1, penalty = 0.5 · (1/3)³; case is ignored."""
    assert meteor(["Same words here"], ["same WORDS here"], use_wordnet=False)[0] == pytest.approx(1 - 0.5 / 27)


@pytest.mark.skipif(meteor_name() != "meteor", reason="WordNet is not installed")
def test_meteor_equals_nltk_with_wordnet() -> None:
    """With WordNet the remembered synonyms give nltk's own value, and synonyms do match."""
    tokens = [tuple(map(treebank_tokens, pair)) for pair in PAIRS]
    expected = [single_meteor_score(reference, prediction) for prediction, reference in tokens]
    assert meteor([pair[0] for pair in PAIRS], [pair[1] for pair in PAIRS]) == pytest.approx(expected)
    assert meteor(["a large car"], ["a big auto"])[0] > meteor(["a large car"], ["a big auto"], use_wordnet=False)[0]


def test_meteor_without_wordnet_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where WordNet is missing the metric has another name, and asking for it by force says what to do."""
    monkeypatch.setattr(module, "_wordnet", lambda: None)
    assert meteor_name() == "meteor_no_wordnet"
    assert "meteor_no_wordnet" in [metric.name for metric in choose_metrics()]
    with pytest.raises(LookupError, match="NLTK_DATA"):
        meteor(["a"], ["a"], use_wordnet=True)
