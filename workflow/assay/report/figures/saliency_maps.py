"""Stored saliency maps and features: of which split, at which radius, and whose are missing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from assay.analysis.inputs import AnalysisInputs
from assay.analysis.titles import radius_text, title_of
from assay.foundation.keys import ABSENT
from assay.foundation.split import Split
from assay.report.figures.parts import Study, excluded_in_words, nothing_to_draw
from assay.report.spec import Drawn, FigureSpec, RadiusOfMaps, Shown
from assay.report.text import listed

Key = tuple[str, str, str]


@dataclass(frozen=True, kw_only=True)
class MapsSpec(FigureSpec):
    """What every figure of saliency maps may say; models must be among the study's
    ``measurements.saliency``.
    """

    models: Drawn
    datasets: Shown = ABSENT
    epsilon: RadiusOfMaps = ABSENT


class SaliencyMaps(NamedTuple):
    """What is stored of one model.

    Attributes:
        key: data set, split and model.
        stored: the arrays of :class:`assay.evaluation.measurements.saliency.Saliency`.
        version: the place of the attacked images that are shown among the stored versions.
    """

    key: Key
    stored: dict[str, np.ndarray]
    version: int

    @property
    def epsilon(self) -> float:
        """The radius of the attacked images that are shown."""
        return float(self.stored["epsilons"][self.version])

    @property
    def shown(self) -> int:
        """How many images have pictures and maps."""
        return self.stored["images"].shape[1]


def saliency_attack(study: Study) -> str:
    """The title of the attack whose images have maps; empty where the study stores none."""
    attack = study.measurements.get("saliency", {}).get("attack", "")
    return title_of(study, "attacks", attack) if attack else ""


def saliency_maps(spec: MapsSpec, study: Study, inputs: AnalysisInputs) -> list[SaliencyMaps]:
    """The stored maps of the entry's models, all of one data set and split.

    Of several data sets and splits the one is taken on which most of the models exist; among equals
    one of the scheme that the study compares with print (``reported.splits``), then the first by
    name. The radius is the entry's ``epsilon``, or the stored one next to it; without that key the
    largest.

    Raises:
        ConfigError: there are no maps of these models.
    """
    places: dict[tuple[str, str], list[Key]] = {}
    for model in spec.models:
        for key in inputs.networks("saliency"):
            if key[2] == model and key[0] in (spec.datasets or key[:1]):
                places.setdefault((key[0], key[1]), []).append(key)
    if not places:
        raise nothing_to_draw(spec, f"no saliency maps of {', '.join(spec.models)}")
    compared = study.reported.splits
    place = min(places, key=lambda p: (-len(places[p]), Split.of(p[1]).scheme != compared, p))
    found = []
    for key in places[place]:
        stored = inputs.arrays("saliency", key)
        found.append(SaliencyMaps(key, stored, _version(stored["epsilons"], spec.epsilon or None)))
    return found


def _version(epsilons: np.ndarray, wanted: float | None) -> int:
    if wanted is None:
        return int(np.argmax(epsilons))
    attacked = np.flatnonzero(epsilons > 0)
    return int(attacked[np.abs(np.log(epsilons[attacked] / wanted)).argmin()])


def radius_in_words(found: list[SaliencyMaps], spec: MapsSpec, study: Study) -> str:
    """The radius that is shown; and that it is not the wanted one, where that is not stored."""
    epsilon, wanted = found[0].epsilon, spec.epsilon or found[0].epsilon
    text = f"ε = {radius_text(epsilon, study)}"
    if epsilon != wanted:
        text += f" (ε = {radius_text(wanted, study)} is not stored at this scale)"
    return text


def missing_in_words(
    found: list[SaliencyMaps], spec: MapsSpec, study: Study, inputs: AnalysisInputs
) -> str:
    """A sentence on the entry's models that are not shown, with the reasons; empty if all are."""
    dataset, split, _ = found[0].key
    there = {one.key[2] for one in found}
    table = inputs.accuracy[inputs.accuracy["dataset"] == dataset]
    here = set(table["model"][table["scheme"] == Split.of(split).scheme])
    elsewhere = set(table["model"])
    reasons: dict[str, list[str]] = {}
    for model in spec.models:
        if model not in there:
            reason = (
                "no map is stored" if model in here
                else "trained on another split only" if model in elsewhere
                else "not trained on this data set at this scale"
            )  # fmt: skip
            reasons.setdefault(reason, []).append(title_of(study, "models", model))
    text = "; ".join(f"{listed(names)} ({reason})" for reason, names in reasons.items())
    return (f" Not shown: {text}." if text else "") + excluded_in_words(spec)
