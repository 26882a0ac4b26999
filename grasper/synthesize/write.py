"""Predicted items → synthetic reviews with a language model: evidence, prompt, answer, quality gate, one more try."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from grasper.config import SynthesizeConfig
from grasper.desk import Desk
from grasper.models.base import Completion, Prompt
from grasper.prompts.budget import max_new_tokens
from grasper.reason.format import parse_answer
from grasper.records import Candidate, Example, Item, Profile, SyntheticReview, review_request
from grasper.synthesize.select import fault_of


@dataclass(frozen=True)
class _Job:
    """One review to be written."""

    example: Example
    candidate: Candidate
    item: Item
    profile: Profile
    prompt: Prompt


@dataclass(frozen=True)
class SyntheticWriter:
    """Writes reviews in a user's stead at the desk of one method."""

    desk: Desk
    config: SynthesizeConfig

    def write(self, examples: Sequence[Example], items: Mapping[str, Sequence[Candidate]]) -> list[SyntheticReview]:
        """The reviews of some examples' predicted items (by example id), rejected ones included, by example and rank."""
        jobs = [self._job(example, candidate) for example in examples for candidate in items[example.example_id]]
        reviews = self._judge(jobs, self._complete(jobs, "first"), {})
        again = [number for number, review in enumerate(reviews) if review.rejected]
        if again:
            accepted: dict[str, list[str]] = {}
            for review in reviews:
                if review.rejected is None:
                    accepted.setdefault(review.example_id, []).append(review.text)
            retried = [jobs[number] for number in again]
            second = self._judge(retried, self._complete(retried, "again"), accepted)
            for number, review in zip(again, second, strict=True):
                reviews[number] = _with_cost(review if review.rejected is None else reviews[number], reviews[number], review)
        return reviews

    def _job(self, example: Example, candidate: Candidate) -> _Job:
        item = self.desk.store.tables.item(candidate.item_id)
        profile = self.desk.profiles.for_item(item, example)
        return _Job(example, candidate, item, profile, self.desk.review_prompt(review_request(example, item), item, profile))

    def _company(self, example: Example) -> list[str]:
        """The real texts that a synthetic review stands beside: the user's own, and others' about the wanted item, where the method shows them."""
        pool, method = self.desk.store.pool, self.desk.method
        shown = (*(pool.own(example) if method.own else ()), *(pool.neighbours(example) if method.others else ()))
        return [review.text for review in shown if review.text]

    def _complete(self, jobs: Sequence[_Job], attempt: str) -> list[Completion]:
        completions = self.desk.complete(
            [job.prompt for job in jobs],
            [self.desk.seed_of("synthesize", job.example.example_id, job.item.item_id, attempt) for job in jobs],
            temperature=self.config.temperature,
            top_p=self.config.top_p,
            max_new_tokens=max_new_tokens("review", self.desk.prompts, reasoning=self.desk.method.reasoning),
        )
        return [samples[0] for samples in completions]

    def _judge(self, jobs: Sequence[_Job], completions: Sequence[Completion], accepted: dict[str, list[str]]) -> list[SyntheticReview]:
        """Parse and gate. `accepted` holds the texts that each example has already, and takes the new ones."""
        reviews = []
        company = {example.example_id: self._company(example) for example in {job.example.example_id: job.example for job in jobs}.values()}
        for job, completion in zip(jobs, completions, strict=True):
            answer = parse_answer(completion.text, "review", expects_path=self.desk.method.reasoning)
            earlier = accepted.setdefault(job.example.example_id, [])
            sources = [review.text for review in (*job.profile.own, *job.profile.neighbours)]
            fault = fault_of(answer, sources, company[job.example.example_id], earlier, self.config)
            if fault is None:
                earlier.append(answer.text or "")
            reviews.append(
                SyntheticReview(
                    example_id=job.example.example_id,
                    user_id=job.example.user_id,
                    item=job.item,
                    text=answer.text or "",
                    title=answer.title,
                    rating=answer.rating,
                    path=answer.path.render() if answer.path else None,
                    rank=job.candidate.rank,
                    score=job.candidate.score,
                    rejected=fault,
                    tokens_in=completion.tokens_in,
                    tokens_out=completion.tokens_out,
                )
            )
        return reviews


def _with_cost(kept: SyntheticReview, first: SyntheticReview, second: SyntheticReview) -> SyntheticReview:
    """The kept try with the tokens of both."""
    return replace(kept, tokens_in=first.tokens_in + second.tokens_in, tokens_out=first.tokens_out + second.tokens_out)
