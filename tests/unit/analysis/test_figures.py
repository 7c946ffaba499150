import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import factory
import numpy as np
import pandas as pd
import pytest
import report_factory
from matplotlib.colors import to_hex, to_rgb

from assay.analysis.figures import FIGURES, caption, draw_figure, save_figure
from assay.analysis.style import COLOURS, MARKERS, looks
from assay.foundation.errors import ConfigError

MODELS = ("resnet18_text", "gbz_as_coded")
GREY = "#6b7682"


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    return report_factory.make_inputs(folder, models=MODELS, folds=2, per_fold=12)


@pytest.fixture(scope="module")
def study(inputs):
    return report_factory.make_study(inputs)


def test_every_figure_of_the_study_is_saved_below_300_kb_with_labelled_axes(
    study, inputs, tmp_path
):
    assert {spec["kind"] for spec in study["figures"].values()} == set(FIGURES)
    for name, spec in study["figures"].items():
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
            save_figure(draw_figure(study["figures"][name], study, inputs), tmp_path / turn / name)
            for turn in ("first", "second")
        ]
        for first, second in zip(*files, strict=True):
            assert first.read_bytes() == second.read_bytes()


def test_texts_of_an_svg_stay_texts(study, inputs, tmp_path):
    svg, _ = save_figure(draw_figure(study["figures"]["figure7"], study, inputs), tmp_path / "f")
    text = svg.read_text(encoding="utf-8")
    assert "L∞ radius ε" in text
    assert "DejaVu" not in text
    assert "<dc:date>" not in text


def test_a_curve_goes_through_the_pooled_accuracies_and_starts_at_the_clean_one(study, inputs):
    axes = draw_figure(study["figures"]["figure7"], study, inputs).axes[0]
    table = inputs.accuracy
    ours = [line for line in axes.lines if line.get_linestyle() == "-"]
    assert len(ours) == len(MODELS)
    for model, line in zip(MODELS, ours, strict=True):
        rows = table[(table["model"] == model) & (table["attack"] == "fgsm")]
        clean = table[(table["model"] == model) & (table["attack"] == "clean")]["pooled"].item()
        assert list(line.get_xdata()) == [0.0, *rows["epsilon"]]
        assert list(line.get_ydata()) == [clean, *rows["pooled"]]
    bands = [band.get_paths()[0].vertices for band in axes.collections]
    rows = table[(table["model"] == MODELS[0]) & (table["attack"] == "fgsm")]
    assert set(rows["low"]) | set(rows["high"]) <= set(bands[0][:, 1])


def test_models_keep_their_colour_and_marker_in_every_figure(study, inputs):
    seen = set()
    for name in ("figure7", "curves_pgd"):
        for axes in draw_figure(study["figures"][name], study, inputs).axes:
            ours = [line for line in axes.lines if line.get_linestyle() == "-"]
            seen.add(tuple((line.get_color(), line.get_marker()) for line in ours))
    assert len(seen) == 1
    assert len(set(seen.pop())) == len(MODELS)


def test_looks_differ_in_colour_and_marker_and_stand_out_from_white():
    some = looks(f"model {i}" for i in range(len(COLOURS)))
    assert len({look.colour for look in some.values()}) == len(COLOURS)
    assert len({look.marker for look in some.values()}) == len(MARKERS)
    many = looks(f"model {i}" for i in range(20))
    assert len(set(many.values())) == 20
    for colour in COLOURS:
        linear = np.array(to_rgb(colour))
        linear = np.where(linear <= 0.04045, linear / 12.92, ((linear + 0.055) / 1.055) ** 2.4)
        assert 1.05 / (linear @ [0.2126, 0.7152, 0.0722] + 0.05) >= 3.0, colour


def test_printed_curves_are_dashed_grey_and_only_where_the_study_names_them(study, inputs):
    axes = draw_figure(study["figures"]["figure7"], study, inputs).axes[0]
    printed = [line for line in axes.lines if line.get_linestyle() == "--"]
    assert all(to_hex(line.get_color()) == GREY for line in printed)
    values = {tuple(line.get_ydata()) for line in printed}
    assert (0.998, 0.98, 0.94, 0.88, 0.81, 0.78) in values
    for axes in draw_figure(study["figures"]["curves_pgd"], study, inputs).axes:
        assert not [line for line in axes.lines if line.get_linestyle() == "--"]


