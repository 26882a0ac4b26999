"""The Python API: predicted items, personalized text with its evidence, and finished runs as objects."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import chain
from math import isfinite
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from grasper.asking import Asker, History, as_reviews
from grasper.config import Config, load_config
from grasper.errors import ConfigError, GrasperError, MissingFileError
from grasper.files import read_json
from grasper.generate.writers import uses_model
from grasper.records import Example, Output, Review, SyntheticReview, Tables, Task
from grasper.retrieve.store import uses_predictor
from grasper.runs import Run, fingerprint, read_manifest
from grasper.settings import expand_home
from grasper.system import Personalized, System
from grasper.workshop import Workshop
from grasper.written import by_example, load_outputs, load_synthetic

if TYPE_CHECKING:
    from grasper.methods import Method
    from grasper.predict import Predictor

__all__ = ["History", "LoadedRun", "PersonalizedText", "as_reviews", "load_run", "newest_run", "personalize", "predict_items"]


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
    """Columns `item_id`, `name`, `rank`, `score`: the items that synthetic reviews were written for."""
    synthetic: tuple[SyntheticReview, ...]
    """Synthetic reviews that passed the quality gate."""
    output: Output
    """The record as a run keeps it."""

    def __str__(self) -> str:
        return self.text if self.text is not None else f"{self.rating:g}"


class LoadedRun:
    """A finished run folder: its data, its predictor and its systems, each opened on first use and kept. Safe to ask from several threads.

    Raises:
        MissingFileError: The folder is not a run whose data are prepared.
    """

    def __init__(self, path: Path) -> None:
        self.run = Run(path)
        self.run.require(self.run.folder("prepare"))
        self.config: Config = load_config(self.run.root / "config.yaml")
        self.workshop = Workshop(self.config, self.run)
        self._answers: dict[str, tuple[str, dict[tuple[Task, str], Output], dict[str, list[SyntheticReview]]]] = {}

    def origin(self, method: Method) -> list[str]:
        """What decides the answers of a method: the run's folder, the finished steps that it rests on, the model that writes, and the settings."""
        from grasper.models import fingerprint_model

        manifests = [read_manifest(self.run.root / step) or {} for step in _steps_behind(method, self.config)]
        settings = {name: getattr(self.config, name).model_dump(mode="json") for name in ("prompts", "synthesize", "generate")}
        model = fingerprint_model(self.config.model) if uses_model(method) else None
        return [
            str(self.run.root.resolve()),
            *(str(manifest.get("fingerprint")) for manifest in manifests),
            fingerprint([self.config.seed, model, settings]),
        ]

    @property
    def tables(self) -> Tables:
        return self.workshop.tables

    @property
    def predictor(self) -> Predictor:
        return self.workshop.predictor

    @cached_property
    def names(self) -> pd.Series:
        """Item names by item id."""
        return self.tables.items.drop_duplicates("item_id").set_index("item_id")["name"]

    @cached_property
    def asker(self) -> Asker:
        """Turns what people ask with into examples of this run."""
        return Asker(self.tables, str(self.run.root), self.config.prepare)

    def candidates(self) -> pd.DataFrame:
        """The predicted items of all examples (CANDIDATE_COLUMNS)."""
        return self.workshop.candidates.copy()

    def methods(self) -> list[str]:
        """Methods whose texts are complete."""
        folders = sorted(self.run.folder("generate").glob("*/manifest.json"))
        return [folder.parent.name for folder in folders]

    def outputs(self, method: str) -> list[Output]:
        """The texts of one method."""
        folder = self.run.folder("generate", method)
        self.run.require_current(folder)
        return load_outputs(folder / "outputs.jsonl")

    def synthetic(self, method: str) -> list[SyntheticReview]:
        """The synthetic reviews of one method, rejected ones included; empty for methods that write none."""
        path = self.run.folder("synthesize", method) / "synthetic.jsonl"
        return load_synthetic(path) if path.exists() else []

    def metrics(self) -> dict[str, Any]:
        """`evaluate/metrics.json`."""
        self.run.require(self.run.folder("evaluate"))
        return dict(read_json(self.run.folder("evaluate") / "metrics.json"))

    def predict_items(self, users: Any, k: int = 10, *, near: Hashable | None = None) -> pd.DataFrame:
        """See `grasper.predict_items`."""
        if isinstance(k, bool) or not isinstance(k, Real) or not isfinite(k) or k != int(k) or k < 1:
            raise ConfigError(f"k is {k!r:.60}, expected a whole number, at least 1")
        examples = [self.asker.wondering(who, near) for who in self.asker.people(users)]
        table = self.predictor.predict(examples, int(k))
        return table.drop(columns="example_id").assign(name=table["item_id"].map(self.names)).reset_index(drop=True)

    def personalize(
        self,
        user_or_history: Any,
        item_id: Hashable,
        *,
        task: Task = "long",
        title: str | None = None,
        text: str | None = None,
        rating: float | None = None,
        method: str = "grasper",
        seed: int | None = None,
    ) -> PersonalizedText:
        """See `grasper.personalize`."""
        from grasper.methods import get_method

        system = self.workshop.system(get_method(method), seed=seed)
        example = self.asker.request(user_or_history, item_id, task, title=title, text=text, rating=rating)
        answer = None if seed is not None or example.is_request else self._written(system, task, example)
        if answer is None:
            answer = system.personalize(task, [example])[0]
        output = answer.output
        shown = self._shown(output, example.history or ())
        rows = [(one.item_id, self.names.get(one.item_id), one.rank, one.score) for one in answer.candidates]
        return PersonalizedText(
            text=output.text,
            rating=output.rating,
            path=output.path,
            own=tuple(review for review in shown if review.user_id == example.user_id),
            neighbours=tuple(review for review in shown if review.user_id != example.user_id),
            predicted_items=pd.DataFrame(rows, columns=["item_id", "name", "rank", "score"]),
            synthetic=tuple(review for review in answer.synthetic if review.rejected is None),
            output=output,
        )

    def _written(self, system: System, task: Task, example: Example) -> Personalized | None:
        """What the run itself answered to one of its targets; None where it has not."""
        method = system.desk.method.name
        try:
            manifest = self.run.require_current(self.run.folder("generate", method))
        except MissingFileError:
            return None
        if self._answers.get(method, ("",))[0] != manifest["finished"]:
            outputs = {(output.task, output.example_id): output for output in self.outputs(method)}
            self._answers[method] = manifest["finished"], outputs, by_example(self.synthetic(method))
        _, outputs, synthetic = self._answers[method]
        output = outputs.get((task, example.example_id))
        if output is None:
            return None
        return Personalized(output, system.items_of(example), tuple(synthetic.get(example.example_id, ())))

    def _shown(self, output: Output, history: Iterable[Review]) -> list[Review]:
        """The real reviews that stood in the prompt."""
        brought = {review.review_id: review for review in history}
        return [brought[name] if name in brought else self.tables.reviews_by_id[name] for name in output.evidence]

    def draw_neighbourhood(self, user_id: Hashable) -> str:
        """The user's neighbourhood with predicted edges, as SVG."""
        from grasper.predict.draw import draw, neighbourhood

        known = self.asker.known_user(user_id)
        candidates = self.candidates()
        return draw(neighbourhood(self.tables, known, candidates[candidates["user_id"] == known]))


