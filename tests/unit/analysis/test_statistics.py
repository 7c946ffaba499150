import numpy as np
import pandas as pd
import pytest
from factory import ATTACKS, MODELS, outcomes
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.multitest import multipletests

from assay.analysis.checks import evaluations
from assay.analysis.cochran import cochran_q
from assay.analysis.families import benjamini_hochberg, holm, holm_levels
from assay.analysis.intervals import wilson
from assay.analysis.mcnemar import exact_p, mcnemar, mid_p, minimum_detectable_difference
from assay.analysis.paired import Paired
from assay.analysis.ranking import letter_groups, ranking
from assay.analysis.resampled_t import corrected_resampled_t, resampled_t


def rows(right: dict[str, list[int]], *, attack="fgsm", epsilon=0.1, split="kfold_0", start=0):
    """Outcome rows, as far as tests need them, from a list of right (1) or wrong (0) per model."""
    return pd.concat(
        pd.DataFrame({
            "dataset": "toy", "suite": "linf_whitebox", "attack": attack, "norm": "linf",
            "epsilon": epsilon, "split": split, "model": model,
            "sample": np.arange(start, start + len(values)),
            "misclassified": ~np.asarray(values, bool),
        })
        for model, values in right.items()
    )  # fmt: skip


def table(both: int, only_a: int, only_b: int, neither: int) -> dict[str, list[int]]:
    return {
        "a": [1] * (both + only_a) + [0] * (only_b + neither),
        "b": [1] * both + [0] * only_a + [1] * only_b + [0] * neither,
    }