def test_printed_curves_follow_the_model_that_stands_in(study, inputs):
    replaced = {
        **study,
        "reported": {**study["reported"], "models": {"GBZ": "gbz_as_coded", "ResNet18": "far"}},
        "stand_ins": {"datasets": {}, "models": {"far": "resnet18_text"}},
    }
    spec = study["figures"]["figure7"]
    axes = draw_figure(spec, replaced, inputs).axes[0]
    printed = [line.get_ydata()[-1] for line in axes.lines if line.get_linestyle() == "--"]
    assert sorted(printed) == [0.33, 0.78]
    assert "ResNet18 (text) stands in for far." in caption(spec, replaced, inputs)


def test_a_far_check_radius_is_not_drawn_and_the_caption_says_so(study, inputs):
    spec = study["figures"]["curves_pgd"]
    assert 0.5 in set(inputs.accuracy["epsilon"])
    for axes in draw_figure(spec, study, inputs).axes:
        assert axes.get_xlim()[1] < 0.2
    assert "The check at ε = 0.5 is not drawn." in caption(spec, study, inputs)


def test_printed_losses_are_divided_by_the_batch_that_their_note_names(study, inputs):
    loss = draw_figure(study["figures"]["figure3"], study, inputs).axes[0]
    printed = [line for line in loss.lines if line.get_linestyle() == ":"]
    assert np.isclose(printed[0].get_ydata()[0], 152274 / 64)
    assert "divided by 64" in caption(study["figures"]["figure3"], study, inputs)


def test_training_curves_show_every_part_every_split_and_their_mean(study, inputs):
    figure = draw_figure(study["figures"]["figure3"], study, inputs)
    titles = [axes.get_title(loc="left") for axes in figure.axes if axes.axison]
    assert titles == ["Loss", "Reconstruction", "KL divergence", "Classification", "Accuracy"]
    accuracy = figure.axes[4]
    thin = [line for line in accuracy.lines if line.get_lw() == 0.6]
    thick = [line for line in accuracy.lines if line.get_lw() == 1.8]
    assert (len(thin), len(thick)) == (2 * 2, 2)
    assert np.allclose(
        thick[0].get_ydata(), np.mean([line.get_ydata() for line in thin[:2]], axis=0)
    )


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
    axes = draw_figure(study["figures"]["figure5"], study, inputs).axes[0]
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
    spec = {**study["figures"]["figure5"], "rows": rows, "columns": columns}
    axes = draw_figure(spec, study, inputs).axes[0]
    assert sum(text.get_text()[0] in "✓✗" for text in axes.texts) == rows * columns


def test_examples_show_each_class_before_any_class_twice(study, inputs):
    from assay.analysis.figures.parts import one_of_each

    assert list(one_of_each(np.array([2, 2, 0, 2, 1, 0]), 4)) == [2, 4, 0, 5]


def test_the_dumbbell_keeps_rows_that_were_not_run(study, inputs):
    ledger = inputs.ledger
    rows = ledger[(ledger["metric"] == "accuracy") & ledger["reported"].between(0, 1)]
    spec = study["figures"]["ledger"]
    axes = draw_figure(spec, study, inputs).axes[0]
    hollow = [line for line in axes.lines if line.get_markerfacecolor() == "white"]
    assert sorted(line.get_xdata()[0] for line in hollow) == sorted(rows["reported"])
    filled = [
        line.get_xdata()[0]
        for line in axes.lines
        if line.get_marker() in ("o", "D") and line.get_markerfacecolor() != "white"
    ]
    compared = rows[rows["verdict"].isin(["reproduced", "differs"])]
    assert sorted(filled) == sorted(compared["reproduced"])
    words = [text.get_text() for text in axes.texts]
    for verdict in ("not run", "not comparable"):
        assert words.count(verdict) == (rows["verdict"] == verdict).sum()
    assert f"{len(rows)} printed accuracies" in caption(spec, study, inputs)


