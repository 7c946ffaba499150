"""Tables of accuracies: what stands beside what, and what is marked."""

import numpy as np
import pandas as pd
import pytest
from factory import outcomes, study
from report_factory import table_of

from assay.analysis.accuracy import accuracy, several_members, strongest, worst_case
from assay.analysis.attack_set import AttackSet
from assay.analysis.between_splits import between_splits
from assay.analysis.inputs import AnalysisInputs
from assay.analysis.mcnemar import mcnemar
from assay.analysis.ranking import ranking
from assay.analysis.rows import with_scheme
from assay.analysis.run_files import RunFiles
from assay.report.tables import cells as table_cells
from assay.report.tables.cells import image_sets, leading

CHEAP = [
    "linf_whitebox fgsm 0.03,0.1 1.8 1 1.0",
    "linf_whitebox pgd_linf 0.03,0.1 1.0 40 0.25",
    "more square 0.03,0.1 9.0 0 0.1",
    "more apgd 0.03 0.7 40 1.0",
]
NAMES = ("suite", "attack", "epsilons", "scale", "backwards", "share")
CLEAN = {"suite": "corruptions", "attack": "clean", "norm": "none", "epsilons": "0", "scale": "inf",
         "forwards": "1", "backwards": "0", "share": "1"}  # fmt: skip
BUDGETS = [CLEAN] + [
    {**dict(zip(NAMES, line.split(), strict=True)), "norm": "linf", "forwards": "1"}
    for line in CHEAP
]
CELLS = [
    {"attack": "clean", "epsilon": 0},
    {"attack": "fgsm", "epsilon": 0.03},
    {"attack": "pgd_linf", "epsilon": 0.03},
    {"attack": "square", "epsilon": 0.03},
]
MODELS = ["gbz", "dbx"]


