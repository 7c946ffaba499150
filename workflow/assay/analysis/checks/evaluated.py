"""One model's outcomes on one data set, arranged for the checks."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from assay.analysis.accuracy import BALLS
from assay.analysis.rows import group_index
from assay.foundation.errors import AssayError
from assay.foundation.outline import outline
from assay.foundation.radius import Labels

HEADLINE, SWEEP, AS_PUBLISHED, CONTROL = "headline", "sweep", "as_published", "control"

SEVERITY, CLEAN = "severity", "none"
# The norms of a verdict, by those of outcomes.
VERDICT_NORMS = {**{norm: norm for norm in BALLS}, SEVERITY: "corruptions", CLEAN: "clean"}


@dataclass(frozen=True)
class Attack:
    """What the catalogue says about an attack, as far as it decides a check.

    Attributes:
        title: what readers see.
        norm: of its radii; empty if unknown.
        role: headline, sweep, as_published or control.
        single_step: the id of its one-step form, or None.
        but_steps: code, norm and all settings but the steps, as text; empty if it has no steps.
        steps: its setting ``steps``, 0 if it has none.
        cut: what the scale took from its settings, as a sentence; empty if nothing.
        noise: whether it draws noise and follows nothing.
    """

    title: str
    norm: str = ""
    role: str = HEADLINE
    single_step: str | None = None
    but_steps: str = ""
    steps: float = 0
    cut: str = ""
    noise: bool = False

    @classmethod
    def of(cls, name: str, entry: Mapping[str, Any] | None, dataset: str) -> Attack:
        """From a catalogue entry, which may also hold ``scaled``: what the scale changed."""
        if entry is None:
            return cls(name)
        own = (entry.get("for_datasets") or {}).get(dataset, {})
        settings = {**(entry.get("settings") or {}), **(own.get("settings") or {})}
        steps, rest = settings.get("steps", 0), dict(settings)
        rest.pop("steps", None)
        same = [entry.get("implementation"), entry.get("norm"), rest]
        return cls(
            title=entry.get("title", name),
            norm=entry.get("norm", ""),
            role=entry.get("role") or HEADLINE,
            single_step=entry.get("single_step"),
            but_steps=json.dumps(same, sort_keys=True) if steps and same[0] else "",
            steps=steps,
            cut=_cut(entry.get("scaled") or {}),
            noise=_is_noise(entry.get("implementation", "")),
        )


def _is_noise(implementation: str) -> bool:
    """Whether an attack's class says that it draws whatever the victim answers."""
    try:
        return outline(implementation).values.get("uninformed", False)
    except AssayError:
        return False  # a class of an earlier version


def _cut(scaled: Mapping[str, Sequence]) -> str:
    """What a scale lowered among an attack's settings, as a sentence."""
    lowered = [
        f"{path.rpartition('.')[2].replace('_', ' ')} from {whole:g} to {here:g}"
        for path, (here, whole) in scaled.items()
        if isinstance(here, int | float) and isinstance(whole, int | float) and here < whole
    ]
    return f"The scale reduces its {', its '.join(lowered)}." if lowered else ""


