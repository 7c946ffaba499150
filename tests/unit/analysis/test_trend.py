"""Size and accuracy: correlations against scipy's, permutations against their number."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from assay.analysis.trend import concluded, size_trend

MODELS = ["a", "b", "c", "d", "e"]
SIZES = {"depth": {("toy", model): 10 * (k + 1) for k, model in enumerate(MODELS)}}
N = 100


def rows(accuracies: dict[str, list[int]], attack: str = "fgsm") -> pd.DataFrame:
    """Outcome rows from, per split, how many of 100 images each model gets right."""
    return pd.concat(
        pd.DataFrame(
            {
                "dataset": "toy",
                "suite": "linf_whitebox",
                "attack": attack,
                "norm": "linf",
                "epsilon": 0.1,
                "split": split,
                "model": model,
                "sample": np.arange(N),
                "misclassified": np.arange(N) >= right,
            }
        )
        for split, counts in accuracies.items()
        for model, right in zip(MODELS, counts, strict=False)
    )


def trained(splits, n=400):
    return {("toy", split, model): n for split in splits for model in MODELS}


def test_the_correlation_is_the_mean_of_scipys_over_splits():
    counts = {"random_0": [90, 70, 80, 30, 20], "random_1": [60, 60, 50, 55, 20]}
    (row,) = size_trend(rows(counts), SIZES, trained(counts)).to_dict("records")
    expected = [stats.spearmanr(range(5), values).statistic for values in counts.values()]
    assert row["correlation"] == pytest.approx(np.mean(expected))
    assert (row["measure"], row["models"], row["splits"]) == ("depth", 5, 2)
    half = stats.t.isf(0.025, 1) * np.sqrt((1 / 2 + 100 / 400) * np.var(expected, ddof=1))
    assert row["low"] == pytest.approx(max(-1, np.mean(expected) - half))
    assert row["high"] == pytest.approx(min(1, np.mean(expected) + half))


def test_a_perfect_order_has_the_smallest_p_that_so_few_models_allow():
    counts = {f"random_{k}": [90, 80, 70, 60, 50] for k in range(3)}
    (row,) = size_trend(rows(counts), SIZES, trained(counts)).to_dict("records")
    assert row["correlation"] == pytest.approx(-1)
    assert row["p"] == row["smallest_p"] == pytest.approx(2 / 120)
    assert row["low"] == row["high"] == pytest.approx(-1)


def test_opposite_splits_show_no_order():
    counts = {"random_0": [90, 80, 70, 60, 50], "random_1": [50, 60, 70, 80, 90]}
    (row,) = size_trend(rows(counts), SIZES, trained(counts)).to_dict("records")
    assert row["correlation"] == pytest.approx(0)
    assert row["p"] == 1
    assert (row["low"], row["high"]) == (-1, 1)


def test_the_permutation_test_keeps_its_level():
    """Accuracies without any order: p below 0.05 comes in about one case of twenty."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(200):
        counts = {f"random_{k}": rng.integers(0, N, 5).tolist() for k in range(2)}
        found.append(size_trend(rows(counts), SIZES, trained(counts)).p.item())
    assert 0.01 <= np.mean(np.array(found) <= 0.05) <= 0.1


def test_equal_accuracies_have_no_order_and_a_single_split_no_interval():
    (row,) = size_trend(rows({"random_0": [0] * 5}), SIZES, {}).to_dict("records")
    assert row["correlation"] == 0
    assert row["p"] == 1
    assert np.isnan(row["low"])


def test_models_without_a_size_are_left_out_and_two_show_nothing():
    sizes = {"depth": {("toy", "a"): 1, ("toy", "b"): 2}}
    assert size_trend(rows({"random_0": [1, 2, 3, 4, 5]}), sizes, {}).empty
    sizes["depth"]["toy", "c"] = 3
    assert size_trend(rows({"random_0": [1, 2, 3, 4, 5]}), sizes, {}).models.item() == 3


def trends(**columns):
    row = {"correlation": -0.9, "low": -1.0, "high": -0.8, "p": 0.01, "smallest_p": 0.01}
    size = max(len(values) for values in columns.values())
    return pd.DataFrame({**{name: [value] * size for name, value in row.items()}, **columns})


def test_an_interval_that_contains_0_gives_no_verdict_however_small_p_is():
    rows = trends(high=[-0.1, 0.07, 0.0], p=[0.0001] * 3)
    assert concluded(rows, [True] * 3).verdict.tolist() == ["yes", "cannot tell", "cannot tell"]


def test_a_verdict_names_the_direction():
    rows = trends(correlation=[-0.9, 0.9], low=[-1.0, 0.7], high=[-0.7, 1.0])
    assert concluded(rows, [True, True]).verdict.tolist() == ["yes", "no, larger is"]


def test_rows_of_a_table_are_corrected_together():
    """0.02 is below 0.05, but not below a third of it."""
    alone = concluded(trends(p=[0.02]), [True])
    assert alone.verdict.tolist() == ["yes"]
    three = concluded(trends(p=[0.02, 0.5, 0.6]), [True] * 3)
    assert three.holm_p.tolist() == pytest.approx([0.06, 1.0, 1.0])
    assert three.verdict.tolist() == ["cannot tell"] * 3


def test_networks_that_are_all_alike_are_no_test_and_cost_the_others_nothing():
    rows = trends(p=[0.02, 1.0, 1.0], smallest_p=[0.01, 1.0, 1.0])
    found = concluded(rows, [True] * 3)
    assert found.verdict.tolist() == ["yes", "cannot tell", "cannot tell"]
    assert found.holm_p.isna().tolist() == [False, True, True]


def test_a_trend_of_doubtful_accuracies_has_no_verdict():
    assert concluded(trends(p=[0.001]), [False]).verdict.tolist() == ["cannot tell"]


def test_four_networks_cannot_reach_a_verdict():
    counts = {f"random_{k}": [90, 80, 70, 60] for k in range(3)}
    found = concluded(size_trend(rows(counts), SIZES, trained(counts)), [True])
    assert found.smallest_p.item() == pytest.approx(2 / 24)
    assert found.verdict.item() == "cannot tell"
