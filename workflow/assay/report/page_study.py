"""One study's written files, and the words that the page has for what is in them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from assay.analysis import checks
from assay.analysis.attack_set import SINGLE, AttackSet, attack_sets, read_table
from assay.analysis.brief import StudyBrief
from assay.analysis.code_age import EARLIER
from assay.analysis.paired import POOLED
from assay.analysis.rows import PLACE, several_schemes
from assay.analysis.titles import NORMS, attack_title, radius_text, title_of
from assay.analysis.written import read_statistic
from assay.foundation.errors import AssayError
from assay.foundation.split import Split
from assay.report.page_cells import Cell
from assay.report.style import series_styles
from assay.report.tables.cells import cells_in
from assay.report.tables.stored import StoredTable

Nested = Mapping[str, Any]

TABLE_FORMATS = {"CSV": "csv", "Markdown": "md", "LaTeX": "tex"}
BUDGETS = {"none": "", "l0": "{} px", "severity": "severity {}"}
MARK = "†"
EARLIER_WORDS = f"{MARK} This row was computed by an earlier version of the code."


class StudyFiles:
    """The files of one study's folder, and titles for the ids in them.

    Attributes:
        study: the study as the plan gives it to the analysis.
        id: its id, which is the folder's name.
        base: the folder ``report/{scale}``.
        headline, ledger, checks, mcnemar, ranking, accuracy: the frames of the CSV files.
        between_splits: the frame of the tests across splits; None where there is no such file.
        series_styles: colour and marker of each model of the headline, in the order of the study.
        several: whether the headline has several data sets.
        schemes: whether a data set of the headline has several split schemes.
    """

    def __init__(self, study: StudyBrief, base: Path):
        self.study, self.id, self.base = study, study.name, base
        self.folder = base / self.id
        self.headline = self.csv("headline.csv")
        self.ledger = self.statistic("ledger.csv")
        self.checks = self.csv("checks.csv")
        self.mcnemar = self.csv("statistics/mcnemar.csv")
        self.ranking = self.csv("statistics/ranking.csv")
        self.accuracy = self.csv("statistics/accuracy.csv")
        self.between_splits = self.optional("statistics/between_splits.csv")
        self.series_styles = series_styles([*study.headline.models, *self.headline["model"]])
        # The file's order of attacks, before its rows are put into that of the models.
        self._order = list(dict.fromkeys(cells_in(self.headline)))
        sets = attack_sets(self.accuracy)
        self._norms = dict(zip(sets, self.accuracy["norm"], strict=True))
        order = {model: place for place, model in enumerate(self.series_styles)}
        self.headline = self.headline.sort_values(
            "model", key=lambda models: models.map(order), kind="stable"
        )
        self.several = self.headline["dataset"].nunique() > 1
        self.schemes = several_schemes(self.headline)

    @property
    def prints(self) -> bool:
        """Whether the study has printed numbers to compare itself with."""
        return not self.ledger.empty

    # --- rows --------------------------------------------------------------------------------

    def places(self) -> list[tuple[tuple[str, str], pd.DataFrame]]:
        """The headline's rows by data set and split scheme; first those of most classifiers."""
        groups = [(place, rows) for place, rows in self.headline.groupby(PLACE, sort=False)]
        return sorted(groups, key=lambda item: -item[1]["model"].nunique())

    def cells(self, rows: pd.DataFrame | None = None) -> list[tuple[AttackSet, float]]:
        """The (attack set, epsilon) pairs of some rows of the headline, those not run included.

        They come in the file's order; what the study asks for and did not run stands behind what
        the study names before it. An attack that the study names without a budget is only missing
        where it ran at none.
        """
        rows = self.headline if rows is None else rows
        there = set(cells_in(rows))
        known = [cell for cell in self._order if cell in there]
        behind = 0
        for cell in self.study.headline.cells:
            attacks, wanted = AttackSet.of(cell), cell.get("epsilon")
            found = [
                place
                for place, (name, epsilon) in enumerate(known)
                if name == attacks and wanted in (None, epsilon)
            ]
            if not found:
                known.insert(behind, (attacks, math.nan if wanted is None else wanted))
                found = [behind]
            behind = found[-1] + 1
        return known

    def headline_rows(self, frame: pd.DataFrame) -> pd.DataFrame:
        """A statistic's rows for the headline's attacks, in the headline's order.

        Tests of all splits together come before those of single ones.
        """
        places = {cell: place for place, cell in enumerate(self.cells())}
        place = pd.Series(
            [places.get(cell) for cell in cells_in(frame)], index=frame.index, dtype=float
        )
        single = frame["split"].map(split_number) if "split" in frame else 0
        frame = frame.assign(place=place, single=single)[place.notna()]
        return frame.sort_values(["single", "place"], kind="stable")

    def verdicts(self) -> pd.DataFrame:
        """Verdicts per data set, scheme, model and norm, by the checks' own rule."""
        if "norm" in self.checks:
            return checks.verdict(self.checks)
        # Checks that an earlier version wrote have one verdict for all that a model was put to.
        rows = self.headline.assign(norm=self.headline["norm"].replace(checks.VERDICT_NORMS))
        names = [*PLACE, "model", "norm"]
        return rows.drop_duplicates(names)[[*names, "verdict", "because"]]

    def earlier(self) -> tuple[int, int]:
        """How many accuracies came from an earlier version of the code, and of how many."""
        return int(is_earlier(self.accuracy).sum()), len(self.accuracy)

    # --- words -------------------------------------------------------------------------------

    def place(self, dataset: str, scheme: str) -> str:
        """Data set and split scheme, as far as the study has several; empty if neither."""
        named = [self.title("datasets", dataset)] if self.several else []
        return "; ".join([*named, self.title("splits", scheme)] if self.schemes else named)

    def title(self, kind: str, name: str) -> str:
        return title_of(self.study, kind, name)

    def norm(self, attacks: AttackSet) -> str | None:
        """The norm of an attack set; None if neither the study nor the accuracies know it."""
        known = self.study.attacks if attacks.worst_case == SINGLE else {}
        return known.get(attacks.name, {}).get("norm") or self._norms.get(attacks)

    def budget(self, attacks: AttackSet, epsilon: float) -> str:
        """An attack's budget in words: ``ε = 8/255``, ``severity 4``; empty where it has none."""
        form = BUDGETS.get(self.norm(attacks) or "", "ε = {}")
        return "" if math.isnan(epsilon) else form.format(radius_text(epsilon, self.study))

    def attack(self, attacks: AttackSet, epsilon: float) -> str:
        budget = self.budget(attacks, epsilon)
        return attack_title(self.study, attacks) + (f" ({budget})" if budget else "")

    # --- files -------------------------------------------------------------------------------

    def links(self, stem: str, formats: Mapping[str, str] = TABLE_FORMATS) -> list[tuple[str, str]]:
        """(label, address) of the formats in which a table or figure was written."""
        paths = {label: f"{self.id}/{stem}.{ending}" for label, ending in formats.items()}
        return [(label, path) for label, path in paths.items() if (self.base / path).is_file()]

    def text(self, name: str) -> str:
        """A file's text.

        Raises:
            AssayError: it cannot be read.
        """
        try:
            return (self.folder / name).read_text(encoding="utf-8")
        except OSError as error:
            raise AssayError(
                f"cannot be read ({error.strerror})",
                where=self.folder / name,
                remedy="run the workflow's target 'all', which makes it",
            ) from error

    def json(self, name: str) -> Nested:
        return json.loads(self.text(name))

    def table(self, place: str) -> StoredTable:
        """A table as readers see it.

        Args:
            place: its place in the folder, without an ending: ``tables/table1``.

        Raises:
            AssayError: its file cannot be read, or holds no table.
        """
        name = f"{place}.json"
        return StoredTable.from_json(self.text(name), where=self.folder / name)

    def csv(self, name: str) -> pd.DataFrame:
        self.text(name)
        return read_table(self.folder / name)

    def statistic(self, name: str) -> pd.DataFrame:
        """A CSV file whose words stay words: a level ``10`` is no number."""
        self.text(name)
        return read_statistic(self.folder / name)

    def optional(self, name: str) -> pd.DataFrame | None:
        """A CSV file that reports of earlier versions lack; None where it is missing or empty."""
        if not (self.folder / name).is_file():
            return None
        try:
            return self.csv(name)
        except pd.errors.EmptyDataError:
            return None


def norm_title(norm: str) -> str:
    """A norm, or what has none, in words."""
    return NORMS.get(norm, norm)


def is_earlier(frame: pd.DataFrame) -> pd.Series:
    """(N,) whether each row of a table came from an earlier version of the code."""
    if "code" not in frame:
        return pd.Series(False, index=frame.index)
    return frame["code"] == EARLIER


def split_number(split: str) -> int:
    """The place of a split among those of its scheme, from 1; 0 for all of them together."""
    return 0 if split == POOLED else Split.of(split).index + 1


def split_cell(split: str) -> Cell:
    """A split in words, ``split 2``, or ``pooled``; sorted by its number, pooled first."""
    at = split_number(split)
    return Cell(f"split {at}" if at else str(split), at)
