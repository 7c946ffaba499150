"""Analysis by synthesis: the class whose generator can best imitate the image.

L. Schott, J. Rauber, M. Bethge, W. Brendel: Towards the first adversarially robust neural network
model on MNIST, ICLR 2019 (ABS); A. Ju: PhD thesis, UC Berkeley 2021, chapter 2 (E-ABS).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from assay.attacks.victim import View
from assay.foundation.errors import ModelError
from assay.models.base import Classifier, correct
from assay.models.class_search import (
    ClassSearch,
    Latents,
    SearchLimits,
    differentiable,
    unrolled,
)
from assay.models.grouped import (
    DROPOUT,
    Decoders,
    Discriminators,
    Encoders,
    layout_for,
    log_prior,
    squared_errors,
)
from assay.models.latent import kl_to_standard, sample
from assay.models.search_starts import CandidatePool, WarmCodes, random_codes
from assay.models.synthesis_loss import classwise_loss, shared_loss

# -log D of the codes in nats, mean over an epoch: beyond, the discriminator is certain.
LOST = 30.0
# How many times more steps the search takes for a certificate.
THOROUGH = 4


class AnalysisBySynthesis(Classifier):
    """K decoders, and a search for the code with which each imitates the image best.

    The energy of class k at the code z is ||x - G_k(z)||^2 + beta * prior, and its logit is
    -scale * min_z energy. The prior's share is -log D(z) of a discriminator (`adversarial`), else
    the divergence of the code's Gaussian from N(0, I) or, of a single code, ||z||^2 / 2. The
    search begins, for each class by itself, at the best of many random codes and of the encoder's,
    a Gaussian always with the width that the encoder gives the image, and goes on with Adam. ABS
    is the class with no letter, E-ABS that with all three.

    Args:
        classes: number of classes K.
        shape: (C, H, W) of the images.
        adversarial: A, a discriminator shapes the codes in training and is the prior.
        discriminative: D, one encoder for all classes, and training tells the classes apart.
        variational: V, the search is for a Gaussian, whose noise makes the decision random.
        layout: the networks' sizes, by name; None: those that fit the shape.
        beta: weight of the prior.
        gamma: weight of the discriminative loss.
        candidates: random codes that the search may begin at; 0: the encoder's alone.
        start_at_encoder: whether it may begin at the encoder's code, too.
        steps: of Adam.
        rate: of Adam.
        radius: codes are kept within it (None: they may go anywhere).
        final_samples: samples that the energy of a Gaussian is averaged over in the end.
        stop_early: images leave as soon as no class can catch up with the best one even at its
            present pace: a search whose energies fall ever more slowly decides the same.
        scale: of the logits.
        warm_steps: steps inside an attack, which goes on from the codes of its step before.
        unrolled_steps: steps after the search that the view ``unrolled`` differentiates.
        dropout: of the networks, in training.

    Attributes:
        limits: what the search keeps, and how much it works on at once; no decision depends on
            `cache_bytes` and `codes_at_once`.

    Raises:
        ModelError: no layout fits the images, or a setting is impossible.
    """

    max_batch = 64
    needs_every_class = True
    limits = SearchLimits()

    def __init__(
        self,
        *,
        classes: int,
        shape: tuple[int, int, int],
        adversarial: bool = True,
        discriminative: bool = True,
        variational: bool = True,
        layout: str | None = None,
        beta: float = 1.0,
        gamma: float = 10.0,
        candidates: int = 8000,
        start_at_encoder: bool = True,
        steps: int = 50,
        rate: float = 0.05,
        radius: float | None = None,
        final_samples: int = 5,
        stop_early: bool = True,
        scale: float = 1.0,
        warm_steps: int = 10,
        unrolled_steps: int = 3,
        dropout: float = DROPOUT,
    ):
        super().__init__(classes=classes, shape=shape)
        for key, value in (
            ("steps", steps),
            ("candidates", candidates),
            ("warm_steps", warm_steps),
        ):
            if value < 0:
                raise ModelError(f"{value} is negative", where=f"settings.{key}")
        if not candidates and not start_at_encoder:
            raise ModelError(
                "0 candidates: the search has no initial latent code", where="settings.candidates"
            )
        self.start_at_encoder = start_at_encoder
        self.adversarial, self.discriminative = adversarial, discriminative
        self.variational = self.stochastic = variational
        self.beta, self.gamma, self.scale = beta, gamma, scale
        self.candidates, self.steps, self.rate, self.radius = candidates, steps, rate, radius
        self.final_samples, self.stop_early = final_samples, stop_early
        self.warm_steps, self.unrolled_steps = warm_steps, unrolled_steps
        sizes = layout_for(layout, self.shape)
        self._layout, self.latent_dim = sizes, sizes.latent_dim
        self.encoders = Encoders(sizes, 1 if discriminative else classes, dropout)
        self.decoders = Decoders(sizes, classes, dropout)
        self.discriminators = None
        if adversarial:
            self.discriminators = Discriminators(sizes, 1 if discriminative else classes)
        self._pool: CandidatePool | None = None

    # The decision

    def logits(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return -self.scale * self.search(images, generator).energy

    def features(self, images: Tensor) -> Tensor:
        """The means of the encoders' Gaussians, (B, D) or, with an encoder per class, (B, K D)."""
        return self.encoded(images)[0].flatten(1)

    def search(
        self,
        images: Tensor,
        generator: torch.Generator | None = None,
        *,
        start: Tensor | None = None,
        steps: int | None = None,
        stop_early: bool | None = None,
    ) -> Latents:
        """The best code of every class, for all images and classes at once.

        Args:
            images: (B, C, H, W) in [0, 1].
            generator: noise of a variational search.
            start: (B, K, 1 or 2, D), where to begin; None: at the best candidates.
            steps: None: the model's own.
            stop_early: None: as the model does.
        """
        with differentiable():
            images = images.detach().clone()
            return self._class_search().descend(
                images,
                self.initial_codes(images) if start is None else start,
                partial(self.energy, generator=generator, decode=self.decoders.decoding()),
                steps=self.steps if steps is None else steps,
                final=partial(self._final_energy, generator=generator),
                stop_early=self.stop_early if stop_early is None else stop_early,
            )

    def _class_search(self) -> ClassSearch:
        return ClassSearch(rate=self.rate, limits=self.limits, project=self._clip_codes)

    def reconstructions(self, codes: Tensor) -> Tensor:
        """(B, K, 1 or 2, D) to what each class makes of its code (or its mean), (B, K, C, H, W)."""
        return self.decoders(codes[:, :, 0])

    def lower_bound(
        self, images: Tensor, labels: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """How far (L2) each image may be moved without another decision, (B,); 0 if it is wrong.

        (d_k^2 - l_y) / (2 d_k + 2 ||x - G_y(z_y)||), the least over k, where l_y is the energy of
        the true class and d_k the distance to the closest image of class k (Ju 2021, equation 2.7,
        with the norm in the denominator not squared, as in its proof). It holds if the search finds
        the closest images of all other classes, which no search can promise.

        The closest image of class k is that of the single code z (within `radius`) of least
        ||x - G_k(z)||, whatever its prior. This is so for Gaussian codes, too: the energy of any
        Gaussian is a mean of squared distances of single codes and a prior that is not negative, so
        it is at least d_k^2. Of the true class, whose energy is an upper bound wherever it is
        taken, the Gaussian of least energy counts: l_y is its mean energy over `final_samples`
        draws, and G_y(z_y) the mean of their images. For a random decision the bound is one of the
        mean energies.
        """
        found = self.search(images, generator, steps=THOROUGH * self.steps, stop_early=False)
        distance = self._least_distance(images, found.codes[:, :, :1])
        own = labels[:, None]
        energy, miss = self._own_energy(images, found.codes, own, generator)
        bound = (distance.square() - energy) / (2 * distance + 2 * miss).clamp_min(1e-12)
        return bound.scatter(1, own, torch.inf).amin(dim=1).clamp_min(0.0)

    def _own_energy(
        self, images: Tensor, codes: Tensor, own: Tensor, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor]:
        """Energy of the classes `own` (B, 1) and the distance to their mean image, (B, 1) each."""
        samples = self.final_samples if self.variational else 1
        energy: Any = 0.0
        mean: Any = 0.0
        with torch.no_grad():
            for _ in range(samples):
                sampled = _sampled(codes, generator)
                made = self.decoders(sampled)
                error = squared_errors(images, made)
                energy = energy + (error + self.beta * self.prior(codes, sampled)) / samples
                mean = mean + made / samples
            miss = (images[:, None] - mean).flatten(2).norm(dim=2)
        return energy.gather(1, own), miss.gather(1, own)

    def _least_distance(self, images: Tensor, codes: Tensor) -> Tensor:
        """||x - G_k(z)|| at the closest code z that two searches find, (B, K).

        One goes on from `codes` (B, K, 1, D), the other from the closest candidates. The least
        distance of all their steps counts.
        """
        with differentiable():
            search, steps = self._class_search(), THOROUGH * self.steps
            decode = self.decoders.decoding()

            def error(images: Tensor, codes: Tensor) -> Tensor:
                return squared_errors(images, decode(codes[:, :, 0]))

            starts = codes, self.initial_codes(images, prior=False)[:, :, :1]
            found = (search.least(images, start, error, steps=steps) for start in starts)
            return torch.minimum(*found).sqrt()

    def facts(self) -> dict[str, Any]:
        return {**super().facts(), "architecture": self._layout.sizes()}

    def explain(
        self, images: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        found = self.search(images, generator)
        return self.reconstructions(found.codes).detach(), -found.energy

    def certified_radius(
        self, images: Tensor, labels: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        return self.lower_bound(images, labels, generator)

    # What adversaries may differentiate

    def views(self) -> dict[str, View]:
        """``frozen``: the best codes are held fixed (equation 2.9); each search goes on from the
        codes of the attack's step before. ``unrolled``: the same, and then differentiated through
        a few steps more. ``encoder``: the energies at the encoders' codes, without a search.
        """
        warm = self._warm_codes()
        reconstructions = partial(self._frozen_reconstructions, warm)
        return {
            "frozen": View(partial(self._frozen, warm), reconstructions=reconstructions),
            "unrolled": View(
                partial(self._unrolled, self._warm_codes()), reconstructions=reconstructions
            ),
            "encoder": View(
                self._at_encoder,
                reconstructions=self._encoder_reconstructions,
                deterministic=True,
            ),
        }

    def _warm_codes(self) -> WarmCodes:
        limits = self.limits
        return WarmCodes(
            self.search, steps=self.warm_steps, near=limits.near, remembered=limits.remembered
        )

    def _frozen(
        self, warm: WarmCodes, images: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        codes = warm.codes(images, generator)
        error = squared_errors(images, self.reconstructions(codes).detach())
        with torch.no_grad():
            prior = self.prior(codes, codes[:, :, 0])
        return -self.scale * (error + self.beta * prior)

    def _frozen_reconstructions(
        self, warm: WarmCodes, images: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        return self.reconstructions(warm.codes(images, generator))

    def _encoder_reconstructions(
        self, images: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        return self.reconstructions(self.encoder_energy(images)[1])

    def _unrolled(
        self, warm: WarmCodes, images: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        codes = warm.codes(images, generator)
        energy = partial(self.energy, generator=generator)
        final = partial(self._final_energy, generator=generator)
        steps, rate = self.unrolled_steps, self.rate
        return -self.scale * unrolled(images, codes, energy, steps=steps, rate=rate, final=final)

    def _at_encoder(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return -self.scale * self.encoder_energy(images)[0]

    # Energies

    def energy(
        self,
        images: Tensor,
        codes: Tensor,
        generator: torch.Generator | None,
        decode: Callable[[Tensor], Tensor] | None = None,
    ) -> Tensor:
        """Energies (B, K) of codes (B, K, 1 or 2, D), with one draw of a Gaussian's noise.

        `decode` is the decoders' :meth:`~Decoders.decoding` where many calls share it.
        """
        decode = decode or self.decoders
        sampled = _sampled(codes, generator)
        return squared_errors(images, decode(sampled)) + self.beta * self.prior(codes, sampled)

    def prior(self, codes: Tensor, sampled: Tensor) -> Tensor:
        """The prior's share of the energy before its weight beta, (B, K).

        Args:
            codes: (B, K, 1 or 2, D).
            sampled: (B, K, D), the codes, or samples of their Gaussians.
        """
        if self.discriminators is not None:
            return -log_prior(self.discriminators(sampled))
        if codes.shape[2] == 1:
            return 0.5 * sampled.square().sum(dim=2)
        return kl_to_standard((codes[:, :, 0], codes[:, :, 1]))

    def _final_energy(
        self, images: Tensor, codes: Tensor, generator: torch.Generator | None
    ) -> Tensor:
        samples = self.final_samples if self.variational else 1
        total: Any = sum(self.energy(images, codes, generator) for _ in range(samples))
        return total / samples

    def encoded(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Means and log-variances of the encoders, (B, 1 or K, D)."""
        return self.encoders(images[:, None].expand(-1, self.encoders.groups, -1, -1, -1))

    def encoder_energy(self, images: Tensor, *, prior: bool = True) -> tuple[Tensor, Tensor]:
        """Energies (B, K), or without prior squared errors, and codes (B, K, 1 or 2, D) at the
        encoders' means.
        """
        gaussian = self.encoded(images)
        mean = gaussian[0].expand(-1, self.classes, -1)
        codes = torch.stack([part.expand(-1, self.classes, -1) for part in gaussian], dim=2)
        codes = codes if self.variational else codes[:, :, :1]
        error = squared_errors(images, self.decoders(mean))
        return error + self.beta * self.prior(codes, mean) if prior else error, codes

    # The search

    @torch.no_grad()
    def candidate_pool(self, device: torch.device | str) -> CandidatePool:
        """The random codes that the search may begin at, with what the present weights make."""
        if self._pool is None or not self._pool.is_of(self):
            codes = random_codes(self.candidates, self.latent_dim).to(device)
            self._pool = CandidatePool(self, codes, cache_bytes=self.limits.cache_bytes)
        return self._pool

    def candidate_parts(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        """What each class makes of the codes (m, D), and what does not depend on the image.

        Returns:
            Flat reconstructions g, (K, m, P), and ||g||^2 + beta * prior, (K, m).
        """
        each = codes[:, None].expand(-1, self.classes, -1)
        made = self.decoders(each).flatten(2).transpose(0, 1).contiguous()
        parts = each[:, :, None]
        if self.variational:
            parts = torch.cat([parts, torch.zeros_like(parts)], dim=2)
        prior = self.beta * self.prior(parts, each).T
        return made, made.square().sum(dim=2) + prior

    @torch.no_grad()
    def initial_codes(self, images: Tensor, *, prior: bool = True) -> Tensor:
        """(B, K, 1 or 2, D) where the search begins: of least energy or, without prior, error."""
        energy, codes = self.encoder_energy(images, prior=prior)
        if not self.candidates:
            return codes
        if not self.start_at_encoder:
            energy = torch.full_like(energy, torch.inf)
        elif prior and self.variational and self.discriminators is None:
            # The width's share of the divergence is the same for all candidates.
            width = codes[:, :, 1]
            energy = energy - self.beta * kl_to_standard((torch.zeros_like(width), width))
        found, better = self.candidate_pool(images.device).closest(images, energy, prior=prior)
        codes = codes.clone()
        codes[:, :, 0][better] = found[better]
        return codes

    def _clip_codes(self, images: Tensor, codes: Tensor) -> None:
        if self.radius is not None:
            length = codes[:, :, :1].norm(dim=3, keepdim=True)
            codes[:, :, :1] *= (self.radius / length.clamp_min(1e-12)).clamp_max(1.0)

    # Training

    def training_loss(
        self, images: Tensor, labels: Tensor, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """``reconstruction`` + beta * ``prior`` [+ gamma * ``discrimination``], each (B,).

        With a discriminator its own loss is added. Neither part reaches the other's weights, so
        that one step on the sum is a step of each.
        """
        if self.discriminative:
            return shared_loss(self, images, labels, generator)
        return classwise_loss(self, images, labels, generator)

    def validation_loss(
        self, images: Tensor, labels: Tensor, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """As :meth:`training_loss`; ``accuracy`` is that at the encoders' codes, without search."""
        energy, _ = self.encoder_energy(images)
        parts = self.training_loss(images, labels, generator)
        return {**parts, "accuracy": correct(-energy, labels)}

    def diverges(self, means: Mapping[str, float]) -> str | None:
        if means.get("prior", 0.0) > LOST and self.discriminators is not None:
            return (
                f"the discriminator has won: -log D of the codes is {means['prior']:.3g} nats, "
                "so the encoder no longer learns from it,"
            )
        return None


def _sampled(codes: Tensor, generator: torch.Generator | None) -> Tensor:
    """(B, K, D): the codes (B, K, 1, D), or a sample of their Gaussians (B, K, 2, D)."""
    if codes.shape[2] == 1:
        return codes[:, :, 0]
    return sample((codes[:, :, 0], codes[:, :, 1]), 1, generator)[0]
