"""The metrics of this package, each registered once; their order is that of the tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from importlib.util import find_spec

import numpy as np

from grasper.errors import ModelNotFoundError
from grasper.metrics.meteor import meteor, meteor_name, treebank_tokens
from grasper.metrics.metric import Batch, Function, Metric, register
from grasper.metrics.rating import absolute_error, squared_error
from grasper.metrics.style import CharacterSpace, StyleSpace
from grasper.metrics.text import Text, copied_share, count_words, has_published_tokens, ngrams, rouge1, rougeL, score_pairs, unicode_tokens
from grasper.records import Task

TEXTS: tuple[Task, ...] = ("long", "title")


def of_pairs(score: Callable[[Sequence[Text], Sequence[Text]], np.ndarray]) -> Function:
    """A metric's function from one over predictions and references."""
    return lambda batch: score(batch.texts, batch.references)


# ---- likeness to the reference -----------------------------------------------------------------------------------------------------


def bleu(predictions: Sequence[Text], references: Sequence[Text]) -> np.ndarray:
    """BLEU of single texts by nltk, up to four words in a row, or as many as the prediction has, `[n]`, 0–1.

    Zero counts are smoothed geometrically (NIST's way, sacrebleu's `exp` with its effective order). Tokens are those of METEOR, case counts.
    """
    from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu

    smooth = SmoothingFunction().method3

    def score(prediction: str, reference: str) -> float:
        tokens = treebank_tokens if has_published_tokens(reference) else unicode_tokens
        written, real = tokens(prediction), tokens(reference)
        size = min(4, len(written))
        return float(sentence_bleu([real], written, weights=(1 / size,) * size, smoothing_function=smooth)) if size else 0.0

    return score_pairs(predictions, references, score)


def chrf(predictions: Sequence[Text], references: Sequence[Text]) -> np.ndarray:
    """nltk's chrF: the F₃-measure of shared runs of characters, mean over lengths up to six, `[n]`, 0–1. White space is left out, case counts.

    Reference: Popović 2015, chrF: character n-gram F-score for automatic MT evaluation.
    """
    from nltk.translate.chrf_score import sentence_chrf

    def score(prediction: str, reference: str) -> float:
        written, real = ("".join(text.split()) for text in (prediction, reference))
        longest = min(6, len(written), len(real))
        value = float(sentence_chrf(real, written, max_len=longest, ignore_whitespace=False)) if longest else 0.0
        return value if value > 1e-12 else 0.0  # nltk's smoothing of a zero

    return score_pairs(predictions, references, score)


BERTSCORE: dict[str, object] = {"lang": "en"}
"""Which model `bert-score` takes; for English its own default, roberta-large."""


def bertscore(batch: Batch) -> np.ndarray:
    """BERTScore F₁ by the package `bert-score`, whose model comes from the Hub or its cache, `[n]`.

    Raises:
        ModelNotFoundError: The model is neither in the cache nor reachable.
    """
    from bert_score import score

    try:
        _, _, f1 = score(list(batch.texts), list(batch.references), verbose=False, **BERTSCORE)
    except OSError as error:
        message = " ".join(str(error).split())[:200]
        raise ModelNotFoundError(f"the model of BERTScore ({BERTSCORE}) is neither in the Hub's cache nor reachable: {message}") from error
    return np.asarray(f1, dtype=float)


_ROUGE1 = "F-measure of shared words; rouge-score’s default tokenizer, no stemming. References in scripts that it cannot read go by Unicode words."
register(Metric("rouge1", "ROUGE-1", of_pairs(rouge1), TEXTS, shown="plot", meaning=_ROUGE1))
_ROUGEL = "F-measure of the longest common subsequence of words, read as for ROUGE-1."
register(Metric("rougeL", "ROUGE-L", of_pairs(rougeL), TEXTS, shown="table", meaning=_ROUGEL))
_METEOR = "Matches of words, stems and (where WordNet is installed) synonyms, with a penalty for scattered matches."
_has_wordnet = lambda: meteor_name() == "meteor"  # noqa: E731
register(Metric("meteor", "METEOR", of_pairs(meteor), TEXTS, shown="plot", meaning=_METEOR, is_available=_has_wordnet))
register(
    Metric(
        "meteor_no_wordnet",
        "METEOR (no WordNet)",
        of_pairs(lambda predictions, references: meteor(predictions, references, use_wordnet=False)),
        TEXTS,
        shown="plot",
        meaning=_METEOR,
        is_available=lambda: not _has_wordnet(),
    )
)
register(
    Metric(
        "bits",
        "Bits per byte",
        None,
        higher_is_better=False,
        shown="plot",
        is_by_bytes=True,
        meaning="What the model needs to spell out the real answers given exactly what a method shows the writer: −log₂ of their probability, by "
        "byte of all texts, or for the one digit of a rating. Methods that think are averaged over sampled paths.",
    )
)
for _name, _label, _whose in (
    ("bits_other_user", "Bits, other user", "another user’s own reviews in the place of the user’s"),
    ("bits_other_item", "Bits, other item", "another item’s neighbours in the place of the item’s"),
):
    register(
        Metric(_name, _label, None, higher_is_better=None, is_by_bytes=True, meaning=f"Bits per byte with {_whose}, where the prompt shows some.")
    )
