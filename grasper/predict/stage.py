"""The stage `predict`: fit the chosen predictor on the training edges, write candidates for every example, and open a fitted one again."""

from __future__ import annotations

import gc
import hashlib
import json
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors import numpy as tensors

from grasper.config import PredictConfig
from grasper.errors import MissingFileError, RunMismatchError
from grasper.files import atomic_path, read_json, write_json
from grasper.memory import give_back
from grasper.metrics.ranking import ranks_of, recall, reciprocal_gain, reciprocal_rank
from grasper.predict.baselines import ItemPredictor, Popularity
from grasper.predict.calibrate import expected_calibration_error, fit_temperature, probabilities, reliability
from grasper.predict.catalogue import Catalogue
from grasper.predict.doors import ENCODERS
from grasper.predict.features import TfidfSpace
from grasper.predict.graph import Interactions
from grasper.predict.hybrid import Hybrid
from grasper.predict.memory import require_memory
from grasper.predict.predictor import Era, Predictor, asked, candidate_table, era_of, era_starts
from grasper.predict.validation import Validation, validate
from grasper.records import Example, Tables

MODEL_FILE, SETTINGS_FILE = "model.safetensors", "model.json"
MANY_REVIEWS = 50_000
"""From here on memory is worth the tenths of a second that looking for it takes."""


def fit(config: PredictConfig, tables: Tables, out_dir: Path, *, seed: int) -> dict[str, Any]:
    """Fit on the training split; write model.safetensors, model.json, metrics.json and candidates.parquet; return counts.

    Where examples have cut-offs, it is fitted once more for each of `config.eras` stretches of time, in folders `era-1` and so on.

    Raises:
        UnknownNameError: No encoder has this name.
        MemoryLimitError: The fit would need more memory than there is.
    """
    require_memory(config, tables)
    examples = asked(tables.examples)
    starts = [*era_starts(tables.examples["cutoff"], config.eras), np.inf]
    by_era: dict[float | None, list[int]] = defaultdict(list)
    for place, until in enumerate(era_of(examples, starts)):
        by_era[until].append(place)
    answers = []
    reports = []
    for number, until in enumerate(starts, 1):
        folder = out_dir if np.isinf(until) else _era_folder(out_dir, number)
        era, report = _fit_era(config, tables, until, folder, out_dir, starts, seed)
        reports.append(report)
        for places in _by_split(examples, by_era[until]):
            answers.append((places, *era.predict([examples[place] for place in places], config.top_k)))
            era.release()  # an evaluation split's graph is asked about once
        del era  # two are never in memory
        if len(tables.reviews) >= MANY_REVIEWS:
            gc.collect()  # what a training left refers to itself
            give_back()
    *earlier, today = reports
    write_json(out_dir / "metrics.json", {"encoder": config.encoder} | today | ({"eras": earlier} if earlier else {}))
    candidates = candidate_table(examples, answers)
    with atomic_path(out_dir / "candidates.parquet") as temporary:
        candidates.to_parquet(temporary, index=False, compression="zstd")
    return {
        "users": int(tables.reviews["user_id"].nunique()),
        "items": int(tables.reviews["item_id"].nunique()),
        "training_edges": today["training_edges"],
        "validation_edges": today["validation"]["num_edges"],
        "eras": len(earlier),
        "examples": len(examples),
        "candidates": len(candidates),
    } | ({"weights": "prior"} if today.get("weights") == "prior" else {})


def _fit_era(
    config: PredictConfig, tables: Tables, until: float, folder: Path, vectors_dir: Path, starts: Sequence[float], seed: int
) -> tuple[Era, dict[str, Any]]:
    """One era, fitted and written, and what is reported of it.

    Args:
        vectors_dir: Where a sentence model's vectors are kept; they are the same for all eras.
    """
    started = time.perf_counter()
    catalogue = Catalogue(tables, until=None if np.isinf(until) else until)
    space = _encode_text(catalogue, config, vectors_dir, seed)
    model = ENCODERS.get(config.encoder)(config, catalogue)
    graph = catalogue.graph(("train",), with_target_words=False)  # nothing is learned from what an example asks for
    popularity_temperature = _temperature_of_popularity(graph)
    model, validation = fit_validated(model, graph, seed=seed)
    temperature = fit_temperature(validation.scores, validation.targets)
    report = {
        "fit_seconds": round(time.perf_counter() - started, 3),
        "training_edges": graph.num_edges,
        "temperature": temperature,
        "popularity_temperature": popularity_temperature,
        "validation": describe(validation, temperature),
    } | getattr(model, "report", {})
    settings = {"temperature": temperature, "popularity_temperature": popularity_temperature}
    _save(folder, config, model, space, settings | {"eras": [start for start in starts if np.isfinite(start)]})
    return Era(catalogue, model, **settings), report if np.isinf(until) else {"until": int(until)} | report


def _temperature_of_popularity(graph: Interactions) -> float:
    """Before the model is fitted, and in a function of its own, so that both scores of the catalogue are never held together."""
    validation = validate(Popularity(), graph)
    return fit_temperature(validation.scores, validation.targets)


