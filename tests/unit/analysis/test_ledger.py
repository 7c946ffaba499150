from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from factory import DATASET, REPOSITORY, facts_of, history_of, outcomes, study, varied

from assay.analysis.accuracy import accuracy
from assay.analysis.brief import StudyBrief
from assay.analysis.ledger import (
    COLUMNS,
    CUT,
    DURATION,
    RULE,
    SETTING,
    VERDICTS,
    at_reduced_budget,
    counts_in_words,
    ledger,
    rule_in_words,
)
from assay.foundation.reported import COLUMNS as PRINTED
from assay.foundation.reported import read_reported

REPORTED = sorted((REPOSITORY / "config/reported").glob("gbz_*.csv"))
CASE = {
    **{name: "" if c.form in ("text", "radius") else pd.NA for name, c in PRINTED.items()},
    "study": "toy", "table": "Table 9", "dataset": "medical-mnist", "model": "GBZ",
    "attack": "FGSM", "norm": "Linf", "epsilon": 0.03, "radius": "0.03", "metric": "accuracy",
    "value": 0.9, "std": np.nan, "file": "toy.csv",
}  # fmt: skip


@pytest.fixture(scope="module")
def run():
    frame = outcomes(models=("resnet18_as_coded", "gbz_as_coded"))
    keys = list(frame.groupby(["dataset", "split", "model"]).groups)
    history = {key: history_of(key[1], key[2]) for key in keys}
    facts = {key: facts_of(key[1], key[2], frame) for key in keys}
    return accuracy(frame), history, facts


def printed(**changes) -> pd.DataFrame:
    return pd.DataFrame([{**CASE, **changes}])


def cell(pooled: float, low: float, high: float, **changes) -> pd.DataFrame:
    row = {
        "dataset": DATASET, "scheme": "kfold", "model": "gbz_as_coded", "suite": "as_published",
        "attack": "fgsm_as_published", "worst_case": "", "norm": "linf", "epsilon": 0.03, "n": 1000,
        "samples": 1000,
        "splits": 5, "pooled": pooled, "low": low, "high": high,
    }  # fmt: skip
    return pd.DataFrame([{**row, **changes}])


def compare(cells: pd.DataFrame, its_study: StudyBrief | None = None, **changes) -> pd.Series:
    return ledger(printed(**changes), cells, its_study or study()).iloc[0]


def test_no_printed_number_is_ever_dropped(run):
    table, history, facts = run
    reported = read_reported(REPORTED)
    got = ledger(reported, table, study(), history=history, facts=facts)
    assert len(got) == len(reported) == 166
    assert tuple(got.columns) == COLUMNS
    assert got.reported.tolist() == reported.value.tolist()
    assert set(got.verdict) <= set(VERDICTS)
    assert got.reason.str.len().gt(0).all()


def test_every_paper_can_be_held_against_a_study_that_ran_none_of_it(run):
    everything = read_reported(sorted((REPOSITORY / "config/reported").glob("*.csv")))
    foreign = everything[~everything.file.str.startswith("gbz")]
    got = ledger(foreign, run[0], study())
    assert len(got) == len(foreign) > 800
    assert set(got.verdict[got.kind == "result"]) <= {"not run", "not comparable"}


@pytest.mark.parametrize(
    ("value", "verdict"),
    [(0.90, "reproduced"), (0.94, "reproduced"), (0.9401, "differs"), (0.86, "reproduced"),
     (0.8599, "differs")],
)  # fmt: skip
def test_a_number_is_reproduced_within_the_interval_widened_by_the_tolerance(value, verdict):
    got = compare(cell(0.9, 0.88, 0.92), value=value)
    assert got.verdict == verdict
    assert got.delta == pytest.approx(0.9 - value)
    assert (got.reproduced, got.low, got.high, got.n) == (0.9, 0.88, 0.92, 1000)


def test_the_rule_comes_from_the_configuration():
    row, cells = printed(value=0.96), cell(0.9, 0.88, 0.92)
    assert ledger(row, cells, study(), {"tolerance": 0.05}).verdict[0] == "reproduced"
    assert "0.05" in rule_in_words({"tolerance": 0.05})
    assert RULE["tolerance"] == 0.02


