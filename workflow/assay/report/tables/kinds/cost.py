"""What jobs cost."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from assay.analysis.inputs import AnalysisInputs
from assay.analysis.titles import title_of
from assay.report.spec import TableSpec
from assay.report.tables.parts import Study, Table, caption_of, formatted, placed


@dataclass(frozen=True, kw_only=True)
class Spec(TableSpec):
    """What jobs cost."""


def draw(spec: Spec, study: Study, inputs: AnalysisInputs) -> Table:
    """Time, memory and passes of each suite, and what the model's training took."""
    tidy = inputs.costs
    display = pd.DataFrame(
        {
            "Model": [title_of(study, "models", model) for model in tidy.model],
            "Suite": [title_of(study, "suites", suite) for suite in tidy.suite],
            "Seconds": tidy.seconds.map(formatted("{:,.1f}")),
            "Images per second": tidy.images_per_second.map(formatted("{:,.1f}")),
            "Peak memory (MB)": tidy.peak_mb.map(formatted("{:,.0f}")),
            "Forward passes": tidy.forwards.map("{:,.0f}".format),
            "Backward passes": tidy.backwards.map("{:,.0f}".format),
            "Forward passes per attack": tidy.forwards_per_attack.map("{:,.0f}".format),
            "Backward passes per attack": tidy.backwards_per_attack.map("{:,.0f}".format),
            "Most backward passes": tidy.most_backwards.map("{:,.0f}".format),
            "Training seconds": tidy.training_seconds.map(formatted("{:,.0f}")),
            "Training memory (MB)": tidy.training_peak_mb.map(formatted("{:,.0f}")),
            "Weight updates": tidy.updates.map(formatted("{:,.0f}")),
            "Parameters": tidy.parameters.map(formatted("{:,.0f}")),
        }
    )
    legend = (
        "Means over splits. Passes are counted per image: the sum over the attacks and budgets of "
        "a suite, the mean per attack and budget, and the largest of an attack and budget. Weight "
        "updates: epochs times batches of the model's own training. Images per second: perturbed "
        "images that were evaluated. Time and memory were measured on the machine of this run, "
        "which ran other jobs at the same time."
    )
    return Table(placed(display, tidy, study), tidy, caption_of(spec, legend, study, inputs, tidy))
