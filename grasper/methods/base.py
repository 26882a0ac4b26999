"""What a method is: a declaration of which evidence its prompt shows, how it reasons, and how its model is trained.

The system and the stages read these fields; no method has code of its own outside them. Names of retrievers, writers and trainers are looked up in
their registries, so a method of somebody else's may bring parts of its own (docs/extending.md).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, get_args

from grasper.errors import ConfigError

Reasoner = Literal["style", "topic"]
"""What a reasoner is called, in the prompts too."""
REASONERS: tuple[Reasoner, ...] = get_args(Reasoner)
Predicted = Literal["none", "graph", "popular", "random", "oracle"]
"""Which items synthetic reviews are written for. `graph`: the link predictor's; `popular` and `random` need no predictor; `oracle`: the items
that the user really reviewed elsewhere, filled up by the link predictor's."""


@dataclass(frozen=True, slots=True)
class Trajectory:
    """A reasoner of its own (PAT): it reads the user's own reviews and those of one retriever, and writes notes for the writer."""

    role: Reasoner
    retriever: str
    """Name in `retrieve.RETRIEVERS`."""

    def __post_init__(self) -> None:
        if self.role not in REASONERS:
            raise ConfigError(f"a trajectory's role is {self.role!r}, expected one of {', '.join(REASONERS)}")


@dataclass(frozen=True, slots=True)
class Method:
    """One system of the comparison.

    Raises:
        ConfigError: A name that cannot be a folder's, a word that is none of those that a field takes, or fields that contradict one another.
    """

    name: str
    description: str
    own: bool = False
    """Shows the user's other reviews."""
    others: str = ""
    """Which reviews of other people it shows: a name in `retrieve.RETRIEVERS` (`neighbours`, `random`, …); empty: none."""
    pools_neighbours: bool = False
    """Its answer may be written behind several sets of other people's reviews at once (`generate.neighbour_sets`); ours, of no paper."""
    predicted: Predicted = "none"
    reasoning: bool = False
    """Writes a reasoning path before the text."""
    trajectories: tuple[Trajectory, ...] = ()
    """Reasoners that take turns and leave notes for the writer."""
    steps: int = 1
    """How often the reasoners see each other's notes and the draft, and revise; 0: notes and draft are written once."""
    training: str = "none"
    """A name in `align.TRAINERS`: `gold` is SFT on chosen paths and real texts (GraSPer), `em` self-training on sampled ones (REST-PG),
    `roles` the warm start of dual reasoning, `dpo` that and preference rounds (PAT)."""
    adapter_of: str = ""
    """The method whose adapter writes, where this one differs in what its prompts show alone; empty: its own."""
    writer: str = "model"
    """Who writes, a name in `generate.WRITERS`: `model`, `dual` (the trajectories' roles take turns), or `copy` (a neighbour's text, no model)."""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"\w[\w.+-]*", self.name):
            raise ConfigError(f"a method is named {self.name!r}, expected letters, digits and any of _ . + -, since its folders go by its name")
        if self.predicted not in get_args(Predicted):
            raise ConfigError(f"method {self.name!r}: predicted is {self.predicted!r}, expected one of {', '.join(get_args(Predicted))}")
        if self.writer == "dual" and not self.trajectories:
            raise ConfigError(f"method {self.name!r}: the writer 'dual' needs trajectories, whose reasoners take turns with it")
        if self.trajectories and self.writer in ("model", "copy"):
            raise ConfigError(f"method {self.name!r}: the writer {self.writer!r} asks no trajectory; choose writer='dual', or one of your own")
        if len({trajectory.role for trajectory in self.trajectories}) < len(self.trajectories):
            raise ConfigError(f"method {self.name!r}: two trajectories have one role; a reasoner follows one, so give them different roles")
        if self.adapter_of and self.training == "none":
            raise ConfigError(f"method {self.name!r}: it is to write with the adapter of {self.adapter_of!r}; declare the same training")

    @property
    def aligned_as(self) -> str:
        """Name of the method whose alignment this one uses."""
        return self.adapter_of or self.name

    def is_aligned(self, *, has_weights: bool) -> bool:
        """Whether alignment does anything for it. A model without weights to train learns from exemplars, which roles that take turns do not show.

        Args:
            has_weights: Whether the model is one in this process (`kind` local), whose weights an adapter can be trained for.
        """
        return self.training != "none" and (has_weights or not self.trajectories)

    @property
    def thinks(self) -> bool:
        """Whether what it writes rests on sampled paths, or on the notes of sampled deliberations."""
        return self.reasoning or bool(self.trajectories)

    @property
    def predicts_items(self) -> bool:
        """Whether synthetic reviews are written for it."""
        return self.predicted != "none"

    @property
    def needs_candidates(self) -> bool:
        """Whether items for synthetic reviews come from the link predictor's candidates, all or some of them."""
        return self.predicted in ("graph", "oracle")

    @property
    def retrievers(self) -> tuple[str, ...]:
        """Names of the retrievers that find other people's reviews for it."""
        return tuple(name for name in (self.others, *(trajectory.retriever for trajectory in self.trajectories)) if name)
