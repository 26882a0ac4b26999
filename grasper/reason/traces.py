"""Sampling reasoning paths and answers for training pairs, with their rewards (GraSPer, Sec. 3.2; REST-PG, Sec. 3.1).

Three sources of paths. `sampled`: the model writes path and answer without seeing the real one. `analysed`: the path of `reason.analyse` is written
already (its plan may name key phrases of the real answer: the warm start), the model writes the answer after it. `hindsight`: the model writes the
path with the real answer in view, and then an answer after it without seeing the real one; paths that leak are counted and never continued, while
an analysed path that leaks gives way to one without sight of the answer. A fourth source, `direct`, has no path: the answers of methods that do not
reason.

Each pair has a seed of its own, so a resumed run equals an undisturbed one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

import numpy as np

from grasper.config import PromptConfig
from grasper.files import BatchLog
from grasper.models.base import Completion, Prompt, TextModel, at_once
from grasper.progress import Progress
from grasper.prompts.budget import max_new_tokens
from grasper.prompts.escape import one_line
from grasper.prompts.render import after_path, render
from grasper.prompts.templates import ANSWER_LABELS, AnswerTask
from grasper.reason.format import ReasoningPath, parse_answer, parse_path, render_answer
from grasper.reason.pair import TrainingPair
from grasper.reason.reward import PathReward, Reward, path_rewards_of, rewards_of
from grasper.runs import derive_seed

Source = Literal["analysed", "sampled", "hindsight", "direct"]

BATCH_SIZE = 16
"""Pairs in one batch, where the model does not want more at once."""


@dataclass(frozen=True, slots=True)
class Trace:
    """One path with the answer that followed it."""

    pair_id: str
    number: int
    """Place among the pair's traces."""
    source: Source
    path: str
    """Three lines; empty where none could be read, or none was asked for."""
    answer: str
    """The written text, title or rating."""
    reward: float
    is_parsed: bool
    is_leak: bool = False
    is_cut: bool = False
    """Whether the answer lacks its end, for want of tokens."""
    copies: int = 1
    """How often it was drawn."""
    raw: str = ""
    mean_logprob: float | None = None
    tokens_in: int = 0
    tokens_out: int = 0

    @property
    def is_usable(self) -> bool:
        """Whether it may become gold."""
        return self.is_parsed and not self.is_leak and bool(self.answer) and (bool(self.path) or self.source == "direct")

    @property
    def is_learnable(self) -> bool:
        """Whether its answer may be learned, and not only its path: whoever learns to end a cut one learns to stop in the middle."""
        return self.is_usable and not self.is_cut

    def answer_lines(self, task: AnswerTask) -> str:
        """The written answer as a model should write it, in the lines of the task."""
        if task == "review":
            answer = parse_answer(self.raw, task, expects_path=False)
            return render_answer(task, title=answer.title, text=answer.text, rating=answer.rating)
        return f"{ANSWER_LABELS[task][0]}: {one_line(self.answer)}"


def sample_traces(
    pairs: Sequence[TrainingPair],
    model: TextModel,
    reward: Reward,
    log_path: Path,
    *,
    prompts: PromptConfig,
    sources: Sequence[Source] = ("analysed", "sampled"),
    num_samples: int = 4,
    temperature: float | None = 0.7,
    top_p: float = 0.9,
    batch_size: int | None = None,
    seed: int = 0,
) -> list[Trace]:
    """`num_samples` traces per pair and source, in the order of the pairs; pairs in `log_path` are not sampled again.

    Of equal traces of one pair only the first is kept. Traces that could not be parsed are kept and marked.

    Args:
        log_path: JSONL, one trace per line.
        batch_size: Pairs in one batch, a kill loses at most one; None: as many as suit the model.
    """
    log = BatchLog(log_path)
    missing = [pair for pair in pairs if pair.pair_id not in log.done]
    size = batch_size or at_once(BATCH_SIZE, model)
    sampler = _Sampler(model, prompts, num_samples, temperature, top_p, derive_seed(seed, "traces"))
    with Progress("sampling paths", len(pairs), done=len(pairs) - len(missing)) as progress:
        for start in range(0, len(missing), size):
            batch = missing[start : start + size]
            drafts = [draft for source in dict.fromkeys(sources) for draft in sampler.draw(source, batch)]
            log.append((asdict(trace) for trace in _rewarded(batch, drafts, reward, sampler)), done=[pair.pair_id for pair in batch])
            progress.advance(len(batch))
    by_pair: dict[str, list[Trace]] = {}
    for record in log.records:
        by_pair.setdefault(record["pair_id"], []).append(Trace(**record))
    return [trace for pair in pairs for trace in by_pair.get(pair.pair_id, ())]


