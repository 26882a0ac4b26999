"""One pydantic model per stage. Order of precedence: field default < YAML < `--set section.key=value`; unknown keys are errors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from pydantic import Field, ValidationError, field_validator

from grasper.config.data import ColumnMapping, ItemMapping, ItemTable, PredictConfig, PrepareConfig
from grasper.config.model import ModelConfig, PromptConfig
from grasper.config.section import Section
from grasper.config.training import AlignConfig, DpoConfig, TuneConfig
from grasper.config.writing import EvaluateConfig, GenerateConfig, SynthesizeConfig
from grasper.errors import ConfigError
from grasper.records import TASKS, Split, Task
from grasper.registry import nearest_first
from grasper.settings import apply_override, read_yaml
from grasper.shipped import find_settings, lay_over

if TYPE_CHECKING:
    from grasper.methods.base import Method

__all__ = [
    "AlignConfig",
    "ColumnMapping",
    "Config",
    "DpoConfig",
    "EvaluateConfig",
    "GenerateConfig",
    "ItemMapping",
    "ItemTable",
    "ModelConfig",
    "PredictConfig",
    "PrepareConfig",
    "PromptConfig",
    "Section",
    "SynthesizeConfig",
    "TuneConfig",
    "load_config",
]

MIN_EXEMPLAR_PAIRS = 8
"""Pairs that exemplars are chosen from, however few texts are written."""


class Config(Section):
    """A whole run."""

    seed: int = Field(0, ge=0, description="The one seed; every stage derives its own from it.")
    split: Split = Field("dev-a", description="Which targets are written.")
    limit: int | None = Field(None, ge=1, description="At most this many targets, the same ones for every method.")
    tasks: tuple[Task, ...] = Field(TASKS, min_length=1, description="Which tasks are asked.")
    methods: tuple[str, ...] = Field(
        ("none", "copy", "lamp", "pgraphrag", "rest_pg", "grasper"), min_length=1, description="Which systems are compared."
    )
    prepare: PrepareConfig = Field(default_factory=PrepareConfig)
    predict: PredictConfig = Field(default_factory=PredictConfig)
    model: ModelConfig = Field(default_factory=ModelConfig)
    prompts: PromptConfig = Field(default_factory=PromptConfig)
    align: AlignConfig = Field(default_factory=AlignConfig)
    tune: TuneConfig = Field(default_factory=TuneConfig)
    synthesize: SynthesizeConfig = Field(default_factory=SynthesizeConfig)
    generate: GenerateConfig = Field(default_factory=GenerateConfig)
    evaluate: EvaluateConfig = Field(default_factory=EvaluateConfig)

    @field_validator("tasks", "methods")
    @classmethod
    def _once_each(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if repeated := [name for name in dict.fromkeys(value) if value.count(name) > 1]:
            raise ValueError(f"{', '.join(repeated)} more than once; name each one once")
        return value

    def aligns(self, method: Method) -> bool:
        """Whether a method writes with an alignment of its own; with `align.num_pairs=0` none does."""
        return self.align.num_pairs != 0 and method.is_aligned(has_weights=self.model.has_weights)

    @property
    def num_candidates(self) -> int:
        """Predicted items that are kept per example: never fewer than get a text."""
        return max(self.predict.top_k, self.synthesize.num_items)

    @property
    def num_alignment_pairs(self) -> int | None:
        """Training pairs that are asked for: where they are paid for and only shown as exemplars, not many more than there are texts to write."""
        pairs = self.align.num_pairs
        if self.limit is None or self.model.for_training().kind != "endpoint":
            return pairs
        few = max(MIN_EXEMPLAR_PAIRS, 2 * self.limit)
        return few if pairs is None else min(pairs, few)


def load_config(path: Path | str | Sequence[Path | str] | None = None, overrides: Sequence[str] = (), **values: Any) -> Config:
    """The resolved configuration: defaults, then the YAML files, then `section.key=value` overrides, then keyword values that are not None.

    Args:
        path: One file, or several of which later ones win key by key; a shipped one also by its bare name.

    Raises:
        MissingFileError: A YAML file does not exist.
        ConfigError: Broken YAML, an unknown key, or a value of the wrong type or range; the message names the key, and the file or override.
    """
    files = [path] if isinstance(path, Path | str) else list(path or ())
    layers: list[_Layer] = [(str(file), read_yaml(find_settings(Path(file)), Config)) for file in files]
    for override in overrides:
        settings: dict[str, Any] = {}
        key = apply_override(settings, override, Config)
        layers.append((f"--set {key:.120}", settings))
    layers.append(("", {key: value for key, value in values.items() if value is not None}))
    merged: dict[str, Any] = {}
    for name, settings in layers:
        lay_over(merged, settings, name)
    try:
        return Config.model_validate(merged)
    except ValidationError as error:
        raise ConfigError(_explain(error, layers)) from None


_UNSHOWN = ("model.base_url",)
"""Keys whose value may hold a secret."""
_Layer = tuple[str, dict[str, Any]]
"""Where settings come from, in words, and what they are."""


def _explain(error: ValidationError, layers: Sequence[_Layer]) -> str:
    """One line per problem, each with who set it, the key, and, for an unknown one, the keys that exist there, the nearest first."""
    lines = []
    for problem in error.errors():
        key = ".".join(str(part) for part in problem["loc"])
        origin = _origin(problem["loc"], layers)
        where = f"{origin}: " if origin else ""
        if problem["type"] == "extra_forbidden":
            known = ", ".join(nearest_first(str(problem["loc"][-1]), _keys_beside(problem["loc"])))
            lines.append(f"{where}unknown key '{key:.120}' (known there: {known})")
        else:
            message = problem["msg"].removeprefix("Value error, ")
            is_list = problem["type"] == "tuple_type" and isinstance(problem["input"], str)
            hint = f"; a list is written [{repr(problem['input'])[1:-1]:.80}]" if is_list else ""
            given = "not shown here" if key in _UNSHOWN else _short(problem["input"])
            lines.append(f"{where}'{key:.120}' is {given}: {message[0].lower()}{message[1:]}{hint}")
    return "; ".join(lines)


def _origin(location: tuple[int | str, ...], layers: Sequence[_Layer]) -> str:
    """The last place that gave the value at a location: a file or an override; empty for the caller's own values and for defaults."""

    def depth(settings: Any) -> int:
        steps = 0
        while steps < len(location) and isinstance(settings, dict) and location[steps] in settings:
            settings, steps = settings[location[steps]], steps + 1
        return steps

    deepest = max((depth(settings) for _, settings in layers), default=0)
    return next((name for name, settings in reversed(layers) if deepest and depth(settings) == deepest), "")


def _short(value: object) -> str:
    try:
        shown = repr(value)
    except (ValueError, RecursionError):  # a number of thousands of digits
        return f"a {type(value).__name__} too large to show"
    return shown if len(shown) <= 100 else f"{shown[:97]}…"


def _keys_beside(location: tuple[int | str, ...]) -> list[str]:
    section: Any = Config
    for part in location[:-1]:
        fields = getattr(section, "model_fields", {})
        found = fields[part].annotation if part in fields else None
        section = next((kind for kind in get_args(found) if hasattr(kind, "model_fields")), found)  # of `ItemTable | None` the table
    return list(getattr(section, "model_fields", {}))
