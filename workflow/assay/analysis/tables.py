"""Tables: one function per kind named in a study file, written as CSV, Markdown and LaTeX.

A table is made twice from the same rows: for eyes (strings, few columns) and for machines (tidy,
full precision). The second is what the CSV file holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from assay.analysis.defects import defects
from assay.analysis.inputs import AnalysisInputs
from assay.foundation.errors import ConfigError
from assay.foundation.files import atomic_path, write_text

Study = Mapping[str, Any]
Spec = Mapping[str, Any]

NOT_RUN = "not run"
_INTERVAL = "the 95 % Wilson interval of the pooled accuracy"
_BOLD = (
    "Bold: not significantly worse than the best, where some model is, and the evaluation of the "
    "model is sound."
)


@dataclass(frozen=True)
class Table:
    """A table for eyes and for machines.

    Attributes:
        display: strings, ready to print; unique columns.
        tidy: the same content, one observation per row, full precision.
        caption: what is shown, how to read it, and scale, n, splits and seed.
        bold: mask of the shape of `display`, or None.
    """

    display: pd.DataFrame
    tidy: pd.DataFrame
    caption: str
    bold: pd.DataFrame | None = None


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
    """The table and its caption as a LaTeX float; needs the package booktabs."""
    frame = table.display.map(_tex)
    frame.columns = [_tex(name) for name in frame.columns]
    styler = frame.style.hide(axis="index")
    if table.bold is not None:
        marks = np.where(table.bold.to_numpy(), "textbf:--rwrap;", "")
        styler = styler.apply(lambda _: marks, axis=None)
    return styler.to_latex(
        hrules=True, position="htbp", position_float="centering", caption=_tex(table.caption),
        label=label, column_format="l" * frame.shape[1],
    )  # fmt: skip


def accuracy_table(spec: Spec, study: Study, inputs: AnalysisInputs) -> Table:
    """Rows are attacks and budgets, columns are models."""
    cells, models = _cells(spec["cells"], inputs), _models(spec, inputs)
    tidy = _selected(inputs, cells, models)
    lines = [
        (
            {**_dataset_column(dataset, tidy, study), "Attack": _cell_title(study, inputs, *cell)},
            {_title(study, "models", model): (dataset, model, *cell) for model in models},
        )
        for dataset in dict.fromkeys(tidy.dataset)
        for cell in cells
    ]
    display, bold = _filled(lines, tidy, _accuracy_text)
    legend = f"Mean ± standard deviation over splits; in brackets {_INTERVAL}. {_BOLD}"
    return Table(display, tidy, _caption(spec, legend, study, inputs, tidy), bold)


def headline_table(spec: Spec, study: Study, inputs: AnalysisInputs) -> Table:
    """Rows are models with the verdict on their evaluation, columns are attacks and budgets."""
    cells, models = _cells(spec["cells"], inputs), _models(spec, inputs)
    tidy = _selected(inputs, cells, models)
    verdicts = inputs.verdicts.set_index(["dataset", "model"]).verdict
    lines = [
        (
            {
                **_dataset_column(dataset, tidy, study),
                "Model": _title(study, "models", model),
                "Evaluation": verdicts.get((dataset, model), NOT_RUN),
            },
            {_cell_title(study, inputs, *cell): (dataset, model, *cell) for cell in cells},
        )
        for dataset in dict.fromkeys(tidy.dataset)
        for model in models
    ]
    display, bold = _filled(
        lines, tidy, lambda row: f"{row.pooled:.3f} [{row.low:.3f}, {row.high:.3f}]"
    )
    legend = (
        f"Pooled accuracy; in brackets {_INTERVAL}. Evaluation: whether the checks trust the "
        f"robust accuracies of this model. {_BOLD}"
    )
    return Table(display, tidy, _caption(spec, legend, study, inputs, tidy), bold)


def hyper_parameters_table(spec: Spec, study: Study, inputs: AnalysisInputs) -> Table:
    """The printed settings beside the ones that this run used."""
    tidy = inputs.ledger[inputs.ledger.file == spec["reported"]].reset_index(drop=True)
    display = pd.DataFrame(
        {
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
    legend = f"Settings of {_title(study, 'models', spec['model'])}." if "model" in spec else ""
    return Table(display, tidy, _caption(spec, legend, study, inputs))


def defects_table(spec: Spec, study: Study, inputs: AnalysisInputs) -> Table:
    """Accuracy under an attack as published, under its correction, and the difference."""
    tidy = defects(inputs.outcomes, spec["pairs"])
    order = {
        "model": list(dict.fromkeys(inputs.accuracy.model)),
        "published": [pair["published"] for pair in spec["pairs"]],
    }
    tidy = tidy.sort_values(
        ["dataset", "published", "epsilon", "model"], kind="stable", ignore_index=True,
        key=lambda column: column.map(order[column.name].index) if column.name in order else column,
    )  # fmt: skip
    display = pd.DataFrame(
        {
            "Attack": [
                _cell_title(study, inputs, *key)
                for key in zip(tidy.corrected, tidy.epsilon, strict=True)
            ],
            "Model": [_title(study, "models", model) for model in tidy.model],
            "As published": tidy.accuracy_published.map("{:.3f}".format),
            "Corrected": tidy.accuracy_corrected.map("{:.3f}".format),
            "Points explained": tidy.points_explained.map("{:+.1f}".format),
            "Exact p": tidy.exact_p.map(p_text),
            "n": tidy.n.astype(str),
        }
    )
    named = [f"{_title(study, 'attacks', p['corrected'])}: {p['defect']}." for p in spec["pairs"]]
    legend = (
        "Points explained: accuracy as published minus corrected, times 100. p: McNemar's exact "
        f"test between the two attacks, not corrected for multiplicity. {' '.join(named)}"
    )
    return Table(display, tidy, _caption(spec, legend, study, inputs))


def significance_table(spec: Spec, study: Study, inputs: AnalysisInputs) -> Table:
    """McNemar's test for every pair of models, with what it could have found."""
    tidy = inputs.mcnemar
    models = _models(spec, inputs)
    tidy = tidy[tidy.model_a.isin(models) & tidy.model_b.isin(models)]
    tidy = _in_cells(tidy, spec, inputs)
    display = pd.DataFrame({
        "Attack": [
            _cell_title(study, inputs, *key) for key in zip(tidy.attack, tidy.epsilon, strict=True)
        ],
        "A": [_title(study, "models", model) for model in tidy.model_a],
        "B": [_title(study, "models", model) for model in tidy.model_b],
        "n": tidy.n.astype(str),
        "Only A right": tidy.only_a_right.astype(str),
        "Only B right": tidy.only_b_right.astype(str),
        "A − B": [
            f"{row.difference:+.3f} [{row.low:+.3f}, {row.high:+.3f}]" for row in tidy.itertuples()
        ],
        "Exact p": tidy.exact_p.map(p_text),
        "Mid-p": tidy.mid_p.map(p_text),
        "Holm p": tidy.holm_p.map(p_text),
        "Conclusion": np.where(
            tidy.significant, np.where(tidy.difference > 0, "A better", "B better"),
            tidy.minimum_detectable_difference.map("n.s. (80 % power from {:.3f})".format),
        ),
    })  # fmt: skip
    if (tidy.split != "pooled").any():
        display.insert(0, "Split", tidy.split)
    legend = (
        "McNemar's exact and mid-p test on the same images; Holm's correction over all pairs, "
        "attacks and budgets of the study. Beside n.s. stands the smallest true difference that "
        "one test would find with 80 % power."
    )
    return Table(display, tidy, _caption(spec, legend, study, inputs, tidy))


