"""What a trainer spends on its model, counted on the way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from grasper.models.base import Completion, Prompt, TextModel

if TYPE_CHECKING:
    from grasper.models.local import LocalModel


class TokenCountingModel:
    """A model that counts the tokens of what it is asked."""

    def __init__(self, model: TextModel) -> None:
        self._model = model
        self.tokens = {"tokens_in": 0, "tokens_out": 0}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def generate(self, prompts: Sequence[Prompt], **options: Any) -> list[list[Completion]]:
        """What the model answers."""
        found = self._model.generate(prompts, **options)
        for name in self.tokens:
            self.tokens[name] += sum(getattr(completion, name) for completions in found for completion in completions)
        return found

    def score_texts(self, prompts: Sequence[Prompt], texts: Sequence[str]) -> np.ndarray:
        """How likely the model holds the texts, which it reads."""
        self._read(prompts)
        return cast("LocalModel", self._model).score_texts(prompts, texts)

    def score_choices(self, prompts: Sequence[Prompt], choices: Sequence[str]) -> np.ndarray:
        """How likely the model holds each choice; one token is answered."""
        self._read(prompts)
        self.tokens["tokens_out"] += len(prompts)
        return self._model.score_choices(prompts, choices)

    def _read(self, prompts: Sequence[Prompt]) -> None:
        self.tokens["tokens_in"] += sum(map(len, cast("LocalModel", self._model).encode_all(prompts)))
