"""People who write alike, and what they wrote: the evidence of PAT's style trajectory (arXiv 2604.24996).

A person's style is the mean of the style vectors (`stylometry.py`) of their visible reviews, longer texts weighing a little more; people are
compared by cosine, exactly and in blocks. Whoever has no history borrows: from the given text of the request; else from the given title, that is
the style of people who title alike and of the item's audience; else from the audience alone. `SimilarWriters.find` says which it was, and how far it
can be trusted.

How PAT measures style similarity is not public; all of this is this project's own design.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Literal

import numpy as np
import pandas as pd

from grasper.errors import ConfigError
from grasper.records import Example, Request, Review, with_text
from grasper.retrieve.pool import POOLS, ReviewPool, is_visible, normalized, reserved_split
from grasper.retrieve.rank import Ranker, best, query_of
from grasper.retrieve.similar import SimilarUser, unit
from grasper.retrieve.stylometry import Stylometry, mean_rows, num_words
from grasper.runs import stable_hash

Basis = Literal["history", "given text", "given title", "audience", "nothing"]
"""Whose writing stood for the user's: their own reviews, what the request gives of the target, other people's reviews of the item."""

FLOOR = 0.2
"""Cosine below which nobody counts as similar; see experiments/style.py for how often two random people reach it."""
TITLED_ALIKE = 50
"""People with similar titles whose texts stand in for the style of somebody of whom a title alone is known."""
MIN_FIT_TEXTS, MAX_FIT_TEXTS = 8, 20_000
"""Texts that the features are learned from, those of training users who are asked for nothing, so that no hidden text shapes them: fewer than the
first tell nothing, more than the second change nothing."""
BLOCK_ROWS = 65_536
"""People or texts compared at once."""
BLOCK_PEOPLE = 4_096
"""People whose style is made at once."""
_LENGTH_POWER = 0.25


@dataclass(frozen=True, slots=True)
class SimilarUsers:
    """Who writes like the user of a request, best first, and how sure that is."""

    users: tuple[SimilarUser, ...]
    basis: Basis
    certainty: float
    """How reliable the user's own style vector is, 0–1: the expected share of its variance that is the person's and not the text's, by the
    formula of Spearman and Brown; 0 where no word of the user's own was seen."""
    fallback: str = ""
    """Why nobody is named, empty where somebody is; the retriever then shows the item's audience."""

    def explain(self) -> str:
        """One line for records and reports."""
        if self.fallback:
            return f"{self.fallback}; the item's audience is shown instead"
        whose = {
            "history": "their own reviews",
            "given text": "the given text alone",
            "given title": "people who title alike and the item's audience, since a title alone is known",
            "audience": "the item's audience, since nothing of the user's own is known",
        }[self.basis]
        return f"{len(self.users)} people who write alike, judged by {whose}; certainty {self.certainty:.2f}"


