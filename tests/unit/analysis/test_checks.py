import numpy as np
import pandas as pd
import pytest
from factory import outcomes, study

from assay.analysis.checks import CHECKS, checks, evaluations, verdict

TWINS = study()["tables"]["defects"]["pairs"]


@pytest.fixture(scope="module")
def sound():
    return outcomes(models=("gbz", "dbx"), folds=2, per_fold=60)


@pytest.fixture
def run(sound):
    return sound.copy()


def finding(frame: pd.DataFrame, check: str, model: str = "gbz", **thresholds) -> pd.Series:
    got = checks(frame, thresholds, TWINS)
    return got[(got.model == model) & got.check.str.startswith(check)].iloc[0]


def where(frame, attack, epsilon=None, model="gbz"):
    chosen = (frame.attack == attack) & (frame.model == model)
    return chosen if epsilon is None else chosen & np.isclose(frame.epsilon, epsilon)


def test_a_healthy_evaluation_passes_every_check_and_is_sound(run):
    got = checks(run, twins=TWINS)
    assert set(got.check) == set(CHECKS)
    assert got.status.eq("pass").all(), got[got.status != "pass"].sentence.tolist()
    assert verdict(got).verdict.tolist() == ["sound", "sound"]


def test_an_image_outside_its_radius_breaks_the_evaluation(run):
    row = run.index[where(run, "pgd_linf", 0.03)][5]
    run.loc[row, "linf"] = 0.0301
    got = finding(run, "D02")
    assert got.status == "fail"
    assert "1 images" in got.sentence
    assert verdict(checks(run)).set_index("model").verdict["gbz"] == "broken"


def test_an_image_with_nan_counts_as_outside(run):
    run.loc[run.index[where(run, "pgd_l2", 1.0)][0], "l2"] = np.nan
    assert finding(run, "D02").status == "fail"


def test_rounding_of_float32_pixels_is_not_outside(run):
    run["linf"] = np.where(run.linf > 0, run.linf + 5e-7, run.linf).astype(np.float32)
    assert finding(run, "D02").status == "pass"


def test_a_second_changed_pixel_is_outside_a_one_pixel_ball(run):
    run.loc[run.index[where(run, "one_pixel")][0], "l0"] = 2
    assert finding(run, "D02").status == "fail"


def test_numbers_that_are_not_finite_are_flagged(run):
    run.loc[run.index[where(run, "pgd_linf")][0], "non_finite"] = 3
    assert finding(run, "D02").status == "flag"


@pytest.mark.parametrize(("share", "status"), [(0.0, "pass"), (0.1, "flag"), (0.8, "fail")])
def test_vanishing_gradients_are_flagged_and_fail_when_most_vanish(run, share, status):
    run.loc[where(run, "pgd_linf"), "zero_gradients"] = int(40 * share * 1.1)
    run.loc[where(run, "pgd_l2"), "zero_gradients"] = int(40 * share * 1.1)
    assert finding(run, "D08").status == status


def test_an_iterative_attack_weaker_than_one_step_fails(run):
    run.loc[where(run, "pgd_linf", 0.05), "broken"] = False
    got = finding(run, "D16")
    assert got.status == "fail"
    assert "pgd_linf breaks" in got.sentence
    assert "fgsm at linf 0.05" in got.sentence


def test_of_two_iterative_attacks_the_dearer_one_may_be_weaker(run):
    # Such is a minimal-norm attack: it spends its steps on coming closer, not on one radius.
    closer = run[run.attack == "pgd_linf"].assign(attack="fab_linf")
    closer["backwards"] *= 20
    fgsm = int(run.loc[where(run, "fgsm", 0.05), "broken"].sum())
    pgd = closer.index[where(closer, "fab_linf", 0.05) & closer.broken]
    assert len(pgd) > fgsm + 0.02 * where(run, "fgsm", 0.05).sum()
    closer.loc[pgd[: len(pgd) - fgsm], "broken"] = False
    assert finding(pd.concat([run, closer], ignore_index=True), "D16").status == "pass"


def test_an_iterative_attack_is_known_by_its_steps_even_if_most_images_left_early(run):
    # Broken images leave the batch: on average PGD then spends less than FGSM's single pass.
    late = where(run, "pgd_linf", 0.1) & (run["sample"] > 0)
    run.loc[late, "backwards"] = 0
    run.loc[where(run, "pgd_linf", 0.1), "broken"] = False
    assert finding(run, "D16").status == "fail"


