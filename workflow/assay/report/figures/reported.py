"""Printed numbers in figures: which of them stand beside which run, and what is said of them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from assay.analysis.attack_set import AttackSet
from assay.analysis.inputs import AnalysisInputs
from assay.analysis.printed import attack_of, id_of, model_of
from assay.analysis.titles import title_of
from assay.report.figures.parts import Study
from assay.report.spec import HasReported
from assay.report.tables.cells import CLEAN
from assay.report.text import listed


def in_file(rows: pd.DataFrame, spec: HasReported) -> pd.DataFrame:
    """The rows of the file of printed numbers that the figure's entry names; none without one."""
    wanted = re.sub(r"\.csv$", "", spec.reported or "")
    files = rows["file"].astype(str).map(lambda name: Path(name).stem)
    return rows[files == wanted]


def compared(study: Study, scheme: str) -> bool:
    """Whether printed numbers are compared with what was run with this split scheme."""
    return study.reported.splits in (None, scheme)


def printed_accuracy(
    spec: HasReported,
    study: Study,
    inputs: AnalysisInputs,
    place: tuple[str, str],
    attacks: AttackSet,
) -> pd.DataFrame:
    """The printed accuracies of one attack: of itself, never of one that only resembles it.

    Args:
        spec: the figure's entry; its ``reported`` names the file.
        study: the study as the plan gives it.
        inputs: the run; the ledger holds the printed numbers with their verdicts.
        place: data set and split scheme of the panel.
        attacks: the panel's attack, or those of its worst case.

    Returns:
        Rows of the ledger with the columns ``ours`` (the model's id here) and ``epsilon`` (0 for
        the unperturbed image), of models with at least one attacked accuracy.
    """
    dataset, scheme = place
    rows = in_file(inputs.ledger, spec)
    rows = rows[(rows["metric"] == "accuracy") & (rows["attacked"] != "unknown")]
    if rows.empty or not compared(study, scheme):
        return rows.assign(ours=pd.Series(dtype=object)).iloc[:0]
    datasets = rows["dataset"].map(lambda word: id_of(study, "datasets", word))
    under = pd.Series([attack_of(study, row) for row in rows.itertuples()], rows.index, object)
    here = (datasets == dataset) & under.isin([CLEAN, attacks])
    models = pd.Series([model_of(study, row) for row in rows.itertuples()], rows.index, object)
    rows = rows[here].assign(ours=models[here], epsilon=rows["epsilon"].fillna(0.0))
    attacked = set(rows["ours"][(under == attacks)[here]])
    return rows[rows["ours"].isin(attacked)].sort_values(["ours", "epsilon"])


def substituted(study: Study, kind: str, ours: str) -> list[str]:
    """The paper's words (or titles) of what an id here substitutes for; empty if for nothing."""
    words = study.reported.words(kind)
    found = []
    for theirs, substitute in study.substitutes.get(kind, {}).items():
        if substitute == ours:
            printed = [word for word, name in words.items() if name == theirs]
            found += printed or [title_of(study, kind, theirs)]
    return list(dict.fromkeys(found))


def substitutes_in_words(study: Study, datasets: Iterable[str], models: Iterable[str]) -> list[str]:
    """A sentence for each data set and network shown that substitutes for the paper's."""
    return [
        f"{title_of(study, kind, ours)} substitutes for {listed(theirs)}."
        for kind, names in (("datasets", datasets), ("models", models))
        for ours in dict.fromkeys(names)
        if (theirs := substituted(study, kind, ours))
    ]
