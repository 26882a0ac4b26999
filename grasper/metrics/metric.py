"""What a metric is: one frozen record, registered once, which then stands in tables, comparisons, report, terminal and results files.

    METRICS.register("shouting", Metric("shouting", "Shouting", lambda batch: [text.isupper() for text in batch.texts], tasks=("long",)))

A metric that needs a model is a record without a function: its numbers are measured elsewhere and handed to the evaluation per example.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np

from grasper.metrics.style import LineUp, Space
from grasper.records import TASKS, Example, Output, Review, Task
from grasper.registry import Registry

Shown = Literal["plot", "table", "detail"]
Form = Literal["score", "share", "count"]


@dataclass
class Targets:
    """What one task is measured against, the same for every method; all sequences in one order, `n` long."""

    task: Task
    examples: Sequence[Example]
    references: Sequence[str]
    """What the user really wrote; empty strings for ratings."""
    ratings: np.ndarray
    """What the user really gave, NaN where unknown."""
    others: Sequence[Sequence[str]] = ()
    """Some other people's texts about the same item."""
    reviews: Mapping[str, Review] = field(default_factory=dict)
    """All reviews by id."""
    seed: int = 0
    _line_ups: dict[str, LineUp] = field(default_factory=dict)

    def line_up(self, name: str, fit: Callable[[Sequence[str]], Space]) -> LineUp:
        """The targets among other people's texts in a space that is learned from both, made once for a name."""
        if name not in self._line_ups:
            corpus = [*self.references, *(text for texts in self.others for text in texts)]
            places = np.random.default_rng(self.seed).permutation(len(corpus))[:MAX_FITTED_TEXTS]
            self._line_ups[name] = LineUp(fit([corpus[place] for place in sorted(places)]), self.references, self.others)
        return self._line_ups[name]


@dataclass
class Batch:
    """One method's answers to one task, in the order of the targets."""

    targets: Targets
    outputs: Sequence[Output]
    texts: Sequence[str]
    """What a text answer is scored on; empty strings for ratings."""
    ratings: np.ndarray
    """What a rating answer is scored on, stars."""

    @property
    def references(self) -> Sequence[str]:
        return self.targets.references

    @cached_property
    def sources(self) -> list[list[str]]:
        """The texts of the real reviews that stood in each prompt."""
        reviews = self.targets.reviews
        return [[reviews[review_id].text for review_id in output.evidence if review_id in reviews] for output in self.outputs]


Function = Callable[[Batch], "np.ndarray | Sequence[float]"]


@dataclass(frozen=True)
class Metric:
    """One number per answer, and all that tables and plots need to know of it."""

    name: str
    """In results files and tables of numbers."""
    label: str
    """In tables for people."""
    function: Function | None = None
    """Batch → `[n]`, NaN where it has no meaning; None where the numbers are measured elsewhere (with a model) and handed in."""
    tasks: tuple[Task, ...] = TASKS
    higher_is_better: bool | None = True
    """None for what describes an answer and makes it neither better nor worse; then nothing is marked as best and nothing compared."""
    chance: float | None = None
    """What an answer without any knowledge gets, where that is known."""
    shown: Shown = "detail"
    """In plots and main tables, in main tables, or only in the table of everything."""
    form: Form = "score"
    """Three digits, per cent, or one digit."""
    meaning: str = ""
    """A sentence for the report."""
    column: str = ""
    """What the number of one example is called, where that differs from the name."""
    is_rooted: bool = False
    """Whether the root of the mean is reported (RMSE)."""
    is_by_bytes: bool = False
    """Whether every target counts by the bytes of its real text or title, so that the mean is the sum over all targets by the sum of their bytes."""
    by_default: bool = True
    """Whether it is computed without being asked for (`evaluate.extra_metrics`)."""
    is_available: Callable[[], bool] = lambda: True
    """Whether what it needs is installed; one that is not is left out, and refused where it is asked for."""

    def __post_init__(self) -> None:
        if not self.column:
            object.__setattr__(self, "column", self.name)

    @property
    def is_compared(self) -> bool:
        """Whether it tells which of two methods is better."""
        return self.higher_is_better is not None

    def best(self, values: Sequence[float]) -> float | None:
        """The best of several values; None where there is none or where the metric does not judge."""
        known = [value for value in values if value == value]
        if len(values) < 2 or not known or self.higher_is_better is None:
            return None
        return max(known) if self.higher_is_better else min(known)

    def format(self, value: float) -> str:
        """The value as tables show it."""
        return f"{value:.1%}" if self.form == "share" else f"{value:.1f}" if self.form == "count" else f"{value:.3f}"

    def describe(self) -> dict[str, Any]:
        """The record for a results file: all but its functions, and what is as usual."""
        skipped = ("function", "is_available", "by_default", "name", "column")
        return {name: value for name, value in asdict(self).items() if name not in skipped and value not in (None, "")}


METRICS: Registry[Metric] = Registry("metric")

MAX_FITTED_TEXTS = 4000
"""Texts that the spaces of the line-ups are learned from."""


def register(metric: Metric) -> Metric:
    """Add a metric under its own name.

    Raises:
        PluginError: There is another one of that name.
    """
    return METRICS.register(metric.name, metric)
