"""The tables of a study: those that its file names, and those that every study has.

A table is made twice from the same rows: for eyes (strings, few columns) and for machines (tidy,
full precision). The second is what the CSV file holds; Markdown and LaTeX hold the first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from assay.analysis.attack_set import attack_sets
from assay.analysis.inputs import AnalysisInputs
from assay.report.kinds import kind_of
from assay.report.spec import TableSpec, spec_of
from assay.report.tables.analyses import (
    between_splits_table,
    checks_table,
    cochran_table,
    ledger_table,
    resampled_t_table,
)
from assay.report.tables.headline import Headline, headline_table
from assay.report.tables.kinds import accuracy, cost, ranking, significance
from assay.report.tables.parts import Study, Table


def build_table(spec: Mapping[str, Any], study: Study, inputs: AnalysisInputs) -> Table:
    """The table of a study's entry.

    Args:
        spec: the entry of the study file; its ``kind`` is a file of `assay.report.tables.kinds`.
        study: the study as the plan gives it.
        inputs: the run.

    Raises:
        ConfigError: the kind is unknown.
    """
    kind = kind_of("tables", spec)
    return kind.draw(spec_of(kind.Spec, spec), study, inputs)


def analysis_table(name: str, study: Study, inputs: AnalysisInputs) -> Table:
    """A table that every study has, whatever its file says.

    Args:
        name: a key of :data:`ANALYSES`, also the member of `inputs` that is its tidy form;
            ``headline`` has a tidy form of its own.
        study: the study as the plan gives it.
        inputs: the run.
    """
    if name == "headline":
        return headline_table(spec_of(Headline, study.headline.to_spec()), study, inputs)
    written: dict[str, Any] = {}
    if name == "accuracy":
        every = list(dict.fromkeys(attack_sets(inputs.accuracy)))
        written = {"caption": "Accuracy under every attack and budget.", "cells": every}
    spec, draw = ANALYSES[name]
    return replace(draw(spec_of(spec, written), study, inputs), tidy=getattr(inputs, name))


# The tables that every study has beside those of its file: what they are of, and what draws them.
ANALYSES: dict[str, tuple[type, Callable[[Any, Study, AnalysisInputs], Table]]] = {
    "accuracy": (accuracy.Spec, accuracy.draw),
    "mcnemar": (significance.Spec, significance.draw),
    "between_splits": (TableSpec, between_splits_table),
    "ranking": (ranking.Spec, ranking.draw),
    "cochran": (TableSpec, cochran_table),
    "resampled_t": (TableSpec, resampled_t_table),
    "costs": (cost.Spec, cost.draw),
    "ledger": (TableSpec, ledger_table),
    "checks": (TableSpec, checks_table),
    "headline": (Headline, headline_table),
}
