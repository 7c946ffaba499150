"""For each class, the image near a given one that a network takes for that class most.

X. Dong, H. Liu, R. Ji, L. Cao, Q. Ye, J. Liu, Q. Tian: API-Net, ECCV 2020: the search of
anti-perturbation inference, in use and in training.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from assay.foundation.errors import ModelError
from assay.models.class_search import ClassSearch, Latents, SearchLimits, SignSteps

# Changed images that a CPU searches at once. The maps of 160 are mapped into memory anew for each
# pass as soon as other work is done between: measured 1.4 times the time.
AT_ONCE = 80
# Beyond the reach of the published steps, all steps together go so many radii.
FURTHER = 2.5
Network = Callable[..., Tensor]
"""Images (N, C, H, W) and a generator to logits (N, K)."""


@dataclass(frozen=True, kw_only=True)
class ImageSearch:
    """Steps of the gradient's sign that raise log p(c|z), for all classes c of all images at once.

    Each begins at the image plus a little noise; after each step z is within the radius (L∞) and in
    [0, 1].

    Args:
        radius: of the ball around the image, in (0, 1].
        step: length of a step; longer where `steps` of them are shorter than the radius
            (:attr:`length`).
        steps: how many, at least 1.
        noise: standard deviation of the noise at the start, at least 0.
        limits: how many images are searched at once.

    Raises:
        ModelError: a setting is impossible.

    Example:
        >>> search = ImageSearch(radius=0.1, step=0.02)
        >>> def network(images, generator):  # class 0 is a bright image, class 1 a dark one
        ...     return torch.stack([images.mean((1, 2, 3)), 0 * images[:, 0, 0, 0]], dim=1)
        >>> found = search.run(network, torch.full((1, 1, 2, 2), 0.5), 2, torch.Generator())
        >>> found.codes.mean((2, 3, 4)).round(decimals=2)  # how far each class moves the image
        tensor([[ 0.1000, -0.1000]])
    """

    radius: float
    step: float
    steps: int = 8
    noise: float = 0.001
    limits: SearchLimits = SearchLimits(codes_at_once=AT_ONCE, remembered=512)  # noqa: RUF009

    def __post_init__(self) -> None:
        if not 0 < self.radius <= 1:
            raise ModelError(
                f"a radius of {self.radius:g} holds no other image",
                where="settings.radius",
                remedy="use more than 0 and at most 1, for images in [0, 1]",
            )
        if not self.step > 0:
            raise ModelError(f"{self.step:g} is too small", where="settings.step")
        if not self.noise >= 0:
            raise ModelError(f"{self.noise:g} is too small", where="settings.noise")
        if self.steps < 1:
            raise ModelError(
                f"{self.steps} steps are too few", where="settings.steps", remedy="use 1 or more"
            )

    @property
    def reaches(self) -> bool:
        """Whether the steps as they are given go as far as the radius."""
        return self.steps * self.step >= self.radius

    @property
    def length(self) -> float:
        """Length of a step: as given where the steps reach the radius, else 2.5 radii over all.

        Example:
            >>> ImageSearch(radius=14 / 255, step=0.007).length
            0.007
            >>> round(ImageSearch(radius=16 / 255, step=0.007).length, 4)
            0.0196
        """
        return self.step if self.reaches else FURTHER * self.radius / self.steps

    def run(
        self,
        network: Network,
        images: Tensor,
        classes: int,
        generator: torch.Generator | None,
        start: Tensor | None = None,
    ) -> Latents:
        """The changes of images (B, C, H, W) after all steps.

        Args:
            network: what the search asks.
            images: in [0, 1].
            classes: K.
            generator: draws the noise, and whatever the network draws.
            start: changes (B, K, C, H, W) to begin with, to which the noise is added; None: none.

        Returns:
            Changes as codes (B, K, C, H, W), and -log p(c|z) as energy (B, K).
        """
        search = ClassSearch(
            rate=self.length, limits=self.limits, rule=SignSteps, project=self.project
        )
        energy = partial(_energy, network, generator)
        start = self.begin(images, classes, generator, start)
        return search.descend(images, start, energy, steps=self.steps)

    def begin(
        self,
        images: Tensor,
        classes: int,
        generator: torch.Generator | None,
        start: Tensor | None = None,
    ) -> Tensor:
        """Noise (B, K, C, H, W), on top of `start` where there is one."""
        shape = (len(images), classes, *images.shape[1:])
        if not self.noise:
            return images.new_zeros(shape) if start is None else start
        noise = torch.randn(shape, generator=generator, device=images.device).mul_(self.noise)
        return noise if start is None else noise.add_(start)

    def project(self, images: Tensor, changes: Tensor) -> Tensor:
        """Brings changes (B, K, C, H, W) into the ball and the changed images into [0, 1]."""
        low = (-images).clamp_min_(-self.radius)[:, None]
        high = (1 - images).clamp_max_(self.radius)[:, None]
        return torch.clamp(changes, low, high, out=changes)


def own_logits(logits: Tensor, classes: int) -> Tensor:
    """Of K images each of B: the k-th one's logit of class k, (B * K, K) to (B, K).

    Example:
        >>> own_logits(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), 2)
        tensor([[1., 4.]])
    """
    return logits.unflatten(0, (-1, classes)).diagonal(dim1=1, dim2=2)


def own_scores(logits: Tensor, classes: int) -> Tensor:
    """As :func:`own_logits`, the log-probabilities log p(k|z_k), (B, K)."""
    return own_logits(functional.log_softmax(logits, dim=1), classes)


def changed_images(images: Tensor, changes: Tensor) -> Tensor:
    """Images (B, C, H, W) with the changes (B, K, C, H, W) of each class, (B * K, C, H, W)."""
    return (images[:, None] + changes).flatten(0, 1)


def _energy(
    network: Network, generator: torch.Generator | None, images: Tensor, changes: Tensor
) -> Tensor:
    return -own_scores(network(changed_images(images, changes), generator), changes.shape[1])
