import logging
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from factory import MODELS, study, varied, write_run
from report_factory import table_of

from assay.analysis.attack_set import AttackSet, attack_sets
from assay.analysis.inputs import AnalysisInputs
from assay.analysis.run_files import RunFile
from assay.foundation.errors import AssayError, ConfigError, OutcomeError
from assay.foundation.files import read_json, write_json
from assay.plan import paths
from assay.report.kinds import kinds
from assay.report.tables.build import ANALYSES, analysis_table
from assay.report.tables.files import LONG_TABLE, MOST_ROWS, shortened, to_latex, write_table
from assay.report.tables.parts import Table, met_at_places, p_text
from assay.report.tables.stored import StoredTable

CELLS = [{"attack": "clean", "epsilon": 0}, {"attack": "pgd_linf", "epsilon": 0.03}]
SPECS = {
    "accuracy": study().tables["table1"],
    "headline": study().headline.to_spec(),
    "hyper_parameters": study().tables["table3"],
    "defects": study().tables["defects"],
    "distances": {"attacks": ["pgd_linf", "pgd_l2"]},
    "measured": {"measurement": "certificates", "models": ["gbz_as_coded"], "arrays": ["radii"]},
    "significance": {"cells": CELLS},
    "ranking": {"cells": CELLS},
    "leakage": {},
    "schemes": {"cells": CELLS, "schemes": ["kfold", "random"]},
    "leaked": {"cells": CELLS, "schemes": ["kfold"]},
    "complexity": {"cells": CELLS},
    "trend": {"models": list(MODELS), "cells": CELLS},
    "selection": {"cells": CELLS[1:]},
    "pointing": {"models": list(MODELS)},
    "cost": {},
    "counting": {"attacks": ["pgd_linf"]},
    "remaining": {"models": ["dbx"], "attacks": ["fgsm", "pgd_linf"]},
}


@pytest.fixture
def inputs(middle_run):
    return middle_run


def test_every_kind_has_a_case_here():
    assert set(SPECS) == {*kinds("tables"), "headline"}


@pytest.mark.parametrize("kind", SPECS)
def test_each_table_is_written_for_eyes_and_for_machines(kind, inputs, tmp_path):
    table = table_of(kind, SPECS[kind], inputs.study, inputs)
    csv, markdown, latex, json = write_table(table, tmp_path / "deep" / kind)
    assert StoredTable.from_json(json.read_text(), where=json) == StoredTable.of(
        shortened(table, csv.name)
    )
    back = pd.read_csv(csv, keep_default_na=False, na_values=[""])
    assert list(back.columns) == list(table.tidy.columns)
    for name in table.tidy.select_dtypes("number"):
        assert np.array_equal(back[name], table.tidy[name], equal_nan=True), name
    lines = markdown.read_text().splitlines()
    assert len([line for line in lines if line.startswith("|")]) == len(table.display) + 2
    assert lines[-1] == table.caption
    text = latex.read_text()
    long = len(table.display) > LONG_TABLE
    assert (r"\begin{longtable}" in text) == long
    body = text.split(r"\endlastfoot" if long else r"\midrule")[1]
    assert body.count(r"\\") == len(table.display)
    assert all(rule in text for rule in (r"\toprule", r"\midrule", r"\bottomrule"))
    assert table.display.map(lambda cell: isinstance(cell, str)).all(axis=None)
    assert table.display.columns.is_unique


def test_the_tables_of_every_study_are_those_that_the_workflow_declares():
    assert [place.rpartition("/")[2] for place in paths.ANALYSES] == list(ANALYSES)


