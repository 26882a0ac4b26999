"""What a trainer is given: the pairs of one method, how to ask its model about them, and how to turn answers into training sequences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from grasper.align.sft import TrainingSequence, make_sequence, pair_sequence
from grasper.config import AlignConfig
from grasper.desk import Desk
from grasper.models.base import TextModel
from grasper.reason.pair import TrainingPair
from grasper.reason.reward import Reward
from grasper.reason.traces import Source, Trace, sample_traces

if TYPE_CHECKING:
    from grasper.models.local import LocalModel


@dataclass(frozen=True)
class Lesson:
    """The alignment of one method (GraSPer, Sec. 3.2)."""

    config: AlignConfig
    desk: Desk
    pairs: Sequence[TrainingPair]
    held_out: Sequence[TrainingPair]
    """For the evaluation loss and the rewards of rounds; never trained on."""
    reward: Reward
    out_dir: Path
    seed: int
    consensus: Sequence[tuple[TrainingPair, str]] = ()
    """Texts of the model's own to learn without a path, with what they are asked by (`align.consensus_samples`)."""

    @property
    def base(self) -> LocalModel:
        """The model that is trained, without any adapter."""
        from grasper.models.local import LocalModel

        assert isinstance(self.desk.model, LocalModel)
        return self.desk.model

    @cached_property
    def evaluation(self) -> list[TrainingSequence]:
        """The held-out pairs as sequences: the path that the visible evidence suggests, then the real text, which alone counts."""
        return [self._evaluation_sequence(pair) for pair in self.held_out]

    def sequence(self, pair: TrainingPair, path: str, answer: str, *, path_weight: float = 1.0, weight: float = 1.0) -> TrainingSequence:
        """[prompt; path; answer]; without a path the prompt asks for none."""
        return pair_sequence(self.base, pair, path, answer, self.desk.prompts, path_weight=path_weight, weight=weight)

    def sample(
        self,
        log_path: Path,
        sources: Sequence[Source],
        *,
        seed: int,
        model: TextModel | None = None,
        pairs: Sequence[TrainingPair] | None = None,
        num_samples: int | None = None,
    ) -> list[Trace]:
        """Paths and answers for the pairs with their rewards, sampled as `align` says; see `sample_traces`."""
        config = self.config
        return sample_traces(
            self.pairs if pairs is None else pairs,
            model or self.desk.model,
            self.reward,
            log_path,
            prompts=self.desk.prompts,
            sources=sources,
            num_samples=num_samples or config.num_samples,
            temperature=config.temperature,
            top_p=config.top_p,
            seed=seed,
        )

    def _evaluation_sequence(self, pair: TrainingPair) -> TrainingSequence:
        reasoning = self.desk.method.reasoning
        prompt = pair.render(reasoning=reasoning, config=self.desk.prompts, model=self.base)
        path = pair.analysed_path(sees_answer=False).render() if reasoning else ""
        # Only the real text counts, so that the losses of methods with and without reasoning can be compared.
        return make_sequence(self.base, prompt, path, pair.answer_lines, pair.task, path_weight=0.0)