def ranking_table(spec: Spec, study: Study, inputs: AnalysisInputs) -> Table:
    """Rows are attacks and budgets; models that share a letter do not differ significantly."""
    tidy = inputs.ranking
    models = _models(spec, inputs)
    tidy = tidy[tidy.model.isin(models)]
    tidy = _in_cells(tidy, spec, inputs)
    display = []
    for (dataset, split, attack, epsilon), cell in tidy.groupby(
        ["dataset", "split", "attack", "epsilon"], observed=True, sort=False
    ):
        row = _dataset_column(dataset, tidy, study)
        if split != "pooled":
            row["Split"] = split
        row["Attack"] = _cell_title(study, inputs, attack, epsilon)
        found = cell.set_index("model")
        for model in models:
            title = _title(study, "models", model)
            row[title] = (
                f"{found.accuracy[model]:.3f} {found.group[model]}"
                if model in found.index
                else NOT_RUN
            )
        display.append(row)
    legend = (
        "Accuracy and significance group: models that share a letter do not differ significantly "
        "(McNemar, Holm)."
    )
    return Table(pd.DataFrame(display), tidy, _caption(spec, legend, study, inputs, tidy))


def leakage_table(spec: Spec, study: Study, inputs: AnalysisInputs) -> Table:
    """What test images share with training images, per split; classes only in the tidy form."""
    tidy = inputs.leakage
    whole = tidy[tidy["class"] == "all"]
    unknown = "unknown"
    display = pd.DataFrame({
        "Data set": [_title(study, "datasets", name) for name in whole.dataset],
        "Split": whole["split"],
        "What": whole.measure,
        "Parts": whole.parts,
        "Groups": whole.groups.map(_or("{:,.0f}", unknown)),
        "Images": whole.images.map(_or("{:,.0f}", unknown)),
        "Share": whole.share.map(_or("{:.3%}", unknown)),
    }).reset_index(drop=True)  # fmt: skip
    legend = (
        "Images that two parts of a split share, by identical pixels or by patient; the share is "
        "that of the second part. Unknown: the data set says nothing about patients."
    )
    return Table(display, tidy, _caption(spec, legend, study, inputs))


