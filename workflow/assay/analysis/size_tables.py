"""Tables about how large networks are, and about how images were split."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from assay.analysis.inputs import AnalysisInputs
from assay.analysis.rows import PLACE
from assay.analysis.statistics import ALPHA, POOLED
from assay.analysis.style import title_of
from assay.analysis.table_cells import bold_words
from assay.analysis.table_parts import (
    INTERVAL,
    Spec,
    Study,
    Table,
    accuracy_text,
    attack_titles,
    caption_of,
    cell_title,
    cells_of,
    filled,
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

_SIZE_TITLES = {"depth": "Depth", "parameters": "Parameters", "flops": "FLOPs"}


def complexity_table(spec: Spec, study: Study, inputs: AnalysisInputs) -> Table:
    """How large the networks are, by every measure, beside their accuracy."""
    cells, models = cells_of(spec["cells"], inputs), models_of(spec, inputs)
    tidy = on_datasets(selected(inputs, cells, models, "accuracy"), spec)
    for name in _SIZE_TITLES:
        keys = zip(tidy.dataset, tidy.model, strict=True)
        tidy[name] = [inputs.sizes[name].get(key, np.nan) for key in keys]
    lines = [
        (
            {
                **place_columns(place, tidy, study),
                "Model": title_of(study, "models", model),
                **{
                    title: _ranked(inputs.sizes[name], place[0], model, models)
                    for name, title in _SIZE_TITLES.items()
                },
            },
            {cell_title(study, inputs, *cell): (*place, model, *cell) for cell in cells},
        )
        for place, model in met_at_places(tidy, models)
    ]
    display, bold = filled(lines, tidy, accuracy_text)
    legend = (
        "In brackets behind a size its rank, 1 the smallest. Depth: weighted layers between image "
        "and logits; FLOPs: multiplications and additions of a decision on one image. Mean ± "
        f"standard deviation over splits; in brackets {INTERVAL}. "
        + bold_words(
            tidy, margin_of(inputs), lambda *cell: cell_title(study, inputs, *cell), "accuracy"
        )
    )
    return Table(display, tidy, caption_of(spec, legend, study, inputs, tidy), bold)


def _ranked(
    sizes: Mapping[tuple[str, str], float], dataset: str, model: str, models: list[str]
) -> str:
    """A model's size and its rank among all."""
    order = sorted({sizes[dataset, name] for name in models if (dataset, name) in sizes})
    size = sizes.get((dataset, model))
    return "–" if size is None else f"{size:,.0f} ({order.index(size) + 1})"


def trend_table(spec: Spec, study: Study, inputs: AnalysisInputs) -> Table:
    """Whether accuracy rises or falls with the size of a network."""
    tidy = on_datasets(inputs.trend(models_of(spec, inputs)), spec)
    tidy = in_cells(tidy, spec, inputs)
    display = pd.DataFrame({
        "Attack": attack_titles(tidy, study, inputs),
        "Size by": tidy.measure.map(_SIZE_TITLES),
        "Networks": tidy.models.astype(str),
        "Splits": tidy.splits.astype(str),
        "Rank correlation": [
            f"{row.correlation:+.2f}"
            + ("" if pd.isna(row.low) else f" [{row.low:+.2f}, {row.high:+.2f}]")
            for row in tidy.itertuples()
        ],
        "p": tidy.p.map(p_text),
        "Least p": tidy.smallest_p.map(p_text),
        "Smaller is better": [
            "yes" if row.p <= ALPHA and row.correlation < 0
            else "no, larger is" if row.p <= ALPHA
            else "not shown"
            for row in tidy.itertuples()
        ],
    })  # fmt: skip
    legend = (
        "Spearman's rank correlation of size and accuracy within a split, averaged over splits; in "
        "brackets its 95 % interval with Nadeau and Bengio's variance. p: permutation test that "
        "deals the sizes out to the networks anew; least p: the smallest that so few networks "
        "allow. Not corrected for multiplicity."
    )
    return Table(
        placed(display, tidy, study), tidy, caption_of(spec, legend, study, inputs, tidy.assign(
            n=int(inputs.accuracy.n.max()))),
    )  # fmt: skip