register(
    Metric(
        "personalization",
        "Personalization",
        lambda batch: batch.targets.line_up("characters", lambda texts: CharacterSpace().fit(texts)).win_rate(batch.texts),
        TEXTS,
        chance=0.5,
        shown="plot",
        meaning="Share of other people’s texts about the same item that the written text resembles less than the user’s own, by characters. 50 % is "
        "chance: a text that anyone could have written.",
    )
)
register(
    Metric(
        "style_match",
        "Style match",
        lambda batch: batch.targets.line_up("style", lambda texts: StyleSpace().fit(texts)).win_rate(batch.texts),
        ("long",),
        chance=0.5,
        shown="table",
        meaning="Personalization by habits of writing alone: function words, punctuation, lengths, capitals.",
    )
)
register(
    Metric(
        "judge",
        "Judge",
        None,
        TEXTS,
        shown="table",
        meaning="How well the text matches the real one by the expected grade of a language model that sees both; 0: nothing in common.",
    )
)
register(
    Metric(
        "mae",
        "MAE",
        lambda batch: absolute_error(batch.ratings, batch.targets.ratings),
        ("rating",),
        False,
        shown="plot",
        column="absolute_error",
        meaning="Mean absolute error in stars.",
    )
)
register(
    Metric(
        "rmse",
        "RMSE",
        lambda batch: squared_error(batch.ratings, batch.targets.ratings),
        ("rating",),
        False,
        shown="plot",
        column="squared_error",
        is_rooted=True,
        meaning="Root of the mean squared error in stars.",
    )
)
_UNICODE = "ROUGE with a tokenizer that keeps words of any script whole; the one to read for languages other than English."
register(Metric("rouge1_unicode", "ROUGE-1 Unicode", of_pairs(lambda a, b: rouge1(a, b, tokenizer=unicode_tokens)), TEXTS, meaning=_UNICODE))
register(Metric("rougeL_unicode", "ROUGE-L Unicode", of_pairs(lambda a, b: rougeL(a, b, tokenizer=unicode_tokens)), TEXTS))
_BLEU = "Precision of up to four words in a row, of single texts, with geometric smoothing."
register(Metric("bleu", "BLEU", of_pairs(bleu), TEXTS, meaning=_BLEU, by_default=False))
_CHRF = "F-measure of shared runs of up to six characters; fits any script."
register(Metric("chrf", "chrF", of_pairs(chrf), TEXTS, meaning=_CHRF, by_default=False))
register(
    Metric(
        "bertscore",
        "BERTScore",
        bertscore,
        TEXTS,
        meaning="F-measure of matched contextual embeddings; needs the extra `bertscore` and its model of English.",
        by_default=False,
        is_available=lambda: find_spec("bert_score") is not None,
    )
)


# ---- what describes an answer ------------------------------------------------------------------------------------------------------


def distinct(texts: Sequence[Text], size: int = 2) -> np.ndarray:
    """Share of each text's n-grams that stand nowhere else among the texts, an n-gram that stands k times counting 1/k, `[n]`, 0–1.

    Summed over all n-grams that is the number of different ones: the mean is distinct-n with every text weighing alike. It falls with the number
    of texts, so only sets of one size compare. NaN for a text without such an n-gram.

    Reference: Li et al. 2016 (arXiv:1510.03055), Sec. 5.
    """
    grams = [ngrams(unicode_tokens(text or ""), size) for text in texts]
    counts = Counter(gram for row in grams for gram in row)
    return np.array([np.mean([1 / counts[gram] for gram in row]) if row else np.nan for row in grams])


register(
    Metric(
        "distinct2",
        "Distinct-2",
        lambda batch: distinct(batch.texts),
        TEXTS,
        None,
        meaning="Share of pairs of words that stand nowhere else among the texts, one that stands k times counting 1/k; low where all are alike.",
    )
)
register(
    Metric(
        "copied",
        "Copied",
        lambda batch: copied_share(batch.texts, batch.sources),
        ("long",),
        None,
        form="share",
        meaning="Share of the text’s 8-word sequences that stand in a real review of its prompt.",
    )
)
register(
    Metric(
        "words",
        "Words",
        lambda batch: [float(count_words(text)) for text in batch.texts],
        TEXTS,
        None,
        form="count",
        meaning="Length; in scripts without spaces, characters.",
    )
)
register(
    Metric(
        "parsed",
        "Parsed",
        lambda batch: [float(output.is_parsed) for output in batch.outputs],
        higher_is_better=None,
        form="share",
        meaning="Share of answers in the expected format. Others are scored on what can be read of them, never dropped.",
    )
)
register(
    Metric("reasoned", "With reasoning", lambda batch: [float(bool(output.path)) for output in batch.outputs], higher_is_better=None, form="share")
)
