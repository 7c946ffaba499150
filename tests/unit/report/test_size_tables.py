"""Tables about sizes, choice, leakage and maps say what their rows show, and no more."""

import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from factory import DATASET, MODELS, leaks_of, outcomes, study, varied
from report_factory import table_of

from assay.analysis import accuracy
from assay.analysis.checks import VERDICT_NORMS
from assay.analysis.inputs import AnalysisInputs
from assay.analysis.mcnemar import mcnemar
from assay.analysis.paired import Paired
from assay.analysis.ranking import ranking
from assay.analysis.run_files import RunFiles

CELLS = [{"attack": "clean", "epsilon": 0}, {"attack": "pgd_linf", "epsilon": 0.03}]
NAMES = list(MODELS)


@pytest.fixture
def inputs(middle_run):
    return middle_run


def changed(inputs, study=None, **members):
    """The same run with some members put in by hand; what was read is not read again."""
    doctored = AnalysisInputs(inputs.manifest, inputs.study if study is None else study)
    read = ("accuracy", "mcnemar", "resampled_t", "ranking", "checks", "facts", "_by_suite")
    known = {name: inputs.__dict__[name] for name in read if name in inputs.__dict__}
    doctored.__dict__.update(known | members)
    return doctored


def with_rates(inputs, **rates):
    """The facts of the run with other learning rates."""
    return {
        key: {
            **known,
            "training": {**known["training"], "optimizer": {"lr": rates.get(key[2], 0.001)}},
        }
        for key, known in inputs.facts.items()
    }


def sound(inputs, *but):
    """Verdicts that are sound, save those of some models."""
    verdicts = inputs.verdicts
    names = verdicts.model.isin(but)
    return verdicts.assign(verdict=np.where(names, "suspect", "sound"))


def trend_of(correlation, low, high, p):
    """A trend of two measures in one cell, whatever models are asked for."""

    def trend(models):
        return pd.DataFrame(
            {
                "dataset": DATASET, "scheme": "kfold", "suite": "linf_whitebox",
                "attack": "pgd_linf", "worst_case": "", "norm": "linf", "epsilon": 0.03,
                "measure": ["depth", "parameters"], "models": len(models), "splits": 2,
                "correlation": correlation, "low": low, "high": high, "p": p,
                "smallest_p": 0.001,
            }
        )  # fmt: skip

    return trend


SPEC = {"models": NAMES, "cells": CELLS[1:], "within": {"First": NAMES[:3]}}


def test_a_trend_whose_interval_contains_0_cannot_tell(inputs):
    trend = trend_of([-0.9, -0.58], [-1.0, -1.0], [-0.7, 0.07], [0.001, 0.001])
    doctored = changed(inputs, trend=trend, verdicts=sound(inputs))
    shown = table_of("trend", SPEC, inputs.study, doctored).display
    answers = shown.set_index(["Size by", "Networks"])["Smaller is better"]
    assert answers["Depth", "all (5)"] == answers["Depth", "First (3)"] == "yes"
    assert answers["Parameters", "all (5)"] == answers["Parameters", "First (3)"] == "cannot tell"
    assert set(shown["Holm p"]) == {"0.004"}


def test_a_trend_is_corrected_over_the_rows_of_its_table(inputs):
    trend = trend_of([-0.9, 0.1], [-1.0, -0.4], [-0.7, 0.6], [0.02, 0.9])
    doctored = changed(inputs, trend=trend, verdicts=sound(inputs))
    table = table_of("trend", SPEC, inputs.study, doctored)
    assert set(table.display["Smaller is better"]) == {"cannot tell"}
    assert table.tidy.holm_p.min() == pytest.approx(4 * 0.02)


def test_a_trend_over_a_doubtful_evaluation_has_no_verdict_and_names_the_model(inputs):
    trend = trend_of([-0.9, -0.9], [-1.0, -1.0], [-0.7, -0.7], [0.001, 0.001])
    doctored = changed(inputs, trend=trend, verdicts=sound(inputs, "dbx"))
    table = table_of("trend", SPEC, inputs.study, doctored)
    answers = table.display.set_index(["Size by", "Networks"])["Smaller is better"]
    assert answers["Depth", "all (5)"] == "cannot tell"
    assert answers["Depth", "First (3)"] == "yes", "its networks are all sound"
    assert re.search(r"Without a sound evaluation: .*: DBX\.", table.caption)


