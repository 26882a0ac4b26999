"""Predicted items for anybody: known users and newcomers, with or without an item in mind, today or on an earlier day.

The stage, the Python API and whatever serves requests make one call, `Predictor.predict`. Where examples have cut-offs, the predictor was fitted
anew for several stretches of time, its *eras*: an era knows the tables as they stood when it began, and answers whoever asks until the next one.
So nothing that is dated after a request reaches it: no edge, no word, no activity, and nothing that was learned from them.
"""

from __future__ import annotations

import copy
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd

from grasper.predict.baselines import ItemPredictor
from grasper.predict.calibrate import log_softmax
from grasper.predict.catalogue import Catalogue, Pool
from grasper.predict.graph import FloatArray, IndexArray, Interactions, log_popularity
from grasper.predict.tastes import TasteSpace
from grasper.predict.topk import best_of, blocks, hide, scores_of
from grasper.records import CANDIDATE_COLUMNS, Example, Review, iterate_rows, none_if_missing
from grasper.retrieve.pool import POOLS

EXAMPLES_AT_ONCE = 4096
"""Examples whose histories are held at once."""
ERA_GROWTH = 0.7
"""Share of the requests before one era among those before the next: all fits together learn from about three times the edges of one."""


class Era:
    """A fitted model with the tables that it was fitted on, as they stood on its first day.

    Args:
        temperature: At which the model's scores are probabilities.
        popularity_temperature: The same for the logarithm of popularity, which answers whoever has no visible edge at all.
    """

    def __init__(self, catalogue: Catalogue, model: ItemPredictor, temperature: float, popularity_temperature: float = 1.0) -> None:
        self.catalogue, self.model = catalogue, model
        self.temperature, self.popularity_temperature = temperature, popularity_temperature
        self._bound: dict[Pool, tuple[ItemPredictor, Interactions]] = {}
        self._lock = threading.Lock()

    def predict(self, examples: Sequence[Example], k: int) -> tuple[np.ndarray, FloatArray]:
        """Item ids (None where there is no item left) and their probabilities, best first, `[len(examples), min(k, items)]` both.

        Raises:
            UnknownIdError: A user without any review, or an item that the tables do not hold.
        """
        k = min(k, len(self.catalogue.items))
        ids, scores = np.full((len(examples), k), None, object), np.zeros((len(examples), k), np.float32)
        by_pool: dict[Pool, list[int]] = defaultdict(list)
        for place, example in enumerate(examples if len(self.catalogue.items) else ()):
            by_pool[POOLS[example.split]].append(place)
        names = self.catalogue.items.ids.to_numpy()
        for pool, places in by_pool.items():
            model, graph = self.bind(pool)
            for start in range(0, len(places), EXAMPLES_AT_ONCE):
                part = places[start : start + EXAMPLES_AT_ONCE]
                asking = [examples[place] for place in part]
                items, scores[part] = self._top_k(model, graph, self.histories(asking, pool), self.catalogue.set_aside(asking, pool), k)
                found = names[items]
                found[items < 0] = None
                ids[part] = found
        return ids, scores

    def histories(self, examples: Sequence[Example], pool: Pool) -> Interactions:
        """What each of these is known by; see `Catalogue.histories`."""
        return self.catalogue.histories(examples, pool, with_target_words=not self.model.propagates_words)

    def bind(self, pool: Pool) -> tuple[ItemPredictor, Interactions]:
        """The model with the edges of a pool taken in; made once, by whoever asks first."""
        with self._lock:
            if pool not in self._bound:
                graph = self.catalogue.graph(pool, with_target_words=not self.model.propagates_words)
                self._bound[pool] = copy.copy(self.model).bind(graph), graph
            return self._bound[pool]

    def tastes(self, pool: Pool) -> TasteSpace:
        """The tastes that the edges of a pool show.

        Raises:
            ConfigError: The encoder has no user vectors.
        """
        return TasteSpace(self.model, self.catalogue, pool)

    def release(self) -> None:
        """Forget what was taken in; the next question takes it in again."""
        with self._lock:
            self._bound.clear()

    def _top_k(
        self, model: ItemPredictor, graph: Interactions, histories: Interactions, set_aside: tuple[IndexArray, IndexArray], k: int
    ) -> tuple[IndexArray, FloatArray]:
        """Best items and their probabilities among reviewed, unseen items that are not set aside, `[num_users, k]`."""
        reviewed = graph.item_degree > 0
        popularity = log_popularity(graph) * np.float32(self.temperature / self.popularity_temperature)
        places, aside = set_aside
        items, scores = np.empty((histories.num_users, k), np.int64), np.empty((histories.num_users, k), np.float32)
        for start, block in blocks(histories):
            part = slice(start, start + block.num_users)
            here = (places >= part.start) & (places < part.stop)
            logits = scores_of(model.score, block)
            logits[block.user_degree == 0] = popularity
            hide(logits, block, reviewed)
            logits[places[here] - start, aside[here]] = -np.inf
            logits /= self.temperature
            items[part], scores[part] = best_of(log_softmax(logits), k)
        return items, np.exp(scores)


