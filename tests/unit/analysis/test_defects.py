import numpy as np
import pandas as pd
import pytest
from factory import outcomes, study

from assay.analysis.defects import COLUMNS, defects
from assay.analysis.mcnemar import exact_p

PAIRS = study().tables["defects"]["pairs"]


@pytest.fixture(scope="module")
def run():
    return outcomes(models=("gbz",), folds=2)


def test_points_are_the_paired_difference_of_the_two_attacks(run):
    got = defects(run, PAIRS).set_index(["published", "corrected", "epsilon"])
    one = got.loc["pgd_as_published", "pgd_linf", 0.1]
    assert (one.n, one.norm) == (80, "linf")
    lost = one.only_corrected_breaks - one.only_published_breaks
    assert one.points_explained == pytest.approx(100 * lost / 80)
    assert one.points_explained == pytest.approx(
        100 * (one.accuracy_published - one.accuracy_corrected)
    )
    assert one.points_explained > 50
    assert one.exact_p == exact_p(one.only_published_breaks, one.only_corrected_breaks)


def test_only_budgets_and_images_of_both_attacks_enter(run):
    capped = run[~((run.attack == "fgsm") & (run["sample"] >= 20))]
    got = defects(capped, PAIRS)
    assert set(got.epsilon[got.published == "pgd_as_published"]) == {0.03, 0.1}
    assert set(got.n[got.corrected == "fgsm"]) == {20}


def test_images_tested_in_several_splits_get_no_p_value(run):
    fold = run[run["split"] == "kfold_0"]
    got = defects(pd.concat([fold, fold.assign(split="kfold_1")]), PAIRS)
    assert got.exact_p.isna().all()
    assert np.isfinite(got.points_explained).all()


def test_split_schemes_are_priced_apart_although_they_share_their_images(run):
    leaky = run.assign(split=run["split"].str.replace("kfold", "kfold_leaky"), misclassified=False)
    got = defects(pd.concat([run, leaky]), PAIRS)
    assert set(got.scheme) == {"kfold", "kfold_leaky"}
    assert (got.points_explained[got.scheme == "kfold_leaky"] == 0).all()
    mine = got[got.scheme == "kfold"].reset_index(drop=True)
    pd.testing.assert_frame_equal(mine, defects(run, PAIRS))
    assert got.exact_p.notna().all()


def test_a_pair_that_never_meets_gives_no_row(run):
    got = defects(run[run.suite != "as_published"], PAIRS)
    assert got.empty
    assert tuple(got.columns) == COLUMNS
