"""The same models under several ways to split the same images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import pandas as pd

from assay.analysis import laboratory
from assay.analysis.attack_set import COLUMNS, attack_sets
from assay.analysis.effort import effort_sentence
from assay.analysis.inputs import AnalysisInputs
from assay.analysis.laboratory import FEWEST_COMMON, NEWCOMBE
from assay.analysis.titles import title_of
from assay.foundation.keys import ABSENT, Key
from assay.report.spec import Cells, Datasets, Models, Schemes, TableSpec
from assay.report.tables.cells import keys_in
from assay.report.tables.parts import (
    INTERVAL,
    NOT_RUN,
    Study,
    Table,
    accuracy_text,
    caption_of,
    cell_title,
    cells_of,
    models_of,
    on_datasets,
    p_text,
    selected,
)
from assay.report.tables.words import interval_text, verdict_sentence


@dataclass(frozen=True, kw_only=True)
class Spec(TableSpec):
    """The same models under several ways to split."""

    cells: Cells
    schemes: Annotated[Schemes, Key(least=2)]
    datasets: Datasets = ABSENT
    models: Models = ABSENT


def draw(spec: Spec, study: Study, inputs: AnalysisInputs) -> Table:
    """Accuracy of the same models under several ways to split the same images, with differences."""
    cells, models = cells_of(spec.cells, inputs), models_of(spec, inputs)
    schemes = list(spec.schemes)
    shown = on_datasets(selected(inputs, cells, models, "accuracy"), spec)
    shown = shown[shown.scheme.isin(schemes)].reset_index(drop=True)
    tests = laboratory.scheme_differences(
        inputs.paired, inputs.train_sizes, schemes=schemes, models=models, cells=cells,
        leaks=inputs.leaks if len(inputs.leaks) else None,
    )  # fmt: skip
    tests = on_datasets(tests, spec)
    known = _by_scheme(tests)
    found = _by_scheme(shown.sort_values("n", kind="stable"))
    met = {key[:4] for key in found}
    titles = _short_titles(study, schemes)
    display = []
    for dataset in dict.fromkeys(shown.dataset):
        for model in models:
            for cell in cells:
                key = (dataset, model, *cell)
                if key not in met:
                    continue
                line = {
                    **({"Data set": title_of(study, "datasets", dataset)}
                       if shown.dataset.nunique() > 1 else {}),
                    "Model": title_of(study, "models", model),
                    "Attack": cell_title(study, inputs, *cell),
                }  # fmt: skip
                line |= {titles[name]: _cell(found.get((*key, name))) for name in schemes}
                for name in schemes[1:]:
                    head = f"{titles[schemes[0]]} − {titles[name].lower()}"
                    line |= _difference_cells(known.get((*key, name)), head)
                display.append(line)
    # A test stands for its attack in whichever suites.
    tidy = shown.assign(under=attack_sets(shown)).merge(
        tests.assign(under=attack_sets(tests)).drop(
            columns=[*COLUMNS, "n", "splits", "baseline_n"]
        ),
        on=["dataset", "scheme", "model", "under", "epsilon"], how="left",
        suffixes=("", "_of_difference"),
    ).drop(columns="under")  # fmt: skip
    legend = " ".join(filter(None, _schemes_legend(schemes, shown, tests, study, inputs)))
    return Table(
        pd.DataFrame(display or {"Model": []}), tidy,
        caption_of(spec, legend, study, inputs, shown),
    )  # fmt: skip


def _by_scheme(rows: pd.DataFrame) -> dict[tuple, Any]:
    """The last row of each data set, model, attack set, epsilon and scheme."""
    return {
        (dataset, model, *cell, scheme): row
        for (dataset, scheme, model, *cell), row in zip(
            keys_in(rows), rows.itertuples(), strict=True
        )
    }


def _cell(row: Any) -> str:
    if row is None:
        return NOT_RUN
    splits = f"{row.splits} split{'s' if row.splits != 1 else ''}"
    return f"{accuracy_text(row)} (n = {row.n:,}, {splits})"


def _difference_cells(row: Any, head: str) -> dict[str, str]:
    """The difference of two schemes with its test, and that on the images that both tested."""
    if row is None:
        return {head: "–", f"{head}, same images": "–"}
    common = f"too few (n = {row.common_n:,})"
    if not pd.isna(row.common_difference):
        interval = interval_text(row.common_low, row.common_high)
        common = f"{row.common_difference:+.3f}{interval} (n = {row.common_n:,})"
    return {
        head: f"{row.difference:+.3f}{interval_text(row.low, row.high)}, p {p_text(row.holm_p)}",
        f"{head}, same images": common,
    }


def _schemes_legend(
    schemes: list[str],
    shown: pd.DataFrame,
    tests: pd.DataFrame,
    study: Study,
    inputs: AnalysisInputs,
) -> list[str]:
    titles = _short_titles(study, schemes)
    named = [f"{titles[name]}: {_kept_together(study, name)}." for name in schemes]
    sentences = [
        f"Mean ± standard deviation over splits. Brackets: {INTERVAL}, n and the number of "
        f"splits. {' '.join(named)} A difference is the accuracy with the first split scheme minus "
        "that with another. It is positive where the first scheme gives the higher accuracy.",
        "Two schemes have different networks and different test images. If both have two or more "
        "splits, the test is Welch's t-test of the mean accuracies over splits, with Nadeau and "
        "Bengio's variance.",
    ]
    if len(tests) and (tests.method == NEWCOMBE).any():
        sentences.append(
            "If a scheme has a single split, the interval is Newcombe's for the test images. It "
            "does not cover the differences between networks."
        )
    sentences.append(
        "p: after Holm's correction over the differences of this table. Same images: the test "
        "images that both schemes have, each compared with itself. Fewer than "
        f"{FEWEST_COMMON} are too few."
    )
    sentences.append(
        verdict_sentence(tests, "leakage inflates accuracy", "difference between schemes")
    )
    sentences.append(effort_sentence(inputs.effort, shown, study))
    return sentences


def _short_titles(study: Study, schemes: list[str]) -> dict[str, str]:
    """Headings of the ways to split, by what they keep together; ids where two do the same."""
    short = {
        name: {
            "none": "By image",
            "duplicate": "Copies together",
            "patient": "Patients together",
            "patient_safe": "Persons together",
        }.get(_group_of(study, name), name)
        for name in schemes
    }
    return short if len(set(short.values())) == len(short) else {name: name for name in schemes}


def _group_of(study: Study, scheme: str) -> str:
    return study.splits.get(scheme, {}).get("group") or ""


def _kept_together(study: Study, scheme: str) -> str:
    """What a way to split keeps on one side, from its entry: titles also promise numbers."""
    return {
        "none": "split by image; copies and patients may be on both sides",
        "duplicate": "identical images on one side",
        "patient": "patients, and identical images, on one side",
        "patient_safe": "patients by the coarser reading, and identical images, on one side",
    }.get(_group_of(study, scheme), title_of(study, "splits", scheme))