@pytest.mark.parametrize("name", ANALYSES)
def test_each_table_of_every_study_is_written_in_all_formats(name, inputs, tmp_path):
    table = analysis_table(name, inputs.study, inputs)
    csv, markdown, latex, _ = write_table(table, tmp_path / name)
    if name != "headline":
        expected = tmp_path / "expected.csv"
        getattr(inputs, name).to_csv(expected, index=False)
        assert csv.read_bytes() == expected.read_bytes()
    assert len(table.display)
    assert markdown.read_text().startswith("| ")
    assert table.caption in markdown.read_text()
    assert table.caption.endswith("seed 0.")
    assert ("; 2 splits; " in table.caption) == (name != "ledger")
    assert (r"\begin{longtable}" in latex.read_text()) == (len(table.display) > LONG_TABLE)


@pytest.mark.parametrize("models", [("gbz",), ("gbz", "dbx")])
@pytest.mark.parametrize("folds", [1, 2])
def test_the_smallest_studies_have_all_tables(models, folds, tmp_path):
    run = write_run(tmp_path, models=models, folds=folds, per_fold=12)
    inputs = AnalysisInputs(run, study())
    for name in ANALYSES:
        _, markdown, latex, _ = write_table(
            analysis_table(name, inputs.study, inputs), tmp_path / name
        )
        assert markdown.read_text().strip()
        assert r"\toprule" in latex.read_text()


def test_only_the_csv_of_a_very_long_table_has_all_rows(tmp_path):
    rows = pd.DataFrame({"Row": [f"row{i}" for i in range(MOST_ROWS + 1)]})
    table = Table(rows, rows, "Seed 0.", bold=rows == "row0")
    csv, *short = (path.read_text() for path in write_table(table, tmp_path / "t"))
    assert csv.count("row") == MOST_ROWS + 1
    for text in short:
        assert f"row{MOST_ROWS - 1}" in text
        assert f"row{MOST_ROWS}" not in text
        assert f"The first {MOST_ROWS} of {MOST_ROWS + 1} rows; t.csv has all. Seed 0." in (
            text.replace(r"\_", "_")
        )
    whole = Table(rows.head(MOST_ROWS), rows, "Seed 0.")
    assert "has all" not in write_table(whole, tmp_path / "u")[1].read_text()


def test_the_longest_table_holds_every_test_of_the_study(inputs, tmp_path):
    table = analysis_table("mcnemar", inputs.study, inputs)
    assert len(table.display) == len(inputs.mcnemar) > LONG_TABLE
    text = write_table(table, tmp_path / "mcnemar")[2].read_text()
    assert (
        text.count("PGD L2 $\\varepsilon$ = 0.5 ") == (inputs.mcnemar.attack == "pgd_l2").sum() / 4
    )


def test_sentences_get_a_column_that_breaks_lines(inputs):
    text = to_latex(analysis_table("checks", inputs.study, inputs), "tab:checks")
    assert r"{llllp{6cm}}" in text


def test_doubtful_checks_stand_first_and_the_tidy_form_keeps_its_order(inputs):
    doubted = AnalysisInputs(inputs.manifest, inputs.study)
    frame = inputs.checks.copy()
    frame.loc[frame.index[-1], "status"] = "fail"
    doubted.__dict__["checks"] = frame
    table = analysis_table("checks", inputs.study, doubted)
    assert table.display["Status"][0] == "fail"
    assert table.tidy is frame


def test_the_attacks_in_the_table_of_defects_are_checked_against_each_other(inputs):
    pairs = inputs.study.tables["defects"]["pairs"]
    norms = {inputs.study.attacks[pair["published"]]["norm"] for pair in pairs}
    found = inputs.checks[inputs.checks.check.str.startswith("D42")]
    wanted = {(model, norm) for model in inputs.checks.model for norm in norms}
    assert sorted(zip(found.model, found.norm, strict=True)) == sorted(wanted)


# Tables of what was printed or set: they show no images of this run.
UNCOUNTED = ("hyper_parameters",)


