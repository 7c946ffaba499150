"""The files of a study's report, each written by the function that a job or a command calls."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from assay.analysis.inputs import AnalysisInputs
from assay.analysis.run_provenance import provenance_summary
from assay.foundation.files import write_json, write_text
from assay.report.figures.draw import caption, draw_figure, save_figure
from assay.report.tables.build import ANALYSES, analysis_table, build_table
from assay.report.tables.files import write_table

log = logging.getLogger(__name__)

Nested = Mapping[str, Any]


def write_analyses(places: Mapping[str, Path | str], inputs: AnalysisInputs, *, code: str) -> None:
    """Writes all statistics of a study, and what made them.

    Args:
        places: path of the CSV file of each of
            :data:`assay.report.tables.build.ANALYSES`, beside which its other formats go, and of
            ``provenance``.
        inputs: the run.
        code: digest of the code of the analysis.
    """
    for name in ANALYSES:
        write_table(analysis_table(name, inputs.study, inputs), Path(places[name]).with_suffix(""))
    write_json(places["provenance"], provenance_summary(inputs, code=code))


def write_study_table(spec: Nested, inputs: AnalysisInputs, path: Path | str) -> None:
    """Writes a table of the study's file to `path` (CSV) and, beside it, its other formats."""
    table = build_table(spec, inputs.study, inputs)
    write_table(table, Path(path).with_suffix(""))


def write_study_figure(spec: Nested, inputs: AnalysisInputs, path: Path | str) -> None:
    """Draws a figure of the study's file to `path` (SVG) and, beside it, as PDF with a caption."""
    path = Path(path)
    save_figure(draw_figure(spec, inputs.study, inputs), path.with_suffix(""))
    write_text(path.with_suffix(".txt"), caption(spec, inputs.study, inputs) + "\n")


def write_drawings(
    inputs: AnalysisInputs, folder: Path | str, only: Collection[str] = ()
) -> dict[str, Exception]:
    """Writes every table and every figure of a study's file; one that fails loses no other.

    Args:
        inputs: the run; its study names tables and figures.
        folder: where they go, below ``tables`` and ``figures``.
        only: their names, if not all.

    Returns:
        The errors of those that cannot be drawn, by their places (``figures/figure3``). Files that
        an earlier run left of these are removed.

    Raises:
        OSError: a file cannot be written.
    """
    failed: dict[str, Exception] = {}
    for kind, write, form in (
        ("tables", write_study_table, "csv"),
        ("figures", write_study_figure, "svg"),
    ):
        for name, spec in getattr(inputs.study, kind).items():
            if only and name not in only:
                continue
            place = f"{kind}/{name}"
            try:
                write(spec, inputs, Path(folder) / f"{place}.{form}")
            except (OSError, MemoryError):
                raise  # not of this table or figure: no other would fare better
            except Exception as error:
                log.warning("%s cannot be drawn", place, exc_info=error)
                failed[place] = error
                for left in Path(folder, kind).glob(f"{name}.*"):
                    left.unlink()
    return failed
