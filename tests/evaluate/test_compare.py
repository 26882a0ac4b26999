"""The bootstrap: known coverage, clusters that matter, and differences taken draw by draw."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from grasper.errors import ShapeError
from grasper.evaluate.compare import Bootstrap, compare, expanded_tail, known_tail, summarize


def columns(**values: np.ndarray) -> pd.DataFrame:
    """Columns named `method__metric`, all of the task `long`."""
    frame = pd.DataFrame(values)
    frame.columns = pd.MultiIndex.from_tuples([(name.split("__")[0], "long", name.split("__")[1]) for name in values])
    return frame


def test_intervals_cover_the_true_mean() -> None:
    """Of 200 samples with a known mean, about 95 % of the intervals hold it."""
    rng = np.random.default_rng(0)
    hits = 0
    for trial in range(200):
        frame = columns(a__rouge1=rng.normal(0.3, 0.1, 60))
        entry = summarize(Bootstrap([str(n) for n in range(60)], samples=300, seed=trial).estimate(frame))["a"]["long"]["rouge1"]
        hits += entry["low"] <= 0.3 <= entry["high"]
    assert 0.89 <= hits / 200 <= 0.99


def test_interval_width_is_that_of_the_normal_theory() -> None:
    """Independent examples: half the interval is 1.96 standard errors."""
    values = np.random.default_rng(1).normal(0, 1, 400)
    entry = summarize(Bootstrap([str(n) for n in range(400)], samples=2000).estimate(columns(a__rouge1=values)))["a"]["long"]["rouge1"]
    assert (entry["high"] - entry["low"]) / 2 == pytest.approx(1.96 * values.std() / 20, rel=0.08)


def test_examples_of_one_item_count_as_one_piece_of_evidence() -> None:
    """Ten equal copies of each example under their item give the interval of the originals; as independent ones they would feign certainty."""
    values = np.random.default_rng(2).normal(0, 1, 40)
    items = [str(n) for n in range(40)]

    def width(clusters: list[str], numbers: np.ndarray) -> float:
        entry = summarize(Bootstrap(clusters, samples=1000, seed=3).estimate(columns(a__rouge1=numbers)))["a"]["long"]["rouge1"]
        return float(entry["high"] - entry["low"])

    alone, clustered = width(items, values), width(items * 10, np.tile(values, 10))
    independent = width([str(n) for n in range(400)], np.tile(values, 10))
    assert clustered == pytest.approx(alone)
    assert independent < 0.5 * alone


def test_intervals_of_few_items_cover_nearly_as_often() -> None:
    """Of 400 samples of ten items at least 92 % of the intervals hold the mean; plain percentiles do in fewer than nine of ten."""
    rng = np.random.default_rng(4)
    hits = {"expanded": 0, "plain": 0}
    for trial in range(400):
        numbers = rng.normal(0, 1, 10)
        estimate = Bootstrap([str(n) for n in range(10)], samples=500, seed=trial).estimate(columns(a__rouge1=numbers))
        for name, (low, high) in {
            "expanded": estimate.interval(estimate.draws[:, 0], 0),
            "plain": np.quantile(estimate.draws[:, 0], [0.025, 0.975]),
        }.items():
            hits[name] += low <= 0 <= high
    assert hits["plain"] / 400 < 0.92 <= hits["expanded"] / 400


def test_the_tail_of_many_clusters_is_the_usual_one() -> None:
    assert expanded_tail(0.025, 100_000) == pytest.approx(0.025, rel=1e-3)
    assert expanded_tail(0.025, 12) == pytest.approx(0.0108, abs=2e-4)  # Hesterberg's formula by hand: Φ(−2.201 · √(12/11))


def test_bits_per_byte_are_all_bits_by_all_bytes() -> None:
    """A text of four bytes counts a hundredth of one of four hundred; other metrics, and ratings, count every target alike."""
    frame = columns(a__bits=np.array([9.0, 1.0, 1.2]), b__bits=np.array([1.0, 1.1, 1.2]), a__rouge1=np.array([0.0, 0.5, 1.0]))
    frame["a", "rating", "bits"] = [1.0, 2.0, 6.0]
    bootstrap = Bootstrap(["x", "y", "z"], sizes={"long": np.array([4.0, 400.0, 400.0])})
    summary = summarize(bootstrap.estimate(frame))
    assert summary["a"]["long"]["bits"]["value"] == pytest.approx((36 + 400 + 480) / 804, abs=1e-6)
    assert summary["a"]["long"]["rouge1"]["value"] == pytest.approx(0.5)
    assert summary["a"]["rating"]["bits"]["value"] == pytest.approx(3.0)
    [row] = [row for row in compare(frame, bootstrap, "b") if row["metric"] == "bits"]
    assert row["difference"] == pytest.approx((36 + 400 - 4 - 440) / 804, abs=1e-6)
    assert row["low"] < row["difference"] < row["high"]


def test_one_item_gives_no_interval() -> None:
    """Drawing the only item again and again would feign certainty; among others, a group of one item has none either."""
    better = columns(one__rouge1=np.array([0.1, 0.2, 0.4]), two__rouge1=np.array([0.2, 0.3, 0.5]))
    bootstrap = Bootstrap(["x"] * 3)
    assert summarize(bootstrap.estimate(better))["two"]["long"]["rouge1"] == {
        "value": pytest.approx(1 / 3, abs=1e-6),
        "low": None,
        "high": None,
        "n": 3,
    }
    (row,) = compare(better, bootstrap, "one")
    assert (row["difference"], row["low"], row["high"], row["p"], row["wins"]) == (pytest.approx(0.1), None, None, None, 1)
    group = Bootstrap(["x", "x", "y"]).estimate(better, where=np.array([True, True, False]))
    assert summarize(group)["one"]["long"]["rouge1"]["low"] is None


def test_the_mean_equals_the_naive_one_and_skips_missing_numbers() -> None:
    """Value and count are those of the numbers that are there; a column without any is left out."""
    frame = columns(a__rouge1=np.array([0.2, np.nan, 0.4]), b__rouge1=np.full(3, np.nan))
    summary = summarize(Bootstrap(["x", "y", "z"]).estimate(frame))
    assert summary["a"]["long"]["rouge1"]["value"] == pytest.approx(0.3)
    assert summary["a"]["long"]["rouge1"]["n"] == 2
    assert "b" not in summary


def test_draws_equal_a_naive_loop_over_resampled_items() -> None:
    """The matrix product over cluster sums gives the means of really repeated rows."""
    clusters = ["x", "x", "y", "z", "z", "z"]
    values = np.array([0.1, 0.5, 0.9, 0.2, 0.3, 0.7])
    draws = Bootstrap(clusters, samples=100, seed=5).estimate(columns(a__rouge1=values)).draws[:, 0]
    times = np.random.default_rng(5).multinomial(3, np.full(3, 1 / 3), size=100)
    for row, found in zip(times, draws, strict=True):
        repeated = [value for value, cluster in zip(values, clusters, strict=True) for _ in range(row["xyz".index(cluster)])]
        assert found == pytest.approx(np.mean(repeated))


def test_squared_errors_are_rooted_after_averaging() -> None:
    """RMSE of errors 0 and 2 is √2, and its interval is rooted too."""
    entry = summarize(Bootstrap(["x", "y"], samples=200).estimate(columns(a__squared_error=np.array([0.0, 4.0]))))["a"]["long"]["rmse"]
    assert entry["value"] == pytest.approx(2**0.5, abs=1e-6)
    assert entry["low"] == 0.0
    assert entry["high"] == 2.0


def test_where_restricts_the_examples() -> None:
    """Only the chosen examples count."""
    frame = columns(a__rouge1=np.array([0.2, 0.4, 0.9]))
    estimate = Bootstrap(["x", "y", "z"]).estimate(frame, where=np.array([True, True, False]))
    assert estimate.value[0] == pytest.approx(0.3)
    assert estimate.count[0] == 2


def test_differences_are_paired() -> None:
    """Two methods that vary together from example to example differ surely, although their own intervals overlap."""
    rng = np.random.default_rng(6)
    base = rng.normal(0.3, 0.1, 80)
    frame = columns(base__rouge1=base, better__rouge1=base + 0.01 + rng.normal(0, 0.005, 80))
    bootstrap = Bootstrap([str(n) for n in range(80)], seed=1)
    summary = summarize(bootstrap.estimate(frame))
    assert summary["better"]["long"]["rouge1"]["low"] < summary["base"]["long"]["rouge1"]["high"]
    (row,) = compare(frame, bootstrap, "base")
    assert (row["method"], row["other"], row["metric"], row["n"]) == ("better", "base", "rouge1", 80)
    assert row["low"] > 0.005
    assert row["p"] <= 0.002
    assert row["difference"] == pytest.approx(0.01, abs=0.002)


def test_equal_methods_do_not_differ() -> None:
    """The same numbers twice: difference 0, p = 1, all ties."""
    base = np.random.default_rng(7).random(30)
    frame = columns(one__rouge1=base, two__rouge1=base)
    (row,) = compare(frame, Bootstrap([str(n) for n in range(30)]), "one")
    assert (row["difference"], row["low"], row["high"], row["p"], row["wins"], row["ties"]) == (0, 0, 0, 1, 0, 1)


def test_p_values_are_uniform_under_no_difference() -> None:
    """Where two methods are equally good, p < .05 happens about one time in twenty."""
    rng = np.random.default_rng(8)
    clusters, found = [str(n) for n in range(60)], 0
    for trial in range(200):
        frame = columns(one__rouge1=rng.normal(size=60), two__rouge1=rng.normal(size=60))
        found += compare(frame, Bootstrap(clusters, samples=200, seed=trial), "one")[0]["p"] < 0.05
    assert found / 200 < 0.12


@pytest.mark.parametrize("clusters", [2, 3, 12, 300])
@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
def test_p_is_small_exactly_where_the_interval_leaves_out_zero(clusters: int, confidence: float) -> None:
    """Differences pushed along until either end of their interval nearly touches zero, from either side; ties at zero, too."""
    rng = np.random.default_rng(clusters)
    frame = columns(a__rouge1=rng.normal(size=clusters))
    estimate = Bootstrap([str(n) for n in range(clusters)], samples=1000, confidence=confidence).estimate(frame)
    for draws in (rng.normal(size=997), rng.integers(-3, 4, 1000).astype(float), np.exp(rng.normal(size=1001))):
        for end in estimate.interval(draws, 0):
            assert end is not None
            for push in (-0.5, -1e-4, 0.0, 1e-4, 0.5):
                low, high = estimate.interval(draws - end + push, 0)
                p = estimate.p_of_zero(draws - end + push, 0)
                assert low is not None
                assert high is not None
                assert p is not None
                if min(abs(low), abs(high)) > 1e-5:  # what is nearer is rounding
                    assert (p < 1 - confidence) == (low > 0 or high < 0), (low, high, p)


def test_the_inverse_of_an_expanded_tail_is_the_tail() -> None:
    for clusters in (2, 12, 100):
        assert known_tail(expanded_tail(0.025, clusters), clusters) == pytest.approx(0.025)


def test_p_is_never_below_one_over_the_draws() -> None:
    """A difference of 1 everywhere: 200 draws tell no less than a two-hundredth."""
    frame = columns(one__rouge1=np.zeros(12), two__rouge1=np.ones(12))
    (row,) = compare(frame, Bootstrap([str(n) for n in range(12)], samples=200), "one")
    assert (row["difference"], row["low"], row["high"], row["p"]) == (1, 1, 1, 1 / 200)


def test_lower_errors_win() -> None:
    """For ratings the method with the smaller error is the better one."""
    frame = columns(one__absolute_error=np.array([1.0, 1.0, 2.0, 0.0]), two__absolute_error=np.array([0.0, 0.0, 1.0, 0.0]))
    (row,) = compare(frame, Bootstrap(list("wxyz")), "one")
    assert (row["metric"], row["difference"], row["wins"], row["ties"]) == ("mae", -0.75, 0.75, 0.25)


def test_every_pair_is_compared_once_the_baseline_first() -> None:
    """Three methods give three pairs: two against the baseline, then the rest."""
    frame = columns(a__rouge1=np.ones(3), b__rouge1=np.ones(3), c__rouge1=np.ones(3))
    rows = compare(frame, Bootstrap(list("xyz")), "b")
    assert [(row["method"], row["other"]) for row in rows] == [("a", "b"), ("c", "b"), ("c", "a")]


def test_the_same_seed_gives_the_same_draws() -> None:
    """Intervals are a function of values and seed."""
    frame = columns(a__rouge1=np.random.default_rng(9).random(20))
    one, two = (Bootstrap([str(n) for n in range(20)], seed=4).estimate(frame).draws for _ in range(2))
    assert (one == two).all()


def test_wrong_number_of_rows_is_an_error() -> None:
    """Values must have one row per clustered example."""
    with pytest.raises(ShapeError):
        Bootstrap(["x"]).estimate(columns(a__rouge1=np.ones(2)))


def test_a_difference_is_taken_over_the_examples_that_both_have() -> None:
    """A method that was measured on the hard half alone is not behind for it; two that share no example are not compared."""
    easy, hard = np.full(100, 0.8), np.full(100, 0.2)
    both, half = np.concatenate([easy, hard]), np.concatenate([np.full(100, np.nan), hard + 0.01])
    frame = columns(all__rouge1=both, half__rouge1=half, rest__rouge1=np.concatenate([easy, np.full(100, np.nan)]))
    rows = {(row["method"], row["other"]): row for row in compare(frame, Bootstrap([str(n) for n in range(200)]), "all")}
    row = rows["half", "all"]
    assert (row["difference"], row["low"], row["high"], row["wins"], row["n"]) == (
        pytest.approx(0.01),
        pytest.approx(0.01),
        pytest.approx(0.01),
        1,
        100,
    )
    assert ("rest", "half") not in rows