@pytest.mark.parametrize("kind", SPECS)
def test_every_caption_ends_with_scale_n_splits_and_seed(kind, inputs):
    caption = table_of(kind, SPECS[kind], inputs.study, inputs).caption
    assert "Scale synthetic; " in caption
    assert caption.endswith("seed 0.")
    # Saliency is mapped on one split: what a table shows is counted, not what the study has.
    splits = "; 1 split;" if kind == "pointing" else "; 2 splits;"
    assert (splits in caption) == (kind not in UNCOUNTED)
    assert ("; n = " in caption) == (kind not in (*UNCOUNTED, "leakage"))


def test_captions_count_the_rows_shown_and_not_the_study(inputs):
    spec = {"cells": [{"attack": "one_pixel", "epsilon": 1}], "models": ["gbz", "dbx"]}
    caption = table_of("accuracy", spec, inputs.study, inputs).caption
    assert caption.endswith("Scale synthetic; 2 models; n = 60 images; 2 splits; seed 0.")


def test_substitutes_are_said_in_the_caption_by_their_titles_where_they_are_shown(inputs):
    models = {**inputs.study.titles["models"], "big": "A big network"}
    standing = varied(
        inputs.study,
        titles={**inputs.study.titles, "models": models},
        substitutes={"datasets": {"paper_set": "medical_mnist"}, "models": {"big": "gbz"}},
    )
    caption = table_of("accuracy", {"cells": CELLS}, standing, inputs).caption
    assert "Medical MNIST is a substitute for paper_set." in caption
    assert "GBZ (Bayes' rule) is a substitute for A big network." in caption
    spec = {"cells": CELLS, "models": ["dbx"]}
    assert "A big network" not in table_of("accuracy", spec, standing, inputs).caption


def test_a_cell_shows_mean_spread_and_interval(inputs):
    table = table_of("accuracy", {"cells": CELLS, "models": ["gbz"]}, inputs.study, inputs)
    row = table.tidy.iloc[1]
    assert table.display["GBZ (Bayes' rule)"][1] == (
        f"{row.accuracy:.3f} ± {row.sd:.3f} [{row.low:.3f}, {row.high:.3f}]"
    )
    assert table.display["Attack"].tolist() == ["clean", "PGD L∞ ε = 0.03"]


def test_a_cell_without_epsilon_stands_for_every_budget(inputs):
    table = table_of("accuracy", {"cells": [{"attack": "pgd_l2"}]}, inputs.study, inputs)
    assert [title.split()[-1] for title in table.display["Attack"]] == ["0.25", "0.5", "1", "2"]


def test_a_cell_that_was_not_run_stays_and_says_so(inputs):
    cells = [{"attack": "pgd_linf", "epsilon": 0.9}, {"attack": "square", "epsilon": 0.1}, *CELLS]
    table = table_of("accuracy", {"cells": cells}, inputs.study, inputs)
    assert len(table.display) == 4
    assert (table.display.iloc[:2, 1:] == "not run").all(axis=None)


def test_a_model_has_no_row_where_a_split_scheme_was_not_its_own():
    places = [("d", "kfold"), ("d", "kfold"), ("d", "random")]
    rows = pd.DataFrame(places, columns=["dataset", "scheme"]).assign(model=["a", "b", "b"])
    assert met_at_places(rows, ["b", "a", "c"]) == [
        (("d", "kfold"), "b"),
        (("d", "kfold"), "a"),
        (("d", "random"), "b"),
    ]


def test_a_budget_is_another_one_if_it_differs_in_its_last_bit(inputs):
    for epsilon, runs in ((0.03, True), (0.1 + 0.2 - 0.27, False)):
        cells = [{"attack": "pgd_linf", "epsilon": epsilon}]
        table = table_of("accuracy", {"cells": cells}, inputs.study, inputs)
        assert len(table.tidy) == len(MODELS) * runs


