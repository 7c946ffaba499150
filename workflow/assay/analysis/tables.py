"""Tables: one function per kind, those of a study file and those of every study, in three formats.

A table is made twice from the same rows: for eyes (strings, few columns) and for machines (tidy,
full precision). The second is what the CSV file holds; Markdown and LaTeX hold the first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from assay.analysis.checks import FAIL, FLAG, PASS
from assay.analysis.inputs import AnalysisInputs
from assay.analysis.paired import POOLED
from assay.analysis.rows import PLACE
from assay.analysis.saliency import pointing_table
from assay.analysis.size_tables import (
    complexity_table,
    schemes_table,
    selection_table,
    trend_table,
)
from assay.analysis.split_tables import FAMILIES, between_splits_table, conclusions
from assay.analysis.style import measured, number, short_table, text_of, title_of
from assay.analysis.table_parts import (
    BOLD,
    INTERVAL,
    NOT_RUN,
    Spec,
    Study,
    Table,
    accuracy_text,
    attack_titles,
    caption_of,
    cell_title,
    cells_of,
    filled,
    formatted,
    in_cells,
    met_at_places,
    models_of,
    on_datasets,
    p_text,
    place_columns,
    placed,
    places_of,
    selected,
)
from assay.foundation.errors import ConfigError
from assay.foundation.files import atomic_path, write_text

# Rows that no page holds, and letters that no column of one line holds.
LONG_TABLE, LONG_CELL = 40, 40


def build_table(kind: str, spec: Spec, study: Study, inputs: AnalysisInputs) -> Table:
    """The table of a study's entry.

    Args:
        kind: a key of :data:`TABLES`.
        spec: the entry of the study file (``headline`` for the kind ``headline``).
        study: the study as the plan gives it.
        inputs: the run.

    Raises:
        ConfigError: the kind is unknown.
    """
    if kind not in TABLES:
        raise ConfigError(
            f"unknown kind of table '{kind}'",
            where=f"table '{spec.get('title', '')}' of the study",
            remedy=f"choose one of {sorted(TABLES)}",
        )
    return TABLES[kind](spec, study, inputs)


def analysis_table(name: str, study: Study, inputs: AnalysisInputs) -> Table:
    """A table that every study has, whatever its file says.

    Args:
        name: a key of :data:`ANALYSES`, also the member of `inputs` that is its tidy form;
            ``headline`` has a tidy form of its own.
        study: the study as the plan gives it.
        inputs: the run.
    """
    if name == "headline":
        return headline_table(study["headline"], study, inputs)
    spec = {}
    if name == "accuracy":
        every = [{"attack": attack} for attack in dict.fromkeys(inputs.accuracy.attack)]
        spec = {"caption": "Accuracy under every attack and budget.", "cells": every}
    return replace(ANALYSES[name](spec, study, inputs), tidy=getattr(inputs, name))


def write_table(table: Table, stem: Path | str) -> list[Path]:
    """Writes `stem`.csv (tidy, full precision), `stem`.md and `stem`.tex (booktabs).

    Returns:
        The three paths.
    """
    stem = Path(stem)
    csv, markdown, latex = (stem.with_name(f"{stem.name}.{end}") for end in ("csv", "md", "tex"))
    write_csv(table.tidy, csv)
    write_text(markdown, to_markdown(table))
    write_text(latex, to_latex(table, label=f"tab:{stem.name}"))
    return [csv, markdown, latex]


def write_csv(frame: pd.DataFrame, path: Path | str) -> None:
    """Writes a tidy frame, atomically, numbers in full precision."""
    with atomic_path(path) as temporary:
        frame.to_csv(temporary, index=False)


def to_markdown(table: Table) -> str:
    """The table and its caption in GitHub's Markdown."""
    frame = table.display.map(lambda text: str(text).replace("|", r"\|"))
    if table.bold is not None:
        frame = frame.mask(table.bold, "**" + frame + "**")
    return f"{frame.to_markdown(index=False, disable_numparse=True)}\n\n{table.caption}\n"


