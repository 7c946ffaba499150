import numpy as np
import pandas as pd
import pytest
from factory import ATTACKS, outcomes
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from assay.analysis.accuracy import (
    NEEDED_WORST_CASE,
    accuracy,
    auroc,
    over_norm,
    several_members,
    strongest,
    worst_case,
)
from assay.analysis.attack_set import AttackSet, attack_sets
from assay.analysis.intervals import wilson
from assay.analysis.rows import with_scheme


@pytest.fixture(scope="module")
def run():
    return outcomes(models=("gbz", "dbx"))


WHITEBOX = AttackSet("suite", "linf_whitebox")


def cell(frame, model, attacks, epsilon):
    frame = with_scheme(frame)
    mine = (frame.model == model) & AttackSet.of(attacks).among(frame)
    return frame[mine & (frame.epsilon == epsilon)]


def test_accuracy_is_the_mean_over_splits_and_the_interval_is_pooled(run):
    got = cell(accuracy(run), "dbx", "pgd_linf", 0.03).iloc[0]
    rows = cell(run, "dbx", "pgd_linf", 0.03)
    folds = (~rows.misclassified).groupby(rows["split"]).mean()
    assert got.accuracy == pytest.approx(folds.mean())
    assert got.sd == pytest.approx(np.std(folds, ddof=1))
    right = int((~rows.misclassified).sum())
    assert (got.n, got.samples, got.splits, got.pooled) == (200, 200, 5, right / 200)
    assert (got.low, got.high) == pytest.approx([float(limit) for limit in wilson(right, 200)])


def test_balanced_accuracy_and_auroc_are_scikit_learns(run):
    uneven = run[~((run.label == 2) & (run["sample"] % 4 == 0))]
    got = cell(accuracy(uneven), "dbx", "fgsm", 0.05).iloc[0]
    rows = cell(uneven, "dbx", "fgsm", 0.05)
    balanced, areas = [], []
    for _, fold in rows.groupby("split"):
        balanced.append(balanced_accuracy_score(fold.label, fold.prediction))
        areas.append(roc_auc_score(fold.label, np.stack(fold.scores), multi_class="ovr"))
    assert got.balanced_accuracy == pytest.approx(np.mean(balanced))
    # float32 scores do not sum to one exactly; ranks do not mind.
    assert got.auroc == pytest.approx(np.mean(areas), abs=1e-6)
    assert got.balanced_accuracy != pytest.approx(got.accuracy)


def test_auroc_handles_ties_missing_classes_and_nonsense():
    scores = np.array([[0.5, 0.5, 0], [0.5, 0.5, 0], [0.9, 0.1, 0], [0.2, 0.8, 0]])
    labels = np.array([0, 1, 0, 1])
    assert auroc(labels, scores) == pytest.approx(roc_auc_score(labels, scores[:, 1]))
    assert np.isnan(auroc(np.zeros(4, int), scores))
    assert np.isnan(auroc(labels, scores * np.nan))
    rng = np.random.default_rng(0)
    labels, scores = rng.integers(0, 3, 300), rng.integers(1, 5, (300, 3)).astype(np.float32)
    each = [roc_auc_score(labels == k, scores[:, k]) for k in range(3)]
    assert auroc(labels, scores) == pytest.approx(np.mean(each))


def test_one_split_has_no_standard_deviation(run):
    one = accuracy(run[run["split"] == "kfold_0"])
    assert one.sd.isna().all()
    assert one.accuracy.notna().all()


def test_images_tested_in_several_splits_do_not_narrow_the_interval(run):
    fold = run[(run["split"] == "kfold_0") & (run.model == "gbz")]
    twice = pd.concat([fold, fold.assign(split="kfold_1")])
    once, got = accuracy(fold), accuracy(twice)
    assert (got.n == 2 * once.n).all()
    assert (got.samples == once.samples).all()
    assert got.low.tolist() == pytest.approx(once.low.tolist())


def test_split_schemes_are_never_averaged(run):
    leaky = run.assign(split=run["split"].str.replace("kfold", "kfold_leaky"), misclassified=False)
    both, alone = accuracy(pd.concat([run, leaky])), accuracy(run)
    assert both.scheme.unique().tolist() == ["kfold", "kfold_leaky"]
    mine = both[both.scheme == "kfold"].reset_index(drop=True)
    pd.testing.assert_frame_equal(mine, alone)
    assert both[both.scheme == "kfold_leaky"].accuracy.eq(1).all()


def test_flip_share_counts_only_images_that_were_right(run):
    got = accuracy(run)
    clean = cell(got, "gbz", "clean", 0).iloc[0]
    assert clean.accuracy < 1
    assert clean.flip_share == 0.0
    attacked = cell(got, "gbz", "pgd_linf", 0.05).iloc[0]
    rows = cell(run, "gbz", "pgd_linf", 0.05)
    right = rows[rows.clean_prediction == rows.label]
    assert attacked.flip_share == pytest.approx(right.misclassified.mean())


