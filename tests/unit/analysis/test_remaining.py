"""What is left of a defence, on made-up outcomes whose accuracies are counted by hand."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from assay.analysis.intervals import wilson
from assay.analysis.mcnemar import exact_p
from assay.analysis.newcombe import newcombe_paired
from assay.analysis.remaining import NEEDED, remaining


def rows(model, attack, fooled, *, images=10, route="", epsilon=0.3, suite="all", split="s_0"):
    """One attack through one view: `fooled` are the images that it fools."""
    samples = range(images)
    frame = pd.DataFrame({
        "dataset": "mnist", "split": split, "model": model, "suite": suite, "attack": attack,
        "norm": "linf", "epsilon": epsilon, "sample": samples,
        "misclassified": [sample in fooled for sample in samples], "route": route,
    })  # fmt: skip
    return frame[list(NEEDED)]


def defended(**changes):
    """Each route of PGD fools other images than the other; C&W has no rows of single routes."""
    return pd.concat([
        rows("api", "pgd", {0, 1, 2}, route="through_model", **changes),
        rows("api", "pgd", {2, 3}, route="base_model", **changes),
        rows("api", "pgd", {0, 1, 2, 3}, **changes),
        rows("api", "cw", {3, 4}, **changes),
    ])  # fmt: skip


def undefended(**changes):
    return pd.concat([
        rows("madry", "pgd", {0, 4, 5, 6}, **changes),
        # A view of a plain network is not another route of its own.
        rows("madry", "pgd", set(range(10)), route="model", **changes),
        rows("madry", "cw", {6, 7}, **changes),
    ])  # fmt: skip


def by_row(table):
    return {(row.over, row.attack, row.route): row for row in table.itertuples()}


def test_routes_attacks_and_their_worst_case_are_counted_per_image():
    table = remaining(defended(), undefended(), ["cw", "pgd"])
    assert [(row.over, row.attack, row.route) for row in table.itertuples()] == [
        ("attack", "cw", ""),
        ("route", "pgd", "through_model"),
        ("route", "pgd", "base_model"),
        ("attack", "pgd", ""),
        ("all", "", ""),
    ]
    assert table.accuracy.tolist() == pytest.approx([0.8, 0.7, 0.8, 0.6, 0.5])
    assert table.base_accuracy.tolist() == pytest.approx(
        [0.8, np.nan, np.nan, 0.6, 0.5], nan_ok=True
    )
    # The lower of two averages is not the accuracy against both.
    lowest = [np.nan, np.nan, np.nan, 0.7, 0.7]
    assert table.lowest_average.tolist() == pytest.approx(lowest, nan_ok=True)
    assert set(table.n) == {10}
    assert (table.model.unique().tolist(), table.base.unique().tolist()) == (["api"], ["madry"])
    assert by_row(table)["all", "", ""].attacks == 2


def test_the_difference_to_the_base_is_paired():
    last = by_row(remaining(defended(), undefended(), ["pgd", "cw"]))["all", "", ""]
    # Fooled: 0 to 4 on the defence, 0, 4, 5, 6, 7 on the base.
    assert (last.only_model_right, last.only_base_right, last.difference) == (3, 3, 0)
    assert (last.difference_low, last.difference_high) == newcombe_paired(2, 3, 3, 2)
    assert last.exact_p == 1
    weaker = undefended().assign(misclassified=True)
    last = by_row(remaining(defended(), weaker, ["pgd", "cw"]))["all", "", ""]
    assert (last.difference, last.base_accuracy) == (0.5, 0)
    assert last.exact_p == pytest.approx(exact_p(5, 0))
    assert (last.low, last.high) == pytest.approx([float(x) for x in wilson(5, 10)])


def test_every_row_is_on_the_images_that_both_networks_saw_under_every_attack():
    few = pd.concat([undefended(), rows("madry", "square", {5}, images=6)])
    defence = pd.concat([defended(), rows("api", "square", {5}, images=8)])
    table = remaining(defence, few, ["pgd", "cw", "square"])
    assert set(table.n) == {6}
    found = by_row(table)
    assert found["all", "", ""].accuracy == 0
    assert found["attack", "pgd", ""].accuracy == pytest.approx(2 / 6)
    # Without Square the other attacks are on all their images again.
    assert set(remaining(defence, few, ["pgd", "cw"]).n) == {10}


def test_an_attack_that_not_both_networks_met_is_left_out_by_name():
    defence = pd.concat([defended(), rows("api", "square", set(range(10)))])
    table = remaining(defence, undefended(), ["square", "pgd", "cw", "unknown"])
    assert "square" not in set(table.attack)
    last = by_row(table)["all", "", ""]
    assert (last.attacks, last.left_out, last.accuracy) == (2, "square, unknown", 0.5)


def test_radii_and_split_schemes_are_apart():
    both = [pd.concat([make(epsilon=0.1), make(epsilon=0.3)]) for make in (defended, undefended)]
    table = remaining(*both, ["pgd"])
    assert table.epsilon.tolist() == [0.1] * 4 + [0.3] * 4
    both = [
        pd.concat([make(split="kfold_0"), make(split="random_0")])
        for make in (defended, undefended)
    ]
    table = remaining(*both, ["pgd"])
    assert table.scheme.tolist() == ["kfold"] * 4 + ["random"] * 4
    assert set(table.n) == {10}


def test_an_image_of_several_splits_is_no_independent_pair():
    both = [pd.concat([make(split="s_0"), make(split="s_1")]) for make in (defended, undefended)]
    last = by_row(remaining(*both, ["pgd", "cw"]))["all", "", ""]
    assert (last.n, last.samples, last.splits) == (20, 10, 2)
    assert np.isnan([last.difference_low, last.difference_high, last.exact_p]).all()
    assert last.difference == 0


def test_of_an_attack_in_two_suites_the_one_on_more_images_counts():
    again = rows("api", "cw", set(range(10)), images=4, suite="few")
    found = by_row(remaining(pd.concat([again, defended()]), undefended(), ["cw"]))
    assert (found["attack", "cw", ""].accuracy, found["attack", "cw", ""].n) == (0.8, 10)


def test_no_common_image_gives_no_row():
    assert remaining(defended(), undefended(), ["fgsm"]).empty
    assert remaining(defended(), undefended().query("attack == 'cw'"), ["pgd"]).empty


def test_the_paired_interval_is_that_of_published_examples():
    """Fagerland, Lydersen and Laake 2014, their Newcombe square-and-add interval (method 10)."""
    for counts, printed in (
        # Bentur et al. 2009, Cavo et al. 2012.
        ((1, 1, 7, 12), (-0.507, -0.026)),
        ((59, 6, 16, 80), (-0.119, -0.005)),
    ):
        assert newcombe_paired(*counts) == pytest.approx(printed, abs=5e-4)


def test_the_paired_interval_is_symmetric_and_covers():
    low, high = newcombe_paired(20, 12, 2, 16)
    assert newcombe_paired(20, 2, 12, 16) == pytest.approx((-high, -low))
    assert newcombe_paired(16, 2, 12, 20) == pytest.approx((-high, -low))
    # No discordant pair is no certainty.
    low, high = newcombe_paired(50, 0, 0, 0)
    assert -0.1 < low < 0 < high < 0.1
    shares, rng = np.array([0.45, 0.2, 0.1, 0.25]), np.random.default_rng(0)
    tables = rng.multinomial(80, shares, size=600)
    inside = [low <= 0.1 <= high for low, high in (newcombe_paired(*table) for table in tables)]
    assert stats.binomtest(sum(inside), 600, 0.95).pvalue > 0.001
