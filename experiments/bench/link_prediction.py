"""Link prediction on eight review sets: every encoder and baseline, one protocol, one run.

    python experiments/bench/link_prediction.py --data ../shared/data

Every user's last item (by time, by row where there is no time) is withheld; users are capped at their last 50 training edges for every model. All
choices are made on *validation* edges, the last training edge of every user; no test edge is looked at before the table is written, which then names
the best baseline by test edges and by validation edges. Each (set, model, seed) runs in a process of its own and is kept in the cache folder,
so that a killed run resumes.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import platform
import resource
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch
from peers import ImplicitModel, PygLightGCN
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer

from experiments.publish import made_by
from grasper.files import atomic_path, write_json
from grasper.metrics.ranking import coverage, ranks_of, recall, reciprocal_gain, reciprocal_rank
from grasper.predict.baselines import Ease, ItemKNN, ItemPredictor, Popularity, Similarity
from grasper.predict.features import TfidfSpace, metadata_vectors
from grasper.predict.graph import SECONDS_PER_DAY, Interactions, Vocabulary
from grasper.predict.hybrid import Hybrid
from grasper.predict.learned import EncoderPredictor
from grasper.predict.topk import blocks, hide
from grasper.predict.validation import validate, validation_ndcg
from grasper.runs import commit
from grasper.topk import stable_top_k

DATASETS = {
    "amazon14_musical_instruments": "reviews",
    "amazon_consumer": "reviews",
    "hotel_7282": "reviews",
    "gap": "train",
    "yelp_10k": "reviews",
    "beeradvocate_part": "reviews",
    "amazon14_digital_music_part": "reviews",
    "amazon18_all_beauty": "reviews",
}
OUT = Path(__file__).parents[1] / "results" / "link_prediction.json"
DEFAULT = "hybrid"
SEEDS = (0, 1, 2)
CAP = 50
MIN_GROUP = 50
UNSEEN_FOLDS = 5
METRICS = ("recall@10", "recall@20", "ndcg@10", "mrr@10", "coverage@10")
RESAMPLES = 2000


@dataclass(frozen=True)
class Dataset:
    """One set, split: `all_edges` with every user's last edge marked in `is_test`."""

    name: str
    all_edges: Interactions
    is_test: np.ndarray
    texts: list[str]
    """One per row of the source, `rows_of_edge` maps edges to it."""
    rows_of_edge: sp.csr_matrix
    metadata: dict[str, sp.csr_matrix]


def load_dataset(data: Path, name: str) -> Dataset:
    reviews = pd.read_parquet(data / name / f"{DATASETS[name]}.parquet")
    users, items = Vocabulary(reviews["user_id"]), Vocabulary(reviews["item_id"])
    days = reviews["timestamp"].to_numpy(dtype=np.float64, na_value=np.nan) / SECONDS_PER_DAY
    rows = sp.identity(len(reviews), dtype=np.float32, format="csr")
    graph = Interactions.build(users.index(reviews["user_id"]), items.index(reviews["item_id"]), len(users), len(items), days, rows)
    is_test = (graph.edges_after == 0) & (graph.user_degree[graph.user_index] >= 2)
    texts = (reviews["title"].fillna("") + "\n" + reviews["text"].fillna("")).tolist()
    metadata = {}
    if (data / name / "items.parquet").exists():
        table = pd.read_parquet(data / name / "items.parquet").drop_duplicates("item_id").set_index("item_id").reindex(items.ids)
        metadata = metadata_vectors(table)
    return Dataset(name, replace(graph, text=None), is_test, texts, graph.text, metadata)


def with_words(dataset: Dataset, kind: str) -> Interactions:
    """All edges with their words: `svd`, `tfidf` or `bm25`, always fitted on training reviews only."""
    train_rows = dataset.rows_of_edge[~dataset.is_test].indices
    train_texts = [dataset.texts[row] for row in train_rows]
    if kind == "svd":
        vectors = TfidfSpace.fit(train_texts, 128, 0).encode(dataset.texts)
    elif kind == "tfidf":
        vectors = TfidfVectorizer(sublinear_tf=True, min_df=2, max_df=0.25, dtype=np.float32).fit(train_texts).transform(dataset.texts)
    else:
        vectors = bm25_vectors(train_texts, dataset.texts)
    return replace(dataset.all_edges, text=dataset.rows_of_edge @ vectors)


