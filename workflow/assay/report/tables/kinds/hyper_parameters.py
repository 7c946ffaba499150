"""Printed hyper-parameters beside those of the run."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from assay.analysis.inputs import AnalysisInputs
from assay.analysis.titles import title_of
from assay.report.spec import Model, Reported, TableSpec
from assay.report.tables.parts import Study, Table, caption_of
from assay.report.text import quantity


@dataclass(frozen=True, kw_only=True)
class Spec(TableSpec):
    """Printed hyper-parameters beside those of the run."""

    model: Model
    reported: Reported


def draw(spec: Spec, study: Study, inputs: AnalysisInputs) -> Table:
    """The printed settings beside the ones that this run used."""
    tidy = inputs.ledger[inputs.ledger.file == spec.reported].reset_index(drop=True)
    several = {"Data set": tidy.dataset} if tidy.dataset.nunique() > 1 else {}
    display = pd.DataFrame(
        {
            **several,
            "Hyper-parameter": [quantity(row) for row in tidy.itertuples()],
            "Printed": tidy.reported.map("{:g}".format),
            "This run": tidy.reproduced.map(lambda value: "–" if pd.isna(value) else f"{value:g}"),
            "Remark": [
                reason.split("; ")[1 if reason.startswith("a setting") else 0]
                + (f" ({note})" if note else "")
                for reason, note in zip(tidy.reason, tidy.note, strict=True)
            ],
        }
    )
    legend = f"Settings of {title_of(study, 'models', spec.model)}." if spec.model else ""
    return Table(display, tidy, caption_of(spec, legend, study, inputs))
