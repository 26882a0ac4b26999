"""The preference rounds of a finished run: how their settings are told."""

from __future__ import annotations

from experiments.rounds import settings
from grasper.config.training import DpoConfig


def test_settings_name_what_differs_from_the_defaults() -> None:
    """In the order of the configuration, numbers as they are written in commands."""
    assert settings(DpoConfig()) == ""
    assert settings(DpoConfig(learning_rate=1e-3, reward="likelihood", margin=0.005)) == "reward=likelihood margin=0.005 learning_rate=0.001"
