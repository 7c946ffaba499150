"""Tables of the paired tests: which models differ, in which order they stand."""

from __future__ import annotations

import pandas as pd

from assay.analysis.inputs import AnalysisInputs
from assay.analysis.paired import CELL, POOLED
from assay.analysis.rows import PLACE, group_index
from assay.analysis.titles import title_of
from assay.report.tables.parts import (
    NOT_RUN,
    Spec,
    Study,
    Table,
    attack_titles,
    caption_of,
    formatted,
    in_cells,
    models_of,
    on_datasets,
    p_text,
    place_columns,
    placed,
)
from assay.report.tables.split_tables import FAMILIES, conclusions


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
        f"McNemar's exact and mid-p test on the same images. {FAMILIES} After n.s., the table "
        "gives the smallest true difference that the exact test detects with 80 % power at its "
        "corrected level. None detectable: with so few images, no difference can be significant."
    )
    return Table(display, tidy, caption_of(spec, legend, study, inputs, tidy))


def ranking_table(spec: Spec, study: Study, inputs: AnalysisInputs) -> Table:
    """Rows are attacks and budgets; models that share a letter do not differ significantly."""
    tidy = on_datasets(inputs.ranking, spec)
    models = models_of(spec, inputs)
    tidy = tidy[tidy.model.isin(models)]
    tidy = in_cells(tidy, spec, inputs)
    display, several = [], (tidy["split"] != POOLED).any()
    for (*place, split, _), cell in tidy.groupby(
        [*PLACE, "split", group_index(*(tidy[name] for name in CELL))[0]], observed=True, sort=False
    ):
        row = place_columns(place, tidy, study)
        if several:
            row["Split"] = split
        row["Attack"] = attack_titles(cell.head(1), study, inputs)[0]
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
        "Accuracy on the n images that all models were tested on, and the significance group. "
        "Models that share a letter do not differ significantly. With several splits, the test "
        "accounts for the splits (bootstrap of splits and images, or corrected resampled t-test). "
        "With one split, it is McNemar's test. Brackets hold the letters of McNemar's test on the "
        f"pooled splits where these are different. {FAMILIES}"
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
    legend = (
        "Cochran's Q tests whether all models have the same accuracy on the same images. "
        f"{FAMILIES}"
    )
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
    return Table(placed(display, tidy, study), tidy, caption_of(spec, legend, study, inputs, tidy))
