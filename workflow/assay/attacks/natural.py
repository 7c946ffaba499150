"""Natural perturbations: attacks whose epsilon is a severity and that do not look at the victim."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from assay.attacks.base import Attack, Probe
from assay.foundation.errors import AttackError


@dataclass(frozen=True, kw_only=True)
class Natural(Attack):
    """A perturbation given by a formula; each severity stands for itself."""

    norm: ClassVar[str] = "severity"
    uses_views: ClassVar[bool] = False
    nested: ClassVar[bool] = False


@dataclass(frozen=True, kw_only=True)
class Brightness(Natural):
    """clip(f * x, 0, 1); epsilon is the factor f, and 1 changes nothing."""

    source: ClassVar[str] = "Millner, Picard, Gravier 2024, the definition of its public code"
    differences: ClassVar[tuple[str, ...]] = (
        "the published function lacks its return statement; this one returns the image",
    )
    neutral: ClassVar[float] = 1.0

    def _search(self, probe: Probe, epsilon: float, shared: Tensor | None) -> Tensor:
        return (probe.images * epsilon).clamp(0.0, 1.0)


@dataclass(frozen=True, kw_only=True)
class Contrast(Natural):
    """clip(f * (x - m) + m, 0, 1), m the mean over all values of the image; epsilon is f."""

    source: ClassVar[str] = "Millner, Picard, Gravier 2024, the definition of its public code"
    neutral: ClassVar[float] = 1.0

    def _search(self, probe: Probe, epsilon: float, shared: Tensor | None) -> Tensor:
        mean = probe.images.mean(dim=(1, 2, 3), keepdim=True)
        return ((probe.images - mean) * epsilon + mean).clamp(0.0, 1.0)


@dataclass(frozen=True, kw_only=True)
class Graded(Natural):
    """A perturbation of the CIFAR-10-C benchmark; epsilon is its severity, 1 to 5, or 0 for none.

    Args:
        levels: the perturbation's parameter at severity 1, 2, ….
    """

    source: ClassVar[str] = "Hendrycks, Dietterich 2019, arXiv:1903.12261"

    levels: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "levels", tuple(self.levels))

    def level(self, severity: float) -> float:
        """The perturbation's parameter at a severity.

        Raises:
            AttackError: there is no such severity.
        """
        if severity != int(severity) or not 1 <= severity <= len(self.levels):
            raise AttackError(
                f"{severity} is no severity of {type(self).__name__}",
                where="argument 'epsilons'",
                remedy=f"use whole numbers from 1 to {len(self.levels)}",
            )
        return self.levels[int(severity) - 1]


@dataclass(frozen=True, kw_only=True)
class BrightnessStandard(Graded):
    """Adds c to the value of the HSV colour model: v' = clip(v + c, 0, 1).

    Hue and saturation stay, so every channel is scaled by v' / v with v the largest channel; black
    becomes grey. On one channel this is clip(x + c, 0, 1).
    """

    differences: ClassVar[tuple[str, ...]] = (
        "in closed form instead of a conversion to HSV and back; images of any number of channels",
    )

    levels: tuple[float, ...] = (0.05, 0.1, 0.15, 0.2, 0.3)

    def _search(self, probe: Probe, epsilon: float, shared: Tensor | None) -> Tensor:
        value = probe.images.amax(dim=1, keepdim=True)
        brighter = (value + self.level(epsilon)).clamp_max(1.0)
        hue = torch.where(value > 0, probe.images / value.clamp_min(1e-12), 1.0)
        return (hue * brighter).clamp(0.0, 1.0)


@dataclass(frozen=True, kw_only=True)
class ContrastStandard(Graded):
    """clip(c * (x - m) + m, 0, 1) with c < 1 and m the mean of each channel of the image."""

    levels: tuple[float, ...] = (0.75, 0.5, 0.4, 0.3, 0.15)

    def _search(self, probe: Probe, epsilon: float, shared: Tensor | None) -> Tensor:
        mean = probe.images.mean(dim=(2, 3), keepdim=True)
        return ((probe.images - mean) * self.level(epsilon) + mean).clamp(0.0, 1.0)


@dataclass(frozen=True, kw_only=True)
class GaussianNoise(Natural):
    """clip(x + s * n, 0, 1) with n ~ N(0, I) per value; epsilon is the standard deviation s.

    One draw per image serves all deviations, so that the accuracies along them are comparable.
    """

    source: ClassVar[str] = "Hendrycks, Dietterich 2019, arXiv:1903.12261"
    differences: ClassVar[tuple[str, ...]] = (
        "epsilon is the standard deviation itself; CIFAR-10-C's severities are .04 .06 .08 .09 .10",
    )

    def _prepare(self, probe: Probe) -> Tensor:
        return probe.normal(*probe.images.shape)

    def _search(self, probe: Probe, epsilon: float, shared: Tensor) -> Tensor:
        return (probe.images + epsilon * shared).clamp(0.0, 1.0)