def test_too_few_images_cannot_reproduce_anything_but_are_shown():
    few = compare(cell(0.9, 0.76, 0.97, samples=40, n=40))
    assert (few.verdict, few.reproduced) == ("not comparable", 0.9)
    assert "only 40 images" in few.reason
    assert np.isnan(few.delta)
    wide = compare(cell(0.9, 0.80, 0.95, samples=110, n=110))
    assert wide.verdict == "not comparable"
    assert "0.15 wide" in wide.reason


def test_a_clear_difference_needs_no_narrow_interval():
    assert compare(cell(0.9, 0.80, 0.95, samples=110, n=110), value=0.3).verdict == "differs"


def test_a_stand_in_is_named_and_never_judged():
    standing = study(substitutes={"datasets": {"medical_mnist": "phantom"}, "models": {}})
    got = compare(cell(0.9, 0.88, 0.92, dataset="phantom"), standing)
    assert got.verdict == "not comparable"
    assert "phantom is a substitute for Medical MNIST" in got.reason
    assert np.isnan(got.delta)


def test_a_stand_in_is_found_when_the_plan_has_already_put_it_in():
    standing = study(substitutes={"datasets": {}, "models": {"resnet18_as_coded": "resnet18"}})
    words = replace(standing.reported, models={"ResNet18": "resnet18"})
    standing = replace(standing, reported=words)
    got = compare(cell(0.9, 0.88, 0.92, model="resnet18"), standing, model="ResNet18")
    assert got.verdict == "not comparable"
    assert "resnet18 is a substitute for ResNet18 (as coded)" in got.reason


def test_the_corrected_attack_is_told_beside_the_published_one():
    cells = pd.concat(
        [
            cell(0.9, 0.88, 0.92),
            cell(0.4, 0.37, 0.43, attack="fgsm", suite="linf_whitebox"),
        ]
    )
    got = compare(cells)
    assert got.verdict == "reproduced"
    assert "the corrected attack, FGSM, gives 0.400" in got.reason


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"model": "E-ABS"}, "no model for 'E-ABS'"),
        ({"attack": "BIM"}, "no attack for 'BIM'"),
        ({"dataset": "cifar10"}, "no data set for 'cifar10'"),
        ({"radius": "0.05"}, "FGSM (as published) was not run at ε = 0.05, but at 0.03"),
        ({"attack": "PGD"}, "this study does not run Medical MNIST, GBZ (as coded), pgd (as"),
        ({"metric": "FID"}, "does not measure 'FID'"),
        ({"value": np.nan}, "nothing is printed"),
    ],
)
def test_what_was_not_run_says_why(changes, reason):
    got = compare(cell(0.9, 0.88, 0.92), **changes)
    assert got.verdict == "not run"
    assert reason in got.reason


def test_radii_match_exactly_although_the_paper_rounds_them():
    cells = cell(0.9, 0.88, 0.92, epsilon=8 / 255)
    got = compare(cells, epsilon=0.03137255, radius="8/255")
    assert (got.verdict, got.radius) == ("reproduced", "8/255")
    assert got.compared_with.endswith("epsilon 8/255")
    got = compare(cells, epsilon=0.03137255, radius="0.03137255")
    assert (got.verdict, got.reason) == (
        "not run", "FGSM (as published) was not run at ε = 0.03137255, but at 8/255"
    )  # fmt: skip


def test_an_error_rate_is_held_against_one_minus_the_accuracy():
    got = compare(cell(0.9, 0.88, 0.92), metric="error_rate", value=0.1)
    assert got.verdict == "reproduced"
    assert (got.reproduced, got.low, got.high) == pytest.approx((0.1, 0.08, 0.12))


def test_an_unstated_attack_is_not_judged():
    clean = cell(0.99, 0.98, 0.995, attack="clean", epsilon=0.0)
    got = compare(clean, attack="none", attacked="unknown", radius="", value=0.99)
    assert got.verdict == "not comparable"
    assert "does not say" in got.reason