def test_a_trend_says_what_else_differs_between_its_networks(inputs):
    doctored = changed(inputs, facts=with_rates(inputs, dbx=0.0002))
    table = table_of("trend", SPEC, inputs.study, doctored)
    differs = table.display.set_index(["Size by", "Networks"])["What else differs"]
    assert differs["Depth", "all (5)"] == "learning rate (0.0002 or 0.001)"
    assert differs["Depth", "First (3)"] == "nothing that is recorded"
    assert "learning rate 0.0002 (DBX), 0.001 (the others)" in table.caption


def test_a_trend_of_so_few_networks_says_that_it_cannot_reach_a_verdict(inputs):
    table = table_of("trend", SPEC, inputs.study, inputs)
    assert set(table.display["Smaller is better"]) == {"cannot tell"}
    assert "no row of this table can reach a verdict" in table.caption
    # With depth the smallest network is the first, with FLOPs the last.
    by = table.tidy[table.tidy.networks == "all"].set_index("measure").correlation
    assert by["depth"] == pytest.approx(-by["flops"])


def counterparts(inputs):
    """The study with a second training of the first model's network."""
    models = {name: {**entry, "implementation": f"nets:{name}"}
              for name, entry in inputs.study.models.items()}  # fmt: skip
    models[NAMES[1]] = models[NAMES[0]]
    return varied(inputs.study, models=models)


def test_a_network_that_stands_twice_says_why_and_what_its_other_training_changes(inputs):
    study = counterparts(inputs)
    facts = with_rates(inputs, **{NAMES[1]: 0.0002})
    table = table_of("complexity", {"cells": CELLS}, study, changed(inputs, study, facts=facts))
    rows = inputs.accuracy.set_index(["model", "attack", "epsilon"]).accuracy
    pair = [rows[name, "pgd_linf", 0.03] for name in (NAMES[1], NAMES[0])]
    assert (
        f"{MODELS[NAMES[1]]['title']} and {MODELS[NAMES[0]]['title']} have the same architecture. "
        "Recorded differences of their training: learning rate (0.0002 or 0.001)."
    ) in table.caption
    assert f"{pair[0]:.3f} against {pair[1]:.3f} (PGD L∞ ε = 0.03)" in table.caption
    assert table.display["Learning rate"].tolist() == ["0.001", "0.0002", *["0.001"] * 3]
    assert "same architecture" not in table_of("complexity", {"cells": CELLS}, inputs.study,
                                             inputs).caption  # fmt: skip


def test_the_caption_s_order_of_sizes_is_that_of_the_rows(inputs):
    table = table_of("complexity", {"cells": CELLS}, inputs.study, inputs)
    first, last = (MODELS[name]["title"] for name in (NAMES[0], NAMES[-1]))
    assert f"By depth {first} is the smallest and {last} the largest" in table.caption
    assert f"by FLOPs {last} is the smallest and {first} the largest" in table.caption
    assert "by parameters" not in table.caption, "all have as many"


def chosen(inputs, spec=None, **members):
    alike = inputs.mcnemar.assign(significant=False)
    doctored = changed(inputs, **{"mcnemar": alike, "verdicts": sound(inputs), **members})
    table = table_of("selection", spec or {"cells": CELLS[1:]}, inputs.study, doctored)
    return table, table.tidy.iloc[0]


def test_choice_is_among_all_models_of_the_headline(inputs):
    headline = inputs.study.headline.models
    _, row = chosen(inputs)
    assert set(row.candidates.split(", ")) == set(headline) & set(NAMES)
    _, row = chosen(inputs, {"cells": CELLS[1:], "models": NAMES[:2]})
    assert set(row.candidates.split(", ")) == set(NAMES[:2])


