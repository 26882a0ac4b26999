"""Where a method works: its evidence, its prompts and its model, put together once for alignment, synthesis and generation.

Every request carries a seed of its own, derived from the run's seed, the method that owns the adapter, the purpose and the example. What is written
for an example therefore does not depend on which others are asked, in which order, or how many at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from grasper.config import PromptConfig
from grasper.errors import ConfigError
from grasper.methods.base import Method
from grasper.models.base import Completion, Prompt, TextModel, at_once
from grasper.prompts.exemplars import ExemplarSource
from grasper.prompts.render import Exemplar, render, render_review
from grasper.prompts.templates import AnswerTask
from grasper.records import Item, Profile, Request
from grasper.retrieve.profile import ProfileBuilder
from grasper.retrieve.store import ReviewStore
from grasper.runs import derive_seed


@dataclass(frozen=True)
class Desk:
    """One method over one store of reviews, with the model that writes for it."""

    method: Method
    store: ReviewStore
    prompts: PromptConfig
    open_model: Callable[[], TextModel] | None = None
    """Opens the model that writes, once; None for methods that use none."""
    seed: int = 0
    """The run's seed."""
    exemplars: ExemplarSource | None = None
    """Solved requests to show, for models that cannot be fine-tuned."""

    @cached_property
    def model(self) -> TextModel:
        """The model that writes, opened on first use.

        Raises:
            ConfigError: There is none.
        """
        if self.open_model is None:
            raise ConfigError(f"method '{self.method.name}' writes with a language model, but none was given")
        return self.open_model()

    def at_once(self, size: int) -> int:
        """How many requests to handle in one batch: `size`, or more where the method has a model that wants more."""
        return at_once(size, self.model) if self.open_model else size

    @cached_property
    def profiles(self) -> ProfileBuilder:
        """What the method's prompts show."""
        return ProfileBuilder(self.method, self.store, self.prompts)

    def prompt(self, request: Request, profile: Profile, *, reasoning: bool | None = None, **options: Any) -> Prompt:
        """The prompt of a request; see `prompts.render`.

        Args:
            reasoning: Whether it asks for a path; None: where the method reasons.
        """
        shown, asked = self._exemplars(request, request.task), self.method.reasoning if reasoning is None else reasoning
        return render(request, profile, reasoning=asked, config=self.prompts, model=self.model, exemplars=shown, **options)

    def review_prompt(self, request: Request, item: Item, profile: Profile) -> Prompt:
        """The prompt for a whole review of a predicted item."""
        shown = self._exemplars(request, "review")
        return render_review(item, profile, reasoning=self.method.reasoning, config=self.prompts, model=self.model, exemplars=shown)

    def complete(
        self,
        prompts: Sequence[Prompt],
        seeds: Sequence[int],
        *,
        n: int = 1,
        temperature: float | None,
        top_p: float,
        max_new_tokens: int | Sequence[int],
        min_new_tokens: Sequence[int] | None = None,
    ) -> list[list[Completion]]:
        """`n` completions of each prompt, each prompt with its own seed.

        Args:
            max_new_tokens: Of each answer: one for all prompts, or one for each.
            min_new_tokens: For each prompt, what its answers must not fall short of; models that cannot be held to it are asked as usual.
        """
        if not prompts:
            return []
        held = {"min_new_tokens": min_new_tokens} if min_new_tokens and getattr(self.model, "can_hold_length", False) else {}
        return self.model.generate(prompts, n=n, temperature=temperature, top_p=top_p, max_new_tokens=max_new_tokens, seed=seeds, **held)

    def seed_of(self, *names: str | int) -> int:
        """The seed of one named piece of work; methods that share an adapter draw alike, so that they differ where their prompts do."""
        return derive_seed(self.seed, self.method.aligned_as, *names)

    def _exemplars(self, request: Request, task: AnswerTask) -> Sequence[Exemplar]:
        return self.exemplars.nearest(request, task) if self.exemplars else ()
