"""The tables of a study: those that its file names, and those that every study has.

A table is made twice from the same rows: for eyes (strings, few columns) and for machines (tidy,
full precision). The second is what the CSV file holds; Markdown and LaTeX hold the first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from assay.analysis.attack_set import attack_sets
from assay.analysis.inputs import AnalysisInputs
from assay.report.kinds import kind_of
from assay.report.tables.analyses import (
    between_splits_table,
    checks_table,
    cochran_table,
    ledger_table,
    resampled_t_table,
)
from assay.report.tables.headline import headline_table
from assay.report.tables.kinds import accuracy, cost, ranking, significance
from assay.report.tables.parts import Spec, Study, Table


def build_table(spec: Spec, study: Study, inputs: AnalysisInputs) -> Table:
    """The table of a study's entry.

    Args:
        spec: the entry of the study file; its ``kind`` is a file of `assay.report.tables.kinds`.
        study: the study as the plan gives it.
        inputs: the run.

    Raises:
        ConfigError: the kind is unknown.
    """
    return kind_of("tables", spec).draw(spec, study, inputs)


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
        every = list(dict.fromkeys(attack_sets(inputs.accuracy)))
        spec = {"caption": "Accuracy under every attack and budget.", "cells": every}
    return replace(ANALYSES[name](spec, study, inputs), tidy=getattr(inputs, name))


# The tables that every study has beside those of its file.
ANALYSES: dict[str, Callable[[Spec, Study, AnalysisInputs], Table]] = {
    "accuracy": accuracy.draw,
    "mcnemar": significance.draw,
    "between_splits": between_splits_table,
    "ranking": ranking.draw,
    "cochran": cochran_table,
    "resampled_t": resampled_t_table,
    "costs": cost.draw,
    "ledger": ledger_table,
    "checks": checks_table,
    "headline": headline_table,
}