def to_latex(table: Table, label: str) -> str:
    """The table and its caption in LaTeX; needs the packages booktabs and, if long, longtable."""
    frame = table.display.map(_tex)
    frame.columns = [_tex(name) for name in frame.columns]
    widest = (table.display[name].map(str).map(len).max() for name in table.display)
    columns = "".join("p{6cm}" if width > LONG_CELL else "l" for width in widest)
    long = len(frame) > LONG_TABLE
    styler = frame.style.hide(axis="index")
    if table.bold is not None:
        marks = np.where(table.bold.to_numpy(), "textbf:--rwrap;", "")
        styler = styler.apply(lambda _: marks, axis=None)
    return styler.to_latex(
        hrules=True, environment="longtable" if long else None, position=None if long else "htbp",
        position_float=None if long else "centering", caption=_tex(table.caption), label=label,
        column_format=columns,
    )  # fmt: skip


def accuracy_table(spec: Spec, study: Study, inputs: AnalysisInputs) -> Table:
    """Rows are attacks and budgets, columns are models."""
    cells, models = cells_of(spec["cells"], inputs), models_of(spec, inputs)
    tidy = on_datasets(selected(inputs, cells, models), spec)
    ran = set(zip(tidy.attack, tidy.epsilon, strict=True))
    if "datasets" in spec:
        # Budgets of other data sets are no gap of this one.
        cells = [cell for cell in cells if cell in ran]
    lines = [
        (
            {**place_columns(place, tidy, study), "Attack": cell_title(study, inputs, *cell)},
            {title_of(study, "models", model): (*place, model, *cell) for model in models},
        )
        for place in places_of(tidy)
        for cell in cells
    ]
    display, bold = filled(lines, tidy, accuracy_text)
    legend = f"Mean ± standard deviation over splits; in brackets {INTERVAL}. {BOLD}"
    return Table(display, tidy, caption_of(spec, legend, study, inputs, tidy), bold)


def headline_table(spec: Spec, study: Study, inputs: AnalysisInputs) -> Table:
    """Rows are models with the verdict on their evaluation, columns are attacks and budgets."""
    cells, models = cells_of(spec["cells"], inputs), models_of(spec, inputs)
    tidy = selected(inputs, cells, models)
    verdicts = inputs.verdicts.set_index([*PLACE, "model"]).verdict
    lines = [
        (
            {
                **place_columns(place, tidy, study),
                "Model": title_of(study, "models", model),
                "Evaluation": verdicts.get((*place, model), NOT_RUN),
            },
            {cell_title(study, inputs, *cell): (*place, model, *cell) for cell in cells},
        )
        for place, model in met_at_places(tidy, models)
    ]
    display, bold = filled(
        lines, tidy, lambda row: f"{row.pooled:.3f} [{row.low:.3f}, {row.high:.3f}]"
    )
    legend = (
        f"Pooled accuracy; in brackets {INTERVAL}. Evaluation: whether the checks trust the "
        f"robust accuracies of this model. {BOLD}"
    )
    return Table(display, tidy, caption_of(spec, legend, study, inputs, tidy), bold)


def distances_table(spec: Spec, study: Study, inputs: AnalysisInputs) -> Table:
    """Accuracy of each model and how far its closest broken images are, by norm."""
    tidy = on_datasets(inputs.distances(spec["attacks"]), spec)
    tidy = tidy[tidy.model.isin(models_of(spec, inputs))].reset_index(drop=True)
    clean = inputs.accuracy[inputs.accuracy.attack == "clean"]
    clean = clean.drop_duplicates([*PLACE, "model"]).set_index([*PLACE, "model"]).pooled
    order = {model: place for place, model in enumerate(models_of(spec, inputs))}
    tidy = tidy.sort_values("model", key=lambda column: column.map(order), kind="stable")
    display = []
    for (*place, model), rows in tidy.groupby([*PLACE, "model"], sort=False):
        line = {
            **place_columns(place, tidy, study),
            "Model": title_of(study, "models", model),
            "Clean accuracy": formatted("{:.3f}")(clean.get((*place, model), np.nan)),
        }
        for row in rows.itertuples():
            norm = {"linf": "L∞", "l2": "L2"}[row.norm]
            line[f"{norm} mean"] = finite(row.mean)
            line[f"{norm} median"] = finite(row.median)
            line[f"{norm} broken"] = f"{row.broken}/{row.n}"
        display.append(line)
    display = pd.DataFrame(display or {"Model": []}).fillna(NOT_RUN)
    named = " and ".join(title_of(study, "attacks", attack) for attack in spec["attacks"])
    legend = (
        f"Distance to the closest broken image that {named} found, each in its own norm; an image "
        "that is wrong unperturbed is at distance 0, one that nothing broke is infinitely far."
    )
    return Table(display, tidy, caption_of(spec, legend, study, inputs, tidy.assign(splits=1)))


