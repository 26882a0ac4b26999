"""A request whose real answer is known: what alignment, tuning and the rewards of paths and notes learn from."""

from __future__ import annotations

from dataclasses import dataclass

from grasper.config import PromptConfig
from grasper.errors import LeakError
from grasper.models.base import Prompt, TextModel
from grasper.prompts.escape import one_line
from grasper.prompts.render import render, render_review
from grasper.prompts.templates import AnswerTask
from grasper.reason.analyse import analyse, analyse_review
from grasper.reason.format import Answer, ReasoningPath, render_answer
from grasper.reason.leak import leaks, leaks_review
from grasper.records import Example, Profile, Request


@dataclass(frozen=True, slots=True)
class TrainingPair:
    """A request whose real answer is known: the profile is what the request may see, the answer is the example's target."""

    example: Example
    request: Request
    profile: Profile
    is_review: bool = False
    """Whether the whole review is asked for (rating, title, text; nothing given), as synthesis asks for predicted items."""

    def __post_init__(self) -> None:
        if self.example.target.review_id in self.profile.review_ids():
            raise LeakError(f"the profile of training pair {self.pair_id} holds its own target {self.example.target.review_id}")

    @property
    def task(self) -> AnswerTask:
        return "review" if self.is_review else self.request.task

    @property
    def pair_id(self) -> str:
        return f"{self.example.example_id}/{self.task}"

    @property
    def reference(self) -> str:
        """The real answer that rewards compare with: the target's text on one line, its title, or its rating; of a whole review its text."""
        target = self.example.target
        return f"{target.rating:g}" if self.task == "rating" else one_line((target.title if self.task == "title" else target.text) or "")

    @property
    def answer(self) -> Answer:
        """The real answer with all fields of the target, for `analyse`."""
        target = self.example.target
        return Answer(None, target.title, target.text, target.rating, is_parsed=True)

    @property
    def answer_lines(self) -> str:
        """The real answer as a model should write it, in the lines of the task."""
        return render_answer(self.task, title=self.answer.title, text=self.answer.text, rating=self.answer.rating)

    def render(self, *, reasoning: bool, config: PromptConfig, model: TextModel) -> Prompt:
        """The prompt as generation, or for a whole review synthesis, would ask it."""
        if self.is_review:
            return render_review(self.request.item, self.profile, reasoning=reasoning, config=config, model=model)
        return render(self.request, self.profile, reasoning=reasoning, config=config, model=model)

    def analysed_path(self, *, sees_answer: bool) -> ReasoningPath:
        """The path by counting alone; its plan may look at the real answer, but where that would leak it does not."""
        answer = self.answer if sees_answer else None
        return analyse_review(self.request.item, self.profile, answer) if self.is_review else analyse(self.request, self.profile, answer)

    def is_leaked_by(self, path: ReasoningPath) -> bool:
        """Whether the path holds what the pair hides of its target."""
        if self.is_review:
            return leaks_review(path, self.request.item, self.profile, self.example.target)
        return leaks(path, self.request, self.profile, self.example.target)