def cost_table(spec: Spec, study: Study, inputs: AnalysisInputs) -> Table:
    """Passes per image and seconds of each suite, and what the model's training took."""
    attacked = inputs.accuracy[~inputs.accuracy.attack.str.startswith("all ")]
    suite = ["dataset", "model", "suite"]
    tidy = attacked.groupby(suite, sort=False)[["forwards", "backwards"]].sum().reset_index()
    tidy["seconds"] = _over_splits(tidy[suite], inputs.durations)
    trained = {
        key: frame.seconds.sum() for key, frame in inputs.history.items() if "seconds" in frame
    }
    sizes = {key: facts.get("parameters") for key, facts in inputs.facts.items()}
    tidy["training_seconds"] = _over_splits(tidy[suite[:2]], trained)
    tidy["parameters"] = _over_splits(tidy[suite[:2]], sizes)
    tidy["relative_seconds"] = tidy.seconds / tidy.groupby(["dataset", "suite"]).seconds.transform(
        "min"
    )
    display = pd.DataFrame(
        {
            "Model": [_title(study, "models", model) for model in tidy.model],
            "Suite": [_title(study, "suites", suite) for suite in tidy.suite],
            "Forward passes": tidy.forwards.map("{:,.0f}".format),
            "Backward passes": tidy.backwards.map("{:,.0f}".format),
            "Seconds": tidy.seconds.map(_or("{:,.1f}")),
            "× fastest": tidy.relative_seconds.map(_or("{:.1f}")),
            "Training seconds": tidy.training_seconds.map(_or("{:,.0f}")),
            "Parameters": tidy.parameters.map(_or("{:,.0f}")),
        }
    )
    legend = (
        "Passes per image, summed over the attacks and budgets of a suite; seconds per split on "
        "the device of this run."
    )
    return Table(display, tidy, _caption(spec, legend, study, inputs))


TABLES: dict[str, Callable[[Spec, Study, AnalysisInputs], Table]] = {
    "accuracy": accuracy_table,
    "headline": headline_table,
    "hyper_parameters": hyper_parameters_table,
    "defects": defects_table,
    "significance": significance_table,
    "ranking": ranking_table,
    "leakage": leakage_table,
    "cost": cost_table,
}


def p_text(p: float) -> str:
    """A p-value as it is printed."""
    if pd.isna(p):
        return "–"
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def _cells(cells: Iterable[Mapping[str, Any]], inputs: AnalysisInputs) -> list[tuple[str, float]]:
    """(attack, epsilon) pairs; a cell without epsilon stands for every budget that was run."""
    known = inputs.accuracy[["attack", "epsilon"]].drop_duplicates()
    pairs = []
    for cell in cells:
        epsilons = known.epsilon[known.attack == cell["attack"]]
        if "epsilon" in cell:
            near = epsilons[np.isclose(epsilons, cell["epsilon"], rtol=1e-6, atol=1e-9)]
            pairs += [(cell["attack"], float(next(iter(near), cell["epsilon"])))]
        else:
            pairs += [(cell["attack"], float(epsilon)) for epsilon in sorted(epsilons)]
    return pairs


def _models(spec: Spec, inputs: AnalysisInputs) -> list[str]:
    return list(spec.get("models") or dict.fromkeys(inputs.accuracy.model))


def _selected(
    inputs: AnalysisInputs, cells: list[tuple[str, float]], models: list[str]
) -> pd.DataFrame:
    """The accuracy rows of these cells and models, with verdict, letters and whether they lead."""
    rows = inputs.accuracy
    rows = _chosen(rows[rows.model.isin(models)], cells)
    rows = rows.merge(inputs.verdicts, on=["dataset", "model"], how="left")
    ranks = inputs.ranking
    cell = ["dataset", "suite", "attack", "norm", "epsilon"]
    ranks = ranks.loc[ranks.split == "pooled", [*cell, "model", "group"]]
    rows = rows.merge(ranks, on=[*cell, "model"], how="left")
    best = rows.group.fillna("").str.contains("a")
    some_worse = (~best).groupby([rows[name] for name in cell]).transform("any")
    rows["leads"] = best & some_worse & (rows.verdict == "sound")
    return rows


