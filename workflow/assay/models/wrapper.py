"""A defence around another model, which brings its trained weights and its views."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from assay.attacks.victim import View
from assay.models.base import Classifier


class Wrapper(Classifier):
    """A model that decides with another one, its base, and changes what the base sees.

    A subclass overrides :meth:`changed`, or :meth:`logits` for more than that. The base is the
    model of the role ``base`` in the entry's ``needs``: it comes with its trained weights, stays
    in evaluation mode and trains no more. The wrapper's weights hold those of the base.

    Attacks search on every view of the base, twice. ``through_<view>`` sends the images through the
    wrapper, and where it has no gradient it takes that of the identity (BPDA). ``base_<view>``
    attacks the base as if there were no wrapper. Success is always that of the wrapper's decision.

    Args:
        base: the trained model.
        classes: number of classes K.
        shape: (C, H, W) of the images.

    Attributes:
        base: the trained model.
        differentiable: whether gradients pass through :meth:`changed`.
        view_samples: independent evaluations per query of a view through the wrapper.
    """

    differentiable: bool = True
    view_samples: int = 1

    def __init__(self, *, base: Classifier, classes: int, shape: tuple[int, int, int]):
        super().__init__(classes=classes, shape=shape)
        self.base = base.requires_grad_(False).eval()
        self.pretrained = base.pretrained
        self.stochastic = self.stochastic or base.stochastic
        self.max_batch = min(self.max_batch, base.max_batch)
        self.channels_last = self.channels_last and base.channels_last

    def changed(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """What the base sees of images (B, C, H, W); the same shape, in [0, 1]."""
        return images

    def logits(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return self.base.logits(self.changed(images, generator), generator)

    def features(self, images: Tensor) -> Tensor:
        """Those of the base for the images that it sees, (B, F); noise is the same at each call."""
        generator = torch.Generator(images.device).manual_seed(0)
        return self.base.features(self.changed(images, generator))

    def views(self) -> dict[str, View]:
        views = {}
        for name, view in self.base.views().items():
            samples = max(view.eot_samples, self.view_samples)
            views[f"through_{name}"] = dataclasses.replace(
                view,
                logits=self._through(view.logits),
                training_loss=None,
                reconstructions=None,
                eot_samples=samples,
                passes=view.passes * samples // view.eot_samples,
                deterministic=False,
            )
        for name, view in self.base.views().items():
            fixed = view.deterministic or not self.base.stochastic
            views[f"base_{name}"] = dataclasses.replace(view, deterministic=fixed)
        return views

    def train(self, mode: bool = True) -> Wrapper:
        """Training leaves the base in evaluation mode."""
        super().train(mode)
        self.base.eval()
        return self

    def facts(self) -> dict[str, Any]:
        reason = self.pretrained or "the weights are those of its base"
        return {
            **super().facts(),
            "pretrained_reason": reason,
            "base": type(self.base).__name__,
        }

    def _through(self, logits: Callable[..., Tensor]) -> Callable[..., Tensor]:
        """A view's function of the changed images, with the gradient of the identity for them."""

        def through(images: Tensor, generator: torch.Generator | None = None) -> Tensor:
            seen = self.changed(images, generator)
            if not self.differentiable:
                seen = images + (seen - images).detach()
            return logits(seen, generator)

        return through
