"""How good a sampled answer is: what decides which reasoning path is gold (GraSPer, Sec. 3.2; REST-PG, Sec. 3.2).

Texts and titles: mean of ROUGE-1, ROUGE-L and METEOR without WordNet, so that gold paths do not depend on what a machine has installed; or
any one of the three; or a judge; or what a plugin registers. Ratings: 1 − |error| / 4 in every case. Rewards look at the
answer alone, never at its path. Words are those of any script, see `metrics.text`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from grasper.errors import ConfigError, RewardError, ShapeError
from grasper.metrics.meteor import meteor
from grasper.metrics.text import rouge1, rougeL
from grasper.models.base import Message, Prompt, TextModel, scored
from grasper.prompts.escape import escape
from grasper.prompts.templates import JUDGE_SYSTEM, JUDGE_TASK, RATING_CHOICES, AnswerTask
from grasper.reason.format import parse_rating
from grasper.registry import Registry

_JUDGED_TOKENS = 300
_ROUNDING = 1e-6
"""What a mean or a sum of probabilities may miss 0 or 1 by."""

_METRICS: dict[str, Callable[[Sequence[str], Sequence[str]], np.ndarray]] = {
    "rouge1": rouge1,
    "rougeL": rougeL,
    "meteor": lambda candidates, references: meteor(candidates, references, use_wordnet=False),
}


class Reward(Protocol):
    """Anything that compares answers with real ones."""

    def score(self, task: AnswerTask, candidates: Sequence[str], references: Sequence[str]) -> np.ndarray:
        """How good each candidate is, `[n]`, 0–1; an empty candidate gets 0.

        Raises:
            ShapeError: The two do not pair up one to one.
            RewardError: A reward is not a finite number.
        """
        ...


@runtime_checkable
class PathReward(Reward, Protocol):
    """A reward of the paths themselves, which does not look at the answers that were written behind them."""

    def score_paths(self, task: AnswerTask, answer_lines: str, paths: Sequence[str], with_path: Prompt, without: Prompt) -> np.ndarray:
        """How good each path is, `[paths]`; any finite numbers. See `likelihood.LikelihoodReward`."""
        ...


MakeReward = Callable[["TextModel | None"], Reward]
"""A reward from the model that is aligned, which grades, or tells probabilities; most rewards do not look at it."""

REWARDS: Registry[MakeReward] = Registry("reward")


def make_reward(name: str = "mean", *, judge: TextModel | None = None) -> Reward:
    """The reward of that name.

    Raises:
        UnknownNameError: Nobody registered that name; the message lists the known ones, the nearest first.
        ConfigError: A judge without a model.
    """
    return REWARDS.get(name)(judge)


def rewards_of(reward: Reward, task: AnswerTask, candidates: Sequence[str], references: Sequence[str]) -> np.ndarray:
    """What a reward, perhaps somebody else's, gives for each candidate, `[n]`, 0–1.

    Raises:
        ShapeError: Something else than one number for each candidate.
        RewardError: A reward is not a finite number, or none from 0 to 1, which thresholds, margins and weights go by.
    """
    rewards = _numbers(reward, reward.score(task, candidates, references), candidates)
    if (wrong := np.flatnonzero(np.abs(rewards - 0.5) > 0.5 + _ROUNDING)).size:
        place = wrong[0]
        raise RewardError(f"the reward {type(reward).__name__} gave {rewards[place]:g} for candidate {place}, expected a number from 0 to 1")
    return rewards


def path_rewards_of(reward: PathReward, task: AnswerTask, answer_lines: str, paths: Sequence[str], with_path: Prompt, without: Prompt) -> np.ndarray:
    """What a reward of paths, perhaps somebody else's, gives for each, `[paths]`: any finite numbers.

    Raises:
        ShapeError: Something else than one number for each path.
        RewardError: A reward is not a finite number.
    """
    return _numbers(reward, reward.score_paths(task, answer_lines, paths, with_path, without), paths)


def _numbers(reward: Reward, given: object, candidates: Sequence[str]) -> np.ndarray:
    """What a reward gave as numbers, one for each candidate."""
    try:
        rewards = np.asarray(given, dtype=float)
    except (TypeError, ValueError):
        raise ShapeError(f"the reward {type(reward).__name__} gave {given!r:.80}, expected one number for each candidate") from None
    if rewards.shape != (len(candidates),):
        raise ShapeError(
            f"the reward {type(reward).__name__} gave {list(rewards.shape)} rewards, expected one for each of {len(candidates)} candidates"
        )
    return _checked(rewards, candidates)


class MetricReward:
    """The mean of some text metrics.

    Args:
        names: Any of `rouge1`, `rougeL` and `meteor`.
    """

    def __init__(self, *names: str) -> None:
        self._names = names

    def score(self, task: AnswerTask, candidates: Sequence[str], references: Sequence[str]) -> np.ndarray:
        """The mean, `[n]`, 0–1."""
        _check_pairs(candidates, references)
        if task == "rating":
            return rating_reward(candidates, references)
        scores = [_METRICS[name](candidates, references) * (1 / len(self._names)) for name in self._names]
        return _checked(np.sum(scores, axis=0), candidates)


class JudgeReward:
    """The grade from 1 to 5 that a language model expects to give, mapped to 0–1."""

    def __init__(self, model: TextModel) -> None:
        self._model = model

    def score(self, task: AnswerTask, candidates: Sequence[str], references: Sequence[str]) -> np.ndarray:
        """(expected grade − 1) / 4, `[n]`; 0 where the model names no grade, which makes no answer gold."""
        if task == "rating":
            _check_pairs(candidates, references)
            return rating_reward(candidates, references)
        return np.nan_to_num(self.grades(candidates, references), nan=0.0)

    def grades(self, candidates: Sequence[str], references: Sequence[str]) -> np.ndarray:
        """The same of texts; NaN where the model names no grade. It is not asked about empty ones, which get 0.

        Raises:
            ShapeError: The two do not pair up one to one.
            RewardError: A probability is not a finite number.
        """
        _check_pairs(candidates, references)
        asked = [place for place, candidate in enumerate(candidates) if candidate.strip()]
        told = scored(self._model, [self._prompt(candidates[place], references[place]) for place in asked], RATING_CHOICES)
        rewards = np.zeros(len(candidates))
        rewards[asked] = [(one.probabilities @ np.arange(1.0, 6.0) - 1.0) / 4.0 for one in told]
        _checked(rewards, candidates)
        rewards[[place for place, one in zip(asked, told, strict=True) if one.told_by == "none"]] = np.nan
        return rewards

    def _prompt(self, candidate: str, reference: str) -> Prompt:
        """The conversation that asks for one grade; both texts are data, cut to a length that every context holds."""
        shown, real = (self._model.truncate(escape(text), _JUDGED_TOKENS) for text in (candidate, reference))
        return Prompt((Message("system", JUDGE_SYSTEM), Message("user", f"Reference: {real}\nCandidate: {shown}\n{JUDGE_TASK}")), prefix="Rating:")


def rating_reward(candidates: Sequence[str], references: Sequence[str]) -> np.ndarray:
    """1 − |error| / 4 of the ratings that the texts hold, `[n]`; 0 where a candidate holds none.

    Raises:
        RewardError: A reference holds no rating.
    """
    rewards = np.zeros(len(candidates))
    for index, (candidate, reference) in enumerate(zip(candidates, references, strict=True)):
        truth, guess = parse_rating(reference), parse_rating(candidate)
        if truth is None:
            raise RewardError(f"reference {index} is {reference!r}, expected a rating from 1 to 5")
        rewards[index] = 0.0 if guess is None else 1.0 - abs(guess - truth) / 4.0
    return rewards


def _check_pairs(candidates: Sequence[str], references: Sequence[str]) -> None:
    if isinstance(candidates, str) or isinstance(references, str) or len(candidates) != len(references):
        raise ShapeError(f"{len(candidates)} candidates and {len(references)} references must pair up one to one, as lists of texts")


def _checked(rewards: np.ndarray, candidates: Sequence[str]) -> np.ndarray:
    """The rewards, once all of them are known to be finite."""
    wrong = np.flatnonzero(~np.isfinite(rewards))
    if wrong.size:
        raise RewardError(f"{wrong.size} of {len(rewards)} rewards are not finite, the first for candidate {wrong[0]}: {candidates[wrong[0]]!r}")
    return rewards


def _judge(model: TextModel | None) -> Reward:
    if model is None:
        raise ConfigError("reward 'judge' needs a model that grades; give one, or choose align.reward from mean, rouge1, rougeL, meteor")
    return JudgeReward(model)


def _likelihood(model: TextModel | None) -> Reward:
    from grasper.reason.likelihood import LikelihoodReward  # brings torch

    return LikelihoodReward(model)


REWARDS.register("mean", lambda model: MetricReward(*_METRICS))
REWARDS.register("rouge1", lambda model: MetricReward("rouge1"))
REWARDS.register("rougeL", lambda model: MetricReward("rougeL"))
REWARDS.register("meteor", lambda model: MetricReward("meteor"))
REWARDS.register("judge", _judge)
REWARDS.register("likelihood", _likelihood)
