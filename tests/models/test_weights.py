"""Devices and number formats."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch

from grasper.models.weights import choose_dtype


@pytest.mark.parametrize(("is_native", "dtype"), [(True, torch.bfloat16), (False, torch.float32)])
def test_a_card_that_only_emulates_bfloat16_works_in_float32(is_native: bool, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cards before compute capability 8.0 (T4, V100) take it and are slow in it."""
    monkeypatch.setattr(torch.cuda, "device", lambda device: nullcontext())
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *, including_emulation=True: is_native or including_emulation)
    assert choose_dtype(torch.device("cuda:0")) == dtype