def newest_run(runs_dir: Path = Path("runs"), *, with_stage: str | None = None, method: Method | None = None) -> Path:
    """The run that was finished last: by its evaluation, or by its link predictor where it is for use (`prepare.split: none`). Where no run is
    finished, the newest link predictor counts.

    Args:
        with_stage: A stage that the answer rests on: a run that has finished it is taken before any that has not.
        method: The method that is to answer: a run that has fitted and aligned what it rests on is taken before any that has not.

    Raises:
        MissingFileError: There is none yet.
    """

    def can_answer(manifest: Path) -> bool:
        root = manifest.parent.parent
        return (with_stage is None or (root / with_stage / "manifest.json").exists()) and (method is None or _can_write(root, method))

    def newest_first(manifests: Iterable[Path]) -> list[Path]:
        found = [(when, path) for path in manifests if (when := _modified(path)) is not None]
        return [path for _, path in sorted(found, key=lambda pair: -pair[0])]

    predicted = newest_first(runs_dir.glob("*/predict/manifest.json"))
    for_use = (path for path in predicted if (config := _config_of(path.parent.parent)) and config.prepare.split == "none")
    finished = newest_first([*runs_dir.glob("*/evaluate/manifest.json"), *for_use])
    for manifest in chain(filter(can_answer, finished), filter(can_answer, predicted), finished, predicted):
        return manifest.parent.parent
    raise MissingFileError(f"no finished run in {runs_dir.resolve()}; run `make pipeline` first, or pass run=PATH")


def _steps_behind(method: Method, config: Config) -> list[str]:
    """The folders of a run that a method's answers rest on."""
    aligned = [f"align/{method.aligned_as}"] if config.aligns(method) else []
    return ["prepare", *(["predict"] if uses_predictor(method) else []), *aligned]


