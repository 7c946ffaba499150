"""Tables of records: printed numbers beside this run's, defects, checks, leakage and costs."""

from __future__ import annotations

import pandas as pd

from assay.analysis.attack_set import AttackSet
from assay.analysis.checks import ORDER
from assay.analysis.inputs import AnalysisInputs
from assay.analysis.rows import PLACE
from assay.analysis.titles import NORMS, title_of
from assay.report.tables.parts import (
    Spec,
    Study,
    Table,
    caption_of,
    cell_title,
    formatted,
    p_text,
    placed,
)
from assay.report.text import measured, number, quantity, short_table, text_of


def hyper_parameters_table(spec: Spec, study: Study, inputs: AnalysisInputs) -> Table:
    """The printed settings beside the ones that this run used."""
    tidy = inputs.ledger[inputs.ledger.file == spec["reported"]].reset_index(drop=True)
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
    legend = f"Settings of {title_of(study, 'models', spec['model'])}." if "model" in spec else ""
    return Table(display, tidy, caption_of(spec, legend, study, inputs))


def defects_table(spec: Spec, study: Study, inputs: AnalysisInputs) -> Table:
    """Accuracy under an attack as published, under its correction, and the difference."""
    tidy = inputs.defects(spec["pairs"])
    order = {
        "model": list(dict.fromkeys(inputs.accuracy.model)),
        "published": [pair["published"] for pair in spec["pairs"]],
        "corrected": [pair["corrected"] for pair in spec["pairs"]],
    }
    tidy = tidy.sort_values(
        [*PLACE, "published", "corrected", "epsilon", "model"], kind="stable", ignore_index=True,
        key=lambda column: column.map(order[column.name].index) if column.name in order else column,
    )  # fmt: skip
    display = pd.DataFrame(
        {
            "Attack": [
                cell_title(study, inputs, AttackSet.of(attack), epsilon)
                for attack, epsilon in zip(tidy.corrected, tidy.epsilon, strict=True)
            ],
            "Model": [title_of(study, "models", model) for model in tidy.model],
            "As published": tidy.accuracy_published.map("{:.3f}".format),
            "Corrected": tidy.accuracy_corrected.map("{:.3f}".format),
            "Points explained": tidy.points_explained.map("{:+.1f}".format),
            "Exact p": tidy.exact_p.map(p_text),
            "n": tidy.n.astype(str),
        }
    )
    named = [f"{title_of(study, 'attacks', p['corrected'])}: {p['defect']}." for p in spec["pairs"]]
    legend = (
        "Points explained: accuracy under the attack as published minus accuracy under the "
        "corrected attack, in percentage points. p: McNemar's exact "
        f"test between the two attacks, not corrected for multiplicity. {' '.join(named)}"
    )
    return Table(placed(display, tidy, study), tidy, caption_of(spec, legend, study, inputs, tidy))


def ledger_table(spec: Spec, study: Study, inputs: AnalysisInputs) -> Table:
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


def checks_table(spec: Spec, study: Study, inputs: AnalysisInputs) -> Table:
    """What the automatic checks of the evaluation found, doubtful findings first."""
    tidy = inputs.checks
    rows = tidy.sort_values("status", key=lambda status: status.map(ORDER), kind="stable")
    rows = rows.reset_index(drop=True)
    norms = {"Norm": rows.norm.map(lambda norm: NORMS.get(norm, norm))} if "norm" in rows else {}
    display = pd.DataFrame(
        {
            "Model": [title_of(study, "models", model) for model in rows.model],
            **norms,
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


def cost_table(spec: Spec, study: Study, inputs: AnalysisInputs) -> Table:
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