def selection_table(spec: Spec, study: Study, inputs: AnalysisInputs) -> Table:
    """Among the models that are not significantly worse unperturbed: most robust and smallest."""
    cells, models = cells_of(spec["cells"], inputs), models_of(spec, inputs)
    clean = inputs.accuracy[inputs.accuracy.attack == "clean"]
    clean = on_datasets(clean[clean.model.isin(models)], spec)
    clean = clean.drop_duplicates([*PLACE, "model"])
    robust = on_datasets(selected(inputs, cells, models), spec)
    rows = []
    for place in places_of(clean):
        own = _at(clean, place).set_index("model").pooled
        best = own.idxmax()
        beaten = _beaten(best, place, inputs)
        left = [model for model in models if model in own.index and model not in beaten]
        sizes = {model: inputs.sizes["parameters"].get((place[0], model)) for model in left}
        known = [model for model in left if sizes[model] is not None]
        smallest = min(known, key=sizes.get, default=None)
        for cell in cells:
            found = _at(robust, place)
            found = found[(found.attack == cell[0]) & (found.epsilon == cell[1])]
            found = found.set_index("model")
            there = [model for model in left if model in found.index]
            if not there:
                continue
            strongest = found.pooled[there].idxmax()
            rows.append(
                {
                    **dict(zip(PLACE, place, strict=True)),
                    "attack": cell[0],
                    "epsilon": cell[1],
                    "clean_best": best,
                    "candidates": ", ".join(there),
                    "most_robust": strongest,
                    "most_robust_clean": own[strongest],
                    "most_robust_accuracy": found.pooled[strongest],
                    "smallest": smallest,
                    "smallest_clean": own.get(smallest, np.nan),
                    "smallest_accuracy": found.pooled.get(smallest, np.nan),
                    "n": int(found.n.max()),
                    "splits": int(found.splits.max()),
                }
            )
    tidy = pd.DataFrame(rows)

    def named(prefix: str) -> list[str]:
        return [
            "–" if row[prefix] is None
            else f"{title_of(study, 'models', row[prefix])} ({row[f'{prefix}_clean']:.3f}, "
            f"{row[f'{prefix}_accuracy']:.3f})"
            for row in rows
        ]  # fmt: skip

    display = pd.DataFrame({
        "Attack": attack_titles(tidy, study, inputs) if rows else [],
        "Not significantly worse unperturbed": [
            ", ".join(title_of(study, "models", model) for model in row["candidates"].split(", "))
            for row in rows
        ],
        "Most robust of them": named("most_robust"),
        "Smallest of them": named("smallest"),
    })  # fmt: skip
    legend = (
        "Candidates: models whose accuracy on unperturbed images is not significantly below the "
        "best one's (McNemar; where splits share test images, the corrected resampled t-test; "
        "Holm). In brackets accuracy unperturbed and under the attack. Smallest: by parameters."
    )
    display = placed(display, tidy, study) if rows else display
    return Table(display, tidy, caption_of(spec, legend, study, inputs, tidy))


def schemes_table(spec: Spec, study: Study, inputs: AnalysisInputs) -> Table:
    """Accuracy of the same models under several ways to split the same images, side by side."""
    cells, models = cells_of(spec["cells"], inputs), models_of(spec, inputs)
    tidy = on_datasets(selected(inputs, cells, models), spec)
    tidy = tidy[tidy.scheme.isin(spec["schemes"])].reset_index(drop=True)
    lines = [
        (
            {
                **({"Data set": title_of(study, "datasets", dataset)} if several else {}),
                "Model": title_of(study, "models", model),
                "Attack": cell_title(study, inputs, *cell),
            },
            {scheme: (dataset, scheme, model, *cell) for scheme in spec["schemes"]},
        )
        for several in [tidy.dataset.nunique() > 1]
        for dataset in dict.fromkeys(tidy.dataset)
        for model in models
        for cell in cells
    ]
    display, _ = filled(lines, tidy, accuracy_text)
    named = [f"{scheme}: {title_of(study, 'splits', scheme)}." for scheme in spec["schemes"]]
    legend = f"Mean ± standard deviation over splits; in brackets {INTERVAL}. {' '.join(named)}"
    return Table(display, tidy, caption_of(spec, legend, study, inputs, tidy))


def _beaten(best: str, place: tuple[str, str], inputs: AnalysisInputs) -> set[str]:
    """The models whose accuracy on unperturbed images differs significantly from the best one's."""
    tests = _at(inputs.mcnemar, place)
    if (tests["split"] != POOLED).any():
        tests = _at(inputs.resampled_t, place)
    return {
        row.model_b if row.model_a == best else row.model_a
        for row in tests[(tests.attack == "clean") & tests.significant].itertuples()
        if best in (row.model_a, row.model_b)
    }


def _at(rows: pd.DataFrame, place: tuple[str, str]) -> pd.DataFrame:
    return rows[(rows.dataset == place[0]) & (rows.scheme == place[1])]
