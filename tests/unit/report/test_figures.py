import dataclasses
import itertools
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import factory
import numpy as np
import pandas as pd
import pytest
import report_factory
from matplotlib.colors import to_hex, to_rgb
from matplotlib.text import Text

from assay.analysis.accuracy import over_norm
from assay.foundation.errors import ConfigError, OutcomeError
from assay.report.figures.draw import (
    alternative_text,
    caption,
    draw_figure,
    is_photograph,
    save_figure,
)
from assay.report.figures.parts import images_in_words, one_of_each
from assay.report.kinds import kinds
from assay.report.style import COLOURS, FAINT, MARKERS, series_styles

MODELS = ("resnet18_text", "gbz_as_coded")
GREY = "#6b7682"


@pytest.fixture(scope="module")
def inputs(small_run):
    return small_run


def changed(inputs, **members):
    """The run with some members replaced."""
    other = dataclasses.replace(inputs)
    for name in ("accuracy", "mcnemar", "ledger", "facts"):
        other.__dict__[name] = getattr(inputs, name)
    other.__dict__.update(members)
    return other


@pytest.fixture(scope="module")
def study(inputs):
    return report_factory.make_study(inputs)


def test_every_figure_of_the_study_is_saved_below_300_kb_with_labelled_axes(
    study, inputs, tmp_path
):
    assert {spec["kind"] for spec in study.figures.values()} == set(kinds("figures"))
    for name, spec in study.figures.items():
        figure = draw_figure(spec, study, inputs)
        svg, pdf = save_figure(figure, tmp_path / name)
        assert svg.stat().st_size < 300_000
        assert pdf.read_bytes().startswith(b"%PDF")
        for axes in figure.axes:
            if axes.axison:
                assert axes.get_xlabel()
                shared = axes is not figure.axes[0] or spec["kind"] == "ledger_dumbbell"
                assert axes.get_ylabel() or shared
        assert figure.get_suptitle() == "", "the title stands in the caption"


def test_drawing_twice_gives_the_same_bytes(study, inputs, tmp_path):
    for name in ("figure4", "figure5", "figure7"):
        files = [
            save_figure(draw_figure(study.figures[name], study, inputs), tmp_path / turn / name)
            for turn in ("first", "second")
        ]
        for first, second in zip(*files, strict=True):
            assert first.read_bytes() == second.read_bytes()


def test_texts_of_an_svg_stay_texts(study, inputs, tmp_path):
    svg, _ = save_figure(draw_figure(study.figures["figure7"], study, inputs), tmp_path / "f")
    text = svg.read_text(encoding="utf-8")
    assert "L∞ radius ε" in text
    assert "DejaVu" not in text
    assert "<dc:date>" not in text


def solid(axes):
    return [line for line in axes.lines if line.get_linestyle() == "-"]


def dashed(axes):
    return [line for line in axes.lines if line.get_linestyle() == "--"]


def test_a_curve_goes_through_the_pooled_accuracies_of_its_attack(study, inputs):
    table = inputs.accuracy
    panels = draw_figure(study.figures["figure7"], study, inputs).axes
    for attack, axes in zip(("fgsm_as_published", "fgsm"), panels, strict=True):
        assert len(solid(axes)) == len(MODELS)
        for model, line in zip(MODELS, solid(axes), strict=True):
            rows = table[(table["model"] == model) & (table["attack"] == attack)]
            assert list(line.get_xdata()) == [0.0, *rows["epsilon"]]
            assert list(line.get_ydata()) == [rows["clean"].iloc[0], *rows["pooled"]]
        bands = [band.get_paths()[0].vertices for band in axes.collections]
        rows = table[(table["model"] == MODELS[0]) & (table["attack"] == attack)]
        assert set(rows["low"]) | set(rows["high"]) <= set(bands[0][:, 1])


def test_a_curve_starts_at_the_clean_accuracy_of_its_own_images_and_never_rises(study, inputs):
    table = inputs.accuracy.copy()
    mine = (table["attack"] == "fgsm") & (table["model"] == MODELS[0])
    # This attack saw fewer and easier images than the clean evaluation did.
    table.loc[mine, ["n", "samples", "clean"]] = [6, 6, 1.0]
    table.loc[table["attack"] == "clean", "pooled"] = 0.5
    one = changed(inputs, accuracy=table)
    spec = {**study.figures["figure7"], "attacks": ["fgsm"]}
    line = solid(draw_figure(spec, study, one).axes[0])[0]
    assert line.get_ydata()[0] == 1.0
    assert (np.diff(line.get_ydata()) <= 0).all()