def test_markup_is_escaped_and_bold_in_every_format(tmp_path):
    frame = pd.DataFrame({"a_b": ["50 % | x_1", "plain"], "q(z|x)": ["", "x"]})
    bold = pd.DataFrame({"a_b": [False, True], "q(z|x)": False})
    table = Table(frame, frame, "R&D ± 1", bold)
    _, markdown, latex, json = write_table(table, tmp_path / "t")
    assert r"50 % \| x_1" in markdown.read_text()
    stored = StoredTable.from_json(json.read_text(), where=json)
    assert stored.columns == ("a_b", "q(z|x)")
    assert stored.rows == (("50 % | x_1", ""), ("plain", "x"))
    assert stored.marks == {(1, 0)}
    assert stored.caption == "R&D ± 1"
    assert "**plain**" in markdown.read_text()
    text = latex.read_text()
    assert r"a\_b" in text
    assert r"50 \% | x\_1" in text
    assert r"\textbf{plain}" in text
    assert r"\caption{R\&D $\pm$ 1}" in text
    assert r"\label{tab:t}" in text


def test_nonsignificant_conclusions_name_what_would_have_been_found(inputs):
    table = table_of("significance", SPECS["significance"], inputs.study, inputs)
    weak = table.display["Conclusion"][~table.tidy.significant]
    assert len(weak)
    assert weak.str.fullmatch(r"n\.s\. \(80 % power from \d\.\d{3}\)").all()


def test_rankings_follow_the_order_of_the_cells(inputs):
    table = table_of("ranking", {"cells": CELLS[::-1]}, inputs.study, inputs)
    assert table.display["Attack"].tolist() == ["PGD L∞ ε = 0.03", "clean"]


def test_an_unknown_kind_is_one_clear_line(inputs):
    with pytest.raises(ConfigError, match=r"unknown kind of table 'pie'.*choose one of"):
        table_of("pie", {"title": "x"}, inputs.study, inputs)


def test_p_values_are_printed_as_readers_expect():
    assert [p_text(p) for p in (0.0004, 0.04961, 1.0, float("nan"))] == [
        "<0.001", "0.050", "1.000", "–",
    ]  # fmt: skip


def test_latex_of_an_empty_table_is_still_a_table():
    empty = pd.DataFrame({"Model": pd.Series(dtype=str)})
    assert r"\toprule" in to_latex(Table(empty, empty, "none"), "tab:none")


def test_missing_records_are_named_and_left_out(inputs, caplog):
    ids = {"dataset": "d", "split": "s", "model": "m", "measurement": "features"}
    gone = RunFile(**ids, path="gone/features.npz")
    manifest = replace(inputs.manifest, measurements=(gone,))
    with caplog.at_level(logging.WARNING):
        assert AnalysisInputs(manifest, inputs.study).networks("features") == []
    assert "gone/features.npz is missing" in caplog.text


def test_missing_outcomes_are_an_error_that_names_the_file(inputs):
    lost = replace(inputs.manifest.outcomes[0], path="gone/corruptions.parquet")
    with pytest.raises(OutcomeError, match=r"gone/corruptions\.parquet"):
        AnalysisInputs(replace(inputs.manifest, outcomes=(lost,))).outcomes()


def test_inputs_are_read_once(inputs):
    assert inputs.accuracy is inputs.accuracy
    assert inputs.mcnemar is inputs.mcnemar


def test_unions_over_suites_are_tested_too(inputs):
    for tests in (inputs.mcnemar, inputs.cochran, inputs.resampled_t):
        assert AttackSet("suite", "linf_whitebox") in attack_sets(tests)


def test_a_table_keeps_to_the_data_sets_that_it_names(inputs):
    for kind in ("accuracy", "significance", "ranking", "distances"):
        whole = table_of(kind, SPECS[kind], inputs.study, inputs)
        named = table_of(kind, {**SPECS[kind], "datasets": ["medical_mnist"]}, inputs.study, inputs)
        assert len(named.tidy) == len(whole.tidy) > 0
        other = table_of(kind, {**SPECS[kind], "datasets": ["mnist"]}, inputs.study, inputs)
        assert len(other.tidy) == 0


