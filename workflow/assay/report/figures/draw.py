"""Figures: one module per kind named in a study file, from written results to a drawing.

A figure has no title of its own: what it shows, how to read it, n, splits, seed and scale stand in
its caption, which :func:`caption` writes. Series differ by colour and by marker. A kind says
everything about itself (:class:`FigureKind`): how it is drawn, its caption, its alternative text,
and whether it shows photographs.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from matplotlib.figure import Figure

from assay.analysis.inputs import AnalysisInputs
from assay.foundation.errors import ConfigError
from assay.foundation.files import atomic_path
from assay.report.figures.kinds import (
    accuracy_curves,
    certified_curves,
    compared_examples,
    decision_regions,
    examples,
    latent_pca,
    ledger_dumbbell,
    mcnemar_matrix,
    reconstructions,
    saliency,
    training_curves,
)
from assay.report.figures.parts import FigureKind, Spec, Study
from assay.report.figures.reported import substitutes_in_words
from assay.report.style import style

__all__ = [
    "FIGURES", "FigureKind", "alternative_text", "caption", "draw_figure", "kind_of", "save_figure",
]  # fmt: skip

PAGE_FONTS = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"

FIGURES: Mapping[str, FigureKind] = MappingProxyType({
    "training_curves": training_curves.KIND,
    "latent_pca": latent_pca.KIND,
    "examples": examples.KIND,
    "compared_examples": compared_examples.KIND,
    "reconstructions": reconstructions.KIND,
    "saliency": saliency.KIND,
    "decision_regions": decision_regions.KIND,
    "certified_curves": certified_curves.KIND,
    "mcnemar_matrix": mcnemar_matrix.KIND,
    "accuracy_curves": accuracy_curves.KIND,
    "ledger_dumbbell": ledger_dumbbell.KIND,
})  # fmt: skip


def kind_of(spec: Spec) -> FigureKind:
    """The kind of a figure's entry.

    Raises:
        ConfigError: there is no such kind.
    """
    kind = spec.get("kind")
    if kind not in FIGURES:
        raise ConfigError(
            f"unknown kind of figure '{kind}'",
            where=f"figure '{spec.get('title', '')}' of the study",
            remedy=f"choose one of {sorted(FIGURES)}",
        )
    return FIGURES[kind]


def draw_figure(spec: Spec, study: Study, inputs: AnalysisInputs) -> Figure:
    """The figure that a study's entry describes.

    Raises:
        ConfigError: the kind is unknown, or there is nothing to draw.
    """
    return kind_of(spec).draw(spec, study, inputs)


def caption(spec: Spec, study: Study, inputs: AnalysisInputs) -> str:
    """What the figure shows and how to read it; ends with scale, n, splits and seed.

    Substitutes are named where the figure shows them. All counts are those of what is drawn.
    """
    described = kind_of(spec).describe(spec, study, inputs)
    parts = [
        spec.get("caption", ""),
        described.text,
        *substitutes_in_words(study, described.datasets, described.models),
        f"Scale {inputs.scale}; {described.counts}; seed {inputs.seed}.",
    ]
    return " ".join(part for part in parts if part)


def alternative_text(spec: Spec, study: Study) -> str:
    """What the picture shows, for readers who cannot see it; the caption has the details.

    Raises:
        ConfigError: the kind is unknown.
    """
    return kind_of(spec).alternative(spec, study)


def save_figure(figure: Figure, stem: Path | str) -> list[Path]:
    """Writes `stem`.svg and `stem`.pdf; the same figure gives the same bytes, without a date.

    Returns:
        The two paths.
    """
    stem = Path(stem)
    svg, pdf = stem.with_name(f"{stem.name}.svg"), stem.with_name(f"{stem.name}.pdf")
    with style():
        with atomic_path(svg) as temporary:
            figure.savefig(temporary, metadata={"Date": None})
            # Placed with DejaVu Sans, shown in the reader's own interface font, which is narrower.
            text = temporary.read_text(encoding="utf-8").replace("'DejaVu Sans'", PAGE_FONTS)
            temporary.write_text(text, encoding="utf-8")
        with atomic_path(pdf) as temporary:
            figure.savefig(temporary, metadata={"CreationDate": None})
    return [svg, pdf]
