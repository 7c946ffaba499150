"""No perturbation at all: the clean evaluation, in the shape of an attack."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from assay.attacks.attack import Attack
from assay.attacks.queries import Queries


@dataclass(frozen=True, kw_only=True)
class Clean(Attack):
    """Changes no image; its rows are the decisions on unperturbed images."""

    norm: ClassVar[str] = "none"
    source: ClassVar[str] = "the test protocol itself"
    access: ClassVar[str] = "none"

    def _search(self, queries: Queries, epsilon: float, shared: Tensor | None) -> Tensor:
        return queries.images