def test_the_advice_to_take_the_smallest_stands_under_both_orders(inputs):
    robust = inputs.accuracy[
        (inputs.accuracy.attack == "pgd_linf") & np.isclose(inputs.accuracy.epsilon, 0.03)
    ].set_index("model").pooled  # fmt: skip
    best = robust.idxmax()
    others = [name for name in NAMES if name != best]
    sizes = {
        "parameters": {(DATASET, name): 1 + (name != best) for name in NAMES},
        "depth": {(DATASET, name): 1 + (name != others[0]) for name in NAMES},
    }
    table, row = chosen(inputs, sizes=sizes)
    assert (row.smallest, row.smallest_advice) == (best, "the highest")
    assert row.smallest_by_depth == others[0]
    assert row.smallest_by_depth_advice == "no significant difference"
    worse = inputs.mcnemar.assign(significant=inputs.mcnemar.attack == "pgd_linf")
    table, row = chosen(inputs, sizes=sizes, mcnemar=worse)
    assert row.smallest_by_depth_advice == "significantly less robust"
    shown = table.display.iloc[0]
    assert shown["Smallest by parameters"].endswith(": the highest")
    assert shown["Smallest by depth"].endswith(": significantly less robust")


def test_a_model_without_a_sound_evaluation_is_not_called_the_most_robust(inputs):
    _, row = chosen(inputs)
    best = row.most_robust
    table, row = chosen(inputs, verdicts=sound(inputs, best))
    assert row.most_robust != best
    assert row.not_sound == best
    assert MODELS[best]["title"] in table.display["Without a sound evaluation"].item()
    table, row = chosen(inputs, verdicts=sound(inputs, *NAMES))
    assert row.most_robust is None
    assert table.display["Most robust of them"].item() == "none: no sound evaluation"


def test_of_equally_small_models_the_more_robust_one_is_named(inputs):
    sizes = {order: {(DATASET, name): 1 for name in NAMES} for order in ("parameters", "depth")}
    _, row = chosen(inputs, sizes=sizes)
    assert row.smallest == row.smallest_by_depth == row.most_robust


def test_models_that_are_equally_robust_are_named_together(inputs):
    rows = inputs.accuracy.assign(
        pooled=inputs.accuracy.pooled.where(inputs.accuracy.attack == "clean", 0.5)
    )
    table, row = chosen(inputs, accuracy=rows)
    assert {row.most_robust, *row.tied.split(", ")} == set(NAMES)
    assert row.smallest_by_depth_advice == "the highest"
    assert "tied with" in table.display["Most robust of them"].item()


def test_choice_shows_the_clean_accuracy_of_the_attacked_images(inputs):
    clean = inputs.accuracy.attack == "clean"
    rows = inputs.accuracy.assign(clean=inputs.accuracy.clean.where(clean, 0.123))
    table, row = chosen(inputs, accuracy=rows)
    assert "(0.123, " in table.display["Most robust of them"].item()
    assert "(0.123, " in table.display["Smallest by depth"].item()
    assert row.most_robust_clean > 0.9


@pytest.fixture(scope="module")
def laboratory():
    """A run with a second way to split: a single split of the same samples."""
    frame = outcomes(folds=3, per_fold=40, models=NAMES[:2])
    other = frame[frame["split"] == "kfold_0"].assign(split="apart_0")
    entries = {"kfold": {"group": "none"}, "apart": {"group": "patient"}}
    frame = pd.concat([frame, other], ignore_index=True)
    flags = [leaks_of(rows).assign(dataset=DATASET, split=split)
             for split, rows in frame.groupby("split", sort=False)]  # fmt: skip
    toy = study(splits=entries)
    found = AnalysisInputs(RunFiles(scale="toy", seed=0), toy)
    table = accuracy.accuracy(frame)
    tests = mcnemar(frame)
    verdicts = table.assign(norm=table.norm.replace(VERDICT_NORMS))
    verdicts = verdicts[["dataset", "scheme", "model", "norm"]].drop_duplicates()
    found.__dict__.update(
        accuracy=table,
        mcnemar=tests,
        ranking=ranking(tests),
        verdicts=verdicts.assign(verdict="sound", because=""),
        facts={(DATASET, split, model): {"train_n": 100, "epochs": 1, "training": {}}
               for split in frame["split"].unique() for model in NAMES[:2]},
        leaks=pd.concat(flags, ignore_index=True),
    )  # fmt: skip
    found.__dict__["_by_suite"] = SimpleNamespace(paired=Paired.of(frame))
    return found


LAB = {"cells": CELLS, "schemes": ["kfold", "apart"], "models": NAMES[:2]}