def describe(traces: Sequence[Trace]) -> dict[str, Any]:
    """What selection could gain, over all pairs and by source: mean, best and spread of reward per pair, and what was unusable."""
    by_source = {source: [trace for trace in traces if trace.source == source] for source in dict.fromkeys(trace.source for trace in traces)}
    return {**_describe(traces), "by_source": {source: _describe(group) for source, group in by_source.items()}}


def _describe(traces: Sequence[Trace]) -> dict[str, Any]:
    by_pair = rewards_by_pair(traces)
    statistics: dict[str, Callable[[Sequence[float]], Any]] = {"mean_reward": np.mean, "best_reward": np.max, "spread_of_reward": np.std}
    return {
        "pairs": len(by_pair),
        "traces": len(traces),
        "unparsed": sum(not trace.is_parsed for trace in traces),
        "leaks": sum(trace.is_leak for trace in traces),
        "cut": sum(trace.is_cut for trace in traces),
        **{name: float(np.mean([of(rewards) for rewards in by_pair.values()])) if by_pair else None for name, of in statistics.items()},
        "tokens_in": sum(trace.tokens_in for trace in traces),
        "tokens_out": sum(trace.tokens_out for trace in traces),
    }


def rewards_by_pair(traces: Sequence[Trace]) -> dict[str, list[float]]:
    """The rewards of each pair's traces, in their order."""
    ordered = sorted(traces, key=lambda trace: (trace.pair_id, trace.number))
    return {pair_id: [trace.reward for trace in group] for pair_id, group in groupby(ordered, key=lambda trace: trace.pair_id)}


@dataclass(frozen=True)
class _Sampler:
    """Draws the traces of one batch."""

    model: TextModel
    prompts: PromptConfig
    num_samples: int
    temperature: float | None
    top_p: float
    seed: int

    def draw(self, source: Source, pairs: Sequence[TrainingPair]) -> list[Trace]:
        if source == "sampled" or source == "direct":
            return self._written(source, pairs)
        if source == "analysed":
            return self._continued(source, pairs, [[pair.analysed_path(sees_answer=True)] for pair in pairs], num_samples=self.num_samples)
        return self._hindsight(pairs)

    def _written(self, source: Source, pairs: Sequence[TrainingPair]) -> list[Trace]:
        """Answers that the model writes from the prompt alone, behind a path of its own or, `direct`, behind none."""
        reasoning = source == "sampled"
        asked = [self.prompt(pair, reasoning=reasoning) for pair in pairs]
        completions = self._generate(asked, pairs, source, self.num_samples, reasoning=reasoning)
        return [_read(pair, source, "", completion) for pair, group in zip(pairs, completions, strict=True) for completion in group]

    def _hindsight(self, pairs: Sequence[TrainingPair]) -> list[Trace]:
        """Paths written with the answer in view; the answer is then written from the path alone, unless the path leaks."""
        asked = [
            render(p.request, p.profile, reasoning=True, config=self.prompts, model=self.model, role="hindsight", answer=p.reference) for p in pairs
        ]
        paths: list[list[ReasoningPath]] = []
        drafts: list[Trace] = []
        for pair, group in zip(pairs, self._generate(asked, pairs, "hindsight-path", self.num_samples, reasoning=True), strict=True):
            paths.append([])
            for completion in group:
                path = parse_path(completion.text)
                is_leak = path is not None and pair.is_leaked_by(path)
                if path is not None and path.is_whole and not is_leak:
                    paths[-1].append(path)
                else:
                    drafts.append(_refused(pair, path, completion, is_leak=is_leak))
        return [*self._continued("hindsight", pairs, paths, num_samples=1), *drafts]

    def _continued(self, source: Source, pairs: Sequence[TrainingPair], paths: Sequence[Sequence[ReasoningPath]], *, num_samples: int) -> list[Trace]:
        """Answers after paths that are written already."""
        flat = [(pair, path.render()) for pair, group in zip(pairs, paths, strict=True) for path in group]
        begun = [after_path(self.prompt(pair), path, pair.task) for pair, path in flat]
        completions = self._generate(begun, [pair for pair, _ in flat], source, num_samples, reasoning=False)
        return [
            _read(pair, source, prompt.prefix, completion)
            for (pair, _), prompt, group in zip(flat, begun, completions, strict=True)
            for completion in group
        ]

    def prompt(self, pair: TrainingPair, *, reasoning: bool = True) -> Prompt:
        """The request of a pair, as generation would ask it."""
        return pair.render(reasoning=reasoning, config=self.prompts, model=self.model)

    def _generate(
        self, asked: Sequence[Prompt], pairs: Sequence[TrainingPair], purpose: str, num_samples: int, *, reasoning: bool
    ) -> list[list[Completion]]:
        """The completions of each prompt."""
        if not asked:
            return []
        most = [max_new_tokens(pair.task, self.prompts, reasoning=reasoning) for pair in pairs]
        numbers: Counter[str] = Counter()
        seeds = []
        for pair in pairs:  # a pair may be asked several times, behind different paths
            seeds.append(derive_seed(self.seed, purpose, pair.pair_id, numbers[pair.pair_id]))
            numbers[pair.pair_id] += 1
        return self.model.generate(asked, n=num_samples, temperature=self.temperature, top_p=self.top_p, max_new_tokens=most, seed=seeds)