class SimilarWriters:
    """Finds people who write like the user, and of each the review that suits the request best.

    Args:
        ranker: Chooses among the reviews of one person.
        floor: Cosine below which nobody counts as similar, −1 … 1.

    Raises:
        ConfigError: A floor outside of −1 … 1.
    """

    def __init__(self, pool: ReviewPool, ranker: Ranker, *, floor: float = FLOOR) -> None:
        if not -1.0 <= floor <= 1.0:
            raise ConfigError(f"the floor of style similarity is {floor}, expected a cosine from -1 to 1")
        self._pool, self._ranker, self._floor = pool, ranker, floor
        self._texts = StyleIndex([(review, review.text) for review in self._reviews() if review.text.strip()])
        self._lock = threading.Lock()
        self._last: tuple[tuple[Request, Example, int], SimilarUsers] | None = None

    def _reviews(self) -> Iterator[Review]:
        return (review for reviews in self._pool.by_user.values() for review in reviews)

    @cached_property
    def _index_of_titles(self) -> StyleIndex:
        return StyleIndex([(review, review.title) for review in self._reviews() if review.title and review.title.strip()])

    @property
    def _titles(self) -> StyleIndex:
        """Made on first use: only requests that give a title and come from somebody without history need it."""
        with self._lock:
            return self._index_of_titles

    def retrieve(self, request: Request, example: Example, k: int) -> list[Review]:
        """One review of each of the `k` most similar people; where there is none, the item's audience as `neighbours` would show it."""
        found = self.find(request, example, k)
        people = (with_text(self._pool.of_user(user.user_id, example)) for user in found.users)
        chosen = [review for reviews in people for review in self._best(reviews, request, 1)]
        return chosen or self._best(self._audience(request, example), request, k)

    def explain(self, request: Request, example: Example, k: int) -> str:
        """One line for records and reports: whose writing stood for the user's, and how sure that is."""
        return self.find(request, example, k).explain()

    def find(self, request: Request, example: Example, k: int) -> SimilarUsers:
        """The `k` people who write most like the user of the request, none of them the user; the last answer is kept for whoever explains it."""
        last, asked = self._last, (request, example, k)  # one attribute, so that threads find an answer with its own question
        if last is None or last[0] != asked:
            last = self._last = asked, self._search(request, example, k)
        return last[1]

    def _search(self, request: Request, example: Example, k: int) -> SimilarUsers:
        query, basis, evidence = self._query(request, example)
        if query is None:
            return SimilarUsers((), "nothing", 0.0, "nothing shows how the user writes")
        certainty = self._texts.certainty(evidence)
        users = self._texts.nearest(query, example, k, floor=self._floor)
        if not users:
            return SimilarUsers((), basis, certainty, f"no other person's style is nearer than {self._floor:g} (judged by: {basis})")
        return SimilarUsers(users, basis, certainty)

    def _query(self, request: Request, example: Example) -> tuple[np.ndarray | None, Basis, list[str]]:
        """The user's style, `[dim]`, where it comes from, and the user's own words behind it."""
        own = with_text(self._pool.own(example))
        given = [request.text] if request.text and request.text.strip() else []
        if not self._texts.is_fitted:
            return None, "nothing", []
        if own or given:
            rows = [self._texts.vector_of(review) for review in own]
            rows += list(self._texts.stylometry.vectors(given))
            evidence = [*(review.text for review in own), *given]
            return style_of(np.array(rows), evidence), "history" if own else "given text", evidence
        borrowed = self._borrowed(request, example)
        if not borrowed:
            return None, "nothing", []
        basis: Basis = "given title" if "title" in borrowed else "audience"
        return unit(np.sum(list(borrowed.values()), axis=0)[None])[0], basis, [request.title or ""] if basis == "given title" else []

    def _borrowed(self, request: Request, example: Example) -> dict[str, np.ndarray]:
        """Other people's style that stands in for the user's: of those who title alike, and of the item's audience."""
        borrowed = {}
        if request.title and request.title.strip() and self._titles.is_fitted:
            title = unit(self._titles.stylometry.vectors([request.title]))[0]
            alike = self._titles.nearest(title, example, TITLED_ALIKE, floor=self._floor)
            if (style := self._texts.mean_style([user.user_id for user in alike], example)) is not None:
                borrowed["title"] = style
        if audience := self._audience(request, example):
            borrowed["audience"] = style_of(np.array([self._texts.vector_of(review) for review in audience]), [review.text for review in audience])
        return borrowed

    def _audience(self, request: Request, example: Example) -> tuple[Review, ...]:
        """What others wrote about the item of the request, which may be a predicted one."""
        return with_text(self._pool.of_item(request.item.item_id, example))

    def _best(self, reviews: Sequence[Review], request: Request, k: int) -> list[Review]:
        return best(reviews, self._ranker.scores(query_of(request), reviews), k)