@pytest.mark.parametrize(
    ("k", "n", "low", "high"),
    [  # Newcombe 1998, Statistics in Medicine 17:857-872, Table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_gives_newcombes_published_intervals(k, n, low, high):
    assert np.round(wilson(k, n), 4).tolist() == [low, high]


def test_wilson_is_exact_at_the_edges_and_unknown_without_trials():
    assert wilson(0, 7)[0] == 0.0
    assert wilson(7, 7)[1] == 1.0
    assert np.isnan(wilson(0, 0)).all()


def test_the_example_of_fagerland_2013_gives_its_exact_and_mid_p():
    # Bentur et al.: 21 children, discordant 1 and 7; printed p 0.0703 and 0.0391.
    assert round(exact_p(1, 7), 4) == 0.0703
    assert round(mid_p(1, 7), 4) == 0.0391


def test_mid_p_of_equal_discordant_counts_follows_fagerlands_rule():
    assert mid_p(3, 3) == pytest.approx(1 - 0.5 * stats.binom.pmf(3, 6, 0.5))
    assert mid_p(0, 0) == exact_p(0, 0) == 1.0


def test_the_approval_ratings_of_agresti_come_out_as_in_statsmodels():
    test = mcnemar(rows(table(794, 150, 86, 570))).iloc[0]
    assert (test.both_right, test.only_a_right, test.only_b_right, test.both_wrong) == (
        794, 150, 86, 570,
    )  # fmt: skip
    assert test.exact_p == statsmodels_mcnemar([[794, 150], [86, 570]], exact=True).pvalue
    assert test.difference == pytest.approx(944 / 1600 - 880 / 1600)
    # Agresti prints a 95 % interval of 0.02 to 0.06.
    assert (round(test.low, 2), round(test.high, 2)) == (0.02, 0.06)


def test_the_interval_of_a_paired_difference_is_bonett_and_prices():
    test = mcnemar(rows(table(1, 1, 7, 12))).iloc[0]
    # By hand: (2 - 8) / 23 -+ 1.96 sqrt((10/23 - (6/23)^2) / 23)
    assert (round(test.low, 4), round(test.high, 4)) == (-0.5084, -0.0134)


def test_holm_corrects_over_the_whole_family_of_a_data_set():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    family = pd.concat(
        [
            rows(table(50, 9, 1, 10)),
            rows(table(50, 9, 1, 10), attack="pgd"),
            rows(table(50, 9, 1, 10), epsilon=0.2),
        ]
    )
    tests = mcnemar(family)
    assert tests.holm_p.tolist() == pytest.approx([3 * exact_p(9, 1)] * 3)
    other = family.assign(dataset="other")
    assert mcnemar(pd.concat([family, other])).holm_p.tolist() == pytest.approx(
        [3 * exact_p(9, 1)] * 6
    )


def test_models_are_paired_on_the_images_that_both_were_tested_on():
    long, short = table(6, 3, 1, 2)["a"], table(6, 3, 1, 2)["b"][:9]
    test = mcnemar(pd.concat([rows({"a": long}), rows({"b": short})])).iloc[0]
    assert (test.n, test.both_right, test.only_a_right, test.only_b_right) == (9, 6, 3, 0)
    assert test.accuracy_a == 1.0
    assert "3 images that were tested on one model only are excluded" in test.note


def test_pairs_match_by_image_and_not_by_row_order():
    ordered = rows(table(5, 4, 2, 1))
    shuffled = ordered.sample(frac=1, random_state=0)
    counts = ["both_right", "both_wrong"]
    first, second = mcnemar(ordered).iloc[0], mcnemar(shuffled).iloc[0]
    assert (first[counts] == second[counts]).all()
    assert first.exact_p == second.exact_p


def test_folds_are_pooled():
    folds = [rows(table(3, 2, 1, 0), split=f"kfold_{i}", start=6 * i) for i in range(3)]
    tests = mcnemar(pd.concat(folds))
    assert tests.split.tolist() == ["pooled"]
    assert (tests.n[0], tests.only_a_right[0], tests.only_b_right[0]) == (18, 6, 3)


def test_splits_that_repeat_images_are_never_pooled():
    repeats = pd.concat(rows(table(3, 2, 1, 0), split=f"random_{i}") for i in range(3))
    tests = mcnemar(repeats)
    assert tests.split.tolist() == ["random_0", "random_1", "random_2"]
    assert tests.n.tolist() == [6, 6, 6]


def test_models_are_compared_at_the_same_budget_to_the_last_bit():
    for other, n in ((0.3, [3]), (0.1 + 0.2, [])):
        parts = [rows({"a": [1, 1, 0]}, epsilon=0.3), rows({"b": [1, 0, 0]}, epsilon=other)]
        assert mcnemar(pd.concat(parts)).n.tolist() == n


def test_beside_every_nonsignificant_result_stands_what_would_have_been_found():
    tests = mcnemar(outcomes(models=("gbz", "dbx"), folds=2))
    weak = tests[~tests.significant & (tests.family != "")]
    assert len(weak)
    words = (
        r"n\.s\.; at Holm's level of [\d.]+, a true difference of 0\.\d+ would be detected with 80%"
    )
    assert weak.note.str.contains(words).all()
    assert (weak.minimum_detectable_difference > weak.difference.abs()).all()


def test_corrections_are_those_of_statsmodels_to_the_last_bit():
    p = np.random.default_rng(0).random(60) ** 4
    p = np.append(p, p[:5])  # with ties
    assert holm(p).tolist() == multipletests(p, method="holm")[1].tolist()
    assert benjamini_hochberg(p).tolist() == multipletests(p, method="fdr_bh")[1].tolist()
    assert holm([]).shape == (0,)


def test_holm_judges_what_is_left_at_the_level_at_which_it_stopped():
    p = np.array([0.04, 0.001, np.nan, 0.03, 0.012, 0.9])
    # 0.001 < 0.05 / 5 and 0.012 < 0.05 / 4 are rejected; 0.03 > 0.05 / 3 stops the procedure.
    levels = holm_levels(p)
    assert levels[[1, 4]] == pytest.approx([0.05 / 5, 0.05 / 4])
    assert levels[[0, 3, 5]] == pytest.approx([0.05 / 3] * 3)
    assert np.isnan(levels[2])
    # A p-value just below that level would have been rejected, one just above it not.
    for index in (0, 3, 5):
        for factor, found in ((0.999, True), (1.001, False)):
            other = p.copy()
            other[index] = levels[index] * factor
            assert (holm(other)[index] < 0.05) == found
    assert holm_levels(np.array([0.001, 0.002])) == pytest.approx([0.025, 0.05])


def test_no_difference_that_was_observed_and_missed_is_called_detectable():
    strongest = {}
    for level in (0.05, 0.05 / 3, 0.05 / 192):
        for n in (5, 6, 12, 20, 45, 100, 400):
            for discordant in range(1, n + 1, max(1, n // 25)):
                # The most one-sided table that is not significant.
                most = int(min(stats.binom.isf(level / 2, discordant, 0.5), discordant))
                observed = (2 * most - discordant) / n
                found = float(minimum_detectable_difference(n, discordant / n, alpha=level))
                strongest[level, n, discordant] = observed - found
                assert np.isnan(found) or observed < found
    assert np.isnan(list(strongest.values())).any()
    assert np.nanmax(list(strongest.values())) > -0.05


def test_where_no_result_could_be_significant_nothing_is_called_detectable():
    # 30 tests leave a level of 0.05 / 30, for which 10 pairs on one side are too few.
    family = pd.concat(rows(table(0, 10, 0, 0), attack=f"attack_{i}") for i in range(30))
    tests = mcnemar(family)
    assert not tests.significant.any()
    assert tests.level.tolist() == pytest.approx([0.05 / 30] * 30)
    assert tests.minimum_detectable_difference.isna().all()
    assert tests.note.str.contains("no difference is significant on so few images").all()


def test_the_minimum_detectable_difference_grows_with_the_tests_of_the_family():
    alone = mcnemar(rows(table(80, 6, 4, 10))).iloc[0]
    family = pd.concat(rows(table(80, 6, 4, 10), attack=f"attack_{i}") for i in range(20))
    corrected = mcnemar(family).iloc[0]
    assert alone.minimum_detectable_difference == minimum_detectable_difference(100, 0.1)
    assert corrected.minimum_detectable_difference == minimum_detectable_difference(
        100, 0.1, alpha=0.05 / 20
    )
    assert corrected.minimum_detectable_difference > 1.3 * alone.minimum_detectable_difference


@pytest.mark.parametrize(("n", "psi", "level"), [(200, 0.2, 0.05), (100, 0.6, 0.05 / 20)])
def test_the_minimum_detectable_difference_is_found_with_the_promised_power(n, psi, level):
    d = float(minimum_detectable_difference(n, psi, alpha=level))
    share = (psi + d) / 2 / psi  # of the discordant pairs that favour the better model
    power = 0.0
    for discordant in range(n + 1):
        found = [a for a in range(discordant + 1) if a > discordant / 2
                 and 2 * stats.binom.sf(a - 1, discordant, 0.5) < level][:1]  # fmt: skip
        if found:
            power += stats.binom.pmf(discordant, n, psi) * stats.binom.sf(
                found[0] - 1, discordant, share
            )
    assert power == pytest.approx(0.8, abs=1e-4)
    # The normal approximation, Connor 1987, comes near: the exact test is a little weaker.
    a, b = stats.norm.isf(level / 2), stats.norm.isf(0.2)
    connor = (a * np.sqrt(psi) + b * np.sqrt(psi - d**2)) / np.sqrt(n)
    assert connor < d < 1.12 * connor


def test_without_any_discordant_pair_a_difference_could_still_be_missed():
    d = float(minimum_detectable_difference(200, 0.0))
    # Six discordant pairs, all on one side, are the fewest that are significant at all.
    assert stats.binom.sf(5, 200, d) == pytest.approx(0.8)
    assert 6 / 200 < d < 12 / 200
    assert np.isnan(minimum_detectable_difference(5, 0.0))


def test_more_images_detect_smaller_differences():
    sizes = minimum_detectable_difference(np.array([100, 1000, 10000]), 0.1)
    assert (np.diff(sizes) < 0).all()


def test_cochrans_q_of_siegels_interviews_is_16_67():
    # Siegel 1956: 18 sets of three housewives, 13, 13 and 3 of them say yes; Q = 16.67.
    answers = (
        [(1, 1, 1)] * 3 + [(1, 1, 0)] * 8 + [(1, 0, 0)] * 2 + [(0, 1, 0)] * 2 + [(0, 0, 0)] * 3
    )
    result = cochran_q(rows(dict(zip("abc", np.array(answers).T.tolist(), strict=True)))).iloc[0]
    assert round(result.q, 2) == 16.67
    assert (result.df, result.n, result.models) == (2, 18, 3)
    assert result.p == pytest.approx(stats.chi2.sf(100 / 6, 2))


def test_cochrans_q_of_models_that_agree_everywhere_is_zero_not_undefined():
    result = cochran_q(rows({"a": [1, 0, 1], "b": [1, 0, 1], "c": [1, 0, 1]})).iloc[0]
    assert (result.q, result.p) == (0.0, 1.0)


def test_the_resampled_t_test_carries_nadeau_and_bengios_correction():
    # By hand: mean 0.02, s^2 = 5e-5, t = 0.02 / sqrt((1/5 + 1/4) 5e-5)
    t, df, p = corrected_resampled_t([0.02, 0.01, 0.03, 0.02, 0.02], test_share=0.25)
    assert (round(t, 4), df) == (4.2164, 4)
    assert round(p, 4) == 0.0135
    assert corrected_resampled_t([0.0, 0.0], 0.25) == (0.0, 1, 1.0)


def test_equal_differences_over_splits_give_no_test_and_no_p_of_zero():
    t, df, p = corrected_resampled_t([0.1, 0.1, 0.1], 0.25)
    assert np.isnan(t)
    assert np.isnan(p)
    assert df == 2
    # Holm's correction does not count what was not tested.
    assert holm([np.nan, 0.01, 0.04])[1:] == pytest.approx([0.02, 0.04])
    assert np.isnan(holm([np.nan, 0.01])[0])
    equal = pd.concat(rows(table(6, 2, 1, 1), split=f"random_{i}") for i in range(3))
    sizes = {("toy", f"random_{i}", model): 40 for i in range(3) for model in "ab"}
    result = resampled_t(equal, sizes).iloc[0]
    assert result.difference == pytest.approx(0.1)
    assert np.isnan([result.t, result.p, result.holm_p]).all()
    assert not result.significant


def test_the_resampled_t_test_of_splits_uses_their_differences_and_sizes():
    splits = [rows(table(6, 2 + i % 2, 1, 1), split=f"random_{i}") for i in range(4)]
    sizes = {("toy", f"random_{i}", model): 40 for i in range(4) for model in "ab"}
    result = resampled_t(pd.concat(splits), sizes).iloc[0]
    gaps = [1 / 10, 2 / 11, 1 / 10, 2 / 11]
    t, _, p = corrected_resampled_t(gaps, np.mean([10, 11, 10, 11]) / 40)
    assert (result.splits, result.t, result.p) == (4, pytest.approx(t), pytest.approx(p))
    assert resampled_t(pd.concat(splits), {}).empty


def test_the_resampled_t_test_takes_the_smaller_training_set_of_a_pair():
    right = {**table(6, 2, 1, 1), "c": [0, 1] * 5}
    splits = pd.concat(rows(right, split=f"random_{i}", start=i % 2) for i in range(4))
    models = {"a": 100, "b": 40, "c": 80}
    sizes = {("toy", f"random_{i}", model): n for i in range(4) for model, n in models.items()}
    result = resampled_t(splits, sizes).set_index(["model_a", "model_b"])
    assert result.test_share.to_dict() == pytest.approx(
        {("a", "b"): 10 / 40, ("a", "c"): 10 / 80, ("b", "c"): 10 / 40}
    )
    del sizes["toy", "random_0", "c"]
    assert resampled_t(splits, sizes).splits.tolist() == [4, 3, 3]


def test_split_schemes_are_tested_apart_but_corrected_together():
    leaky = rows(table(20, 2, 1, 1), split="kfold_leaky_0")
    careful = pd.concat(rows(table(20, 9, 0, 1), split=f"kfold_{i}", start=30 * i) for i in (0, 1))
    tests = mcnemar(pd.concat([leaky, careful])).set_index("scheme")
    assert tests.n.to_dict() == {"kfold_leaky": 24, "kfold": 60}
    assert tests.family.eq("headline").all(), "no headline is declared: all tests are one family"
    assert tests["split"].eq("pooled").all(), "an image in two schemes is not tested twice"
    assert tests.holm_p["kfold"] == pytest.approx(2 * exact_p(18, 0))
    q = cochran_q(pd.concat([leaky, careful]))
    assert q.n.tolist() == [24, 60]
    ranked = ranking(tests.reset_index())
    assert ranked.groupby("scheme").group.apply(list).to_dict() == {
        "kfold_leaky": ["a", "a"], "kfold": ["a", "b"],
    }  # fmt: skip


def test_tests_of_parts_are_the_tests_of_the_whole():
    frame = outcomes(models=("gbz", "dbx", "gbz_as_coded"), folds=2, per_fold=12)
    capped = frame[~((frame.model == "dbx") & (frame.suite == "blackbox"))]
    keys = ["model", "suite", "split"]
    parts = [Paired.of(rows) for _, rows in capped.groupby(keys, observed=True, sort=False)]
    joined, whole = Paired.joined(parts), Paired.of(capped)
    assert joined.evaluations == whole.evaluations == evaluations(capped)
    sizes = {("medical_mnist", f"kfold_{i}", model): 30 for i in range(2) for model in MODELS}
    pd.testing.assert_frame_equal(mcnemar(joined), mcnemar(whole))
    pd.testing.assert_frame_equal(cochran_q(joined), cochran_q(whole))
    order = ["attack", "epsilon", "model_a", "model_b"]
    first, second = (resampled_t(pairs, sizes).sort_values(order) for pairs in (joined, whole))
    pd.testing.assert_frame_equal(first.reset_index(drop=True), second.reset_index(drop=True))


def test_letters_are_shared_exactly_by_models_that_do_not_differ():
    names = ["v", "w", "x", "y", "z"]
    apart = [("v", "y"), ("v", "z"), ("w", "z"), ("x", "z")]
    letters = letter_groups(names, apart)
    for first in names:
        for second in names:
            shared = bool(set(letters[first]) & set(letters[second]))
            differ = (first, second) in apart or (second, first) in apart
            assert shared != differ
    assert letters["v"] == "a"


def test_letters_of_unordered_differences_still_hold():
    # Best and second differ, yet neither differs from the third: two groups must overlap in it.
    assert letter_groups(["x", "y", "z"], [("x", "y")]) == {"x": "a", "y": "b", "z": "ab"}


def test_models_share_a_letter_as_in_a_public_library():
    # It gives its letters in another order, in which the best may lack the `a`, and has 52 of them.
    from scikit_posthocs import compact_letter_display

    def groups(letters):
        names = {letter for word in letters.values() for letter in word.strip().replace(" ", "")}
        return {frozenset(n for n, word in letters.items() if letter in word) for letter in names}

    rng = np.random.default_rng(0)
    for count in (2, 3, 5, 8):
        names = [f"m{index}" for index in range(count)]
        for share in (0.0, 0.2, 0.5, 1.0):
            apart = np.triu(rng.random((count, count)) < share, 1)
            pairs = [(names[i], names[j]) for i, j in zip(*np.nonzero(apart), strict=True)]
            theirs = compact_letter_display(np.where(apart | apart.T, 0.0, 1.0), names=names)
            assert groups(letter_groups(names, pairs)) == groups(dict(theirs))


def test_the_ranking_orders_models_by_accuracy():
    attacks = [entry for entry in ATTACKS if entry["attack"] == "pgd_linf"]
    ranked = ranking(mcnemar(outcomes(folds=2, attacks=attacks)))
    cell = ranked[(ranked.attack == "pgd_linf") & (ranked.epsilon == 0.03)]
    assert cell["rank"].tolist() == [1, 2, 3, 4, 5]
    assert cell.accuracy.is_monotonic_decreasing
    assert set(cell.model) == set(MODELS)
    assert cell.group.iloc[0] == "a"
    assert "a" not in cell.group.iloc[-1]


def test_a_single_model_has_nothing_to_be_compared_with():
    assert mcnemar(outcomes(models=("gbz",), folds=1)).empty
