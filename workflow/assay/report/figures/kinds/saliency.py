"""Where networks look, before and after an attack."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from assay.analysis.inputs import AnalysisInputs
from assay.analysis.titles import SALIENCY_METHODS, radius_text, title_of
from assay.foundation.keys import ABSENT
from assay.report.figures.parts import (
    Caption,
    Study,
    classes_of,
    for_matplotlib,
    grid_figure,
    image_counts,
    images_in_words,
    names_of,
    picture,
    prediction_below,
    row_label,
    short_name,
    split_words,
    styled,
    wrapped,
)
from assay.report.figures.saliency_maps import (
    MapsSpec,
    SaliencyMaps,
    missing_in_words,
    radius_in_words,
    saliency_attack,
    saliency_maps,
)
from assay.report.needs import Measured, Need
from assay.report.spec import Rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True)
class Spec(MapsSpec):
    """Which pixels decide the prediction, unperturbed and attacked; models must be among the
    study's ``measurements.saliency``.
    """

    rows: Rows = ABSENT


def needs(spec: Spec) -> list[Need]:
    """What the study must store."""
    return [Measured("saliency", tuple(spec.models), "models")]


PHOTOGRAPH = True

GAP, LINE, BETWEEN, LEFT = 0.2, 0.2, 0.16, 0.66
HALF = 1 + len(SALIENCY_METHODS)


@styled
def draw(spec: Spec, study: Study, inputs: AnalysisInputs) -> Figure:
    """Rows are models and images; columns an image and its maps, unperturbed and attacked."""
    found = saliency_maps(spec, study, inputs)
    rows = _rows(spec, found)
    height = 0.36 + len(found) * rows * (1 + LINE) + (len(found) - 1) * BETWEEN
    figure, axes = grid_figure(2 * HALF + GAP + LEFT, height)
    attacked = f"attacked, ε = {radius_text(found[0].epsilon, study)}"
    for side, name in enumerate(("unperturbed", attacked)):
        for column, words in enumerate((name, *SALIENCY_METHODS.values())):
            place = side * (HALF + GAP) + column + 0.5
            axes.text(place, 0.18, words, ha="center", va="center", fontsize=7.5)
    top = 0.36
    for one in found:
        names = classes_of(study, inputs, one.key, one.stored["labels"])
        middle = top + rows * (1 + LINE) / 2 - LINE / 2
        model = title_of(study, "models", one.key[2])
        row_label(axes, -0.42, middle, wrapped(model, 14 * rows), 8)
        for k in range(rows):
            row_label(axes, -0.09, top + 0.5, short_name(names[one.stored["labels"][k]], 18), 7)
            _row(axes, one, k, top, names)
            top += 1 + LINE
        top += BETWEEN
    axes.set(xlim=(-LEFT, 2 * HALF + GAP), ylim=(height, 0), aspect="equal")
    axes.set_axis_off()
    return figure


def _row(axes: Axes, one: SaliencyMaps, k: int, top: float, names: list[str]) -> None:
    label = one.stored["labels"][k]
    for side, version in enumerate((0, one.version)):
        place = side * (HALF + GAP)
        image = for_matplotlib(one.stored["images"][version, k].astype(float))
        picture(axes, image, place, top)
        predicted = one.stored["predictions"][version, k]
        text = f"{'✓' if predicted == label else '✗'} {short_name(names[predicted], 16)}"
        prediction_below(axes, place + 0.5, top + 1 + LINE / 2 - 0.05, text, predicted == label)
        for column, method in enumerate(SALIENCY_METHODS):
            values = one.stored[f"maps/{method}"][version, k].astype(float)
            values = values / max(values.max(), 1e-12)
            box = place + column + 1.05, place + column + 1.95, top + 0.95, top + 0.05
            axes.imshow(values, cmap="inferno", vmin=0, vmax=1, extent=box)


def _rows(spec: Spec, found: list[SaliencyMaps]) -> int:
    return min(spec.rows or 2, *(one.shown for one in found))


def caption(spec: Spec, study: Study, inputs: AnalysisInputs) -> Caption:
    found = saliency_maps(spec, study, inputs)
    count = _rows(spec, found)
    dataset, split, _ = found[0].key
    labels = found[0].stored["labels"]
    classes = classes_of(study, inputs, found[0].key, labels)
    models = [one.key[2] for one in found]
    return Caption(
        f"{images_in_words(labels[:count], len(classes))} "
        f"({title_of(study, 'datasets', dataset)}, {split_words(study, split)}), "
        f"unperturbed and after {saliency_attack(study)} at "
        f"{radius_in_words(found, spec, study)}, with saliency maps of "
        f"{names_of(study, 'models', models)}. A map shows the magnitude of each pixel's "
        "contribution to the logit of the predicted class, smoothed and scaled by the maximum of "
        "the map. After an attack, the predicted class may be wrong. The prediction is below each "
        "image (✓ right, ✗ wrong), the true class is at the left. The maps are illustrations: a "
        "plausible map is no evidence that the network uses these pixels correctly."
        f"{missing_in_words(found, spec, study, inputs)}",
        image_counts(count),
        [dataset],
        models,
    )


def alt(spec: Spec, study: Study) -> str:
    return (
        "Grid of images, unperturbed and attacked, each beside two heat maps of the pixels' "
        f"contributions to the prediction, for {names_of(study, 'models', spec.models)}."
    )
