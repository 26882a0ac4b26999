"""A model that answers from a script: deterministic, instant, needs neither network nor weights. For tests and dry runs."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np

from grasper.errors import ModelError
from grasper.models.base import Completion, Prompt, most_tokens, tokens_of

Script = Sequence[str] | Callable[[Prompt], str]

_TOKEN = re.compile(r"\w+|[^\w\s]")


class ScriptedModel:
    """Answers from a list, in turn and again from its start, or from a function of the prompt.

    Args:
        answers: The answers. Sample `j` of the `i`-th prompt since construction gets number `i * n + j` of a list; a function is called
            for every sample.
        choice: Decides `score_choices`: the function returns the choice that gets nearly all probability; None makes all choices equal.
        context_tokens: What the model claims to hold; one token is a word or a punctuation mark.
    """

    def __init__(
        self,
        answers: Script = ("Title: Lovely\nText: A lovely place.\nRating: 5",),
        *,
        choice: Callable[[Prompt], str] | None = None,
        context_tokens: int = 1024,
        name: str = "scripted",
    ) -> None:
        if not callable(answers) and not answers:
            raise ModelError("a scripted model needs at least one answer, got an empty list")
        self.name = name
        self.context_tokens = context_tokens
        self.prompts: list[Prompt] = []
        """Every prompt that `generate` has seen, in order."""
        self._answers = answers
        self._choice = choice

    def count_tokens(self, text: str) -> int:
        """Number of words and punctuation marks."""
        return len(_TOKEN.findall(text))

    def truncate(self, text: str, max_tokens: int) -> str:
        """The longest beginning of `text` with at most `max_tokens` words and punctuation marks."""
        ends = [match.end() for match in _TOKEN.finditer(text)]
        if len(ends) <= max_tokens:
            return text
        return text[: ends[max_tokens - 1]] if max_tokens > 0 else ""

    def generate(
        self,
        prompts: Sequence[Prompt],
        *,
        n: int = 1,
        temperature: float | None = 0.7,
        top_p: float = 0.9,
        max_new_tokens: int | Sequence[int] = 160,
        seed: int | Sequence[int] = 0,
    ) -> list[list[Completion]]:
        """The scripted answers, cut off at `max_new_tokens`; temperature and seed change nothing."""
        completions = []
        for prompt, most in zip(prompts, most_tokens(max_new_tokens, len(prompts)), strict=True):
            number = len(self.prompts)
            self.prompts.append(prompt)
            completions.append([self._complete(prompt, sample, self._answer(prompt, number * n + sample), most) for sample in range(n)])
        return completions

    def score_choices(self, prompts: Sequence[Prompt], choices: Sequence[str]) -> np.ndarray:
        """0.99 for the choice that the script names and the rest shared by the others; equal shares without a script: `[prompts, choices]`."""
        probabilities = np.full((len(prompts), len(choices)), 1.0 / max(len(choices), 1))
        if self._choice is not None and len(choices) > 1:
            for row, prompt in enumerate(prompts):
                probabilities[row] = 0.01 / (len(choices) - 1)
                probabilities[row, list(choices).index(self._choice(prompt))] = 0.99
        return probabilities

    def _answer(self, prompt: Prompt, number: int) -> str:
        return self._answers(prompt) if callable(self._answers) else self._answers[number % len(self._answers)]

    def _complete(self, prompt: Prompt, sample: int, answer: str, max_new_tokens: int) -> Completion:
        text = self.truncate(answer, max_new_tokens)
        return Completion(
            text=text,
            tokens_in=tokens_of(self, prompt) if sample == 0 else 0,
            tokens_out=self.count_tokens(text),
            finish_reason="stop" if text == answer else "length",
            mean_logprob=-1.0,
        )
