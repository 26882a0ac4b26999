"""The encoders by name: each is one line here, or one `ENCODERS.register` in a plugin. Heavy imports wait until one is made."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from grasper.registry import Registry

if TYPE_CHECKING:
    from grasper.config import PredictConfig
    from grasper.predict.baselines import ItemPredictor
    from grasper.predict.catalogue import Catalogue

MakeEncoder = Callable[["PredictConfig", "Catalogue"], "ItemPredictor"]
"""Makes an item predictor that is not yet fitted, for the items of a catalogue."""

ENCODERS: Registry[MakeEncoder] = Registry("encoder")
"""What `predict.encoder` names."""


def _hybrid(config: PredictConfig, catalogue: Catalogue) -> ItemPredictor:
    from grasper.predict.hybrid import Hybrid
    from grasper.predict.recency import SIDES

    sides = SIDES if catalogue.until is None else SIDES[:1]  # at the end of what is known, nothing is ahead
    return Hybrid(catalogue.metadata, config, sides=sides)


def _graph_encoder(name: str) -> MakeEncoder:
    def make(config: PredictConfig, catalogue: Catalogue) -> ItemPredictor:
        from grasper.predict.learned import EncoderPredictor

        return EncoderPredictor(name, config)

    return make


def _baseline(name: str) -> MakeEncoder:
    def make(config: PredictConfig, catalogue: Catalogue) -> ItemPredictor:
        from grasper.predict import baselines

        made: ItemPredictor = getattr(baselines, name)()
        return made

    return make


def _similarity(config: PredictConfig, catalogue: Catalogue) -> ItemPredictor:
    from grasper.predict.baselines import Similarity

    return Similarity(catalogue.metadata)


ENCODERS.register("hybrid", _hybrid)
ENCODERS.register("lightgcn", _graph_encoder("lightgcn"))
ENCODERS.register("sage", _graph_encoder("sage"))
ENCODERS.register("popularity", _baseline("Popularity"))
ENCODERS.register("itemknn", _baseline("ItemKNN"))
ENCODERS.register("ease", _baseline("Ease"))
ENCODERS.register("similarity", _similarity)