def test_the_papers_own_contradictions_are_marked():
    got = compare(cell(0.9, 0.88, 0.92), remark="conflict", note="Figure 7 gives 0.48")
    assert "the paper contradicts itself" in got.reason
    assert got.note == "Figure 7 gives 0.48"
    assert "itself" not in compare(cell(0.9, 0.88, 0.92), note="CONFLICT, MISPRINT").reason


def test_curves_are_compared_epoch_by_epoch_in_the_papers_unit(run):
    table, history, _ = run
    loss = {"metric": "train_loss", "epoch": 3, "unit": "nats"}
    sure = {"metric": "val_accuracy", "epoch": 0}
    ours = history[DATASET, "kfold_0", "gbz_as_coded"]
    rows = pd.concat(
        [
            printed(**loss, batch=64, value=64 * ours.train_loss[3] * 1.01),
            printed(**loss, batch=64, value=64 * ours.train_loss[3] * 1.05),
            printed(**sure, value=ours.val_accuracy[0] + 0.01),
            printed(**sure, value=ours.val_accuracy[0] + 0.03),
            printed(metric="val_accuracy", epoch=12, value=0.99),
            printed(**loss, value=ours.train_loss[3]),
        ]
    )
    got = ledger(rows, table, study(), history=history)
    assert got.verdict.tolist() == [
        "reproduced", "differs", "reproduced", "differs", "not run", "reproduced"
    ]  # fmt: skip
    assert got.reproduced[0] == pytest.approx(64 * ours.train_loss[3])
    assert "trained for 10 epochs" in got.reason[4]


SCALED = {
    "models": {
        "gbz_as_coded": {
            "training.epochs": [3, 15],
            "training.samples": [20, None],
            "training.validation_samples": [10, None],
        }
    },
    "attacks": {
        "fgsm_as_published": {"settings.generations": [10, 100], "settings.loss": ["a", "b"]},
        "fgsm": {"settings.steps": [20, 40]},
    },
}


def test_what_ran_with_less_has_no_verdict_and_says_how_much_less(run):
    scaled = study(scaled=SCALED)
    got = compare(cell(0.9, 0.88, 0.92), scaled)
    assert (got.verdict, got.agrees) == ("not comparable", 1.0)
    assert np.isnan(got.delta)
    assert got.reason == (
        "cut by the scale: trained 3 of 15 epochs on 20 images, not on all, 10 of 100 generations, "
        "loss a instead of b; the printed value is within [0.88, 0.92] ± 0.02"
    )
    assert compare(cell(0.9, 0.88, 0.92), scaled, value=0.5).agrees == 0.0
    facts = {key: {**one, "train_n": 20, "val_n": 10} for key, one in run[2].items()}
    subsets = {(*key[:2], part): n for key in facts for part, n in (("train", 3000), ("val", 10))}
    got = ledger(printed(), cell(0.9, 0.88, 0.92), scaled, facts=facts, subsets=subsets)
    assert "trained 3 of 15 epochs on 20 of 3,000 images, 10 of 100" in got.reason[0]
    assert at_reduced_budget(got).all()
    assert "1 of these 1 printed values lie within" in counts_in_words(got)


def test_a_cap_that_a_small_data_set_never_reaches_cuts_nothing(run):
    facts = run[2]
    n = max(one["train_n"] for one in facts.values())
    subsets = {(*key[:2], "train"): n for key in facts}
    caps = {"training.samples": [10 * n, None]}
    scaled = study(scaled={"models": {"gbz_as_coded": caps}, "attacks": {}})
    got = ledger(printed(), cell(0.9, 0.88, 0.92), scaled, facts=facts, subsets=subsets)
    assert CUT not in got.reason[0]
    assert not at_reduced_budget(got).any()
    assert "less training" not in counts_in_words(got)


