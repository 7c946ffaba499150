"""Three ways to count successes on a randomised classifier, on outcomes counted by hand."""

import numpy as np
import pandas as pd
import pytest

from assay.analysis.counting import NEEDED, counting
from assay.analysis.intervals import wilson, wilson_of_shares


def rows(shares, silent, *, attack="pgd", model="me_net", epsilon=0.3, suite="s", split="s_0"):
    frame = pd.DataFrame({
        "dataset": "mnist", "split": split, "model": model, "suite": suite, "attack": attack,
        "norm": "linf", "epsilon": epsilon, "sample": range(len(shares)),
        "misclassified": np.array(shares) > 0.5,
        "misclassified_share": np.array(shares, np.float32),
        "silent_success": pd.array(silent, "boolean"),
    })  # fmt: skip
    return frame[list(NEEDED)]


SHARES = [0.0, 0.2, 0.4, 0.6, 1.0]


def test_the_three_ways_count_the_same_images_differently():
    (row,) = counting(rows(SHARES, [False, True, False, False, False]), ["pgd"]).itertuples()
    assert row.once == pytest.approx(1 - 2.2 / 5)
    assert row.majority == pytest.approx(3 / 5)
    assert row.any_step == pytest.approx(2 / 5)
    assert (row.n, row.samples, row.splits) == (5, 5, 1)
    assert (row.majority_low, row.majority_high) == pytest.approx([float(x) for x in wilson(3, 5)])
    assert (row.any_step_low, row.any_step_high) == pytest.approx([float(x) for x in wilson(2, 5)])
    assert (row.once_low, row.once_high) == pytest.approx(wilson_of_shares(1 - np.array(SHARES)))


def test_of_a_deterministic_model_shown_once_is_the_majority():
    (row,) = counting(rows([0, 0, 0, 1, 1], [False] * 5), ["pgd"]).itertuples()
    assert (row.once, row.once_low, row.once_high) == pytest.approx(
        (row.majority, row.majority_low, row.majority_high)
    )
    assert row.any_step == row.majority


def test_attacks_and_radii_have_a_row_each_in_the_order_asked_for():
    frame = pd.concat([
        rows([0] * 3, [False] * 3),
        rows([1] * 3, [False] * 3, epsilon=0.1),
        rows([1] * 4, [False] * 4, attack="eot"),
    ])  # fmt: skip
    table = counting(frame, ["eot", "pgd"])
    assert list(zip(table.attack, table.epsilon, table.majority, strict=True)) == [
        ("eot", 0.3, 0), ("pgd", 0.1, 0), ("pgd", 0.3, 1),
    ]  # fmt: skip
    assert counting(frame, ["fgsm"]).empty


def test_an_attack_of_two_suites_is_counted_once_on_most_images():
    few = rows([1, 1], [False] * 2, suite="few")
    (row,) = counting(pd.concat([few, rows(SHARES, [False] * 5)]), ["pgd"]).itertuples()
    assert (row.n, row.majority) == (5, pytest.approx(3 / 5))


def test_an_image_of_several_splits_is_one_trial():
    frame = pd.concat([rows(SHARES, [False] * 5, split=f"s_{index}") for index in range(3)])
    (row,) = counting(frame, ["pgd"]).itertuples()
    assert (row.n, row.samples, row.splits) == (15, 5, 3)
    assert (row.majority_low, row.majority_high) == pytest.approx([float(x) for x in wilson(3, 5)])
    assert (row.once_low, row.once_high) == pytest.approx(wilson_of_shares(1 - np.array(SHARES)))


def test_what_an_earlier_version_did_not_store_is_unknown():
    (row,) = counting(rows(SHARES, [False, True, None, False, False]), ["pgd"]).itertuples()
    assert np.isnan([row.any_step, row.any_step_low, row.any_step_high]).all()
    assert row.majority == pytest.approx(3 / 5)


def test_the_interval_of_shares_narrows_with_repeats_and_covers():
    """Images differ (a Beta distribution); each is evaluated several times."""
    rng = np.random.default_rng(0)
    widths = {}
    for repeats in (1, 20):
        chances = rng.beta(2, 1, (500, 60))
        shares = rng.binomial(repeats, chances) / repeats
        limits = np.array([wilson_of_shares(one) for one in shares])
        inside = ((limits[:, 0] <= 2 / 3) & (limits[:, 1] >= 2 / 3)).mean()
        assert 0.92 < inside < 0.98
        widths[repeats] = np.diff(limits).mean()
    assert widths[20] < 0.7 * widths[1]


def test_the_interval_of_shares_stays_in_its_range_and_never_vanishes():
    for shares in ([0.0] * 10, [1.0] * 10, [0.6] * 10):
        low, high = wilson_of_shares(shares)
        assert 0 <= low <= shares[0] <= high <= 1
        assert (low, high) == pytest.approx([float(x) for x in wilson(sum(shares), 10)])
    assert np.isnan(wilson_of_shares([])).all()
