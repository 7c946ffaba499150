"""A search at test time for the code with which each class imitates an image best.

Where it begins (:class:`CandidatePool`, :class:`WarmCodes`), how it steps (:class:`CodeAdam`) and
when an image may leave it (:func:`no_class_catches_up`). The energy is the model's.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from assay.models.grouped import versions

log = logging.getLogger(__name__)

# Candidates that are decoded, and compared with images, at once.
CHUNK = 250
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


class CodeAdam:
    """Adam on the codes of many images, of which some may leave.

    Attributes:
        codes: (B, K, 1 or 2, D).
    """

    def __init__(self, codes: Tensor, rate: float):
        self.codes, self._rate, self._count = codes, rate, 0
        self._mean, self._square = torch.zeros_like(codes), torch.zeros_like(codes)

    def step(self, energy: Callable[[Tensor], Tensor]) -> Tensor:
        """One step down `energy`, codes to (B, K); returns it, from before the step."""
        leaf = self.codes.detach().requires_grad_()
        value = energy(leaf)
        (gradient,) = torch.autograd.grad(value.sum(), leaf)
        self._count += 1
        first, second = _DECAYS
        self._mean.lerp_(gradient, 1 - first)
        self._square.lerp_(gradient.square(), 1 - second)
        size = (self._square / (1 - second**self._count)).sqrt_().add_(1e-8)
        self.codes = leaf.detach() - self._rate / (1 - first**self._count) * self._mean / size
        return value.detach()

    def narrow(self, stay: Tensor) -> None:
        self.codes, self._mean = self.codes[stay], self._mean[stay]
        self._square = self._square[stay]


class Searchable(Protocol):
    """What :class:`CandidatePool` asks of a model."""

    classes: int
    shape: tuple[int, int, int]

    def candidate_parts(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        """Codes (m, D) to flat reconstructions (K, m, P) and their share of the energy (K, m)."""


def random_codes(count: int, dimensions: int) -> Tensor:
    """Codes (count, D) from N(0, I), always the same, without the tenth that is farthest from 0.

    Example:
        >>> random_codes(9, 2).shape
        torch.Size([9, 2])
    """
    sampled = torch.randn(int(count / 0.9), dimensions, generator=torch.Generator().manual_seed(0))
    return sampled[sampled.norm(dim=1).argsort()[:count].sort().values]


class CandidatePool:
    """Codes, the same for all classes and images, and what each class makes of them.

    Args:
        model: decodes the codes; it is not kept alive.
        codes: (M, D) on the device of the model.
        cache_bytes: reconstructions are kept where they need no more than this.

    Attributes:
        codes: (M, D).
    """

    def __init__(self, model: Searchable, codes: Tensor, *, cache_bytes: int):
        self._model = weakref.ref(model)
        self._versions = versions(model)
        self.codes = codes
        size = model.classes * len(codes) * 4 * torch.Size(model.shape).numel()
        self._kept: list[tuple[Tensor, Tensor]] | None = None
        if size <= cache_bytes:
            self._kept = [model.candidate_parts(piece) for piece in codes.split(CHUNK)]
        else:
            log.warning(
                "%d candidates of %d classes need %.1f GB, more than the %.1f GB that are kept: "
                "they are made again for each batch; fewer candidates run faster",
                len(codes), model.classes, size / 2**30, cache_bytes / 2**30,
            )  # fmt: skip

    def is_of(self, model: Searchable) -> bool:
        """Whether the reconstructions are those of the model with its present weights."""
        return self._model() is model and self._versions == versions(model)

    def closest(
        self, images: Tensor, energy: Tensor, *, prior: bool = True
    ) -> tuple[Tensor, Tensor]:
        """The best candidate of each image and class where it is better than `energy` (B, K).

        Without `prior` candidates are compared by their squared errors alone.

        Returns:
            Codes (B, K, D) and where they are better, (B, K) bool.
        """
        pixels = images.flatten(1)
        base = pixels.square().sum(dim=1)[:, None]
        best, place = energy.clone(), torch.full_like(energy, -1, dtype=torch.int64)
        for number, codes in enumerate(self.codes.split(CHUNK)):
            made, share = self._kept[number] if self._kept else self._model().candidate_parts(codes)
            if not prior:
                share = made.square().sum(dim=2)
            # ||x - g||^2 = ||x||^2 - 2 x g + ||g||^2: one matrix product for all.
            scores = torch.addmm(share.flatten(), pixels, made.flatten(0, 1).T, alpha=-2.0)
            value, which = scores.view(len(images), *share.shape).min(dim=2)
            value = value + base
            better = value < best
            best = torch.where(better, value, best)
            place = torch.where(better, which + number * CHUNK, place)
        return self.codes[place.clamp_min(0)], place >= 0


class WarmCodes:
    """Codes that are remembered from call to call.

    An attack's next iterate is close to the last one. A search that goes on from there needs few
    steps. What is remembered belongs to one generator: each attack on each chunk of images has its
    own, so results do not depend on what ran before.

    Args:
        search: images (B, C, H, W) and a generator, with keywords `start` and `steps`, to Latents.
        steps: of a search that goes on from remembered codes.
        near: see :class:`SearchLimits`.
        remembered: see :class:`SearchLimits`.
    """

    def __init__(self, search: Callable[..., Latents], *, steps: int, near: float, remembered: int):
        self._search, self._steps = search, steps
        self._near, self._remembered = near, remembered
        # Kept alive, so that no other generator takes its place in memory.
        self._owner: torch.Generator | None = None
        self._pixels = self._codes = None

    def codes(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """The codes of (B, C, H, W) images, (B, K, 1 or 2, D), without a graph."""
        with torch.inference_mode(False), torch.no_grad():
            images = images.detach().clone()
            pixels = images.flatten(1)
            far, which = torch.ones(len(images), dtype=torch.bool, device=images.device), None
            if generator is not None and self._owner is generator:
                distance, which = torch.cdist(pixels, self._pixels).min(dim=1)
                far = distance > self._near
            pieces = []
            if far.any():
                pieces.append((far, self._search(images[far], generator).codes))
            if not far.all():
                start = self._codes[which[~far]]
                warm = self._search(images[~far], generator, start=start, steps=self._steps)
                pieces.append((~far, warm.codes))
            first = pieces[0][1]
            found = first.new_empty(len(images), *first.shape[1:])
            for rows, codes in pieces:
                found[rows] = codes
            self._remember(pixels, found, generator)
        return found

    def _remember(self, pixels: Tensor, codes: Tensor, generator: torch.Generator | None) -> None:
        if self._owner is generator and self._pixels is not None:
            pixels = torch.cat([pixels, self._pixels])[: self._remembered]
            codes = torch.cat([codes, self._codes])[: self._remembered]
        self._owner, self._pixels, self._codes = generator, pixels, codes


def no_class_catches_up(energy: Tensor, further: Tensor) -> Tensor:
    """(B,) whether no class can catch up with the best one.

    Args:
        energy: (B, K).
        further: (B, K), how much lower each can still get.
    """
    best = energy.argmin(dim=1, keepdim=True)
    lowest = (energy - further.clamp_min(0.0)).scatter(1, best, torch.inf)
    return lowest.amin(dim=1) > energy.gather(1, best).squeeze(1)
