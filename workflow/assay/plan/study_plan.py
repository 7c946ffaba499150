"""What one study needs at the chosen scale."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from assay.data.kinds import reader_of
from assay.data.splits import split_count
from assay.foundation.errors import ConfigError
from assay.foundation.outline import is_set
from assay.foundation.split import Split
from assay.plan.cells import Cell, Measured, Training, unique
from assay.plan.check_entries import check_code, check_fit, check_names, check_single_steps
from assay.plan.check_study import check_cells, check_needs, check_references
from assay.plan.configuration import Configuration
from assay.plan.exclusions import names_in, without_excluded
from assay.plan.measurements import check_measurements, measured_networks
from assay.plan.validation import Nested


@dataclass(frozen=True)
class StudyPlan:
    """What one study needs at the chosen scale.

    Attributes:
        name: the study's id.
        study: the study file with substitutes put in.
        cells: its attack jobs.
        measurements: what is measured beside attacks, per network.
    """

    name: str
    study: Nested
    cells: tuple[Cell, ...]
    measurements: tuple[Measured, ...] = ()

    @property
    def tables(self) -> tuple[str, ...]:
        return tuple(self.study["tables"])

    @property
    def figures(self) -> tuple[str, ...]:
        return tuple(self.study["figures"])

    @property
    def models(self) -> tuple[Training, ...]:
        """The models that are attacked, one per split."""
        return unique(cell.network for cell in self.cells)

    @property
    def splits(self) -> tuple[tuple[str, str], ...]:
        return unique((cell.dataset, cell.split) for cell in self.cells)


def plan_study(name: str, written: Nested, configuration: Configuration) -> StudyPlan:
    where = configuration.study_file(name)
    check_names(written, configuration, where)
    check_cells(written, where)
    substitutes = configuration.scale["substitutes"]
    for kind in ("datasets", "models", "splits"):
        for original, substitute in substitutes[kind].items():
            place = f"{configuration.scale_file()}: substitutes.{kind}"
            configuration.entry(kind, original, place)
            configuration.entry(kind, substitute, place)
    study = without_excluded(written, configuration)
    named = {name for block in study["grid"] for name in names_in(block)}
    substitutes = {
        kind: {name: other for name, other in pairs.items() if name in named}
        for kind, pairs in substitutes.items()
    }
    study = put_in(study, dict(pair for pairs in substitutes.values() for pair in pairs.items()))
    study["substitutes"] = substitutes
    cells = []
    for block in study["grid"]:
        for dataset in block["datasets"]:
            for split in _splits(block["splits"], dataset, configuration, where):
                cells += [
                    Cell(dataset, split, model, suite)
                    for model in block["models"]
                    for suite in block["suites"]
                ]
    cells = unique(cells)
    check_code(cells, configuration)
    check_fit(cells, configuration, where)
    check_single_steps(configuration)
    at = partial(configuration.in_study, name)
    check_measurements(study, configuration, at)
    check_references(study, cells, configuration, at)
    check_needs(study, cells, configuration, at)
    return StudyPlan(name, study, cells, measured_networks(study, cells, configuration))


def _splits(scheme_name: str, dataset: str, configuration: Configuration, where: str) -> list[str]:
    scheme = configuration.entry("splits", scheme_name, f"{where}: grid.splits")
    entry = configuration.catalogue["datasets"][dataset]
    if scheme["kind"] == "official" and not _has_official_subsets(dataset, entry):
        raise ConfigError(
            f"data set '{dataset}' has no official split",
            where=f"{where}: grid.splits",
            remedy="use kfold or random",
        )
    patient = entry["patient"] or {}
    known = {"patient": patient.get("id"), "patient_safe": patient.get("safe")}
    if not known.get(str(scheme.get("group")), True):
        raise ConfigError(
            f"data set '{dataset}' has no patient ids, so '{scheme_name}' cannot group by patient",
            where=f"{where}: grid.splits",
            remedy="use a scheme with 'group: duplicate', or give the data set a patient rule",
        )
    count = split_count(scheme)
    limit = configuration.scale["splits"]
    return [str(Split(scheme_name, index)) for index in range(min(count, limit or count))]


def _has_official_subsets(dataset: str, entry: Nested) -> bool:
    """Whether the reader of a data set knows the publisher's subsets: always, or by a pattern."""
    module = reader_of(entry["kind"], dataset).partition(":")[0]
    pattern = str(entry["settings"].get("pattern"))
    return is_set(module, "HAS_OFFICIAL_SUBSETS") or "(?P<split>" in pattern


def put_in(value: Any, substitutes: Mapping[str, str]) -> Any:
    """`value` with substitutes in place of the names they stand for; lists keep no repeats."""
    if isinstance(value, Mapping):
        return {key: put_in(part, substitutes) for key, part in value.items()}
    if isinstance(value, list):
        parts = [put_in(part, substitutes) for part in value]
        names = all(isinstance(part, str) for part in parts)
        return list(dict.fromkeys(parts)) if names else parts
    return substitutes.get(value, value) if isinstance(value, str) else value
