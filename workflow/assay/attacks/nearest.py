"""What the searches for a minimal L2 norm keep: the closest broken iterate, a bisected weight."""

from __future__ import annotations

import torch
from torch import Tensor

from assay.attacks.base import Probe


class Nearest:
    """The closest broken iterate of every image; while there is none, the latest iterate.

    Attributes:
        images: (n, C, H, W), at first the unperturbed ones.
        distance: (n,) Euclidean, infinite while no iterate is broken.
    """

    def __init__(self, probe: Probe):
        self.images = probe.images.clone()
        self.distance = torch.full_like(self.images[:, 0, 0, 0], torch.inf)
        self._probe = probe

    def note(self, x: Tensor, rows: Tensor, logits: Tensor) -> Tensor:
        """Looks at one iterate of each of some images.

        The true decision is asked only about iterates that would be the closest, because on a
        stochastic victim each question costs many passes; about others the view is believed.

        Args:
            x: (m, C, H, W) in [0, 1].
            rows: (m,) the images of the probe that they are variants of, none of them twice.
            logits: (m, K) what the view says about them.

        Returns:
            (m,) bool, which of them are broken.
        """
        said, targets = logits.argmax(dim=1), self._probe.targets
        broken = said != self._probe.labels[rows] if targets is None else said == targets[rows]
        distance = (x - self._probe.images[rows]).flatten(1).norm(dim=1)
        closest = broken & (distance < self.distance[rows])
        if closest.any():
            confirmed = self._probe.confirm(x[closest], rows[closest])
            broken[closest] = confirmed
            closest[closest.clone()] = confirmed
        kept = closest | self.distance[rows].isinf()
        self.images[rows[kept]] = x[kept]
        self.distance[rows[closest]] = distance[closest]
        return broken


class Bisection:
    """The search for the smallest weight of an image's loss that breaks the image.

    Attributes:
        weight: (n,) to be tried next: ten times the last while nothing broke the image, then the
            middle between the largest that did not and the smallest that did.
    """

    def __init__(self, n: int, start: float, device: torch.device):
        self.weight = torch.full((n,), start, device=device)
        self._lower = torch.zeros_like(self.weight)
        self._upper = torch.full_like(self.weight, torch.inf)

    def note(self, broke: Tensor) -> None:
        """Goes on, knowing which images (n,) the weight has broken."""
        self._upper = torch.where(broke, self.weight, self._upper)
        self._lower = torch.where(broke, self._lower, self.weight)
        middle = (self._lower + self._upper) / 2
        self.weight = torch.where(self._upper.isinf(), 10 * self.weight, middle)
