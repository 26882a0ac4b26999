"""Requests → outputs with a language model: evidence, prompt, samples, parsing, choice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice

from grasper.config import GenerateConfig
from grasper.desk import Desk
from grasper.generate.choice import best_answer, mean_rating
from grasper.generate.consensus import evidence_for
from grasper.generate.length import least_of_all
from grasper.generate.thinking import Thinking
from grasper.models.base import Completion, Pool, PoolingModel, Prompt, scored
from grasper.prompts.budget import max_new_tokens
from grasper.prompts.render import after_path
from grasper.prompts.templates import RATING_CHOICES
from grasper.reason.format import parse_answer
from grasper.records import Example, Output, Profile, Request, SyntheticReview, Task, request_for


@dataclass(frozen=True)
class Writer:
    """Writes at the desk of one method."""

    desk: Desk
    config: GenerateConfig

    def write(self, task: Task, examples: Sequence[Example], synthetic: Mapping[str, Sequence[SyntheticReview]]) -> list[Output]:
        """One output per example, in their order; all of one task, so that they share a length limit.

        Args:
            synthetic: The synthetic reviews by example id.
        """
        requests = [request_for(example, task, self.desk.store.tables.item(example.item_id)) for example in examples]
        profiles = [self.profile(*parts, synthetic.get(parts[1].example_id, ())) for parts in zip(requests, examples, strict=True)]
        prompts = [self.desk.prompt(request, profile) for request, profile in zip(requests, profiles, strict=True)]
        if task == "rating":
            return self._rate(requests, profiles, prompts)
        samples = self._sample(requests, profiles, prompts)
        return [self._output(*parts) for parts in zip(requests, profiles, samples, strict=True)]

    def profile(self, request: Request, example: Example, synthetic: Sequence[SyntheticReview]) -> Profile:
        """The evidence that an answer stands behind, in one prompt or in several."""
        return self.desk.profiles.for_request(request, example, synthetic, sets=self._thinking.num_sets)

    def lead(self, requests: Sequence[Request], examples: Sequence[Example], profiles: Sequence[Profile], count: int) -> list[Pool]:
        """What the answers are written behind, up to the label of their line: one prompt each, or one for each of `count` sampled paths."""
        prompts = [self.desk.prompt(request, profile) for request, profile in zip(requests, profiles, strict=True)]
        seeds = [self.desk.seed_of("lead", request.task, request.example_id) for request in requests]
        thoughts = self._thinking.think(requests, profiles, prompts, seeds, count) if self.desk.method.reasoning else [[] for _ in prompts]
        return [self._pool(*parts) for parts in zip(requests, profiles, prompts, thoughts, strict=True)]

    @property
    def _thinking(self) -> Thinking:
        return Thinking(self.desk, self.config)

    def _pool(self, request: Request, profile: Profile, prompt: Prompt, thoughts: Sequence[Completion]) -> Pool:
        return self._thinking.pool(request, profile, prompt, [thought.text for thought in thoughts])

    def _sample(self, requests: Sequence[Request], profiles: Sequence[Profile], prompts: Sequence[Prompt]) -> list[list[Completion]]:
        """`consensus_samples` completions of each prompt, path and answer."""
        config, task, thinking = self.config, requests[0].task if requests else "long", self._thinking
        seeds = [self.desk.seed_of("generate", task, request.example_id) for request in requests]
        room = max_new_tokens(task, self.desk.prompts, reasoning=False)
        if not self.desk.method.reasoning:
            if thinking.is_pooled:
                return self._answer_pools(requests, profiles, prompts, [[] for _ in prompts])
            return self._complete(prompts, seeds, config.consensus_samples, room, self._least(task, profiles, [""] * len(prompts), room))
        if not thinking.is_apart and not (task == "long" and config.least_length):
            return self._complete(prompts, seeds, config.consensus_samples, room + self.desk.prompts.path_tokens)
        thoughts = thinking.think(requests, profiles, prompts, seeds, thinking.num_paths)
        return (self._answer_pools if thinking.is_pooled else self._answer_paths)(requests, profiles, prompts, thoughts)

    def _answer_paths(
        self, requests: Sequence[Request], profiles: Sequence[Profile], prompts: Sequence[Prompt], thoughts: Sequence[Sequence[Completion]]
    ) -> list[list[Completion]]:
        """One answer behind each path, at the temperature of the answers and no shorter than asked."""
        task = requests[0].task
        asked = [after_path(prompt, thought.text, task) for prompt, group in zip(prompts, thoughts, strict=True) for thought in group]
        seeds = [self._seed_of_answer(request, number) for request, group in zip(requests, thoughts, strict=True) for number in range(len(group))]
        room = max_new_tokens(task, self.desk.prompts, reasoning=False)
        shown = [profile for profile, group in zip(profiles, thoughts, strict=True) for _ in group]
        answers = self._complete(asked, seeds, 1, room, self._least(task, shown, [prompt.prefix for prompt in asked], room))
        joined = [
            _joined(prompt.prefix, [thought], answer) for prompt, thought, [answer] in zip(asked, chain.from_iterable(thoughts), answers, strict=True)
        ]
        size = self.config.consensus_samples
        return [joined[start : start + size] for start in range(0, len(joined), size)]

    def _answer_pools(
        self, requests: Sequence[Request], profiles: Sequence[Profile], prompts: Sequence[Prompt], thoughts: Sequence[Sequence[Completion]]
    ) -> list[list[Completion]]:
        """`consensus_samples` answers behind all prompts of a request at once; in the output its first path stands for all of them."""
        config, task, model = self.config, requests[0].task, self.desk.model
        assert isinstance(model, PoolingModel)
        room = max_new_tokens(task, self.desk.prompts, reasoning=False)
        firsts = [after_path(prompt, _first_path(group), task).prefix for prompt, group in zip(prompts, thoughts, strict=True)]
        answers = model.generate_pooled(
            [self._pool(*parts) for parts in zip(requests, profiles, prompts, thoughts, strict=True)],
            n=config.consensus_samples,
            temperature=config.temperature,
            top_p=config.top_p,
            max_new_tokens=room,
            seed=[self._seed_of_answer(request, 0) for request in requests],
            min_new_tokens=self._least(task, profiles, firsts, room),
        )
        return [
            [_joined(first, thoughts if number == 0 else (), answer) for number, answer in enumerate(group)]
            for first, thoughts, group in zip(firsts, thoughts, answers, strict=True)
        ]

    def _seed_of_answer(self, request: Request, number: int) -> int:
        return self.desk.seed_of("answer", request.task, request.example_id, number)

    def _least(self, task: Task, profiles: Sequence[Profile], paths: Sequence[str], room: int) -> list[int] | None:
        """The tokens that answers must not fall short of; None where they may end at will, as titles always."""
        return least_of_all(self.desk.model, profiles, paths, self.config.least_length, room) if task == "long" else None

    def _complete(
        self, prompts: Sequence[Prompt], seeds: Sequence[int], n: int, room: int, least: Sequence[int] | None = None
    ) -> list[list[Completion]]:
        config = self.config
        return self.desk.complete(prompts, seeds, n=n, temperature=config.temperature, top_p=config.top_p, max_new_tokens=room, min_new_tokens=least)

    # -- text and title ------------------------------------------------------------------------------------------------------------

    def _output(self, request: Request, profile: Profile, completions: Sequence[Completion]) -> Output:
        answers = [parse_answer(completion.text, request.task, expects_path=self.desk.method.reasoning) for completion in completions]
        texts = [str(answer.value(request.task) or "") for answer in answers]
        chosen = best_answer(texts, [answer.is_parsed for answer in answers], evidence_for(request.task, profile))
        answer = answers[chosen]
        return Output(
            example_id=request.example_id,
            task=request.task,
            method=self.desk.method.name,
            text=texts[chosen],
            path=answer.path.render() if answer.path else None,
            raw=completions[chosen].text,
            is_parsed=answer.is_parsed,
            is_cut=answer.is_cut(request.task, completions[chosen].text, completions[chosen].finish_reason),
            samples=tuple(texts) if len(texts) > 1 else (),
            evidence=profile.review_ids(),
            tokens_in=sum(completion.tokens_in for completion in completions),
            tokens_out=sum(completion.tokens_out for completion in completions),
        )

    # -- rating --------------------------------------------------------------------------------------------------------------------

    def _rate(self, requests: Sequence[Request], profiles: Sequence[Profile], rendered: Sequence[Prompt]) -> list[Output]:
        """Ratings from digit probabilities: behind the written path where the method reasons, averaged over the sampled paths."""
        thoughts: list[list[Completion]] = [[] for _ in rendered]
        if self.desk.method.reasoning:
            seeds = [self.desk.seed_of("generate", "rating", request.example_id) for request in requests]
            thoughts = self._thinking.think(requests, profiles, rendered, seeds, self._thinking.num_paths)
        pools = [self._pool(*parts) for parts in zip(requests, profiles, rendered, thoughts, strict=True)]
        asked = [prompt for pool in pools for prompt in pool.prompts]
        told = iter(scored(self.desk.model, asked, RATING_CHOICES))
        outputs = []
        for request, profile, group, pool in zip(requests, profiles, thoughts, pools, strict=True):
            rated = list(islice(told, len(pool.prompts)))
            found = mean_rating([one.probabilities for one in rated], [one.told_by for one in rated], self.config.rating, pool.weights)
            path = _first_path(group)
            outputs.append(
                Output(
                    example_id=request.example_id,
                    task="rating",
                    method=self.desk.method.name,
                    rating=found.rating,
                    path=path or None,
                    raw=path,
                    is_parsed=found.is_rated and (not self.desk.method.reasoning or bool(path)),
                    samples=found.each if len(group) > 1 else (),
                    probabilities=found.probabilities,
                    evidence=profile.review_ids(),
                    tokens_in=sum(thought.tokens_in for thought in group) + sum(one.tokens_in for one in rated),
                    tokens_out=sum(thought.tokens_out for thought in group) + sum(one.tokens_out for one in rated),
                )
            )
        return outputs


def _first_path(thoughts: Sequence[Completion]) -> str:
    """The first path that was written; empty where none was."""
    return next((thought.text for thought in thoughts if thought.text), "")


def _joined(prefix: str, thoughts: Sequence[Completion], answer: Completion) -> Completion:
    """One completion from paths and the answer behind them; what was read and written for either is counted."""
    return Completion(
        text=prefix + answer.text,
        tokens_in=answer.tokens_in + sum(thought.tokens_in for thought in thoughts),
        tokens_out=answer.tokens_out + sum(thought.tokens_out for thought in thoughts),
        finish_reason=answer.finish_reason,
    )
