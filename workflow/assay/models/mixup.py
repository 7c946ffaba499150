"""Images are mixed with training images before a trained network decides, many times over.

T. Pang, K. Xu, J. Zhu: Mixup inference: better exploiting mixup to defend adversarial attacks, ICLR
2020, arXiv:1909.11515. F. Tramer et al.: On adaptive attacks to adversarial example defenses,
NeurIPS 2020, arXiv:2002.08347 (how it is attacked).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from assay.attacks.victim import View, suitable_batch
from assay.foundation.errors import ModelError
from assay.models.base import Classifier, choice
from assay.models.wrapper import Wrapper

OTHER, PREDICTED, COMBINED = "ol", "pl", "combined"


class MixupInference(Wrapper):
    """The mean class probability over mixtures of the image with images of a pool.

    A mixture is lam x + (1 - lam) x_s. The pool holds training images alone, which :meth:`remember`
    takes; they are saved with the weights. With y the base's prediction on x, x_s is of a class

    * ``ol``: other than y, all equally likely (MI-OL);
    * ``pl``: y (MI-PL);
    * ``combined``: y, and if that lowers the confidence by at least the threshold, other than y.

    Args:
        base: the trained model; the paper trains it with mixup or interpolated adversarial
            training.
        classes: number of classes K.
        shape: (C, H, W) of the images.
        variant: ``ol``, ``pl`` or ``combined``.
        lam: share of the image in mixtures with other classes, in (0, 1]; the paper has 0.5, 0.6
            with interpolated adversarial training, 0.4 in the combination.
        lam_predicted: the same in mixtures with the predicted class.
        samples: mixtures per decision and class rule.
        threshold: of the combination, a difference of probabilities.
        per_class: images of each class in the pool; the paper's pool of 10,000 images has 1,000.

    Raises:
        ModelError: a setting is impossible; when it decides: the pool is empty.

    Attributes:
        pool: (K, `per_class`, C * H * W) uint8.
        pooled: (K,) how many of each class there are.
    """

    def __init__(
        self,
        *,
        base: Classifier,
        classes: int,
        shape: tuple[int, int, int],
        variant: str = OTHER,
        lam: float = 0.5,
        lam_predicted: float = 0.5,
        samples: int = 30,
        threshold: float = 0.2,
        per_class: int = 1000,
    ):
        super().__init__(base=base, classes=classes, shape=shape)
        self.variant = choice("variant", variant, (OTHER, PREDICTED, COMBINED))
        shares = {"lam": lam, "lam_predicted": lam_predicted}
        for name, share in shares.items():
            if not 0 < share <= 1:
                raise ModelError(
                    f"{share} is no share of the image",
                    where=f"settings.{name}",
                    remedy="use more than 0 and at most 1",
                )
        for name, number in (("samples", samples), ("per_class", per_class)):
            if number < 1:
                raise ModelError(
                    f"{number} images are too few",
                    where=f"settings.{name}",
                    remedy="use 1 or more",
                )
        self.lam, self.lam_predicted, self.threshold = lam, lam_predicted, threshold
        self.samples = self.view_samples = samples
        self.remembers = per_class
        if variant != COMBINED:
            shares.pop("lam_predicted" if variant == OTHER else "lam")
        self.stochastic = base.stochastic or min(shares.values()) < 1
        pixels = math.prod(self.shape)
        self.register_buffer("pool", torch.zeros(classes, per_class, pixels, dtype=torch.uint8))
        self.register_buffer("pooled", torch.zeros(classes, dtype=torch.int64))
        self._ready = False

    pool: Tensor
    pooled: Tensor

    def remember(self, images: Tensor, labels: Tensor) -> None:
        counts = labels.bincount(minlength=self.classes)
        missing = (counts == 0).nonzero().flatten().tolist()
        if missing:
            raise ModelError(
                f"no training image of class {', '.join(map(str, missing))} for the pool",
                where=type(self).__name__,
                remedy="raise training.samples, or take the class out of the data set",
            )
        self.pooled.copy_(counts.clamp_max(self.remembers))
        for k, count in enumerate(self.pooled.tolist()):
            self.pool[k, :count] = images[labels == k][:count].flatten(1).to(self.pool.device)

    def logits(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """The logarithm of the mean class probability, (B, K)."""
        return self._decided(self.base.logits, self.samples, 1, images, generator)

    def repeated_logits(
        self, images: Tensor, n: int, generator: torch.Generator | None = None
    ) -> Tensor:
        """As n decisions, with one prediction of the base for all."""
        if self.base.stochastic or not self.stochastic:
            return super().repeated_logits(images, n, generator)
        found = self._decided(self.base.logits, self.samples, n, images, generator)
        return found.unflatten(0, (n, -1))

    def views(self) -> dict[str, View]:
        """Those of every wrapper; an evaluation of ``through_*`` is a decision by one mixture.

        The gradient passes through the mixture; the class of x_s counts as a constant. Of the
        combination each mixture decides by its own gap.
        """
        passes = 3 if self.variant == COMBINED else 2
        return {
            name: dataclasses.replace(view, passes=passes * view.passes)
            if name.startswith("through_")
            else view
            for name, view in super().views().items()
        }

    def facts(self) -> dict[str, Any]:
        return {**super().facts(), "pool": int(self.pooled.sum())}

    def _through(self, logits: Callable[..., Tensor]) -> Callable[..., Tensor]:
        return partial(self._decided, logits, 1, 1)

    def _decided(
        self,
        network: Callable[..., Tensor],
        samples: int,
        repeats: int,
        images: Tensor,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Independent decisions on images (B, C, H, W), (repeats * B, K), repeats first."""
        self._require_pool()
        with torch.no_grad():
            plain = network(images, generator).repeat(repeats, 1)
        predicted, images = plain.argmax(dim=1), images.repeat(repeats, 1, 1, 1)
        mixed = partial(self._mixed, network, samples, generator)
        if self.variant == OTHER:
            return mixed(images, predicted, self.lam, other=True)
        found = mixed(images, predicted, self.lam_predicted, other=False)
        if self.variant == PREDICTED:
            return found
        gap = plain.softmax(dim=1).amax(dim=1) - found.detach().exp().amax(dim=1)
        doubted = (gap >= self.threshold).nonzero().squeeze(1)
        if not len(doubted):
            return found
        others = mixed(images[doubted], predicted[doubted], self.lam, other=True)
        return found.index_copy(0, doubted, others)

    def _mixed(
        self,
        network: Callable[..., Tensor],
        samples: int,
        generator: torch.Generator | None,
        images: Tensor,
        predicted: Tensor,
        lam: float,
        *,
        other: bool,
    ) -> Tensor:
        """The logarithm of the mean class probability over mixtures of images (B, C, H, W), (B, K).

        Args:
            network: gives the logits of images.
            samples: mixtures of each image.
            generator: chooses the images of the pool.
            images: in [0, 1].
            predicted: (B,) classes.
            lam: share of the images.
            other: whether x_s is of another class than the predicted one, or of that.
        """
        device, count = images.device, samples * len(images)
        rows = torch.arange(len(images), device=device).repeat(samples)
        classes = predicted[rows]
        if other:
            drawn = torch.randint(self.classes - 1, (count,), generator=generator, device=device)
            classes = drawn + (drawn >= classes)
        there = self.pooled[classes]
        places = torch.rand(count, generator=generator, device=device) * there
        places = torch.minimum(places.long(), there - 1)  # the product may round up
        logits = []
        size = min(self.max_batch, suitable_batch(device))
        for piece in torch.arange(count, device=device).split(size):
            seen = self.pool[classes[piece], places[piece]].float().mul_((1 - lam) / 255)
            mixtures = seen.view(-1, *self.shape).add(images[rows[piece]], alpha=lam)
            logits.append(network(mixtures, generator))
        each = torch.cat(logits).log_softmax(dim=1).unflatten(0, (samples, -1))
        return each.logsumexp(dim=0) - math.log(samples)

    def _require_pool(self) -> None:
        if not self._ready and not (self.pooled > 0).all():
            raise ModelError(
                "the pool of training images is empty",
                where=type(self).__name__,
                remedy="train its entry, load its weights, or call remember(images, labels)",
            )
        self._ready = True