def test_points_on_other_images_are_no_part_of_a_curve(study, inputs):
    table = inputs.accuracy.copy()
    last = (table["attack"] == "fgsm") & np.isclose(table["epsilon"], 0.1)
    table.loc[last, ["n", "samples", "clean", "pooled"]] = [3, 3, 1.0, 1.0]
    spec = {**study.figures["figure7"], "attacks": ["fgsm"]}
    one = changed(inputs, accuracy=table)
    line = solid(draw_figure(spec, study, one).axes[0])[0]
    assert max(line.get_xdata()) == pytest.approx(0.09)
    assert "Also run, but not shown: ε = 0.1." in caption(spec, study, one)


def test_a_table_that_knows_no_clean_accuracy_gives_curves_without_a_start(study, inputs):
    one = changed(inputs, accuracy=inputs.accuracy.drop(columns="clean"))
    line = solid(draw_figure(study.figures["figure7"], study, one).axes[0])[0]
    assert line.get_xdata()[0] > 0
    assert "The value at ε = 0" not in caption(study.figures["figure7"], study, one)


def test_the_caption_says_n_of_each_attack_where_they_differ(study, inputs):
    table = inputs.accuracy.copy()
    table.loc[table["attack"] == "fgsm", "n"] = 7
    spec = study.figures["figure7"]
    text = caption(spec, study, changed(inputs, accuracy=table))
    assert "test images per point: 24 (FGSM (as published)), 7 (FGSM);" in text
    assert "n = 24 test images per point;" in caption(spec, study, inputs)


def test_models_keep_their_colour_and_marker_in_every_figure(study, inputs):
    seen = set()
    for name in ("figure7", "curves_pgd"):
        for axes in draw_figure(study.figures[name], study, inputs).axes:
            seen.add(tuple((line.get_color(), line.get_marker()) for line in solid(axes)))
    assert len(seen) == 1
    assert len(set(seen.pop())) == len(MODELS)


def test_looks_differ_in_colour_and_marker_and_stand_out_from_white():
    some = series_styles(f"model {i}" for i in range(len(COLOURS)))
    assert len({look.colour for look in some.values()}) == len(COLOURS)
    assert len({look.marker for look in some.values()}) == len(MARKERS)
    many = series_styles(f"model {i}" for i in range(20))
    assert len(set(many.values())) == 20
    for colour in COLOURS:
        linear = np.array(to_rgb(colour))
        linear = np.where(linear <= 0.04045, linear / 12.92, ((linear + 0.055) / 1.055) ** 2.4)
        assert 1.05 / (linear @ [0.2126, 0.7152, 0.0722] + 0.05) >= 3.0, colour


def test_printed_curves_stand_beside_the_run_of_the_same_attack_alone(study, inputs):
    published, corrected = draw_figure(study.figures["figure7"], study, inputs).axes
    assert all(to_hex(line.get_color()) == GREY for line in dashed(published))
    values = {tuple(line.get_ydata()) for line in dashed(published)}
    assert (0.998, 0.98, 0.94, 0.88, 0.81, 0.78) in values
    assert not dashed(corrected)
    for axes in draw_figure(study.figures["curves_pgd"], study, inputs).axes:
        assert not dashed(axes)
    text = caption(study.figures["figure7"], study, inputs)
    assert "the paper prints for FGSM (as published). In the ledger, the verdicts" in text
    assert "prints no number for FGSM." in text


def test_the_study_s_words_pair_printed_numbers_with_attacks_and_names_do_not(study, inputs):
    words = study.reported
    words = replace(words, attacks={**words.attacks, "FGSM": "fgsm"})
    other = replace(study, reported=words)
    published, corrected = draw_figure(study.figures["figure7"], other, inputs).axes
    assert not dashed(published)
    assert dashed(corrected)


def test_a_printed_curve_of_a_substitute_is_pale_and_declared(study, inputs):
    models = {"GBZ": "gbz_as_coded", "ResNet18": "far"}
    replaced = replace(
        study,
        reported=replace(study.reported, models=models),
        substitutes={"datasets": {}, "models": {"far": "resnet18_text"}},
    )
    spec = study.figures["figure7"]
    figure = draw_figure(spec, replaced, inputs)
    colours = {line.get_ydata()[-1]: to_hex(line.get_color()) for line in dashed(figure.axes[0])}
    assert colours == {0.78: GREY, 0.33: to_hex(FAINT)}
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert "as printed, of another network or data set" in legend
    text = caption(spec, replaced, inputs)
    assert "ResNet18 (text) substitutes for ResNet18." in text
    assert "beside ResNet18 (text) are printed numbers of another network or data set" in text
    assert "another network" not in caption(spec, study, inputs)


def test_the_caption_counts_the_ledger_s_verdicts_on_the_printed_points_that_are_drawn(
    study, inputs
):
    ledger = inputs.ledger.copy()
    drawn = (ledger["file"] == "gbz_figure7.csv") & (ledger["model"] == "GBZ")
    ledger.loc[drawn, "verdict"] = ["reproduced"] * 3 + ["differs"] * 2 + ["not comparable"]
    text = caption(study.figures["figure7"], study, changed(inputs, ledger=ledger))
    assert "these 6 printed numbers are: 3 reproduced, 2 differ and 1 not comparable." in text