def test_distances_say_which_attack_found_them_and_on_how_many_images(inputs):
    table = table_of("distances", SPECS["distances"], inputs.study, inputs)
    titles = ["PGD L∞, L∞ distance", "PGD L2, L2 distance"]
    parts = ("median", "mean", "never misclassified")
    columns = [f"{title}: {part}" for title in titles for part in parts]
    assert list(table.display) == ["Model", "Clean accuracy", *columns]
    first, row = table.display.iloc[0], table.tidy.iloc[0]
    assert row.attacks == "pgd_linf"
    assert first[columns[0]] == f"{row['median']:.3f} (n = {row.n})"
    assert first[columns[2]] == f"{row.n - row.misclassified} of {row.n}"
    assert "the distance is infinite" in table.caption
    weak = table.tidy[table.tidy.misclassified < table.tidy.n]
    assert len(weak)
    assert np.isinf(weak["mean"]).all()


def test_distances_on_other_images_repeat_the_clean_accuracy_of_their_own(inputs):
    tidy = inputs.distances(["pgd_linf", "pgd_l2"], apart=True)
    cut = tidy.assign(n=np.where(tidy.norm == "l2", 30, tidy.n),
                      clean=np.where(tidy.norm == "l2", 0.5, tidy.clean))  # fmt: skip
    doctored = changed(inputs, distances=lambda attacks, apart: cut)
    shown = table_of("distances", SPECS["distances"], inputs.study, doctored).display
    assert [name for name in shown if name.startswith("Clean")] == [
        "Clean accuracy, images of PGD L∞, L∞ distance",
        "Clean accuracy, images of PGD L2, L2 distance",
    ]
    assert (shown["Clean accuracy, images of PGD L2, L2 distance"] == "0.500 (n = 30)").all()


def changed(inputs, **members):
    """The same run with some statistics put in by hand."""
    doctored = AnalysisInputs(inputs.manifest, inputs.study)
    doctored.__dict__.update(members)
    return doctored


def test_selection_is_among_those_that_are_not_significantly_worse(inputs):
    accuracy = inputs.accuracy
    clean = accuracy[accuracy.attack == "clean"].set_index("model").pooled
    pgd = accuracy[(accuracy.attack == "pgd_linf") & np.isclose(accuracy.epsilon, 0.03)]
    robust = pgd.set_index("model").pooled
    spec = {"cells": CELLS[1:]}
    alike = inputs.mcnemar.assign(significant=False)
    (row,) = table_of(
        "selection", spec, inputs.study, changed(inputs, accuracy=accuracy, mcnemar=alike)
    ).tidy.to_dict("records")
    assert set(row["candidates"].split(", ")) == set(MODELS)
    assert row["most_robust_accuracy"] == robust.max()
    assert row["clean_best"] == clean.idxmax()
    worse = alike.assign(
        significant=(alike.attack == "clean")
        & ((alike.model_a == clean.idxmax()) | (alike.model_b == clean.idxmax()))
    )
    (row,) = table_of(
        "selection", spec, inputs.study, changed(inputs, accuracy=accuracy, mcnemar=worse)
    ).tidy.to_dict("records")
    assert row["candidates"] == row["most_robust"] == row["smallest"] == clean.idxmax()


def test_where_splits_share_images_selection_asks_the_resampled_t_test(inputs):
    repeated = inputs.mcnemar.assign(split="kfold_0", significant=True)
    tests = inputs.resampled_t.assign(significant=False)
    doctored = changed(inputs, accuracy=inputs.accuracy, mcnemar=repeated, resampled_t=tests)
    (row,) = table_of("selection", {"cells": CELLS[1:]}, inputs.study, doctored).tidy.to_dict(
        "records"
    )
    assert set(row["candidates"].split(", ")) == set(MODELS)


