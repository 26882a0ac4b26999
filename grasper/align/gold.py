"""GraSPer's training: gold paths, then supervised fine-tuning on [Z*; text] (Sec. 3.2).

Of the sampled paths of a pair the one whose text scores best is gold. A method without reasoning learns the text alone.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from grasper.align.lesson import Lesson
from grasper.align.sft import finetune
from grasper.errors import ConfigError
from grasper.files import write_lines
from grasper.reason.format import render_answer
from grasper.reason.gold import choose_gold
from grasper.reason.pair import TrainingPair
from grasper.reason.traces import Source, Trace, describe
from grasper.runs import derive_seed


@dataclass(frozen=True, slots=True)
class Solved:
    """A pair with the answer that is to be learned."""

    pair: TrainingPair
    path: str
    """Empty for methods without reasoning."""
    answer: str
    """The lines of the task."""


def train_on_gold(lesson: Lesson) -> dict[str, Any]:
    """Choose gold paths and fine-tune on them into `out_dir/adapter`; gives the counts of both."""
    solved, counts = solve(lesson)
    sequences = [lesson.sequence(one.pair, one.path, one.answer, path_weight=lesson.config.path_weight) for one in solved]
    return counts | finetune(lesson.base, sequences, lesson.evaluation, lesson.config, lesson.out_dir, seed=derive_seed(lesson.seed, "sft"))


def solve(lesson: Lesson) -> tuple[list[Solved], dict[str, Any]]:
    """What a method learns, with counts: [Z*; real text] of every pair with a gold path, or by `align.gold_text` [Z*; sampled text].

    Without reasoning it is the text alone; nothing is sampled for real ones. With a consensus, no real text is learned without a path, but the
    consensus of every pair, whatever its own task. REST-PG's samples are for a backbone that cannot be fine-tuned.

    Raises:
        ConfigError: No pair is left.
    """
    method, config = lesson.desk.method, lesson.config
    is_real = config.gold_text == "real" and method.training != "em"
    counts: dict[str, Any] = {}
    if is_real and not method.reasoning:
        solved = _plain(lesson, lesson.pairs)
    else:
        gold, counts = _sample_gold(lesson, config.sources if method.reasoning else ("direct",), learns_answers=not is_real)
        by_id = {pair.pair_id: pair for pair in lesson.pairs}
        chosen = [(by_id[trace.pair_id], trace) for trace in gold]
        solved = [Solved(pair, trace.path, pair.answer_lines if is_real else trace.answer_lines(pair.task)) for pair, trace in chosen]
        with_gold = {trace.pair_id for trace in gold}
        solved += _plain(lesson, [pair for pair in lesson.pairs if _is_plain(lesson, pair, with_gold)])
    if not solved:
        raise ConfigError("no training pair is left to align on; lower align.reward_threshold, or raise align.num_pairs or align.num_samples")
    return solved, counts


def _is_plain(lesson: Lesson, pair: TrainingPair, with_gold: Collection[str]) -> bool:
    """Whether the answer of a pair is also learned without a path, so that thinking costs nothing where it does not help (`align.plain`)."""
    how = lesson.config.plain if lesson.desk.method.reasoning else "none"
    return how == "all" or (how == "hopeless" and pair.pair_id not in with_gold)


def _plain(lesson: Lesson, pairs: Sequence[TrainingPair]) -> list[Solved]:
    """The real answers of these pairs without a path; of texts the consensus, where there is one, of all pairs."""
    real = [Solved(pair, "", pair.answer_lines) for pair in pairs if not (lesson.consensus and pair.task == "long")]
    return real + [Solved(pair, "", render_answer("long", text=text)) for pair, text in lesson.consensus]


def _sample_gold(lesson: Lesson, sources: Sequence[Source], *, learns_answers: bool) -> tuple[tuple[Trace, ...], dict[str, Any]]:
    """Sample paths and texts, and choose the gold ones by reward."""
    traces = lesson.sample(lesson.out_dir / "traces.jsonl", sources, seed=lesson.seed)
    config = lesson.config
    gold = choose_gold(traces, threshold=config.reward_threshold, top_n=config.top_n, learns_answers=learns_answers)
    write_lines(
        lesson.out_dir / "gold.jsonl",
        [{"pair_id": t.pair_id, "source": t.source, "path": t.path, "answer": t.answer, "reward": t.reward} for t in gold.traces],
    )
    sampled = describe(traces)
    return gold.traces, {"traces": sampled, "gold": gold.counts, "tokens_in": sampled["tokens_in"], "tokens_out": sampled["tokens_out"]}
