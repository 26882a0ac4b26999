"""The stage `predict`: fit the chosen predictor on the training edges, write candidates for every example, and open a fitted one again."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from grasper.config import PredictConfig
from grasper.errors import MissingFileError, RunMismatchError
from grasper.metrics.ranking import ranks_of, recall, reciprocal_gain, reciprocal_rank
from grasper.predict.baselines import Ease, ItemKNN, ItemPredictor, Popularity, Similarity
from grasper.predict.calibrate import expected_calibration_error, fit_temperature, log_softmax, reliability
from grasper.predict.catalogue import Catalogue
from grasper.predict.features import TfidfSpace
from grasper.predict.graph import Interactions
from grasper.predict.hybrid import Hybrid
from grasper.predict.learned import EncoderPredictor
from grasper.predict.predictor import Predictor
from grasper.predict.train import TrainSettings
from grasper.predict.validation import Validation, validate
from grasper.records import Tables
from grasper.runs import atomic_path, read_json, write_json

MODEL_FILE, SETTINGS_FILE = "model.safetensors", "model.json"


def fit(config: PredictConfig, tables: Tables, out_dir: Path, *, seed: int) -> dict[str, Any]:
    """Fit on the training split; write model.safetensors, model.json, metrics.json and candidates.parquet; return counts."""
    started = time.perf_counter()
    catalogue = Catalogue(tables)
    space = _encode_text(catalogue, config, out_dir, seed)
    model = make_predictor(config, catalogue)
    graph = catalogue.graph(("train",), with_target_words=False)  # nothing is learned from what an example asks for
    model, validation = fit_validated(model, graph, seed=seed)
    temperature = fit_temperature(validation.scores, validation.targets)
    fit_seconds = time.perf_counter() - started

    _save(out_dir, config, model, space, temperature)
    metrics = {"encoder": config.encoder, "fit_seconds": round(fit_seconds, 3), "temperature": temperature}
    write_json(out_dir / "metrics.json", metrics | {"validation": describe(validation, temperature)} | getattr(model, "report", {}))
    candidates = Predictor(catalogue, model, temperature).predict_examples(tables.examples, config.top_k)
    with atomic_path(out_dir / "candidates.parquet") as temporary:
        candidates.to_parquet(temporary, index=False, compression="zstd")
    return {
        "users": len(catalogue.users),
        "items": len(catalogue.items),
        "training_edges": graph.num_edges,
        "validation_edges": len(validation.targets),
        "examples": len(tables.examples),
        "candidates": len(candidates),
    }


def load(predict_dir: Path, tables: Tables) -> Predictor:
    """The predictor that `fit` wrote, answering for these tables.

    Raises:
        MissingFileError: The folder holds no fitted predictor.
        RunMismatchError: Its files are damaged.
    """
    settings = read_json(predict_dir / SETTINGS_FILE)
    path = predict_dir / MODEL_FILE
    if not path.exists():
        raise MissingFileError(f"{path} does not exist; run `grasper predict` first")
    try:
        state = load_file(path)
    except SafetensorError as error:
        raise RunMismatchError(f"{path} is damaged ({error}); delete the folder and run `grasper predict` again") from None
    config = PredictConfig.model_validate(settings["config"])
    catalogue = Catalogue(tables)
    if config.text_encoder == "tfidf":
        parts = (state.pop(f"text.{name}") for name in ("idf", "components", "centre"))
        catalogue.read_text(TfidfSpace(tuple(settings["terms"]), *parts))
    else:
        catalogue.embed_text(config.text_encoder, predict_dir)
    try:
        model = make_predictor(config, catalogue).restore(state)
    except KeyError as error:
        raise RunMismatchError(f"{path} lacks {error}, so another version wrote it; delete the folder and run `grasper predict` again") from None
    return Predictor(catalogue, model, settings["temperature"])


def make_predictor(config: PredictConfig, catalogue: Catalogue) -> ItemPredictor:
    """The predictor that the configuration names, not yet fitted."""
    if config.encoder == "popularity":
        return Popularity()
    if config.encoder == "itemknn":
        return ItemKNN()
    if config.encoder == "ease":
        return Ease()
    if config.encoder == "similarity":
        return Similarity(catalogue.metadata)
    train = TrainSettings(config.learning_rate, config.weight_decay, config.max_epochs, config.patience, config.batch_size)
    if config.encoder in ("lightgcn", "sage"):
        return EncoderPredictor(config.encoder, embedding_dim=config.embedding_dim, num_layers=config.num_layers, train=train)
    return Hybrid(catalogue.metadata, embedding_dim=config.embedding_dim, num_layers=config.num_layers, train=train)


def fit_validated(model: ItemPredictor, graph: Interactions, *, seed: int) -> tuple[ItemPredictor, Validation]:
    """The predictor fitted on the whole graph, and honest scores on withheld edges: its own out-of-fold ones, or those of a fit without them."""
    if isinstance(model, Hybrid):
        model.fit(graph, seed=seed)
        assert model.validation is not None
        return model, model.validation
    validation = validate(model, graph, seed=seed)
    return model.fit(graph, seed=seed), validation


def describe(validation: Validation, temperature: float) -> dict[str, Any]:
    """Ranking quality and calibration on the withheld training edges."""
    if not len(validation.targets):
        return {"num_edges": 0}
    ranks = ranks_of(validation.scores, validation.targets)
    shown = np.isfinite(validation.scores)
    hits = np.zeros(shown.shape, bool)
    hits[np.arange(len(ranks)), validation.targets] = True
    curve = reliability(np.exp(log_softmax(validation.scores / temperature))[shown], hits[shown])
    return {
        "num_edges": len(ranks),
        "recall@10": float(recall(ranks, 10).mean()),
        "recall@20": float(recall(ranks, 20).mean()),
        "ndcg@10": float(reciprocal_gain(ranks, 10).mean()),
        "mrr@10": float(reciprocal_rank(ranks, 10).mean()),
        "reliability": curve,
        "calibration_error": expected_calibration_error(curve),
    }


def _encode_text(catalogue: Catalogue, config: PredictConfig, out_dir: Path, seed: int) -> TfidfSpace | None:
    if config.text_encoder == "tfidf":
        return catalogue.fit_text(config.text_dim, seed)
    catalogue.embed_text(config.text_encoder, out_dir)
    return None


def _save(out_dir: Path, config: PredictConfig, model: ItemPredictor, space: TfidfSpace | None, temperature: float) -> None:
    state: Mapping[str, np.ndarray] = model.state()
    if space is not None:
        state = {**state, "text.idf": space.idf, "text.components": space.components, "text.centre": space.centre}
    with atomic_path(out_dir / MODEL_FILE) as temporary:
        save_file({name: np.ascontiguousarray(value) for name, value in state.items()}, temporary)
    settings = {"config": json.loads(config.model_dump_json()), "temperature": temperature, "terms": list(space.terms) if space else []}
    write_json(out_dir / SETTINGS_FILE, settings)
