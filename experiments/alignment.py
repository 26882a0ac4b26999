"""What reasoning alignment gains: gold selection, fine-tuning on gold paths, REST-PG's rounds → one JSON file.

    python experiments/alignment.py --config experiments/harbour.yaml --out experiments/results/alignment/harbour.json
    python experiments/alignment.py --config experiments/hotel.yaml --data ../shared/data/hotel --out experiments/results/alignment/hotel.json

Pairs come from reserved training users: the first half of them aligns, held-out ones measure; of the latter the first `--tuning` give the
evaluation loss, the others the reported numbers. Every held-out example is asked for its text, title, rating and whole review, by the base and
by the aligned model with the same seeds; differences are paired, their 95 % intervals drawn by item. No link predictor is fitted: the prompts
show own reviews and neighbours, no synthetic reviews. Work in `--work` is resumed.
"""

from __future__ import annotations

import argparse
import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.stats import pearsonr

from experiments.publish import made_by
from experiments.resumed import require_same
from grasper.align import align, select_pairs
from grasper.align.lesson import Lesson
from grasper.align.pairs import make_pairs
from grasper.align.sft import TrainingSequence, finetune, pair_sequence
from grasper.align.trainer import collate, summed_nll
from grasper.config import AlignConfig, Config, load_config
from grasper.desk import Desk
from grasper.evaluate.compare import Bootstrap, summarize
from grasper.files import BatchLog, read_json, read_jsonl, write_json
from grasper.methods import get_method
from grasper.models import open_model
from grasper.models.local import LocalModel
from grasper.prepare import build_tables
from grasper.reason.gold import selection_gain
from grasper.reason.pair import TrainingPair
from grasper.reason.reward import make_reward
from grasper.reason.traces import Source, Trace, sample_traces
from grasper.records import TASKS, Example, Tables
from grasper.retrieve.store import ReviewStore
from grasper.runs import derive_seed

ROOT = Path(__file__).parents[1]
PARTS = ("selection", "alignment", "boilerplate", "plan", "rounds")
SIZES = (1, 2, 4, 8, 16)
METHOD = get_method("grasper")
NUM_EXAMPLES = 6
SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
PLANNED_WORDS = re.compile(r"^Plan:.*?about (\d+) words", re.MULTILINE)


@dataclass(frozen=True)
class Work:
    """What all parts share. `tuning` and `reported` are disjoint held-out examples."""

    config: Config
    tables: Tables
    desk: Desk
    model: LocalModel
    pairs: list[Example]
    tuning: list[Example]
    reported: list[Example]
    folder: Path
    seed: int

    def asked(self, examples: Sequence[Example]) -> list[TrainingPair]:
        """Every example with every task, the whole review included."""
        pairs = []
        for tasks in (*((task,) for task in TASKS), ()):
            pairs += make_pairs(self.desk, examples, tasks=tasks, with_reviews=not tasks)
        return pairs

    def lesson(self, held_out: Sequence[TrainingPair]) -> Lesson:
        """How these pairs are evaluated."""
        return Lesson(self.config.align, self.desk, (), held_out, make_reward(self.config.align.reward), self.folder, self.seed)

    def sample(self, model: LocalModel, pairs: Sequence[TrainingPair], name: str, sources: Sequence[Source], num_samples: int) -> list[Trace]:
        """Traces with the pairs' seeds, kept under a name."""
        config = self.config.align
        return sample_traces(
            pairs,
            model,
            make_reward(config.reward),
            self.folder / f"{name}.jsonl",
            prompts=self.config.prompts,
            sources=sources,
            num_samples=num_samples,
            temperature=config.temperature,
            top_p=config.top_p,
            seed=derive_seed(self.seed, "experiment"),
        )


