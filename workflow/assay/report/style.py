"""The look of figures: one style sheet, colours that do not need colour vision."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from assay.foundation.resources import resource

STYLE_SHEET = resource("report/assay.mplstyle")

# Okabe and Ito (2008), ordered so that neighbours also differ in lightness; contrast with white
# is at least 3:1, so yellow and sky blue are left out.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#a6478a", "#4d5966", "#8c6d1f", "#5b4fc4", "#b3293e")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "h")

GREY = "#6b7682"
FAINT = "#b4bcc6"

# Verdicts of rows that were compared: never by colour alone.
COMPARED = {"reproduced": ("#00795a", "o"), "differs": ("#c2500a", "D")}


@dataclass(frozen=True)
class SeriesStyle:
    """How one series is drawn: always a colour *and* a marker."""

    colour: str
    marker: str


def style() -> AbstractContextManager[None]:
    """The style sheet as a context; both drawing and saving happen inside it."""
    import matplotlib.style  # not at the top: the page needs the colours alone

    return matplotlib.style.context(["default", STYLE_SHEET])


def series_styles(names: Iterable[str]) -> dict[str, SeriesStyle]:
    """A colour and a marker for each name, by its position, so that all figures of a study agree.

    With more names than colours the markers shift, so that a pair never comes twice.
    """
    shift = len(COLOURS)
    return {
        name: SeriesStyle(COLOURS[i % shift], MARKERS[(i + i // shift) % len(MARKERS)])
        for i, name in enumerate(dict.fromkeys(names))
    }