def test_radii_that_the_entry_does_not_name_are_left_to_the_caption(study, inputs):
    spec = {**study.figures["curves_pgd"], "attacks": ["pgd_linf"], "radii": [0.01, 0.1]}
    for line in solid(draw_figure(spec, study, inputs).axes[0]):
        assert list(line.get_xdata()) == pytest.approx([0, 0.01, 0.1])
    rest = "ε = 0.02, 0.03, 0.04, 0.05, 0.06, 0.07, 0.08, 0.09 and 0.5."
    assert f"Also run, but not shown: {rest}" in caption(spec, study, inputs)


def test_no_radius_is_dropped_by_itself_and_a_wide_range_gets_a_logarithmic_axis(study, inputs):
    spec = {"kind": "accuracy_curves", "title": "T", "attacks": ["pgd_linf"]}
    axes = draw_figure(spec, study, inputs).axes[0]
    assert solid(axes)[0].get_xdata()[-1] == 0.5
    assert axes.get_xscale() == "symlog"
    assert "not drawn" not in caption(spec, study, inputs)
    near = draw_figure({**spec, "radii": [0.01, 0.1]}, study, inputs).axes[0]
    assert near.get_xscale() == "linear"


def test_radii_in_grey_levels_are_written_so_on_axes_and_in_captions(study, inputs):
    table = inputs.accuracy.copy()
    table["epsilon"] = np.where(table["attack"] == "pgd_linf", table["epsilon"] * 100 / 255, 0)
    one = changed(inputs, accuracy=table)
    spec = {"kind": "accuracy_curves", "title": "T", "attacks": ["pgd_linf"], "radii": [10 / 255]}
    axes = draw_figure(spec, study, one).axes[0]
    assert "10/255" in [tick.get_text() for tick in axes.get_xticklabels()]
    assert "Also run, but not shown: ε = 1/255, 2/255," in caption(spec, study, one)
    assert "0.03" not in caption(spec, study, one)


def test_a_worst_case_is_drawn_beside_its_members_where_its_rows_exist(study, inputs):
    spec = study.figures["curves_pgd"]
    table = inputs.accuracy[~over_norm(inputs.accuracy)]
    without = changed(inputs, accuracy=table)
    assert len(draw_figure(spec, study, without).axes) == 2
    assert "Not run: Worst case over attacks, L∞." in caption(spec, study, without)
    rows = table[table["attack"] == "pgd_linf"]
    rows = rows.assign(suite="", attack="", worst_case="norm", attacks=3, pooled=rows["pooled"] / 2)
    one = changed(inputs, accuracy=pd.concat([table, rows], ignore_index=True))
    panels = draw_figure(spec, study, one).axes
    assert len(panels) == 3
    low, high = (solid(axes)[1].get_ydata()[1:] for axes in (panels[2], panels[1]))
    assert low == pytest.approx(high / 2)
    assert "only if none of 3 attacks on the same images succeeded" in caption(spec, study, one)


def elsewhere(table, keep):
    """Rows of another split scheme, of the models to keep."""
    return table[table["model"].isin(keep)].assign(scheme="another")


def test_a_figure_of_several_models_keeps_to_the_scheme_on_which_most_of_them_exist(study, inputs):
    spec = {"kind": "accuracy_curves", "title": "T", "attacks": ["fgsm"], "models": list(MODELS)}
    few = elsewhere(inputs.accuracy, MODELS[:1])
    one = changed(inputs, accuracy=pd.concat([few, inputs.accuracy], ignore_index=True))
    (axes,) = draw_figure(spec, study, one).axes
    assert len(solid(axes)) == 2
    assert "Split: kfold. Also run, but not shown: another." in caption(spec, study, one)
    # Among equals the scheme that the study compares with print.
    many = elsewhere(inputs.accuracy, MODELS).assign(n=5)
    one = changed(inputs, accuracy=pd.concat([many, inputs.accuracy], ignore_index=True))
    wanted = replace(study, reported=replace(study.reported, splits="kfold"))
    assert "n = 24 test images" in caption(spec, wanted, one)


def test_printed_losses_are_divided_by_the_batch_that_their_note_names(study, inputs):
    loss = draw_figure(study.figures["figure3"], study, inputs).axes[0]
    printed = [line for line in loss.lines if line.get_linestyle() == ":"]
    assert np.isclose(printed[0].get_ydata()[0], 152274 / 64)
    assert "divided by 64" in caption(study.figures["figure3"], study, inputs)


