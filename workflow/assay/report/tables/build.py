"""Tables: one function per kind, those of a study file and those of every study, in three formats.

A table is made twice from the same rows: for eyes (strings, few columns) and for machines (tidy,
full precision). The second is what the CSV file holds; Markdown and LaTeX hold the first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from assay.analysis.attack_set import attack_sets
from assay.analysis.inputs import AnalysisInputs
from assay.foundation.errors import ConfigError
from assay.report.tables.accuracy_tables import accuracy_table, distances_table, headline_table
from assay.report.tables.leakage_tables import leakage_table, leaked_table, schemes_table
from assay.report.tables.parts import Spec, Study, Table
from assay.report.tables.pointing import pointing_table
from assay.report.tables.record_tables import (
    checks_table,
    cost_table,
    defects_table,
    hyper_parameters_table,
    ledger_table,
)
from assay.report.tables.selection import selection_table
from assay.report.tables.significance_tables import (
    cochran_table,
    ranking_table,
    resampled_t_table,
    significance_table,
)
from assay.report.tables.size_tables import complexity_table, trend_table
from assay.report.tables.split_tables import between_splits_table


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
        every = list(dict.fromkeys(attack_sets(inputs.accuracy)))
        spec = {"caption": "Accuracy under every attack and budget.", "cells": every}
    return replace(ANALYSES[name](spec, study, inputs), tidy=getattr(inputs, name))


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
    "leaked": leaked_table,
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