class StyleIndex:
    """The styles of all people who wrote, seen through what one example may see.

    Args:
        documents: Reviews with what of each is looked at: its text, or its title.
    """

    def __init__(self, documents: Sequence[tuple[Review, str]]) -> None:
        self._reviews = [review for review, _ in documents]
        taught = (pair for pair in documents if pair[0].split == "train" and not reserved_split(pair[0].user_id))
        train = sorted(taught, key=lambda pair: stable_hash(pair[0].review_id))[:MAX_FIT_TEXTS]
        self.is_fitted = len(train) >= MIN_FIT_TEXTS
        if not self.is_fitted:
            return
        texts = [text for _, text in documents]
        self.stylometry = Stylometry().fit([text for _, text in train], [review.user_id for review, _ in train])
        self._vectors = self.stylometry.vectors(texts)
        self._weights = weights_of(texts)
        writers = np.array([review.user_id for review in self._reviews], dtype=object)
        self._codes, self.user_ids = pd.factorize(writers, sort=True)
        """Who wrote each row, as a number, and everybody by number, `[users]`, in order."""
        self._code_of = {user_id: code for code, user_id in enumerate(self.user_ids)}
        self._splits = pd.Categorical([review.split for review in self._reviews])
        self._row = {review.review_id: row for row, review in enumerate(self._reviews)}
        self._mean_words = max(1.0, float(np.mean([num_words(text) for _, text in train])))
        self._times = np.array([review.when for review in self._reviews])
        self._repeats: dict[str, list[int]] = defaultdict(list)
        for row, review in enumerate(self._reviews):
            self._repeats[normalized(review.text)].append(row)
        self._lines: dict[tuple[str, ...], TimeLines] = {}
        self._lengths: dict[tuple[str, ...], np.ndarray] = {}
        self._profiles: dict[tuple[str, ...], np.ndarray] = {}
        self._lock = threading.Lock()

    def vector_of(self, review: Review) -> np.ndarray:
        """The style vector of one review, `[dim]`, also of one that somebody brings along from outside."""
        row = self._row.get(review.review_id)
        return self._vectors[row] if row is not None else self.stylometry.vectors([review.text])[0]

    def certainty(self, evidence: Sequence[str]) -> float:
        """Reliability of a style vector from so many texts of the user's own, 0–1 (Spearman–Brown, in texts of mean length)."""
        amount = sum(map(num_words, evidence)) / self._mean_words
        reliability = self.stylometry.reliability
        return amount * reliability / (1.0 + (amount - 1.0) * reliability) if amount else 0.0

    def nearest(self, query: np.ndarray, example: Example, k: int, *, floor: float) -> tuple[SimilarUser, ...]:
        """The `k` people with the highest cosine of at least `floor`, never the example's own user; of equals the first by id.

        Args:
            query: A vector of length 1, `[dim]`.
        """
        likeness = self.likeness(query, example)
        if example.user_id in self._code_of:
            likeness[self._code_of[example.user_id]] = -np.inf
        order = np.argsort(-likeness, kind="stable")[:k]
        return tuple(SimilarUser(str(self.user_ids[code]), float(likeness[code])) for code in order if likeness[code] >= floor)

    def mean_style(self, user_ids: Sequence[str], example: Example) -> np.ndarray | None:
        """The mean style of some people, `[dim]`, length 1; None where the example sees no text of theirs."""
        codes = np.array(sorted(self._code_of[user_id] for user_id in set(user_ids) if user_id in self._code_of), dtype=np.int64)
        styles = self._styles(self._visible_rows(codes, example, self._hidden_rows(example, POOLS[example.split])), codes)
        return unit(styles.sum(axis=0)[None])[0] if styles.any() else None

    def likeness(self, query: np.ndarray, example: Example) -> np.ndarray:
        """Cosine of the query with everybody's style, from what the example may see of each, `[users]`; −∞ for people of whom it sees nothing."""
        pools = POOLS[example.split]
        likeness = self._likeness(query, pools) if example.cutoff is None else self._likeness_until(example.cutoff, query, pools)
        hidden = self._hidden_rows(example, pools)
        changed = np.unique(self._codes[hidden])
        likeness[changed] = _cosines(self._styles(self._visible_rows(changed, example, hidden), changed), query)
        return likeness

    def _likeness(self, query: np.ndarray, pools: tuple[str, ...]) -> np.ndarray:
        """Cosine of the query with everybody's style from all reviews of these splits, `[users]`."""
        lines = self._lines_of(pools)
        with self._lock:
            if pools not in self._profiles:
                people = np.arange(len(self.user_ids))
                blocks = [people[start : start + BLOCK_PEOPLE] for start in range(0, len(people), BLOCK_PEOPLE)]
                self._profiles[pools] = np.concatenate([self._styles(lines.of(block), block) for block in blocks])
            profiles = self._profiles[pools]
        return np.concatenate([_cosines(profiles[start : start + BLOCK_ROWS], query) for start in range(0, len(profiles), BLOCK_ROWS)])

    def _likeness_until(self, cutoff: float, query: np.ndarray, pools: tuple[str, ...]) -> np.ndarray:
        """The same from reviews up to a moment: the products of single texts summed up per person, over the length of the sum of their vectors."""
        lines, query = self._lines_of(pools), query.astype(np.float32)
        with self._lock:
            if pools not in self._lengths:
                self._lengths[pools] = lines.running_lengths(self._vectors, self._weights)
            lengths = self._lengths[pools]
        products = np.concatenate([self._vectors[start : start + BLOCK_ROWS] @ query for start in range(0, len(self._vectors), BLOCK_ROWS)])
        seen = lines.until(cutoff)
        codes = self._codes[seen]
        sums = np.bincount(codes, products[seen] * self._weights[seen], minlength=len(self.user_ids))
        counts = np.bincount(codes, minlength=len(self.user_ids))
        length = np.where(counts > 0, lengths[lines.starts[:-1] + counts - 1], 0.0)
        return np.where(length > 0, sums / np.where(length > 0, length, 1.0), -np.inf)

    def _lines_of(self, pools: tuple[str, ...]) -> TimeLines:
        with self._lock:
            if pools not in self._lines:
                rows = np.flatnonzero(self._splits.isin(pools))
                self._lines[pools] = TimeLines(rows, self._codes[rows], self._times[rows], len(self.user_ids))
            return self._lines[pools]

    def _styles(self, rows: np.ndarray, people: np.ndarray) -> np.ndarray:
        """Style of each of some people (ascending numbers) from these rows, all of them theirs, `[people, dim]`."""
        means = mean_rows(self._vectors[rows], np.searchsorted(people, self._codes[rows]), self._weights[rows], len(people))
        return unit(means).astype(np.float32)

    def _visible_rows(self, people: np.ndarray, example: Example, hidden: np.ndarray) -> np.ndarray:
        """What the example may see of some people, ascending."""
        rows = self._lines_of(POOLS[example.split]).of(people)
        if example.cutoff is not None:
            rows = rows[self._times[rows] <= example.cutoff]
        return np.setdiff1d(rows, hidden)

    def _hidden_rows(self, example: Example, pools: tuple[str, ...]) -> np.ndarray:
        """Rows of these splits that the example may not see for another reason than that they are later than its cut-off, and later ones by its user.

        `is_visible` decides; the indexes only save asking it about every review.
        """
        suspects = {*self._repeats.get(normalized(example.target.text), ())}
        if example.user_id in self._code_of:
            suspects.update(self._lines_of(pools).of([self._code_of[example.user_id]]).tolist())
        hidden = [row for row in suspects if self._reviews[row].split in pools and not is_visible(self._reviews[row], example)]
        return np.array(sorted(hidden), dtype=np.int64)


