"""Which tests are corrected together, and by which method."""

import numpy as np
import pandas as pd
import pytest

from assay.analysis.between_splits import between_splits
from assay.analysis.brief import parse_brief
from assay.analysis.cochran import cochran_q
from assay.analysis.families import Families, benjamini_hochberg, benjamini_hochberg_levels, holm
from assay.analysis.mcnemar import mcnemar, minimum_detectable_difference
from assay.analysis.paired import Paired
from assay.analysis.ranking import ranking
from assay.analysis.resampled_t import resampled_t

# Fifteen p-values of Benjamini and Hochberg 1995, section 4.1; at 5 % the first four are rejected.
BH_1995 = [
    0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719,
    0.6528, 0.7590, 1.0,
]  # fmt: skip
STUDY = {
    "headline": {
        "models": ["a", "b"],
        "cells": [{"attack": "fgsm", "epsilon": 0.1}, {"attack": "old", "epsilon": 0.1}],
    },
    "attacks": {
        "fgsm": {"norm": "linf"},
        "pgd": {"norm": "linf", "role": "sweep"},
        "old": {"norm": "linf", "role": "as_published"},
        "priced": {"norm": "linf", "role": "control"},
    },
    "suites": {"s": {"attacks": ["fgsm", "pgd"]}, "published": {"attacks": ["old", "priced"]}},
}


def rows(
    right, *, attack="fgsm", suite="s", epsilon=0.1, norm="linf", split="kfold_0", dataset="toy",
    worst_case="",
):  # fmt: skip
    """Outcome rows, as far as tests need them, from decisions (1 right, 0 wrong) by model."""
    return pd.concat(
        pd.DataFrame({
            "dataset": dataset, "suite": suite, "attack": attack, "norm": norm,
            "worst_case": worst_case, "epsilon": epsilon, "split": split, "model": model,
            "sample": np.arange(len(values)), "misclassified": ~np.asarray(values, bool),
        })
        for model, values in right.items()
    )  # fmt: skip


A, B, C = [1] * 30 + [0] * 10, [1] * 18 + [0] * 22, [1] * 22 + [0] * 18
RIGHT = {"a": A, "b": B, "c": C}


def families(study=STUDY):
    return Families.of(parse_brief(study))


@pytest.fixture(scope="module")
def outcomes():
    return pd.concat([
        rows(RIGHT),
        rows(RIGHT, epsilon=0.2),
        rows(RIGHT, attack="pgd"),
        rows(RIGHT, attack="old", suite="published"),
        rows(RIGHT, attack="", worst_case="suite", suite="published"),
        rows(RIGHT, attack="", worst_case="suite"),
        rows(RIGHT, attack="", worst_case="norm", suite=""),
        rows(RIGHT, attack="", worst_case="norm", suite="", epsilon=0.2),
        rows(RIGHT, attack="", worst_case="norm_all", suite=""),
        rows(dict.fromkeys("abc", [0] * 40), attack="pgd", epsilon=0.5),
    ])  # fmt: skip


@pytest.fixture(scope="module")
def tests(outcomes):
    return mcnemar(outcomes, families=families())


def families_of(tests, **ids):
    for name, value in ids.items():
        tests = tests[tests[name] == value]
    keys = zip(tests.model_a, tests.model_b, strict=True)
    return dict(zip(map("".join, keys), tests.family, strict=True))


def test_the_example_of_benjamini_and_hochberg_rejects_its_first_four():
    q = benjamini_hochberg(BH_1995)
    assert (q < 0.05).tolist() == [True] * 4 + [False] * 11
    # By hand: 15 * 0.0095 / 4; the fifth is the least of 15 p / rank from there on.
    assert q[3] == pytest.approx(15 * 0.0095 / 4)
    assert q[4] == pytest.approx(min(15 * p / (i + 1) for i, p in enumerate(BH_1995) if i >= 4))
    assert np.isnan(benjamini_hochberg([0.01, np.nan])[1])


def test_a_p_value_below_its_level_would_be_found_and_one_above_it_would_not():
    for p in (np.array(BH_1995), np.array([0.012, 0.031, 0.6, 0.041, 0.9]), np.array([0.2, 0.3])):
        levels = benjamini_hochberg_levels(p)
        for index in np.flatnonzero(benjamini_hochberg(p) >= 0.05):
            for factor, found in ((0.999, True), (1.001, False)):
                other = p.copy()
                other[index] = levels[index] * factor
                assert (benjamini_hochberg(other)[index] < 0.05) == found
    assert np.isnan(benjamini_hochberg_levels(np.array([np.nan, 0.2]))[0])
    assert benjamini_hochberg_levels(np.array([])).size == 0


def test_the_headlines_models_at_its_cells_and_its_worst_case_are_one_family(tests):
    expected = {"ab": "headline", "ac": "exploratory", "bc": "exploratory"}
    assert families_of(tests, attack="fgsm", epsilon=0.1) == expected
    assert families_of(tests, worst_case="norm", epsilon=0.1) == expected
    headline = tests[tests.family == "headline"]
    assert len(headline) == 2
    assert headline.holm_p.tolist() == pytest.approx(holm(headline.exact_p).tolist())
    assert headline.q.isna().all()


