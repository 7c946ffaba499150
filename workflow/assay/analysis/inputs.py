"""What tables and figures are made from: the files of a run, read when first asked for."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from assay.analysis import statistics
from assay.analysis.accuracy import accuracy, worst_case
from assay.analysis.checks import checks, verdict
from assay.analysis.ledger import ledger, read_reported
from assay.foundation.files import read_json
from assay.foundation.outcomes import read_outcomes, read_provenance

log = logging.getLogger(__name__)

Tree = Mapping[str, Any]
Key = tuple[str, ...]


@dataclass(frozen=True)
class AnalysisInputs:
    """All that a study's analysis may look at; every member is read or computed once, on demand.

    Outcomes must be there. Any other file that is missing is left out and named in the log.

    Attributes:
        manifest: paths by kind, as the plan lists them.
        study: the study with titles, catalogue entries and stand-ins, as the plan gives it.
    """

    manifest: Tree
    study: Tree = field(default_factory=dict)

    @classmethod
    def from_manifest(cls, manifest: Tree, study: Tree | None = None) -> AnalysisInputs:
        """From the plan's manifest; the study may also stand in it under ``study``."""
        return cls(manifest, manifest.get("study", {}) if study is None else study)

    @property
    def scale(self) -> str:
        """The scale's name."""
        return self.manifest["scale"]

    @property
    def seed(self) -> int:
        """The seed from which every random number of the run derives."""
        return self.manifest["seed"]

    @cached_property
    def outcomes(self) -> pd.DataFrame:
        """All outcome rows of the study.

        Raises:
            OutcomeError: a file is missing or damaged.
        """
        return read_outcomes(item["path"] for item in self.manifest["outcomes"])

    @cached_property
    def worst_case(self) -> pd.DataFrame:
        """The per-sample unions over suites, as outcome rows."""
        return worst_case(self.outcomes)

    @cached_property
    def accuracy(self) -> pd.DataFrame:
        """:func:`assay.analysis.accuracy.accuracy` of the outcomes."""
        return accuracy(self.outcomes)

    @cached_property
    def mcnemar(self) -> pd.DataFrame:
        """:func:`assay.analysis.statistics.mcnemar` of the outcomes and unions over suites."""
        return statistics.mcnemar(self._with_unions())

    @cached_property
    def ranking(self) -> pd.DataFrame:
        """:func:`assay.analysis.statistics.ranking` by the tests of :attr:`mcnemar`."""
        return statistics.ranking(self.mcnemar)

    @cached_property
    def cochran(self) -> pd.DataFrame:
        """:func:`assay.analysis.statistics.cochran_q` of the outcomes."""
        return statistics.cochran_q(self._with_unions())

    @cached_property
    def resampled_t(self) -> pd.DataFrame:
        """:func:`assay.analysis.statistics.resampled_t` with the models' training sizes."""
        sizes = {key[:2]: facts["train_n"] for key, facts in self.facts.items()}
        return statistics.resampled_t(self._with_unions(), sizes)

    @cached_property
    def checks(self) -> pd.DataFrame:
        """:func:`assay.analysis.checks.checks` with the study's thresholds."""
        return checks(self.outcomes, self._rule("checks"))

    @cached_property
    def verdicts(self) -> pd.DataFrame:
        """:func:`assay.analysis.checks.verdict` of the checks."""
        return verdict(self.checks)

    @cached_property
    def ledger(self) -> pd.DataFrame:
        """:func:`assay.analysis.ledger.ledger` of the reported numbers against this run."""
        return ledger(
            self.reported, self.accuracy, self.study, self._rule("ledger"),
            history=self.history, facts=self.facts,
        )  # fmt: skip

    @cached_property
    def history(self) -> dict[Key, pd.DataFrame]:
        """Training histories by (dataset, split, model), every loss per image.

        The files hold what was minimised, which for the recipe ``elbo`` is a sum over a batch.
        """
        histories = {}
        for key, path in self._files("models", "history").items():
            history = pd.read_csv(path)
            recipe = self.facts.get(key, {}).get("training", {})
            if recipe.get("recipe") == "elbo":
                history[["train_loss", "val_loss"]] /= recipe["batch_size"]
            histories[key] = history
        return histories

    @cached_property
    def facts(self) -> dict[Key, dict[str, Any]]:
        """The contents of ``model.json`` by (dataset, split, model)."""
        return {key: read_json(path) for key, path in self._files("models", "facts").items()}

    @cached_property
    def features(self) -> dict[Key, Path]:
        """Paths of latent features by (dataset, split, model)."""
        return self._files("features", "path")

    @cached_property
    def examples(self) -> dict[Key, Path]:
        """Paths of example images by (dataset, split, model, suite)."""
        return self._files("outcomes", "examples", ids=("dataset", "split", "model", "suite"))

    @cached_property
    def durations(self) -> dict[Key, float]:
        """Seconds that each attack job took, where its file says so, by (…, suite)."""
        found = {}
        for item in self.manifest["outcomes"]:
            seconds = read_provenance(item["path"]).get("seconds")
            if seconds is not None:
                found[tuple(item[name] for name in ("dataset", "split", "model", "suite"))] = (
                    seconds
                )
        return found

    @cached_property
    def leakage(self) -> pd.DataFrame:
        """The leakage tables of all splits below each other, with their data set and split."""
        tables = []
        for (dataset, split), path in self._files(
            "leakage", "path", ids=("dataset", "split")
        ).items():
            table = pd.read_csv(path)
            ids = pd.DataFrame({"dataset": dataset, "split": split}, index=table.index)
            tables.append(
                pd.concat([ids, table.drop(columns=["dataset", "split"], errors="ignore")], axis=1)
            )
        if not tables:
            names = ["dataset", "split", "measure", "parts", "class", "groups", "images", "share"]
            return pd.DataFrame(columns=names)
        return pd.concat(tables, ignore_index=True)

    @cached_property
    def reported(self) -> pd.DataFrame:
        """The printed numbers, with the column ``file``."""
        return read_reported(_existing(Path(path) for path in self.manifest.get("reported", ())))

    def _with_unions(self) -> pd.DataFrame:
        columns = [*statistics.CELL, "split", "model", "sample", "broken"]
        frames = [self.outcomes[columns], self.worst_case[columns]]
        return pd.concat(frames, ignore_index=True)

    def _rule(self, name: str) -> Tree:
        return self.study.get("rules", {}).get(name, {})

    def _files(
        self, kind: str, member: str, ids: Sequence[str] = ("dataset", "split", "model")
    ) -> dict[Key, Path]:
        paths = {
            tuple(item[name] for name in ids): Path(item[member])
            for item in self.manifest.get(kind, ())
            if item.get(member)
        }
        there = set(_existing(paths.values()))
        return {key: path for key, path in paths.items() if path in there}


def _existing(paths) -> list[Path]:
    found = []
    for path in paths:
        if path.is_file():
            found.append(path)
        else:
            log.warning("%s is missing; what needs it is left out", path)
    return found
