"""A search at test time for the code with which each class imitates an image best.

:class:`ClassSearch` descends with the steps of :class:`CodeAdam` or :class:`SignSteps`, and images
may leave it early (:func:`no_class_catches_up`). Where it begins is in
:mod:`assay.models.search_starts`. The energy is a function that the caller gives. So any defence
that optimises at test time can use the search: a code may be a latent code of a generator, or a
changed image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch
from torch import Tensor

# Every so many steps an image may leave the search.
CHECK_EVERY = 5
_DECAYS = (0.9, 0.999)


@dataclass(frozen=True)
class SearchLimits:
    """What a search keeps, and how much it works on at once.

    Attributes:
        cache_bytes: reconstructions of candidates that are kept, at most; beyond, they are made
            again for each batch.
        codes_at_once: codes that a CPU searches at once: their feature maps stay in its cache. Of
            a thousand, each takes up to twice as long.
        near: closer than this (L2, of images in [0, 1]), an image starts where another one of the
            same attack ended.
        remembered: of the latest so many images: several restarts of some pieces of a batch.

    Example:
        >>> SearchLimits(codes_at_once=30).images_at_once(torch.zeros(64, 1, 28, 28), classes=10)
        3
    """

    cache_bytes: int = 1 << 30
    codes_at_once: int = 160
    near: float = 2.5
    remembered: int = 1024

    def images_at_once(self, images: Tensor, classes: int) -> int:
        """How many of the images (B, C, H, W) are searched at once; at least 1."""
        if images.device.type == "cpu":
            return max(1, self.codes_at_once // classes)
        return max(1, len(images))


@dataclass(frozen=True)
class Latents:
    """What the search found for B images under each of K classes.

    Attributes:
        codes: (B, K, 1 or 2, D): the code or, of a variational search, the mean and log-variance.
        energy: (B, K), in squared pixel values; the class with the lowest one is the decision.
        steps: (B,) how many each image took.
    """

    codes: Tensor
    energy: Tensor
    steps: Tensor


Energy = Callable[[Tensor, Tensor], Tensor]
"""Images (b, C, H, W) and codes (b, K, ...) of any shape to energies (b, K)."""


class Steps(Protocol):
    """Steps on the codes of many images, of which some may leave.

    Attributes:
        codes: (B, K, ...).
    """

    codes: Tensor

    def step(self, energy: Callable[[Tensor], Tensor]) -> Tensor:
        """One step down `energy`, codes to (B, K); returns it, from before the step."""

    def narrow(self, stay: Tensor) -> None:
        """Keeps the images where `stay` (B,) is true."""


class CodeAdam:
    """Adam on the codes of many images, of which some may leave.

    Attributes:
        codes: (B, K, ...).
    """

    def __init__(self, codes: Tensor, rate: float):
        self.codes, self._rate, self._count = codes, rate, 0
        self._mean, self._square = torch.zeros_like(codes), torch.zeros_like(codes)

    def step(self, energy: Callable[[Tensor], Tensor]) -> Tensor:
        """One step down `energy`, codes to (B, K); returns it, from before the step."""
        value, gradient = _value_and_gradient(self.codes, energy)
        self._count += 1
        first, second = _DECAYS
        self._mean.lerp_(gradient, 1 - first)
        self._square.lerp_(gradient.square(), 1 - second)
        size = (self._square / (1 - second**self._count)).sqrt_().add_(1e-8)
        self.codes = self.codes - self._rate / (1 - first**self._count) * self._mean / size
        return value

    def narrow(self, stay: Tensor) -> None:
        """Keeps the images where `stay` (B,) is true."""
        self.codes, self._mean = self.codes[stay], self._mean[stay]
        self._square = self._square[stay]


class SignSteps:
    """Steps of one length along the signs of the gradient, as inference in image space takes them.

    Attributes:
        codes: (B, K, ...).
    """

    def __init__(self, codes: Tensor, rate: float):
        self.codes, self._rate = codes, rate

    def step(self, energy: Callable[[Tensor], Tensor]) -> Tensor:
        """One step down `energy`, codes to (B, K); returns it, from before the step."""
        value, gradient = _value_and_gradient(self.codes, energy)
        self.codes = self.codes - self._rate * gradient.sign_()
        return value

    def narrow(self, stay: Tensor) -> None:
        """Keeps the images where `stay` (B,) is true."""
        self.codes = self.codes[stay]


def _value_and_gradient(codes: Tensor, energy: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
    leaf = codes.detach().requires_grad_()
    value = energy(leaf)
    (gradient,) = torch.autograd.grad(value.sum(), leaf)
    return value.detach(), gradient


@contextmanager
def differentiable() -> Iterator[None]:
    """A block that differentiates wherever it is called from: attacks ask for decisions in
    inference mode, where nothing can be differentiated.
    """
    with torch.inference_mode(False), torch.enable_grad():
        yield


@dataclass(frozen=True, kw_only=True)
class ClassSearch:
    """Descends the energies of all classes of all images at once.

    Args:
        rate: length of a step.
        limits: how much is worked on at once; no decision depends on it.
        rule: the steps: :class:`CodeAdam` or :class:`SignSteps`, or another class like these.
        project: given the images (b, C, H, W), changes codes (b, K, ...) in place after each
            step, for example to keep them in a ball; None: they may go anywhere.

    Example:
        The code of least squared distance to an image of one pixel, for two classes:

        >>> energy = lambda images, codes: (images.flatten(1) - codes[:, :, 0]).square()
        >>> found = ClassSearch(rate=0.1).descend(
        ...     torch.full((1, 1, 1, 1), 0.5), torch.zeros(1, 2, 1), energy, steps=200)
        >>> found.codes.flatten().round(decimals=2)
        tensor([0.5000, 0.5000])
    """

    rate: float
    limits: SearchLimits = SearchLimits()
    rule: Callable[[Tensor, float], Steps] = CodeAdam
    project: Callable[[Tensor, Tensor], Tensor | None] | None = None

    def descend(
        self,
        images: Tensor,
        start: Tensor,
        energy: Energy,
        *,
        steps: int,
        final: Energy | None = None,
        stop_early: bool = False,
    ) -> Latents:
        """The codes after `steps` steps from a start.

        Args:
            images: (B, C, H, W).
            start: (B, K, ...); it is not changed.
            energy: what is descended.
            steps: for each image, at most.
            final: the energy of the codes in the end; None: `energy`.
            stop_early: images leave as soon as no class can catch up with the best one even at
                its present pace: a search whose energies fall ever more slowly decides the same.
        """
        with differentiable():
            images = images.detach().clone()
            found = [
                self._descend_piece(piece, codes, energy, steps, final or energy, stop_early)
                for piece, codes in self._pieces(images, start)
            ]
            return Latents(
                torch.cat([part.codes for part in found]),
                torch.cat([part.energy for part in found]),
                torch.cat([part.steps for part in found]),
            )

    def least(self, images: Tensor, start: Tensor, energy: Energy, *, steps: int) -> Tensor:
        """The least energy (B, K) on the way from a start, its two ends included.

        Arguments are those of :meth:`descend`; the start is projected first.
        """
        with differentiable():
            images = images.detach().clone()
            return torch.cat(
                [
                    self._least_of_piece(piece, codes, energy, steps)
                    for piece, codes in self._pieces(images, start.detach())
                ]
            )

    def _pieces(self, images: Tensor, start: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        count = self.limits.images_at_once(images, start.shape[1])
        return zip(images.split(count), start.split(count), strict=True)

    def _step(self, walk: Steps, images: Tensor, energy: Energy) -> Tensor:
        value = walk.step(partial(energy, images))
        if self.project is not None:
            self.project(images, walk.codes)
        return value

    def _descend_piece(
        self,
        images: Tensor,
        start: Tensor,
        energy: Energy,
        steps: int,
        final: Energy,
        stop_early: bool,
    ) -> Latents:
        walk = self.rule(start.clone(), self.rate)
        codes = walk.codes.clone()
        taken = torch.full((len(codes),), steps, device=codes.device)
        live, seen = torch.arange(len(codes), device=codes.device), images
        recent: list[Tensor] = []
        before = None
        for step in range(steps):
            recent.append(self._step(walk, seen, energy))
            left = steps - step - 1
            if not stop_early or len(recent) < CHECK_EVERY or not left:
                continue
            now, recent = torch.stack(recent).mean(dim=0), []
            if before is not None:
                decided = no_class_catches_up(now, (before - now) * left / CHECK_EVERY)
                if decided.any():
                    codes[live[decided]], taken[live[decided]] = walk.codes[decided], step + 1
                    live, now = live[~decided], now[~decided]
                    seen = images[live]
                    walk.narrow(~decided)
                    if not len(live):
                        break
            before = now
        codes[live] = walk.codes
        with torch.no_grad():
            return Latents(codes.detach(), final(images, codes), taken)

    def _least_of_piece(self, images: Tensor, start: Tensor, energy: Energy, steps: int) -> Tensor:
        walk = self.rule(start.clone(), self.rate)
        if self.project is not None:
            self.project(images, walk.codes)
        with torch.no_grad():
            least = energy(images, walk.codes)
        for _ in range(steps):
            least = torch.minimum(least, self._step(walk, images, energy))
        with torch.no_grad():
            return torch.minimum(least, energy(images, walk.codes))


def unrolled(
    images: Tensor, codes: Tensor, energy: Energy, *, steps: int, rate: float, final: Energy
) -> Tensor:
    """Energies (B, K) after steps of normalised length that a view can differentiate through.

    Args:
        images: (B, C, H, W); the graph reaches them where they require a gradient.
        codes: (B, K, 1 or 2, D), where to begin.
        energy: what is descended.
        steps: how many.
        rate: of Adam, whose first step is as long.
        final: the energy of the codes in the end.
    """
    wanted = images.requires_grad and not torch.is_inference_mode_enabled()
    with differentiable():
        images = images if wanted else images.clone()
        codes = codes.requires_grad_()
        for _ in range(steps):
            value = energy(images, codes)
            (gradient,) = torch.autograd.grad(value.sum(), codes, create_graph=wanted)
            codes = codes - rate * _normalised(gradient)
        return final(images, codes)


def _normalised(gradient: Tensor) -> Tensor:
    """The direction of Adam's first step, smooth where the gradient (.., D) vanishes."""
    return gradient / (gradient.square().mean(dim=(2, 3), keepdim=True) + 1e-12).sqrt()


def no_class_catches_up(energy: Tensor, further: Tensor) -> Tensor:
    """(B,) whether no class can catch up with the best one.

    Args:
        energy: (B, K).
        further: (B, K), how much lower each can still get.
    """
    best = energy.argmin(dim=1, keepdim=True)
    lowest = (energy - further.clamp_min(0.0)).scatter(1, best, torch.inf)
    return lowest.amin(dim=1) > energy.gather(1, best).squeeze(1)
