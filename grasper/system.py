"""One user through a method: the items they would meet next, the reviews they would write there, and the text that is wanted (GraSPer, Sec. 3).

The stages of a run, the Python API and whatever serves requests all call a `System`. It knows no files and no batches: it answers any examples, and
what it answers for one does not depend on the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from grasper.config import GenerateConfig, SynthesizeConfig
from grasper.desk import Desk
from grasper.errors import ShapeError
from grasper.generate.writers import WRITERS, TextWriter
from grasper.records import Candidate, Example, Output, SyntheticReview, Task
from grasper.synthesize.items import choose_items
from grasper.synthesize.write import SyntheticWriter
from grasper.written import by_example

if TYPE_CHECKING:
    import pandas as pd

Forecast = Callable[[Sequence[Example]], "pd.DataFrame"]
"""What the link predictor expects of examples (CANDIDATE_COLUMNS)."""


@dataclass(frozen=True)
class Personalized:
    """What a system answered to one request, and what it rests on."""

    output: Output
    candidates: tuple[Candidate, ...]
    synthetic: tuple[SyntheticReview, ...]
    """Rejected ones included."""


@dataclass(frozen=True)
class System:
    """One method, ready to answer."""

    desk: Desk
    synthesis: SynthesizeConfig
    generation: GenerateConfig
    forecast: Forecast | None = None
    """None for methods whose items do not come from the link predictor."""

    def predict(self, examples: Sequence[Example]) -> dict[str, list[Candidate]]:
        """The items that get a synthetic review, best first, by example id (GraSPer, Sec. 3.1)."""
        method, config = self.desk.method, self.synthesis
        table = self.forecast(examples) if self.forecast is not None and method.needs_candidates else None
        pool, seed = self.desk.store.pool, self.desk.seed
        return choose_items(method, examples, table, pool, num_items=config.num_items, min_score=config.min_score, seed=seed)

    def synthesize(self, examples: Sequence[Example]) -> list[SyntheticReview]:
        """The reviews that the users would write about their predicted items, rejected ones included (GraSPer, Sec. 3.1)."""
        return self._synthesize(examples, self.predict(examples)) if self.desk.method.predicts_items else []

    def write(self, task: Task, examples: Sequence[Example], synthetic: Mapping[str, Sequence[SyntheticReview]]) -> list[Output]:
        """The wanted texts, titles or ratings, in the order of the examples.

        Args:
            synthetic: Synthetic reviews by example id; rejected ones are not shown.

        Raises:
            ShapeError: The writer gave something else than one output per example, in their order, or names evidence that nobody can look up.
        """
        return self._checked(task, examples, self.writer.write(task, examples, synthetic))

    def _checked(self, task: Task, examples: Sequence[Example], given: Any) -> list[Output]:
        """What the writer, perhaps somebody else's, gave, once it is known to answer the examples by evidence that can be looked up."""
        method, records = self.desk.method, self.desk.store.tables.reviews_by_id
        outputs = list(given) if isinstance(given, Iterable) else [given]
        if wrong := [one for one in outputs if not isinstance(one, Output)]:
            raise ShapeError(f"the writer {method.writer!r} gave {wrong[0]!r:.80}, expected a list of outputs (grasper.records.Output)")
        asked = [(example.example_id, task, method.name) for example in examples]
        answered = [(output.example_id, output.task, output.method) for output in outputs]
        if answered != asked:
            odd = next((f"{got}, expected {want}" for got, want in zip(answered, asked, strict=False) if got != want), "")
            told = f"the first that differs is {odd}" if odd else "expected one for each, in their order"
            raise ShapeError(f"the writer {method.writer!r} gave {len(answered)} outputs to {len(asked)} examples; {told}")
        for example, output in zip(examples, outputs, strict=True):
            brought = {review.review_id for review in example.history or ()}
            if unknown := [name for name in output.evidence if name not in records and name not in brought]:
                raise ShapeError(f"the writer {method.writer!r} names {unknown[0]!r:.80} as evidence, expected ids of real reviews that it showed")
        return outputs

    def personalize(self, task: Task, examples: Sequence[Example]) -> list[Personalized]:
        """All three steps for each example."""
        distinct = list({example.example_id: example for example in examples}.values())  # two requests of one person about one item are one example
        items = self.predict(distinct) if self.desk.method.predicts_items else {}
        written = by_example(self._synthesize(distinct, items)) if items else {}
        outputs = self.write(task, examples, written)
        return [
            Personalized(output, tuple(items.get(example.example_id, ())), tuple(written.get(example.example_id, ())))
            for example, output in zip(examples, outputs, strict=True)
        ]

    def _synthesize(self, examples: Sequence[Example], items: Mapping[str, Sequence[Candidate]]) -> list[SyntheticReview]:
        return SyntheticWriter(self.desk, self.synthesis).write(examples, items)

    def items_of(self, example: Example) -> tuple[Candidate, ...]:
        """The predicted items of one example; none for methods that predict none."""
        return tuple(self.predict([example])[example.example_id]) if self.desk.method.predicts_items else ()

    @cached_property
    def writer(self) -> TextWriter:
        return WRITERS.get(self.desk.method.writer)(self.desk, self.generation)