def select(work: Work, num_pairs: int) -> dict[str, Any]:
    """Mean reward of the best of m samples, by task: what choosing gains before anything is trained."""
    pairs = work.asked(work.pairs[: -(-num_pairs // 4)])
    by_id = {pair.pair_id: pair for pair in pairs}
    found: dict[str, dict[str, list[float]]] = {}
    for trace in work.sample(work.model, pairs, "selection", ("analysed", "sampled"), max(SIZES)):
        found.setdefault(trace.source, {}).setdefault(trace.pair_id, []).extend([trace.reward] * trace.copies)
    result: dict[str, Any] = {}
    for source, rewards in found.items():
        rows = {pair_id: selection_gain([drawn], SIZES) for pair_id, drawn in rewards.items()}
        tasks = {pair_id: by_id[pair_id].task for pair_id in rows}
        columns = {
            (task, name): [pick(row) if tasks[pair_id] == task else np.nan for pair_id, row in rows.items()]
            for task in dict.fromkeys(tasks.values())
            for name, pick in {
                **{f"best_of_{m}": lambda row, m=m: row[m] for m in SIZES},
                **{f"gain_of_{m}": lambda row, m=m: row[m] - row[1] for m in SIZES[1:]},
            }.items()
        }
        result[source] = summarize(estimate([by_id[pair_id].example.item_id for pair_id in rows], pd.DataFrame(columns), work.seed))
    return result


def aligned_folder(work: Work) -> Path:
    """The folder of the alignment, which is made on first use."""
    config, folder = work.config.align, work.folder / "align"
    if not (folder / "counts.json").exists():
        started = time.process_time()
        counts = align(config, work.desk, work.pairs, work.tuning, [], folder, seed=work.seed)
        write_json(folder / "counts.json", counts | {"cpu_seconds": round(time.process_time() - started, 1)})
    return folder


def follow_plan(work: Work) -> dict[str, Any]:
    """Does the base model write as long a text as its plan says? Pearson's correlation over the sampled texts, by source of the path."""
    lengths: dict[str, list[tuple[int, int]]] = {}
    for record in BatchLog(aligned_folder(work) / "traces.jsonl").records:
        trace = Trace(**record)
        planned = PLANNED_WORDS.search(trace.path)
        if trace.is_parsed and planned:
            lengths.setdefault(trace.source, []).append((int(planned[1]), len(trace.answer.split())))
    result = {}
    for source, pairs in lengths.items():
        planned_words, written_words = np.array(pairs).T
        found = pearsonr(planned_words, written_words)
        low, high = found.confidence_interval()
        result[source] = {"value": round(float(found.statistic), 4), "low": round(float(low), 4), "high": round(float(high), 4), "n": len(pairs)}
    return result


def write_held_out(work: Work, pairs: Sequence[TrainingPair]) -> dict[str, tuple[LocalModel, list[Trace]]]:
    """The base and the aligned model, and what each writes for the held-out requests."""
    models = {"base": work.model, "aligned": work.model.with_adapter(aligned_folder(work) / "adapter")}
    return {name: (model, work.sample(model, pairs, f"held-out-{name}", ("sampled",), 1)) for name, model in models.items()}


def compare_models(work: Work) -> dict[str, Any]:
    """Base against aligned model on held-out requests: rewards of sampled answers, NLL of the real ones, and the loss curve."""
    folder = aligned_folder(work)
    pairs = work.asked(work.reported)
    written = write_held_out(work, pairs)
    answers = {name: traces for name, (_, traces) in written.items()}
    sequences = work.lesson(pairs).evaluation
    losses = {name: real_nll(model, sequences) for name, (model, _) in written.items()}
    columns: dict[tuple[str, str, str], np.ndarray] = {}
    for task in dict.fromkeys(pair.task for pair in pairs):
        is_task = np.array([pair.task == task for pair in pairs])
        for name, traces in answers.items():
            measured = {
                "reward": np.array([trace.reward for trace in traces]),
                "parsed": np.array([float(trace.is_parsed) for trace in traces]),
                "words": np.array([float(len(trace.answer.split())) for trace in traces]),
                "nll_of_real": losses[name],
            }
            columns |= {(task, name, metric): np.where(is_task, values, np.nan) for metric, values in measured.items()}
        for metric in ("reward", "nll_of_real"):
            columns[task, "aligned_minus_base", metric] = columns[task, "aligned", metric] - columns[task, "base", metric]
    result = {
        "counts": read_json(folder / "counts.json"),
        "held_out": summarize(estimate([pair.example.item_id for pair in pairs], pd.DataFrame(columns), work.seed)),
        "loss_curve": [
            {name: entry[name] for name in ("step", "epoch", "loss", "eval_loss") if name in entry}
            for entry in read_jsonl(folder / "metrics.jsonl")
            if "loss" in entry or "eval_loss" in entry
        ],
    }
    if work.config.prepare.source == "harbour":  # generated data: nobody's texts
        result["examples"] = show_examples(pairs, answers)
    return result


def without_boilerplate(work: Work) -> dict[str, Any]:
    """What is left of the gain in texts when one sentence is taken out of all of them: the one that most real texts share.

    `share`: of the real, base and aligned texts that hold it; `reward`: with the sentence, and `reward_without`, aligned minus base.
    """
    pairs = work.asked(work.reported)
    chosen = [index for index, pair in enumerate(pairs) if pair.task == "long"]
    answers = {name: [traces[index] for index in chosen] for name, (_, traces) in write_held_out(work, pairs).items()}
    texts = {"real": [pairs[index].reference for index in chosen], **{name: [trace.answer for trace in group] for name, group in answers.items()}}
    sentences = Counter(sentence for text in texts["real"] for sentence in set(SENTENCE_END.split(text)))
    common, _ = max(sentences.items(), key=lambda entry: (entry[1], entry[0]))
    reward = make_reward(work.config.align.reward)
    columns = {("share", name): np.array([common in text for text in group], float) for name, group in texts.items()}
    kept = {name: [text.replace(common, " ").strip() for text in group] for name, group in texts.items()}
    rewards = {
        "reward": {name: np.array([trace.reward for trace in group]) for name, group in answers.items()},
        "reward_without": {name: np.array(reward.score("long", kept[name], kept["real"])) for name in answers},
    }
    for metric, by_model in rewards.items():
        columns[metric, "aligned_minus_base"] = by_model["aligned"] - by_model["base"]
    estimated = estimate([pairs[index].example.item_id for index in chosen], pd.DataFrame(columns), work.seed)
    return {"words": len(common.split()), **summarize(estimated)}


def show_examples(pairs: Sequence[TrainingPair], answers: dict[str, list[Trace]]) -> list[dict[str, Any]]:
    """The first text requests, what was really written, and what the base and the aligned model wrote."""
    chosen = [index for index, pair in enumerate(pairs) if pair.task == "long"][:NUM_EXAMPLES]
    return [
        {
            "item": pairs[index].request.item.name,
            "given_title": pairs[index].request.title,
            "real": pairs[index].reference,
            **{name: {"path": traces[index].path, "text": traces[index].answer, "reward": traces[index].reward} for name, traces in answers.items()},
        }
        for index in chosen
    ]


def compare_rounds(work: Work) -> list[dict[str, Any]]:
    """REST-PG's rounds: mean rewards on held-out requests, and the paired difference to its SFT start."""
    method, folder = get_method("rest_pg"), work.folder / "rounds"
    if not (folder / "rounds.json").exists():
        align(work.config.align, replace(work.desk, method=method), work.pairs, work.reported, [], folder, seed=work.seed)
    items = {example.example_id: example.item_id for example in work.reported}
    result, start = [], None
    for entry in read_json(folder / "rounds.json"):
        traces = [Trace(**record) for record in BatchLog(folder / f"round-{entry['round']}" / "held-out.jsonl").records]
        rewards = np.array([trace.reward for trace in traces])
        start = rewards if start is None else start
        columns = {}
        for task in TASKS:
            is_task = np.array([trace.pair_id.endswith(f"/{task}") for trace in traces])
            columns[task, "reward"] = np.where(is_task, rewards, np.nan)
            columns[task, "minus_start"] = np.where(is_task, rewards - start, np.nan)
        estimated = estimate([items[trace.pair_id.rpartition("/")[0]] for trace in traces], pd.DataFrame(columns), work.seed)
        facts = {name: entry.get(name) for name in ("round", "sequences", "eval_loss", "kept")}
        result.append(facts | {"held_out": summarize(estimated)})
    return result


def tune(work: Work, settings: Sequence[str]) -> list[dict[str, Any]]:
    """NLL of the real texts of the tuning half for several training settings, all on the same analysed paths: no sampling is needed."""
    prompts = work.config.prompts
    pairs = make_pairs(work.desk, work.pairs, with_reviews=True)
    solved = [(pair, pair.analysed_path(sees_answer=True).render()) for pair in pairs]
    unseen = work.asked(work.tuning)
    evaluation = work.lesson(unseen).evaluation
    before = real_nll(work.model, evaluation)
    result = []
    for setting in settings:
        changed = load_config(None, [f"align.{part}" for part in setting.split()]).align
        changes = {part.partition("=")[0]: getattr(changed, part.partition("=")[0]) for part in setting.split()}
        config: AlignConfig = work.config.align.model_copy(update=changes)
        folder = work.folder / "tune" / setting.replace(" ", "_").replace("[", "").replace("]", "")
        if not (folder / "adapter").exists():
            train = [pair_sequence(work.model, pair, path, pair.answer_lines, prompts, path_weight=config.path_weight) for pair, path in solved]
            finetune(work.model, train, [], config, folder, seed=derive_seed(work.seed, "tune"))
        gain = real_nll(work.model.with_adapter(folder / "adapter"), evaluation) - before
        by_task = {task: round(float(np.mean(gain[[pair.task == task for pair in unseen]])), 4) for task in dict.fromkeys(p.task for p in unseen)}
        result.append({"setting": setting, "nll_change": by_task | {"mean": round(float(np.mean(list(by_task.values()))), 4)}})
        print(result[-1], flush=True)
    return result


@torch.inference_mode()
def real_nll(model: LocalModel, sequences: Sequence[TrainingSequence], batch_size: int = 16) -> np.ndarray:
    """NLL per token of the real answer behind the analysed path, `[n]`, in nats."""
    losses = np.zeros(len(sequences))
    order = sorted(range(len(sequences)), key=lambda index: len(sequences[index].ids))
    for start in range(0, len(order), batch_size):
        indices = order[start : start + batch_size]
        batch = collate([{"input_ids": sequences[index].ids, "weights": sequences[index].weights} for index in indices], pad_id=0)
        weights = batch.pop("weights")
        first = int((weights > 0).any(0).nonzero()[0, 0])
        with model.network() as network:
            logits = network(**batch, logits_to_keep=weights.shape[1] - first + 1, use_cache=False).logits[:, :-1]
        for row, index in enumerate(indices):
            nll = summed_nll(logits[row : row + 1], batch["input_ids"][row : row + 1, first:], weights[row : row + 1, first:])
            losses[index] = nll.item() / weights[row].sum().item()
    return losses


def estimate(clusters: Sequence[str], columns: pd.DataFrame, seed: int) -> Any:
    return Bootstrap(clusters, samples=2000, seed=seed).estimate(columns)


def open_work(options: argparse.Namespace) -> Work:
    """Data, model and the three groups of examples."""
    if options.run:
        config, tables = load_config(options.run / "config.yaml", options.set), Tables.load(options.run / "prepare")
    else:
        config = load_config(options.config, [*([f"prepare.data={options.data}"] if options.data else []), *options.set])
        tables, _ = build_tables(config.prepare, seed=derive_seed(config.seed, "prepare"))
    held_out = select_pairs(tables, "held-out", options.tuning + options.held_out, seed=options.seed)
    model = open_model(config.model)
    if not isinstance(model, LocalModel):
        raise SystemExit(f"model.kind is '{config.model.kind}', expected local: only a local model can be fine-tuned")
    return Work(
        config,
        tables,
        Desk(METHOD, ReviewStore(tables), config.prompts, lambda: model, options.seed),
        model,
        select_pairs(tables, "align", config.align.num_pairs, seed=options.seed),
        held_out[: options.tuning],
        held_out[options.tuning :],
        options.work or ROOT / ".scratch" / "alignment" / config.prepare.name,
        options.seed,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, nargs="?", help="a run folder whose prepare stage is finished")
    parser.add_argument("--config", type=Path, default=ROOT / "experiments" / "harbour.yaml")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--set", action="append", default=[], metavar="section.key=value")
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=PARTS)
    parser.add_argument("--tune", action="append", default=[], metavar="'epochs=2 learning_rate=0.001'", help="settings to compare")
    parser.add_argument("--selection-pairs", type=int, default=48)
    parser.add_argument("--tuning", type=int, default=48, help="held-out examples for the evaluation loss")
    parser.add_argument("--held-out", type=int, default=96, help="further held-out examples for the reported numbers")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    work = open_work(options)
    sizes = {name: getattr(options, name) for name in ("selection_pairs", "tuning", "held_out", "seed")}
    require_same(work.folder, {"config": work.config.model_dump(mode="json"), "model": work.model.name, **sizes})
    results: dict[str, Any] = read_json(options.out) if options.out.exists() else {}
    measure: dict[str, Callable[[], Any]] = {
        "selection": lambda: select(work, options.selection_pairs),
        "alignment": lambda: compare_models(work),
        "boilerplate": lambda: without_boilerplate(work),
        "plan": lambda: follow_plan(work),
        "rounds": lambda: compare_rounds(work),
    }
    for part in PARTS:
        if part in options.parts:
            started = time.process_time()
            measured = measure[part]()
            results[part] = {"results": measured, **provenance(work), "cpu_seconds": round(time.process_time() - started, 1)}
            write_json(options.out, results)
    if options.tune:
        results["tuning"] = {"results": tune(work, options.tune), **provenance(work)}
        write_json(options.out, results)


def provenance(work: Work) -> dict[str, Any]:
    """What it takes to repeat a part."""
    return {
        **made_by(work.seed),
        "dataset": work.config.prepare.name,
        "model": work.model.name,
        "pairs": len(work.pairs),
        "held_out": {"tuning": len(work.tuning), "reported": len(work.reported)},
        "align": work.config.align.model_dump(mode="json"),
        "threads": torch.get_num_threads(),
        "dtype": str(work.model.model.dtype),
    }


if __name__ == "__main__":
    main()