def _read(pair: TrainingPair, source: Source, prefix: str, completion: Completion) -> Trace:
    raw = prefix + completion.text
    answer = parse_answer(raw, pair.task, expects_path=source != "direct")
    value = answer.value(pair.task)
    text = "" if value is None else f"{value:g}" if isinstance(value, float) else value
    path = None if source == "direct" else answer.path
    cut = answer.is_cut(pair.task, raw, completion.finish_reason)
    return _trace(pair, source, path, text, completion, raw=raw, is_parsed=answer.is_parsed, cut=cut)


def _refused(pair: TrainingPair, path: ReasoningPath | None, completion: Completion, *, is_leak: bool) -> Trace:
    """A hindsight path that leaks or lacks a line: kept for the count, never continued."""
    return _trace(pair, "hindsight", path, "", completion, raw=completion.text, is_parsed=path is not None and path.is_whole, is_leak=is_leak)


def _trace(
    pair: TrainingPair,
    source: Source,
    path: ReasoningPath | None,
    answer: str,
    completion: Completion,
    *,
    raw: str,
    is_parsed: bool,
    is_leak: bool = False,
    cut: bool = False,
) -> Trace:
    """A trace whose number and reward are not known yet."""
    return Trace(
        pair.pair_id,
        number=0,
        source=source,
        path=path.render() if path else "",
        answer=answer,
        reward=0.0,
        is_parsed=is_parsed,
        is_leak=is_leak,
        is_cut=cut,
        raw=raw,
        mean_logprob=completion.mean_logprob,
        tokens_in=completion.tokens_in,
        tokens_out=completion.tokens_out,
    )


def _rewarded(pairs: Sequence[TrainingPair], drafts: Sequence[Trace], reward: Reward, sampler: _Sampler) -> list[Trace]:
    """The traces of each pair with number and reward, equal ones once."""
    traces: list[Trace] = []
    for pair in pairs:
        distinct = _merged([draft for draft in drafts if draft.pair_id == pair.pair_id])
        if isinstance(reward, PathReward):
            prompts = sampler.prompt(pair), sampler.prompt(pair, reasoning=False)
            rewards = path_rewards_of(reward, pair.task, pair.answer_lines, [draft.path for draft in distinct], *prompts)
        else:
            rewards = rewards_of(reward, pair.task, [draft.answer for draft in distinct], [pair.reference] * len(distinct))
        traces += [replace(draft, number=number, reward=float(value)) for number, (draft, value) in enumerate(zip(distinct, rewards, strict=True))]
    return traces


def _merged(drafts: Sequence[Trace]) -> list[Trace]:
    """Traces with the same path and answer, in the same form, as one, which counts its copies and bears their cost."""
    distinct: dict[tuple[str, str, bool, bool], Trace] = {}
    for draft in drafts:
        key = draft.path, draft.answer, draft.is_leak, draft.is_parsed
        first = distinct.setdefault(key, draft)
        if first is not draft:
            tokens_in, tokens_out = first.tokens_in + draft.tokens_in, first.tokens_out + draft.tokens_out
            cut = first.is_cut and draft.is_cut  # one that ended here by itself shows that nothing is missing
            distinct[key] = replace(first, copies=first.copies + 1, is_cut=cut, tokens_in=tokens_in, tokens_out=tokens_out)
    return list(distinct.values())
