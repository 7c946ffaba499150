"""Tables about how large networks are, and whether that decides how robust they are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from assay.analysis.attack_set import AttackSet
from assay.analysis.effort import MEASURES, at_place, counterpart_of, effort_sentence, what_differs
from assay.analysis.inputs import AnalysisInputs
from assay.analysis.rows import PLACE
from assay.analysis.statistics import ALPHA, CELL
from assay.analysis.titles import title_of
from assay.analysis.trend import CANNOT_TELL, concluded
from assay.report.tables.accuracy_tables import spread_words
from assay.report.tables.cells import Cell, bold_words, cells_in, columns_of, entries_of
from assay.report.tables.parts import (
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
    margin_of,
    met_at_places,
    models_of,
    on_datasets,
    p_text,
    place_columns,
    placed,
    places_of,
    selected,
)

SIZE_TITLES = {"depth": "Depth", "parameters": "Parameters", "flops": "FLOPs"}
_WORDS = {"depth": "depth", "parameters": "parameters"}  # amid a sentence
# Columns of the effort of a training, beside the sizes.
_EFFORT_TITLES = {
    "learning_rate": "Learning rate", "images": "Training images", "updates": "Weight updates",
}  # fmt: skip
EVERY_NETWORK = "all"


def complexity_table(spec: Spec, study: Study, inputs: AnalysisInputs) -> Table:
    """How large the networks are, by every measure, and how they were trained, with accuracies."""
    cells, models = cells_of(spec["cells"], inputs), models_of(spec, inputs)
    tidy = on_datasets(selected(inputs, cells, models, "accuracy"), spec)
    for name in SIZE_TITLES:
        keys = zip(tidy.dataset, tidy.model, strict=True)
        tidy[name] = [inputs.sizes[name].get(key, np.nan) for key in keys]
    means = {place: at_place(inputs.effort, place, models) for place in places_of(tidy)}
    units = list(zip(tidy.dataset, tidy.scheme, tidy.model, strict=True))
    for name in MEASURES:
        tidy[name] = [means[unit[:2]][name].get(unit[2], np.nan) for unit in units]

    def title(attacks: AttackSet, epsilon: float) -> str:
        return cell_title(study, inputs, attacks, epsilon)

    columns = columns_of(tidy, cells, title)
    lines = [
        (
            {
                **place_columns(place, tidy, study),
                "Model": title_of(study, "models", model),
                **{
                    text: _ranked(inputs.sizes[name], place[0], model, models)
                    for name, text in SIZE_TITLES.items()
                },
                **{
                    text: formatted(MEASURES[name][1])(means[place][name].get(model, np.nan))
                    for name, text in _EFFORT_TITLES.items()
                },
            },
            entries_of(columns, (*place, model), tidy),
        )
        for place, model in met_at_places(tidy, models)
    ]
    display, bold = filled(lines, tidy, accuracy_text)
    sentences = [
        _order_sentence(tidy, models, study),
        *_counterpart_sentences(tidy, cells, models, study, inputs),
        "Brackets after a size hold its rank (1: smallest). Depth: number of weighted layers "
        "between image and logits. FLOPs: multiplications and additions for the prediction on one "
        "image.",
        spread_words(tidy, "Mean"),
        bold_words(tidy, margin_of(inputs), title, "accuracy"),
    ]
    legend = " ".join(filter(None, sentences))
    return Table(display, tidy, caption_of(spec, legend, study, inputs, tidy), bold)


def _ranked(
    sizes: Mapping[tuple[str, str], float], dataset: str, model: str, models: list[str]
) -> str:
    """A model's size and its rank among all."""
    order = sorted({sizes[dataset, name] for name in models if (dataset, name) in sizes})
    size = sizes.get((dataset, model))
    return "–" if size is None else f"{size:,.0f} ({order.index(size) + 1})"


def _order_sentence(tidy: pd.DataFrame, models: Iterable[str], study: Study) -> str:
    """The smallest and the largest network by each measure, of the place that has most of them."""
    counts = tidy.drop_duplicates([*PLACE, "model"]).groupby(PLACE, sort=False).size()
    if counts.empty or counts.max() < 2:
        return ""
    place = counts.idxmax()
    here = tidy[(tidy.dataset == place[0]) & (tidy.scheme == place[1])]
    here = here.drop_duplicates("model").set_index("model")
    here = here.reindex([model for model in models if model in here.index])
    parts = []
    for name, title in SIZE_TITLES.items():
        known = here[name].dropna()
        if known.nunique() > 1:
            ends = [
                " and ".join(
                    title_of(study, "models", model) for model in known.index[known == end]
                )
                for end in (known.min(), known.max())
            ]
            parts.append(
                f"by {_WORDS.get(name, title)} {ends[0]} is the smallest and {ends[1]} the largest"
            )
    where = f" ({title_of(study, 'datasets', place[0])})" if tidy.dataset.nunique() > 1 else ""
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}{where}." if parts else ""


def _counterpart_sentences(
    tidy: pd.DataFrame,
    cells: list[Cell],
    models: list[str],
    study: Study,
    inputs: AnalysisInputs,
) -> list[str]:
    """Why one network stands in the table twice, and what its other training changes."""
    sentences = []
    for place, model in met_at_places(tidy, models):
        there = [name for other, name in met_at_places(tidy, models) if other == place]
        counterpart = counterpart_of(model, there, study)
        if counterpart is None:
            continue
        differs = what_differs(at_place(inputs.effort, place, [counterpart, model]), study)
        names = [title_of(study, "models", name) for name in (model, counterpart)]
        here = tidy[(tidy.dataset == place[0]) & (tidy.scheme == place[1])]
        rows = dict(zip(zip(here.model, cells_in(here), strict=True), here.accuracy, strict=True))
        changes = [
            f"{rows[model, cell]:.3f} against {rows[counterpart, cell]:.3f} "
            f"({cell_title(study, inputs, *cell)})"
            for cell in cells
            if (model, cell) in rows and (counterpart, cell) in rows
        ]
        sentences.append(
            f"{names[0]} and {names[1]} have the same architecture. Recorded differences of their "
            f"training: {', '.join(differs) or 'none'}. Accuracy of the two: {', '.join(changes)}."
        )
    return sentences