class TimeLines:
    """The texts of each person in order of time, undated ones first.

    Args:
        rows: Numbers of the texts, `[n]`, ascending.
        codes: Who wrote each, `[n]`, 0 … `num_people` − 1.
        times: When, `[n]`, −∞ for undated ones.
    """

    def __init__(self, rows: np.ndarray, codes: np.ndarray, times: np.ndarray, num_people: int) -> None:
        order = np.lexsort((times, codes))
        self._numbers, self._times = rows, times
        self.rows = rows[order]
        self.starts = np.searchsorted(codes[order], np.arange(num_people + 1))
        """Where each person's line begins, `[num_people + 1]`."""

    def of(self, people: Sequence[int] | np.ndarray) -> np.ndarray:
        """The texts of some people, ascending."""
        parts = [self.rows[self.starts[person] : self.starts[person + 1]] for person in people]
        return np.sort(np.concatenate(parts)) if parts else self.rows[:0]

    def until(self, cutoff: float) -> np.ndarray:
        """The texts up to a moment, ascending."""
        return self._numbers[self._times <= cutoff]

    def running_lengths(self, vectors: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """How long the weighted sum of a person's vectors is after each of their texts, `[n]`."""
        lengths = np.zeros(len(self.rows))
        for start, end in pairwise(self.starts.tolist()):
            rows = self.rows[start:end]
            lengths[start:end] = np.linalg.norm(np.cumsum(vectors[rows] * weights[rows, None], axis=0), axis=1)
        return lengths


def style_of(vectors: np.ndarray, texts: Sequence[str]) -> np.ndarray:
    """The style of one person from the vectors of their texts, `[dim]`, length 1."""
    return np.asarray(unit(np.average(vectors, axis=0, weights=weights_of(texts))[None])[0])


def weights_of(texts: Sequence[str]) -> np.ndarray:
    """How much each text counts for its writer's style, `[n]`: a long one more than a short one, but not by its length."""
    return np.array([max(1, num_words(text)) ** _LENGTH_POWER for text in texts])


def _cosines(styles: np.ndarray, query: np.ndarray) -> np.ndarray:
    """Cosine of each row of length 1 with the query; −∞ for rows of zeros, of which nothing is known."""
    return np.where(styles.any(axis=1), styles @ query, -np.inf)