def test_a_budget_of_another_float_has_a_row_of_its_own(run):
    other = run.copy()
    other.loc[other["split"] == "kfold_1", "epsilon"] += 1e-13
    assert len(accuracy(other)) == 2 * len(accuracy(run))


def test_the_union_counts_an_image_once_any_attack_breaks_it(run):
    combined = worst_case(run)
    assert set(attack_sets(combined)) == {WHITEBOX}
    assert set(combined.members) == {"fgsm, pgd_linf"}
    keys = ["model", "split", "sample"]
    for epsilon in (0.03, 0.1):
        misclassified = [
            run[(run.attack == attack) & (run.epsilon == epsilon)].set_index(keys).misclassified
            for attack in ("fgsm", "pgd_linf")
        ]
        got = combined[combined.epsilon == epsilon].set_index(keys).misclassified
        assert got.sort_index().equals((misclassified[0] | misclassified[1]).sort_index())


def test_the_union_of_two_blind_attacks_is_below_the_weaker_of_their_averages():
    attacks = [a for a in ATTACKS if a["attack"] in ("fgsm", "pgd_linf")]
    frame = outcomes(models=("gbz",), folds=1, attacks=attacks)
    even = frame["sample"] // 5 % 2 == 0
    frame["misclassified"] = np.where(frame.attack == "fgsm", even, ~even)
    got = accuracy(frame)
    assert (got.accuracy[WHITEBOX.among(got)] == 0).all()
    assert (got.accuracy[got.attack == "fgsm"] == 0.5).all()


def test_the_union_keeps_to_images_and_budgets_that_all_its_attacks_share(run):
    capped = run[~((run.attack == "fgsm") & (run["sample"] >= 60))]
    combined = worst_case(capped)
    assert combined["sample"].max() < 60
    assert 0.5 not in set(combined.epsilon)
    shared = accuracy(capped)
    assert shared.n[WHITEBOX.among(shared)].eq(60).all()


def test_the_union_adds_up_the_passes_of_its_attacks(run):
    got = accuracy(run)
    whole, *parts = (
        cell(got, "gbz", attacks, 0.05).backwards.item()
        for attacks in (WHITEBOX, "fgsm", "pgd_linf")
    )
    assert whole == pytest.approx(sum(parts))


def test_one_attack_is_a_union_where_the_others_spare_the_model(run):
    left = run[run.attack != "fgsm"]
    assert not len(worst_case(left))
    combined = worst_case(left, alone=True)
    own = left[left.attack == "pgd_linf"]
    chosen = combined[combined.suite == "linf_whitebox"]
    assert set(attack_sets(chosen)) == {WHITEBOX}
    assert chosen.misclassified.tolist() == own.misclassified.tolist()


def test_suites_of_different_norms_have_no_union(run):
    assert not {"as_published", "corruptions"} & set(worst_case(run).suite)


def test_rows_come_in_order_of_appearance_with_rising_budgets(run):
    got = accuracy(run.sample(frac=1, random_state=1).sort_values("model", kind="stable"))
    sweep = got[(got.model == "gbz") & (got.attack == "fgsm")]
    assert sweep.epsilon.is_monotonic_increasing


def test_the_clean_accuracy_beside_an_attack_is_that_of_the_attacked_images(run):
    few = run.copy()
    # Every image with a wrong unperturbed prediction is left out of one attack.
    right = few.clean_prediction == few.label
    few = few[right | (few.attack != "pgd_linf")]
    got = accuracy(few)
    attacked, clean = cell(got, "gbz", "pgd_linf", 0.01).iloc[0], cell(got, "gbz", "clean", 0)
    assert attacked.n < clean.n.iloc[0]
    assert attacked.clean == 1.0 > clean.clean.iloc[0] == clean.pooled.iloc[0]
    balls = got[got.norm.isin(["linf", "l2", "l0"])]
    assert (balls.pooled <= balls.clean).all()


def nested(frame, **most):
    """The rows with some attacks cut to the images whose number is below a limit."""
    limits = frame.attack.astype(str).map(most).fillna(np.inf)
    return frame[frame["sample"] < limits]


def misclassified(frame, epsilon, attacks):
    rows = frame[frame.attack.isin(attacks) & (frame.epsilon == epsilon)]
    return rows.groupby(["model", "split", "sample"]).misclassified.any()


LINF = ["fgsm", "pgd_linf", "fgsm_as_published", "fgsm_as_published_mended", "pgd_as_published",
        "pgd_as_published_mended"]  # fmt: skip


def test_the_strongest_worst_case_is_over_all_suites_of_a_norm(run):
    rows = strongest(run)
    mine = rows[(rows.worst_case == "norm") & (rows.norm == "linf") & (rows.epsilon == 0.03)]
    expected = misclassified(run, 0.03, LINF)
    got = mine.set_index(["model", "split", "sample"]).misclassified
    assert got.sort_index().equals(expected)
    assert set(mine.suite) == {""}
    assert set(mine.members) == {", ".join(LINF)}
    assert set(rows.worst_case) == {"norm"}, "all attacks saw the same images"
    single = accuracy(run)
    worst = cell(single, "dbx", {"norm": "linf"}, 0.03).iloc[0]
    assert worst.attacks == len(LINF)
    assert worst.pooled == pytest.approx(1 - expected["dbx"].mean())
    assert worst.backwards == pytest.approx(
        sum(cell(single, "dbx", attack, 0.03).backwards.iloc[0] for attack in LINF)
    )