def _by_split(examples: Sequence[Example], places: Sequence[int]) -> list[list[int]]:
    groups: dict[str, list[int]] = defaultdict(list)
    for place in places:
        groups[examples[place].split].append(place)
    return list(groups.values())


def _era_folder(out_dir: Path, number: int) -> Path:
    return out_dir / f"era-{number}"


def load(predict_dir: Path, tables: Tables) -> Predictor:
    """The predictor that `fit` wrote, answering for these tables; earlier eras are opened when they are asked.

    Raises:
        MissingFileError: The folder holds no fitted predictor.
        RunMismatchError: Its files are damaged, or another version wrote them.
    """
    today = _open_era(predict_dir, predict_dir, tables, np.inf)
    starts = _settings(predict_dir).get("eras", [])
    earlier = {
        float(start): partial(_open_era, _era_folder(predict_dir, number), predict_dir, tables, start) for number, start in enumerate(starts, 1)
    }
    return Predictor(today, earlier)


def _settings(folder: Path) -> dict[str, Any]:
    settings = read_json(folder / SETTINGS_FILE)
    if not isinstance(settings, dict) or not {"config", "temperature", "popularity_temperature", "terms", "sha256"} <= settings.keys():
        raise RunMismatchError(f"{folder / SETTINGS_FILE} lacks what this version writes there; run `grasper predict` again with --overwrite")
    return settings


def _open_era(folder: Path, vectors_dir: Path, tables: Tables, until: float) -> Era:
    settings, path = _settings(folder), folder / MODEL_FILE
    if not path.exists():
        raise MissingFileError(f"{path} does not exist; run `grasper predict` first")
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != settings["sha256"]:
        raise RunMismatchError(f"{path} is damaged: it is not the file that was written; run `grasper predict` again with --overwrite")
    catalogue = Catalogue(tables, until=None if np.isinf(until) else until)
    try:
        state = tensors.load(content)
        config = PredictConfig.model_validate(settings["config"])
        if config.text_encoder == "tfidf":
            parts = (state.pop(f"text.{name}") for name in ("idf", "components", "centre"))
            catalogue.read_text(TfidfSpace(tuple(settings["terms"]), *parts))
        else:
            catalogue.embed_text(config.text_encoder, vectors_dir)
        model = ENCODERS.get(config.encoder)(config, catalogue).restore(state)
    except (KeyError, SafetensorError, ValidationError) as error:
        reason = str(error).splitlines()[0]
        raise RunMismatchError(f"{path} lacks or holds {reason}, so another version wrote it; run `grasper predict` again with --overwrite") from None
    return Era(catalogue, model, settings["temperature"], settings["popularity_temperature"])


def fit_validated(model: ItemPredictor, graph: Interactions, *, seed: int) -> tuple[ItemPredictor, Validation]:
    """The predictor that learned the whole graph, and honest scores on withheld edges: its own out-of-fold ones, or those of a fit without them."""
    if isinstance(model, Hybrid):
        model.learn(graph, seed=seed)  # the graphs that it answers over are taken in later, one at a time
        assert model.validation is not None
        validation, model.validation = model.validation, None  # scores of whole catalogues, which nobody asks for again
        return model, validation
    validation = validate(model, graph, seed=seed)
    return model.fit(graph, seed=seed), validation


def describe(validation: Validation, temperature: float) -> dict[str, Any]:
    """Ranking quality and calibration on the withheld training edges."""
    if not len(validation.targets):
        return {"num_edges": 0}
    ranks = ranks_of(validation.scores, validation.targets)
    hits = np.zeros(validation.scores.shape, bool)
    hits[np.arange(len(ranks)), validation.targets] = True
    curve = reliability(probabilities(validation.scores, temperature), hits[np.isfinite(validation.scores)])
    return {
        "num_edges": len(ranks),
        "recall@10": float(recall(ranks, 10).mean()),
        "recall@20": float(recall(ranks, 20).mean()),
        "ndcg@10": float(reciprocal_gain(ranks, 10).mean()),
        "mrr@10": float(reciprocal_rank(ranks, 10).mean()),
        "reliability": curve,
        "calibration_error": expected_calibration_error(curve),
    }


def _encode_text(catalogue: Catalogue, config: PredictConfig, folder: Path, seed: int) -> TfidfSpace | None:
    if config.text_encoder == "tfidf":
        return catalogue.fit_text(config.text_dim, seed)
    catalogue.embed_text(config.text_encoder, folder)
    return None


def _save(folder: Path, config: PredictConfig, model: ItemPredictor, space: TfidfSpace | None, settings: Mapping[str, Any]) -> None:
    state: Mapping[str, np.ndarray] = model.state()
    if space is not None:
        state = {**state, "text.idf": space.idf, "text.components": space.components, "text.centre": space.centre}
    with atomic_path(folder / MODEL_FILE) as temporary:
        tensors.save_file({name: np.ascontiguousarray(value) for name, value in state.items()}, temporary)
        digest = hashlib.sha256(temporary.read_bytes()).hexdigest()
    whole = {"config": json.loads(config.model_dump_json()), **settings, "sha256": digest, "terms": list(space.terms) if space else []}
    write_json(folder / SETTINGS_FILE, whole)
