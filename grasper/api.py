"""The Python API: predicted items, personalized text with its evidence, and finished runs as objects."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from grasper.config import Config, load_config
from grasper.errors import ConfigError, DataFormatError, MissingFileError, UnknownIdError
from grasper.records import REVIEW_COLUMNS, Example, Output, Profile, Review, SyntheticReview, Tables, Task
from grasper.runs import Run, derive_seed

if TYPE_CHECKING:
    from grasper.methods import Method
    from grasper.models.base import TextModel
    from grasper.predict import Predictor

History = Sequence[Review] | Sequence[Mapping[str, Any]] | pd.DataFrame
REQUEST_ID = "request"


@dataclass(frozen=True)
class PersonalizedText:
    """A written text and everything that it rests on."""

    text: str | None
    rating: float | None
    path: str | None
    """The reasoning path, where the method reasons."""
    own: tuple[Review, ...]
    neighbours: tuple[Review, ...]
    predicted_items: pd.DataFrame
    synthetic: tuple[SyntheticReview, ...]
    """Synthetic reviews that passed the quality gate."""

    def __str__(self) -> str:
        return self.text if self.text is not None else str(self.rating)


class LoadedRun:
    """A finished run folder: its data, its predictor and its texts, each read on first use."""

    def __init__(self, path: Path) -> None:
        self.run = Run(path)
        self.run.require(self.run.folder("prepare"))

    @cached_property
    def config(self) -> Config:
        return load_config(self.run.root / "config.yaml")

    @cached_property
    def tables(self) -> Tables:
        return Tables.load(self.run.folder("prepare"))

    @cached_property
    def predictor(self) -> Predictor:
        from grasper.predict import load

        self.run.require(self.run.folder("predict"))
        return load(self.run.folder("predict"), self.tables)

    @cached_property
    def names(self) -> pd.Series:
        """Item names by item id."""
        return self.tables.items.set_index("item_id")["name"]

    def candidates(self) -> pd.DataFrame:
        """The predicted items of all examples (CANDIDATE_COLUMNS)."""
        self.run.require(self.run.folder("predict"))
        return pd.read_parquet(self.run.folder("predict") / "candidates.parquet")

    def methods(self) -> list[str]:
        """Methods whose texts are complete."""
        folders = sorted(self.run.folder("generate").glob("*/manifest.json"))
        return [folder.parent.name for folder in folders]

    def outputs(self, method: str) -> list[Output]:
        """The texts of one method."""
        from grasper.generate import load_outputs

        folder = self.run.folder("generate", method)
        self.run.require(folder)
        return load_outputs(folder / "outputs.jsonl")

    def synthetic(self, method: str) -> list[SyntheticReview]:
        """The synthetic reviews of one method, rejected ones included; empty for methods that write none."""
        from grasper.synthesize import load_synthetic

        path = self.run.folder("synthesize", method) / "synthetic.jsonl"
        return load_synthetic(path) if path.exists() else []

    def metrics(self) -> dict[str, Any]:
        """`evaluate/metrics.json`."""
        from grasper.runs import read_json

        self.run.require(self.run.folder("evaluate"))
        return dict(read_json(self.run.folder("evaluate") / "metrics.json"))

    def require_user(self, user_id: str) -> None:
        """Raise UnknownIdError for a user without any review in the run."""
        if user_id not in self._users:
            examples = ", ".join(list(self._users)[:3])
            raise UnknownIdError(
                f"user {user_id!r} is not in {self.run.root} ({len(self._users)} users, e.g. {examples}); pass a new user's reviews instead"
            )

    @cached_property
    def _users(self) -> dict[str, None]:
        return dict.fromkeys(self.tables.reviews["user_id"])

    def predict_items(self, user_or_history: str | Sequence[str] | History, k: int = 10) -> pd.DataFrame:
        """See `grasper.predict_items`."""
        if k < 1:
            raise ConfigError(f"k is {k}, expected at least 1")
        if isinstance(user_or_history, str):
            user_or_history = [user_or_history]
        if not isinstance(user_or_history, pd.DataFrame) and all(isinstance(entry, str) for entry in user_or_history):
            users = [str(user) for user in user_or_history]
            for user in users:
                self.require_user(user)
            table = self.predictor.predict_users(users, k)
        else:
            table = self.predictor.predict_history(as_reviews(user_or_history), k)  # type: ignore[arg-type]
        return table.assign(name=table["item_id"].map(self.names))

    def personalize(
        self,
        user_or_history: str | History,
        item_id: str,
        *,
        task: Task = "long",
        title: str | None = None,
        text: str | None = None,
        rating: float | None = None,
        method: str = "grasper",
        seed: int = 0,
    ) -> PersonalizedText:
        """See `grasper.personalize`."""
        from grasper.methods import get_method

        system = get_method(method)
        tables, example = self._request(user_or_history, Review(REQUEST_ID, "", item_id, text or "", title, rating))
        model = self._model(system) if system.uses_model else None
        table = self._predicted_items(user_or_history, example) if system.uses_predictor else pd.DataFrame()
        config = self.config
        with tempfile.TemporaryDirectory(prefix="grasper-") as scratch:
            synthetic: list[SyntheticReview] = []
            if system.predicted != "none" and model is not None:
                from grasper.synthesize import load_synthetic, synthesize

                folder = Path(scratch) / "synthesize"
                table_or_none = table if len(table.columns) else None
                synthesize(
                    config.synthesize,
                    config.prompts,
                    system,
                    tables,
                    [example],
                    table_or_none,
                    model,
                    folder,
                    ranker=config.generate.ranker,
                    seed=derive_seed(seed, "synthesize"),
                )
                synthetic = load_synthetic(folder / "synthetic.jsonl")
            from grasper.generate import generate, load_outputs

            folder = Path(scratch) / "generate"
            generate(
                config.generate,
                config.prompts,
                system,
                tables,
                [example],
                (task,),
                synthetic,
                model,
                folder,
                seed=derive_seed(seed, "generate"),
                needs_reference=False,
            )
            output = load_outputs(folder / "outputs.jsonl")[0]
        shown = [tables.reviews_by_id[review_id] for review_id in output.evidence if review_id in tables.reviews_by_id]
        profile = Profile(
            own=tuple(review for review in shown if review.user_id == example.user_id),
            neighbours=tuple(review for review in shown if review.user_id != example.user_id),
            predicted=tuple(review for review in synthetic if review.rejected is None),
        )
        items = table.drop(columns="example_id").assign(name=table["item_id"].map(self.names)) if len(table.columns) else table
        return PersonalizedText(output.text, output.rating, output.path, profile.own, profile.neighbours, items, profile.predicted)

    def _model(self, method: Method) -> TextModel:
        adapter = self.run.folder("align", method.aligned_as) / "adapter"
        return _open_model(self.config.model.model_dump_json(), adapter if adapter.is_dir() else None)

    def _request(self, user_or_history: str | History, target: Review) -> tuple[Tables, Example]:
        """The run's tables with the requester's reviews, and the request as an example."""
        if isinstance(user_or_history, str):
            self.require_user(user_or_history)
            reviews = self.tables.reviews
            pool = str(reviews.loc[reviews["user_id"] == user_or_history, "split"].iloc[0])
            user_id = user_or_history
        else:
            history = as_reviews(user_or_history)
            user_id, pool = history[0].user_id if history else "new user", "train"
            rows = pd.DataFrame([{name: getattr(review, name) for name in REVIEW_COLUMNS} for review in history], columns=list(REVIEW_COLUMNS))
            reviews = (
                pd.concat([self.tables.reviews, rows.astype(self.tables.reviews.dtypes.to_dict())], ignore_index=True)
                if history
                else self.tables.reviews
            )
        known = target.item_id in set(self.tables.items["item_id"]) or target.item_id in set(reviews["item_id"])
        if not known:
            raise UnknownIdError(
                f"item {target.item_id!r} is not in {self.run.root}; item ids are listed in {self.run.folder('prepare') / 'items.parquet'}"
            )
        split = "test" if pool == "test" else "dev"
        target = replace(target, user_id=user_id, split=pool)
        return Tables(reviews, self.tables.items, self.tables.examples), Example(REQUEST_ID, target, split)  # type: ignore[arg-type]

    def _predicted_items(self, user_or_history: str | History, example: Example) -> pd.DataFrame:
        """Candidates for an ad-hoc request, without the requested item."""
        k = max(self.config.predict.top_k, self.config.synthesize.num_items) + 1
        table = self.predict_items(user_or_history, k).drop(columns="name")
        table = table[table["item_id"] != example.item_id].head(k - 1)
        return table.assign(example_id=REQUEST_ID, rank=range(1, len(table) + 1))

    def draw_neighbourhood(self, user_id: str) -> str:
        """The user's neighbourhood with predicted edges, as SVG."""
        from grasper.predict.draw import draw, neighbourhood

        self.require_user(user_id)
        candidates = self.candidates()
        return draw(neighbourhood(self.tables, user_id, candidates[candidates["user_id"] == user_id]))


