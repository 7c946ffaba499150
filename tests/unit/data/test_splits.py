"""Splits deal fairly, keep together what belongs together, and say what leaks."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from data_factory import catalogue

from assay.data.leaks import leaks
from assay.data.splits import (
    balanced_order,
    deal,
    group_ids,
    leakage,
    make_split,
    split_count,
    subsample,
)
from assay.foundation.errors import DataError

SCHEMES = catalogue("splits")
RNG = np.random.default_rng(0)


def table(per_class=(100, 80, 53), duplicates=12, per_patient=3):
    """Three classes, some images three times, patients of several images within a class.

    By the safe reading two patients are one.
    """
    label = np.repeat(np.arange(len(per_class)), per_class)
    sample = np.arange(len(label))
    duplicate = sample.copy()
    for first in range(0, duplicates * 3, 3):
        duplicate[first : first + 3] = first
    patient = [f"p{n // per_patient}-{kind}" for n, kind in zip(sample, label, strict=True)]
    return pd.DataFrame(
        {
            "sample": sample,
            "file": [f"{number}.png" for number in sample],
            "label": label,
            "duplicate": duplicate,
            "patient": pd.array(patient, dtype="string"),
            "patient_safe": pd.array([f"{n // (2 * per_patient)}" for n in sample], dtype="string"),
            "official": pd.array([None] * len(label), dtype="string"),
        }
    )


def straddling(samples, split, column):
    return (
        samples.assign(subset=split["subset"].to_numpy()).groupby(column)["subset"].nunique().max()
        > 1
    )


def test_folds_are_disjoint_and_cover_everything_with_every_class_in_each_part():
    samples = table()
    folds = [make_split(samples, SCHEMES["kfold"], index, seed=3) for index in range(5)]
    tested = np.concatenate([fold.loc[fold["subset"] == "test", "sample"] for fold in folds])
    assert sorted(tested) == samples["sample"].tolist()
    for fold in folds:
        counts = pd.crosstab(samples["label"], fold["subset"].to_numpy())
        assert (counts["test"] / counts.sum(axis=1)).between(0.17, 0.23).all()
        assert (counts["val"] / (counts["val"] + counts["train"])).between(0.17, 0.23).all()


def test_without_groups_the_shares_are_exact_to_the_image():
    samples = table((1000, 500, 250), duplicates=0)
    scheme = {**SCHEMES["random_millner"], "group": "none"}
    split = make_split(samples, scheme, 0, seed=0)
    counts = pd.crosstab(samples["label"], split["subset"].to_numpy())
    assert counts["test"].tolist() == [100, 50, 25]
    assert counts["val"].tolist() == [180, 90, 45]


@pytest.mark.parametrize("name", [name for name in SCHEMES if "official" not in name])
@pytest.mark.parametrize("index", [0, 4])
def test_groups_never_straddle(name, index):
    samples, scheme = table(), SCHEMES[name]
    index = min(index, split_count(scheme) - 1)
    split = make_split(samples, scheme, index, seed=1)
    assert set(split["subset"]) == {"train", "val", "test"}
    if scheme["group"] != "none":
        assert not straddling(samples, split, "duplicate")
    whole = scheme["group"] in ("patient", "patient_safe")
    assert straddling(samples, split, "patient") == (not whole)
    assert straddling(samples, split, "patient_safe") == (scheme["group"] != "patient_safe")


def test_validation_of_official_parts_takes_whole_patients():
    samples = table()
    tested = samples["patient"].isin(samples["patient"].unique()[::4])
    # Copies stay in one part, as the publisher of a sound split would have it.
    tested |= samples["duplicate"].isin(samples["duplicate"][tested])
    samples["official"] = np.where(tested, "test", "train")
    split = make_split(samples, SCHEMES["official_patient"], 0, seed=0)
    assert (split["subset"] == "test").equals(tested)
    assert (split["subset"] == "val").sum() > 0
    learned = samples[~tested], split[~tested]
    assert not straddling(*learned, "patient")


def test_identical_images_of_two_patients_join_the_patients():
    samples = table(duplicates=0)
    samples.loc[10, "duplicate"] = samples.loc[40, "duplicate"] = 10
    one, other = samples.loc[[10, 40], "patient"]
    groups = group_ids(samples, "patient")
    mates = samples.index[samples["patient"].isin([one, other])]
    assert len(set(groups[mates])) == 1
    assert len(set(groups)) == samples["patient"].nunique() - 1


def test_images_without_patient_stand_for_themselves():
    samples = table(duplicates=0)
    samples.loc[:9, "patient"] = None
    assert len(set(group_ids(samples, "patient")[:9])) == 9


def test_a_split_depends_on_seed_and_index_alone():
    samples = table()
    one = make_split(samples, SCHEMES["random"], 2, seed=1)
    assert one.equals(make_split(samples, SCHEMES["random"], 2, seed=1))
    assert not one.equals(make_split(samples, SCHEMES["random"], 3, seed=1))
    assert not one.equals(make_split(samples, SCHEMES["random"], 2, seed=2))


def test_a_large_group_goes_whole_where_it_fits():
    labels = np.zeros(100, int)
    groups = np.r_[np.zeros(40, int), np.arange(1, 61)]
    subset = deal(labels, groups, [0.5, 0.5], np.random.default_rng(0))
    assert len(set(subset[:40])) == 1
    assert np.bincount(subset).tolist() == [50, 50]


def test_mixed_groups_still_leave_the_classes_balanced():
    rng = np.random.default_rng(5)
    labels, groups = rng.integers(0, 4, 3000), rng.integers(0, 400, 3000)
    subset = deal(labels, groups, [0.7, 0.15, 0.15], rng)
    shares = pd.crosstab(labels, subset, normalize="index").to_numpy()
    assert np.abs(shares - [0.7, 0.15, 0.15]).max() < 0.02


def test_a_class_with_fewer_images_than_folds_is_named_with_the_remedy():
    samples = table((100, 4), duplicates=0)
    with pytest.raises(DataError, match="'rare' has 4 images, fewer than 5; use at most 4 folds"):
        make_split(samples, SCHEMES["kfold"], 0, seed=0, classes=["common", "rare"])
    advised = make_split(samples, {**SCHEMES["kfold"], "folds": 4}, 0, seed=0)
    assert set(advised["subset"]) == {"train", "val", "test"}


@pytest.mark.parametrize(
    ("count", "message", "scheme"),
    [
        (1, "has 1 image, ", "kfold"),
        (3, "has 3 images, ", "kfold"),
        (1, "has 1 image, ", "random"),
    ],
)
def test_fewer_folds_are_not_advised_where_none_would_do(count, message, scheme):
    with pytest.raises(
        DataError, match=f"'rare' {message}fewer than .*; add images of it or"
    ) as error:
        make_split(
            table((100, count), duplicates=0), SCHEMES[scheme], 0, seed=0, classes=["a", "rare"]
        )
    assert "folds" not in str(error.value)


def test_a_class_with_fewer_groups_than_folds_is_named():
    samples = table((100, 30), duplicates=0, per_patient=10)
    with pytest.raises(DataError, match="class '1' has 30 images in 3 groups, fewer than 5"):
        make_split(samples, SCHEMES["kfold_patient"], 0, seed=0)


def test_a_class_that_would_be_missing_from_a_part_is_refused():
    samples = table((100, 2), duplicates=0)
    scheme = {**SCHEMES["kfold"], "folds": 2}
    with pytest.raises(DataError, match="class '1' has 2 images, none for 'val'"):
        make_split(samples, scheme, 0, seed=0)


def test_official_parts_are_kept_and_validation_comes_from_training():
    samples = table(duplicates=0)
    samples["official"] = np.where(samples["sample"] % 4 == 0, "test", "train")
    split = make_split(samples, SCHEMES["official"], 0, seed=0)
    assert (split["subset"] == "test").equals(samples["official"] == "test")
    taken, training = (split["subset"] == "val").sum(), (samples["official"] == "train").sum()
    assert taken == pytest.approx(0.1 * training, abs=2)
    samples.loc[samples["sample"] % 4 == 1, "official"] = "val"
    split = make_split(samples, SCHEMES["official"], 0, seed=0)
    assert split["subset"].tolist() == samples["official"].tolist()


@pytest.mark.parametrize(
    ("scheme", "index", "message"),
    [
        ("official", 0, "no official parts; use a kfold or random"),
        ("kfold", 5, "no split 5; choose 0 … 4"),
        ("kfold", -1, "no split -1"),
    ],
)
def test_impossible_splits_are_told(scheme, index, message):
    with pytest.raises(DataError, match=message):
        make_split(table(), SCHEMES[scheme], index, seed=0)


def test_patients_are_demanded_only_where_they_are_known():
    samples = table().assign(patient=pd.array([None] * 233, dtype="string"))
    with pytest.raises(DataError, match="no patient ids; use a scheme that groups by duplicate"):
        make_split(samples, SCHEMES["kfold_patient"], 0, seed=0)
    with pytest.raises(DataError, match="cannot group by 'family'"):
        make_split(samples, {**SCHEMES["kfold"], "group": "family"}, 0, seed=0)


def test_leakage_counts_what_straddles_by_hand():
    samples = table((4, 4), duplicates=0)
    samples["duplicate"] = [0, 0, 2, 3, 4, 4, 4, 7]
    samples["patient"] = pd.array(["a", "a", "b", "c", "d", "d", "d", None], dtype="string")
    subsets = ["train", "test", "test", "val", "train", "test", "test", "val"]
    split = pd.DataFrame({"sample": range(8), "subset": subsets})
    leaks = leakage(samples, split, ["x", "y"]).set_index(["measure", "subsets", "class"])
    assert leaks.loc[("duplicates", "train-test", "all")].tolist() == [2, 3, 0.75]
    assert leaks.loc[("duplicates", "train-test", "x")].tolist() == [1, 1, 0.5]
    assert leaks.loc[("duplicates", "train-val", "all"), "images"] == 0
    assert leaks.loc[("patients", "train-test", "y")].tolist() == [1, 2, 1.0]
    assert leaks.loc[("images", "test", "all")].tolist() == [3, 4, 0.5]


def test_unknown_patients_are_unknown_in_the_leakage_table_and_not_zero():
    samples = table().assign(patient=pd.array([None] * 233, dtype="string"))
    leaks = leakage(samples, make_split(samples, SCHEMES["kfold"], 0, seed=0))
    assert leaks.loc[leaks["measure"] == "patients", "images"].isna().all()
    assert (leaks.loc[leaks["measure"] == "duplicates", "images"] == 0).all()


def test_a_split_by_image_leaks_and_the_table_shows_it():
    samples = table(duplicates=30)
    leaks = leakage(samples, make_split(samples, SCHEMES["random_image"], 0, seed=0))
    caught = leaks.query("measure == 'duplicates' and subsets == 'train-test' and `class` == 'all'")
    assert caught["images"].item() > 0


def test_of_each_class_as_many_test_images_are_drawn_as_asked_and_others_are_spare(caplog):
    samples = table(per_class=(100, 80, 53), duplicates=0)
    whole = make_split(samples, SCHEMES["random_patient"], 0, seed=3)
    scheme = {**SCHEMES["random_patient"], "test_per_class": 9}
    fewer = make_split(samples, scheme, 0, seed=3, classes=["a", "b", "c"])
    assert fewer["subset"].replace("spare", "test").tolist() == whole["subset"].tolist()
    tested = samples.label[fewer["subset"] == "test"].value_counts()
    there = samples.label[whole["subset"] == "test"].value_counts()
    assert tested.to_dict() == there.clip(upper=9).to_dict() == {0: 9, 1: 9, 2: there[2]}
    assert there[2] < 9
    assert f"class 'c' has {there[2]} test images, not 9; all are used" in caplog.text
    other = make_split(samples, scheme, 0, seed=4)
    assert not fewer.equals(other)
    assert fewer.equals(make_split(samples, scheme, 0, seed=3))


def test_a_subsample_is_stratified_sorted_and_keeps_rare_classes():
    labels = np.repeat([0, 1, 2], [700, 290, 10])
    subset = RNG.permutation(1000)[:900]
    kept = subsample(subset, labels, 90, seed=0)
    assert len(kept) == 90
    assert (np.diff(kept) > 0).all()
    assert set(kept) <= set(subset)
    assert np.bincount(labels[kept]) == pytest.approx([63, 26, 1], abs=1.5)
    assert set(labels[subsample(subset, labels, 3, seed=0)]) == {0, 1, 2}
    assert (kept == subsample(subset[::-1], labels, 90, seed=0)).all()
    assert (kept != subsample(subset, labels, 90, seed=1)).any()


def test_smaller_subsamples_are_nested_and_the_classes_take_turns():
    labels = np.repeat([0, 1, 2, 3], 50)
    subsets = [subsample(np.arange(200), labels, n, seed=3) for n in (1, 6, 41, 120)]
    for smaller, larger in pairwise(subsets):
        assert set(smaller) < set(larger)
    for subset in subsets:
        counts = np.bincount(labels[subset], minlength=4)
        assert counts.max() - counts.min() <= 1


@pytest.mark.parametrize("n", [None, 5, 50])
def test_a_subsample_of_all_is_all(n):
    kept = subsample(np.array([3, 1, 4, 0, 2]), np.zeros(9, int), n, seed=0)
    assert kept.tolist() == [0, 1, 2, 3, 4]


def test_the_number_of_splits_follows_the_scheme():
    assert {name: split_count(SCHEMES[name]) for name in ("kfold", "random", "official")} == {
        "kfold": 5, "random": 10, "official": 1,
    }  # fmt: skip


def in_order(samples, split, seed=0):
    """The training images as networks take them."""
    train = split.loc[split["subset"] == "train", "sample"].to_numpy()
    return balanced_order(train, samples["label"].to_numpy(), seed=seed)


def test_each_test_image_says_what_it_shares_with_training_images():
    samples = table((4, 4), duplicates=0)
    samples["duplicate"] = [0, 0, 2, 3, 4, 5, 4, 7]
    samples["patient"] = pd.array(["a", "b", "b", "c", "d", "e", "f", None], dtype="string")
    samples["patient_safe"] = pd.array(["1", "1", "1", "2", "2", "3", "2", "4"], dtype="string")
    subsets = ["train", "test", "test", "val", "train", "test", "test", "test"]
    split = pd.DataFrame({"sample": range(8), "subset": subsets})
    found = leaks(samples, split, np.array([4, 0])).set_index("sample")
    assert found.index.tolist() == [1, 2, 5, 6, 7]
    assert found["duplicate_in_train"].tolist() == [True, False, False, True, False]
    # Patient c is only in validation, where no weight is fitted; image 7's patient is not known.
    assert found["patient_in_train"].tolist() == [False, False, False, False, pd.NA]
    assert found["patient_safe_in_train"].tolist() == [True, True, False, True, False]
    assert found["patient_safe_first"].tolist() == [1, 1, pd.NA, 0, pd.NA]
    assert found["duplicate_first"].tolist() == [1, pd.NA, pd.NA, 0, pd.NA]
    assert found["patient"].isna().tolist() == [False] * 4 + [True]
    assert found.loc[1, "patient"] == found.loc[2, "patient"] != found.loc[5, "patient"]


def test_a_network_that_learns_from_fewer_images_has_seen_fewer_relatives():
    samples = table((200, 200), duplicates=0)
    split = make_split(samples, SCHEMES["random_image"], 0, seed=0)
    train = split.loc[split["subset"] == "train", "sample"].to_numpy()
    found = leaks(samples, split, in_order(samples, split, seed=5)).set_index("sample")
    for n in (10, 60, len(train)):
        learnt = subsample(train, samples["label"].to_numpy(), n, seed=5)
        known = set(samples["patient"][learnt])
        seen = samples["patient"][found.index].isin(known)
        assert (found["patient_first"] < n).fillna(value=False).tolist() == seen.tolist()


def test_where_patients_are_unknown_nothing_is_said_of_them_image_by_image():
    samples = table().drop(columns="patient_safe")
    samples["patient"] = pd.array([None] * 233, dtype="string")
    split = make_split(samples, SCHEMES["random_image"], 0, seed=0)
    found = leaks(samples, split, in_order(samples, split))
    assert found["sample"].tolist() == split.loc[split["subset"] == "test", "sample"].tolist()
    unknown = ["patient", "patient_in_train", "patient_first", "patient_safe_in_train"]
    assert found[unknown].isna().all().all()
    assert found["duplicate_in_train"].any()


def test_leaks_by_image_add_up_to_the_leakage_table():
    samples = table(duplicates=30)
    for scheme in ("random_image", "random_patient", "random_150_image"):
        split = make_split(samples, SCHEMES[scheme], 1, seed=0)
        counts = leakage(samples, split).set_index(["subsets", "class", "measure"])["images"]
        flags = leaks(samples, split, in_order(samples, split))
        for measure, name in (
            ("duplicates", "duplicate"),
            ("patients", "patient"),
            ("patients_safe", "patient_safe"),
        ):
            assert flags[f"{name}_in_train"].sum() == counts["train-test", "all", measure]


def test_the_safe_reading_is_measured_only_where_there_is_one_and_can_be_split_by():
    samples = table()
    split = make_split(samples, SCHEMES["random_150_patient"], 0, seed=0)
    without = samples.drop(columns="patient_safe")
    assert "patients_safe" not in set(leakage(without, split)["measure"])
    with pytest.raises(DataError, match="no patient ids"):
        make_split(without, SCHEMES["random_150_person"], 0, seed=0)
    parted = leakage(samples, split).set_index(["measure", "subsets", "class"])["images"]
    assert parted["patients", "train-test", "all"] == 0
    assert parted["patients_safe", "train-test", "all"] > 0
    safe = make_split(samples, SCHEMES["random_150_person"], 0, seed=0)
    assert not straddling(samples, safe, "patient_safe")
    assert not straddling(samples, safe, "duplicate")