def test_attacks_on_fewer_images_make_a_second_worst_case_with_its_own_n(run):
    capped = nested(run, pgd_linf=60, pgd_as_published=120)
    table = accuracy(capped)
    first = cell(table, "gbz", {"norm": "linf"}, 0.03).iloc[0]
    second = cell(table, "gbz", AttackSet("norm_all", "linf"), 0.03).iloc[0]
    assert (first.n, first.attacks) == (200, len(LINF) - 2)
    assert (second.n, second.attacks) == (60, len(LINF))
    most = [name for name in LINF if name not in ("pgd_linf", "pgd_as_published")]
    assert first.pooled == pytest.approx(1 - misclassified(capped, 0.03, most)["gbz"].mean())
    both = misclassified(capped[capped["sample"] < 60], 0.03, LINF)
    assert second.pooled == pytest.approx(1 - both["gbz"].mean())


def test_a_worst_case_is_never_above_its_members_on_the_same_images(run):
    rng = np.random.default_rng(0)
    frame = nested(run, pgd_linf=60, pgd_l2=40)
    frame = frame.assign(misclassified=rng.random(len(frame)) < 0.4)
    rows, cells = strongest(frame), ["worst_case", "norm", "epsilon"]
    for (*attacks, epsilon), worst in rows.groupby(cells, observed=True):
        keys = ["model", "split", "sample"]
        kept = worst.set_index(keys).misclassified
        for member in worst.members.iloc[0].split(", "):
            own = frame[(frame.attack == member) & (frame.epsilon == epsilon)].set_index(keys)
            own = own.misclassified[kept.index]
            assert (kept >= own).all(), (attacks, member)


def test_a_model_without_one_attack_has_its_own_worst_case(run):
    lacking = run[~((run.model == "gbz") & (run.attack == "pgd_linf"))]
    table = accuracy(lacking)
    without = cell(table, "gbz", {"norm": "linf"}, 0.03).iloc[0]
    whole = cell(table, "dbx", {"norm": "linf"}, 0.03).iloc[0]
    assert (without.attacks, whole.attacks) == (len(LINF) - 1, len(LINF))
    assert without.n == whole.n == 200
    assert "pgd_linf" not in without.members.split(", ")
    assert not cell(table, "gbz", AttackSet("norm_all", "linf"), 0.03).size


def test_an_attack_of_two_suites_counts_once_and_natural_changes_never(run):
    again = run[run.attack == "pgd_linf"].assign(suite="again")
    rows = strongest(pd.concat([run, again], ignore_index=True))
    assert not rows.duplicated(["model", "split", "worst_case", "norm", "epsilon", "sample"]).any()
    counted = rows[(rows.worst_case == "norm") & (rows.norm == "linf") & (rows.epsilon == 0.03)]
    assert set(counted.members) == {", ".join(LINF)}
    assert set(rows.norm) == {"linf", "l2", "l0"}


def test_a_worst_case_over_one_attack_is_dropped_where_no_model_has_more(run):
    table = accuracy(run, pd.concat([worst_case(run), strongest(run)], ignore_index=True))
    kept = table[several_members(table)]
    assert set(attack_sets(accuracy(run))) == set(attack_sets(kept))
    assert cell(table, "gbz", {"norm": "l2"}, 1).attacks.item() == 1
    assert not AttackSet("norm", "l2").among(kept).any()
    assert AttackSet("norm", "l0").among(kept).any()
    assert len(kept[~over_norm(kept)]) == len(table[~over_norm(table)])


def test_the_worst_case_needs_no_scores_and_is_the_same_model_by_model(run):
    light = run[list(NEEDED_WORST_CASE)]
    parts = [strongest(rows) for _, rows in light.groupby("model", sort=False)]
    alone = accuracy(pd.concat(parts, ignore_index=True), light.iloc[:0])
    assert alone.auroc.isna().all()
    whole = accuracy(run, strongest(run))
    whole = whole[over_norm(whole)].reset_index(drop=True)
    pd.testing.assert_frame_equal(alone, whole)


def test_an_attack_that_is_alone_in_its_norm_is_not_repeated_as_a_worst_case(run):
    alone = run[run.attack.isin(["fgsm", "clean"])]
    assert set(accuracy(alone).attack) == {"fgsm", "clean"}
    # Of one model alone, too, where another has several: the two can then be compared.
    more = run[(run.attack == "pgd_linf") & (run.model == run.model.iloc[0])]
    table = accuracy(pd.concat([alone, more], ignore_index=True))
    assert set(table.model[AttackSet("norm", "linf").among(table)]) == set(run.model)