class Evaluated:
    """One model's outcomes on one data set, as rows and as matrices of images by cells.

    Attributes:
        rows: the outcome rows.
        norms: the norms of verdicts that it has rows of.
        missing: share of the evaluations that other models had of the same attacks, by norm.
        classes: how many the data set has.
        limits: the thresholds.
        corrections: pairs of a published attack and its correction.
        attacks: what is known of each attack.
        labels: how the study writes radii.
        cells: frame of the columns of the matrices: suite, attack, norm, epsilon, steps (most
            backward passes that the attack spent on an image), gradient (a ball attack that
            follows a gradient), role, cut, noise, single (whether it is another attack's one-step
            form, or took one step), title.
        images: (I,) the image of each row of the matrices; several splits may test one.
        misclassified: (I, C) 1.0 where the attack succeeded, 0.0 where not, NaN where it was not
            run.
        clean: (I,) 1.0 where the unperturbed image is misclassified, 0.0, or NaN.
    """

    def __init__(
        self,
        rows: pd.DataFrame,
        missing: Mapping[str, float],
        classes: int,
        limits: Mapping[str, float],
        corrections: Sequence[Mapping[str, str]],
        attacks: Mapping[str, Attack],
        labels: Labels,
    ):
        self.rows, self.missing, self.classes = rows, missing, classes
        self.limits, self.corrections, self.attacks, self.labels = (
            limits,
            corrections,
            attacks,
            labels,
        )
        keys = [rows.suite, rows.attack, rows.norm, rows.epsilon]
        groups = rows.backwards.groupby(keys, observed=True)
        cells = groups.max().reset_index().astype({"norm": object, "attack": object})
        image, first = group_index(rows["split"], rows["sample"])
        self.images = rows["sample"].to_numpy()[first]
        self._place = image, groups.ngroup().to_numpy()
        self._shape = len(first), len(cells)
        self._matrices: dict[str, np.ndarray] = {}
        self._last = "", rows.iloc[:0]
        self._balls: dict[str, pd.DataFrame] = {}
        self._fooled: dict[tuple[str, float], np.ndarray] = {}
        self._nothing: dict[tuple[str, float], bool] = {}
        self.misclassified = self.matrix("misclassified")
        known = [attacks[name] for name in cells.attack]
        for name in ("role", "cut", "noise", "title"):
            cells[name] = [getattr(attack, name) for attack in known]
        # Fooled images leave the search, so only the most patient image shows the steps.
        cells["steps"] = cells.pop("backwards").groupby(cells.attack).transform("max")
        cells["gradient"] = (cells.steps > 0) & cells.norm.isin(BALLS)
        one_step = {attack.single_step for attack in attacks.values() if attack.single_step}
        cells["single"] = cells.attack.isin(one_step) | (cells.steps == 1)
        self.cells = cells
        clean = _any(self.misclassified[:, (cells.norm == CLEAN).to_numpy()])
        wrong = np.empty(len(first))
        wrong[image] = rows.clean_prediction.to_numpy() != rows.label.to_numpy()
        self.clean = np.where(np.isnan(clean), wrong, clean)
        present = set(cells.norm)
        self.norms = [name for norm, name in VERDICT_NORMS.items() if norm in present]

    def at(self, epsilon: float) -> str:
        """A radius in a sentence."""
        return f"ε = {self.labels(epsilon)}"

    def matrix(self, column: str) -> np.ndarray:
        """(I, C) a column of the outcome rows; NaN where the attack was not run."""
        if column not in self._matrices:
            matrix = np.full(self._shape, np.nan)
            matrix[self._place] = self.rows[column].to_numpy(float)
            self._matrices[column] = matrix
        return self._matrices[column]

    def of(self, norm: str) -> pd.DataFrame:
        """The outcome rows of a norm of verdicts."""
        # One norm after the other is asked for, several times each.
        if self._last[0] != norm:
            names = [name for name, other in VERDICT_NORMS.items() if other == norm]
            self._last = norm, self.rows[self.rows.norm.isin(names)]
        return self._last[1]

    def ball(self, norm: str, roles: Collection[str] = ()) -> pd.DataFrame:
        """The cells of attacks in a ball of this norm, of some roles or of all."""
        if norm not in self._balls:
            self._balls[norm] = self.cells[self.cells.norm == norm]
        cells = self._balls[norm]
        return cells[cells.role.isin(roles)] if roles else cells

    def fooled(self, cells: pd.DataFrame | pd.Series | Sequence[int]) -> np.ndarray:
        """(I,) 1.0 where any of these cells' attacks succeeded, NaN where none was run."""
        columns = cells.index if isinstance(cells, pd.DataFrame) else cells
        return _any(self.misclassified[:, np.asarray(columns)])

    def worst_case(self, cells: pd.DataFrame) -> np.ndarray:
        """(I,) :meth:`fooled` on the images of the attack that saw most; NaN on all others."""
        if cells.empty:
            return np.full(len(self.images), np.nan)
        seen = ~np.isnan(self.misclassified[:, cells.index])
        widest = seen[:, seen.sum(axis=0).argmax()]
        return np.where(widest, self.fooled(cells), np.nan)

    def fooled_at(self, norm: str, epsilon: float) -> np.ndarray:
        """(I,) :meth:`fooled` over all attacks at a radius."""
        if (norm, epsilon) not in self._fooled:
            cells = self.ball(norm)
            self._fooled[norm, epsilon] = self.fooled(cells[cells.epsilon == epsilon])
        return self._fooled[norm, epsilon]

    def nothing_left(self, norm: str, epsilon: float) -> bool:
        """Whether the worst case at a radius leaves (nearly) no image, so none to doubt."""
        if (norm, epsilon) not in self._nothing:
            cells = self.ball(norm)
            left = 1 - self.worst_case(cells[cells.epsilon == epsilon])
            known = left[~np.isnan(left)]
            nothing = bool(len(known)) and float(known.mean()) <= self.limits["nothing_left"]
            self._nothing[norm, epsilon] = nothing
        return self._nothing[norm, epsilon]

    def sweeps(self, norm: str, roles: Collection[str] = ()) -> Iterator[tuple[str, pd.Series]]:
        """(attack, column by ascending radius) of each attack in a ball of this norm."""
        for attack, cells in self.ball(norm, roles).groupby("attack", sort=False):
            cells = cells.drop_duplicates("epsilon")
            yield attack, pd.Series(cells.index, index=cells.epsilon).sort_index()


def _any(misclassified: np.ndarray) -> np.ndarray:
    """(I,) whether any column knows the image as fooled; NaN where no column knows it."""
    return np.where(
        np.isnan(misclassified).all(axis=1),
        np.nan,
        np.nan_to_num(misclassified).max(axis=1, initial=0),
    )
