"""Writing without a model: the text that agrees most with what everybody else wrote. No paper reports it; every method must beat it.

- Text: of the first 60 other users' reviews of the item, in file order and from the target's own split, the one that has most in common with
  the others, where others count more the more words of the given title their titles share; behind the given title.
- Title: the consensus title of the 40 training reviews whose texts are most similar, or the first ten words of the given text, whichever did
  better on training reviews.
- Rating: the median of the neighbours' ratings, weighted by the similarity of their texts to the given one.

Ours, not of a paper. It reads the same fields as any method: `Request` and what `ReviewPool` shows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

import numpy as np
from scipy import sparse
from sklearn.feature_extraction.text import HashingVectorizer, TfidfVectorizer

from grasper.metrics.meteor import meteor
from grasper.metrics.overlap import pairwise_f1
from grasper.metrics.text import rouge1, rougeL, unicode_tokens
from grasper.reason.format import first_words
from grasper.records import Example, Output, Request, Review, SyntheticReview, Task, request_for
from grasper.retrieve.pool import is_visible
from grasper.retrieve.store import ReviewStore
from grasper.runs import stable_hash

MAX_NEIGHBOURS = 60
TITLE_BONUS = 3.0
"""A neighbour whose title holds all words of the given title counts four times."""
NUM_SIMILAR = 40
NUM_TRIALS = 400
"""Training reviews on which the two title rules are compared."""
MIDDLE_RATING = 3.0
_ROWS_AT_ONCE, _NUMBERS_AT_ONCE = 256, 16_000_000
_FIRST_SORTED = 1000


class Copier:
    """Answers requests over one data set by consensus.

    Args:
        store: The reviews of the run.
        name: Method name in the outputs.
    """

    def __init__(self, store: ReviewStore, name: str = "copy") -> None:
        self._tables, self._pool, self._name = store.tables, store.pool, name

    def write(self, task: Task, examples: Sequence[Example], synthetic: Mapping[str, Sequence[SyntheticReview]] | None = None) -> list[Output]:
        """One output per example, in their order; nothing here is random."""
        requests = [request_for(example, task, self._tables.item(example.item_id)) for example in examples]
        if task == "title":
            return self._titles(requests, examples)
        answer = self._text if task == "long" else self._rating
        return [answer(request, example) for request, example in zip(requests, examples, strict=True)]

    # -- text ----------------------------------------------------------------------------------------------------------------------

    def _text(self, request: Request, example: Example) -> Output:
        neighbours = self._neighbours(example)[:MAX_NEIGHBOURS]
        title = request.title or ""
        if not neighbours:
            return self._output(request, (), text=title)
        agreement = pairwise_f1([review.text for review in neighbours])
        chosen = neighbours[int((agreement @ _title_weights(title, neighbours)).argmax())]
        return self._output(request, (chosen,), text=f"{title}. {chosen.text}" if title else chosen.text)

    def _neighbours(self, example: Example) -> list[Review]:
        """Other users' reviews of the item from the target's own split."""
        return [review for review in self._pool.neighbours(example) if review.text and review.split == example.target.split]

    # -- title ---------------------------------------------------------------------------------------------------------------------

    def _titles(self, requests: Sequence[Request], examples: Sequence[Example]) -> list[Output]:
        firsts = [first_words(request.text or "") for request in requests]
        if not self.prefers_consensus_title:
            return [self._output(request, (), text=first) for request, first in zip(requests, firsts, strict=True)]
        consensus = self._consensus_titles([request.text or "" for request in requests], examples)
        return [
            self._output(request, (found,) if found else (), text=(found and found.title) or first)
            for request, found, first in zip(requests, consensus, firsts, strict=True)
        ]

    @cached_property
    def prefers_consensus_title(self) -> bool:
        """Whether the consensus title beats the first ten words on training reviews that are no targets, by the mean of three metrics."""
        targets = set(self._tables.examples["review_id"])
        trials = [review for review in self._titled if review.review_id not in targets]
        trials = sorted(trials, key=lambda review: stable_hash(review.review_id))[:NUM_TRIALS]
        if not trials:
            return False
        texts, references = [review.text for review in trials], [review.title for review in trials]
        examples = [Example(review.review_id, review, "held-out") for review in trials]
        found = self._consensus_titles(texts, examples)
        consensus = _mean_similarity([review.title if review else "" for review in found], references)
        return consensus > _mean_similarity([first_words(text) for text in texts], references)

    def _consensus_titles(self, texts: Sequence[str], examples: Sequence[Example]) -> list[Review | None]:
        """For each text the training review whose title agrees most with the titles of the most similar training reviews."""
        found: list[Review | None] = []
        at_once = max(1, min(_ROWS_AT_ONCE, _NUMBERS_AT_ONCE // max(1, len(self._titled))))
        for start in range(0, len(texts), at_once):
            rows = slice(start, start + at_once)
            similarity = (self._vectors(texts[rows]) @ self._titled_vectors.T).toarray()
            found += [self._consensus_title(row, example) for row, example in zip(similarity, examples[rows], strict=True)]
        return found

    def _consensus_title(self, similarity: np.ndarray, example: Example) -> Review | None:
        similar: list[int] = []
        for position in _falling(similarity):
            if len(similar) == NUM_SIMILAR or similarity[position] <= 0:
                break
            review = self._titled[position]
            if review.user_id != example.user_id and is_visible(review, example):
                similar.append(int(position))
        if not similar:
            return None
        agreement = pairwise_f1([self._titled[position].title or "" for position in similar])
        return self._titled[similar[int((agreement @ similarity[similar]).argmax())]]

    @cached_property
    def _titled(self) -> list[Review]:
        """Training reviews with text and title."""
        return [review for review in self._training if review.title and review.text]

    @cached_property
    def _titled_vectors(self) -> sparse.csr_matrix:
        return self._vectors([review.text for review in self._titled])

    # -- rating --------------------------------------------------------------------------------------------------------------------

    def _rating(self, request: Request, example: Example) -> Output:
        neighbours = [review for review in self._neighbours(example) if review.rating is not None]
        if not neighbours:
            return self._output(request, (), rating=MIDDLE_RATING)
        vectors = self._vectors([request.text or "", *(review.text for review in neighbours)])
        weights = (vectors[1:] @ vectors[0].T).toarray().ravel()
        ratings = np.array([review.rating for review in neighbours], dtype=float)
        return self._output(request, neighbours, rating=weighted_median(ratings, weights))

    # -- shared --------------------------------------------------------------------------------------------------------------------

    @cached_property
    def _vectorizer(self) -> TfidfVectorizer | HashingVectorizer:
        """Weighs words by how rare they are in training reviews; all alike where there are none."""
        texts = [review.text for review in self._training if review.text]
        return TfidfVectorizer(analyzer=unicode_tokens).fit(texts) if texts else HashingVectorizer(analyzer=unicode_tokens, alternate_sign=False)

    def _vectors(self, texts: Sequence[str]) -> sparse.csr_matrix:
        return self._vectorizer.transform(texts)

    @cached_property
    def _training(self) -> list[Review]:
        return [review for review in self._tables.reviews_by_id.values() if review.split == "train"]

    def _output(self, request: Request, evidence: Sequence[Review], *, text: str | None = None, rating: float | None = None) -> Output:
        raw = text if text is not None else f"{rating:g}"
        ids = tuple(review.review_id for review in evidence)
        return Output(request.example_id, request.task, self._name, text=text, rating=rating, raw=raw, evidence=ids)


def _falling(values: np.ndarray) -> Iterator[int]:
    """The places of the values, highest first, equal ones in order; what is not asked for is not sorted."""
    if len(values) > _FIRST_SORTED:
        least = np.partition(values, -_FIRST_SORTED)[-_FIRST_SORTED]
        parts = np.flatnonzero(values >= least), np.flatnonzero(values < least)
    else:
        parts = np.arange(len(values)), np.arange(0)
    for part in parts:
        yield from part[np.argsort(-values[part], kind="stable")].tolist()


def weighted_median(values: np.ndarray, weights: np.ndarray) -> float:
    """The lowest value at which half of the weight is reached; all weights count alike where none is positive."""
    if weights.sum() <= 0:
        weights = np.ones_like(values)
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weights[order]) >= weights.sum() / 2 - 1e-12
    return float(values[order][reached.argmax()])


def _title_weights(title: str, reviews: Sequence[Review]) -> np.ndarray:
    """1 + 3 · share of the given title's words that a review's title holds, `[len(reviews)]`."""
    words = set(unicode_tokens(title))
    return np.array([1 + TITLE_BONUS * len(words & set(unicode_tokens(review.title or ""))) / max(len(words), 1) for review in reviews])


def _mean_similarity(titles: Sequence[str | None], references: Sequence[str | None]) -> float:
    """Mean of ROUGE-1, ROUGE-L and METEOR; without WordNet, so that the choice does not depend on the machine."""
    metrics = (rouge1(titles, references), rougeL(titles, references), meteor(titles, references, use_wordnet=False))
    return float(np.mean(metrics))