def bm25_vectors(train_texts: list[str], texts: list[str], k1: float = 1.5, b: float = 0.75) -> sp.csr_matrix:
    """Words weighted as in BM25 (idf · saturated frequency), `[num_texts, num_words]`."""
    counter = CountVectorizer(min_df=2, max_df=0.25, dtype=np.float32).fit(train_texts)
    frequency = counter.transform(train_texts)
    idf = np.log(1 + (frequency.shape[0] - frequency.getnnz(0) + 0.5) / (frequency.getnnz(0) + 0.5)).astype(np.float32)
    counts = counter.transform(texts).tocsr()
    length = np.asarray(counts.sum(1)).ravel()
    norm = k1 * (1 - b + b * length / max(float(frequency.sum(1).mean()), 1e-9))
    counts.data = counts.data * (k1 + 1) / (counts.data + np.repeat(norm, np.diff(counts.indptr)))
    return (counts @ sp.diags(idf)).tocsr()


@dataclass(frozen=True)
class Entry:
    """A model of the table: its words, its grid (settings → predictor), and whether seeds change it."""

    words: str | None
    grid: dict[str, Callable[[Dataset], ItemPredictor]]
    is_random: bool = False
    binds: bool = True
    """Whether it can take in new edges without being fitted again, so that items unseen in training can be scored."""


def grid(make: Callable[..., ItemPredictor], settings: Iterable[dict[str, Any]]) -> dict[str, Callable[[Dataset], ItemPredictor]]:
    """One maker per setting; none of them looks at the data set."""
    return {json.dumps(setting): partial(_without_data, make, setting) for setting in settings}


def _without_data(make: Callable[..., ItemPredictor], setting: dict[str, Any], dataset: Dataset) -> ItemPredictor:
    return make(**setting)


def _similarity(weight: float, dataset: Dataset) -> ItemPredictor:
    return Similarity(dataset.metadata, weight)


MODELS: dict[str, Entry] = {
    "hybrid": Entry("svd", {"{}": lambda dataset: Hybrid(dataset.metadata)}, is_random=True),
    "lightgcn": Entry(None, {"{}": lambda dataset: EncoderPredictor("lightgcn")}, is_random=True),
    "sage": Entry("svd", {"{}": lambda dataset: EncoderPredictor("sage")}, is_random=True),
    "popularity": Entry(None, grid(Popularity, [{}])),
    "itemknn": Entry(
        None, grid(ItemKNN, [{"shrinkage": s, "num_neighbours": n} for s in (0.0, 10.0, 50.0, 200.0, 1000.0) for n in (20, 100, 10_000)])
    ),
    "ease": Entry(None, grid(Ease, [{"regularization": value} for value in (1.0, 5.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0)])),
    "tfidf": Entry("tfidf", {str(weight): partial(_similarity, weight) for weight in (0.0, 0.2, 0.5)}),
    "bm25": Entry("bm25", {str(weight): partial(_similarity, weight) for weight in (0.0, 0.2, 0.5)}),
    "pyg-lightgcn": Entry(None, grid(PygLightGCN, [{"learning_rate": rate} for rate in (0.001, 0.01)]), is_random=True, binds=False),
    "implicit-als": Entry(
        None,
        grid(ImplicitModel, [{"kind": "als", "regularization": r, "alpha": a} for r in (0.01, 1.0, 10.0, 100.0) for a in (1.0, 10.0)]),
        is_random=True,
        binds=False,
    ),
    "implicit-bpr": Entry(
        None,
        grid(ImplicitModel, [{"kind": "bpr", "learning_rate": rate, "iterations": n} for rate in (0.01, 0.05) for n in (50, 200)]),
        is_random=True,
        binds=False,
    ),
}
OWN = ("hybrid", "lightgcn", "sage")


def tune(dataset: Dataset, model: str) -> dict[str, Any]:
    """The setting of a baseline's grid with the best NDCG@10 on validation edges; this package's encoders have one each."""
    entry = MODELS[model]
    if model in OWN:
        return {"setting": next(iter(entry.grid)), "validation": {}}
    graph = train_edges(dataset, entry.words)
    values = {setting: validation_ndcg(validate(make(dataset), graph, seed=0)) for setting, make in entry.grid.items()}
    return {"setting": max(values, key=lambda setting: values[setting]), "validation": values}


