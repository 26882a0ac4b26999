"""The metrics by name: those of this package, which are registered here, and whatever else was."""

from __future__ import annotations

from collections.abc import Sequence

import grasper.metrics.standard  # noqa: F401 — registers the metrics of this package
from grasper.errors import ConfigError
from grasper.metrics.metric import METRICS, Metric


def metric_of(name: str) -> Metric:
    """The metric of a name, or of a column of per-example numbers; for one that nobody registered (any more) a plain record."""
    if name in METRICS:
        return METRICS.get(name)
    known = next((metric for metric in METRICS.values() if metric.column == name), None)
    return known or Metric(name, name, higher_is_better=None)


def choose_metrics(extra: Sequence[str] = ()) -> list[Metric]:
    """All metrics that are computed by default, as far as what they need is installed, and those of these names.

    Raises:
        UnknownNameError: There is no metric of a name; the message lists the known ones, the nearest first.
        ConfigError: What an extra metric needs is not installed.
    """
    wanted = {METRICS.get(name).name for name in extra}
    if missing := [name for name in wanted if not METRICS.get(name).is_available()]:
        raise ConfigError(f"metric {missing[0]!r} needs something that is not installed: {METRICS.get(missing[0]).meaning}")
    return [metric for metric in METRICS.values() if metric.name in wanted or (metric.by_default and metric.is_available())]
