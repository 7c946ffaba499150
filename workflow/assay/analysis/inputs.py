"""What tables and figures are made from: the files of a run, read when first asked for."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from assay.analysis import accuracy, checks, costs, defects, distances
from assay.analysis.between_splits import between_splits
from assay.analysis.brief import StudyBrief, parse_brief
from assay.analysis.by_suite import BySuite, by_suite
from assay.analysis.cochran import cochran_q
from assay.analysis.code_age import with_code
from assay.analysis.effort import effort
from assay.analysis.families import Families
from assay.analysis.ledger import ledger
from assay.analysis.mcnemar import mcnemar
from assay.analysis.measured import read_measured
from assay.analysis.paired import Paired
from assay.analysis.ranking import ranking
from assay.analysis.resampled_t import resampled_t
from assay.analysis.rows import worst_case_over_views
from assay.analysis.run_files import KeptRun, RunFiles
from assay.analysis.titles import labels_of
from assay.analysis.trend import size_trend
from assay.analysis.written import read_where_written
from assay.foundation.entries import runs_on
from assay.foundation.files import read_json
from assay.foundation.kept import IDS
from assay.foundation.outcomes import OUTCOME_COLUMNS, read_outcomes
from assay.foundation.provenance import read_provenance
from assay.foundation.reported import read_reported

log = logging.getLogger(__name__)

Nested = Mapping[str, Any]
Key = tuple[Any, ...]

NETWORK = ("dataset", "split", "model")
# Measures of a network's size, as model.json names them.
SIZES = ("depth", "parameters", "flops")


@dataclass(frozen=True)
class AnalysisInputs:
    """All that a study's analysis may look at; every member is read or computed once, on demand.

    Outcomes must be there. Any other file that is missing is left out and named in the log.
    Outcome rows are read suite by suite or model by model, and only the columns that are needed:
    a study may have tens of millions.

    Attributes:
        manifest: the files of the run, as the plan lists them; of a kept run a
            :class:`assay.analysis.run_files.KeptRun`.
        study: the study, as the plan gives it.
        written: paths of statistics that another job has computed, by their member's name; with
            them, outcome rows are hardly needed.
    """

    manifest: RunFiles
    study: StudyBrief = field(default_factory=StudyBrief)
    written: Mapping[str, Path | str] = field(default_factory=dict)

    @classmethod
    def from_manifest(
        cls, manifest: RunFiles, study: StudyBrief | Nested, written: Sequence[Path | str] = ()
    ) -> AnalysisInputs:
        """From what a rule or the plan gives.

        Args:
            manifest: the files of the run.
            study: the study, or the JSON of one.
            written: CSV files of statistics, named like the members that they hold.

        Raises:
            AssayError: the study has a key that no study has, or a value of another type.
        """
        brief = study if isinstance(study, StudyBrief) else parse_brief(study)
        return cls(manifest, brief, {Path(path).stem: path for path in written})

    @property
    def scale(self) -> str:
        """The scale's name."""
        return self.manifest.scale

    @property
    def seed(self) -> int:
        """The seed from which every random number of the run derives."""
        return self.manifest.seed

    def outcomes(self, columns: Sequence[str] = OUTCOME_COLUMNS, **ids: str) -> pd.DataFrame:
        """Outcome rows of the study: the worst case over views, none of single routes.

        Args:
            columns: the columns that are wanted.
            **ids: ``dataset``, ``split``, ``model`` or ``suite`` whose rows are wanted.

        Raises:
            OutcomeError: a file is missing or damaged.
        """
        rows = worst_case_over_views(self.routes([*dict.fromkeys([*columns, "route"])], **ids))
        return rows if "route" in columns else rows.drop(columns="route")

    def routes(self, columns: Sequence[str] = OUTCOME_COLUMNS, **ids: str) -> pd.DataFrame:
        """Outcome rows of the study, those of single routes among them; else as `outcomes`."""
        items = [item for item in self.manifest.outcomes if item.of(**ids)]
        if isinstance(self.manifest, KeptRun):
            return self.manifest.kept.read([item.ids(*IDS) for item in items], columns)
        return read_outcomes((item.path for item in items), columns)

    @cached_property
    @read_where_written
    def accuracy(self) -> pd.DataFrame:
        """:func:`assay.analysis.accuracy.accuracy` of the outcomes, with the age of their code."""
        norms = {name: entry.get("norm", "") for name, entry in self.study.attacks.items()}
        earlier = self.manifest.earlier if isinstance(self.manifest, KeptRun) else ()
        return with_code(self._by_suite.accuracy, earlier, norms)

    @cached_property
    @read_where_written
    def mcnemar(self) -> pd.DataFrame:
        """:func:`assay.analysis.mcnemar.mcnemar` of the outcomes and worst cases."""
        return mcnemar(self._by_suite.paired, families=self._families)

    @cached_property
    @read_where_written
    def between_splits(self) -> pd.DataFrame:
        """:func:`assay.analysis.between_splits.between_splits` of the outcomes and worst cases."""
        return between_splits(
            self._by_suite.paired, self.train_sizes, families=self._families, seed=self.seed
        )

    @cached_property
    @read_where_written
    def ranking(self) -> pd.DataFrame:
        """:func:`assay.analysis.ranking.ranking` by both tests of pairs of models."""
        return ranking(self.mcnemar, self.between_splits)

    @cached_property
    @read_where_written
    def cochran(self) -> pd.DataFrame:
        """:func:`assay.analysis.cochran.cochran_q` of the outcomes and worst cases."""
        return cochran_q(self._by_suite.paired, families=self._families)

    @cached_property
    @read_where_written
    def resampled_t(self) -> pd.DataFrame:
        """:func:`assay.analysis.resampled_t.resampled_t` with the models' training sizes."""
        return resampled_t(self._by_suite.paired, self.train_sizes, families=self._families)

    def trend(self, models: Sequence[str]) -> pd.DataFrame:
        """:func:`assay.analysis.trend.size_trend` of some models."""
        sizes = {
            measure: {key: value for key, value in values.items() if key[1] in models}
            for measure, values in self.sizes.items()
        }
        return size_trend(self._by_suite.paired, sizes, self.train_sizes)

    @property
    def paired(self) -> Paired:
        """Whether each model was right on each image, under all attacks and worst cases."""
        return self._by_suite.paired

    @cached_property
    def effort(self) -> pd.DataFrame:
        """:func:`assay.analysis.effort.effort` of the study's trainings."""
        starts = {name: entry.get("init_from") for name, entry in self.study.models.items()}
        return effort(self.facts, starts)

    @cached_property
    def sizes(self) -> dict[str, dict[tuple[str, str], float]]:
        """``depth``, ``parameters`` and ``flops`` by (dataset, model), where they are known."""
        found: dict[str, dict[tuple[str, str], float]] = {name: {} for name in SIZES}
        for (dataset, _, model), facts in self.facts.items():
            for name, values in found.items():
                if facts.get(name) is not None:
                    values[dataset, model] = facts[name]
        return found

    @property
    def _families(self) -> Families:
        return Families.of(self.study)

    @property
    def train_sizes(self) -> dict[Key, int]:
        """Training images by (dataset, split, model)."""
        return {key: facts["train_n"] for key, facts in self.facts.items()}

    @cached_property
    @read_where_written
    def checks(self) -> pd.DataFrame:
        """:func:`assay.analysis.checks.checks` with the study's thresholds and pairs of attacks."""
        return pd.concat(
            (
                checks.checks(
                    self.outcomes(checks.NEEDED, **ids),
                    self.study.rules.checks,
                    self.study.corrections,
                    expected=self._by_suite.evaluations,
                    skipped=self._skipped,
                    attacks=self._attack_entries,
                    importance=self._importance(**ids),
                    labels=labels_of(self.study),
                )
                for ids in self._parts("dataset", "model")
            ),
            ignore_index=True,
        )

    def _importance(self, dataset: str, model: str) -> pd.DataFrame | None:
        """Effective sample sizes of a model that decides by importance sampling, else None.

        They are those of the most samples that were tried: of few, even one is a large share.
        """
        tables = []
        for key in self.networks("importance"):
            if (key[0], key[2]) == (dataset, model):
                stored = self.arrays("importance", key)
                ids = {"dataset": dataset, "split": key[1], "model": model}
                most = int(stored["sweep"].argmax())
                tables.append(
                    pd.DataFrame({**ids, "sample": stored["samples"], "ess": stored["share"][most]})
                )
        return pd.concat(tables, ignore_index=True) if tables else None

    @cached_property
    @read_where_written
    def costs(self) -> pd.DataFrame:
        """:func:`assay.analysis.costs.costs` of the study's trainings and attack jobs."""
        trained = {
            key: frame.seconds.sum() for key, frame in self.history.items() if "seconds" in frame
        }
        return costs.costs(
            self.accuracy,
            self.durations,
            costs.peaks_of(self._files("outcomes", "benchmark", ids=IDS)),
            trained,
            costs.peaks_of(self._files("models", "benchmark")),
            {key: facts.get("parameters") for key, facts in self.facts.items()},
            {key: costs.updates_of(facts) for key, facts in self.facts.items()},
        )

    @property
    def _attack_entries(self) -> dict[str, Nested]:
        """Catalogue entries of the attacks, each with what the scale changed (``scaled``)."""
        scaled = self.study.scaled.get("attacks", {})
        return {
            name: {**entry, "scaled": scaled.get(name, {})}
            for name, entry in self.study.attacks.items()
        }

    @property
    def _skipped(self) -> dict[str, list[str]]:
        """Attacks that the plan skips, by model."""
        return {
            model: [name for name, need in self.study.access.items() if not runs_on(need, entry)]
            for model, entry in self.study.models.items()
        }

    @cached_property
    def verdicts(self) -> pd.DataFrame:
        """:func:`assay.analysis.checks.verdict` of the checks: one per model and norm."""
        return checks.verdict(self.checks)

    @cached_property
    @read_where_written
    def ledger(self) -> pd.DataFrame:
        """:func:`assay.analysis.ledger.ledger` of the reported numbers against this run."""
        return ledger(
            self.reported, self.accuracy, self.study, self.study.rules.ledger,
            history=self.history, facts=self.facts, subsets=self.subsets, distances=self._measured,
        )  # fmt: skip

    def defects(self, pairs: Sequence[Mapping[str, str]]) -> pd.DataFrame:
        """:func:`assay.analysis.defects.defects` of the outcomes."""
        return pd.concat(
            (
                defects.defects(self.outcomes(defects.NEEDED, **ids), pairs)
                for ids in self._parts("dataset", "model")
            ),
            ignore_index=True,
        )

    def distances(self, attacks: Sequence[str], *, apart: bool = False) -> pd.DataFrame:
        """:func:`assay.analysis.distances.distances` of the outcomes."""
        parts = [
            distances.distances(self.outcomes(distances.NEEDED, **ids), attacks, apart=apart)
            for ids in self._parts("dataset", "model")
        ]
        return pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True)

    @property
    def _measured(self) -> pd.DataFrame | None:
        """The distances that the study's tables of distances show."""
        attacks = self.study.minimal_attacks
        return self.distances(attacks) if attacks else None

    @cached_property
    def history(self) -> dict[Key, pd.DataFrame]:
        """Training histories by (dataset, split, model), every loss per image.

        The files hold what was minimised, which may be the sum over a batch (``loss_per``).
        """
        histories = {}
        for key, path in self._files("models", "history").items():
            history = pd.read_csv(path)
            facts = self.facts.get(key, {})
            if facts.get("loss_per") == "batch":
                history[["train_loss", "val_loss"]] /= facts["training"]["batch_size"]
            histories[key] = history
        return histories

    @cached_property
    def facts(self) -> dict[Key, dict[str, Any]]:
        """The contents of ``model.json`` by (dataset, split, model)."""
        return {key: read_json(path) for key, path in self._files("models", "facts").items()}

    @cached_property
    def measured(self) -> dict[str, dict[Key, Path]]:
        """Paths of measurements by id, then by (dataset, split, model)."""
        names = dict.fromkeys(item.measurement for item in self.manifest.measurements)
        every = self._files("measurements", "path", ids=(*NETWORK, "measurement"))
        return {
            name: {key[:3]: path for key, path in every.items() if key[3] == name} for name in names
        }

    def networks(self, measurement: str) -> list[Key]:
        """The (dataset, split, model) of which a measurement is stored, in the order of the run."""
        return list(self.measured.get(measurement, {}))

    def arrays(self, measurement: str, key: Key) -> dict[str, np.ndarray]:
        """The arrays of a measurement of one network, checked against its schema.

        Args:
            measurement: its id.
            key: one of :meth:`networks`.

        Raises:
            MeasurementError: the file is damaged, or does not follow the schema.
        """
        return read_measured(self.measured[measurement][key], self.study, measurement)

    @cached_property
    def examples(self) -> dict[Key, Path]:
        """Paths of example images by (dataset, split, model, suite)."""
        return self._files("outcomes", "examples", ids=IDS)

    @cached_property
    def durations(self) -> dict[Key, float]:
        """Seconds that each attack job took, where its file says so, by (…, suite)."""
        seconds = {key: made.get("seconds") for key, made in self.made.items()}
        return {key: value for key, value in seconds.items() if value is not None}

    @cached_property
    def made(self) -> dict[Key, dict[str, Any]]:
        """What each outcome file says about its making, by (dataset, split, model, suite)."""
        items = {item.ids(*IDS): item for item in self.manifest.outcomes}
        if isinstance(self.manifest, KeptRun):
            return {key: self.manifest.kept.made(key) for key in items}
        return {key: read_provenance(item.path) for key, item in items.items()}

    @cached_property
    def leakage(self) -> pd.DataFrame:
        """The leakage tables of all splits below each other, with their data set and split."""
        tables = []
        found = self._files("leakage", "path", ids=("dataset", "split"))
        for (dataset, split), path in found.items():
            table = pd.read_csv(path)
            ids = pd.DataFrame({"dataset": dataset, "split": split}, index=table.index)
            tables.append(
                pd.concat([ids, table.drop(columns=["dataset", "split"], errors="ignore")], axis=1)
            )
        if not tables:
            names = ["dataset", "split", "measure", "subsets", "class", "groups", "images", "share"]
            return pd.DataFrame(columns=names)
        return pd.concat(tables, ignore_index=True)

    @cached_property
    def leaks(self) -> pd.DataFrame:
        """What each test image shares with training images (:func:`assay.data.leaks.leaks`)."""
        found = self._files("leaks", "path", ids=("dataset", "split"))
        tables = [
            pd.read_parquet(path).assign(dataset=dataset, split=split)
            for (dataset, split), path in found.items()
        ]
        return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()

    @cached_property
    def subsets(self) -> dict[Key, int]:
        """How many images the subsets of the splits have, by (dataset, split, subset)."""
        table = self.leakage
        table = table[(table.measure == "images") & (table["class"] == "all")]
        keys = zip(table.dataset, table["split"], table.subsets, strict=True)
        return dict(zip(keys, table.images.astype(int), strict=True))

    @cached_property
    def reported(self) -> pd.DataFrame:
        """The printed numbers, with the column ``file``."""
        return read_reported(_existing(Path(path) for path in self.manifest.reported))

    @cached_property
    def _by_suite(self) -> BySuite:
        return by_suite(self.outcomes, self._parts, self._has_worst_case)

    def _parts(self, *names: str, **ids: str) -> list[dict[str, str]]:
        """The distinct values of ids among (some of) the outcome files, in order of appearance."""
        items = [item for item in self.manifest.outcomes if item.of(**ids)]
        found = dict.fromkeys(item.ids(*names) for item in items)
        return [dict(zip(names, values, strict=True)) for values in found]

    def _has_worst_case(self, suite: str) -> bool:
        """Whether a suite has a worst case by the catalogue: several attacks of one ball norm."""
        names = self.study.suites.get(suite, {}).get("attacks", ())
        norms = {self.study.attacks[name]["norm"] for name in names}
        return len(names) > 1 and len(norms) == 1 and norms <= set(accuracy.BALLS)

    def _files(self, kind: str, member: str, ids: Sequence[str] = NETWORK) -> dict[Key, Path]:
        paths = {
            item.ids(*ids): Path(place)
            for item in self.manifest.of_kind(kind)
            if (place := item.place(member))
        }
        there = set(_existing(paths.values()))
        return {key: path for key, path in paths.items() if path in there}


def _existing(paths) -> list[Path]:
    found = []
    for path in paths:
        if path.is_file():
            found.append(path)
        else:
            log.warning("%s is missing; tables and figures that need it are skipped", path)
    return found