def test_what_was_cut_of_the_corrected_attack_stands_beside_its_number():
    fgsm = cell(0.4, 0.37, 0.43, attack="fgsm", suite="linf_whitebox")
    pairs = [{"published": "fgsm_as_published", "corrected": "fgsm", "defect": "d"}]
    scaled = study(
        tables={"defects": {"pairs": pairs}},
        scaled={"models": {}, "attacks": {"fgsm": SCALED["attacks"]["fgsm"]}},
    )
    got = ledger(printed(), pd.concat([cell(0.9, 0.88, 0.92), fgsm]), scaled)
    assert "the corrected attack, FGSM, gives 0.400 with 20 of 40 steps" in got.reason[0]
    assert got.verdict[0] == "reproduced"
    assert not at_reduced_budget(got).any()


def test_a_point_of_a_curve_is_compared_only_with_an_epoch_of_as_many_images(run):
    table, history, facts = run
    ours = history[DATASET, "kfold_0", "gbz_as_coded"]
    row = printed(metric="val_accuracy", epoch=0, value=ours.val_accuracy[0])
    facts = {key: {**one, "train_n": 20, "val_n": 10} for key, one in facts.items()}

    def compared(**cut):
        models = {"gbz_as_coded": {f"training.{name}": values for name, values in cut.items()}}
        scaled = study(scaled={"models": models, "attacks": {}})
        return ledger(row, table, scaled, history=history, facts=facts).iloc[0]

    fewer = compared(epochs=[3, 15], samples=[20, None])
    assert fewer.verdict == "not comparable"
    assert fewer.reason.startswith("cut by the scale: trained on 20 images, not on all; ")
    assert np.isnan(fewer.delta)
    assert compared(batch_size=[32, 64]).verdict == "not comparable"
    shorter = compared(epochs=[3, 15])
    assert shorter.verdict == "reproduced"
    assert CUT not in shorter.reason
    coarser = compared(validation_samples=[10, None])
    assert coarser.verdict == "reproduced"
    assert CUT not in coarser.reason


def test_a_cut_of_training_voids_curves_and_accuracies_alike(run):
    _, history, facts = run
    ours = history[DATASET, "kfold_0", "gbz_as_coded"]
    rows = pd.concat(
        [
            printed(),
            printed(attack="none", radius="", value=0.9),
            printed(metric="val_accuracy", epoch=0, value=ours.val_accuracy[0]),
        ]
    )
    for cut, verdicts in (({"samples": [20, None]}, {"not comparable"}), ({}, {"reproduced"})):
        models = {"gbz_as_coded": {f"training.{name}": values for name, values in cut.items()}}
        scaled = study(scaled={"models": models, "attacks": {}})
        cells = pd.concat(
            [cell(0.9, 0.88, 0.92), cell(0.9, 0.88, 0.92, attack="clean", epsilon=0.0)]
        )
        got = ledger(rows, cells, scaled, history=history, facts=facts)
        assert set(got.verdict) == verdicts, got.reason.tolist()
        assert (got.agrees == 1).all()


def test_a_cut_of_one_attack_leaves_the_others_their_verdicts():
    cut = {"fgsm_as_published": {"settings.steps": [20, 40]}}
    scaled = study(scaled={"models": {}, "attacks": cut})
    cells = pd.concat([cell(0.9, 0.88, 0.92), cell(0.9, 0.88, 0.92, attack="clean", epsilon=0.0)])
    rows = pd.concat([printed(), printed(attack="none", radius="")])
    assert ledger(rows, cells, scaled).verdict.tolist() == ["not comparable", "reproduced"]


def test_a_declared_substitute_has_no_verdict_at_any_scale():
    its_study = study(datasets={DATASET: {"substitute_for": "the paper's own images"}})
    got = compare(cell(0.9, 0.88, 0.92), its_study)
    assert got.verdict == "not comparable"
    assert "is a substitute for the paper's own images" in got.reason


def test_not_run_says_whether_the_scale_leaves_it_out():
    its_study = study(
        excluded={
            "models": {"E-ABS": "eabs"},
            "grid": [{"datasets": [DATASET], "models": ["gbz_as_coded"], "attacks": ["clean"]}],
        }
    )
    cells = cell(0.9, 0.88, 0.92)
    assert compare(cells, its_study, model="E-ABS").reason == (
        "scale synthetic excludes the model 'E-ABS'"
    )
    assert "this study has no model" in compare(cells, its_study, model="VGG").reason
    excluded = compare(cells, its_study, attack="none", radius="").reason
    assert excluded.startswith("scale synthetic excludes Medical MNIST, GBZ (as coded), clean")


