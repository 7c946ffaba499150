"""Anti-perturbation inference: each class changes the image as it likes, then classes are compared.

X. Dong, H. Liu, R. Ji, L. Cao, Q. Ye, J. Liu, Q. Tian: API-Net: Robust generative classifier via a
single discriminator, ECCV 2020.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from assay.attacks.victim import View
from assay.foundation.errors import ModelError
from assay.models.base import Classifier
from assay.models.class_search import Latents, SearchLimits
from assay.models.image_search import (
    AT_ONCE,
    ImageSearch,
    Network,
    changed_images,
    own_logits,
    own_scores,
)
from assay.models.search_starts import WarmCodes
from assay.models.wrapper import Wrapper

log = logging.getLogger(__name__)

# The strongest adversary searches for longer than the defence.
LONGER = 2


class Api(Wrapper):
    """Decides by log p(c|z_c), where z_c is the image nearby that the base takes for c most.

    The scores are (B, K); their softmax is the paper's equation 12. A search has as many steps for
    each class as the paper's, all classes and images in one batch.

    Args:
        base: the trained network, which gives logits.
        classes: number of classes K.
        shape: (C, H, W) of the images.
        radius: how far (L∞) a class may change the image; the paper has 14/255 for CIFAR-10 and
            12/255 for SVHN and MNIST.
        step: length of a step; the paper has 0.007, for MNIST 0.01. Where all steps together are
            shorter than the radius, it is 2.5 radii over the number of steps instead.
        steps: of the search.
        noise: standard deviation of the noise that each search begins with.
        codes_at_once: changed images that a CPU searches at once.

    Raises:
        ModelError: a setting is impossible; when it decides: the base gives probabilities.

    Attributes:
        search: the search of a decision.
    """

    def __init__(
        self,
        *,
        base: Classifier,
        classes: int,
        shape: tuple[int, int, int],
        radius: float,
        step: float = 0.007,
        steps: int = 8,
        noise: float = 0.001,
        codes_at_once: int = AT_ONCE,
    ):
        super().__init__(base=base, classes=classes, shape=shape)
        limits = SearchLimits(codes_at_once=codes_at_once, remembered=512)
        self.search = ImageSearch(radius=radius, step=step, steps=steps, noise=noise, limits=limits)
        if not self.search.reaches:
            log.warning(
                "%d steps of %g do not reach the radius of %g: steps of %g replace them",
                steps, step, radius, self.search.length,
            )  # fmt: skip
        self.stochastic = noise > 0 or base.stochastic
        self._gives_logits = False

    def find(self, images: Tensor, generator: torch.Generator | None = None) -> Latents:
        """The change of images (B, C, H, W) that each class chooses, as codes (B, K, C, H, W), and
        -log p(c|z_c) as energy (B, K).
        """
        self._check_base(images, generator)
        return self.search.run(self.base.logits, images, self.classes, generator)

    def logits(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """log p(c|z_c), (B, K), in nats; there is no gradient through the search."""
        return -self.find(images, generator).energy

    def explain(
        self, images: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """The images z_c (B, K, C, H, W) and log p(c|z_c), (B, K)."""
        found = self.find(images, generator)
        return images[:, None] + found.codes, -found.energy

    def views(self) -> dict[str, View]:
        """``through_*`` holds the changes fixed (BPDA: the gradient of an image is the sum of those
        of its z_c) and goes on from the attack's step before; ``fixed_noise_*`` without new noise.
        ``unnormalised_*`` gives the logit of each class at its z_c, which does not saturate, after
        twice the steps. ``unrolled_*`` differentiates the whole search. ``base_*`` attacks the
        base.
        """
        views: dict[str, View] = {}
        for name, view in self.base.views().items():
            through = partial(
                dataclasses.replace,
                view,
                training_loss=None,
                reconstructions=None,
                deterministic=False,
                passes=view.passes * self.classes,
            )
            network, longer = view.logits, self._search(steps=LONGER * self.search.steps)
            views[f"through_{name}"] = through(logits=self._held(network, self.search))
            if self.search.noise:
                fixed = self._held(network, self.search, fixed=True)
                views[f"fixed_noise_{name}"] = through(logits=fixed)
            views[f"unnormalised_{name}"] = through(
                logits=self._held(network, longer, normalised=False)
            )
            views[f"unrolled_{name}"] = through(
                logits=partial(self._unrolled, network),
                passes=view.passes * self.classes * (self.search.steps + 1),
            )
        bases = super().views()
        return views | {name: bases[name] for name in bases if name.startswith("base_")}

    def facts(self) -> dict[str, Any]:
        return {**super().facts(), "search_step": self.search.length}

    def _search(self, **changes: Any) -> ImageSearch:
        return dataclasses.replace(self.search, **changes)

    def _held(
        self, network: Network, search: ImageSearch, *, fixed: bool = False, normalised: bool = True
    ) -> Callable[..., Tensor]:
        """A view's function whose gradient takes the changes as constants.

        The gradient of log p(c|z_c) is the direction of the next step of the search, too: it is
        computed once for both, and the changes of the next query are one step further.

        Args:
            network: the base's view.
            search: how the changes are found where none are remembered.
            fixed: whether all queries of all images have the same noise.
            normalised: log-probabilities, or logits.
        """
        scores = own_scores if normalised else own_logits

        def found(
            images: Tensor,
            generator: torch.Generator | None,
            start: Tensor | None = None,
            steps: int | None = None,
        ) -> Latents:
            if fixed:
                generator = torch.Generator(images.device).manual_seed(0)
            if start is None:
                return search.run(network, images, self.classes, generator)
            changes = search.begin(images, self.classes, generator, start)
            nothing = images.new_zeros(len(images))
            return Latents(search.project(images, changes), nothing[:, None], nothing)

        limits = search.limits
        warm = WarmCodes(found, steps=0, near=limits.near, remembered=limits.remembered)

        def held(images: Tensor, generator: torch.Generator | None = None) -> Tensor:
            changes = warm.codes(images, generator)
            if not (images.requires_grad and torch.is_grad_enabled()):
                return self._in_pieces(
                    images, changes, lambda seen: scores(network(seen, generator), self.classes)
                )
            values, gradients, onward = self._differentiated(
                images, changes, partial(network, generator=generator), normalised
            )
            onward = changes + search.length * onward.sign_()
            warm.replace(search.project(images.detach(), onward))
            moved = (images - images.detach())[:, None] * gradients
            return values + moved.flatten(2).sum(dim=2)

        return held

    def _differentiated(
        self, images: Tensor, changes: Tensor, network: Network, normalised: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Each class's value at its z_c, (B, K), its gradient and that of log p(c|z_c), both
        (B, K, C, H, W).
        """
        values, gradients, directions = [], [], []
        count = self.search.limits.images_at_once(images, self.classes)
        for piece, moves in zip(images.detach().split(count), changes.split(count), strict=True):
            seen = changed_images(piece, moves).requires_grad_()
            logits = network(seen)
            scores = own_scores(logits, self.classes)
            value = scores if normalised else own_logits(logits, self.classes)
            (along,) = torch.autograd.grad(scores.sum(), seen, retain_graph=not normalised)
            slope = along if normalised else torch.autograd.grad(value.sum(), seen)[0]
            values.append(value.detach())
            gradients.append(slope.view_as(moves))
            directions.append(along.view_as(moves))
        return torch.cat(values), torch.cat(gradients), torch.cat(directions).clone()

    def _in_pieces(
        self, images: Tensor, changes: Tensor, value: Callable[[Tensor], Tensor]
    ) -> Tensor:
        count = self.search.limits.images_at_once(images, self.classes)
        pieces = zip(images.split(count), changes.split(count), strict=True)
        return torch.cat([value(changed_images(*piece)) for piece in pieces])

    def _unrolled(
        self, network: Network, images: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """log p(c|z_c), (B, K), with the gradient through all steps of the search."""
        images = images.clone() if images.is_inference() else images
        pieces = images.split(self.search.limits.images_at_once(images, self.classes))
        asked = partial(network, generator=generator)
        return torch.cat([self._unrolled_piece(asked, piece, generator) for piece in pieces])

    def _unrolled_piece(
        self, network: Network, images: Tensor, generator: torch.Generator | None
    ) -> Tensor:
        search = self.search
        changes = search.begin(images, self.classes, generator)
        low = (-images).clamp_min(-search.radius)[:, None]
        high = (1 - images).clamp_max(search.radius)[:, None]
        for _ in range(search.steps):
            direction = _Direction.apply(changed_images(images, changes), network, self.classes)
            assert direction is not None
            changes = changes + search.length * direction.view_as(changes)
            changes = torch.minimum(torch.maximum(changes, low), high)
        return own_scores(network(changed_images(images, changes)), self.classes)

    def _check_base(self, images: Tensor, generator: torch.Generator | None) -> None:
        """Once, that the base gives logits: a search would climb probabilities all the same."""
        if self._gives_logits or not len(images):
            return
        with torch.no_grad():
            seen = self.base.logits(images[:8], generator)
        if (seen >= 0).all() and ((seen.sum(dim=1) - 1).abs() < 1e-4).all():
            raise ModelError(
                "the base returns probabilities, not logits",
                where=f"{type(self.base).__name__}, the base of {type(self).__name__}",
                remedy="take its last softmax away",
            )
        self._gives_logits = True


class _Direction(torch.autograd.Function):
    """The sign of the gradient of log p(c|z), with the derivative of the gradient over its size.

    Only the images are kept for the way back; it computes the gradient again there, and a product
    with the second derivative (a checkpoint of each step).
    """

    @staticmethod
    def forward(ctx: Any, images: Tensor, network: Network, classes: int) -> Tensor:
        ctx.save_for_backward(images)
        ctx.network, ctx.classes = network, classes
        return _gradient(images, network, classes, graph=False)[1].sign()

    @staticmethod
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor, None, None]:  # pyrefly: ignore
        (images,) = ctx.saved_tensors
        leaf, gradient = _gradient(images, ctx.network, ctx.classes, graph=True)
        size = gradient.detach().abs().mean(dim=(1, 2, 3), keepdim=True).clamp_min(1e-12)
        with torch.enable_grad():
            along = (gradient * (outputs[0] / size)).sum()
        (product,) = torch.autograd.grad(along, leaf, allow_unused=True)
        return torch.zeros_like(leaf) if product is None else product, None, None


def _gradient(
    images: Tensor, network: Network, classes: int, *, graph: bool
) -> tuple[Tensor, Tensor]:
    """A copy of images (B * K, C, H, W) and the gradient there of log p(c|z)."""
    with torch.enable_grad():
        leaf = images.detach().requires_grad_()
        value = own_scores(network(leaf), classes).sum()
        (gradient,) = torch.autograd.grad(value, leaf, create_graph=graph)
    return leaf, gradient
