"""Rewards by what is said to do to the real answer's probability, instead of by noisy drafts (ours, after the E-step of EM).

Bits per byte that a path saves: (log₂ p(answer | prompt, path) − log₂ p(answer | prompt without a path)) / bytes. Below zero a path does harm.
Paths that the model sampled itself are then drawn from p(path | prompt), so that the likeliest answer picks the path that explains it best. A path
that was written with the answer in view knows more than any path can at inference and nearly always wins: `align.sources=[sampled]` goes with this.

The same measure judges the notes of dual reasoning: see `differential.judge_by_likelihood`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from grasper.errors import ConfigError
from grasper.models.base import Prompt, TextModel
from grasper.models.local import LocalModel
from grasper.prompts.render import after_path
from grasper.prompts.templates import ANSWER_LABELS, AnswerTask


def require_likelihoods(model: TextModel | None, setting: str) -> LocalModel:
    """The model, known to tell the probability of a given text.

    Args:
        setting: What asks for it, for the message.

    Raises:
        ConfigError: It tells none: it stands behind an endpoint, or there is no model.
    """
    if not isinstance(model, LocalModel):
        name = "no model" if model is None else model.name
        raise ConfigError(f"{setting}=likelihood needs a local model, which tells the probability of a given text, and got {name}")
    return model


def answer_bits(model: LocalModel, asked: Sequence[Prompt], task_answers: Sequence[tuple[AnswerTask, str]]) -> np.ndarray:
    """Bits per byte that the model needs for each real answer, end token included, `[prompts]`; the lower, the likelier.

    Answers are scored and never become part of a prompt.

    Args:
        asked: Prompts that end with the label of their task's first line; see `render.after_path`. A whole review that lacks this line is scored
            behind the label of the first line that it has.
        task_answers: The task of each, and the real answer in the lines of that task.
    """
    labels, rests = zip(*(_first_label(lines, task) for task, lines in task_answers), strict=True) if task_answers else ((), ())
    usual = [f"{ANSWER_LABELS[task][0]}:" for task, _ in task_answers]
    asked = [
        replace(prompt, prefix=prompt.prefix.removesuffix(expected) + label) for prompt, expected, label in zip(asked, usual, labels, strict=True)
    ]
    sizes = np.array([max(1, len(rest.encode("utf-8"))) for rest in rests])
    return np.asarray(-model.score_texts(asked, rests) / np.log(2) / sizes)


def _first_label(lines: str, task: AnswerTask) -> tuple[str, str]:
    """The label that an answer begins with, and what comes behind it."""
    label = next((f"{name}:" for name in ANSWER_LABELS[task] if lines.startswith(f"{name}:")), f"{ANSWER_LABELS[task][0]}:")
    return label, lines.removeprefix(label).strip()


class LikelihoodReward:
    """Scores paths and not answers.

    Raises:
        ConfigError: The model tells no probability of a given text.
    """

    def __init__(self, model: TextModel | None) -> None:
        self._model = require_likelihoods(model, "align.reward")

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
        asked = [after_path(with_path, path, task) if path else after_path(without, "", task) for path in ("", *paths)]
        plain, *behind = answer_bits(self._model, asked, [(task, answer_lines)] * len(asked))
        return np.asarray(plain - np.array(behind))