def test_a_gain_by_adversarial_training_is_the_smallest_over_networks():
    its_study = study(models={**study().models, "better": {"init_from": "gbz_as_coded"}})
    cells = pd.concat([cell(0.2, 0.18, 0.22), cell(0.9, 0.88, 0.92, model="better")])
    for value, verdict in ((0.6, "reproduced"), (0.8, "differs")):
        got = compare(
            cells, its_study, model="adv. trained minus standard", value=value,
            metric="accuracy_gain_at_least",
        )  # fmt: skip
        assert (got.verdict, got.reproduced) == (verdict, pytest.approx(0.7))


def test_numbers_of_several_split_schemes_are_compared_with_the_one_that_the_study_names(run):
    both = pd.concat([cell(0.9, 0.88, 0.92), cell(0.5, 0.48, 0.52, scheme="kfold_patient")])
    silent = replace(study(), reported=replace(study().reported, splits=None))
    got = compare(both, silent)
    assert got.verdict == "not comparable"
    assert "run with several split schemes (kfold and kfold_patient)" in got.reason
    first, second = (
        replace(study(), reported=replace(study().reported, splits=scheme))
        for scheme in ("kfold", "kfold_patient")
    )
    assert (compare(both, first).verdict, compare(both, first).reproduced) == ("reproduced", 0.9)
    assert compare(both, second).verdict == "differs"
    table, history, _ = run
    history = history | {
        (dataset, split.replace("kfold", "kfold_patient"), model): frame.assign(val_accuracy=0.0)
        for (dataset, split, model), frame in history.items()
    }
    ours = history[DATASET, "kfold_0", "gbz_as_coded"]
    row = printed(metric="val_accuracy", epoch=0, value=ours.val_accuracy[0])
    verdicts = [
        ledger(row, table, its_study, history=history).verdict[0]
        for its_study in (silent, first, second)
    ]
    assert verdicts == ["not comparable", "reproduced", "differs"]


def test_settings_are_compared_but_never_counted_as_results(run):
    table, history, facts = run
    got = ledger(read_reported(REPORTED), table, study(), history=history, facts=facts)
    got = got[got.table == "Table 3"].set_index("key")
    assert set(got.kind) == {SETTING}
    assert got.verdict["latent_dim"] == "reproduced"
    assert got.verdict["weight_decay"] == "differs"
    assert got.reason["latent_dim"] == "a setting; as printed"
    assert got.reason["weight_decay"] == "a setting; this run has 0"
    assert got.reproduced["image_width"] == 68
    assert got.reproduced["image_channels"] == 1
    assert np.isnan(got.reproduced["test_fraction"])
    subsets = {
        (DATASET, "kfold_0", part): n for part, n in (("train", 64), ("val", 16), ("test", 20))
    }
    got = ledger(read_reported(REPORTED), table, study(), facts=facts, subsets=subsets)
    settings = got.set_index("key")
    assert settings.verdict["test_fraction"] == "reproduced"
    assert settings.verdict["trainval_fraction"] == "reproduced"
    got = got.set_index("metric")
    assert (got.verdict["n_total_approx"], got.reproduced["n_total_approx"]) == ("differs", 100)


def test_facts_of_the_text_are_compared_with_what_the_run_knows(run):
    table, history, facts = run
    got = ledger(read_reported(REPORTED), table, study(), history=history, facts=facts)
    got = got[got.file == "gbz_text.csv"].set_index("metric")
    assert got.reason["n_classes"] == "a setting; as printed"
    assert got.reason["folds"] == "a setting; as printed"
    assert (got.reproduced["n_test"], got.reproduced["epochs"]) == (40, 10)
    training = got.set_index("key").loc["training"]
    assert (training.unit, training.reproduced) == ("minutes", pytest.approx(410 / 60))
    assert got.verdict["n_classes"] == "reproduced"
    assert (training.verdict, training.kind) == ("not comparable", DURATION)
    assert got.kind["folds"] == SETTING


