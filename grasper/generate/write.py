"""Requests → outputs with a language model: evidence, prompt, samples, parsing, choice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise

import numpy as np

from grasper.config import GenerateConfig
from grasper.desk import Desk
from grasper.generate.consensus import choose, evidence_for
from grasper.generate.length import least_of_all
from grasper.metrics.rating import rating_from_probabilities
from grasper.models.base import Completion, Prompt, TextModel
from grasper.prompts.budget import max_new_tokens
from grasper.prompts.render import after_path
from grasper.prompts.templates import RATING_CHOICES
from grasper.reason.format import Answer, parse_answer, parse_path
from grasper.records import Example, Output, Profile, Request, SyntheticReview, Task, request_for

TITLE_WORDS = 10
"""Longer titles are cut: the task asks for at most ten words."""


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
        profiles = [
            self.desk.profiles.for_request(request, example, synthetic.get(example.example_id, ()))
            for request, example in zip(requests, examples, strict=True)
        ]
        prompts = [self.desk.prompt(request, profile) for request, profile in zip(requests, profiles, strict=True)]
        if task == "rating":
            return self._rate(requests, profiles, prompts)
        samples = self._sample(requests, profiles, prompts)
        return [self._output(*parts) for parts in zip(requests, profiles, samples, strict=True)]

    def lead(self, requests: Sequence[Request], examples: Sequence[Example], profiles: Sequence[Profile], count: int) -> list[list[Prompt]]:
        """What the answers are written behind, up to the label of their line: one prompt each, or one for each of `count` sampled paths."""
        prompts = [self.desk.prompt(request, profile) for request, profile in zip(requests, profiles, strict=True)]
        if not self.desk.method.reasoning:
            return [[after_path(prompt, "", request.task)] for prompt, request in zip(prompts, requests, strict=True)]
        seeds = [self.desk.seed_of("lead", request.task, request.example_id) for request in requests]
        temperature = self.config.temperature if self.config.path_temperature is None else self.config.path_temperature
        paths = self._complete(prompts, seeds, count, temperature, self.desk.prompts.path_tokens)
        return [
            [after_path(prompt, _path(path), request.task) for path in group] for prompt, request, group in zip(prompts, requests, paths, strict=True)
        ]

    def _sample(self, requests: Sequence[Request], profiles: Sequence[Profile], prompts: Sequence[Prompt]) -> list[list[Completion]]:
        """`consensus_samples` completions of each prompt, path and answer."""
        config, task = self.config, requests[0].task if requests else "long"
        seeds = [self.desk.seed_of("generate", task, request.example_id) for request in requests]
        room = max_new_tokens(task, self.desk.prompts, reasoning=False)
        share = config.least_length if task == "long" else 0.0
        if not self.desk.method.reasoning:
            least = least_of_all(self.desk.model, profiles, [""] * len(prompts), share, room)
            return self._complete(prompts, seeds, config.consensus_samples, config.temperature, room, least)
        if share or config.path_temperature is not None:
            temperature = config.temperature if config.path_temperature is None else config.path_temperature
            paths = self._complete(prompts, seeds, config.consensus_samples, temperature, self.desk.prompts.path_tokens)
            return paths if task == "rating" else self._answer_behind(requests, profiles, prompts, paths)
        return self._complete(prompts, seeds, config.consensus_samples, config.temperature, room + self.desk.prompts.path_tokens)

    def _answer_behind(
        self, requests: Sequence[Request], profiles: Sequence[Profile], prompts: Sequence[Prompt], paths: Sequence[Sequence[Completion]]
    ) -> list[list[Completion]]:
        """The completions with the answer written anew behind each path, at the temperature of the answers and no shorter than asked."""
        task = requests[0].task
        asked = [after_path(prompt, _path(path), task) for prompt, group in zip(prompts, paths, strict=True) for path in group]
        seeds = [
            self.desk.seed_of("answer", task, request.example_id, number)
            for request, group in zip(requests, paths, strict=True)
            for number in range(len(group))
        ]
        room = max_new_tokens(task, self.desk.prompts, reasoning=False)
        share = self.config.least_length if task == "long" else 0.0
        shown = [profile for profile, group in zip(profiles, paths, strict=True) for _ in group]
        least = least_of_all(self.desk.model, shown, [prompt.prefix for prompt in asked], share, room)
        answers = self._complete(asked, seeds, 1, self.config.temperature, room, least)
        joined = [_joined(prompt.prefix, path, answer) for prompt, path, [answer] in zip(asked, chain.from_iterable(paths), answers, strict=True)]
        size = self.config.consensus_samples
        return [joined[start : start + size] for start in range(0, len(joined), size)]

    def _complete(
        self, prompts: Sequence[Prompt], seeds: Sequence[int], n: int, temperature: float | None, room: int, least: Sequence[int] | None = None
    ) -> list[list[Completion]]:
        top_p = self.config.top_p
        return self.desk.complete(prompts, seeds, n=n, temperature=temperature, top_p=top_p, max_new_tokens=room, min_new_tokens=least)

    # -- text and title ------------------------------------------------------------------------------------------------------------

    def _output(self, request: Request, profile: Profile, completions: Sequence[Completion]) -> Output:
        answers = [parse_answer(completion.text, request.task, expects_path=self.desk.method.reasoning) for completion in completions]
        texts = [_text(answer, request.task) for answer in answers]
        usable = [number for number, answer in enumerate(answers) if answer.is_parsed] or list(range(len(answers)))
        chosen = usable[choose([texts[number] for number in usable], evidence_for(request.task, profile))]
        answer = answers[chosen]
        return Output(
            example_id=request.example_id,
            task=request.task,
            method=self.desk.method.name,
            text=texts[chosen],
            path=answer.path.render() if answer.path else None,
            raw=completions[chosen].text,
            is_parsed=answer.is_parsed,
            samples=tuple(texts) if len(texts) > 1 else (),
            evidence=profile.review_ids(),
            tokens_in=completions[0].tokens_in,  # one prefill for all samples
            tokens_out=sum(completion.tokens_out for completion in completions),
        )

    # -- rating --------------------------------------------------------------------------------------------------------------------

    def _rate(self, requests: Sequence[Request], profiles: Sequence[Profile], rendered: Sequence[Prompt]) -> list[Output]:
        """Ratings from digit probabilities: behind the written path where the method reasons, averaged over the sampled paths."""
        samples = self._sample(requests, profiles, rendered) if self.desk.method.reasoning else [[] for _ in rendered]
        paths = [[_path(completion) for completion in completions] or [""] for completions in samples]
        asked = [after_path(prompt, path, "rating") for prompt, group in zip(rendered, paths, strict=True) for path in group]
        scored = self.desk.model.score_choices(asked, RATING_CHOICES)
        # Known only after asking: a server that gives no log-probabilities is taken at its word.
        is_measured = getattr(self.desk.model, "has_choice_probabilities", True)
        ends = np.cumsum([len(group) for group in paths])[:-1]
        outputs = []
        for request, profile, completions, group, probabilities, prompts in zip(
            requests, profiles, samples, paths, np.split(scored, ends), _split(asked, ends), strict=True
        ):
            mean = probabilities.mean(axis=0)
            outputs.append(
                Output(
                    example_id=request.example_id,
                    task="rating",
                    method=self.desk.method.name,
                    rating=float(rating_from_probabilities(mean[None], self.config.rating)[0]),
                    path=group[0] or None,
                    raw=completions[0].text if completions else "",
                    is_parsed=not self.desk.method.reasoning or any(group),
                    samples=tuple(f"{rating:g}" for rating in rating_from_probabilities(probabilities, self.config.rating)) if len(group) > 1 else (),
                    probabilities=tuple(round(float(value), 6) for value in mean) if is_measured else (),
                    evidence=profile.review_ids(),
                    tokens_in=completions[0].tokens_in if completions else _count(self.desk.model, prompts[0]),
                    tokens_out=sum(completion.tokens_out for completion in completions) + 1,
                )
            )
        return outputs


def _path(completion: Completion) -> str:
    """The path of a completion, without whatever rating follows it; empty where it has none."""
    path = parse_path(completion.text)
    return path.render() if path else ""


def _joined(prefix: str, path: Completion, answer: Completion) -> Completion:
    """One completion from a path and the answer behind it; both prefills and all written tokens are counted."""
    return Completion(
        text=prefix + answer.text,
        tokens_in=path.tokens_in + answer.tokens_in,
        tokens_out=path.tokens_out + answer.tokens_out,
        finish_reason=answer.finish_reason,
    )


def _split(prompts: Sequence[Prompt], ends: np.ndarray) -> list[Sequence[Prompt]]:
    bounds = [0, *ends.tolist(), len(prompts)]
    return [prompts[start:end] for start, end in pairwise(bounds)]


def _text(answer: Answer, task: Task) -> str:
    if task == "title":
        return " ".join((answer.title or "").split()[:TITLE_WORDS])
    return answer.text or ""


def _count(model: TextModel, prompt: Prompt) -> int:
    return sum(model.count_tokens(message.content) for message in prompt.messages) + model.count_tokens(prompt.prefix)
