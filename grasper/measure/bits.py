"""What the real answer costs to spell out, in bits per byte, given exactly what a method shows its writer; local models only.

No sampling noise of written texts, no metric of likeness: a prompt that tells more of the person and the item makes the real text likelier. A method
that thinks before it writes is averaged over its own sampled paths, as a mixture: −log₂ of the mean probability. A rating costs −log₂ of its
digit's share among the five.

The swap test asks whether evidence counts because it is the right one: the same prompts with another user's own reviews, or with another item's
neighbours, and all else as it was.

The real text is scored and never shown: it is no part of a prompt, of a log or of a file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from grasper.errors import ConfigError, RunMismatchError
from grasper.evaluate.swap import SWAPS, Swap
from grasper.files import BatchLog
from grasper.generate.writers import WRITERS, LeadingWriter
from grasper.models.base import Pool
from grasper.models.local import LocalModel
from grasper.pipeline import Pipeline
from grasper.progress import Progress
from grasper.prompts.templates import RATING_CHOICES
from grasper.reason.format import answer_of
from grasper.records import Example, Profile, Request, Review, SyntheticReview, Task, request_for, tasks_of
from grasper.retrieve.pool import is_same_text, is_visible
from grasper.runs import stable_hash
from grasper.system import System
from grasper.written import by_example, load_synthetic

BATCH_SIZE = 8
"""Examples of one task in one batch, where the model does not want more at once; a kill loses at most one."""


@dataclass(frozen=True)
class Measurement:
    """Measures one method of a run.

    Args:
        system: The method, ready to answer.
        synthetic: Its synthetic reviews by example id.
        num_paths: Paths (or deliberations) per request of a method that thinks.
        swaps: Which prompts are measured.
        source: What the prompts and the model go back to; numbers are kept with it, and measured again where it changed.
        lenders: Whose evidence may take the place of another's: all targets of the split, so that who stands in for whom does not depend on how many
            are measured. Empty: those that are measured.
    """

    system: System
    synthetic: Mapping[str, Sequence[SyntheticReview]]
    num_paths: int
    swaps: Sequence[Swap]
    source: str
    lenders: Sequence[Example] = ()

    @property
    def writer(self) -> LeadingWriter:
        """What tells the prompts.

        Raises:
            ConfigError: The method has no model, or one that tells no probability of given texts.
        """
        name = self.system.desk.method.name
        if not WRITERS.uses_model(self.system.desk.method.writer) or not isinstance(self.system.writer, LeadingWriter):
            raise ConfigError(f"{name} writes without a language model, so no text has a probability")
        if not isinstance(self.system.desk.model, LocalModel):
            raise ConfigError(f"{name} writes with {self.system.desk.model.name}, which gives no probability of a given text; only local models do")
        return self.system.writer

    def measure(self, examples: Sequence[Example], tasks: Sequence[Task], path: Path) -> int:
        """Measure what is not in the file yet, batch by batch; gives how many numbers were added.

        Args:
            path: `measure/<method>/bits.jsonl`.

        Raises:
            RunMismatchError: It holds numbers with other paths, or with others' evidence than is asked for, that are not out of date.
        """
        _ = self.writer
        lent = stable_hash(" ".join(example.example_id for example in self.lenders or examples))[:16]  # other lenders, other partners
        asked = {"paths": self.num_paths} if self.system.desk.method.thinks else {}
        facts: dict[str, dict[str, Any]] = {swap: {**asked, "source": self.source, "lenders": lent} for swap in SWAPS}
        del facts["bits"]["lenders"]
        others = [record for record in BatchLog(path).records if not facts[record["metric"]].items() <= record.items()]
        for record in others:
            if record["source"] == self.source:  # hours of work, and not out of date
                what = f"--paths {record['paths']}" if asked and record["paths"] != self.num_paths else "the evidence of other targets"
                raise RunMismatchError(f"{path} holds numbers that were measured with {what}; ask for the same, or delete it to measure anew")
        if others:
            path.unlink()
        log, size = BatchLog(path), self.system.desk.at_once(BATCH_SIZE)
        work = [
            (task, swap, chosen[start : start + size])
            for swap in self.swaps
            for task in tasks
            if (chosen := [one for one in examples if task in tasks_of(one) and _key(one, task, swap) not in log.done])
            for start in range(0, len(chosen), size)
        ]
        pool = self.system.desk.store.pool
        lends: dict[Swap, Callable[[Example], bool]] = {
            "bits_other_user": lambda example: bool(pool.own(example)),
            "bits_other_item": lambda example: bool(pool.neighbours(example)),
        }
        partners = {swap: choose_partners(self.lenders or examples, lends[swap]) if swap in lends else {} for swap in self.swaps}
        count = 0
        with Progress(f"bits/{self.system.desk.method.name}", sum(len(chosen) for *_, chosen in work)) as progress:
            for task, swap, chosen in work:
                values = self._values(task, swap, chosen, partners[swap])
                log.append(
                    [{"example_id": key, "task": task, "metric": swap, "value": round(value, 6), **facts[swap]} for key, value in values.items()],
                    done=[_key(example, task, swap) for example in chosen],
                )
                progress.advance(len(chosen))
                count += len(values)
        return count

    def _values(self, task: Task, swap: Swap, examples: Sequence[Example], partners: Mapping[str, Example]) -> dict[str, float]:
        """Bits per byte by example id; those without the evidence that is swapped, and those without an answer to score, are left out."""
        desk = self.system.desk
        requests, asked, profiles, answers = [], [], [], []
        for example in examples:
            answer = answer_of(example, task)
            request = request_for(example, task, desk.store.tables.item(example.item_id))
            profile = self._profile(request, example, task, swap, partners)
            if profile is not None and answer:
                requests.append(request)
                asked.append(example)
                profiles.append(profile)
                answers.append(answer)
        leads = self.writer.lead(requests, asked, profiles, self.num_paths)
        bits = self._rating_bits(leads, answers) if task == "rating" else self._text_bits(leads, answers)
        sizes = [len(answer.encode("utf-8")) for answer in answers]
        return {example.example_id: value / size for example, value, size in zip(asked, bits, sizes, strict=True)}

    def _profile(self, request: Request, example: Example, task: Task, swap: Swap, partners: Mapping[str, Example]) -> Profile | None:
        desk = self.system.desk
        synthetic = self.synthetic.get(example.example_id, ())
        profile = self.writer.profile(request, example, synthetic)
        if swap == "bits":
            return profile
        partner = partners.get(example.example_id)
        field = "own" if swap == "bits_other_user" else "neighbours"
        if partner is None or not getattr(profile, field):
            return None
        theirs = self.writer.profile(request_for(partner, task, desk.store.tables.item(partner.item_id)), partner, ())
        shown = tuple(review for review in getattr(theirs, field) if _may_see(example, review))
        if not shown:
            return None
        if field == "own":
            return replace(profile, own=shown)
        further = (tuple(review for review in reviews if _may_see(example, review)) for reviews in theirs.further)
        return replace(profile, neighbours=shown, further=tuple(filter(None, further)))

    def _text_bits(self, leads: Sequence[Pool], answers: Sequence[str]) -> list[float]:
        model = self.system.desk.model
        assert isinstance(model, LocalModel)
        flat = [(prompt, answer) for lead, answer in zip(leads, answers, strict=True) for prompt in lead.prompts]
        scores = model.score_tokens([prompt for prompt, _ in flat], [answer for _, answer in flat])
        return [-_log_probability(group, lead) / np.log(2) for group, lead in _by_lead(scores, leads)]

    def _rating_bits(self, leads: Sequence[Pool], answers: Sequence[str]) -> list[float]:
        scores = self.system.desk.model.score_choices([prompt for lead in leads for prompt in lead.prompts], RATING_CHOICES)
        places = [int(answer) - 1 for answer in answers]
        return [-float(np.log2((lead.weights @ group)[place])) for (group, lead), place in zip(_by_lead(list(scores), leads), places, strict=True)]


def _by_lead(scores: Sequence[np.ndarray], leads: Sequence[Pool]) -> Iterator[tuple[np.ndarray, Pool]]:
    """The scores of the prompts of each lead, stacked, and the lead."""
    start = 0
    for lead in leads:
        end = start + len(lead.prompts)
        yield np.stack(scores[start:end]), lead
        start = end


def _log_probability(scores: np.ndarray, lead: Pool) -> float:
    """That of a text in nats as its writer would draw it: token by token from the pool, or as a whole behind one of the prompts.

    Args:
        scores: Log-probability of each token behind each prompt, `[prompts, tokens]`.
    """
    log_weights = np.log(lead.weights)
    if lead.is_mixture:
        return float(np.logaddexp.reduce(scores.sum(axis=1) + log_weights))
    return float(np.logaddexp.reduce(scores + log_weights[:, None], axis=0).sum())


def measure_plan(plan: Pipeline, *, num_paths: int, swaps: Sequence[Swap], say: Callable[[str], None]) -> dict[str, Path]:
    """Measure every method of a plan whose stages before `generate` are done; gives the file of each, those without probabilities left out.

    Raises:
        MissingFileError: A stage that is read is not finished.
        RunMismatchError: It was finished with another configuration, or not for all targets.
    """
    measured, run, work = {}, plan.run, plan.work
    steps = {step.method: step for step in plan.steps if step.stage == "generate"}
    with run.lock():
        plan.require_inputs(list(steps.values()))
        lenders = work.workshop.tables.select(plan.config.split)
        for method in plan.methods:
            name, path = method.name, run.folder("measure", method.name) / "bits.jsonl"
            written = load_synthetic(run.folder("synthesize", name) / "synthetic.jsonl") if method.predicts_items else []
            system = work.workshop.system(method)
            if method.trajectories and len(swaps) > 1:
                say(f"bits/{name}: without the swap test; its reasoners look for evidence of their own, which no swap of the prompt's reaches")
            asked = swaps[:1] if method.trajectories else swaps
            measurement = Measurement(system, by_example(written), num_paths, asked, steps[name].fingerprint, lenders)
            try:
                count = measurement.measure(work.targets, plan.config.tasks, path)
            except ConfigError as error:
                say(f"bits/{name}: left out; {error}")
            else:
                say(f"bits/{name}: {count} measured")
                measured[name] = path
    return measured


def choose_partners(examples: Sequence[Example], has_evidence: Callable[[Example], bool] = lambda example: True) -> dict[str, Example]:
    """For each example another one, of another user and about another item, whose evidence takes the place of its own.

    Half of the examples further on, or the next one after that which has such evidence: no chance enters, and examples that stand together (a user's,
    an item's) are not each other's partners.

    Args:
        has_evidence: Who has any to lend.
    """
    lenders = {number for number, example in enumerate(examples) if has_evidence(example)}
    partners = {}
    for number, example in enumerate(examples):
        ring = ((number + len(examples) // 2 + step) % len(examples) for step in range(len(examples)))
        others = (examples[place] for place in ring if place in lenders)
        partner = next((one for one in others if one.user_id != example.user_id and one.item_id != example.item_id), None)
        if partner is not None:
            partners[example.example_id] = partner
    return partners


def _may_see(example: Example, review: Review) -> bool:
    """The rule of every prompt, and one more: nothing of the user's own, and no repeat of the target's text, may come back by way of a swap."""
    return is_visible(review, example) and review.user_id != example.user_id and not is_same_text(review.text, example.target.text)


def _key(example: Example, task: Task, swap: Swap) -> str:
    return f"{example.example_id} {task} {swap}"