def test_the_test_images_of_another_data_set_or_scheme_are_not_this_ones(run):
    subsets = {(DATASET, "kfold_0", "test"): 40, ("other", "kfold_0", "test"): 5896}
    subsets[DATASET, "official_0", "test"] = 5896
    named = study()
    named = replace(named, reported=replace(named.reported, splits="kfold"))
    (row,) = ledger(
        printed(metric="n_test", value=40.0), run[0], named, subsets=subsets
    ).itertuples()
    assert (row.verdict, row.reproduced) == ("reproduced", 40)


def test_confusion_counts_are_never_judged(run):
    got = ledger(read_reported(REPORTED), run[0], study())
    counts = got[got.metric == "count"]
    assert len(counts) == 72
    assert set(counts.verdict) == {"not comparable"}
    assert (
        "with true class 3 and predicted class 4"
        in counts.set_index(["true", "predicted"]).loc[(3, 4), "reason"].iloc[0]
    )


def thesis_study(**reported):
    return study(
        reported={
            "datasets": {"mnist": DATASET},
            "models": {"E-ABS": "gbz_as_coded"},
            "attacks": {"none": "clean", "PGD": {"Linf": "pgd_linf", "L2": "pgd_l2"}},
            **reported,
        }
    )


@pytest.mark.parametrize(("norm", "attack"), [("Linf", "pgd_linf"), ("L2", "pgd_l2")])
def test_a_word_may_mean_another_attack_in_each_norm(norm, attack):
    row = compare(
        cell(0.5, 0.47, 0.53, attack=attack), thesis_study(),
        dataset="mnist", model="E-ABS", attack="PGD", norm=norm, value=0.5,
    )  # fmt: skip
    assert row.verdict == "reproduced"
    assert attack in row.compared_with
    row = compare(
        cell(0.5, 0.47, 0.53, attack=attack), thesis_study(),
        dataset="mnist", model="E-ABS", attack="PGD", norm="L1",
    )  # fmt: skip
    assert (row.verdict, row.reason) == ("not run", "this study has no attack for 'PGD'")


def test_the_attack_of_a_row_of_a_sweep_is_that_of_its_level():
    sweeps = {"EOT runs": {"3": "pgd_draws_3", "10": "pgd_draws_10"}}
    same = {"dataset": "mnist", "model": "E-ABS", "attack": "PGD", "setting": "EOT runs"}
    cells = cell(0.5, 0.47, 0.53, attack="pgd_draws_10")
    row = compare(cells, thesis_study(sweeps=sweeps), **same, level="10", value=0.5)
    assert row.verdict == "reproduced"
    row = compare(cells, thesis_study(sweeps=sweeps), **same, level="3", value=0.5)
    assert row.reason == ("this study does not run Medical MNIST, GBZ (as coded), pgd_draws_3")
    row = compare(cells, thesis_study(), **same, level="10", value=0.5)
    assert row.reason == "this study has no attack for 'PGD'"


VARIANTS = {
    "E-ABS": [
        {"datasets": ["elsewhere"], "setting": "eps_ap", "levels": {"6/255": "wrong"}},
        {"setting": "eps_ap", "levels": {"6/255": "dbx", "8/255": "gbz"}},
        {"datasets": [DATASET], "model": "resnet18_text"},
    ]
}
OF_SETTING = {"dataset": "mnist", "model": "E-ABS", "attack": "PGD", "setting": "eps_ap"}


def test_the_model_of_a_row_of_a_setting_of_models_is_that_of_its_level():
    its_study = thesis_study(variants=VARIANTS)
    # The attack is the one of its word: the setting is none of attacks.
    cells = cell(0.5, 0.47, 0.53, model="dbx", attack="pgd_linf")
    row = compare(cells, its_study, **OF_SETTING, level="6/255", value=0.5)
    assert row.verdict == "reproduced"
    assert row.compared_with.startswith(f"{DATASET}, dbx, pgd_linf")
    row = compare(cells, its_study, **OF_SETTING, level="8/255", value=0.5)
    assert row.reason.startswith("this study does not run Medical MNIST, GBZ (Bayes' rule), PGD")
    row = compare(cells, its_study, **OF_SETTING, level="10/255", value=0.5)
    assert row.reason == "this study has no model for 'E-ABS' with eps_ap 10/255"