def test_all_other_tests_are_exploratory_and_have_a_q(tests):
    everywhere = dict.fromkeys(("ab", "ac", "bc"), "exploratory")
    for ids in (
        {"attack": "fgsm", "epsilon": 0.2},
        {"attack": "pgd", "epsilon": 0.1},
        {"worst_case": "suite", "suite": "s"},
        {"worst_case": "norm", "epsilon": 0.2},
        {"worst_case": "norm_all"},
    ):
        assert families_of(tests, **ids) == everywhere, ids
    own = tests[tests.family == "exploratory"]
    assert own.holm_p.isna().all()
    assert own.q.tolist() == pytest.approx(benjamini_hochberg(own.exact_p).tolist())
    assert (own.significant == (own.q < 0.05)).all()
    assert own.significant.any()
    assert not own.significant.all()


def test_attacks_as_published_and_cells_without_any_difference_are_in_no_family(tests):
    nowhere = dict.fromkeys(("ab", "ac", "bc"), "")
    for ids in (
        {"attack": "old"},
        {"worst_case": "suite", "suite": "published"},
        {"attack": "pgd", "epsilon": 0.5},
    ):
        assert families_of(tests, **ids) == nowhere, ids
    own = tests[tests.family == ""]
    assert own[["holm_p", "q"]].isna().all(axis=None)
    assert not own.significant.any()
    assert own.note.str.contains("in no family").all()


def test_names_decide_nothing_about_families(outcomes):
    renamed = outcomes.assign(
        suite=outcomes.suite.replace({"published": "x"}),
        attack=outcomes.attack.replace({"old": "y"}),
    )
    study = {
        **STUDY,
        "attacks": {**STUDY["attacks"], "y": STUDY["attacks"]["old"]},
        "suites": {**STUDY["suites"], "x": {"attacks": ["y", "priced"]}},
    }
    tests = mcnemar(renamed, families=families(study))
    assert set(tests.family[tests.suite == "x"]) == {""}
    study["attacks"]["y"] = {"norm": "linf"}
    tests = mcnemar(renamed, families=families(study))
    assert set(tests.family[tests.attack == "y"]) == {"exploratory"}


def test_families_of_two_schemes_are_apart(outcomes):
    both = pd.concat([outcomes, outcomes.assign(split="kfold_leaky_0")])
    twice, once = (mcnemar(frame, families=families()) for frame in (both, outcomes))
    leaky = twice[twice.scheme == "kfold_leaky"]
    assert leaky.holm_p.tolist() == pytest.approx(once.holm_p.tolist(), nan_ok=True)
    assert leaky.q.tolist() == pytest.approx(once.q.tolist(), nan_ok=True)


def test_a_headline_cell_of_all_budgets_takes_them_all():
    declared = families({"headline": {"models": ["a"], "cells": [{"attack": "fgsm"}]}})
    cells = Paired.of(pd.concat([rows(RIGHT), rows(RIGHT, epsilon=0.2)])).cells
    assert declared.in_headline(cells).tolist() == [True, True]


def test_a_headline_without_any_difference_is_in_no_family_though_other_models_differ():
    right = {"a": [0] * 40, "b": [0] * 40, "c": C}
    tests = mcnemar(rows(right), families=families())
    assert families_of(tests) == {"ab": "", "ac": "exploratory", "bc": "exploratory"}


def test_the_detectable_difference_is_that_at_the_level_of_the_tests_own_family(tests):
    for row in tests.itertuples():
        discordance = (row.only_a_right + row.only_b_right) / row.n
        expected = minimum_detectable_difference(row.n, discordance, alpha=row.level)
        assert row.minimum_detectable_difference == pytest.approx(float(expected), nan_ok=True)
    weak = tests[(tests.family == "exploratory") & ~tests.significant]
    levels = benjamini_hochberg_levels(tests.exact_p[tests.family == "exploratory"])
    assert set(weak.level) <= set(levels)
    assert weak.note.str.contains("Benjamini and Hochberg's level").all()


def test_all_statistics_declare_the_same_families(outcomes):
    declared = families()
    splits = pd.concat(
        outcomes.assign(split=f"kfold_{i}", sample=outcomes["sample"] + 40 * i) for i in (0, 1)
    )
    sizes = {("toy", f"kfold_{i}", model): 100 for i in (0, 1) for model in "abc"}
    keys = ["suite", "attack", "epsilon", "model_a", "model_b"]
    frames = (
        mcnemar(splits, families=declared),
        between_splits(splits, sizes, families=declared),
        resampled_t(splits, sizes, families=declared),
    )
    first, *others = (frame.set_index(keys).family.sort_index() for frame in frames)
    for other in others:
        pd.testing.assert_series_equal(first, other)
    q = cochran_q(outcomes, families=declared).set_index(["attack", "epsilon"])
    assert q.family["fgsm", 0.1] == "headline"
    assert q.family["old", 0.1] == q.family["pgd", 0.5] == ""
    assert q.holm_p.notna().sum() == (q.family == "headline").sum()
    assert q.bh_q.notna().sum() == (q.family == "exploratory").sum()


def test_without_a_family_there_are_letters_only_where_no_test_is_needed(tests):
    ranked = ranking(tests).set_index(["attack", "epsilon", "model"]).group.sort_index()
    assert ranked["old", 0.1].tolist() == ["", "", ""]
    assert ranked["pgd", 0.5].tolist() == ["a", "a", "a"]
    assert ranked["fgsm", 0.1]["a"] == "a"
