"""What the minimal-norm attacks share: one search, read off at every epsilon."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from assay.attacks.base import Attack, Probe

# How much farther than the closest image found a randomised victim is judged.
STRETCH = 1.2


@dataclass(frozen=True, kw_only=True)
class MinimalNorm(Attack):
    """Looks for the closest broken image, knowing no budget.

    At an epsilon, what was found farther away is moved into the ball by the final method and judged
    there: half of a way may be enough on a curved boundary.
    """

    uses_gradient: ClassVar[bool] = True
    reads_off: ClassVar[bool] = True

    def _prepare(self, probe: Probe) -> Tensor:
        return self._closest(probe)

    def _search(self, probe: Probe, epsilon: float, shared: Tensor) -> Tensor:
        if probe.certain:
            return shared
        # The closest image that won its replays wins about every other time: a little farther, as
        # far as the ball allows, it wins them again.
        change = shared - probe.images
        flat = change.flatten(1)
        length = flat.abs().amax(dim=1) if self.norm == "linf" else flat.norm(dim=1)
        factor = (epsilon / length.clamp_min(1e-12)).clamp(1.0, STRETCH)
        return probe.images + factor[:, None, None, None] * change

    @abstractmethod
    def _closest(self, probe: Probe) -> Tensor:
        """The closest broken image found for every image of the probe: (n, C, H, W) in [0, 1].

        Where none was found: the best try, or the image itself.
        """
