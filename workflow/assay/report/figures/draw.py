"""Figures of a study, from written results to drawings and their captions.

A figure has no title of its own: what it shows, how to read it, n, splits, seed and scale are in
its caption, which :func:`caption` writes. Series differ by colour and by marker. What differs
between figures is in the file of their kind (`assay.report.figures.kinds`): how it is drawn, its
caption, its alternative text, and whether it shows photographs (``PHOTOGRAPH``).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assay.analysis.inputs import AnalysisInputs
from assay.foundation.files import atomic_path
from assay.report.figures.parts import Study
from assay.report.figures.reported import substitutes_in_words
from assay.report.kinds import kind_of
from assay.report.spec import spec_of
from assay.report.style import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAGE_FONTS = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"


def draw_figure(spec: Mapping[str, Any], study: Study, inputs: AnalysisInputs) -> Figure:
    """The figure that a study's entry describes.

    Raises:
        ConfigError: the kind is unknown, or there is nothing to draw.
    """
    kind = kind_of("figures", spec)
    return kind.draw(spec_of(kind.Spec, spec), study, inputs)


def caption(spec: Mapping[str, Any], study: Study, inputs: AnalysisInputs) -> str:
    """What the figure shows and how to read it; ends with scale, n, splits and seed.

    Substitutes are named where the figure shows them. All counts are those of what is drawn.
    """
    kind = kind_of("figures", spec)
    described = kind.caption(spec_of(kind.Spec, spec), study, inputs)
    parts = [
        spec.get("caption", ""),
        described.text,
        *substitutes_in_words(study, described.datasets, described.models),
        f"Scale {inputs.scale}; {described.counts}; seed {inputs.seed}.",
    ]
    return " ".join(part for part in parts if part)


def is_photograph(spec: Mapping[str, Any]) -> bool:
    """Whether a figure shows images, whose grey levels mean something.

    A page in dark colours must not invert it.

    Raises:
        ConfigError: the kind is unknown.
    """
    return getattr(kind_of("figures", spec), "PHOTOGRAPH", False)


def alternative_text(spec: Mapping[str, Any], study: Study) -> str:
    """What the picture shows, for readers who cannot see it; the caption has the details.

    Raises:
        ConfigError: the kind is unknown.
    """
    kind = kind_of("figures", spec)
    return kind.alt(spec_of(kind.Spec, spec), study)


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
