"""DBX: the deep discriminative classifier p(z|x) p(y|z), a stochastic bottleneck.

Y. Li, J. Bradshaw, Y. Sharma: Are Generative Classifiers More Robust to Adversarial Attacks?,
ICML 2019; trained as A. Alemi, I. Fischer, J. Dillon, K. Murphy: Deep Variational Information
Bottleneck, ICLR 2017.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from assay.attacks.victim import View
from assay.models.base import Classifier, correct, resized
from assay.models.latent import (
    Encoder,
    Gaussian,
    class_head,
    kl_to_standard,
    log_mean_probability,
    sample,
)


class DBX(Classifier):
    """Discriminative counterpart of GBZ: the same encoder and class head, but no decoder.

    The decision is log p(y|x) = log mean_k p(y|z_k) with `samples` codes z_k ~ p(z|x).

    Args:
        classes: number of classes K.
        shape: (C, H, W) of the images.
        samples: codes per decision, in training as in use.
        beta: weight of the KL divergence of p(z|x) from N(0, I); 0 leaves the noise free to vanish.
        latent_dim: length of z.
        input_size: side to which images are resized; ``None`` keeps their size.

    Raises:
        ModelError: the image's sides are not multiples of four.
    """

    stochastic = True

    def __init__(
        self,
        *,
        classes: int,
        shape: tuple[int, int, int],
        samples: int = 10,
        beta: float = 1e-3,
        latent_dim: int = 100,
        input_size: int | None = None,
    ):
        super().__init__(classes=classes, shape=shape)
        self.samples, self.beta = samples, beta
        self.input_size = (input_size, input_size) if input_size else self.shape[1:]
        self.encoder = Encoder(self.shape[0], self.input_size, latent_dim)
        self.classifier = class_head(latent_dim, classes)

    def logits(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return self.repeated_logits(images, 1, generator)[0]

    def repeated_logits(
        self, images: Tensor, n: int, generator: torch.Generator | None = None
    ) -> Tensor:
        """`n` decisions, (n, B, K); the encoder runs once."""
        return self._decide(self._posterior(images), n, generator)

    def features(self, images: Tensor) -> Tensor:
        """The mean of p(z|x), (B, D)."""
        return self._posterior(images)[0]

    def training_loss(
        self, images: Tensor, labels: Tensor, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """``total`` = ``classification`` + beta * ``kl``, in nats, each (B,)."""
        posterior = self._posterior(images)
        logits = self._decide(posterior, 1, generator)[0]
        classification = functional.nll_loss(logits, labels, reduction="none")
        kl = kl_to_standard(posterior)
        return {
            "total": classification + self.beta * kl,
            "classification": classification,
            "kl": kl,
            "accuracy": correct(logits, labels),
        }

    def views(self) -> dict[str, View]:
        """``expectation``: the decision itself; ``mean_latent``: p(y|z) at the mean, no noise."""
        functions = {"expectation": self.logits, "mean_latent": self._at_mean}
        return {
            name: View(function, self._loss_alone, deterministic=name == "mean_latent")
            for name, function in functions.items()
        }

    def _loss_alone(
        self, images: Tensor, labels: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        return self.training_loss(images, labels, generator)["total"]

    def _at_mean(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return self.classifier(self.features(images))

    def _posterior(self, images: Tensor) -> Gaussian:
        return self.encoder(resized(images, self.input_size))

    def _decide(self, posterior: Gaussian, n: int, generator: torch.Generator | None) -> Tensor:
        logits = self.classifier(sample(posterior, n * self.samples, generator))
        return log_mean_probability(logits.unflatten(0, (n, self.samples)), dim=1)
