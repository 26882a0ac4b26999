"""What the report shows besides the numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from grasper.evaluate.score import Answers, Scores
from grasper.records import Example, SyntheticReview, Tables, Task
from grasper.retrieve.pool import ReviewPool


@dataclass(frozen=True)
class ReportData:
    """Everything of a run that a page of examples is made of."""

    examples: Sequence[Example]
    tables: Tables
    pool: ReviewPool
    tasks: tuple[Task, ...]
    answers: Mapping[str, Answers]
    synthetic: Mapping[str, Mapping[str, Sequence[SyntheticReview]]]
    candidates: pd.DataFrame | None
    prediction: Mapping[str, Any] | None
    scores: Scores
