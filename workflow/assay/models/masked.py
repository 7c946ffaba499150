"""Pixels are dropped at random and estimated from the others before a trained network decides.

Y. Yang, G. Zhang, D. Katabi, Z. Xu: ME-Net, ICML 2019, arXiv:1905.11971. F. Tramer et al.: On
adaptive attacks to adversarial example defenses, NeurIPS 2020 (how it is attacked).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from assay.attacks.victim import View
from assay.foundation.errors import ModelError
from assay.models.base import Classifier, choice
from assay.models.completion import ESTIMATORS, projected
from assay.models.wrapper import Wrapper

# Masks per query of a view; the attack of Tramer et al. takes 41.
EOT_SAMPLES = 40
CHANNELS = ("side_by_side", "separate")


@dataclass(frozen=True, kw_only=True)
class Completion:
    """Drops pixels of images at random and estimates them as entries of matrices of low rank.

    Args:
        estimator: ``rank`` (which the public code calls USVT), ``usvt``, ``soft_impute`` or
            ``nuclear_norm``, see :mod:`assay.models.completion`.
        channels: ``side_by_side``: the channels of an image are one wide matrix, and a pixel may be
            dropped in one of them; ``separate``: a matrix each, with one mask.

    Raises:
        ModelError: a setting is unknown.

    Example:
        >>> images = torch.full((2, 3, 4, 4), 0.5)
        >>> Completion().completed(images, 0.5, torch.Generator()).shape
        torch.Size([2, 3, 4, 4])
    """

    estimator: str = "rank"
    channels: str = "side_by_side"

    def __post_init__(self) -> None:
        choice("estimator", self.estimator, tuple(ESTIMATORS))
        choice("channels", self.channels, CHANNELS)

    def completed(
        self, images: Tensor, kept: float | Tensor, generator: torch.Generator | None
    ) -> Tensor:
        """Images (B, C, H, W) in [0, 1] with other pixels outside of a new mask, without gradient.

        Args:
            images: in [0, 1].
            kept: the probability with which a pixel is kept, one for all or (B,).
            generator: draws the masks.
        """
        with torch.no_grad():
            matrices, mask = self.masked(images, kept, generator)
            return self.images(ESTIMATORS[self.estimator](matrices * mask, mask), images)

    def approximated(
        self, images: Tensor, kept: float, generator: torch.Generator | None
    ) -> Tensor:
        """As :meth:`completed`, with the gradient of a linear function that is close to it.

        Known pixels over their share, projected to the singular vectors that the estimate has;
        ``soft_impute`` passes known pixels on as they are. The vectors count as constants.
        """
        matrices, mask = self.masked(images, kept, generator)
        known = matrices * mask
        with torch.no_grad():
            found = ESTIMATORS[self.estimator](known.detach(), mask)
        near = projected(known, found) / mask.float().mean(dim=(1, 2), keepdim=True).clamp_min(1e-6)
        if self.estimator == "soft_impute":
            near = torch.where(mask, known, near)
        return self.images(near + (found - near).detach(), images)

    def masked(
        self, images: Tensor, kept: float | Tensor, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor]:
        """Images (B, C, H, W) in [0, 1] as matrices (N, m, n) in [-1, 1], and a new mask of each,
        (N, m, n) bool, true where a pixel is kept.
        """
        b, c, h, w = images.shape
        wide = self.channels == "side_by_side"
        shape = (b, h, c * w) if wide else (b, h, w)
        drawn = torch.rand(shape, generator=generator, device=images.device)
        mask = drawn < (kept[:, None, None] if isinstance(kept, Tensor) else kept)
        if wide:
            return 2 * images.transpose(1, 2).reshape(shape) - 1, mask
        return 2 * images.reshape(b * c, h, w) - 1, mask.repeat_interleave(c, 0)

    def images(self, matrices: Tensor, images: Tensor) -> Tensor:
        """The images (B, C, H, W) in [0, 1] that matrices are, in the shape of `images`."""
        b, c, h, w = images.shape
        whole = (matrices + 1) / 2
        if self.channels == "side_by_side":
            return whole.reshape(b, h, c, w).transpose(1, 2)
        return whole.reshape(images.shape)


class Masked(Wrapper):
    """The base's decision on an image of which only a random part was kept.

    Each decision draws another mask, and the rest of the image is estimated
    (:class:`Completion`). Attacks take the gradient of the identity for the estimate (BPDA), or
    that of a linear function near it, averaged over masks.

    Args:
        base: the trained model.
        classes: number of classes K.
        shape: (C, H, W) of the images.
        estimator: see :class:`Completion`.
        observed: the probability with which a pixel is kept, in (0, 1]; the paper evaluates with
            0.5, or 0.9 where it trains with 0.8 to 1.
        channels: see :class:`Completion`.
        eot_samples: masks per query of a view.

    Raises:
        ModelError: a setting is impossible.
    """

    stochastic = True
    differentiable = False

    def __init__(
        self,
        *,
        base: Classifier,
        classes: int,
        shape: tuple[int, int, int],
        estimator: str = "rank",
        observed: float = 0.5,
        channels: str = "side_by_side",
        eot_samples: int = EOT_SAMPLES,
    ):
        super().__init__(base=base, classes=classes, shape=shape)
        check_share(observed, "settings.observed")
        if eot_samples < 1:
            raise ModelError(
                f"{eot_samples} samples are impossible",
                where="settings.eot_samples",
                remedy="use 1 or more",
            )
        self.completion = Completion(estimator=estimator, channels=channels)
        self.observed, self.view_samples = observed, eot_samples

    def changed(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Images (B, C, H, W) whose values outside a random mask are estimates, in [0, 1]."""
        return self.completion.completed(images, self.observed, generator)

    def views(self) -> dict[str, View]:
        """Those of every wrapper, and ``linear_*``: through it with the gradient of
        :meth:`Completion.approximated`.
        """
        views = super().views()
        linear = {}
        for name, view in self.base.views().items():
            linear[f"linear_{name}"] = dataclasses.replace(
                views[f"through_{name}"], logits=self._approximately(view.logits)
            )
        through = {name: views[name] for name in views if name.startswith("through_")}
        return {**through, **linear, **views}

    def _approximately(self, logits: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def approximately(images: Tensor, generator: torch.Generator | None = None) -> Tensor:
            return logits(self.completion.approximated(images, self.observed, generator), generator)

        return approximately


def check_share(share: float, where: str) -> None:
    """Raises ModelError unless pixels may be kept with this probability."""
    if not 0 < share <= 1:
        raise ModelError(
            f"a share of {share} of the pixels cannot be kept",
            where=where,
            remedy="use more than 0 and at most 1",
        )