def test_training_curves_show_every_part_every_split_and_their_mean(study, inputs):
    figure = draw_figure(study.figures["figure3"], study, inputs)
    titles = [axes.get_title(loc="left") for axes in figure.axes if axes.axison]
    assert titles == ["Loss", "Reconstruction", "KL divergence", "Classification", "Accuracy"]
    accuracy = figure.axes[4]
    thin = [line for line in accuracy.lines if line.get_lw() == 0.6]
    thick = [line for line in accuracy.lines if line.get_lw() == 1.8]
    assert (len(thin), len(thick)) == (2 * 2, 2)
    assert np.allclose(
        thick[0].get_ydata(), np.mean([line.get_ydata() for line in thin[:2]], axis=0)
    )


def test_titles_of_training_curves_do_not_overlap_where_there_are_several_split_schemes(
    study, inputs
):
    history = {
        (dataset, split.replace("kfold", scheme), model): frame
        for (dataset, split, model), frame in inputs.history.items()
        for scheme in ("kfold", "random_millner")
    }
    titles = {**study.titles, "splits": dict.fromkeys(("kfold", "random_millner"), "Long " * 20)}
    both = SimpleNamespace(history=history, reported=inputs.reported, facts=inputs.facts)
    figure = draw_figure(study.figures["figure3"], replace(study, titles=titles), both)
    figure.draw_without_rendering()
    panels = [axes for axes in figure.axes if axes.axison]
    assert len(panels) == 2 * 5
    titles = {axes.get_title(loc) for axes in panels for loc in ("center", "left")}
    titles |= {block.get_suptitle() for block in figure.subfigs}
    words = [text for text in figure.findobj(Text) if text.get_text() in titles - {""}]
    boxes = [text.get_window_extent() for text in words]
    assert len(boxes) == len(panels) + 2
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
    assert all(figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 for box in boxes)


def test_a_training_of_one_epoch_is_a_visible_point(study, inputs):
    short = {key: history.head(1) for key, history in inputs.history.items()}
    one = SimpleNamespace(history=short, reported=inputs.reported, facts=inputs.facts)
    spec = {"kind": "training_curves", "title": "T", "models": ["gbz_as_coded"]}
    for axes in draw_figure(spec, study, one).axes:
        thick = [line for line in axes.lines if line.get_lw() == 1.8]
        assert all(line.get_marker() in MARKERS for line in thick)
        if axes.axison:
            assert all(float(tick).is_integer() for tick in axes.get_xticks())


def test_examples_mark_each_decision_that_is_wrong(study, inputs):
    axes = draw_figure(study.figures["figure5"], study, inputs).axes[0]
    key = (factory.DATASET, "kfold_0", "gbz_as_coded", "linf_whitebox")
    with np.load(inputs.examples[key]) as stored:
        shown = [0.01, 0.03, 0.05, 0.08, 0.1]
        columns = [int(np.flatnonzero(np.isclose(stored["fgsm/epsilons"], e))[0]) for e in shown]
        wrong = (stored["fgsm/predictions"][columns] != stored["labels"]).sum()
        count = len(stored["labels"])
    marks = [text.get_text()[0] for text in axes.texts if text.get_text()[0] in "✓✗"]
    assert len(marks) == count * 6
    assert marks.count("✗") == wrong
    assert wrong > 0
    names = {text.get_text() for text in axes.texts}
    assert set(factory.CLASSES) & names, "rows are named by their true class"


@pytest.mark.parametrize(("rows", "columns"), [(1, 2), (2, 3)])
def test_examples_show_as_many_rows_and_columns_as_the_study_asks_for(study, inputs, rows, columns):
    spec = {**study.figures["figure5"], "rows": rows, "columns": columns}
    axes = draw_figure(spec, study, inputs).axes[0]
    assert sum(text.get_text()[0] in "✓✗" for text in axes.texts) == rows * columns


def test_examples_show_each_class_before_any_class_twice():
    assert list(one_of_each(np.array([2, 2, 0, 2, 1, 0]), 4)) == [2, 4, 0, 5]


@pytest.mark.parametrize(
    ("labels", "classes", "words"),
    [
        ([0, 1, 2], 3, "3 test images, one of each of the 3 classes"),
        ([0, 1, 0, 1], 2, "4 test images, 2 of each of the 2 classes"),
        ([0, 1, 2, 0], 3, "4 test images, of all 3 classes"),
        ([0, 0, 0, 1, 1, 1], 6, "6 test images, of 2 of the 6 classes"),
        ([0], 6, "1 test image, of 1 of the 6 classes"),
    ],
)
def test_captions_count_images_and_classes_as_they_are(labels, classes, words):
    assert images_in_words(labels, classes) == words