def frame(folds=1, models=MODELS):
    """600 images for FGSM, 150 for PGD, 60 for Square; images are hard only after the 150th."""
    rows = outcomes(models=models, folds=folds, per_fold=600 // folds, attacks=BUDGETS)
    hard = rows["sample"].between(200, 259)
    wrong = (rows.label + 1) % 6
    rows["clean_prediction"] = np.where(hard, wrong, rows.label)
    rows["misclassified"] = hard | (rows.misclassified & (rows.attack != "clean"))
    return rows


def run_of(rows, verdicts=None, **study_parts):
    """The analysis of some rows, sound in every norm unless `verdicts` says otherwise."""
    inputs = AnalysisInputs(RunFiles(scale="synthetic", seed=0), study(**study_parts))
    rows = with_scheme(rows)
    worst_cases = [rows, worst_case(rows), strongest(rows)]
    table = accuracy(rows)
    every = pd.concat(worst_cases, ignore_index=True)
    tests = mcnemar(every)
    sizes = {
        (*key, model): 4000
        for key in rows[["dataset", "split"]].drop_duplicates().itertuples(index=False, name=None)
        for model in dict.fromkeys(rows.model)
    }
    between = between_splits(every, sizes)
    norms = ["clean", "corruptions", "linf", "l2", "l0"]
    sound = pd.DataFrame(
        [("medical_mnist", "kfold", model, norm, "sound", "")
         for model in dict.fromkeys(rows.model) for norm in norms],
        columns=["dataset", "scheme", "model", "norm", "verdict", "because"],
    )  # fmt: skip
    inputs.__dict__.update(
        accuracy=table[several_members(table)].reset_index(drop=True),
        mcnemar=tests,
        between_splits=between,
        ranking=ranking(tests, between),
        verdicts=sound if verdicts is None else verdicts(sound),
        costs=pd.DataFrame(
            [("medical_mnist", "kfold", model, 100.0 * (number + 1))
             for number, model in enumerate(dict.fromkeys(rows.model))],
            columns=["dataset", "scheme", "model", "updates"],
        ),
    )  # fmt: skip
    return inputs


@pytest.fixture(scope="module")
def inputs():
    return run_of(frame())


def value(cell):
    return float(cell.split()[0])


def test_no_attacked_accuracy_stands_beside_a_clean_accuracy_of_other_images(inputs):
    table = inputs.accuracy
    clean = table.pooled[table.attack == "clean"].max()
    square = table[(table.attack == "square") & (table.epsilon == 0.03)]
    assert (square.pooled > clean).all(), "a table that ignores images would show the fault"
    shown = table_of("accuracy", {"cells": CELLS, "models": MODELS}, inputs.study, inputs)
    assert shown.display["Attack"].tolist() == [
        "clean (n = 600)",
        "FGSM ε = 0.03 (n = 600)",
        "Clean, same images (n = 150)",
        "PGD L∞ ε = 0.03 (n = 150)",
        "Clean, same images (n = 60)",
        "square ε = 0.03 (n = 60)",
    ]
    for model in ("GBZ (Bayes' rule)", "DBX"):
        column = shown.display[model].map(value)
        assert column[0] == pytest.approx(clean, abs=5e-4)
        assert column[1] <= column[0]
        assert column[2] == column[4] == 1
        assert column[3] <= column[2]
        assert column[5] <= column[4]
    assert not shown.bold.iloc[[2, 4]].any(axis=None), "a repeated accuracy is not marked again"


@pytest.mark.parametrize("kind", ["accuracy", "headline"])
def test_a_table_that_misleads_says_so_in_its_caption(inputs, kind, monkeypatch):
    spec = {"cells": CELLS, "models": MODELS}
    assert "Caution" not in table_of(kind, spec, inputs.study, inputs).caption

    def one_for_all(rows, cells):
        (every,) = image_sets(rows[rows.attack == "clean"], cells[:1])
        every.cells = list(cells)
        return [every]

    monkeypatch.setattr(table_cells, "image_sets", one_for_all)
    caption = table_of(kind, spec, inputs.study, inputs).caption
    assert "Caution: The accuracy of GBZ (Bayes' rule) under square at ε = 0.03 is" in caption
    assert "but on other images. On the same 60 images, the clean accuracy is 100 %." in caption


def test_where_all_share_their_images_nothing_is_repeated(inputs):
    shown = table_of("accuracy", {"cells": CELLS[:2]}, inputs.study, inputs).display
    assert shown["Attack"].tolist() == ["clean", "FGSM ε = 0.03"]


def test_models_on_different_images_say_n_in_each_cell_and_are_not_compared():
    rows = frame()
    cut = rows[~((rows.model == "dbx") & (rows.attack == "pgd_linf") & (rows["sample"] >= 90))]
    inputs = run_of(cut)
    shown = table_of("accuracy", {"cells": CELLS[:3]}, inputs.study, inputs)
    line = shown.display[shown.display.Attack == "PGD L∞ ε = 0.03"].iloc[0]
    assert line["GBZ (Bayes' rule)"].endswith("(n = 150)")
    assert line["DBX"].endswith("(n = 90)")
    assert not shown.bold.loc[line.name].any()
    assert "Models that were tested on different images are not compared." in shown.caption


def test_different_splits_are_said_where_images_differ():
    rows = frame(folds=2)
    one = rows[(rows.attack != "pgd_linf") | (rows["split"] == "kfold_0")]
    inputs = run_of(one)
    shown = table_of("accuracy", {"cells": CELLS[:3]}, inputs.study, inputs).display
    assert shown["Attack"].tolist() == [
        "clean (n = 600, 2 splits)",
        "FGSM ε = 0.03 (n = 600, 2 splits)",
        "Clean, same images (n = 75, 1 split)",
        "PGD L∞ ε = 0.03 (n = 75, 1 split)",
    ]


def test_the_same_count_of_other_images_is_another_set(inputs):
    rows = inputs.accuracy[inputs.accuracy.attack.isin(["clean", "fgsm"])].copy()
    cells = [(AttackSet.of("clean"), 0.0), (AttackSet.of("fgsm"), 0.03)]
    assert len(image_sets(rows, cells)) == 1
    rows.loc[rows.attack == "fgsm", "clean"] -= 0.01
    assert len(image_sets(rows, cells)) == 2


def headline(inputs, cells=CELLS, models=MODELS):
    return table_of("headline", {"cells": cells, "models": models}, inputs.study, inputs)


def test_the_headline_shows_the_worst_case_of_a_radius_before_its_single_attacks(inputs):
    table = headline(inputs)
    assert list(table.display) == [
        "Model",
        "Evaluation, L∞",
        "clean (n = 600)",
        "Worst case over 2 attacks, L∞ ε = 0.03 (n = 600)",
        "FGSM alone, ε = 0.03 (n = 600)",
        "Clean, same images (n = 60)",
        "Worst case over all 4 attacks, L∞ ε = 0.03 (n = 60)",
        "square alone, ε = 0.03 (n = 60)",
        "Clean, same images (n = 150)",
        "PGD L∞ alone, ε = 0.03 (n = 150)",
    ]
    for _, line in table.display.iterrows():
        numbers = line[list(table.display)[2:]].map(value)
        assert numbers.iloc[1] <= numbers.iloc[2] <= numbers.iloc[0]
        assert numbers.iloc[4] <= numbers.iloc[5] <= numbers.iloc[3]
        assert numbers.iloc[7] <= numbers.iloc[6]
    assert set(table.tidy.column) == {
        name for name in list(table.display)[2:] if not name.startswith("Clean, same")
    }
    assert "Attacks (L∞): fgsm, apgd, pgd_linf, square." not in table.caption
    assert "apgd" in table.caption


def test_one_attack_of_a_radius_has_no_worst_case_beside_it():
    inputs = run_of(frame().query("attack in ('clean', 'fgsm')"))
    assert list(headline(inputs, CELLS[:2]).display)[2:] == ["clean", "FGSM ε = 0.03"]


def test_with_several_splits_the_headline_shows_the_spread_over_them(inputs):
    single = headline(inputs, CELLS[:2])
    assert "±" not in single.display.iloc[0, 3]
    assert "no spread over splits is known" in single.caption
    several = headline(run_of(frame(folds=3)), CELLS[:2])
    row = several.tidy[(several.tidy.model == "gbz") & (several.tidy.attack == "fgsm")].iloc[0]
    cell = several.display["FGSM alone, ε = 0.03 (n = 600)"][0]
    assert cell == f"{row.pooled:.3f} ± {row.sd:.3f} [{row.low:.3f}, {row.high:.3f}]"
    assert row.sd > 0
    assert "standard deviation over splits" in several.caption


def test_a_verdict_of_one_norm_takes_no_mark_of_another():
    def doubted(sound):
        return sound.assign(verdict=np.where(sound.norm == "linf", "suspect", "sound"))

    rows = frame()
    rows.loc[(rows.model == "dbx") & (rows.attack == "clean") & (rows["sample"] < 30),
             ["misclassified"]] = True  # fmt: skip
    inputs = run_of(rows, doubted)
    table = headline(inputs)
    assert set(table.display["Evaluation, L∞"]) == {"suspect"}
    assert table.bold["clean (n = 600)"].tolist() == [True, False]
    attacked = [name for name in table.bold if "ε" in name]
    assert not table.bold[attacked].any(axis=None)
    assert "None is bold where the best model's evaluation is not sound: " in table.caption
    assert "FGSM alone, ε = 0.03" in table.caption


def test_an_unsound_best_leaves_its_column_without_marks():
    def doubted(sound):
        return sound.assign(verdict=np.where(sound.model == "gbz", "suspect", "sound"))

    inputs = run_of(frame(), doubted)
    table = headline(inputs, CELLS[:2])
    own = table.tidy[table.tidy.attack == "fgsm"].set_index("model").pooled
    assert own["gbz"] > own["dbx"], "the sound model is the worse one"
    assert not table.bold["FGSM alone, ε = 0.03 (n = 600)"].any()


def test_the_effort_is_computed_from_the_rows_shown(inputs):
    caption = headline(inputs).caption
    assert "Training took 100 to 200 weight updates per network." in caption
    rows = inputs.accuracy[
        (inputs.accuracy.attack == "pgd_linf") & (inputs.accuracy.epsilon == 0.03)
    ]
    least, most = f"{rows.backwards.min():.0f}", f"{rows.backwards.max():.0f}"
    passes = least if least == most else f"{least} to {most}"
    strongest = "PGD L∞ ε = 0.03 is the strongest single attack here."
    assert f"{strongest} It takes {passes} " in caption


CELL = {"dataset": "d", "scheme": "k", "suite": "s", "attack": "a", "worst_case": "",
        "norm": "linf", "epsilon": 0.1}  # fmt: skip


def column(*models, n=100):
    """Accuracy rows of one cell from (model, accuracy, verdict)."""
    return pd.DataFrame(
        [{**CELL, "model": m, "pooled": p, "verdict": v, "n": n, "samples": n, "splits": 1}
         for m, p, v in models]
    )  # fmt: skip


def pair(a, b, low, high):
    return {**CELL, "model_a": a, "model_b": b, "low": low, "high": high}


def marks(rows, *pairs, margin=0.02):
    found = leading(rows, pd.DataFrame(pairs, columns=[*CELL, "model_a", "model_b", "low", "high"]),
                    margin)  # fmt: skip
    return dict(zip(rows.model, found.tolist(), strict=True))


def test_marks_go_to_the_best_and_to_what_is_not_worse_by_the_margin():
    rows = column(("x", 0.9, "sound"), ("y", 0.895, "sound"), ("z", 0.5, "sound"))
    close, far = pair("x", "y", -0.01, 0.015), pair("z", "x", -0.5, -0.3)
    assert marks(rows, close, far) == {"x": True, "y": True, "z": False}
    assert marks(rows, close, far, margin=0.01) == {"x": True, "y": False, "z": False}
    wide = pair("y", "x", -0.06, 0.05)
    assert marks(rows, wide, far) == {"x": True, "y": False, "z": False}


def test_no_marked_number_stands_below_one_without_a_mark():
    rows = column(("x", 0.9, "sound"), ("y", 0.895, "sound"), ("z", 0.89, "sound"))
    pairs = pair("x", "y", -0.05, 0.06), pair("x", "z", 0.005, 0.015)
    assert marks(rows, *pairs) == {"x": True, "y": False, "z": False}
    doubted = rows.assign(verdict=["sound", "suspect", "sound"])
    pairs = pair("x", "y", 0.0, 0.01), pair("x", "z", 0.005, 0.015)
    assert marks(doubted, *pairs) == {"x": True, "y": False, "z": False}


@pytest.mark.parametrize("verdict", ["suspect", "broken", "under-powered", np.nan])
def test_nothing_is_marked_where_the_best_is_not_sound(verdict):
    rows = column(("x", 0.9, verdict), ("y", 0.895, "sound"), ("z", 0.2, "sound"))
    assert not any(marks(rows, pair("x", "y", -0.01, 0.01)).values())


def test_nothing_is_marked_where_nothing_differs_or_images_do():
    rows = column(("x", 0.0, "sound"), ("y", 0.0, "sound"))
    assert not any(marks(rows, pair("x", "y", 0.0, 0.0)).values())
    rows = column(("x", 0.9, "sound"), ("y", 0.2, "sound"))
    assert any(marks(rows, pair("x", "y", 0.6, 0.8)).values())
    assert not any(marks(rows.assign(n=[100, 60]), pair("x", "y", 0.6, 0.8)).values())


def test_numbers_that_print_alike_are_marked_alike():
    rows = column(("x", 0.9, "sound"), ("y", 0.8999, "sound"), ("z", 0.5, "sound"))
    assert marks(rows, pair("x", "y", -0.2, 0.2)) == {"x": True, "y": True, "z": False}


def test_the_margin_is_the_configurations(inputs):
    rules = {"rules": {"marks": {"margin": 1.0}}}
    wide = run_of(frame(models=["gbz", "dbx", "resnet18_text"]), **rules)
    table = table_of("accuracy", {"cells": CELLS[:2]}, wide.study, wide)
    assert not table.bold.any(axis=None), "with a margin of 1 nothing is worse"
    strict = table_of("accuracy", {"cells": CELLS[:2]}, inputs.study, inputs)
    assert strict.bold.any(axis=None)
    assert "at most 0.02 below it" in strict.caption
