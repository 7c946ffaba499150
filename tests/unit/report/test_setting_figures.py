"""Figures of models that differ in a setting: accuracies, and what classes make of an image."""

import dataclasses

import numpy as np
import pytest
from factory import varied
from report_factory import make_study
from test_figures import texts_of

from assay.foundation.errors import ConfigError
from assay.report.figures.draw import alternative_text, caption, draw_figure

MODELS = ("resnet18_text", "gbz_as_coded")
MADE = ("images", "reconstructions", "log_likelihoods", "predictions")


@pytest.fixture(scope="module")
def inputs(small_run):
    return small_run


@pytest.fixture(scope="module")
def study(inputs):
    entries = {
        "resnet18_text": {"settings": {}},
        "gbz_as_coded": {
            "settings": {"latent_dim": "6/255"},
            "for_datasets": {"another": {"settings": {"latent_dim": 7}}},
        },
    }
    return varied(make_study(inputs), models=entries, radii=["1/255"])


def spec_of(study, **changes):
    return {**study.figures["by_size"], "unit": 1 / 255, "label": "ε of the search", **changes}


def lines(axes):
    return {line.get_label(): line for line in axes.lines}


def test_points_stand_at_the_setting_of_their_models_and_base_models_where_they_are_put(
    study, inputs
):
    figure = draw_figure(spec_of(study), study, inputs)
    table = inputs.accuracy
    cells = [("clean", 0.0), ("pgd_linf", 0.03)]
    for axes, (attack, epsilon) in zip(figure.axes, cells, strict=True):
        rows = table[(table.attack == attack) & (table.epsilon == epsilon)].set_index("model")
        line = lines(axes)["GBZ"]
        assert list(line.get_xdata()) == pytest.approx([0, 6])
        assert list(line.get_ydata()) == rows.pooled[list(MODELS)].tolist()
        (band,) = axes.collections
        limits = {*rows.low[list(MODELS)], *rows.high[list(MODELS)]}
        assert limits <= set(band.get_paths()[0].vertices[:, 1])
        (height, again) = lines(axes)["ResNet18 (text)"].get_ydata()
        assert height == again == rows.pooled["resnet18_text"]
        assert axes.get_xlabel() == "ε of the search (in 1/255)"
        assert [tick.get_text() for tick in axes.get_xticklabels()] == ["0", "6"]
    text = caption(spec_of(study), study, inputs)
    assert "ResNet18 (text) stands at 0." in text
    assert "Grey horizontal lines: ResNet18 (text)." in text
    assert "horizontal" not in caption(spec_of(study, reference=[]), study, inputs)
    assert "ε of the search" in alternative_text(spec_of(study), study)


def test_models_that_were_not_run_are_named_and_not_drawn(study, inputs):
    groups = [
        {"title": "GBZ", "models": ["gbz_as_coded", "gbz"]},
        {"title": "Nobody", "models": ["dbx"]},
    ]
    spec = spec_of(study, groups=groups, cells=[{"attack": "clean"}])
    assert "Nobody" not in lines(draw_figure(spec, study, inputs).axes[0])
    text = caption(spec, study, inputs)
    assert "Without an evaluation: GBZ (Bayes' rule) and DBX." in text
    with pytest.raises(ConfigError, match="no outcomes of these models under these attacks"):
        draw_figure(spec_of(study, groups=groups[1:], reference=[]), study, inputs)


def test_a_model_without_the_setting_is_one_line(study, inputs):
    with pytest.raises(ConfigError, match=r"ResNet18 \(text\)'.* no setting 'latent_dim'; .* at$"):
        draw_figure(spec_of(study, at={}), study, inputs)


def with_reconstructions(inputs, tmp_path):
    """Two networks with the same images in another order, and one with other images."""
    (key, path) = next(iter(inputs.measured["reconstructions"].items()))
    stored = dict(np.load(path))
    back = {**stored, **{f"pgd_linf/{name}": stored[f"pgd_linf/{name}"][:, ::-1] for name in MADE}}
    back |= {name: stored[name][::-1] for name in ("pgd_linf/labels", "pgd_linf/epsilons")}
    other = {**stored, "pgd_linf/images": 1 - stored["pgd_linf/images"]}
    files = {}
    for model, arrays in (("large", stored), ("small", back), ("other", other)):
        files[key[0], key[1], model] = tmp_path / f"{model}.npz"
        np.savez(files[key[0], key[1], model], **arrays)
    run = dataclasses.replace(inputs)
    run.__dict__.update(
        accuracy=inputs.accuracy, measured={"reconstructions": files}, facts=inputs.facts
    )
    return run, stored


def test_one_image_is_shown_by_every_model_in_the_order_of_the_setting(study, inputs, tmp_path):
    run, stored = with_reconstructions(inputs, tmp_path)
    entries = {
        "large": {"settings": {"radius": 0.2}, "needs": {"base": "cnn"}},
        "small": {"settings": {"radius": 0.1}, "needs": {"base": "cnn"}},
        "other": {"settings": {"radius": 0.3}},
    }
    entries = varied(study, models=entries)
    spec = {
        "kind": "reconstructions_by_setting",
        "title": "z",
        "setting": "radius",
        "models": ["large", "small", "other"],
        "attack": "pgd_linf",
        "image": 1,
    }
    figure = draw_figure(spec, entries, run)
    texts = texts_of(figure)
    assert texts.index("0.1") < texts.index("0.2")
    assert "0.3" not in texts
    # Either row has the log p of the same image, the second of the stored ones.
    likely = stored["pgd_linf/log_likelihoods"][0, 1]
    for value in likely:
        assert texts.count(f"{value:.1f}".replace("-", "−")) == 2
    pictures = [image.get_array() for image in figure.axes[0].images]
    assert len(pictures) == 2 * (1 + len(likely))
    assert np.array_equal(pictures[0], pictures[1 + len(likely)])
    text = caption(spec, entries, run)
    assert "Rows: radius = 0.1 and 0.2." in text
    assert "logarithm of the probability of that class" in text
    assert "Without this image: other." in text
    with pytest.raises(ConfigError, match="image 99 is not among the 4 stored images"):
        draw_figure({**spec, "image": 99}, entries, run)


def test_what_a_wrapper_makes_of_an_image_is_no_reconstruction_by_a_generator(study, inputs):
    spec = study.figures["imitations"]
    assert "by the generator of each class" in caption(spec, study, inputs)
    wrapped = varied(study, models={"gbz_as_coded": {"needs": {"base": "cnn"}}})
    text = caption(spec, wrapped, inputs)
    assert "to which the search of each class leads" in text
    assert "generator of each class" not in text