def test_networks_of_another_split_scheme_are_judged_apart(run):
    other = run.assign(split=run["split"].str.replace("kfold", "kfold_leaky"))
    other.loc[where(other, "pgd_linf", 0.05), "broken"] = False
    got = verdict(checks(pd.concat([run, other]))).set_index(["scheme", "model"]).verdict
    assert got["kfold", "gbz"] == "sound"
    assert got["kfold_leaky", "gbz"] == "broken"
    assert got["kfold_leaky", "dbx"] == "sound"


def test_one_model_may_be_judged_alone_where_it_is_known_what_all_were_to_be_tested_on(run):
    mine = run[run.model == "gbz"]
    expected = evaluations(mine)
    alone, all_ = checks(mine, expected=expected), checks(run)
    pd.testing.assert_frame_equal(alone, all_[all_.model == "gbz"].reset_index(drop=True))
    got = finding(mine, "D41")
    assert got.status == "pass"
    doubled = {attack: 2 * count for attack, count in expected.items()}
    more = checks(mine, expected=doubled).set_index("check")
    assert more.loc["D41 lint"].figure == pytest.approx(0.5)


def test_published_twins_may_be_weak(run):
    run.loc[where(run, "pgd_as_published"), "broken"] = False
    assert finding(run, "D16").status == "pass"


def beaten(run, images, epsilon=0.03):
    """A published attack that breaks `images` more than its correction, and all that it breaks."""
    published, corrected = where(run, "pgd_as_published", epsilon), where(run, "pgd_linf", epsilon)
    broken = run.loc[corrected, "broken"].to_numpy().copy()
    broken[np.flatnonzero(~broken)[:images]] = True
    run.loc[published, "broken"] = broken
    return run


def test_a_published_attack_that_beats_its_correction_makes_the_evaluation_suspect(run):
    got = checks(beaten(run, images=14), twins=TWINS)
    mine = got[got.model == "gbz"].set_index("check").loc["D42 published twins"]
    assert mine.status == "flag"
    assert mine.figure == pytest.approx(14 / 120)
    assert "pgd_linf breaks 11.7% fewer images than pgd_as_published" in mine.sentence
    assert "at linf 0.03 (exact p = " in mine.sentence
    verdicts = verdict(got).set_index("model")
    assert verdicts.verdict.to_dict() == {"gbz": "suspect", "dbx": "sound"}
    assert "D42" in verdicts.because["gbz"]


def test_a_published_attack_that_beats_its_correction_by_chance_is_not_held_against_it(run):
    # 3 images of 120, all on one side: one-sided exact p = 0.125 before any correction.
    got = finding(beaten(run, images=3), "D42")
    assert got.status == "pass"
    assert got.figure == pytest.approx(3 / 120)


def test_a_difference_within_the_tolerance_is_not_held_against_a_correction(run):
    beaten(run, images=14)
    assert finding(run, "D42", tolerance=0.2).status == "pass"
    assert finding(run, "D42", twin_significance=1e-9).status == "pass"


def test_p_values_of_all_pairs_and_radii_are_corrected_together(run):
    # One-sided p = 2 ** -6 alone is below 0.05, but not among the 13 comparisons of the study.
    got = finding(beaten(run, images=6), "D42")
    assert got.status == "pass"
    pair = [{"published": "pgd_as_published", "corrected": "pgd_linf"}]
    alone = checks(run[run.epsilon != 0.1], twins=pair).set_index(["model", "check"])
    assert alone.status["gbz", "D42 published twins"] == "flag"


def test_a_correction_that_is_run_as_published_decides_no_verdict(run):
    at = where(run, "pgd_as_published_mended")
    run.loc[at, "broken"] = False
    assert finding(run, "D42").status == "pass"


def test_twins_that_never_meet_are_not_called_compared(run):
    apart = run[(run.suite == "as_published") == (run["sample"] % 2 == 0)]
    assert not checks(apart, twins=TWINS).check.str.startswith("D42").any()
    assert not checks(run).check.str.startswith("D42").any()


def test_accuracy_that_rises_with_the_radius_is_flagged(run):
    at = where(run, "fgsm", 0.1)
    run.loc[at, "broken"] = run.loc[where(run, "fgsm", 0.05), "broken"].to_numpy()
    got = finding(run, "D17")
    assert got.status == "flag"
    assert "fgsm at linf 0.1" in got.sentence