def trend_table(spec: Spec, study: Study, inputs: AnalysisInputs) -> Table:
    """Whether accuracy rises or falls with the size of a network, and what that may be due to."""
    models = models_of(spec, inputs)
    families = {EVERY_NETWORK: models} | {
        title: [model for model in members if model in models]
        for title, members in spec.get("within", {}).items()
    }
    tidy = pd.concat(
        [_trend_of(spec, title, members, inputs) for title, members in families.items()],
        ignore_index=True,
    )
    tidy["other_differences"] = [
        ", ".join(what_differs(at_place(inputs.effort, place, families[family]), study))
        for *place, family in zip(tidy.dataset, tidy.scheme, tidy.networks, strict=True)
    ]
    tidy = concluded(tidy, tidy.unsound == "")
    if len(tidy):
        order = tidy.groupby([*CELL, "measure"], sort=False, observed=True).ngroup()
        tidy = tidy.iloc[np.argsort(order.to_numpy(), kind="stable")].reset_index(drop=True)
    display = pd.DataFrame({
        "Attack": attack_titles(tidy, study, inputs),
        "Size by": tidy.measure.map(SIZE_TITLES),
        "Networks": [f"{row.networks} ({row.models})" for row in tidy.itertuples()],
        "Splits": tidy.splits.astype(str),
        "Rank correlation": [
            f"{row.correlation:+.2f}"
            + ("" if pd.isna(row.low) else f" [{row.low:+.2f}, {row.high:+.2f}]")
            for row in tidy.itertuples()
        ],
        "p": tidy.p.map(p_text),
        "Least p": tidy.smallest_p.map(p_text),
        "Holm p": tidy.holm_p.map(p_text),
        "Smaller is better": tidy.verdict,
        "What else differs": tidy.other_differences.replace("", "nothing that is recorded"),
    })  # fmt: skip
    sentences = [
        "Spearman's rank correlation of size and accuracy within a split, averaged over splits. "
        "Brackets hold its 95 % interval with Nadeau and Bengio's variance. p: permutation test "
        "that permutes the sizes of the networks. Least p: the smallest p-value that this number "
        "of networks allows. Holm p: Holm's correction over the rows of this table whose "
        "accuracies differ.",
        _power_sentence(tidy),
        f"A verdict needs a Holm p of at most {ALPHA:g}, an interval without 0 and a sound "
        f"evaluation of every network. Otherwise it is: {CANNOT_TELL}.",
        _unsound_sentence(tidy, study, inputs),
    ]
    if len(families) > 1:
        named = "; ".join(
            f"{title}: {', '.join(title_of(study, 'models', name) for name in members)}"
            for title, members in families.items()
            if title != EVERY_NETWORK
        )
        sentences.append(f"{named}.")
    shown = _shown_models(tidy, models, inputs)
    sentences.append(effort_sentence(inputs.effort, shown, study))
    caption = caption_of(spec, " ".join(filter(None, sentences)), study, inputs, shown)
    return Table(placed(display, tidy, study), tidy, caption)


def _trend_of(spec: Spec, title: str, models: list[str], inputs: AnalysisInputs) -> pd.DataFrame:
    """The correlations of some networks, with the models whose evaluation is not sound."""
    rows = in_cells(on_datasets(inputs.trend(models), spec), spec, inputs)
    assessed = selected(inputs, cells_in(rows), models)
    doubtful = assessed[assessed.verdict != "sound"]
    names = doubtful.groupby(CELL, observed=True, sort=False).model.agg(
        lambda found: ", ".join(dict.fromkeys(found))
    )
    keys = rows[CELL].itertuples(index=False, name=None)
    return rows.assign(networks=title, unsound=[names.get(key, "") for key in keys])


def _power_sentence(tidy: pd.DataFrame) -> str:
    """Whether so few networks could show anything at all."""
    tests = int(tidy.holm_p.notna().sum())
    if not tests:
        return ""
    least = tidy.smallest_p[tidy.holm_p.notna()].min()
    if least * tests <= ALPHA:
        return ""
    return (
        f"With {tests} rows and a least p of {p_text(least)}, no row of this table can reach a "
        "verdict. A verdict needs more networks."
    )


def _unsound_sentence(tidy: pd.DataFrame, study: Study, inputs: AnalysisInputs) -> str:
    """Which rows have no verdict because of an evaluation."""
    found = tidy[tidy.unsound != ""]
    parts = [
        f"{title}: " + ", ".join(title_of(study, "models", model) for model in unsound.split(", "))
        for title, unsound in zip(attack_titles(found, study, inputs), found.unsound, strict=True)
    ]
    return f"Without a sound evaluation: {'; '.join(dict.fromkeys(parts))}." if parts else ""


def _shown_models(tidy: pd.DataFrame, models: list[str], inputs: AnalysisInputs) -> pd.DataFrame:
    """The accuracies that the correlations were computed from."""
    keys = tidy[CELL].drop_duplicates()
    return inputs.accuracy[inputs.accuracy.model.isin(models)].merge(keys, on=CELL)
