"""Requests → outputs by dual reasoning: two reasoners and a writer take turns (PAT, arXiv 2604.24996)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from grasper.config import GenerateConfig
from grasper.desk import Desk
from grasper.generate.choice import best_answer, mean_rating
from grasper.generate.consensus import evidence_for
from grasper.generate.length import least_of_all
from grasper.models.base import Completion, Pool, even_mixture
from grasper.prompts.budget import max_new_tokens
from grasper.prompts.render import after_path
from grasper.reason.dual import Deliberation, DualReasoning, Evidence
from grasper.reason.evidence import evidence_of
from grasper.reason.format import parse_answer
from grasper.records import Example, Output, Profile, Request, SyntheticReview, Task, request_for
from grasper.runs import derive_seed


@dataclass(frozen=True)
class DualWriter:
    """Writes at the desk of a method with trajectories."""

    desk: Desk
    config: GenerateConfig

    def write(self, task: Task, examples: Sequence[Example], synthetic: Mapping[str, Sequence[SyntheticReview]]) -> list[Output]:
        """One output per example, in their order, with every step of how it came to be in `notes`.

        Args:
            synthetic: The synthetic reviews by example id.
        """
        desk = self.desk
        requests = [request_for(example, task, desk.store.tables.item(example.item_id)) for example in examples]
        evidence = []
        for request, example in zip(requests, examples, strict=True):
            profile = self.profile(request, example, synthetic.get(example.example_id, ()))
            evidence.append(evidence_of(desk, request, example, profile))
        seeds = [desk.seed_of("generate", task, request.example_id) for request in requests]
        found = self._reasoning.write(requests, evidence, seeds)
        if task == "rating":
            others = [
                self._reasoning.write(requests, evidence, [derive_seed(seed, draw) for seed in seeds])
                for draw in range(1, self.config.consensus_samples)
            ]
            return [self._averaged(*parts) for parts in zip(requests, evidence, zip(found, *others, strict=True), strict=True)]
        drawn = self._draw_more(requests, evidence, found)
        return [self._agreed(*parts) for parts in zip(requests, evidence, found, drawn, strict=True)]

    def profile(self, request: Request, example: Example, synthetic: Sequence[SyntheticReview]) -> Profile:
        """The writer's own evidence; each reasoner has more of its own."""
        return self.desk.profiles.for_request(request, example, synthetic)

    def lead(self, requests: Sequence[Request], examples: Sequence[Example], profiles: Sequence[Profile], count: int) -> list[Pool]:
        """What the last drafts are written behind, up to the label of their line, one prompt for each of `count` deliberations."""
        evidence = [evidence_of(self.desk, *parts) for parts in zip(requests, examples, profiles, strict=True)]
        places = [(number, draw) for number in range(len(requests)) for draw in range(count)]
        seeds = [self.desk.seed_of("lead", requests[number].task, requests[number].example_id, draw) for number, draw in places]
        asked, shown = [requests[number] for number, _ in places], [evidence[number] for number, _ in places]
        found = self._reasoning.write(asked, shown, seeds)
        last = map(self._reasoning.last_prompt, asked, shown, found)
        prompts = [after_path(prompt, "", request.task) for prompt, request in zip(last, asked, strict=True)]
        return [even_mixture(prompts[start : start + count]) for start in range(0, len(prompts), count)]

    @property
    def _reasoning(self) -> DualReasoning:
        config = self.config
        return DualReasoning(
            self.desk.model,
            self.desk.prompts,
            steps=self.desk.method.steps,
            temperature=config.temperature,
            notes_temperature=config.path_temperature,
            top_p=config.top_p,
            rating=config.rating,
            hold=self._hold,
        )

    def _hold(self, profiles: Sequence[Profile], paths: Sequence[str], most: int) -> list[int] | None:
        return least_of_all(self.desk.model, profiles, paths, self.config.least_length, most)

    def _output(self, request: Request, evidence: Evidence, found: Deliberation) -> Output:
        is_rating = request.task == "rating"
        return Output(
            example_id=request.example_id,
            task=request.task,
            method=self.desk.method.name,
            text=None if is_rating else found.draft,
            rating=float(found.draft) if is_rating else None,
            path=found.path or None,
            raw=found.answered.raw,
            is_parsed=found.answered.is_parsed and not (is_rating and not found.path),
            is_cut=found.answered.is_cut,
            probabilities=found.probabilities if found.rated_by == "measured" else (),
            evidence=evidence.review_ids(),
            notes=found.to_json(evidence.remarks),
            tokens_in=found.tokens_in,
            tokens_out=found.tokens_out,
        )

    def _averaged(self, request: Request, evidence: Evidence, found: Sequence[Deliberation]) -> Output:
        """The rating; of several deliberations by their mean probabilities, as other methods average over their paths."""
        output = self._output(request, evidence, found[0])
        if len(found) == 1:
            return output
        mean = mean_rating([one.probabilities for one in found], [one.rated_by for one in found], self.config.rating)
        return replace(
            output,
            rating=mean.rating,
            is_parsed=any(one.answered.is_parsed for one in found) and bool(output.path),
            probabilities=mean.probabilities,
            samples=mean.each,
            tokens_in=sum(one.tokens_in for one in found),
            tokens_out=sum(one.tokens_out for one in found),
        )

    def _draw_more(self, requests: Sequence[Request], evidence: Sequence[Evidence], found: Sequence[Deliberation]) -> list[list[Completion]]:
        """Further drafts from the last notes, so that there are `consensus_samples` of them with the last one."""
        count = self.config.consensus_samples - 1
        if not count or not requests:
            return [[] for _ in requests]
        task = requests[0].task
        prompts = [self._reasoning.last_prompt(*parts) for parts in zip(requests, evidence, found, strict=True)]
        seeds = [self.desk.seed_of("consensus", task, request.example_id) for request in requests]
        room = max_new_tokens(task, self.desk.prompts, reasoning=False)
        least = self._hold([shown.writer for shown in evidence], [one.path for one in found], room) if task == "long" else None
        options: dict[str, Any] = {"temperature": self.config.temperature, "top_p": self.config.top_p, "max_new_tokens": room}
        return self.desk.complete(prompts, seeds, n=count, min_new_tokens=least, **options)

    def _agreed(self, request: Request, evidence: Evidence, found: Deliberation, drawn: Sequence[Completion]) -> Output:
        """The minimum-Bayes-risk choice among the last draft, where `kept_draft` says so those before it, and what was drawn beside it."""
        drafts = found.each_kept() if self.config.kept_draft == "agreed" else [found]
        candidates = [self._output(request, evidence, draft) for draft in drafts]
        for completion in drawn:
            answer = parse_answer(completion.text, request.task, expects_path=False)
            text, is_cut = str(answer.value(request.task) or ""), answer.is_cut(request.task, completion.text, completion.finish_reason)
            candidates.append(replace(candidates[-1], text=text, raw=completion.text, is_parsed=answer.is_parsed, is_cut=is_cut))
        texts = [candidate.text or "" for candidate in candidates]
        best = best_answer(texts, [candidate.is_parsed for candidate in candidates], evidence_for(request.task, evidence.writer))
        return replace(
            candidates[best],
            samples=tuple(texts) if drawn else (),
            tokens_in=found.tokens_in + sum(completion.tokens_in for completion in drawn),
            tokens_out=found.tokens_out + sum(completion.tokens_out for completion in drawn),
        )
