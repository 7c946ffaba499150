"""What readers see for an id: titles of entries and attacks, radii as the study writes them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from assay.analysis.attack_set import NORM_ALL, SINGLE, SUITE, AttackSet
from assay.analysis.brief import StudyBrief
from assay.foundation.radius import Labels

# Norms in words, and what the analysis names as one where no ball is searched.
NORMS = {
    "none": "clean", "clean": "clean", "linf": "L∞", "l2": "L2", "l0": "pixels",
    "severity": "corruptions", "corruptions": "corruptions",
}  # fmt: skip
# Ways to compute a saliency map.
SALIENCY_METHODS = {"gradient": "gradient", "integrated_gradients": "integrated gradients"}
# Views of a defence, by what stands before the name of its base's own view.
ROUTES = {
    "through": "through the defence", "fixed_noise": "through the defence, fixed noise",
    "unnormalised": "through the defence, unnormalised", "unrolled": "through its whole search",
    "linear": "through a linear approximation", "base": "on the base network",
}  # fmt: skip
# The view of a network without a defence.
_OWN_VIEW = "model"


def radius_text(epsilon: float, study: StudyBrief) -> str:
    """A radius as the study writes it; one that it does not write, as short as it can be.

    Args:
        epsilon: a number of a column ``epsilon``, or a stored radius.
        study: the study as the plan gives it; ``radii`` has the labels.

    Example:
        >>> radius_text(16 / 255, StudyBrief(radii=("16/255",))), radius_text(0.3, StudyBrief())
        ('16/255', '0.3')
    """
    return labels_of(study)(epsilon)


def labels_of(study: StudyBrief) -> Labels:
    """How the study writes its radii."""
    return _labels(study.radii)


@lru_cache
def _labels(radii: tuple[str, ...]) -> Labels:
    return Labels(radii)


def attack_title(study: StudyBrief, attack: AttackSet | str | Mapping[str, Any]) -> str:
    """An attack's title, or that of a worst case over several attacks.

    Args:
        study: the study as the plan gives it.
        attack: an attack set, or an item that names one (:meth:`AttackSet.of`).

    Example:
        >>> attack_title(StudyBrief(), {"norm": "linf"})
        'Worst case over attacks, L∞'
    """
    found = AttackSet.of(attack)
    if found.worst_case == SINGLE:
        return title_of(study, "attacks", found.name)
    if found.worst_case == SUITE:
        return f"Worst case over “{title_of(study, 'suites', found.name)}”"
    over = "all attacks" if found.worst_case == NORM_ALL else "attacks"
    return f"Worst case over {over}, {NORMS.get(found.name, found.name)}"


def route_title(route: str) -> str:
    """The view that an attack searched, in words.

    Example:
        >>> [route_title(name) for name in ("through_model", "base_bpda", "decision")]
        ['through the defence', 'on the base network (bpda)', 'decision']
    """
    for name, title in ROUTES.items():
        if route.startswith(f"{name}_"):
            view = route.removeprefix(f"{name}_")
            return title if view == _OWN_VIEW else f"{title} ({view.replace('_', ' ')})"
    return route.replace("_", " ")


def title_of(study: StudyBrief, kind: str, name: str) -> str:
    """What readers see for an id; the id itself where nothing has a title for it.

    Args:
        study: the study as the plan gives it.
        kind: one of :data:`assay.analysis.brief.KINDS`.
        name: the id.
    """
    return study.titles.get(kind, {}).get(name, name)