def train_edges(dataset: Dataset, words: str | None) -> Interactions:
    graph = (with_words(dataset, words) if words else dataset.all_edges).keep(~dataset.is_test)
    return graph.keep(graph.edges_after < CAP)


def evaluate(dataset: Dataset, model: str, setting: str, seed: int) -> dict[str, Any]:
    """Fit on all training edges, rank every test user's withheld item.

    Seconds are processor time of one thread, so that other work on the machine does not count; they include the words. Memory is what fitting adds.
    """
    entry = MODELS[model]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.process_time()
    everything = with_words(dataset, entry.words) if entry.words else dataset.all_edges
    graph = everything.keep(~dataset.is_test)
    graph = graph.keep(graph.edges_after < CAP)
    predictor = entry.grid[setting](dataset).fit(graph, seed=seed)
    seconds = time.process_time() - started
    peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024

    users, targets = dataset.all_edges.user_index[dataset.is_test], dataset.all_edges.item_index[dataset.is_test]
    is_seen = graph.item_degree[targets] > 0
    ranks, items = rank(predictor, graph, users[is_seen], targets[is_seen])
    result = {
        "seconds": seconds,
        "peak_mib": peak,
        "users": users[is_seen],
        "ranks": ranks,
        "items": items,
        "degree": graph.user_degree[users[is_seen]],
        "num_items": int((graph.item_degree > 0).sum()),
        "report": getattr(predictor, "report", {}),
    }
    if entry.binds:
        result |= rank_unseen(predictor, everything, dataset.is_test, users[~is_seen], targets[~is_seen])
    return result