def test_every_cell_of_the_laboratory_says_its_images_and_splits(laboratory):
    table = table_of("schemes", LAB, laboratory.study, laboratory)
    assert list(table.display)[2:5] == [
        "By image", "Patients together", "By image − patients together",
    ]  # fmt: skip
    assert table.display["By image"].str.endswith("(n = 120, 3 splits)").all()
    assert table.display["Patients together"].str.endswith("(n = 40, 1 split)").all()
    assert "10 random splits" not in table.caption
    assert "has a single split, the interval is Newcombe's" in table.caption
    assert re.search(r"Of 4 tests of a difference between schemes, 0 show that", table.caption)


def test_the_same_images_are_compared_with_themselves_in_the_laboratory(laboratory):
    table = table_of("schemes", LAB, laboratory.study, laboratory)
    same = table.display["By image − patients together, same images"]
    # The single split tests the images of one fold, with the same decisions.
    assert same.str.startswith("+0.000").all()
    assert same.str.endswith("(n = 40)").all()
    tidy = table.tidy[table.tidy.scheme == "apart"]
    assert (tidy.difference != 0).any()


def test_the_table_of_leaked_images_counts_what_it_shows(laboratory):
    table = table_of("leaked", {**LAB, "schemes": ["kfold"]}, laboratory.study, laboratory)
    assert set(table.display["Shared with training"]) == {"patient", "patients, safe reading"}
    assert set(table.tidy.scheme) == {"kfold"}
    shown = len(table.tidy)
    assert f"Of {shown} tests of a difference within splits, " in table.caption
    safe = {"id": "{n}", "title": "patients by number alone"}
    study = varied(laboratory.study, datasets={DATASET: {"patient": {"safe": safe}}})
    table = table_of("leaked", LAB, study, laboratory)
    assert "patients by number alone" in set(table.display["Shared with training"])
    assert "Patients by number alone: a coarser identification" in table.caption


def test_a_measure_of_the_safe_reading_has_its_own_row_and_title(inputs):
    extra = inputs.leakage.tail(1).assign(measure="patients_safe", images=7, share=0.1, groups=3)
    safe = {"id": "{n}", "title": "patients by number alone"}
    study = varied(inputs.study, datasets={DATASET: {"patient": {"safe": safe}}})
    doctored = changed(inputs, leakage=pd.concat([inputs.leakage, extra], ignore_index=True))
    table = table_of("leakage", {}, study, doctored)
    assert table.display["What"].iloc[-1] == "patients by number alone"
    assert set(table.display["What"]) >= {"images", "identical pixels", "patients"}
    assert "a coarser identification" in table.caption


def test_pointing_is_compared_on_the_same_images_with_interval_and_test(inputs):
    table = table_of("pointing", {"models": NAMES}, inputs.study, inputs)
    tidy = table.tidy
    first = tidy[tidy.model == NAMES[0]]
    assert (first.compared_with == "").all()
    rest = tidy[tidy.model != NAMES[0]]
    assert (rest.compared_with == NAMES[0]).all()
    row = rest.iloc[0]
    expected = tidy[(tidy.model == NAMES[0]) & (tidy.epsilon == row.epsilon)
                    & (tidy.method == row.method)].hits.item()  # fmt: skip
    assert row.difference == pytest.approx((row.hits - expected) / row.n)
    assert row.only_here - row.only_there == row.hits - expected
    assert row.difference_low < row.difference < row.difference_high
    assert (tidy.low < tidy.hits / tidy.n).all()
    study = counterparts(inputs)
    study.models[NAMES[3]] = study.models[NAMES[2]]
    tidy = table_of("pointing", {"models": NAMES}, study, inputs).tidy
    assert set(tidy.compared_with[tidy.model == NAMES[3]]) == {NAMES[2]}
    assert set(tidy.compared_with[tidy.model == NAMES[4]]) == {NAMES[0]}


def test_pointing_says_that_a_map_explains_the_decided_class(inputs):
    table = table_of("pointing", {"models": NAMES}, inputs.study, inputs)
    tidy = table.tidy[table.tidy.epsilon > 0].drop_duplicates(["model", "epsilon"])
    assert (
        f"it is a wrong class in {tidy.wrong.sum()} of {tidy.n.sum()} predictions" in table.caption
    )
    assert "A map explains the predicted class" in table.caption
