"""McNemar's test for every pair of models."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from assay.analysis.inputs import AnalysisInputs
from assay.analysis.titles import title_of
from assay.foundation.keys import ABSENT
from assay.report.spec import Cells, Datasets, Models, TableSpec
from assay.report.tables.parts import (
    Study,
    Table,
    attack_titles,
    caption_of,
    formatted,
    in_cells,
    models_of,
    on_datasets,
    p_text,
    placed,
)
from assay.report.tables.words import FAMILIES, conclusions


@dataclass(frozen=True, kw_only=True)
class Spec(TableSpec):
    """McNemar's tests of pairs of models."""

    cells: Cells = ABSENT
    datasets: Datasets = ABSENT
    models: Models = ABSENT


def draw(spec: Spec, study: Study, inputs: AnalysisInputs) -> Table:
    """McNemar's test for every pair of models, with what it could have found."""
    tidy = on_datasets(inputs.mcnemar, spec)
    models = models_of(spec, inputs)
    tidy = tidy[tidy.model_a.isin(models) & tidy.model_b.isin(models)]
    tidy = in_cells(tidy, spec, inputs)
    display = pd.DataFrame({
        "Attack": attack_titles(tidy, study, inputs),
        "A": [title_of(study, "models", model) for model in tidy.model_a],
        "B": [title_of(study, "models", model) for model in tidy.model_b],
        "n": tidy.n.astype(str),
        "Only A right": tidy.only_a_right.astype(str),
        "Only B right": tidy.only_b_right.astype(str),
        "A − B": [
            f"{row.difference:+.3f} [{row.low:+.3f}, {row.high:+.3f}]" for row in tidy.itertuples()
        ],
        "Exact p": tidy.exact_p.map(p_text),
        "Mid-p": tidy.mid_p.map(p_text),
        "Holm p": tidy.holm_p.map(p_text),
        "q": tidy.q.map(p_text),
        "Conclusion": conclusions(
            tidy, tidy.minimum_detectable_difference.map(
                formatted("n.s. (80 % power from {:.3f})", "n.s. (none detectable)")
            ),
        ),
    })  # fmt: skip
    display = placed(display, tidy, study)
    legend = (
        f"McNemar's exact and mid-p test on the same images. {FAMILIES} After n.s., the table "
        "gives the smallest true difference that the exact test detects with 80 % power at its "
        "corrected level. None detectable: with so few images, no difference can be significant."
    )
    return Table(display, tidy, caption_of(spec, legend, study, inputs, tidy))