def finite(value: float) -> str:
    return f"{value:.3f}" if np.isfinite(value) else "∞"


def hyper_parameters_table(spec: Spec, study: Study, inputs: AnalysisInputs) -> Table:
    """The printed settings beside the ones that this run used."""
    tidy = inputs.ledger[inputs.ledger.file == spec["reported"]].reset_index(drop=True)
    several = {"Data set": tidy.dataset} if tidy.dataset.nunique() > 1 else {}
    display = pd.DataFrame(
        {
            **several,
            "Hyper-parameter": tidy.metric.str.removeprefix("hyperparameter:").str.replace(
                "_", " "
            ),
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
                cell_title(study, inputs, *key)
                for key in zip(tidy.corrected, tidy.epsilon, strict=True)
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
        "Points explained: accuracy as published minus corrected, times 100. p: McNemar's exact "
        f"test between the two attacks, not corrected for multiplicity. {' '.join(named)}"
    )
    return Table(placed(display, tidy, study), tidy, caption_of(spec, legend, study, inputs))


def significance_table(spec: Spec, study: Study, inputs: AnalysisInputs) -> Table:
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
        f"McNemar's exact and mid-p test on the same images. {FAMILIES} Beside n.s. stands the "
        "smallest true difference that the exact test would find with 80 % power at the level that "
        "the correction left for it; none, where so few images can show no difference."
    )
    return Table(display, tidy, caption_of(spec, legend, study, inputs, tidy))


def ranking_table(spec: Spec, study: Study, inputs: AnalysisInputs) -> Table:
    """Rows are attacks and budgets; models that share a letter do not differ significantly."""
    tidy = on_datasets(inputs.ranking, spec)
    models = models_of(spec, inputs)
    tidy = tidy[tidy.model.isin(models)]
    tidy = in_cells(tidy, spec, inputs)
    display, several = [], (tidy["split"] != POOLED).any()
    for (*place, _, split, attack, epsilon), cell in tidy.groupby(
        [*PLACE, "suite", "split", "attack", "epsilon"], observed=True, sort=False
    ):
        row = place_columns(place, tidy, study)
        if several:
            row["Split"] = split
        row["Attack"] = cell_title(study, inputs, attack, epsilon)
        found = cell.set_index("model")
        row["n"] = str(found.n.iloc[0])
        for model in models:
            title = title_of(study, "models", model)
            row[title] = (
                f"{found.accuracy[model]:.3f} {_letters(found.loc[model])}".rstrip()
                if model in found.index
                else NOT_RUN
            )
        display.append(row)
    legend = (
        "Accuracy on the n images that all models were tested on, and significance group: models "
        "that share a letter do not differ significantly. With several splits the test accounts "
        "for the splits (bootstrap of splits and images, or corrected resampled t-test), else it "
        "is McNemar's. Where McNemar's test on the pooled splits gives other letters, they stand "
        f"in brackets. {FAMILIES}"
    )
    # Fewer than two models leave nothing to rank.
    display = pd.DataFrame(display or {"Attack": []})
    return Table(display, tidy, caption_of(spec, legend, study, inputs, tidy))


def _letters(row: pd.Series) -> str:
    """A model's significance letters, and McNemar's in brackets where they are others."""
    other = row.group_pooled not in (row.group, "")
    return f"{row.group} ({row.group_pooled})" if other else row.group


def cochran_table(spec: Spec, study: Study, inputs: AnalysisInputs) -> Table:
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
    legend = f"Cochran's Q test that all models have one accuracy on the same images. {FAMILIES}"
    return Table(placed(display, tidy, study), tidy, caption_of(spec, legend, study, inputs, tidy))