def test_a_word_may_mean_another_model_on_each_data_set():
    same = {"dataset": "mnist", "model": "E-ABS", "attack": "PGD", "value": 0.5}
    for variants, model in ((VARIANTS, "resnet18_text"), ({}, "gbz_as_coded")):
        cells = cell(0.5, 0.47, 0.53, model=model, attack="pgd_linf")
        row = compare(cells, thesis_study(variants=variants), **same)
        assert (row.verdict, model in row.compared_with) == ("reproduced", True)


def test_a_variant_of_a_word_says_nothing_of_other_words():
    its_study = thesis_study(variants=VARIANTS, models={"E-ABS": "gbz_as_coded", "ABS": "gbz"})
    cells = cell(0.5, 0.47, 0.53, model="gbz", attack="pgd_linf")
    row = compare(cells, its_study, **{**OF_SETTING, "model": "ABS"}, level="6/255", value=0.5)
    assert row.reason == "this study has no model for 'ABS' with eps_ap 6/255"


def test_the_ledger_says_which_variants_the_scale_excludes():
    its_study = thesis_study(variants={})
    its_study = varied(its_study, excluded={"variants": VARIANTS})
    row = compare(cell(0.5, 0.47, 0.53), its_study, **OF_SETTING, level="6/255", value=0.5)
    assert row.reason == "scale synthetic excludes the model 'E-ABS' with eps_ap 6/255"
    row = compare(cell(0.5, 0.47, 0.53), its_study, **OF_SETTING, level="10/255", value=0.5)
    assert row.reason == "this study has no model for 'E-ABS' with eps_ap 10/255"


def test_distances_stand_beside_the_print_but_are_not_judged():
    distances = pd.DataFrame([{
        "dataset": DATASET, "scheme": "kfold", "model": "gbz_as_coded", "norm": "l2",
        "attacks": "ddn", "n": 200, "misclassified": 200, "mean": 1.7, "median": 1.5,
    }])  # fmt: skip
    printed_row = printed(
        dataset="mnist", model="E-ABS", norm="L2", metric="mean_adversarial_distance", value=1.78
    )
    row = ledger(printed_row, cell(0, 0, 0), thesis_study(), distances=distances).iloc[0]
    assert (row.verdict, row.reproduced, row.n) == ("not comparable", 1.7, 200)
    assert "closest misclassified image under ddn" in row.reason
    row = ledger(printed_row, cell(0, 0, 0), thesis_study()).iloc[0]
    assert row.verdict == "not run"


def test_printed_layers_are_held_against_the_network_that_was_trained():
    facts = {(DATASET, "kfold_0", "gbz_as_coded"): {"architecture": {"encoder.layer1.kernel": 5}}}
    same = {"dataset": "mnist", "model": "E-ABS", "attack": ""}
    for value, words in ((5, "as printed"), (4, "this run has 5")):
        reported = printed(**same, metric="architecture", key="encoder.layer1.kernel", value=value)
        row = ledger(reported, cell(0, 0, 0), thesis_study(), facts=facts).iloc[0]
        assert (row.verdict, row.reproduced) == ("reproduced" if value == 5 else "differs", 5)
        assert words in row.reason
    reported = printed(**same, metric="architecture", key="encoder.layer9.kernel", value=5)
    assert ledger(reported, cell(0, 0, 0), thesis_study(), facts=facts).iloc[0].verdict == "not run"


@pytest.mark.parametrize(
    ("remark", "words"), [("suspect", "is suspect"), ("misprint", "is a misprint")]
)
def test_suspicious_printed_cells_are_marked(remark, words):
    row = compare(cell(0.5, 0.47, 0.53), remark=remark)
    assert row.reason.endswith(f"the printed cell {words}, see note")
