"""The table of paired tests between splits, and what all tables of paired tests say of a family."""

from __future__ import annotations

import numpy as np
import pandas as pd

from assay.analysis.families import NO_FAMILY
from assay.analysis.inputs import AnalysisInputs
from assay.analysis.titles import title_of
from assay.report.tables.parts import (
    Spec,
    Study,
    Table,
    attack_titles,
    caption_of,
    formatted,
    on_datasets,
    p_text,
    placed,
)

FAMILIES = (
    "Holm p: Holm's correction over the headline's comparisons of a data set and split scheme. q: "
    "Benjamini and Hochberg's false discovery rate over all other tests. Neither is "
    "given for attacks as published, for controls, and where all classifiers are right on all "
    "images or on none."
)


def conclusions(tests: pd.DataFrame, otherwise: pd.Series) -> np.ndarray:
    """What each test of a pair lets one say; `otherwise` where its family does not reject it."""
    better = np.where(tests.difference > 0, "A better", "B better")
    words = np.where(tests.significant, better, otherwise)
    return np.where(tests.family == NO_FAMILY, "no conclusion", words)


def between_splits_table(spec: Spec, study: Study, inputs: AnalysisInputs) -> Table:
    """Every pair of models by a test that accounts for the splits."""
    tidy = on_datasets(inputs.between_splits, spec)
    interval = formatted("{:+.3f}")
    display = pd.DataFrame({
        "Attack": attack_titles(tidy, study, inputs),
        "A": [title_of(study, "models", model) for model in tidy.model_a],
        "B": [title_of(study, "models", model) for model in tidy.model_b],
        "Test": tidy.method.astype(str),
        "Splits": tidy.splits.astype(str),
        "n": tidy.n.astype(str),
        "A − B": [
            f"{row.difference:+.3f} [{interval(row.low)}, {interval(row.high)}]"
            for row in tidy.itertuples()
        ],
        "p": tidy.p.map(p_text),
        "Holm p": tidy.holm_p.map(p_text),
        "q": tidy.q.map(p_text),
        "Conclusion": conclusions(
            tidy, pd.Series(np.where(tidy.p.isna(), "not tested", "n.s."), index=tidy.index)
        ),
    })  # fmt: skip
    legend = (
        "Mean over splits of the difference in accuracy with its 95 % interval. Five or more "
        "splits: bootstrap of splits and images. Two to four: Nadeau and Bengio's corrected "
        f"resampled t-test. One: McNemar's exact test. {FAMILIES}"
    )
    return Table(placed(display, tidy, study), tidy, caption_of(spec, legend, study, inputs, tidy))
