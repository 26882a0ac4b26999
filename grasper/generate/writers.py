"""Who writes the wanted text: a language model at the desk of a method, or nobody but the neighbours."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from grasper.config import GenerateConfig
from grasper.desk import Desk
from grasper.generate.copy import Copier
from grasper.generate.dual import DualWriter
from grasper.generate.write import Writer
from grasper.methods.base import Method
from grasper.models.base import Pool
from grasper.records import Example, Output, Profile, Request, SyntheticReview, Task
from grasper.registry import Registry


class TextWriter(Protocol):
    """Answers requests of one task."""

    def write(self, task: Task, examples: Sequence[Example], synthetic: Mapping[str, Sequence[SyntheticReview]]) -> list[Output]:
        """One output per example, in their order; it does not depend on the other examples."""
        ...


@runtime_checkable
class LeadingWriter(Protocol):
    """Can tell what its model is shown before the answer, so that the real answer's probability can be measured there."""

    def profile(self, request: Request, example: Example, synthetic: Sequence[SyntheticReview]) -> Profile:
        """The evidence for a request; `synthetic` are its example's synthetic reviews."""
        ...

    def lead(self, requests: Sequence[Request], examples: Sequence[Example], profiles: Sequence[Profile], count: int) -> list[Pool]:
        """For every request the prompts that end in the label of the answer's line, each with its weight: one, as many as it shows sets of evidence,
        or one for each of `count` paths or deliberations where the method thinks before it writes.

        Args:
            requests: Of one task.
            profiles: The evidence that is shown, one for each request.
        """
        ...


MakeWriter = Callable[[Desk, GenerateConfig], TextWriter]


class Writers(Registry[MakeWriter]):
    """What makes a writer at a method's desk, by name."""

    def __init__(self) -> None:
        super().__init__("writer")
        self._without_model: set[str] = set()

    def register(self, name: str, part: MakeWriter, *, uses_model: bool = True) -> MakeWriter:
        """Add a writer and give it back.

        Args:
            uses_model: It asks the desk's model; where it does not, a run of its methods needs none.

        Raises:
            PluginError: Another writer has this name.
        """
        super().register(name, part)
        if not uses_model:
            self._without_model.add(name)
        return part

    def uses_model(self, name: str) -> bool:
        """Whether the writer of a name asks a language model.

        Raises:
            UnknownNameError: There is none of that name.
        """
        self.get(name)
        return name not in self._without_model


WRITERS = Writers()
"""The writers that `Method.writer` declares."""
WRITERS.register("model", Writer)
WRITERS.register("dual", DualWriter)
WRITERS.register("copy", lambda desk, config: Copier(desk.store, desk.method.name), uses_model=False)


def uses_model(method: Method) -> bool:
    """Whether a language model is asked for a method at all: trained for it, for the synthetic reviews that it shows, or by its writer."""
    return method.training != "none" or method.predicts_items or WRITERS.uses_model(method.writer)


def settings_for(method: Method, config: GenerateConfig) -> dict[str, Any]:
    """The settings that bear on what a method writes: its outputs stay when another one changes. A plugin's writer may read any."""
    unused: set[str] = set()
    if method.writer == "copy":
        unused = set(GenerateConfig.model_fields)
    elif method.writer == "dual":
        unused = {"counted_path", "pooled_paths", "neighbour_sets", "plain_weight"} | ({"kept_draft"} if not method.steps else set())
    elif method.writer == "model":
        unused = {"kept_draft"}
        if not method.reasoning:
            unused |= {"path_temperature", "counted_path", "pooled_paths"}
        if not method.pools_neighbours:
            unused.add("neighbour_sets")
        if not method.reasoning and not method.pools_neighbours:
            unused.add("plain_weight")
    return config.model_dump(mode="json", exclude=unused)
