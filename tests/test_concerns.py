from __future__ import annotations

from grasper.concerns import concerns


def test_tells_what_is_above_a_twentieth() -> None:
    """Exactly 5 % is not told, one more is."""
    assert concerns({"requests": 100, "unparsed": 5}) == []
    [line] = concerns({"requests": 100, "unparsed": 6})
    assert line.startswith("6 of 100 answers lack")
    assert line.endswith("(6 %)")


def test_looks_into_every_part_of_a_step() -> None:
    """Synthetic reviews, those of training pairs, sampled paths, and the rounds of self-training; reasons that are a choice are no concern."""
    synthetic = {"written": 10, "rejected": {"unparsable": 2, "empty": 1, "copied": 7}}
    traces = {"traces": 40, "unparsed": 30}
    lines = concerns({"context": synthetic, "traces": traces, "rounds": [{"traces": traces}, {"traces": {"traces": 40, "unparsed": 0}}]})
    assert [line.split(" lack")[0].split(" could")[0] for line in lines] == [
        "30 of 40 answers of sampled paths",
        "3 of 10 synthetic reviews of training pairs",
        "30 of 40 answers of sampled paths in round 0",
    ]


def test_preferences_that_came_to_nothing_are_told() -> None:
    [line] = concerns({"preference_rounds": 0, "stopped": "in round 1 none of 4 groups of notes gave a preference pair"})
    assert line.startswith("nothing was learned from preferences, the warm start writes: in round 1 none of 4 groups")
    assert concerns({"preference_rounds": 2, "stopped": "all rounds done"}) == []


def test_weights_that_were_not_learned_are_told() -> None:
    [line] = concerns({"examples": 12, "weights": "prior"})
    assert line.endswith("no signal's weight was learned: popularity decides")


def test_other_stages_have_none() -> None:
    assert concerns({"reviews": 12, "users": 4}) == []
    assert concerns({"requests": 0, "unparsed": 0, "written": 0, "rejected": {}}) == []
