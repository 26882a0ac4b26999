"""Bits of kinds of prompts, summed up by hand."""

from __future__ import annotations

import pandas as pd
import pytest

from experiments.kinds import means
from grasper.records import Example, Review

TARGETS = [Example(f"e{number}", Review(f"r{number}", "u", f"i{number}", text), "dev-a") for number, text in enumerate(("Good", "x" * 396))]


def test_bits_of_kinds_are_averaged_by_bytes_and_counts_are_not() -> None:
    """Four bytes at 9 bits and 396 at 1 are 432 bits of 400 bytes; two ends too many in one of two texts are one a text."""
    values = {"no path": [9.0, 1.0], "early ends": [2.0, 0.0]}
    found = means({("bits", kind): pd.Series(numbers) for kind, numbers in values.items()}, TARGETS, 0, counts=["early ends"])
    assert found["bits"]["no path"]["value"] == pytest.approx(432 / 400)
    assert found["bits"]["early ends"]["value"] == pytest.approx(1.0)
    assert found["bits"]["no path"]["low"] < 432 / 400 < found["bits"]["no path"]["high"]
