"""What leakage is worth: known inflations are found, by hand, and none is found where none is."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from assay.analysis.attack_set import AttackSet
from assay.analysis.laboratory import (
    NEWCOMBE,
    RESAMPLED,
    leaked_differences,
    scheme_differences,
)
from assay.analysis.newcombe import newcombe, newcombe_p
from assay.analysis.paired import Paired

CELL = [(AttackSet.of("clean"), 0.0)]


def outcomes(right, split="random_0", samples=None, model="net"):
    """Outcome rows of one model in one cell from whether each image is right."""
    right = np.asarray(right, bool)
    return pd.DataFrame(
        {
            "dataset": "toy",
            "split": split,
            "model": model,
            "suite": "one",
            "attack": "clean",
            "norm": "none",
            "epsilon": 0.0,
            "sample": np.arange(len(right)) if samples is None else samples,
            "misclassified": ~right,
        }
    )


def leaks(first, split="random_0", labels=0, persons=None):
    """What test images share by patient: the place of the first relative, or NaN."""
    count = len(first)
    first = pd.array(pd.Series(first, dtype="Float64"), dtype="Int64")
    none = pd.array([pd.NA] * count, dtype="Int64")
    frame = pd.DataFrame(
        {
            "dataset": "toy",
            "split": split,
            "sample": np.arange(count),
            "label": labels,
            "duplicate": pd.array(np.arange(count), dtype="Int64"),
            "duplicate_first": none,
            "patient": pd.array(np.arange(count) if persons is None else persons, dtype="Int64"),
            "patient_first": first,
            "patient_safe": none,
            "patient_safe_first": none,
        }
    )
    for name in ("duplicate", "patient", "patient_safe"):
        frame[f"{name}_in_train"] = frame[f"{name}_first"].notna()
    return frame


def compared(rows, flags, train=100, splits=("random_0",)):
    sizes = {("toy", split, "net"): train for split in splits}
    return leaked_differences(
        Paired.of(rows), flags, sizes, schemes=["random"], models=["net"], cells=CELL
    )


def side(count, right):
    return [True] * right + [False] * (count - right)


def test_newcombe_s_interval_is_that_of_his_paper():
    """Newcombe 1998, Table II, (a) 56/70 - 48/80, (d) 9/10 - 3/10, (g) 10/10 - 0/20, method 10."""
    for counts, printed in (
        ((56, 70, 48, 80), (0.0524, 0.3339)),
        ((9, 10, 3, 10), (0.1705, 0.8090)),
        ((10, 10, 0, 20), (0.6791, 1.0000)),
    ):
        a, n, b, m = counts
        assert newcombe(a / n, n, b / m, m) == pytest.approx(printed, abs=5e-5)


def test_test_and_interval_never_contradict_each_other():
    rng = np.random.default_rng(0)
    for _ in range(200):
        n, m = rng.integers(3, 80, 2)
        a, b = rng.integers(0, n + 1) / n, rng.integers(0, m + 1) / m
        low, high = newcombe(a, n, b, m)
        assert (newcombe_p(a, n, b, m) < 0.05) == (not low <= 0 <= high)
    assert newcombe_p(0.5, 10, 0.5, 20) == 1
    # Large samples: the ordinary test of two proportions.
    pooled = 0.55
    z = 0.02 / np.sqrt(pooled * (1 - pooled) * 2 / 20_000)
    assert newcombe_p(0.56, 20_000, 0.54, 20_000) == pytest.approx(2 * stats.norm.sf(z), rel=0.02)


def test_a_known_inflation_is_found_with_its_size():
    right = side(100, 95) + side(100, 70)
    flags = leaks([5] * 100 + [np.nan] * 100)
    (row,) = compared(outcomes(right), flags).to_dict("records")
    assert (row["shared"], row["n_leaked"], row["n_unleaked"]) == ("patient", 100, 100)
    assert row["difference"] == pytest.approx(0.25)
    assert (row["low"], row["high"]) == pytest.approx(newcombe(0.95, 100, 0.70, 100))
    assert row["design"] == pytest.approx(1)
    assert row["p"] < 0.001


def test_equal_accuracies_show_no_inflation():
    right = side(50, 40) + side(100, 80)
    (row,) = compared(outcomes(right), leaks([5] * 50 + [np.nan] * 100)).to_dict("records")
    assert row["difference"] == pytest.approx(0)
    assert row["p"] == 1
    assert row["low"] < 0 < row["high"]


def test_a_relative_that_the_network_did_not_learn_from_has_not_leaked():
    flags = leaks([5] * 50 + [60] * 50 + [np.nan] * 100)
    right = side(100, 90) + side(100, 50)
    few = compared(outcomes(right), flags, train=50)
    all_of_them = compared(outcomes(right), flags, train=100)
    assert few.n_leaked.item() == 50
    assert all_of_them.n_leaked.item() == 100


def test_an_easy_class_that_leaks_more_is_no_inflation():
    """Class 0 is easy and leaks a lot, class 1 is hard and leaks little: pooled, 0.26 too much."""
    labels = [0] * 100 + [1] * 100
    first = [5] * 80 + [np.nan] * 20 + [5] * 20 + [np.nan] * 80
    right = side(80, 72) + side(20, 18) + side(20, 10) + side(80, 40)
    (row,) = compared(outcomes(right), leaks(first, labels=labels)).to_dict("records")
    assert row["difference"] == pytest.approx(0)
    assert row["accuracy_leaked"] == pytest.approx(0.7)
    assert row["p"] == 1


def test_classes_weigh_by_mantel_and_haenszel():
    labels = [0] * 40 + [1] * 30
    first = [5] * 10 + [np.nan] * 30 + [5] * 20 + [np.nan] * 10
    right = side(10, 9) + side(30, 15) + side(20, 16) + side(10, 5)
    (row,) = compared(outcomes(right), leaks(first, labels=labels)).to_dict("records")
    first_weight, second_weight = 10 * 30 / 40, 20 * 10 / 30
    expected = (first_weight * (0.9 - 0.5) + second_weight * (0.8 - 0.5)) / (
        first_weight + second_weight
    )
    assert row["difference"] == pytest.approx(expected)


def test_images_of_one_patient_count_as_alike_as_they_are():
    """Ten images each of twenty patients, all right or all wrong: about as twenty images."""
    alike = np.repeat(side(10, 9) + side(10, 5), 10)
    flags = leaks([5] * 100 + [np.nan] * 100, persons=np.repeat(np.arange(20), 10))
    (row,) = compared(outcomes(alike), flags).to_dict("records")
    design = 10 * 20 / 18
    assert row["design"] == pytest.approx(design)
    assert (row["low"], row["high"]) == pytest.approx(
        newcombe(0.9, 100 / design, 0.5, 100 / design)
    )
    single = compared(outcomes(alike), leaks([5] * 100 + [np.nan] * 100)).iloc[0]
    assert single.high - single.low < row["high"] - row["low"]
    # Also where nothing varies.
    (same,) = compared(outcomes([True] * 200), flags).to_dict("records")
    assert same["design"] == pytest.approx(10)


def test_splits_that_disagree_more_than_chance_widen_the_interval():
    flags = [5] * 100 + [np.nan] * 100
    splits = ("random_0", "random_1")
    table = pd.concat([leaks(flags, split, persons=None) for split in splits])

    def width(counts):
        rows = pd.concat(
            [
                outcomes(side(100, a) + side(100, b), split)
                for split, (a, b) in zip(splits, counts, strict=True)
            ]
        )
        row = compared(rows, table, splits=splits).iloc[0]
        assert row.splits == 2
        assert row.difference == pytest.approx(0.2)
        return row.high - row.low

    assert width([(95, 55), (55, 55)]) > 2 * width([(75, 55), (75, 55)])


def test_an_image_that_two_splits_test_alike_counts_once():
    flags = [5] * 50 + [np.nan] * 50
    splits = ("random_0", "random_1")
    right = side(50, 45) + side(50, 30)
    once = compared(outcomes(right), leaks(flags)).iloc[0]
    twice = compared(
        pd.concat([outcomes(right, split) for split in splits]),
        pd.concat([leaks(flags, split) for split in splits]),
        splits=splits,
    ).iloc[0]
    # But for the factor of persons whose images are alike, 100 / 98.
    assert twice.design == pytest.approx(2 * 100 / 98)
    assert (twice.low, twice.high) == pytest.approx((once.low, once.high), abs=0.003)
    assert twice.n_leaked == 2 * once.n_leaked


def test_the_comparison_finds_nothing_too_often_only_as_often_as_it_says():
    """Patients of three images, no effect: p below 0.05 in at most about one run of twenty."""
    rng = np.random.default_rng(0)
    persons = np.repeat(np.arange(80), 3)
    flags = leaks(np.where(persons % 2, 5.0, np.nan), persons=persons)
    found = []
    for _ in range(150):
        easy = rng.beta(2, 1, 80)[persons]
        found.append(compared(outcomes(rng.random(240) < easy), flags).p.item() < 0.05)
    assert 0.01 < np.mean(found) < 0.1


def test_where_all_or_no_images_have_leaked_nothing_is_compared():
    found = compared(outcomes(side(20, 15)), leaks([5] * 20))
    assert found.empty
    assert found.p.dtype == float


def schemes(first, second):
    """Accuracies of splits of two schemes on 100 images each, no image twice."""
    rows = [
        outcomes(side(100, right), f"{name}_{index}", 1000 * place + 100 * index + np.arange(100))
        for place, (name, counts) in enumerate((("leaky", first), ("safe", second)))
        for index, right in enumerate(counts)
    ]
    sizes = {("toy", f"{name}_{k}", "net"): 400 for name in ("leaky", "safe") for k in range(5)}
    return scheme_differences(
        Paired.of(pd.concat(rows)), sizes, schemes=["leaky", "safe"], models=["net"], cells=CELL
    )


def test_schemes_with_several_splits_are_compared_by_their_splits():
    (row,) = schemes([90, 94, 95], [80, 86, 77]).to_dict("records")
    assert row["method"] == RESAMPLED
    assert row["difference"] == pytest.approx(0.93 - 0.81)
    parts = [
        (1 / 3 + 100 / 400) * np.var(values, ddof=1)
        for values in ([0.90, 0.94, 0.95], [0.80, 0.86, 0.77])
    ]
    freedom = sum(parts) ** 2 / sum(part**2 / 2 for part in parts)
    half = stats.t.isf(0.025, freedom) * np.sqrt(sum(parts))
    assert (row["low"], row["high"]) == pytest.approx((0.12 - half, 0.12 + half))
    expected = 2 * stats.t.sf(0.12 / np.sqrt(sum(parts)), freedom)
    assert row["p"] == row["holm_p"] == pytest.approx(expected)
    assert (row["splits"], row["baseline_splits"], row["n"]) == (3, 3, 300)


def test_a_scheme_with_one_split_is_compared_by_its_images():
    (row,) = schemes([90, 94, 95], [81]).to_dict("records")
    assert row["method"] == NEWCOMBE
    assert (row["low"], row["high"]) == pytest.approx(newcombe(0.93, 300, 0.81, 100))
    (row,) = schemes([90, 90], [90, 90]).to_dict("records")
    assert (row["method"], row["p"]) == (NEWCOMBE, 1)


def test_images_that_both_schemes_test_are_compared_with_themselves():
    rows = pd.concat(
        [
            outcomes(side(30, 30), "leaky_0", np.arange(30)),
            outcomes(side(30, 15), "safe_0", np.arange(10, 40)),
        ]
    )
    (row,) = scheme_differences(
        Paired.of(rows), {}, schemes=["leaky", "safe"], models=["net"], cells=CELL
    ).to_dict("records")
    # Of the images 10 to 29 the second scheme has 10 to 24 right.
    gaps = np.array([0.0] * 15 + [1.0] * 5)
    half = stats.t.isf(0.025, 19) * gaps.std(ddof=1) / np.sqrt(20)
    assert (row["common_n"], row["common_difference"]) == (20, pytest.approx(0.25))
    assert (row["common_low"], row["common_high"]) == pytest.approx((0.25 - half, 0.25 + half))
    assert row["common_p"] == pytest.approx(stats.ttest_1samp(gaps, 0).pvalue)
    assert np.isnan(schemes([90], [81]).common_difference.item())