def rewritten(inputs, change, tmp_path, suite="linf_whitebox"):
    """The run with the stored pictures of a suite changed."""
    files = dict(inputs.examples)
    for number, key in enumerate(key for key in files if key[3] == suite):
        with np.load(files[key]) as file:
            stored = change(dict(file), key)
        files[key] = tmp_path / f"{number}.npz"
        np.savez(files[key], **stored)
    return changed(inputs, examples=files)


def test_the_caption_of_examples_never_claims_classes_that_are_not_shown(study, inputs, tmp_path):
    spec = study.figures["figure5"]
    alone = rewritten(inputs, lambda s, _: {**s, "labels": 0 * s["labels"]}, tmp_path)
    assert "4 test images, of 1 of the 6 classes" in caption(spec, study, alone)


def test_an_image_that_the_attack_did_not_see_is_not_shown(study, inputs, tmp_path):
    def capped(stored, _):
        predicted = stored["fgsm/predictions"].copy()
        predicted[:, 2:] = -1
        return {**stored, "fgsm/predictions": predicted}

    spec = study.figures["figure5"]
    one = rewritten(inputs, capped, tmp_path)
    assert caption(spec, study, one).startswith("2 test images")
    axes = draw_figure(spec, study, one).axes[0]
    assert sum(text.get_text()[0] in "✓✗" for text in axes.texts) == 2 * 6


def compared_ledger(inputs, count=None):
    """A ledger with rows of every verdict, and as many tables' rows as asked for."""
    ledger = inputs.ledger
    rows = ledger[(ledger["metric"] == "accuracy") & ledger["reproduced"].notna()].head(6)
    rows = rows.assign(
        verdict=["reproduced", "differs", *["not comparable"] * 4], low=0.1, high=0.2
    )
    gone = rows.head(2).assign(reproduced=np.nan, low=np.nan, high=np.nan, verdict="not run")
    other = rows.head(1).assign(metric="epochs", reported=15.0)
    if count:
        pale = rows[rows["verdict"] == "not comparable"]
        rows = pd.concat([*[pale] * count, rows])
    return pd.concat([rows, gone, other], ignore_index=True)


def test_the_dumbbell_joins_print_and_run_also_where_they_do_not_compare(study, inputs):
    spec, ledger = study.figures["ledger"], compared_ledger(inputs)
    one = changed(inputs, ledger=ledger)
    axes = draw_figure(spec, study, one).axes[0]
    rows = ledger[(ledger["metric"] == "accuracy") & ledger["reproduced"].notna()]
    hollow = [line for line in axes.lines if line.get_markerfacecolor() == "white"]
    assert sorted(line.get_xdata()[0] for line in hollow) == sorted(rows["reported"])
    filled = [
        line
        for line in axes.lines
        if line.get_marker() in ("o", "D", "s") and line.get_markerfacecolor() != "white"
    ]
    assert sorted(line.get_xdata()[0] for line in filled) == sorted(rows["reproduced"])
    pale = [line for line in filled if to_hex(line.get_color()) == to_hex(FAINT)]
    assert len(pale) == 4
    words = [text.get_text() for text in axes.texts]
    assert words.count("not comparable") == 4
    assert "not run" not in words
    text = caption(spec, study, one)
    assert "6 printed accuracies are drawn: 4 not comparable, 1 reproduced and 1 differs." in text
    assert "Not drawn: 2 printed accuracies without a number of this run, and 1 printed" in text


def test_no_ledger_is_taller_than_a_page_and_verdicts_come_first(study, inputs):
    spec, ledger = study.figures["ledger"], compared_ledger(inputs, count=40)
    one = changed(inputs, ledger=ledger)
    figure = draw_figure(spec, study, one)
    assert 11 < figure.get_size_inches()[1] <= 12
    text = caption(spec, study, one)
    assert "1 reproduced and 1 differs" in text
    drawn = int(text.split(" printed accuracies are drawn")[0].rsplit(" ", 1)[1])
    assert f"{166 - drawn} more that are not comparable do not fit into 12 inches" in text
    words = [text.get_text() for text in figure.axes[0].texts]
    assert words.count("not comparable") == drawn - 2


def test_latent_components_explain_less_and_less_and_are_labelled_by_class(study, inputs):
    figure = draw_figure(study.figures["figure4"], study, inputs)
    axes = figure.axes[0]
    shares = [
        int(label.split("(")[1].split("%")[0]) for label in (axes.get_xlabel(), axes.get_ylabel())
    ]
    assert shares[0] >= shares[1] > 0
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(factory.CLASSES)
    points = sum(len(line.get_xdata()) for line in axes.lines)
    assert points == 12


@pytest.mark.parametrize("name", ["figure3", "figure4", "figure5", "figure7", "ledger"])
def test_captions_end_with_scale_n_splits_and_seed(study, inputs, name):
    last = caption(study.figures[name], study, inputs).rsplit(". ", 1)[1]
    assert last.startswith("Scale synthetic; n = ")
    assert "split" in last or name == "ledger"
    assert last.endswith("; seed 0.")


