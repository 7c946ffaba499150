"""GBZ: the deep generative classifier p(z) p(y|z) p(x|z).

Y. Li, J. Bradshaw, Y. Sharma: Are Generative Classifiers More Robust to Adversarial Attacks?,
ICML 2019; with the network of R. Millner, E. Picard, T. Gravier (2024). What differs from either
is stated in each entry of ``config/catalogue/models.yaml``; the science is in ``docs/models.md``.
"""

from __future__ import annotations

import math
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from assay.attacks.victim import View
from assay.foundation.errors import ModelError
from assay.models.base import Classifier, choice, correct, resized
from assay.models.latent import (
    HIDDEN,
    WIDTHS,
    Encoder,
    Gaussian,
    class_head,
    kl_to_standard,
    log_mean_probability,
    log_ratio_to_standard,
    map_size,
    sample,
)


class GBZ(Classifier):
    """Generative classifier with a Gaussian latent code, trained as a variational autoencoder.

    Args:
        classes: number of classes K.
        shape: (C, H, W) of the images.
        inference: how an image is classified.
            ``encoder_sample``: p(y|z) of a single z ~ q(z|x), as the paper's code does;
            ``mean``: p(y|z) at the mean of q(z|x), deterministic;
            ``bayes``: Bayes' rule p(y|x) = p(x, y) / p(x), with `samples` importance samples.
        samples: importance samples for Bayes' rule and for log p(x).
        class_weight: weight of the classification term beside the reconstruction, which is a sum
            over pixels. A number weighs it per image (1 is the evidence lower bound of p(x, y));
            ``batch_mean`` is what the paper's code has: the term is averaged over the batch while
            the others are summed, so an image's share is one over the batch size.
        encoder_sees_class: use q(z|x, y), as Li et al. do; needs ``inference: bayes``.
        latent_dim: length of z.
        eot_samples: samples that the view ``expectation`` averages over if one sample decides.
        input_size: side to which images are resized; ``None`` keeps their size.

    Raises:
        ModelError: a setting is impossible, or the image's sides are not multiples of four.
    """

    # Codes that a CPU decodes at once: their feature maps stay in its cache. Of six hundred, each
    # takes a tenth longer.
    codes_at_once = 100

    def __init__(
        self,
        *,
        classes: int,
        shape: tuple[int, int, int],
        inference: str = "bayes",
        samples: int = 10,
        class_weight: float | str = 1.0,
        encoder_sees_class: bool = False,
        latent_dim: int = 100,
        eot_samples: int = 10,
        input_size: int | None = None,
    ):
        super().__init__(classes=classes, shape=shape)
        options = ("bayes",) if encoder_sees_class else ("encoder_sample", "mean", "bayes")
        self.inference = choice("inference", inference, options)
        if isinstance(class_weight, str):
            choice("class_weight", class_weight, ("batch_mean", "a number"))
        self.samples, self.eot_samples = samples, eot_samples
        self.class_weight = class_weight
        self.input_size = (input_size, input_size) if input_size else self.shape[1:]
        self.stochastic = inference != "mean"
        if inference == "bayes":
            decodings = samples * (classes if encoder_sees_class else 1)
            self.max_batch = max(4, 640 // decodings)
        channels, rows_columns = self.shape[0], map_size(self.input_size)
        self.encoder = Encoder(
            channels, self.input_size, latent_dim, classes if encoder_sees_class else 0
        )
        self.decoder = nn.Sequential(
            nn.Linear(latent_dim, HIDDEN),
            nn.ReLU(),
            nn.Linear(HIDDEN, WIDTHS[1] * rows_columns[0] * rows_columns[1]),
            nn.ReLU(),
            nn.Unflatten(-1, (WIDTHS[1], *rows_columns)),
            nn.ConvTranspose2d(WIDTHS[1], WIDTHS[0], kernel_size=4, stride=2, padding=1),
            nn.ReLU(),
            nn.ConvTranspose2d(WIDTHS[0], channels, kernel_size=4, stride=2, padding=1),
        )
        self.classifier = class_head(latent_dim, classes)

    @property
    def encoder_sees_class(self) -> bool:
        return self.encoder.class_share is not None

    def logits(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return self.repeated_logits(images, 1, generator)[0]

    def repeated_logits(
        self, images: Tensor, n: int, generator: torch.Generator | None = None
    ) -> Tensor:
        """`n` decisions, (n, B, K); the encoder runs once.

        By Bayes' rule the logits are log p(y|x); one decision costs `samples` decodings.
        """
        images = resized(images, self.input_size)
        posterior = self._posterior(images)
        if self.inference == "mean":
            return self.classifier(posterior[0]).expand(n, -1, -1)
        if self.inference == "encoder_sample":
            return self.classifier(sample(posterior, n, generator))
        # One decision after another: n * samples decodings at once would not fit the cache.
        return torch.stack(
            [
                self._bayes(images, posterior, sample(posterior, self.samples, generator))[0]
                for _ in range(n)
            ]
        )

    def facts(self) -> dict[str, Any]:
        return {**super().facts(), "kernel_size": cast(nn.Conv2d, self.decoder[-1]).kernel_size[0]}

    def features(self, images: Tensor) -> Tensor:
        """The mean of q(z|x), (B, D); averaged over classes where the encoder has the class as
        input."""
        mean, _ = self._posterior(resized(images, self.input_size))
        return mean.mean(dim=1) if self.encoder_sees_class else mean

    def log_px(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Importance-sampled log p(x) in nats, (B,), of the resized image.

        p(x|z) is a product of Bernoullis used on grey values, as in training: a score for
        comparing images, not a normalised density.
        """
        images = resized(images, self.input_size)
        posterior = self._posterior(images)
        return self._bayes(images, posterior, sample(posterior, self.samples, generator))[1]

    @torch.no_grad()
    def importance_terms(
        self, images: Tensor, n: int, generator: torch.Generator | None = None
    ) -> Tensor:
        """The terms whose mean over n importance samples estimates p(x, y), in logarithms.

        Args:
            images: (B, C, H, W) in [0, 1].
            n: importance samples per image (and class, where it is an input of the encoder).
            generator: draws them.

        Returns:
            (n, B, K) float64, in nats.

        Raises:
            ModelError: the model does not decide by Bayes' rule.
        """
        if self.inference != "bayes":
            raise ModelError(
                "the model takes no importance samples",
                where="settings.inference",
                remedy="inference: bayes decides by Bayes' rule",
            )
        images = resized(images, self.input_size)
        posterior = self._posterior(images)
        pieces = []
        # As many decodings at once as one decision takes.
        for start in range(0, n, self.samples):
            codes = sample(posterior, min(self.samples, n - start), generator)
            terms, common = self._log_terms(images, posterior, codes)
            pieces.append(terms.double() + common.double())
        return torch.cat(pieces)

    def effective_samples(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """How many of the `samples` count: effective sample size of the decided class, (B,).

        (sum w)^2 / sum w^2 of the weights w_k = p(x, y, z_k) / q(z_k|x[, y]) as a share of
        `samples`, in (0, 1]; at 1 / `samples` a single draw decides.

        Raises:
            ModelError: the model does not decide by Bayes' rule.
        """
        terms = self.importance_terms(images, self.samples, generator)
        decided = terms.logsumexp(dim=0).argmax(dim=1)
        chosen = decided.expand(len(terms), -1)[..., None]
        return effective_share(terms.gather(2, chosen).squeeze(2)).float()

    def training_loss(
        self, images: Tensor, labels: Tensor, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """The negative evidence lower bound of one z per image, in nats, by part.

        ``total`` = ``reconstruction`` + ``kl`` + weight * ``classification``, each (B,).
        ``accuracy`` is that of p(y|z); it is absent where z was drawn with the label in view.
        """
        weight = self.class_weight
        return self._bound(
            images, labels, generator, 1 / len(labels) if isinstance(weight, str) else weight
        )

    def validation_loss(
        self, images: Tensor, labels: Tensor, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        parts = self.training_loss(images, labels, generator)
        if self.inference == "encoder_sample":
            return parts
        return {**parts, "accuracy": correct(self.logits(images, generator), labels)}

    def views(self) -> dict[str, View]:
        """``mean_latent``: the decision with z at the mean of its posterior, without noise.

        Random decisions also have ``expectation``: the noise is averaged out (one z: over
        `eot_samples`; Bayes' rule: over its own reparameterised importance samples). By Bayes'
        rule the importance weights are peaked, and their gradient is that of the likelihood
        rather than of the class, so ``likelihood_free`` leaves them out: the mean of log p(y|z).
        It does not exist for q(z|x, y), where only the weights distinguish classes.

        Each view's own training loss is that of a batch of one image, with one z, and its
        gradient also passes through the image as the target of the reconstruction.
        """
        if self.inference == "mean":
            functions = {"mean_latent": self.logits}
        elif self.inference == "encoder_sample":
            functions = {"expectation": self._mean_decision, "mean_latent": self._at_mean}
        elif self.encoder_sees_class:
            functions = {"expectation": self.logits, "mean_latent": self._at_mean}
        else:
            functions = {
                "expectation": self.logits,
                "likelihood_free": self._likelihood_free,
                "mean_latent": self._at_mean,
            }
        reconstructions = self._reconstructions if self.encoder_sees_class else None
        return {
            name: View(
                function,
                self._loss_alone,
                reconstructions=reconstructions,
                deterministic=name == "mean_latent",
            )
            for name, function in functions.items()
        }

    def _reconstructions(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Decoded means of q(z|x, y) of every class, (B, K, C, H, W) in [0, 1]."""
        mean, _ = self._posterior(resized(images, self.input_size))
        decoded = self.decoder(mean.flatten(0, 1)).sigmoid()
        return resized(decoded, self.shape[1:]).unflatten(0, mean.shape[:2])

    def _mean_decision(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return log_mean_probability(self.repeated_logits(images, self.eot_samples, generator))

    def _at_mean(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        images = resized(images, self.input_size)
        posterior = self._posterior(images)
        if self.encoder_sees_class:
            return self._bayes(images, posterior, posterior[0][None])[0]
        return self.classifier(posterior[0])

    def _likelihood_free(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        posterior = self._posterior(resized(images, self.input_size))
        codes = sample(posterior, self.samples, generator)
        return functional.log_softmax(self.classifier(codes), dim=-1).mean(dim=0)

    def _loss_alone(
        self, images: Tensor, labels: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        weight = 1.0 if isinstance(self.class_weight, str) else self.class_weight
        return self._bound(images, labels, generator, weight)["total"]

    def _bound(
        self, images: Tensor, labels: Tensor, generator: torch.Generator | None, weight: float
    ) -> dict[str, Tensor]:
        images = resized(images, self.input_size)
        if self.encoder_sees_class:
            posterior = self.encoder.given_class(images, labels)
        else:
            posterior = self.encoder(images)
        codes = sample(posterior, 1, generator)[0]
        logits = self.classifier(codes)
        reconstruction = -self._log_likelihood(images.flatten(1), codes)
        kl = kl_to_standard(posterior)
        classification = functional.cross_entropy(logits, labels, reduction="none")
        parts = {
            "total": reconstruction + kl + weight * classification,
            "reconstruction": reconstruction,
            "kl": kl,
            "classification": classification,
        }
        return parts if self.encoder_sees_class else {**parts, "accuracy": correct(logits, labels)}

    def _posterior(self, images: Tensor) -> Gaussian:
        """q(z|x), two tensors (B, D), or q(z|x, y) of every class, two tensors (B, K, D)."""
        if self.encoder_sees_class:
            return self.encoder.given_each_class(images)
        return self.encoder(images)

    def _log_likelihood(self, pixels: Tensor, codes: Tensor) -> Tensor:
        """log p(x|z) in nats.

        Args:
            pixels: (..., P), grey values in [0, 1], broadcast against `codes`.
            codes: (..., D).

        Returns:
            (...); log Bernoulli from logits, so that it is finite for any output of the decoder.
        """
        decoded = self.decoder(codes.flatten(0, -2)).flatten(1).unflatten(0, codes.shape[:-1])
        return (pixels * decoded - functional.softplus(decoded)).sum(dim=-1)

    def _bayes(self, images: Tensor, posterior: Gaussian, codes: Tensor) -> tuple[Tensor, Tensor]:
        """Bayes' rule by importance sampling.

        s_ck = log p(x|z_k) + log p(y=c|z_k) + log p(z_k) - log q(z_k|x[, c]);
        log p(x, y=c) = logsumexp_k s_ck - log n.

        Args:
            images: (B, C, H, W) at the network's size.
            posterior: q, two tensors (B, D) or (B, K, D).
            codes: draws from it, (n, B, D) or (n, B, K, D).

        Returns:
            log p(y|x), (B, K), and log p(x), (B,).
        """
        terms, common = self._log_terms(images, posterior, codes)
        joint = terms.logsumexp(dim=0) - math.log(len(codes))
        log_px = joint.logsumexp(dim=-1)
        return joint - log_px[:, None], log_px + common.flatten()

    def _log_terms(
        self, images: Tensor, posterior: Gaussian, codes: Tensor
    ) -> tuple[Tensor, Tensor]:
        """s_ck of `_bayes` less what is common to an image's, (n, B, K), and that, (1, B, 1)."""
        pixels = images.flatten(1)
        log_class = functional.log_softmax(self.classifier(codes), dim=-1)
        if self.encoder_sees_class:
            pixels = pixels[:, None]
            log_class = log_class.diagonal(dim1=-2, dim2=-1)
        likelihood = torch.cat(
            [self._log_likelihood(pixels, each) for each in codes.split(self.draws_at_once(codes))]
        )
        log_weight = likelihood + log_ratio_to_standard(codes, posterior)
        if not self.encoder_sees_class:
            log_weight = log_weight[..., None]
        # Thousands of nats are common to all classes: without them the classes' difference
        # keeps float32's full precision.
        common = log_weight.detach().amax(dim=(0, 2), keepdim=True)
        return log_weight - common + log_class, common

    def draws_at_once(self, codes: Tensor) -> int:
        """How many samples of codes (n, ..., D) are decoded at once; at least 1."""
        if codes.device.type == "cpu":
            return max(1, self.codes_at_once // max(1, codes[0, ..., 0].numel()))
        return max(1, len(codes))


def effective_share(log_weights: Tensor, dim: int = 0) -> Tensor:
    """Effective sample size of importance weights, (sum w)^2 / sum w^2, as a share of n in (0, 1].

    Args:
        log_weights: (..., n, ...) in nats, up to a constant.
        dim: where the n samples are.
    """
    share = log_weights.double().softmax(dim)
    size = 1 / share.square().sum(dim)
    return (size / log_weights.shape[dim]).clamp(max=1.0).to(log_weights.dtype)
