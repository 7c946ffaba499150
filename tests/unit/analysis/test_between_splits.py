"""Tests that know of splits, and what is marked by them: letters, leaders, intervals."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from assay.analysis.between_splits import between_splits
from assay.analysis.intervals import bonett_price
from assay.analysis.mcnemar import exact_p, mcnemar
from assay.analysis.paired import Paired
from assay.analysis.ranking import in_best_group, leaders, letter_groups, letters_of, ranking
from assay.analysis.resampled_t import corrected_resampled_t, split_interval

CELL = ["dataset", "scheme", "suite", "attack", "worst_case", "norm", "epsilon"]


def paired(right: np.ndarray, *, repeated: bool = False, attacks: int = 1) -> Paired:
    """Decisions of shape (attacks * splits, images, models); images recur where `repeated`."""
    right = np.asarray(right, np.int8)
    parts, images, models = right.shape
    splits = parts // attacks
    cells = pd.DataFrame({
        "dataset": "toy", "scheme": "made", "suite": "s", "worst_case": "",
        "attack": np.repeat([f"attack_{i}" for i in range(attacks)], splits).astype(object),
        "norm": "linf", "epsilon": 0.1,
        "split": np.tile([f"made_{i}" for i in range(splits)], attacks).astype(object),
    })  # fmt: skip
    sample = np.tile(np.arange(images), parts)
    if not repeated:
        sample = sample + np.repeat(np.tile(np.arange(splits), attacks), images) * images
    return Paired(
        cells, np.repeat(np.arange(parts), images).astype(np.int32), sample,
        right.reshape(-1, models), tuple("abcdefghij"[:models]),
        frozenset({("toy", "made")} if repeated else ()),
    )  # fmt: skip


def drawn(rng, shares: np.ndarray, images: int) -> np.ndarray:
    """(splits, images, models) decisions, right with the (splits, models) shares."""
    return rng.random((len(shares), images, shares.shape[1])) < shares[:, None]


def trained(splits: int, models: str = "ab", n: int = 100) -> dict:
    return {("toy", f"made_{i}", model): n for i in range(splits) for model in models}


def outcome_rows(right: dict[str, list[int]], split: str = "kfold_0", start: int = 0, **ids):
    return pd.concat(
        pd.DataFrame({
            "dataset": "toy", "suite": "s", "attack": "fgsm", "norm": "linf", "epsilon": 0.1,
            "split": split, "model": model, "sample": np.arange(start, start + len(values)),
            "misclassified": ~np.asarray(values, bool), **ids,
        })
        for model, values in right.items()
    )  # fmt: skip


@pytest.mark.parametrize(
    ("splits", "method"),
    [(1, "McNemar"), (2, "corrected resampled t"), (4, "corrected resampled t"),
     (5, "clustered bootstrap")],
)  # fmt: skip
def test_the_number_of_splits_decides_the_test(splits, method):
    right = drawn(np.random.default_rng(0), np.full((splits, 2), 0.6), 20)
    test = between_splits(paired(right), trained(splits)).iloc[0]
    assert (test.method, test.splits) == (method, splits)
    assert (test.n, test.samples) == (20 * splits, 20 * splits)
    gaps = right[:, :, 0].mean(axis=1) - right[:, :, 1].mean(axis=1)
    assert test.difference == pytest.approx(gaps.mean())
    assert test.accuracy_a - test.accuracy_b == pytest.approx(test.difference)
    assert test.low < test.difference < test.high


def test_one_split_is_tested_by_mcnemar_and_bonett_price():
    right = np.array([[(1, 0)] * 9 + [(0, 1)] * 1 + [(1, 1)] * 10])
    test = between_splits(paired(right)).iloc[0]
    assert test.p == exact_p(9, 1)
    assert (test.low, test.high) == pytest.approx(bonett_price(9, 1, 20))


def test_two_to_four_splits_are_tested_by_nadeau_and_bengios_t():
    right = drawn(np.random.default_rng(1), np.array([[0.9, 0.5], [0.7, 0.5], [0.8, 0.6]]), 40)
    test = between_splits(paired(right), trained(3, n=160)).iloc[0]
    gaps = right[:, :, 0].mean(axis=1) - right[:, :, 1].mean(axis=1)
    _, df, p = corrected_resampled_t(gaps, 40 / 160)
    assert test.p == pytest.approx(p)
    half = stats.t.ppf(0.975, df) * np.sqrt((1 / 3 + 0.25) * gaps.var(ddof=1))
    assert (test.low, test.high) == pytest.approx(
        (max(gaps.mean() - half, -1), min(gaps.mean() + half, 1))
    )


def test_what_cannot_be_tested_between_splits_says_so_and_is_not_significant():
    equal = np.array([[(1, 0), (1, 1), (0, 0), (1, 1)]] * 3)
    test = between_splits(paired(equal), trained(3)).iloc[0]
    assert np.isnan([test.p, test.low, test.high, test.holm_p]).all()
    assert not test.significant
    assert "same difference" in test.note
    unknown = between_splits(paired(drawn(np.random.default_rng(0), np.full((3, 2), 0.5), 9)))
    assert np.isnan(unknown.p[0])
    assert "number of training images" in unknown.note[0]


@pytest.mark.parametrize("splits", [3, 5])
def test_models_that_never_differ_have_p_one_and_an_interval_that_images_still_allow(splits):
    alike = np.ones((splits, 10, 2))
    test = between_splits(paired(alike), trained(splits)).iloc[0]
    assert test.p == 1
    assert (test.low, test.high) == pytest.approx(bonett_price(0, 0, 10 * splits))
    assert test.low < 0 < test.high


def test_the_bootstrap_has_the_spread_of_splits_and_of_images():
    shares = np.array([[0.9, 0.4], [0.7, 0.5], [0.8, 0.5], [0.6, 0.4], [0.9, 0.6], [0.7, 0.3]])
    right = drawn(np.random.default_rng(2), shares, 50)
    test = between_splits(paired(right), replicates=20_000).iloc[0]
    each = right[:, :, 0].astype(float) - right[:, :, 1]
    gaps = each.mean(axis=1)
    # Students' variance of a mean over splits, and the images' within the splits.
    split = stats.t.ppf(0.975, 5) ** 2 * gaps.var(ddof=1) / 6
    image = stats.norm.ppf(0.975) ** 2 * (each.var(axis=1) / 50).mean() / 6
    assert (test.high - test.low) / 2 == pytest.approx(np.sqrt(split + image), rel=0.04)
    assert (test.high + test.low) / 2 == pytest.approx(gaps.mean(), abs=0.02)


def test_an_image_that_is_hard_in_every_split_is_one_source_of_chance():
    # The same ten images in five splits, the same decisions in all of them.
    hard = np.array([[(1, 0)] * 3 + [(0, 1)] + [(1, 1)] * 6] * 5)
    apart, recurring = (
        between_splits(paired(hard, repeated=repeated)).iloc[0] for repeated in (False, True)
    )
    assert (apart.samples, recurring.samples) == (50, 10)
    ratio = (recurring.high - recurring.low) / (apart.high - apart.low)
    assert ratio == pytest.approx(np.sqrt(5), rel=0.15)


def test_a_bootstrap_never_gives_a_p_of_zero():
    apart = np.zeros((5, 30, 2))
    apart[:, :, 0] = 1
    test = between_splits(paired(apart), replicates=999).iloc[0]
    assert test.difference == 1
    # One test in the headline needs no more replicates: 16 / 0.05 is fewer.
    assert test.p == pytest.approx(2 / 1000)
    assert test.low < 1


def test_a_large_headline_gets_as_many_replicates_as_its_correction_needs():
    right = np.zeros((20 * 5, 10, 4))
    right[:, :, 0] = 1
    tests = between_splits(paired(right, attacks=20), replicates=200)
    assert len(tests) == 120
    found = tests[tests.model_a == "a"]
    assert (found.holm_p < 0.05).all()
    assert found.significant.all()
    assert not tests[tests.model_a != "a"].significant.any()


def test_the_same_seed_gives_the_same_result_whatever_the_order_of_the_rows():
    right = drawn(np.random.default_rng(3), np.full((5, 3), 0.6), 30)
    frame = pd.concat(
        outcome_rows(dict(zip("abc", part.T, strict=True)), split=f"kfold_{i}", start=30 * i)
        for i, part in enumerate(right)
    )
    first = between_splits(frame)
    again = between_splits(frame)
    pd.testing.assert_frame_equal(first, again)
    shuffled = frame.iloc[::-1].sort_values("model", kind="stable")
    other = between_splits(shuffled).sort_values(["model_a", "model_b"], ignore_index=True)
    pd.testing.assert_frame_equal(first, other)
    assert (between_splits(frame, seed=1).low != first.low).any()


def test_models_of_a_cell_with_other_images_are_paired_on_those_they_share():
    right = drawn(np.random.default_rng(4), np.full((5, 3), 0.5), 20).astype(np.int8)
    right[:, 5:, 2] = -1
    tests = between_splits(paired(right)).set_index(["model_a", "model_b"])
    assert tests.n.to_dict() == {("a", "b"): 100, ("a", "c"): 25, ("b", "c"): 25}
    alone = between_splits(paired(right[:, :5])).set_index(["model_a", "model_b"])
    assert tests.difference["a", "c"] == pytest.approx(alone.difference["a", "c"])


def test_the_clustered_bootstrap_covers_where_pooled_intervals_do_not():
    rng, attacks, splits, images = np.random.default_rng(5), 150, 5, 40
    shares = np.clip(0.6 + rng.normal(0, 0.2, (attacks * splits, 2)), 0, 1)
    pairs = paired(drawn(rng, shares, images), attacks=attacks)
    clustered, pooled = between_splits(pairs, replicates=1000), mcnemar(pairs)
    covers, pooled_covers = (
        ((frame.low <= 0) & (frame.high >= 0)).mean() for frame in (clustered, pooled)
    )
    assert 0.92 <= covers < 1, "networks differ by 0.2 from one training to the next"
    assert pooled_covers < 0.6
    # Where trainings do not differ, the interval is not more than twice as wide as it need be.
    still = paired(drawn(rng, np.full((200, 2), 0.6), images), attacks=40)
    widths = [(frame.high - frame.low).mean() for frame in (between_splits(still), mcnemar(still))]
    assert 1.2 < widths[0] / widths[1] < 2


def test_letters_know_of_splits_and_pooled_letters_stand_beside_them():
    # In two of five splits all is lost: pooled images hide how unsure that makes the mean.
    shares = np.array([[1.0, 0.6], [1.0, 0.6], [1.0, 0.5], [0.3, 0.6], [0.4, 0.6]])
    pairs = paired(drawn(np.random.default_rng(6), shares, 40))
    ranked = ranking(mcnemar(pairs), between_splits(pairs)).set_index("model")
    assert ranked.group.to_dict() == {"a": "a", "b": "a"}
    assert ranked.group_pooled.to_dict() == {"a": "a", "b": "b"}
    assert set(ranked.method) == {"clustered bootstrap"}
    alone = ranking(mcnemar(pairs)).set_index("model")
    assert alone.group.to_dict() == alone.group_pooled.to_dict() == {"a": "a", "b": "b"}


def test_splits_that_share_images_are_ranked_one_by_one_and_all_together():
    shares = np.array([[0.9, 0.1]] * 5)
    pairs = paired(drawn(np.random.default_rng(7), shares, 20), repeated=True)
    ranked = ranking(mcnemar(pairs), between_splits(pairs))
    assert list(dict.fromkeys(ranked["split"])) == [*(f"made_{i}" for i in range(5)), "pooled"]
    pooled = ranked[ranked["split"] == "pooled"].set_index("model")
    assert pooled.n.tolist() == [100, 100]
    assert pooled.group.to_dict() == {"a": "a", "b": "b"}
    assert set(pooled.group_pooled) == {""}, "pooled McNemar would count images five times"
    assert set(ranked.method[ranked["split"] == "made_0"]) == {"McNemar"}


def test_models_are_ranked_on_the_images_that_all_were_tested_on():
    right = {"a": [1] * 20 + [0] * 80, "b": [1] * 30 + [0] * 70, "c": [1] * 15 + [0] * 5}
    ranked = ranking(mcnemar(outcome_rows(right))).set_index("model")
    assert ranked.accuracy.to_dict() == {"a": 1.0, "b": 1.0, "c": 0.75}
    assert set(ranked.n) == {20}
    assert ranked["rank"].to_dict() == {"a": 1, "b": 1, "c": 3}


def test_models_without_a_common_image_are_not_ranked_and_a_warning_says_so(caplog):
    frame = pd.concat([
        outcome_rows({"a": [1, 0, 1, 1]}),
        outcome_rows({"b": [1, 0]}),
        outcome_rows({"c": [1, 0]}, start=2),
    ])  # fmt: skip
    assert ranking(mcnemar(frame)).empty
    assert "fgsm" in caplog.text
    assert "no image was tested on all models" in caplog.text


def test_sixty_models_that_all_differ_all_have_letters_of_their_own():
    names = [f"{i:02d}" for i in range(60)]
    letters = letter_groups(names, [(p, q) for p in names for q in names if p < q])
    assert all(letters.values())
    groups = [set(letters_of(letters[name])) for name in names]
    assert all(not one & other for i, one in enumerate(groups) for other in groups[:i])
    assert [name for name in names if in_best_group(letters[name])] == ["00"]
    assert [name for name in names if "a" in letters[name]] == ["00"]


def test_letters_are_read_back_one_by_one():
    assert letters_of("abZc2d12") == ("a", "b", "Z", "c2", "d12")
    assert in_best_group("ab")
    assert not in_best_group("bc2")
    assert not in_best_group("")


def led(right, margin, **options):
    pairs = paired(right)
    between = between_splits(pairs, trained(len(right), "abc"))
    found = leaders(between, ranking(mcnemar(pairs), between), margin, **options)
    return found.set_index("model")


def test_a_model_leads_where_the_interval_leaves_no_loss_beyond_the_margin():
    # a is right on all 400 images, b wrong on one of them, c on forty.
    right = np.ones((1, 400, 3))
    right[0, :1, 1] = right[0, :40, 2] = 0
    found = led(right, 0.02)
    assert found.best.to_dict() == {"a": True, "b": False, "c": False}
    assert found.leads.to_dict() == {"a": True, "b": True, "c": False}
    assert (found.low["b"], found.high["b"]) == pytest.approx(bonett_price(1, 0, 400))
    assert found.high["b"] <= 0.02 < found.high["c"]
    assert not led(right, 0.005).leads["b"]
    # Few images: nobody can be called as good as the best.
    assert led(right[:, :20], 0.02).leads.to_dict() == {"a": True, "b": False, "c": False}


def test_the_best_is_sought_among_the_models_that_are_asked_for_and_ties_share_it():
    right = np.ones((1, 50, 3))
    right[0, :10, 1] = right[0, 10:20, 2] = 0
    found = led(right, 0.02, models=["b", "c"])
    assert found.best.to_dict() == found.leads.to_dict() == {"b": True, "c": True}
    assert found.difference.tolist() == [0, 0]
    assert led(right, 0.02).best.to_dict() == {"a": True, "b": False, "c": False}


def test_leaders_are_judged_by_the_test_that_knows_of_splits():
    shares = np.array([[0.98, 0.98, 0.5], [0.98, 0.95, 0.5], [0.97, 0.99, 0.5]])
    right = drawn(np.random.default_rng(8), shares, 400)
    found = led(right, 0.02)
    best = found.index[found.best][0]
    other = {"a": "b", "b": "a"}[best]
    gaps = right.mean(axis=1)[:, "abc".index(best)] - right.mean(axis=1)[:, "abc".index(other)]
    half = stats.t.ppf(0.975, 2) * np.sqrt((1 / 3 + 400 / 100) * gaps.var(ddof=1))
    assert found.high[other] == pytest.approx(min(gaps.mean() + half, 1))
    assert not found.leads[other]


def test_the_interval_over_splits_is_nadeau_and_bengios():
    values = [0.90, 0.80, 0.85]
    # By hand: s^2 = 0.0025, (1/3 + 1/4) s^2 = 0.00145833, t = 4.302653.
    low, high = split_interval(values, 0.25)
    assert (round(low, 4), round(high, 4)) == (0.6857, 1.0)
    assert np.isnan(split_interval([0.9], 0.25)).all()
    assert np.isnan(split_interval([0.9, 0.9], 0.25)).all(), "no spread is not certainty"
    assert np.isnan(split_interval(values, np.nan)).all()