def test_a_radius_of_zero_must_be_the_clean_image(run):
    zero = run[where(run, "fgsm", 0.01)].assign(epsilon=0.0, linf=np.float32(0), broken=False)
    zero.loc[zero.index[:20], "broken"] = True
    assert "radius 0" in finding(pd.concat([run, zero]), "D17").sentence


def test_a_defence_that_no_radius_brings_down_is_suspect(run):
    weak = run[~(run.attack.isin(["pgd_linf", "fgsm"]) & (run.epsilon > 0.03))]
    weak = weak[weak.attack != "pgd_l2"]
    got = finding(weak, "D18")
    assert got.status == "flag"
    assert "reaches chance (16.7%)" in got.sentence
    assert verdict(checks(weak)).set_index("model").verdict["gbz"] == "suspect"


def test_a_model_that_is_wrong_on_clean_images_is_not_sound_for_being_attacked(run):
    mine = run.model == "gbz"
    run.loc[mine, "broken"] = True
    got = finding(run, "D18")
    assert got.status == "flag"
    assert "no better than chance" in got.sentence


def test_an_evaluation_without_any_gradient_attack_is_never_sound(run):
    natural = run[run.suite == "natural"]
    got = verdict(checks(natural))
    assert set(got.verdict) == {"suspect"}
    assert got.because.str.contains("D18").all()


def test_attacks_that_break_different_images_are_flagged(run):
    even = run["sample"] % 2 == 0
    at = where(run, "fgsm", 0.05)
    run.loc[at, "broken"] = even[at]
    at = where(run, "pgd_linf", 0.05)
    run.loc[at, "broken"] = ~even[at]
    got = finding(run, "D20")
    assert got.status == "flag"
    assert got.figure == pytest.approx(0.5)


def test_a_black_box_that_finds_what_gradients_miss_is_flagged(run):
    at = where(run, "one_pixel")
    run.loc[at, ["broken", "l2"]] = [True, np.float32(0.2)]
    got = finding(run, "D21")
    assert got.status == "flag"
    assert "l2 0.25" in got.sentence


def test_a_black_box_that_went_farther_proves_nothing(run):
    at = where(run, "one_pixel")
    run.loc[at, ["broken", "l2", "linf"]] = [True, np.float32(5.0), np.float32(1.0)]
    assert not checks(run[run.model == "gbz"]).check.str.startswith("D21").any()


def test_noise_that_beats_gradients_is_flagged(run):
    at = where(run, "gaussian_noise", 0.05)
    run.loc[at, "broken"] = True
    run.loc[at, "linf"] = np.float32(0.02)
    assert finding(run, "D24").status == "flag"


def test_a_model_that_flips_untouched_images_is_flagged(run):
    run.loc[where(run, "clean"), "replay_share"] = np.float32(0.2)
    assert finding(run, "D27").status == "flag"
    assert finding(run, "D27", replay_flips=0.3).status == "pass"


def test_a_row_that_stands_twice_fails(run):
    got = finding(pd.concat([run, run.iloc[:1]]), "D41", model=run.model.iloc[0])
    assert got.status == "fail"
    assert "1 rows stand twice" in got.sentence


def test_a_wrong_clean_image_that_counts_as_robust_fails(run):
    wrong = run.index[(run.clean_prediction != run.label) & where(run, "pgd_linf", 0.01)]
    run.loc[wrong, "broken"] = False
    assert finding(run, "D41").status == "fail"


def test_attacked_accuracy_above_the_clean_one_fails(run):
    at = where(run, "clean")
    run.loc[run.index[at][:30], "broken"] = True
    got = finding(run, "D41")
    assert got.status == "fail"
    assert "above the clean one" in got.sentence


def test_a_model_that_skipped_an_attack_is_flagged(run):
    skipped = run[~where(run, "fgsm")]
    assert finding(skipped, "D41").status == "flag"
    assert finding(skipped, "D41", model="dbx").status == "pass"
    spared = checks(skipped, exempt={"gbz": ["fgsm"]})
    spared = spared[(spared.model == "gbz") & (spared.check == "D41 lint")]
    assert spared.status.item() == "pass"


def test_a_suite_of_other_models_is_not_missing(run):
    """Every suite that the grid gives a model must be there, or nothing is analysed."""
    assert finding(run[~where(run, "pgd_l2")], "D41").status == "pass"


def test_every_sentence_is_a_sentence(run):
    got = checks(run)
    assert got.sentence.str.endswith(".").all()
