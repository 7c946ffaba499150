"""Where a search for each class's code begins: at random candidates, or at codes found before."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from assay.models.class_search import Latents
from assay.models.grouped import versions

log = logging.getLogger(__name__)

# Candidates that are decoded, and compared with images, at once.
CHUNK = 250


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
        self._versions = versions(cast(nn.Module, model))
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
        return self._model() is model and self._versions == versions(cast(nn.Module, model))

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
        model = self._model()
        assert model is not None  # it is the one that asks
        for number, codes in enumerate(self.codes.split(CHUNK)):
            made, share = self._kept[number] if self._kept else model.candidate_parts(codes)
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
        near: see :class:`assay.models.class_search.SearchLimits`.
        remembered: see :class:`assay.models.class_search.SearchLimits`.
    """

    def __init__(self, search: Callable[..., Latents], *, steps: int, near: float, remembered: int):
        self._search, self._steps = search, steps
        self._near, self._remembered = near, remembered
        # Kept alive, so that no other generator takes its place in memory.
        self._owner: torch.Generator | None = None
        self._pixels: Any = None
        self._codes: Any = None

    def codes(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """The codes of (B, C, H, W) images, (B, K, ...), without a graph."""
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

    def replace(self, codes: Tensor) -> None:
        """Remembers other codes (B, K, ...) for the images of the last call of :meth:`codes`."""
        self._codes[: len(codes)] = codes

    def _remember(self, pixels: Tensor, codes: Tensor, generator: torch.Generator | None) -> None:
        if self._owner is generator and self._pixels is not None:
            pixels = torch.cat([pixels, self._pixels])[: self._remembered]
            codes = torch.cat([codes, self._codes])[: self._remembered]
        self._owner, self._pixels, self._codes = generator, pixels, codes
