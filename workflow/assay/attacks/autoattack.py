"""AutoAttack: the ensemble whose robust accuracies are the field's common currency."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from assay.attacks.apgd import APGD
from assay.attacks.arguments import bad_setting, check_at_least, check_norm
from assay.attacks.attack import Attack
from assay.attacks.ensemble import Ensemble
from assay.attacks.fab import FAB
from assay.attacks.square import Square

VERSIONS = ("standard", "plus", "rand")


@dataclass(frozen=True, kw_only=True)
class AutoAttack(Ensemble):
    """Croce and Hein's ensemble, from two classes up.

    ``standard``: APGD on the cross-entropy, targeted APGD on the DLR loss, targeted FAB, Square.
    ``plus``: APGD on both losses and FAB with five restarts each, Square, then both targeted ones.
    ``rand``: APGD on both losses, each gradient a mean over `eot_samples` samples, for randomised
    defences; success is a majority of repeats, not a single misclassification.

    Args:
        norm: ``linf`` or ``l2``.
        version: ``standard``, ``plus`` or ``rand``.
        steps: of APGD and FAB.
        targets: of the targeted attacks; with K classes min(targets, K - 1).
        queries: of Square.
        expectation: EOT samples per gradient of version ``rand``.

    Example:
        >>> list(AutoAttack(norm="linf").members)
        ['apgd_ce', 'apgd_t', 'fab_t', 'square']
    """

    source: ClassVar[str] = "Croce, Hein 2020, arXiv:2003.01690"
    differences: ClassVar[tuple[str, ...]] = (
        "with two classes the margin replaces the DLR loss, with two or three its targeted form",
        "all epsilons in one run; a success within a small radius is not searched at a larger one",
        "a randomised victim is evaluated by a majority of repeats instead of one decision",
        "runs on every view of a defence and takes the worst case, image by image",
    )

    norm: str = "linf"  # pyrefly: ignore[bad-override]
    version: str = "standard"
    steps: int = 100
    targets: int = 9
    queries: int = 5000
    expectation: int = 20

    def __post_init__(self) -> None:
        super().__post_init__()
        check_norm(self.norm, "AutoAttack")
        if self.version not in VERSIONS:
            raise bad_setting(
                "version", f"there is no '{self.version}'", f"use {', '.join(VERSIONS)}"
            )
        counts = {"steps": self.steps, "targets": self.targets, "queries": self.queries}
        check_at_least(1, **counts, expectation=self.expectation)

    @property
    def members(self) -> Mapping[str, Attack]:
        common: dict[str, Any] = {"norm": self.norm, "steps": self.steps}
        targeted = {
            "apgd_t": APGD(loss="dlr", targets=self.targets, **common),
            "fab_t": FAB(targets=self.targets, stop_within=True, **common),
        }
        square = {"square": Square(norm=self.norm, queries=self.queries)}
        if self.version == "standard":
            return {"apgd_ce": APGD(loss="cross_entropy", **common), **targeted, **square}
        plus = self.version == "plus"
        often: dict[str, Any] = {"restarts": 5} if plus else {"eot_samples": self.expectation}
        both = {
            "apgd_ce": APGD(loss="cross_entropy", **common, **often),
            "apgd_dlr": APGD(loss="dlr", **common, **often),
        }
        if self.version == "rand":
            return both
        return {**both, "fab": FAB(restarts=5, stop_within=True, **common), **square, **targeted}