def test_an_unknown_kind_is_told_with_the_known_ones(study, inputs):
    with pytest.raises(ConfigError, match=r"unknown kind of figure 'pie'.*accuracy_curves"):
        draw_figure({"kind": "pie", "title": "Pie"}, study, inputs)


@pytest.mark.parametrize(
    "spec",
    [
        {"kind": "latent_pca", "title": "T", "model": "nobody"},
        {"kind": "training_curves", "title": "T", "models": ["nobody"]},
        {"kind": "examples", "title": "T", "model": "gbz_as_coded", "attack": "nothing"},
        {"kind": "accuracy_curves", "title": "T", "attacks": ["nothing"]},
    ],
)
def test_a_figure_of_something_that_did_not_run_is_told_in_one_line(spec, study, inputs):
    with pytest.raises(ConfigError, match="figure 'T' of the study") as raised:
        draw_figure(spec, study, inputs)
    assert "\n" not in str(raised.value)


def test_a_ledger_without_accuracies_is_told_in_one_line(study, inputs):
    rows = {"metric": ["epochs"], "reported": [15.0], "reproduced": [15.0], "verdict": ["x"]}
    empty = SimpleNamespace(ledger=pd.DataFrame(rows))
    with pytest.raises(ConfigError, match="no printed accuracy"):
        draw_figure(study.figures["ledger"], study, empty)


def test_drawing_needs_neither_torch_nor_pyplot():
    code = (
        "import sys, assay.report.figures.draw, assay.report.page;"
        "bad = {'torch', 'sklearn', 'matplotlib.pyplot'} & set(sys.modules); assert not bad, bad"
    )
    workflow = str(Path(__file__).parents[3] / "workflow")
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": workflow})


