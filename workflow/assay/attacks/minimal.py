"""What the minimal-norm attacks share: one search, read off at every epsilon."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from assay.attacks.base import Attack, Probe


@dataclass(frozen=True, kw_only=True)
class MinimalNorm(Attack):
    """Looks for the closest broken image, knowing no budget.

    At an epsilon, what was found farther away is moved into the ball by the final method and judged
    there: half of a way may be enough on a curved boundary.
    """

    uses_gradient: ClassVar[bool] = True

    def _prepare(self, probe: Probe) -> Tensor:
        return self._closest(probe)

    def _search(self, probe: Probe, epsilon: float, shared: Tensor) -> Tensor:
        return shared

    @abstractmethod
    def _closest(self, probe: Probe) -> Tensor:
        """The closest broken image found for every image of the probe: (n, C, H, W) in [0, 1].

        Where none was found: the best try, or the image itself.
        """
