"""Who writes the wanted text: a language model at the desk of a method, or nobody but the neighbours."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from grasper.config import GenerateConfig
from grasper.desk import Desk
from grasper.generate.copy import Copier
from grasper.generate.dual import DualWriter
from grasper.generate.write import Writer
from grasper.records import Example, Output, SyntheticReview, Task
from grasper.registry import Registry


class TextWriter(Protocol):
    """Answers requests of one task."""

    def write(self, task: Task, examples: Sequence[Example], synthetic: Mapping[str, Sequence[SyntheticReview]]) -> list[Output]:
        """One output per example, in their order; it does not depend on the other examples."""
        ...


WRITERS: Registry[Callable[[Desk, GenerateConfig], TextWriter]] = Registry("writer")
"""What makes a writer, by the name that `Method.writer` declares."""
WRITERS.register("model", Writer)
WRITERS.register("dual", DualWriter)
WRITERS.register("copy", lambda desk, config: Copier(desk.store, desk.method.name))
