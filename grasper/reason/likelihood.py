"""The reward of a path by what it does to the real answer's probability, instead of by one noisy draft (ours, after the E-step of EM).

Bits per byte that the path saves: (log₂ p(answer | prompt, path) − log₂ p(answer | prompt without a path)) / bytes. Below zero a path does harm.
Paths that the model sampled itself are then drawn from p(path | prompt), so that the likeliest answer picks the path that explains it best. A path
that was written with the answer in view knows more than any path can at inference and nearly always wins: `align.sources=[sampled]` goes with this.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from grasper.errors import ConfigError
from grasper.models.base import Prompt, TextModel
from grasper.models.local import LocalModel
from grasper.prompts.render import after_path
from grasper.prompts.templates import ANSWER_LABELS, AnswerTask


class LikelihoodReward:
    """Scores paths and not answers.

    Raises:
        ConfigError: The model tells no probability of a given text.
    """

    def __init__(self, model: TextModel | None) -> None:
        if not isinstance(model, LocalModel):
            name = "no model" if model is None else model.name
            raise ConfigError(f"align.reward=likelihood needs a local model, which tells the probability of a given text, and got {name}")
        self._model = model

    def score(self, task: AnswerTask, candidates: Sequence[str], references: Sequence[str]) -> np.ndarray:
        """There is no such thing: raises ConfigError."""
        raise ConfigError("align.reward=likelihood scores reasoning paths, and here answers are judged; choose mean, rouge1, rougeL, meteor or judge")

    def score_paths(self, task: AnswerTask, answer_lines: str, paths: Sequence[str], with_path: Prompt, without: Prompt) -> np.ndarray:
        """Bits per byte of the real answer that each path saves, `[paths]`; 0 for an empty one.

        Args:
            answer_lines: The real answer in the lines of its task.
            with_path: The prompt that asks for a path.
            without: The same request without one.
        """
        rest = answer_lines.removeprefix(f"{ANSWER_LABELS[task][0]}:").strip()
        asked = [after_path(with_path, path, task) if path else after_path(without, "", task) for path in ("", *paths)]
        plain, *behind = self._model.score_texts(asked, [rest] * len(asked))
        return (np.array(behind) - plain) / np.log(2) / max(1, len(rest.encode("utf-8")))