@lru_cache(maxsize=1)
def _open_model(config_json: str, adapter: Path | None) -> TextModel:
    from grasper.config import ModelConfig
    from grasper.models import open_model

    return open_model(ModelConfig.model_validate_json(config_json), adapter)


def as_reviews(history: History) -> list[Review]:
    """Reviews from records, mappings or a table; only `item_id` is needed, title and text count where they are given.

    Raises:
        DataFormatError: An entry without `item_id`; the message names its position.
    """
    if isinstance(history, pd.DataFrame):
        history = history.to_dict("records")  # type: ignore[assignment]
    reviews = []
    for position, entry in enumerate(history):
        if isinstance(entry, Review):
            reviews.append(entry)
            continue
        if not isinstance(entry, Mapping) or not entry.get("item_id"):
            raise DataFormatError(f"history entry {position} is {entry!r}, expected a Review or a mapping with at least 'item_id'")
        fields = {name: entry[name] for name in ("user_id", "text", "title", "rating", "timestamp") if name in entry and pd.notna(entry[name])}
        reviews.append(Review(f"history-{position}", fields.pop("user_id", "new user"), str(entry["item_id"]), fields.pop("text", ""), **fields))
    return reviews


def newest_run(runs_dir: Path = Path("runs")) -> Path:
    """The run whose link predictor was finished last.

    Raises:
        MissingFileError: There is none yet.
    """
    manifests = sorted(runs_dir.glob("*/predict/manifest.json"), key=lambda path: path.stat().st_mtime)
    if not manifests:
        raise MissingFileError(f"no finished run in {runs_dir.resolve()}; run `make pipeline` first, or pass run=PATH")
    return manifests[-1].parent.parent


