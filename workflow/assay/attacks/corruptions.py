"""Common corruptions: attacks whose epsilon is a severity and that do not query the victim.

The levels of CIFAR-10-C are those of its generating code (``make_cifar_c.py`` in the repository
hendrycks/robustness), made for 32 x 32 pixels. Lengths in pixels (blurs, translation) grow with the
image, by min(H, W) / 32, so that a corruption looks the same at any resolution. They do not shrink
on smaller images, where the benchmark's fractions of a pixel would soon be none. Ratios, noise
levels and JPEG qualities are the same at every size.

Random corruptions sample once per image wherever the severities can share the sample: the
accuracies along them then differ by the severity alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from assay.attacks.arguments import bad_setting
from assay.attacks.attack import Attack
from assay.attacks.kernels import (
    block_means,
    disk_kernel,
    length_scale,
    nearest_offsets,
    shifted,
)
from assay.attacks.queries import Queries
from assay.foundation.errors import AttackError


@dataclass(frozen=True, kw_only=True)
class Corruption(Attack):
    """A corruption given by a formula; severities are independent of each other."""

    norm: ClassVar[str] = "severity"
    access: ClassVar[str] = "none"
    nested: ClassVar[bool] = False


@dataclass(frozen=True, kw_only=True)
class Brightness(Corruption):
    """clip(f * x, 0, 1); epsilon is the factor f, and 1 changes nothing."""

    source: ClassVar[str] = "Millner, Picard, Gravier 2024, the definition of its public code"
    differences: ClassVar[tuple[str, ...]] = (
        "the published function lacks its return statement; this one returns the image",
    )
    identity_epsilon: ClassVar[float] = 1.0

    def _search(self, queries: Queries, epsilon: float, shared: Tensor | None) -> Tensor:
        return (queries.images * epsilon).clamp(0.0, 1.0)


@dataclass(frozen=True, kw_only=True)
class Contrast(Corruption):
    """clip(f * (x - m) + m, 0, 1), m the mean over all values of the image; epsilon is f."""

    source: ClassVar[str] = "Millner, Picard, Gravier 2024, the definition of its public code"
    identity_epsilon: ClassVar[float] = 1.0

    def _search(self, queries: Queries, epsilon: float, shared: Tensor | None) -> Tensor:
        mean = queries.images.mean(dim=(1, 2, 3), keepdim=True)
        return ((queries.images - mean) * epsilon + mean).clamp(0.0, 1.0)


@dataclass(frozen=True, kw_only=True)
class Graded(Corruption):
    """A perturbation in grades; epsilon is the severity, 1 to 5, or 0 for none.

    Those whose source is CIFAR-10-C keep its five levels; the others state that no benchmark fixes
    theirs.

    Args:
        levels: the perturbation's parameter, or parameters, at severity 1, 2, ….

    Class attributes:
        limits: between which every parameter has to lie.
        parameters: how many there are per severity.

    Raises:
        AttackError: there is no level, or one is impossible.
    """

    source: ClassVar[str] = "Hendrycks, Dietterich 2019, arXiv:1903.12261"
    differences: ClassVar[tuple[str, ...]] = ("the result is not rounded to 8 bits",)
    limits: ClassVar[tuple[float, float]] = (0.0, 1.0)
    parameters: ClassVar[int] = 1

    levels: tuple[float | tuple[float, ...], ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        levels = tuple(
            tuple(level) if isinstance(level, (list, tuple)) else level for level in self.levels
        )
        object.__setattr__(self, "levels", levels)
        low, high = self.limits
        for level in levels:
            values = level if isinstance(level, tuple) else (level,)
            fitting = len(values) == self.parameters and all(low <= v <= high for v in values)
            if not fitting:
                raise bad_setting(
                    "levels",
                    f"{type(self).__name__} has no level {level}",
                    f"use {self.parameters} number(s) from {low:g} to {high:g} per severity",
                )
        if not levels:
            raise bad_setting("levels", f"{type(self).__name__} needs a level per severity")

    def level(self, severity: float) -> Any:
        """The perturbation's parameter (a number), or parameters (a tuple), at a severity.

        Raises:
            AttackError: there is no such severity.
        """
        if severity != int(severity) or not 1 <= severity <= len(self.levels):
            raise AttackError(
                f"{severity} is not a severity of {type(self).__name__}",
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
        *Graded.differences,
        "in closed form instead of a conversion to HSV and back; images of any number of channels",
    )

    levels: tuple[float, ...] = (0.05, 0.1, 0.15, 0.2, 0.3)

    def _search(self, queries: Queries, epsilon: float, shared: Tensor | None) -> Tensor:
        value = queries.images.amax(dim=1, keepdim=True)
        brighter = (value + self.level(epsilon)).clamp_max(1.0)
        hue = torch.where(value > 0, queries.images / value.clamp_min(1e-12), 1.0)
        return (hue * brighter).clamp(0.0, 1.0)


@dataclass(frozen=True, kw_only=True)
class ContrastStandard(Graded):
    """clip(c * (x - m) + m, 0, 1) with c < 1 and m the mean of each channel of the image."""

    levels: tuple[float, ...] = (0.75, 0.5, 0.4, 0.3, 0.15)

    def _search(self, queries: Queries, epsilon: float, shared: Tensor | None) -> Tensor:
        mean = queries.images.mean(dim=(2, 3), keepdim=True)
        return ((queries.images - mean) * self.level(epsilon) + mean).clamp(0.0, 1.0)


@dataclass(frozen=True, kw_only=True)
class GaussianNoise(Corruption):
    """clip(x + s * n, 0, 1) with n ~ N(0, I) per value; epsilon is the standard deviation s.

    One sample per image serves all deviations, so that the accuracies along them are comparable.
    """

    source: ClassVar[str] = "Hendrycks, Dietterich 2019, arXiv:1903.12261"
    differences: ClassVar[tuple[str, ...]] = (
        "epsilon is the standard deviation itself; CIFAR-10-C's severities are .04 .06 .08 .09 .10",
    )

    def _prepare(self, queries: Queries) -> Tensor:
        return queries.normal(*queries.images.shape)

    def _search(self, queries: Queries, epsilon: float, shared: Tensor) -> Tensor:
        return (queries.images + epsilon * shared).clamp(0.0, 1.0)


@dataclass(frozen=True, kw_only=True)
class GaussianNoiseStandard(Graded):
    """clip(x + s * n, 0, 1) with n ~ N(0, I) per value, one sample for all severities.

    Levels: the standard deviation s; CIFAR-10-C's.
    """

    limits: ClassVar[tuple[float, float]] = (0.0, math.inf)

    levels: tuple[float, ...] = (0.04, 0.06, 0.08, 0.09, 0.1)

    def _prepare(self, queries: Queries) -> Tensor:
        return queries.normal(*queries.images.shape)

    def _search(self, queries: Queries, epsilon: float, shared: Tensor) -> Tensor:
        return queries.images + self.level(epsilon) * shared


@dataclass(frozen=True, kw_only=True)
class ShotNoise(Graded):
    """clip(k / c, 0, 1) with k ~ Poisson(c * x) per value: few photons, deviation sqrt(x / c).

    Every severity samples again, since a Poisson variable of another mean is not a function of this
    one. Black stays black. Levels: c, the photons of a white value; CIFAR-10-C's.
    """

    limits: ClassVar[tuple[float, float]] = (1e-3, math.inf)

    levels: tuple[float, ...] = (500.0, 250.0, 100.0, 75.0, 50.0)

    def _search(self, queries: Queries, epsilon: float, shared: Tensor | None) -> Tensor:
        photons = self.level(epsilon)
        mean = (queries.images * photons).to(queries.generator.device)
        caught = torch.poisson(mean, generator=queries.generator)
        return caught.to(queries.images.device) / photons


@dataclass(frozen=True, kw_only=True)
class ImpulseNoise(Graded):
    """Salt and pepper: a share c of the values becomes 0 or 1, each with probability c / 2.

    One sample u ~ U(0, 1) per value serves all severities: 0 where u < c / 2, 1 where u >= 1 - c /
    2, so what is hit stays hit as the severity grows. Levels: c; CIFAR-10-C's.
    """

    levels: tuple[float, ...] = (0.01, 0.02, 0.03, 0.05, 0.07)

    def _prepare(self, queries: Queries) -> Tensor:
        return queries.uniform(*queries.images.shape)

    def _search(self, queries: Queries, epsilon: float, shared: Tensor) -> Tensor:
        half = self.level(epsilon) / 2
        return queries.images.masked_fill(shared < half, 0.0).masked_fill(shared >= 1 - half, 1.0)


@dataclass(frozen=True, kw_only=True)
class DefocusBlur(Graded):
    """x convolved with a disk of radius r that a Gaussian of deviation s has smoothed.

    A disk whose radius is below one pixel of the benchmark is a point: what is left is the
    Gaussian, cut off one benchmark pixel from its centre. The image is mirrored at its edges, the
    outermost pixel not repeated. Levels: (r, s) in pixels of a 32-pixel image; CIFAR-10-C's.
    """

    differences: ClassVar[tuple[str, ...]] = (
        *Graded.differences,
        "radius, deviation and cut-off grow with images larger than 32 pixels",
        "a radius below one pixel remains a point on larger images, else severity 3 would blur "
        "more than severity 4 there",
    )
    limits: ClassVar[tuple[float, float]] = (0.0, math.inf)
    parameters: ClassVar[int] = 2

    levels: tuple[tuple[float, float], ...] = (
        (0.3, 0.4),
        (0.4, 0.5),
        (0.5, 0.6),
        (1.0, 0.2),
        (1.5, 0.1),
    )

    def _search(self, queries: Queries, epsilon: float, shared: Tensor | None) -> Tensor:
        radius, deviation = self.level(epsilon)
        scale = length_scale(queries.images)
        kernel = disk_kernel(
            radius * scale if radius >= 1 else 0.0, deviation * scale, reach=math.ceil(scale)
        ).to(queries.images)
        edge = len(kernel) // 2
        mode = "reflect" if edge < min(queries.images.shape[-2:]) else "replicate"
        planes = F.pad(queries.images, (edge,) * 4, mode=mode).flatten(0, 1)[:, None]
        return F.conv2d(planes, kernel[None, None]).view_as(queries.images)


@dataclass(frozen=True, kw_only=True)
class MotionBlur(Graded):
    """The mean of x along a ray, weighted by half a Gaussian of deviation s.

    x'(p) is the sum over i = 0, 1, … of w_i x(p + [i d]) with w_i ~ exp(-i² / 2s²), brackets for
    the nearest pixel, the edge pixel continued outside, and d = (cos a, sin a) with one angle
    a ~ U(-45°, 45°) per image for all severities. This is ImageMagick's motion blur, which the
    benchmark calls. Levels: s in pixels of a 32-pixel image; CIFAR-10-C's. Its severities 3 and 4
    have the same deviation and differ in the length of the ray, 12 and 16 pixels, where the weights
    are below 1e-7: but for the benchmark's fresh angles they are one perturbation.
    """

    differences: ClassVar[tuple[str, ...]] = (
        *Graded.differences,
        "the ray ends at four deviations, beyond which the benchmark's weights sum to below 1e-4",
        "the deviation grows with images larger than 32 pixels",
    )
    limits: ClassVar[tuple[float, float]] = (1e-3, math.inf)

    levels: tuple[float, ...] = (1.0, 1.5, 2.0, 2.0, 2.5)

    def _prepare(self, queries: Queries) -> Tensor:
        return (queries.uniform(len(queries.images)) - 0.5) * (math.pi / 2)

    def _search(self, queries: Queries, epsilon: float, shared: Tensor) -> Tensor:
        deviation = self.level(epsilon) * length_scale(queries.images)
        steps = range(math.ceil(4 * deviation) + 1)
        weights = [math.exp(-(i**2) / (2 * deviation**2)) for i in steps]
        blurred = torch.zeros_like(queries.images)
        for i, weight in zip(steps, weights, strict=True):
            seen = shifted(
                queries.images, nearest_offsets(i * shared.sin()), nearest_offsets(i * shared.cos())
            )
            blurred.add_(seen, alpha=weight / sum(weights))
        return blurred


@dataclass(frozen=True, kw_only=True)
class Gamma(Graded):
    """x ** g: values between black and white grow darker (g > 1) or brighter (g < 1).

    Levels: the exponent g. No benchmark fixes them; these map 1/2 to 0.42, 0.35, 0.25, 0.18, 0.13.
    """

    source: ClassVar[str] = "the power law of displays; levels chosen here"
    differences: ClassVar[tuple[str, ...]] = ()
    limits: ClassVar[tuple[float, float]] = (1e-3, math.inf)

    levels: tuple[float, ...] = (1.25, 1.5, 2.0, 2.5, 3.0)

    def _search(self, queries: Queries, epsilon: float, shared: Tensor | None) -> Tensor:
        return queries.images ** self.level(epsilon)


@dataclass(frozen=True, kw_only=True)
class JPEG(Graded):
    """x rounded to 8 bits, compressed as JPEG and read again, by torchvision (libjpeg).

    Colour is kept at half the resolution, libjpeg's default. Images with other than one or three
    channels are coded channel by channel. libjpeg codes on the CPU and one image at a time. Levels:
    the quality, from 100 down; CIFAR-10-C's.
    """

    differences: ClassVar[tuple[str, ...]] = ("torchvision instead of Pillow calls libjpeg",)
    limits: ClassVar[tuple[float, float]] = (1, 100)

    levels: tuple[int, ...] = (80, 65, 58, 50, 40)

    def _search(self, queries: Queries, epsilon: float, shared: Tensor | None) -> Tensor:
        # Importing torchvision takes seconds, which jobs without this perturbation need not spend.
        from torchvision.transforms.v2.functional import jpeg

        coded = (queries.images * 255).round().to("cpu", torch.uint8)
        if coded.shape[1] not in (1, 3):
            coded = coded.flatten(0, 1)[:, None]
        decoded = jpeg(coded, quality=int(self.level(epsilon)))
        return decoded.to(queries.images).view_as(queries.images) / 255


@dataclass(frozen=True, kw_only=True)
class Pixelate(Graded):
    """x reduced to c times its height and width, rounded down, and enlarged again, in blocks.

    Each pixel of the reduced image is the mean of the pixels whose centres lie in the area that it
    covers, and each pixel of the result has the value of the reduced pixel it lies in: Pillow's box
    filter, without its rounding to 8 bits. Levels: c; CIFAR-10-C's.
    """

    levels: tuple[float, ...] = (0.95, 0.9, 0.85, 0.75, 0.65)

    def _search(self, queries: Queries, epsilon: float, shared: Tensor | None) -> Tensor:
        share = self.level(epsilon)
        down, across = (
            block_means(size, share).to(queries.images) for size in queries.images.shape[-2:]
        )
        return down @ queries.images @ across.T


@dataclass(frozen=True, kw_only=True)
class Rotation(Graded):
    """x turned about its centre, bilinearly; what comes from outside the image is black.

    A fair coin per image decides the direction, for all severities. Black is the background of
    radiographs and digits; on other images the black corners are part of the perturbation. Levels:
    the angle in degrees. No benchmark fixes them.
    """

    source: ClassVar[str] = "Engstrom et al. 2019, arXiv:1712.02779; levels chosen here"
    differences: ClassVar[tuple[str, ...]] = (
        "one angle per severity instead of a search over angles up to 30 degrees",
    )
    limits: ClassVar[tuple[float, float]] = (0.0, 180.0)

    levels: tuple[float, ...] = (5.0, 10.0, 15.0, 20.0, 30.0)

    def _prepare(self, queries: Queries) -> Tensor:
        return (queries.uniform(len(queries.images)) - 0.5).sign()

    def _search(self, queries: Queries, epsilon: float, shared: Tensor) -> Tensor:
        angle = shared * math.radians(self.level(epsilon))
        height, width = queries.images.shape[-2:]
        sine, cosine, zero = angle.sin(), angle.cos(), torch.zeros_like(angle)
        # affine_grid measures in half widths and half heights, which differ unless H = W.
        turn = torch.stack(
            [cosine, -sine * height / width, zero, sine * width / height, cosine, zero],
            dim=1,
        ).view(-1, 2, 3)
        grid = F.affine_grid(turn, list(queries.images.shape), align_corners=False)
        return F.grid_sample(queries.images, grid, mode="bilinear", align_corners=False)


@dataclass(frozen=True, kw_only=True)
class Translation(Graded):
    """x moved by whole pixels; what comes from outside the image is black.

    One direction a ~ U(0°, 360°) per image serves all severities: x'(p) = x(p - [t (cos a, sin a)])
    with brackets for the nearest pixel, so nothing is interpolated. Levels: the distance t in
    pixels of a 32-pixel image. No benchmark fixes them; these are 3, 6, 9, 13 and 19 % of the size.
    """

    source: ClassVar[str] = "Engstrom et al. 2019, arXiv:1712.02779; levels chosen here"
    differences: ClassVar[tuple[str, ...]] = (
        "one distance per severity instead of a search over shifts up to 3 pixels",
    )
    limits: ClassVar[tuple[float, float]] = (0.0, math.inf)

    levels: tuple[float, ...] = (1.0, 2.0, 3.0, 4.0, 6.0)

    def _prepare(self, queries: Queries) -> Tensor:
        return queries.uniform(len(queries.images)) * (2 * math.pi)

    def _search(self, queries: Queries, epsilon: float, shared: Tensor) -> Tensor:
        distance = self.level(epsilon) * length_scale(queries.images)
        framed = F.pad(queries.images, (1, 1, 1, 1))
        down, right = (
            nearest_offsets(-distance * shared.sin()),
            nearest_offsets(-distance * shared.cos()),
        )
        return shifted(framed, down, right)[..., 1:-1, 1:-1]