def resampled_t_table(spec: Spec, study: Study, inputs: AnalysisInputs) -> Table:
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
    return Table(placed(display, tidy, study), tidy, caption_of(spec, legend, study, inputs))


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
        "Every printed number beside this run's; rows that were not run stay. Brackets hold the "
        "95 % Wilson interval of an accuracy and the range over splits of any other number; the "
        "difference is this run minus print."
    )
    return Table(display, tidy, caption_of(spec, legend, study, inputs))


def checks_table(spec: Spec, study: Study, inputs: AnalysisInputs) -> Table:
    """What the automatic checks of the evaluation found, doubtful findings first."""
    tidy = inputs.checks
    order = {FAIL: 0, FLAG: 1, PASS: 2}
    rows = tidy.sort_values("status", key=lambda status: status.map(order), kind="stable")
    rows = rows.reset_index(drop=True)
    display = pd.DataFrame(
        {
            "Model": [title_of(study, "models", model) for model in rows.model],
            "Status": rows.status,
            "Check": rows.check,
            "Finding": rows.sentence,
        }
    )
    legend = (
        "What the automatic checks of each evaluation found. One failure makes the evaluation of a "
        "model broken, one flag makes it suspect. Passing all of them does not prove that no "
        "stronger attack exists."
    )
    return Table(placed(display, rows, study), tidy, caption_of(spec, legend, study, inputs))


def leakage_table(spec: Spec, study: Study, inputs: AnalysisInputs) -> Table:
    """What test images share with training images, per split; classes only in the tidy form."""
    tidy = inputs.leakage
    whole = tidy[tidy["class"] == "all"]
    unknown = "unknown"
    display = pd.DataFrame({
        "Data set": [title_of(study, "datasets", name) for name in whole.dataset],
        "Split": whole["split"],
        "What": whole.measure,
        "Parts": whole.parts,
        "Groups": whole.groups.map(formatted("{:,.0f}", unknown)),
        "Images": whole.images.map(formatted("{:,.0f}", unknown)),
        "Share": whole.share.map(formatted("{:.3%}", unknown)),
    }).reset_index(drop=True)  # fmt: skip
    legend = (
        "Images that two parts of a split share, by identical pixels or by patient; the share is "
        "that of the second part. Unknown: the data set says nothing about patients."
    )
    return Table(display, tidy, caption_of(spec, legend, study, inputs))


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
            "Training seconds": tidy.training_seconds.map(formatted("{:,.0f}")),
            "Training memory (MB)": tidy.training_peak_mb.map(formatted("{:,.0f}")),
            "Parameters": tidy.parameters.map(formatted("{:,.0f}")),
        }
    )
    legend = (
        "Means over splits. Passes are those of one image, summed over a suite's attacks and "
        "budgets; images per second are perturbed images that were judged. Time and memory are "
        "those of the machine of this run, with other jobs beside it."
    )
    return Table(placed(display, tidy, study), tidy, caption_of(spec, legend, study, inputs))


TABLES: dict[str, Callable[[Spec, Study, AnalysisInputs], Table]] = {
    "accuracy": accuracy_table,
    "headline": headline_table,
    "distances": distances_table,
    "hyper_parameters": hyper_parameters_table,
    "defects": defects_table,
    "significance": significance_table,
    "ranking": ranking_table,
    "leakage": leakage_table,
    "schemes": schemes_table,
    "complexity": complexity_table,
    "trend": trend_table,
    "selection": selection_table,
    "pointing": pointing_table,
    "cost": cost_table,
}
# The tables that every study has beside those of its file.
ANALYSES: dict[str, Callable[[Spec, Study, AnalysisInputs], Table]] = {
    "accuracy": accuracy_table,
    "mcnemar": significance_table,
    "between_splits": between_splits_table,
    "ranking": ranking_table,
    "cochran": cochran_table,
    "resampled_t": resampled_t_table,
    "costs": cost_table,
    "ledger": ledger_table,
    "checks": checks_table,
    "headline": headline_table,
}


_TEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "±": r"$\pm$", "ε": r"$\varepsilon$",
    "∞": r"$\infty$", "−": "$-$", "–": "--", "×": r"$\times$", "₂": "$_2$",
}  # fmt: skip


def _tex(text: object) -> str:
    return "".join(_TEX.get(letter, letter) for letter in str(text))
