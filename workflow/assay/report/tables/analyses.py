"""Tables that every study has and no study names: pairs and splits, ledger, checks."""

from __future__ import annotations

import numpy as np
import pandas as pd

from assay.analysis.checks import ORDER
from assay.analysis.inputs import AnalysisInputs
from assay.analysis.titles import NORMS, title_of
from assay.report.spec import TableSpec
from assay.report.tables.parts import (
    Study,
    Table,
    attack_titles,
    caption_of,
    formatted,
    p_text,
    placed,
)
from assay.report.tables.words import FAMILIES, conclusions
from assay.report.text import measured, number, short_table, text_of


def between_splits_table(spec: TableSpec, study: Study, inputs: AnalysisInputs) -> Table:
    """Every pair of models by a test that accounts for the splits."""
    tidy = inputs.between_splits
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


def cochran_table(spec: TableSpec, study: Study, inputs: AnalysisInputs) -> Table:
    """Cochran's Q for each attack and budget: has any of the models another accuracy?"""
    tidy = inputs.cochran
    display = pd.DataFrame(
        {
            "Attack": attack_titles(tidy, study, inputs),
            "Models": tidy.models.astype(str),
            "n": tidy.n.astype(str),
            "Q": tidy.q.map("{:.2f}".format),
            "df": tidy.df.astype(str),
            "p": tidy.p.map(p_text),
            "Holm p": tidy.holm_p.map(p_text),
            "BH q": tidy.bh_q.map(p_text),
        }
    )
    legend = (
        "Cochran's Q tests whether all models have the same accuracy on the same images. "
        f"{FAMILIES}"
    )
    return Table(placed(display, tidy, study), tidy, caption_of(spec, legend, study, inputs, tidy))


def resampled_t_table(spec: TableSpec, study: Study, inputs: AnalysisInputs) -> Table:
    """The corrected resampled t-test for every pair of models, across splits."""
    tidy = inputs.resampled_t
    display = pd.DataFrame(
        {
            "Attack": attack_titles(tidy, study, inputs),
            "A": [title_of(study, "models", model) for model in tidy.model_a],
            "B": [title_of(study, "models", model) for model in tidy.model_b],
            "Splits": tidy.splits.astype(str),
            "A − B": [f"{row.difference:+.3f} ± {row.sd:.3f}" for row in tidy.itertuples()],
            "t": tidy.t.map(formatted("{:.2f}")),
            "df": tidy.df.astype(str),
            "p": tidy.p.map(p_text),
            "Holm p": tidy.holm_p.map(p_text),
            "q": tidy.q.map(p_text),
        }
    )
    legend = (
        "Mean ± standard deviation over splits of the difference in accuracy, with Nadeau and "
        f"Bengio's corrected resampled t-test. {FAMILIES}"
    )
    return Table(placed(display, tidy, study), tidy, caption_of(spec, legend, study, inputs, tidy))


def ledger_table(spec: TableSpec, study: Study, inputs: AnalysisInputs) -> Table:
    """Every printed number beside this run's, with verdict and reason."""
    tidy = inputs.ledger
    found = [
        number(row.reproduced)
        + ("" if pd.isna(row.low) else f" [{number(row.low)}, {number(row.high)}]")
        for row in tidy.itertuples()
    ]
    display = pd.DataFrame(
        {
            "Printed in": tidy.table.map(short_table),
            "Model": tidy.model.map(text_of),
            "Measured": [measured(row) for row in tidy.itertuples()],
            "Printed": [number(value, as_printed=True) for value in tidy.reported],
            "This run": found,
            "Difference": [number(value, signed=True) for value in tidy.delta],
            "Verdict": tidy.verdict,
            "n": [number(value, as_printed=True) for value in tidy.n],
            "Why": tidy.reason.map(text_of),
            "Note on the print": tidy.note.map(text_of),
        }
    )
    legend = (
        "Every printed number beside this run's, including those that were not run. Brackets hold "
        "the 95 % Wilson interval of an accuracy, or the range over splits of any other number. "
        "The difference is this run minus the printed value."
    )
    return Table(display, tidy, caption_of(spec, legend, study, inputs))


def checks_table(spec: TableSpec, study: Study, inputs: AnalysisInputs) -> Table:
    """What the automatic checks of the evaluation found, doubtful findings first."""
    tidy = inputs.checks
    rows = tidy.sort_values("status", key=lambda status: status.map(ORDER), kind="stable")
    rows = rows.reset_index(drop=True)
    display = pd.DataFrame(
        {
            "Model": [title_of(study, "models", model) for model in rows.model],
            "Norm": rows.norm.map(lambda norm: NORMS.get(norm, norm)),
            "Status": rows.status,
            "Check": rows.check,
            "Finding": rows.sentence,
        }
    )
    legend = (
        "Findings of the automatic checks of each evaluation. The evaluation of a model in a norm "
        "is broken if one check fails. Otherwise it is suspect if one check raises a flag. "
        "Otherwise it is under-powered if one check is weak (the scale or the budget is too small "
        "for a conclusion). Passing all checks does not prove that no stronger attack exists."
    )
    return Table(placed(display, rows, study), tidy, caption_of(spec, legend, study, inputs, tidy))
