"""Tables about leakage: what the parts of a split share, and by how much that flatters accuracy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from assay.analysis import laboratory
from assay.analysis.attack_set import COLUMNS, attack_sets
from assay.analysis.effort import effort_sentence
from assay.analysis.inputs import AnalysisInputs
from assay.analysis.laboratory import FEWEST_COMMON, NEWCOMBE
from assay.analysis.statistics import ALPHA
from assay.analysis.titles import title_of
from assay.foundation.errors import ConfigError
from assay.report.tables.cells import keys_in
from assay.report.tables.parts import (
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
    formatted,
    models_of,
    on_datasets,
    p_text,
    placed,
    selected,
)

_MEASURES = {"images": "images", "duplicates": "identical pixels", "patients": "patients"}
_SHARED = {"duplicate": "identical pixels", "patient": "patient"}
_SAFE = "patients, safe reading"


def leakage_table(spec: Spec, study: Study, inputs: AnalysisInputs) -> Table:
    """What test images share with training images, per split; classes only in the tidy form."""
    tidy = inputs.leakage
    whole = tidy[tidy["class"] == "all"]
    unknown = "unknown"
    display = pd.DataFrame({
        "Data set": [title_of(study, "datasets", name) for name in whole.dataset],
        "Split": whole["split"],
        "What": [
            _safe_title(study, dataset) if measure == "patients_safe" else _MEASURES[measure]
            for dataset, measure in zip(whole.dataset, whole.measure, strict=True)
        ],
        "Subsets": whole.subsets,
        "Groups": whole.groups.map(formatted("{:,.0f}", unknown)),
        "Images": whole.images.map(formatted("{:,.0f}", unknown)),
        "Share": whole.share.map(formatted("{:.3%}", unknown)),
    }).reset_index(drop=True)  # fmt: skip
    sentences = [
        "Images that two subsets of a split (column Parts) share, by identical pixels or by "
        "patient. Share: their percentage of the images of the second subset. Unknown: the data "
        "set has no patient ids.",
        _reading_sentence(study, whole.dataset[whole.measure == "patients_safe"]),
    ]
    legend = " ".join(filter(None, sentences))
    return Table(display, tidy, caption_of(spec, legend, study, inputs, whole))


def _safe_title(study: Study, dataset: str) -> str:
    """How readers know the reading of patients that never parts a person."""
    patient = study.get("datasets", {}).get(dataset, {}).get("patient") or {}
    return (patient.get("safe") or {}).get("title", _SAFE)


def _reading_sentence(study: Study, datasets: pd.Series) -> str:
    """What the two readings of patients are, of the data sets that have both."""
    titles = list(dict.fromkeys(_safe_title(study, name) for name in datasets))
    if not titles:
        return ""
    return (
        "Patients: identified by the file names of the images. This may count one person as two "
        f"patients. {' / '.join(title[0].upper() + title[1:] for title in titles)}: a coarser "
        "identification. It never counts one person as two, but may count two persons as one."
    )


def schemes_table(spec: Spec, study: Study, inputs: AnalysisInputs) -> Table:
    """Accuracy of the same models under several ways to split the same images, with differences."""
    cells, models = cells_of(spec["cells"], inputs), models_of(spec, inputs)
    schemes = list(spec["schemes"])
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
        interval = _interval(row.common_low, row.common_high)
        common = f"{row.common_difference:+.3f}{interval} (n = {row.common_n:,})"
    return {
        head: f"{row.difference:+.3f}{_interval(row.low, row.high)}, p {p_text(row.holm_p)}",
        f"{head}, same images": common,
    }


def _interval(low: float, high: float) -> str:
    return "" if pd.isna(low) else f" [{low:+.3f}, {high:+.3f}]"


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
        _verdict_sentence(tests, "leakage inflates accuracy", "difference between schemes")
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


def _group_of(study: Study, scheme: str) -> str | None:
    return study.get("splits", {}).get(scheme, {}).get("group")


def _kept_together(study: Study, scheme: str) -> str:
    """What a way to split keeps on one side, from its entry: titles also promise numbers."""
    return {
        "none": "split by image; copies and patients may be on both sides",
        "duplicate": "identical images on one side",
        "patient": "patients, and identical images, on one side",
        "patient_safe": "patients by the coarser reading, and identical images, on one side",
    }.get(_group_of(study, scheme), title_of(study, "splits", scheme))


def _verdict_sentence(tests: pd.DataFrame, claim: str, what: str) -> str:
    """How many of the tests show that leaked or leaky is better, worse, or neither."""
    known = tests[tests.holm_p.notna()] if len(tests) else tests
    if known.empty:
        return ""
    shown = (known.holm_p <= ALPHA) & ~((known.low <= 0) & (known.high >= 0))
    up, down = (
        int((shown & (known.difference > 0)).sum()),
        int((shown & (known.difference < 0)).sum()),
    )
    total = len(known)
    sentences = f"Of {total} tests of a {what}, {up} show{'s' if up == 1 else ''} that {claim}"
    sentences += f", {down} show{'s' if down == 1 else ''} the opposite" if down else ""
    rest = total - up - down
    return (
        f"{sentences}; {rest} {'is' if rest == 1 else 'are'} inconclusive."
        if rest
        else f"{sentences}."
    )


def leaked_table(spec: Spec, study: Study, inputs: AnalysisInputs) -> Table:
    """Leaked against unleaked test images of the same split: a comparison without training."""
    cells, models = cells_of(spec["cells"], inputs), models_of(spec, inputs)
    if inputs.leaks.empty:
        raise ConfigError(
            "no split file lists the leaked test images",
            where=f"table '{spec.get('title', spec.get('kind'))}' of the study",
            remedy="run the rule make_split again; it writes {split}.leaks.parquet",
        )
    tidy = laboratory.leaked_differences(
        inputs.paired, inputs.leaks, inputs.train_sizes, schemes=list(spec["schemes"]),
        models=models, cells=cells,
    )  # fmt: skip
    tidy = on_datasets(tidy, spec)
    order = {model: place for place, model in enumerate(models)}
    tidy = tidy.sort_values(
        ["dataset", "scheme", "model"], kind="stable", ignore_index=True,
        key=lambda column: column.map(order) if column.name == "model" else column,
    )  # fmt: skip
    learnt = _learnt(tidy, inputs)
    display = pd.DataFrame({
        "Model": [title_of(study, "models", model) for model in tidy.model],
        "Attack": attack_titles(tidy, study, inputs),
        "Shared with training": [
            _safe_title(study, dataset) if name == "patient_safe" else _SHARED[name]
            for dataset, name in zip(tidy.dataset, tidy.shared, strict=True)
        ],
        "Leaked": _side(tidy, "leaked"),
        "Not leaked": _side(tidy, "unleaked"),
        "Difference": [
            f"{row.difference:+.3f}{_interval(row.low, row.high)}" for row in tidy.itertuples()
        ],
        "p": tidy.p.map(p_text),
        "Holm p": tidy.holm_p.map(p_text),
        "Splits": tidy.splits.astype(str),
    })  # fmt: skip
    sentences = [
        "Within one split, the same network classifies leaked and unleaked test images. A leaked "
        "image shares identical pixels or its patient with a training image (column Shared with "
        "training). Accuracies are compared within each class and split and then averaged with "
        "Mantel and Haenszel's weights. Classes and splits that have only one kind are excluded.",
        "Brackets after the difference hold Newcombe's 95 % interval; p is from the same interval. "
        "The interval allows for the correlation between images of one person. It is wider where "
        "the difference varies between splits by more than chance. Holm p: Holm's correction over "
        "this table.",
        "Patients with many images leak more often. A difference between patients with many and "
        "with few images would look the same as an effect of leakage.",
        _reading_sentence(study, tidy.dataset[tidy.shared == "patient_safe"]),
        learnt,
        _verdict_sentence(tidy, "leaked images are easier", "difference within splits"),
    ]
    legend = " ".join(filter(None, sentences))
    rows = tidy.assign(n=tidy.n_leaked + tidy.n_unleaked)
    return Table(placed(display, tidy, study), tidy, caption_of(spec, legend, study, inputs, rows))


def _side(tidy: pd.DataFrame, side: str) -> list[str]:
    values = zip(tidy[f"accuracy_{side}"], tidy[f"n_{side}"], strict=True)
    return [f"{accuracy:.3f} (n = {n:,})" for accuracy, n in values]


def _learnt(tidy: pd.DataFrame, inputs: AnalysisInputs) -> str:
    """How much of the training part the networks learned from, where it is not all of it."""
    units = tidy[["dataset", "scheme", "model"]].drop_duplicates()
    means = inputs.effort.merge(units, on=["dataset", "scheme", "model"])
    parts = [
        inputs.subsets.get((row.dataset, row.split, "train"), np.nan) for row in means.itertuples()
    ]
    shares = (means.images / pd.Series(parts, index=means.index, dtype=float)).dropna()
    if shares.empty or (shares > 0.999).all():
        return ""
    ends = list(dict.fromkeys(f"{share:.0%}" for share in (shares.min(), shares.max())))
    return (
        f"The networks were trained on {' to '.join(ends)} of the training subset. Identical "
        "images or patients in the rest of it do not count as leakage."
    )