def rank(predictor: ItemPredictor, graph: Interactions, users: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rank of each target among the user's unseen items that the graph knows, and each user's first ten items."""
    all_ranks, all_items = [], []
    for start, block in blocks(graph.of_users(users)):
        part = slice(start, start + block.num_users)
        scores = predictor.score_users(users[part]) if hasattr(predictor, "score_users") else predictor.score(block)
        hide(scores, block, graph.item_degree > 0)
        all_ranks.append(ranks_of(scores, targets[part]))
        all_items.append(stable_top_k(scores, min(10, scores.shape[1]))[1])
    return np.concatenate(all_ranks), np.concatenate(all_items)


def rank_unseen(predictor: ItemPredictor, everything: Interactions, is_test: np.ndarray, users: np.ndarray, targets: np.ndarray) -> dict[str, Any]:
    """Items that training never saw, known only from other test users' edges: the predictor takes these in without being fitted again.

    The users are dealt into folds; the edges of a fold's users are absent while it is scored. Targets that no other user met are left out.
    """
    fold = np.arange(len(users)) % UNSEEN_FOLDS
    kept, ranks, found = [], [], []
    for held in range(UNSEEN_FOLDS):
        withheld = is_test & np.isin(everything.user_index, users[fold == held])
        graph = everything.keep(~withheld)
        chosen = (fold == held) & (graph.item_degree[targets] > 0)
        if chosen.any():
            predictor.bind(graph)
            fold_ranks, fold_items = rank(predictor, graph, users[chosen], targets[chosen])
            kept.append(users[chosen])
            ranks.append(fold_ranks)
            found.append(fold_items)
    empty = np.zeros(0, np.int64)
    if not kept:
        return {"unseen_users": empty, "unseen_ranks": empty, "unseen_items": np.zeros((0, 10), np.int64)}
    order = np.argsort(np.concatenate(kept))
    return {f"unseen_{name}": np.concatenate(parts)[order] for name, parts in (("users", kept), ("ranks", ranks), ("items", found))}


def run_all(data: Path, cache: Path, names: list[str], models: list[str], seeds: tuple[int, ...]) -> None:
    """Every (set, model, seed) that is not in the cache yet, each in a forked process."""
    context = multiprocessing.get_context("fork")
    for name in names:
        todo = [(m, s) for m in models for s in (seeds if MODELS[m].is_random else seeds[:1]) if not (cache / f"{name}.{m}.{s}.npz").exists()]
        if not todo:
            continue
        dataset = load_dataset(data, name)
        for model, seed in todo:
            steps: list[tuple[Callable[..., None], tuple[Any, ...]]] = [(run_one, (dataset, model, seed, cache))]
            if not (cache / f"{name}.{model}.json").exists():
                steps.insert(0, (tune_one, (dataset, model, cache)))
            for target, arguments in steps:
                process = context.Process(target=target, args=arguments)
                process.start()
                process.join()
                if process.exitcode:
                    raise SystemExit(f"{name} {model} seed {seed} failed with {process.exitcode}")


def tune_one(dataset: Dataset, model: str, cache: Path) -> None:
    write_json(cache / f"{dataset.name}.{model}.json", tune(dataset, model))


def run_one(dataset: Dataset, model: str, seed: int, cache: Path) -> None:
    setting = json.loads((cache / f"{dataset.name}.{model}.json").read_text())["setting"]
    result = evaluate(dataset, model, setting, seed)
    report = json.dumps(result.pop("report"))
    with atomic_path(cache / f"{dataset.name}.{model}.{seed}.npz") as path, path.open("wb") as handle:
        np.savez_compressed(handle, report=report, commit=commit() or "unknown", **result)
    print(f"{dataset.name:30s} {model:14s} seed {seed} {result['seconds']:7.1f} s {result['peak_mib']:7.0f} MiB  {setting}", flush=True)


def summarise(cache: Path, names: list[str], models: list[str], seeds: tuple[int, ...]) -> dict[str, Any]:
    """The results file: means over seeds, intervals over users, paired differences from the default."""
    datasets = {}
    commits: set[str] = set()
    for name in names:
        runs = {
            model: [
                dict(np.load(cache / f"{name}.{model}.{seed}.npz", allow_pickle=False)) for seed in (seeds if MODELS[model].is_random else seeds[:1])
            ]
            for model in models
        }
        commits |= {str(part.get("commit", "unknown")) for parts in runs.values() for part in parts}
        entry: dict[str, Any] = {"num_users": {}}
        difference: dict[str, Any] = {}
        for group in ("all", "one", "unseen"):
            values = {model: group_values(parts, group) for model, parts in runs.items() if group != "unseen" or MODELS[model].binds}
            num_users = len(next(iter(values.values()))["ndcg@10"])
            entry["num_users"][group] = num_users
            if num_users < MIN_GROUP:
                continue
            resamples = np.random.default_rng(0).integers(0, num_users, (RESAMPLES, num_users))
            entry[group] = {model: {metric: interval(value, resamples) for metric, value in table.items()} for model, table in values.items()}
            default = values[DEFAULT]["ndcg@10"]
            difference[group] = {m: interval(default - table["ndcg@10"], resamples) for m, table in values.items() if m not in OWN}
            difference[group] |= {m: interval(default - table["ndcg@10"], resamples) for m, table in values.items() if m in OWN and m != DEFAULT}
        entry["difference"] = difference
        entry["fit_seconds"] = {model: float(np.mean([part["seconds"] for part in parts])) for model, parts in runs.items()}
        entry["peak_mib"] = {model: float(np.mean([part["peak_mib"] for part in parts])) for model, parts in runs.items()}
        tuned = {model: json.loads((cache / f"{name}.{model}.json").read_text()) for model in models}
        entry["tuned"] = {model: found["setting"] for model, found in tuned.items()}
        entry["validation_ndcg@10"] = {model: max(found["validation"].values()) for model, found in tuned.items() if model not in OWN}
        if "report" in runs.get("pyg-lightgcn", [{}])[0]:
            entry["pyg_lightgcn_curve"] = [json.loads(str(part["report"])).get("curve") for part in runs["pyg-lightgcn"]]
        datasets[name] = entry
    provenance = made_by(seeds) | {"commits": sorted(commits)}
    hardware = f"{platform.processor() or platform.machine()}, one thread, torch {torch.__version__}"
    result = {"provenance": provenance, "default": DEFAULT, "seeds": list(seeds), "cap": CAP, "hardware": hardware, "datasets": datasets}
    return result | {"summary": overall(datasets)}


def group_values(parts: list[dict[str, np.ndarray]], group: str) -> dict[str, Any]:
    """Per-user values of each metric, averaged over seeds; coverage is one number per seed, averaged."""
    prefix = "unseen_" if group == "unseen" else ""
    chosen = parts[0]["degree"] == 1 if group == "one" else np.ones(len(parts[0][f"{prefix}users"]), bool)
    ranks = [part[f"{prefix}ranks"][chosen] for part in parts]
    functions = {"recall@10": (recall, 10), "recall@20": (recall, 20), "ndcg@10": (reciprocal_gain, 10), "mrr@10": (reciprocal_rank, 10)}
    values: dict[str, Any] = {name: np.mean([f(rank, k) for rank in ranks], axis=0) for name, (f, k) in functions.items()}
    values["coverage@10"] = float(np.mean([coverage(part[f"{prefix}items"][chosen], int(part["num_items"])) for part in parts]))
    return values


def interval(values: np.ndarray | float, resamples: np.ndarray) -> dict[str, float]:
    """Mean with its 95 % bootstrap interval over users; a number that is no mean over users has no width."""
    if isinstance(values, float):
        return {"value": values, "low": values, "high": values}
    means = np.concatenate([values[part].mean(1) for part in np.array_split(resamples, 20)])
    low, high = np.quantile(means, (0.025, 0.975))
    return {"value": float(values.mean()), "low": float(low), "high": float(high)}


def overall(datasets: dict[str, Any]) -> dict[str, Any]:
    """How the default stands against the best baseline of each set, and whether any baseline is significantly ahead.

    The best is chosen twice: by the test edges themselves, a knowledge that nobody has beforehand, and by the validation edges, like all else.
    """
    by_test: dict[str, dict[str, dict[str, Any]]] = {}
    by_validation: dict[str, dict[str, dict[str, Any]]] = {}
    behind: list[Any] = []
    for name, entry in datasets.items():
        for group, table in entry["difference"].items():
            baselines = {model: entry[group][model]["ndcg@10"]["value"] for model in table if model not in OWN}
            validation = {model: entry["validation_ndcg@10"][model] for model in baselines}
            by_test.setdefault(group, {})[name] = gain_over(baselines, max(baselines, key=baselines.__getitem__), entry[group])
            by_validation.setdefault(group, {})[name] = gain_over(baselines, max(validation, key=validation.__getitem__), entry[group])
            behind += [f"{name} {group} {model}" for model, value in table.items() if model not in OWN and value["high"] < 0]
    return {
        "gain_over_best_baseline": by_test,
        "mean_gain": mean_gain(by_test),
        "gain_over_validated_baseline": by_validation,
        "mean_gain_over_validated_baseline": mean_gain(by_validation),
        "significantly_behind": behind,
    }


def gain_over(baselines: dict[str, float], chosen: str, group: dict[str, Any]) -> dict[str, Any]:
    """The default's NDCG@10 beside that of the chosen baseline, and by what share it is higher."""
    default = group[DEFAULT]["ndcg@10"]["value"]
    return {"best_baseline": chosen, "baseline": baselines[chosen], "default": default, "gain": default / max(baselines[chosen], 1e-9) - 1}


def mean_gain(gains: dict[str, dict[str, dict[str, Any]]]) -> dict[str, float]:
    """The mean over the sets of each group."""
    return {group: float(np.mean([value["gain"] for value in table.values()])) for group, table in gains.items()}


def markdown(result: dict[str, Any]) -> str:
    """The tables of docs/predict.md."""
    lines = []
    for group, title in (("all", "All users"), ("one", "Users with one training interaction"), ("unseen", "Items unseen in training")):
        sets = [name for name, entry in result["datasets"].items() if group in entry]
        if not sets:
            continue
        lines += [f"### {title}: NDCG@10", "", "| set | users | " + " | ".join(MODELS) + " |", "|---|--:|" + "--:|" * len(MODELS)]
        for name in sets:
            entry = result["datasets"][name]
            best = max(value["ndcg@10"]["value"] for value in entry[group].values())
            cells = [cell(entry, group, model, best) for model in MODELS]
            lines.append(f"| {name} | {entry['num_users'][group]} | " + " | ".join(cells) + " |")
        lines.append("")
    lines += [
        "### Against the best baseline of each set",
        "",
        "Best by the test edges themselves, which nobody knows beforehand; last column: the gain over the baseline that validation edges choose.",
        "",
        "| set | group | best baseline | its NDCG@10 | hybrid | gain | paired difference (95 %) | over the one chosen by validation |",
        "|---|---|---|--:|--:|--:|---|---|",
    ]
    summary = result["summary"]
    for group, table in summary["gain_over_best_baseline"].items():
        for name, row in table.items():
            d = result["datasets"][name]["difference"][group][row["best_baseline"]]
            cells = [name, group, row["best_baseline"], f"{row['baseline']:.4f}", f"{row['default']:.4f}", f"{row['gain']:+.1%}"]
            cells.append(f"{d['value']:+.4f} ({d['low']:+.4f} … {d['high']:+.4f})")
            validated = summary["gain_over_validated_baseline"][group][name]
            cells.append(f"{validated['gain']:+.1%} ({validated['best_baseline']})")
            lines.append(f"| {' | '.join(cells)} |")
    gains = [", ".join(f"{group} {value:+.2%}" for group, value in summary[f"mean_gain{over}"].items()) for over in ("", "_over_validated_baseline")]
    lines += ["", f"Mean gain: {gains[0]}; over the baselines chosen by validation: {gains[1]}.", ""]
    lines += ["### Seconds to fit, and MiB that fitting adds", "", "| set | " + " | ".join(MODELS) + " |", "|---|" + "--:|" * len(MODELS)]
    for name, entry in result["datasets"].items():
        lines.append(f"| {name} | " + " | ".join(f"{entry['fit_seconds'][m]:.1f} / {entry['peak_mib'][m]:.0f}" for m in MODELS) + " |")
    return "\n".join(lines) + "\n"


def cell(entry: dict[str, Any], group: str, model: str, best: float) -> str:
    if model not in entry[group]:
        return "–"
    value = entry[group][model]["ndcg@10"]["value"]
    return f"**{value:.4f}**" if value == best else f"{value:.4f}"


def write_docs(table: str, page: Path, name: str) -> None:
    """Replace what stands between the markers of the page by a table made from the results file `name`."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    text = page.read_text(encoding="utf-8")
    head, rest = text.split(begin)
    page.write_text(f"{head}{begin}\n\n{table}\n{end}{rest.split(end)[1]}", encoding="utf-8")


def over_sets(doc: str, name: str, measure: Callable[[Path, str, int], dict[str, Any]], markdown: Callable[[dict[str, Any]], str]) -> None:
    """The command of a benchmark with one measurement per set: writes `experiments/results/NAME` set by set, and its table in docs/predict.md."""
    root = Path(__file__).parents[2]
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=root.parent / "shared" / "data", help="Folder with one folder per set.")
    parser.add_argument("--sets", nargs="*", default=list(DATASETS), choices=list(DATASETS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=root / "experiments" / "results" / name)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    result: dict[str, Any] = {"provenance": made_by(arguments.seed), "datasets": {}}
    for dataset in arguments.sets:
        result["datasets"][dataset] = measure(arguments.data, dataset, arguments.seed)
        write_json(arguments.out, result)
        print(dataset, json.dumps(result["datasets"][dataset]), flush=True)
    write_docs(markdown(result), root / "docs" / "predict.md", name)


def main() -> None:
    root = Path(__file__).parents[2]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=root.parent / "shared" / "data", help="Folder with one folder per set.")
    parser.add_argument("--sets", nargs="*", default=list(DATASETS), choices=list(DATASETS))
    parser.add_argument("--models", nargs="*", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--seeds", nargs="*", type=int, default=list(SEEDS))
    parser.add_argument("--cache", type=Path, default=root / "runs" / "bench-link", help="Finished parts; delete it to start afresh.")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--only-fit", action="store_true", help="Fill the cache without writing the results.")
    arguments = parser.parse_args()
    is_all = set(arguments.models) == set(MODELS) and set(arguments.sets) == set(DATASETS)
    if not (is_all or arguments.only_fit) and arguments.out == OUT:
        parser.error(f"{OUT.name} holds all sets and models; give another --out for some of them")
    torch.set_num_threads(1)
    arguments.cache.mkdir(parents=True, exist_ok=True)
    run_all(arguments.data, arguments.cache, arguments.sets, arguments.models, tuple(arguments.seeds))
    if arguments.only_fit:
        return
    result = summarise(arguments.cache, arguments.sets, arguments.models, tuple(arguments.seeds))
    write_json(arguments.out, result)
    if is_all:
        write_docs(markdown(result), root / "docs" / "predict.md", "link_prediction.json")
    print(json.dumps(result["summary"], indent=2))


if __name__ == "__main__":
    main()
