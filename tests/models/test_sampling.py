"""Choosing the next token."""

from __future__ import annotations

import pytest
import torch

from grasper.models import sampling
from grasper.models.sampling import Sampling, choose, held_back, without_repeats


def naive_nucleus(logits: torch.Tensor, settings: Sampling) -> torch.Tensor:
    """The renormalised nucleus of one distribution, token by token."""
    probabilities = (logits / settings.temperature).softmax(-1)
    kept = torch.zeros_like(probabilities)
    mass = 0.0
    for token in probabilities.argsort(descending=True).tolist():
        kept[token] = probabilities[token]
        mass += float(probabilities[token])
        if mass >= settings.top_p:
            break
    return kept / kept.sum()


@pytest.mark.parametrize("settings", [Sampling(1.0, 0.9), Sampling(0.7, 0.5), Sampling(1.5, 1.0), Sampling(1.0, 0.01)])
@pytest.mark.parametrize("sizes", [(64, 1024), (2, 5)])
def test_frequencies_are_those_of_the_nucleus(settings: Sampling, sizes: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """Evenly spaced draws give every token its probability, also when the nucleus is wider than the first look."""
    monkeypatch.setattr(sampling, "NUCLEUS_SIZES", sizes)
    logits = torch.randn(20, generator=torch.Generator().manual_seed(0)) * 2
    draws = (torch.arange(20_000) + 0.5) / 20_000
    tokens = choose(logits.expand(len(draws), -1), draws, settings)
    frequencies = torch.bincount(tokens, minlength=20) / len(draws)
    assert torch.allclose(frequencies, naive_nucleus(logits, settings), atol=2e-4)


def test_temperature_zero_is_greedy() -> None:
    """The draw does not matter."""
    logits = torch.tensor([[0.0, 3.0, 1.0], [2.0, 0.0, 1.0]])
    assert choose(logits, torch.tensor([0.99, 0.99]), Sampling(0.0, 0.9)).tolist() == [1, 0]


@pytest.mark.parametrize("draw", [0.0, 1 - 2**-24])
def test_extreme_draws_stay_in_the_nucleus(draw: float) -> None:
    """The smallest and the largest draw give the first and the last token of the nucleus, never one beyond it."""
    logits = torch.tensor([0.6, 0.3, 0.0999, 0.0001]).log().expand(1, -1)
    assert choose(logits, torch.tensor([draw]), Sampling(1.0, 0.85)).item() == (0 if draw == 0 else 1)


def test_an_end_is_held_back_but_where_nothing_else_is_likely() -> None:
    """Stops are tokens 0 and 1: of one row held, of one that may end, of one whose two stops together have .995 of the probability."""
    likely, sure = torch.tensor([0.5, 0.35, 0.15]).log(), torch.tensor([0.6, 0.395, 0.005]).log()
    logits = torch.stack([likely, likely, sure])
    allowed = held_back(logits, torch.tensor([True, False, True]), {0, 1})
    assert allowed[0].tolist() == [float("-inf"), float("-inf"), logits[0, 2].item()]
    assert torch.equal(allowed[1:], logits[1:])


def test_with_an_end_line_breaks_and_beginnings_of_messages_are_held_back() -> None:
    assert Sampling(1.0, 0.9, line_ends=(5, 7), openings=(4,)).stops({2, 5}) == {2, 4, 5, 7}


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_no_run_is_written_twice(n: int) -> None:
    """Against the plain definition: a token is forbidden where it would end a run of n tokens that the row holds already."""
    written = torch.randint(3, (50, 12), generator=torch.Generator().manual_seed(n))
    allowed = without_repeats(torch.zeros(50, 3), written, n)
    for row, tokens in zip(allowed, written.tolist(), strict=True):
        held = {tuple(tokens[start : start + n]) for start in range(len(tokens) - n + 1)}
        expected = [float("-inf") if (*tokens[len(tokens) - n + 1 :], token) in held else 0.0 for token in range(3)]
        assert row.tolist() == expected


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_another_line_may_say_it_again(n: int) -> None:
    """Against the plain definition, token 0 ending a line: a run is forbidden where the present line holds it, and one over a line break for good."""
    written = torch.randint(3, (200, 14), generator=torch.Generator().manual_seed(n))
    allowed = without_repeats(torch.zeros(200, 3), written, n, line_ends=(0,))
    exempted = 0
    for row, tokens in zip(allowed, written.tolist(), strict=True):
        line_start = max((place + 1 for place, token in enumerate(tokens) if token == 0), default=0)
        current = tokens[len(tokens) - n + 1 :]
        held = {tuple(tokens[start : start + n]) for start in range(len(tokens) - n + 1) if start >= line_start or 0 in current}
        expected = [float("-inf") if (*current, token) in held else 0.0 for token in range(3)]
        assert row.tolist() == expected
        everywhere = {tuple(tokens[start : start + n]) for start in range(len(tokens) - n + 1)}
        exempted += sum((*current, token) in everywhere - held for token in range(3))
    assert exempted > 0


def test_short_beginnings_repeat_nothing() -> None:
    logits = torch.randn(2, 5)
    assert without_repeats(logits, torch.zeros((2, 0), dtype=torch.long), 1).equal(logits)
    assert without_repeats(logits, torch.tensor([[1, 1], [2, 2]]), 3).equal(logits)
