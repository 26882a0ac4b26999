"""Choosing gold paths: argmax, threshold, top n, ties, hopeless and unusable pairs."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grasper.errors import RewardError
from grasper.reason.gold import choose_gold, selection_gain
from grasper.reason.traces import Trace


def traces(pair_id: str, rewards: list[float], **changes: object) -> list[Trace]:
    made = []
    for number, reward in enumerate(rewards):
        fields = {"path": f"Style: {number}", "answer": f"answer {number}", "is_parsed": True} | changes
        made.append(Trace(pair_id, number, "sampled", reward=reward, **fields))  # type: ignore[arg-type]
    return made


def numbers(chosen: tuple[Trace, ...]) -> list[tuple[str, int]]:
    return [(trace.pair_id, trace.number) for trace in chosen]


def test_argmax_keeps_the_best_of_every_pair() -> None:
    """Pairs in any order."""
    gold = choose_gold([*traces("b", [0.3, 0.1]), *traces("a", [0.2, 0.5, 0.4])])
    assert numbers(gold.traces) == [("a", 1), ("b", 0)]
    assert gold.counts == {"pairs": 2, "gold": 2, "hopeless": 0, "unusable": 0, "ties": 0}


def test_cut_answers_are_gold_for_their_paths_but_are_not_learned() -> None:
    """Where the real text is learned behind the path, the sampled one only has to score; where it is the lesson, it must have its end."""
    found = [*traces("a", [0.5], is_cut=True), *traces("a", [0.3], path="Style: whole")]
    assert choose_gold(found).traces[0].is_cut
    assert [trace.path for trace in choose_gold(found, learns_answers=True).traces] == ["Style: whole"]
    assert choose_gold(found[:1], learns_answers=True).counts["unusable"] == 1


def test_hopeless_pairs_are_counted_and_left_out() -> None:
    """The best of pair b is under the threshold; reaching it exactly is enough."""
    gold = choose_gold([*traces("a", [0.1, 0.2]), *traces("b", [0.05, 0.19])], threshold=0.2)
    assert numbers(gold.traces) == [("a", 1)]
    assert gold.counts["hopeless"] == 1


def test_top_n_keeps_several_above_the_threshold_best_first() -> None:
    """Three are wanted, two are good enough."""
    assert numbers(choose_gold(traces("a", [0.3, 0.1, 0.4]), threshold=0.2, top_n=3).traces) == [("a", 2), ("a", 0)]


@pytest.mark.parametrize(("rewards", "top_n", "ties"), [([0.5, 0.5], 1, 1), ([0.5, 0.4], 1, 0), ([0.5, 0.5], 2, 0), ([0.5, 0.4, 0.4], 2, 1)])
def test_of_equal_rewards_the_first_wins_and_the_tie_is_counted(rewards: list[float], top_n: int, ties: int) -> None:
    """A tie is one between a chosen and an unchosen trace."""
    gold = choose_gold(traces("a", rewards), top_n=top_n)
    assert numbers(gold.traces) == [("a", number) for number in range(top_n)]
    assert gold.counts["ties"] == ties


@pytest.mark.parametrize("changes", [{"is_parsed": False}, {"is_leak": True}, {"path": ""}, {"answer": ""}])
def test_incomplete_and_leaking_traces_never_become_gold(changes: dict[str, object]) -> None:
    """Whatever their reward; the pair is counted as unusable."""
    gold = choose_gold(traces("a", [0.9, 0.8], **changes))
    assert gold.traces == ()
    assert gold.counts["unusable"] == 1


def test_equal_traces_count_once() -> None:
    """The same path and answer twice is neither a tie nor two gold paths."""
    gold = choose_gold(traces("a", [0.5, 0.5], path="Style: x", answer="y"), top_n=2)
    assert (len(gold.traces), gold.counts["ties"]) == (1, 0)


def test_rewards_that_are_not_finite_are_an_error() -> None:
    """NaN would win or lose every comparison by accident."""
    with pytest.raises(RewardError, match="not finite"):
        choose_gold(traces("a", [float("nan"), 0.1]))


@given(st.lists(st.floats(0, 1), min_size=4, max_size=8))
def test_selection_gain_is_the_mean_best_over_all_subsets(rewards: list[float]) -> None:
    """Compared with going through the subsets."""
    gain = selection_gain([rewards], sizes=(1, 2, 4))
    for m, value in gain.items():
        assert value == pytest.approx(np.mean([max(subset) for subset in combinations(rewards, m)]))
    assert selection_gain([rewards, rewards[:3]], sizes=(1, 4)).keys() == {1}