def _in_cells(rows: pd.DataFrame, spec: Spec, inputs: AnalysisInputs) -> pd.DataFrame:
    """The rows of the entry's cells, if it names any."""
    if "cells" in spec:
        return _chosen(rows, _cells(spec["cells"], inputs))
    return rows.reset_index(drop=True)


def _chosen(rows: pd.DataFrame, cells: list[tuple[str, float]]) -> pd.DataFrame:
    """The rows of these attacks and budgets, in the order of the cells."""
    place = {pair: index for index, pair in enumerate(cells)}
    order = np.array([place.get(key, -1) for key in zip(rows.attack, rows.epsilon, strict=True)])
    ranked = np.argsort(order, kind="stable")
    return rows.iloc[ranked[order[ranked] >= 0]].reset_index(drop=True)


def _filled(
    lines: list[tuple[dict, dict]], tidy: pd.DataFrame, text: Callable[[Any], str]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Strings and bold marks for lines of (leading columns, column -> key of an accuracy row)."""
    keys = zip(tidy.dataset, tidy.model, tidy.attack, tidy.epsilon, strict=True)
    found = dict(zip(keys, tidy.itertuples(), strict=True))
    display = pd.DataFrame(
        {
            **head,
            **{
                name: text(found[key]) if key in found else NOT_RUN for name, key in entries.items()
            },
        }
        for head, entries in lines
    )
    bold = pd.DataFrame(
        {**dict.fromkeys(head, False),
         **{name: key in found and bool(found[key].leads) for name, key in entries.items()}}
        for head, entries in lines
    )  # fmt: skip
    return display, bold


def _accuracy_text(row: Any) -> str:
    spread = "" if pd.isna(row.sd) else f" ± {row.sd:.3f}"
    return f"{row.accuracy:.3f}{spread} [{row.low:.3f}, {row.high:.3f}]"


def _cell_title(study: Study, inputs: AnalysisInputs, attack: str, epsilon: float) -> str:
    title = _title(study, "attacks", attack)
    norms = inputs.accuracy.norm[inputs.accuracy.attack == attack]
    norm = next(iter(norms), "none")
    unit = {"none": "", "l0": f" ({epsilon:g} pixel{'s' if epsilon != 1 else ''})",
            "severity": f" {epsilon:g}"}  # fmt: skip
    return title + unit.get(norm, f" ε = {epsilon:g}")


def _title(study: Study, kind: str, name: str) -> str:
    return study.get("titles", {}).get(kind, {}).get(name, name)


def _dataset_column(dataset: str, rows: pd.DataFrame, study: Study) -> dict[str, str]:
    several = rows.dataset.nunique() > 1
    return {"Data set": _title(study, "datasets", dataset)} if several else {}


def _over_splits(cells: pd.DataFrame, values: Mapping[tuple, float]) -> list[float]:
    """The mean over splits of values keyed (dataset, split, ...) for rows of (dataset, ...)."""
    found: dict[tuple, list[float]] = {}
    for (dataset, _, *rest), value in values.items():
        if value is not None:
            found.setdefault((dataset, *rest), []).append(value)
    return [
        float(np.mean(found.get(key, [np.nan]))) for key in cells.itertuples(index=False, name=None)
    ]


def _caption(
    spec: Spec, legend: str, study: Study, inputs: AnalysisInputs, rows: pd.DataFrame | None = None
) -> str:
    """Caption, legend, and the sentence that every caption ends with."""
    table = inputs.accuracy
    counts = sorted(set((table if rows is None or rows.empty else rows).n))
    n = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    splits = int(table.splits.max())
    parts = [spec.get("caption", ""), legend]
    for kind, stand_ins in study.get("stand_ins", {}).items():
        for stand_in in dict.fromkeys(stand_ins.values()):
            originals = [name for name, other in stand_ins.items() if other == stand_in]
            if stand_in in {*table.dataset, *table.model}:
                title = _title(study, kind, stand_in)
                parts.append(f"{title} stands in for {' and '.join(originals)}.")
    parts.append(
        f"Scale {inputs.scale}; n = {n} images; {splits} split{'s' if splits != 1 else ''}; "
        f"seed {inputs.seed}."
    )
    return " ".join(part for part in parts if part)


def _or(form: str, missing: str = "–") -> Callable[[float], str]:
    return lambda value: missing if pd.isna(value) else form.format(value)


_TEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "±": r"$\pm$", "ε": r"$\varepsilon$",
    "∞": r"$\infty$", "−": "$-$", "–": "--", "×": r"$\times$", "₂": "$_2$",
}  # fmt: skip


def _tex(text: object) -> str:
    return "".join(_TEX.get(letter, letter) for letter in str(text))
