"""What the systems of one run share: its tables, review store, link predictor and models, each opened once, on first use, whoever asks first."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property, partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from grasper.config import Config
from grasper.desk import Desk
from grasper.generate.writers import uses_model
from grasper.methods import Method
from grasper.prompts.templates import PROMPT_VERSION
from grasper.records import CANDIDATE_COLUMNS, Example, Tables
from grasper.retrieve.store import ReviewStore
from grasper.runs import Run, derive_seed
from grasper.system import System

if TYPE_CHECKING:
    import pandas as pd

    from grasper.models.base import TextModel
    from grasper.predict import Predictor
    from grasper.prompts.exemplars import ExemplarSource

logger = logging.getLogger(__name__)


class _Shared(cached_property[Any]):
    """A cached property that is made once, however many threads ask first."""

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self
        with instance._lock:
            return super().__get__(instance, owner)


class Workshop:
    """The opened parts of one run, and the systems that are put together from them."""

    def __init__(self, config: Config, run: Run) -> None:
        self.config, self.run = config, run
        self._lock = threading.RLock()
        self._systems: dict[tuple[Method, bool], tuple[tuple[str, ...], System]] = {}

    @_Shared
    def tables(self) -> Tables:
        """What `prepare` wrote."""
        self.run.require(self.run.folder("prepare"))
        return Tables.load(self.run.folder("prepare"))

    @_Shared
    def store(self) -> ReviewStore:
        """All reviews, indexed for every method."""
        seed = derive_seed(self.config.seed, "profiles")
        return ReviewStore(self.tables, ranker=self.config.prompts.ranker, seed=seed, predictor=lambda: self.predictor)

    @_Shared
    def predictor(self) -> Predictor:
        """The fitted link predictor."""
        from grasper.predict import load

        self.run.require(self.run.folder("predict"))
        return load(self.run.folder("predict"), self.tables)

    @_Shared
    def candidates(self) -> pd.DataFrame:
        """The predicted items of all examples (CANDIDATE_COLUMNS), those of one example together."""
        import pandas as pd

        self.run.require(self.run.folder("predict"))
        return pd.read_parquet(self.run.folder("predict") / "candidates.parquet")

    @_Shared
    def _spans(self) -> dict[str, range]:
        """The rows of each example in `candidates`."""
        ids = self.candidates["example_id"].to_numpy(dtype=object)
        starts = [0, *(np.flatnonzero(ids[1:] != ids[:-1]) + 1).tolist(), len(ids)] if len(ids) else [0]
        return {ids[start]: range(start, end) for start, end in pairwise(starts)}

    def forecast(self, examples: Sequence[Example]) -> pd.DataFrame:
        """The predicted items of any examples: those of the run as its predict stage wrote them, others asked of the link predictor."""
        import pandas as pd

        known = dict.fromkeys(example.example_id for example in examples if not example.is_request)
        asked = [example for example in examples if example.is_request]
        found = self.candidates.iloc[[row for example_id in known for row in self._spans.get(example_id, ())]]
        if not asked:
            return found
        return pd.concat([found, self.predictor.predict(asked, self.config.num_candidates)], ignore_index=True)[list(CANDIDATE_COLUMNS)]

    def system(self, method: Method, *, is_aligned: bool = True, seed: int | None = None) -> System:
        """A method ready to answer; the same object until what it was aligned on changes.

        Args:
            is_aligned: Whether its model is the aligned one; False gives the base, which the alignment starts from.
            seed: In the place of the run's own.

        Raises:
            MissingFileError: The run has not aligned the method.
            RunMismatchError: Its adapter is damaged.
        """
        with self._lock:
            stamp = self._alignment(method) if is_aligned else ()
            made = self._systems.get((method, is_aligned))
            if made is None or made[0] != stamp:
                made = self._systems[method, is_aligned] = stamp, self._make(method, is_aligned)
        system = made[1]
        return system if seed in (None, system.desk.seed) else replace(system, desk=replace(system.desk, seed=seed))

    def _make(self, method: Method, is_aligned: bool) -> System:
        config = self.config
        trained = is_aligned and self.config.aligns(method)
        desk = Desk(
            method,
            self.store,
            config.prompts,
            partial(self._open_model, method, is_aligned) if uses_model(method) else None,
            seed=config.seed,
            exemplars=self._exemplars(method) if trained else None,
        )
        return System(desk, config.synthesize, config.generate, self.forecast if method.needs_candidates else None)

    def _alignment(self, method: Method) -> tuple[str, ...]:
        """What identifies the finished alignment that a method writes with; empty where there is none."""
        if not self.config.aligns(method):
            return ()
        manifest = self.run.require(self.run.folder("align", method.aligned_as))
        return manifest["fingerprint"], manifest["finished"]

    def _open_model(self, method: Method, is_aligned: bool) -> TextModel:
        from grasper.models import open_model

        with self._lock:
            model = self.config.model
            if not is_aligned:
                opened = open_model(model.for_training())
            elif not (self.config.aligns(method) and model.has_weights):
                opened = open_model(model)
            else:
                opened = open_model(model.for_adapter(method.aligned_as), self.run.folder("align", method.aligned_as) / "adapter")
        _tell_other_prompts(opened)
        return opened

    def _exemplars(self, method: Method) -> ExemplarSource | None:
        """Gold paths shown in the prompt, for a backbone that cannot be fine-tuned."""
        if self.config.model.has_weights:
            return None
        from grasper.align.exemplars import ExemplarIndex

        return ExemplarIndex.load(self.run.folder("align", method.aligned_as), self.config.align.exemplars)


def _tell_other_prompts(model: TextModel) -> None:
    """Warn of a model that was tuned on other prompts than those that it will get."""
    version = getattr(model, "prompt_version", None)
    if version not in (None, PROMPT_VERSION):
        logger.warning(
            "model %s was tuned on prompts of version %s, grasper renders version %s: expect worse texts; "
            "train it anew (`make nano`, or `grasper tune` for adapters)",
            model.name,
            version,
            PROMPT_VERSION,
        )
