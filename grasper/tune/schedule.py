"""The learning rate by tokens seen: warm-up, a long constant part, a fall to zero (warm-up, stable, decay: Hu et al. 2024, arXiv:2404.06395).

Against a cosine, the constant part does not depend on where the end will be: a training whose hours are not known can be stopped, resumed and made
longer, and its checkpoints before the fall stay what they would have been.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Schedule:
    """Learning rate as a function of tokens seen."""

    learning_rate: float
    """Of the constant part."""
    tokens: int
    """Where the rate reaches zero."""
    warmup_tokens: int
    decay_share: float = 0.2
    """Part of `tokens` over which the rate falls, linearly."""

    def rate(self, tokens: int) -> float:
        """The rate of the step that begins after so many tokens; 0 at the end and beyond."""
        warmup = min(1.0, (tokens + 1) / max(1, self.warmup_tokens))
        left = (self.tokens - tokens) / max(1.0, self.tokens * self.decay_share)
        return self.learning_rate * max(0.0, min(warmup, left, 1.0))
