"""What the subsets of each split share."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from assay.analysis.inputs import AnalysisInputs
from assay.analysis.titles import title_of
from assay.report.spec import TableSpec
from assay.report.tables.parts import Study, Table, caption_of, formatted
from assay.report.tables.words import reading_sentence, safe_title


@dataclass(frozen=True, kw_only=True)
class Spec(TableSpec):
    """What the subsets of each split share."""


_MEASURES = {"images": "images", "duplicates": "identical pixels", "patients": "patients"}


def draw(spec: Spec, study: Study, inputs: AnalysisInputs) -> Table:
    """What test images share with training images, per split; classes only in the tidy form."""
    tidy = inputs.leakage
    whole = tidy[tidy["class"] == "all"]
    unknown = "unknown"
    display = pd.DataFrame({
        "Data set": [title_of(study, "datasets", name) for name in whole.dataset],
        "Split": whole["split"],
        "What": [
            safe_title(study, dataset) if measure == "patients_safe" else _MEASURES[measure]
            for dataset, measure in zip(whole.dataset, whole.measure, strict=True)
        ],
        "Subsets": whole.subsets,
        "Groups": whole.groups.map(formatted("{:,.0f}", unknown)),
        "Images": whole.images.map(formatted("{:,.0f}", unknown)),
        "Share": whole.share.map(formatted("{:.3%}", unknown)),
    }).reset_index(drop=True)  # fmt: skip
    sentences = [
        "Images that two subsets of a split (column Subsets) share, by identical pixels or by "
        "patient. Share: their percentage of the images of the second subset. Unknown: the data "
        "set has no patient ids.",
        reading_sentence(study, whole.dataset[whole.measure == "patients_safe"]),
    ]
    legend = " ".join(filter(None, sentences))
    return Table(display, tidy, caption_of(spec, legend, study, inputs, whole))