def _can_write(root: Path, method: Method) -> bool:
    """Whether a run has finished all that a method's answers rest on."""
    config = _config_of(root)
    return config is not None and all((root / step / "manifest.json").exists() for step in _steps_behind(method, config))


def _config_of(root: Path) -> Config | None:
    """The configuration of a run, read again where its file has changed; None where it cannot be read."""
    path = root.resolve() / "config.yaml"
    try:
        return _read_config(path, path.stat().st_mtime_ns)
    except (GrasperError, OSError):
        return None


@lru_cache(maxsize=256)
def _read_config(path: Path, stamp: int) -> Config:
    return load_config(path)


def load_run(path: str | Path | None = None) -> LoadedRun:
    """A run folder as an object; None takes the newest finished run. The same folder gives the same object until its data change.

    Raises:
        MissingFileError: The folder is not a run whose data are prepared.
        ConfigError: There is no such folder, but a run of that name; or it is no path.
    """
    if not isinstance(path, str | Path | None):
        raise ConfigError(f"run is {path!r:.60}, expected the path of a run's folder")
    root = newest_run() if path is None else expand_home(Path(path))
    if not root.exists() and not root.is_absolute() and (named := "runs" / root).is_dir():
        raise ConfigError(f"there is no folder {root} here, but {named}; pass run={str(named)!r}")
    decisive = ("prepare/manifest.json", "predict/manifest.json", "config.yaml")
    return _load_run(root.resolve(), tuple(_modified(root / name) for name in decisive))


def _modified(path: Path) -> int | None:
    """When a file was changed last, in nanoseconds; None where there is none, or none any more: a stage that is made anew takes its manifest away."""
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return None


@lru_cache(maxsize=4)
def _load_run(path: Path, stamps: tuple[int | None, ...]) -> LoadedRun:
    return LoadedRun(path)


def predict_items(users: Any, k: int = 10, run: str | Path | None = None, *, near: Hashable | None = None) -> pd.DataFrame:
    """The items that a user will most likely interact with next (GraSPer, Sec. 3.1).

    Args:
        users: A known user's id, several of them, or the reviews of someone never seen (records, mappings, a table); an empty list is someone
            without any history.
        k: Items per user; items of the history are never among them, nor is `near`.
        run: A run folder; None takes the newest finished run that has a link predictor.
        near: An item that the user has in mind: it counts as one they will meet, and decides alone where there is no history.

    Returns:
        Columns `user_id`, `item_id`, `rank` (from 1), `score` (0–1), `name` (may be missing), best first.

    Raises:
        MissingFileError: There is no finished run; the message says to run `make pipeline`.
        UnknownIdError: A user or an item that the run does not hold; the message names similar ones.
        DataFormatError: A history that cannot be read.
    """
    return load_run(newest_run(with_stage="predict") if run is None else run).predict_items(users, k, near=near)


def personalize(
    user_or_history: Any,
    item_id: Hashable,
    *,
    task: Task = "long",
    title: str | None = None,
    text: str | None = None,
    rating: float | None = None,
    method: str = "grasper",
    run: str | Path | None = None,
    seed: int | None = None,
) -> PersonalizedText:
    """The text that a user would write about an item, with the evidence it rests on.

    For a target of the run, asked with the fields that its task gives, this is the run's own output. What the user really wrote about the item
    is never shown.

    Args:
        user_or_history: A known user id, or the reviews of someone never seen; an empty list is someone without any history.
        item_id: An item of the run.
        task: `long` writes a review (from `title`, or `rating`, if given), `title` a title for `text`, `rating` a rating for `title` and `text`.
        rating: On the scale of the run's data, 1 to 5 unless `prepare.rating_scale` says otherwise; what is answered is from 1 to 5.
        method: The system that writes; where it is trained, the run must have aligned it.
        run: A run folder; None takes the newest finished run that can answer with the method.
        seed: Same seed, same text; None takes the run's own.

    Raises:
        MissingFileError: There is no finished run, or it has not aligned the method.
        UnknownIdError: An unknown user or item; the message names similar ones.
        UnknownMethodError: An unknown method.
        ConfigError: A field that the task does not take, or of the wrong type or range.
    """
    from grasper.methods import get_method

    loaded = load_run(newest_run(method=get_method(method)) if run is None else run)
    return loaded.personalize(user_or_history, item_id, task=task, title=title, text=text, rating=rating, method=method, seed=seed)