class Predictor:
    """A fitted link predictor, ready to answer. Safe under threads.

    Args:
        today: The era without an end, which knows all tables.
        earlier: What opens each of the others, by the last second that it knows (Unix time). They are opened for a question and let go after it, as
            each takes as much memory as today's; of the people of similar taste the vectors are kept.
    """

    def __init__(self, today: Era, earlier: Mapping[float, Callable[[], Era]] | None = None) -> None:
        self.today = today
        self._earlier = dict(sorted((earlier or {}).items()))
        self._tastes: dict[tuple[float, Pool], TasteSpace] = {}
        self._lock = threading.Lock()

    def predict(self, examples: Sequence[Example], k: int) -> pd.DataFrame:
        """The k items that each of these will most likely meet next (CANDIDATE_COLUMNS), in the given order, best first.

        Somebody is a known user, or a newcomer with the reviews that they bring (`Example.history`, which may be empty). An item in mind
        (`item_id`, empty for none) counts as one that they will meet; neither it nor anything in the history is among the candidates. With a cut-off
        nothing later counts. `score` is the calibrated probability, 0–1, that the item is the next one.

        Raises:
            UnknownIdError: A user without any review, or an item that the tables do not hold.
        """
        by_era: dict[float | None, list[int]] = defaultdict(list)
        for place, until in enumerate(era_of(examples, list(self._earlier))):
            by_era[until].append(place)
        answers = [
            (places, *self._era(until).predict([examples[place] for place in places], k)) for until, places in by_era.items() if until is not None
        ]
        return candidate_table(examples, answers)

    def tastes(self, example: Example) -> TasteSpace | None:
        """The tastes of everybody whom an example may see; None where its cut-off lies before all eras.

        Raises:
            ConfigError: The encoder has no user vectors.
        """
        until = era_of([example], list(self._earlier))[0]
        if until is None:
            return None
        pool = POOLS[example.split]
        with self._lock:
            if (until, pool) not in self._tastes:
                self._tastes[until, pool] = self._era(until).tastes(pool)
            return self._tastes[until, pool]

    def _era(self, until: float) -> Era:
        return self.today if np.isinf(until) else self._earlier[until]()


def candidate_table(examples: Sequence[Example], answers: Sequence[tuple[Sequence[int], np.ndarray, FloatArray]]) -> pd.DataFrame:
    """Rows of CANDIDATE_COLUMNS, in the order of the examples, best first.

    Args:
        answers: Of each era: which examples it answers, and what `Era.predict` says of them. Eras may know different numbers of items.
    """
    found: list[tuple[np.ndarray, ...]] = [(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, object), np.zeros(0, np.float32))]
    for answered, ids, probabilities in answers:
        rows, columns = np.nonzero(ids != None)  # noqa: E711 (an array of objects)
        found.append((np.asarray(answered)[rows], columns, ids[rows, columns], probabilities[rows, columns]))
    places, ranks, item_ids, scores = (np.concatenate(parts) for parts in zip(*found, strict=True))
    order = np.lexsort((ranks, places))
    places, ranks, item_ids, scores = places[order], ranks[order], item_ids[order], scores[order]
    example_ids, user_ids = (np.array([getattr(example, name) for example in examples], dtype=object) for name in ("example_id", "user_id"))
    values = (example_ids[places], user_ids[places], item_ids, ranks + 1, scores.astype(float))
    return pd.DataFrame(dict(zip(CANDIDATE_COLUMNS, values, strict=True)))


def era_starts(cutoffs: pd.Series, num_eras: int) -> list[float]:
    """When eras begin: the first at the first cut-off, each of the others with about `ERA_GROWTH` of the requests of the next one before it.

    Early ones are short, as little is known and a fit costs little. Without cut-offs there are none. They follow from the cut-offs alone, so reviews
    that come later change nothing.
    """
    known = cutoffs.astype("float64").dropna().to_numpy()
    shares = [0.0, *(ERA_GROWTH**power for power in range(1, num_eras))]
    return sorted({float(start) for start in np.quantile(known, shares, method="lower")}) if len(known) else []


def era_of(examples: Sequence[Example], starts: Sequence[float]) -> list[float | None]:
    """For each example the latest era that knows nothing later than its cut-off; infinity without one, None before the first."""
    ended = np.array([start for start in starts if np.isfinite(start)])
    found: list[float | None] = []
    for example in examples:
        place = -1 if example.cutoff is None else int(np.searchsorted(ended, example.cutoff, side="right")) - 1
        found.append(np.inf if example.cutoff is None else float(ended[place]) if place >= 0 else None)
    return found


def asked(table: pd.DataFrame) -> list[Example]:
    """The rows of an examples table as examples that hold nothing of their targets: the predictor needs no word of them."""
    return [
        Example(row.example_id, Review(row.review_id, row.user_id, row.item_id, ""), row.split, none_if_missing(row.cutoff))
        for row in iterate_rows(table)
    ]
