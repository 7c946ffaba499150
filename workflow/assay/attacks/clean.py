"""No perturbation at all: the clean evaluation, in the shape of an attack."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from assay.attacks.base import Attack, Probe


@dataclass(frozen=True, kw_only=True)
class Clean(Attack):
    """Changes no image; its rows are the decisions on unperturbed images."""

    norm: ClassVar[str] = "none"
    source: ClassVar[str] = "the test protocol itself"
    uses_views: ClassVar[bool] = False

    def _search(self, probe: Probe, epsilon: float, shared: Tensor | None) -> Tensor:
        return probe.images