def test_latent_components_explain_less_and_less_and_are_labelled_by_class(study, inputs):
    figure = draw_figure(study["figures"]["figure4"], study, inputs)
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
    last = caption(study["figures"][name], study, inputs).rsplit(". ", 1)[1]
    assert last.startswith("Scale synthetic; n = ")
    assert "split" in last
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
    empty = SimpleNamespace(ledger=pd.DataFrame({"metric": ["epochs"], "reported": [15.0]}))
    with pytest.raises(ConfigError, match="no printed accuracy"):
        draw_figure(study["figures"]["ledger"], study, empty)


def test_drawing_needs_neither_torch_nor_pyplot():
    code = (
        "import sys, assay.analysis.figures, assay.analysis.page;"
        "bad = {'torch', 'sklearn', 'matplotlib.pyplot'} & set(sys.modules); assert not bad, bad"
    )
    workflow = str(Path(__file__).parents[3] / "workflow")
    subprocess.run(
        [sys.executable, "-c", code], check=True, env={"PYTHONPATH": workflow}, timeout=60
    )


def texts_of(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_the_frame_marks_the_class_with_the_largest_likelihood(study, inputs):
    spec = study["figures"]["imitations"]
    figure = draw_figure(spec, study, inputs)
    stored = np.load(next(iter(inputs.explained.values())))
    likely = stored["pgd_linf/log_likelihoods"]
    shown = min(4, likely.shape[1])
    frames = figure.axes[0].lines
    assert len(frames) == 2 * shown
    # Likelihoods fall from class to class: the first imitation is framed, left of all others.
    assert all(1 < line.get_xdata().min() < 2 for line in frames)
    assert f"{likely[0, 0, 0]:.1f}".replace("-", "−") in texts_of(figure)
    assert "log-likelihood" in caption(spec, study, inputs)


def test_compared_examples_say_for_each_model_how_far_its_images_went(study, inputs):
    spec = study["figures"]["compared"]
    figure = draw_figure(spec, study, inputs)
    texts = texts_of(figure)
    assert sum("unperturbed" in text for text in texts) == 1
    marked = [text for text in texts if text[:1] in "✓✗"]
    assert len(marked) == len(MODELS) * 4
    # The last radius is a check and is not shown; the one before moves a pixel by 0.1.
    assert all(text.endswith("0.10") for text in marked)
    assert "L∞" in caption(spec, study, inputs)


def test_the_certified_curve_is_the_share_of_images_with_that_radius(study, inputs):
    spec = study["figures"]["certified"]
    axes = draw_figure(spec, study, inputs).axes[0]
    certified = next(line for line in axes.lines if line.get_linestyle() == "--")
    radii = np.concatenate([np.load(path)["radii"] for path in inputs.explained.values()])
    for radius in (0.0, 0.1, 0.25):
        place = np.searchsorted(certified.get_xdata(), radius, side="right") - 1
        assert certified.get_ydata()[place] == pytest.approx((radii > radius).mean(), abs=1e-9)
    assert "closest image of every other class" in caption(spec, study, inputs)


def test_a_figure_keeps_to_the_data_sets_that_it_names(study, inputs):
    for name in ("compared", "certified", "imitations", "figure7"):
        with pytest.raises(ConfigError):
            draw_figure({**study["figures"][name], "datasets": ["mnist"]}, study, inputs)


def test_the_matrix_of_pairs_shows_differences_both_ways_with_holm_s_p(study, inputs):
    spec = {**study["figures"]["pairs"], "attacks": ["fgsm"]}
    figure = draw_figure(spec, study, inputs)
    rows = inputs.mcnemar[inputs.mcnemar["attack"] == "fgsm"]
    assert sum(axes.axison for axes in figure.axes) == len(rows)
    texts = texts_of(figure)
    for row in rows.itertuples():
        for sign in (1, -1):
            points = f"{100 * sign * row.difference + 0.0:+.1f}".replace("-", "−")
            assert any(text.startswith(points) for text in texts)
    assert "Holm" in caption(spec, study, inputs)
