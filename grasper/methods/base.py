"""What a method is: a declaration of which evidence its prompt shows, whether it reasons, and how its model is trained.

The stages read these fields; no method has code of its own outside them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Predicted = Literal["none", "graph", "popular", "random", "oracle"]
"""Which items synthetic reviews are written for. `graph`: the link predictor's; `popular` and `random` need no predictor; `oracle`: the items
that the user really reviewed elsewhere, filled up by the link predictor's."""

Training = Literal["none", "gold", "em", "dpo"]
"""`gold`: SFT on chosen paths and real texts (GraSPer); `em`: self-training on sampled ones (REST-PG); `dpo`: differential reward (PAT)."""


@dataclass(frozen=True, slots=True)
class Method:
    """One system of the comparison."""

    name: str
    description: str
    own: bool = False
    """Shows the user's other reviews."""
    neighbours: bool = False
    """Shows other users' reviews of the item."""
    random_reviews: int = 0
    """Shows so many random reviews of anybody, in the place of the neighbours."""
    predicted: Predicted = "none"
    reasoning: bool = False
    """Writes a reasoning path before the text."""
    training: Training = "none"
    adapter_of: str = ""
    """The method whose adapter writes, where this one differs in what its prompts show alone; empty: its own."""
    writer: Literal["model", "copy"] = "model"
    """Who writes: the language model, or a neighbour's text is copied."""

    @property
    def aligned_as(self) -> str:
        """Name of the method whose alignment this one uses."""
        return self.adapter_of or self.name

    @property
    def uses_model(self) -> bool:
        """Whether a language model is asked at all."""
        return self.writer == "model"

    @property
    def uses_predictor(self) -> bool:
        """Whether the link predictor's candidates are needed."""
        return self.predicted in ("graph", "oracle")