def texts_of(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_the_frame_marks_the_class_with_the_largest_likelihood(study, inputs):
    spec = study.figures["imitations"]
    figure = draw_figure(spec, study, inputs)
    stored = np.load(next(iter(inputs.measured["reconstructions"].values())))
    likely = stored["pgd_linf/log_likelihoods"]
    shown = min(4, likely.shape[1])
    frames = figure.axes[0].lines
    assert len(frames) == 2 * shown
    # Likelihoods fall from class to class: the first imitation is framed, left of all others.
    assert all(1 < line.get_xdata().min() < 2 for line in frames)
    assert f"{likely[0, 0, 0]:.1f}".replace("-", "−") in texts_of(figure)
    assert "log-likelihood" in caption(spec, study, inputs)


def test_compared_examples_say_for_each_model_how_far_its_images_went(study, inputs):
    spec = {**study.figures["compared"], "radii": [0.1]}
    figure = draw_figure(spec, study, inputs)
    texts = texts_of(figure)
    assert sum("unperturbed" in text for text in texts) == 1
    marked = [text for text in texts if text[:1] in "✓✗"]
    assert len(marked) == len(MODELS) * 4
    assert all(text.endswith("0.10") for text in marked)
    assert "L∞" in caption(spec, study, inputs)
    assert "at ε = 0.1." in caption(spec, study, inputs)


def test_compared_examples_count_the_images_that_are_misclassified(study, inputs, tmp_path):
    def some(stored, key):
        """Against the first model no attack succeeds, against the second one image in four."""
        predicted = np.tile(stored["labels"], (len(stored["pgd_linf/epsilons"]), 1))
        if key[2] == MODELS[1]:
            predicted[3:, 0] += 1
        return {**stored, "pgd_linf/predictions": predicted % 6}

    spec = study.figures["compared"]
    one = rewritten(inputs, some, tmp_path)
    text = caption(spec, study, one)
    assert "Misclassified: 0 of 4 by ResNet18 (text) and 1 of 4 by GBZ (as coded)." in text
    marked = [words for words in texts_of(draw_figure(spec, study, one)) if words[:1] in "✓✗"]
    assert [words[0] for words in marked].count("✗") == 1
    # It is shown at the smallest radius that misclassifies it, the fourth.
    (wrong,) = [words for words in marked if words[0] == "✗"]
    assert wrong.endswith("0.04")


def test_compared_examples_show_the_same_images_of_all_models(study, inputs, tmp_path):
    def turned(stored, key):
        """The second model's file holds the images in the opposite order, and one of them not."""
        if key[2] != MODELS[1]:
            return stored
        order = np.arange(len(stored["labels"]))[::-1][:3]
        own = {name: stored[name][order] for name in ("samples", "labels", "clean/images")}
        own |= {n: v[:, order] for n, v in stored.items() if n.endswith("predictions")}
        own |= {n: v[:, order] for n, v in stored.items() if n.endswith("linf/images")}
        return {**stored, **own}

    spec = {**study.figures["compared"], "radii": [0.1]}
    one = rewritten(inputs, turned, tmp_path)
    marked = [words for words in texts_of(draw_figure(spec, study, one)) if words[:1] in "✓✗"]
    assert len(marked) == len(MODELS) * 3
    assert all(words.endswith("0.10") for words in marked)
    assert caption(spec, study, one).startswith("3 test images")


def test_the_certified_curve_is_the_share_of_images_with_that_radius(study, inputs):
    spec = study.figures["certified"]
    axes = draw_figure(spec, study, inputs).axes[0]
    certified = next(line for line in axes.lines if line.get_linestyle() == "--")
    certificates = inputs.measured["certificates"].values()
    radii = np.concatenate([np.load(path)["radii"] for path in certificates])
    for radius in (0.0, 0.1, 0.25):
        place = np.searchsorted(certified.get_xdata(), radius, side="right") - 1
        assert certified.get_ydata()[place] == pytest.approx((radii > radius).mean(), abs=1e-9)
    assert "closest image of every other class" in caption(spec, study, inputs)


def test_a_figure_keeps_to_the_data_sets_that_it_names(study, inputs):
    for name in ("compared", "certified", "imitations", "figure7"):
        with pytest.raises(ConfigError):
            draw_figure({**study.figures[name], "datasets": ["mnist"]}, study, inputs)


def test_certified_radii_are_those_of_the_images_that_the_attack_saw(study, inputs, tmp_path):
    spec, files = study.figures["certified"], {}
    for number, (key, path) in enumerate(inputs.measured["certificates"].items()):
        stored = dict(np.load(path))
        # As many more images again were certified, and none of them has a radius.
        stored["radii"] = np.concatenate([stored["radii"], np.zeros_like(stored["radii"])])
        stored["samples"] = np.concatenate([stored["samples"], 10_000 + stored["samples"]])
        stored["labels"] = np.concatenate([stored["labels"], stored["labels"]])
        files[key] = tmp_path / f"{number}.npz"
        np.savez(files[key], **stored)
    one = changed(inputs, measured={"certificates": files})
    before, after = (dashed(draw_figure(spec, study, run).axes[0])[0] for run in (inputs, one))
    assert list(before.get_ydata()) == list(after.get_ydata())
    text = caption(spec, study, one)
    assert "Both lines are from the same images." in text
    assert "n = 24 certified images, n = 24 test images" in text


def test_as_many_other_images_are_not_the_same_images(study, inputs, tmp_path):
    spec, files = study.figures["certified"], {}
    for number, (key, path) in enumerate(inputs.measured["certificates"].items()):
        stored = dict(np.load(path))
        stored["samples"] += 10_000
        files[key] = tmp_path / f"{number}.npz"
        np.savez(files[key], **stored)
    text = caption(spec, study, changed(inputs, measured={"certificates": files}))
    assert "n = 24 certified images, n = 24 test images" in text
    assert "The lines are from different images, so a solid line may lie below" in text


def test_certified_radii_without_the_outcomes_are_an_error(study, inputs):
    lost = tuple(item.moved({"path": "lost.parquet"}) for item in inputs.manifest.outcomes)
    one = changed(inputs)
    other = dataclasses.replace(one, manifest=dataclasses.replace(one.manifest, outcomes=lost))
    other.__dict__["accuracy"] = inputs.accuracy
    with pytest.raises(OutcomeError, match=r"lost\.parquet"):
        draw_figure(study.figures["certified"], study, other)


def with_families(inputs, families):
    table = inputs.mcnemar[inputs.mcnemar["attack"] == "fgsm"]
    table = table.assign(family=[*families, *[""] * (len(table) - len(families))])
    return table.assign(significant=table["family"] != "")


def test_the_matrix_of_pairs_shows_differences_both_ways_and_marks_significant_ones(study, inputs):
    spec = {**study.figures["pairs"], "attacks": ["fgsm"]}
    table = with_families(inputs, ["headline", "exploratory"])
    one = changed(inputs, mcnemar=table)
    figure = draw_figure(spec, study, one)
    assert figure.get_size_inches()[1] <= 12
    panels = [axes for axes in figure.axes if axes.axison]
    assert len(panels) == 6
    for axes, row in zip(panels, table.itertuples(), strict=False):
        mark = "*" if row.significant else ""
        points = {
            f"{100 * sign * row.difference + 0.0:+.1f}{mark}".replace("-", "−") for sign in (1, -1)
        }
        assert {text.get_text() for text in axes.texts} == points
        assert len(axes.patches) == (2 if row.significant else 0)
        assert axes.get_xlabel() == "second model"
    text = caption(spec, study, one)
    assert "(2 of 6 pairs)" in text
    assert "Holm's correction over the headline" in text
    assert "Benjamini and Hochberg's" in text
    assert "Grey numbers are in no family of tests" in text
    assert f"{len(table) - 6} more panels would not fit into 12 inches" in text
    plain = caption(spec, study, changed(inputs, mcnemar=table.assign(family="headline")))
    assert "Benjamini" not in plain
    assert "Grey numbers" not in plain


# --- saliency ---------------------------------------------------------------------------------


def mapped_at(inputs, places):
    """Keys of saliency files: for each place (data set, split) those of some models."""
    first = {key[2]: path for key, path in inputs.measured["saliency"].items()}
    return {
        (factory.DATASET, split, model): first[model]
        for split, models in places.items()
        for model in models
    }


@pytest.mark.parametrize("name", ["looked_at", "regions"])
def test_maps_are_of_the_split_on_which_most_models_have_some(study, inputs, name):
    spec = study.figures[name]
    files = mapped_at(inputs, {"a_0": MODELS[:1], "kfold_0": MODELS})
    text = caption(spec, study, changed(inputs, measured={"saliency": files}))
    assert "split 0 of “a”" not in text
    assert "Not shown" not in text
    # Among equals the study's own scheme comes first, whatever the alphabet says.
    files = mapped_at(inputs, {"a_0": MODELS, "kfold_0": MODELS})
    one = changed(inputs, measured={"saliency": files})
    titles = study.titles.get("splits", {})
    for scheme in ("a", "kfold"):
        wanted = replace(study, reported=replace(study.reported, splits=scheme))
        title = titles.get(scheme, scheme)
        assert f"split 0 of “{title}”" in caption(spec, wanted, one)


@pytest.mark.parametrize("name", ["looked_at", "regions"])
def test_models_without_maps_are_named_with_the_reason(study, inputs, name):
    spec = {**study.figures[name], "models": [*MODELS, "dbx"], "excluded_models": ["Fifth"]}
    files = mapped_at(inputs, {"kfold_0": MODELS[:1]})
    one = changed(inputs, measured={"saliency": files})
    text = caption(spec, study, one)
    assert (
        "Not shown: GBZ (as coded) (no map is stored); DBX (not trained on this data set at this "
        "scale). Excluded at this scale: Fifth."
    ) in text
    assert len([a for a in draw_figure(spec, study, one).axes if a.images]) == 1
    table = inputs.accuracy
    table = table.assign(scheme=np.where(table["model"] == MODELS[1], "another", table["scheme"]))
    text = caption(spec, study, changed(inputs, measured={"saliency": files}, accuracy=table))
    assert "GBZ (as coded) (trained on another split only)" in text


def test_maps_are_shown_at_the_entry_s_radius(study, inputs):
    spec = study.figures["looked_at"]
    for epsilon, version in ((0.01, 1), (0.03, 2)):
        at = {**spec, "epsilon": epsilon}
        figure = draw_figure(at, study, inputs)
        assert f"attacked, ε = {epsilon:g}" in texts_of(figure)
        assert f"at ε = {epsilon:g}, with" in caption(at, study, inputs)
        stored = np.load(inputs.measured["saliency"][factory.DATASET, "kfold_0", MODELS[0]])
        shown = [image.get_array() for image in figure.axes[0].images]
        assert any(np.allclose(image, stored["images"][version, 0, 0]) for image in shown)
        assert not any(np.allclose(image, stored["images"][3 - version, 0, 0]) for image in shown)
    near = {**spec, "epsilon": 0.012}
    assert "at ε = 0.01 (ε = 0.012 is not stored at this scale)" in caption(near, study, inputs)


# --- what a kind says of itself ---------------------------------------------------------------


def test_a_kind_that_samples_images_is_a_photograph_which_no_theme_inverts(study, inputs):
    for spec in study.figures.values():
        if spec["kind"] == "decision_regions":
            continue  # areas of colour: a drawing
        drawn = any(axes.images for axes in draw_figure(spec, study, inputs).axes)
        assert is_photograph(spec) == drawn, spec["kind"]


def test_every_kind_says_in_words_what_it_shows(study, inputs):
    texts = {spec["kind"]: alternative_text(spec, study) for spec in study.figures.values()}
    assert len(set(texts.values())) == len(kinds("figures"))
    for text in texts.values():
        assert text.endswith(".")
        assert "_" not in text, "an id stands for words"
    assert "GBZ (as coded)" in texts["examples"]
    with pytest.raises(ConfigError, match="unknown kind of figure 'pie'"):
        alternative_text({"kind": "pie"}, study)


def test_a_figure_says_first_what_its_entry_says(study, inputs):
    spec = {**study.figures["figure7"], "caption": "Beware of the first panel."}
    assert caption(spec, study, inputs).startswith("Beware of the first panel. Accuracy of")