def test_sizes_stand_beside_their_rank_and_the_trend_says_how_sure_it_is(inputs):
    table = table_of("complexity", SPECS["complexity"], inputs.study, inputs)
    assert table.display.Depth.tolist() == ["5 (1)", "6 (2)", "7 (3)", "8 (4)", "9 (5)"]
    assert table.display.FLOPs.tolist()[0] == "9,000,000 (5)"
    trend = table_of("trend", SPECS["trend"], inputs.study, inputs)
    assert set(trend.display["Size by"]) == {"Depth", "Parameters", "FLOPs"}
    by = trend.tidy.set_index(["measure", "attack"]).correlation
    assert by["depth", "pgd_linf"] == pytest.approx(-by["flops", "pgd_linf"])
    assert by["parameters", "pgd_linf"] == 0, "equal sizes have no order"


def test_accuracies_of_leaked_images_are_proportions_however_their_weights_are_rounded(inputs):
    tidy = table_of("leaked", SPECS["leaked"], inputs.study, inputs).tidy
    accuracies = tidy[["accuracy_leaked", "accuracy_unleaked"]].to_numpy()
    assert accuracies.max() == 1
    assert np.isfinite(tidy[["low", "high", "p"]].to_numpy()).all()


def test_the_pointing_game_counts_images_with_a_lesion(inputs):
    tidy = table_of("pointing", SPECS["pointing"], inputs.study, inputs).tidy
    assert set(tidy.n) == {30}
    assert set(tidy.epsilon) == {0, 0.01, 0.03}
    assert (tidy.hits <= tidy.n).all()
    assert tidy.chance.unique().tolist() == pytest.approx([0.1])


def test_without_masks_the_pointing_game_says_what_it_needs(inputs):
    doctored = changed(inputs, accuracy=inputs.accuracy, measured={})
    with pytest.raises(ConfigError, match=r"no saliency map of images with known lesions.*phantom"):
        table_of("pointing", SPECS["pointing"], inputs.study, doctored)


def test_costs_are_means_over_splits_of_what_the_files_say(middle_run, tmp_path):
    first, *others = middle_run.manifest.outcomes
    ids = {name: getattr(first, name) for name in ("dataset", "model", "suite")}
    alike = [first, *(job for job in others if job.of(**ids))]
    assert len(alike) == 2
    for place, peak in enumerate(("100.0", "-")):
        path = tmp_path / f"{place}.tsv"
        path.write_text(f"s\th:m:s\tmax_rss\n9.0\t0:00:09\t{peak}\n")
        alike[place] = replace(alike[place], benchmark=str(path))
    jobs = (*alike, *(job for job in others if not job.of(**ids)))
    split = {"dataset": first.dataset, "split": first.split, "model": first.model}
    trained = next(one for one in middle_run.manifest.models if one.of(**split))
    path = tmp_path / "model.json"
    write_json(path, {**read_json(trained.facts), "train_n": 129})
    changed = tuple(
        replace(one, facts=str(path)) if one is trained else one
        for one in middle_run.manifest.models
    )
    manifest = replace(middle_run.manifest, outcomes=jobs, models=changed)
    inputs = AnalysisInputs(manifest, middle_run.study)
    costs = inputs.costs.set_index(list(ids)).loc[tuple(ids.values())]
    seconds = [inputs.durations[job.ids("dataset", "split", "model", "suite")] for job in alike]
    assert costs.seconds == pytest.approx(np.mean(seconds))
    # Ten epochs of 129 and of 180 images in batches of 64: a last batch of one image is none.
    assert costs.updates == np.mean([10 * 2, 10 * 3])
    assert costs.peak_mb == 100.0  # a job of under a second has no peak
    rows = inputs.outcomes(["sample", "attack", "epsilon"], **ids)
    assert costs.images_per_second == pytest.approx(len(rows) / 2 / np.mean(seconds))


@pytest.mark.parametrize(
    "text", ["", "[]", '{"columns": ["a"], "rows": [["x", "y"]], "marks": [], "caption": ""}']
)
def test_what_is_no_stored_table_is_an_error_of_one_line(text):
    with pytest.raises(AssayError, match=r"^t\.json: holds no table \([^\n]*$"):
        StoredTable.from_json(text, where="t.json")