def load_run(path: str | Path | None = None) -> LoadedRun:
    """A run folder as an object; None takes the newest complete run.

    Raises:
        MissingFileError: The folder is not a run whose data are prepared.
    """
    return _cached_run(Path(path) if path is not None else newest_run())


def _cached_run(path: Path) -> LoadedRun:
    manifest = path / "predict" / "manifest.json"
    return _load_run(path.resolve(), manifest.stat().st_mtime_ns if manifest.exists() else None)


@lru_cache(maxsize=4)
def _load_run(path: Path, modified: int | None) -> LoadedRun:
    return LoadedRun(path)


def predict_items(user_or_history: str | Sequence[str] | History, k: int = 10, run: str | Path | None = None) -> pd.DataFrame:
    """The items that a user will most likely interact with next (GraSPer, Sec. 3.1).

    Args:
        user_or_history: A known user id, a list of them, or the reviews of someone never seen (records, mappings or a table).
        k: Items per user; items of the history are never among them.
        run: A run folder; None takes the newest complete run.

    Returns:
        Columns `user_id`, `item_id`, `rank` (from 1), `score` (0–1), `name` (may be missing), best first.

    Raises:
        MissingFileError: There is no complete run; the message says to run `make pipeline`.
        UnknownIdError: A user id without any review in the run.
    """
    return load_run(run).predict_items(user_or_history, k)


def personalize(
    user_or_history: str | History,
    item_id: str,
    *,
    task: Task = "long",
    title: str | None = None,
    text: str | None = None,
    rating: float | None = None,
    method: str = "grasper",
    run: str | Path | None = None,
    seed: int = 0,
) -> PersonalizedText:
    """The text that a user would write about an item, with the evidence it rests on.

    Args:
        user_or_history: A known user id, or the reviews of someone never seen; an empty list is someone without any history.
        item_id: An item of the run.
        task: `long` writes a review (from `title`, or `rating`, if given), `title` a title for `text`, `rating` a rating for `title` and `text`.
        method: The system that writes; its adapter is used if the run has aligned one.
        run: A run folder; None takes the newest complete run.
        seed: Same seed, same text.

    Raises:
        MissingFileError: There is no complete run.
        UnknownIdError: An unknown user or item.
        UnknownMethodError: An unknown method.
    """
    loaded = load_run(run)
    return loaded.personalize(user_or_history, item_id, task=task, title=title, text=text, rating=rating, method=method, seed=seed)
