"""What the latent-variable models share: encoder, classifier head and Gaussian arithmetic.

Latent codes have shape (..., D); a Gaussian is a pair (mean, log-variance) of that shape.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from assay.foundation.errors import ModelError

WIDTHS = (32, 64)  # channels after the first and the second strided convolution
HIDDEN = 256

Gaussian = tuple[Tensor, Tensor]


class Encoder(nn.Module):
    """Image to the mean and log-variance of a Gaussian over latent codes.

    Two strided 4x4 convolutions, one hidden layer, two heads. With `classes`, the hidden layer
    also reads a one-hot class: q(z|x, y).

    Args:
        channels: of the images.
        size: (H, W) of the images; multiples of four.
        latent_dim: D.
        classes: length of the one-hot class, or 0.
    """

    def __init__(self, channels: int, size: tuple[int, int], latent_dim: int, classes: int = 0):
        super().__init__()
        self.trunk = nn.Sequential(
            nn.Conv2d(channels, WIDTHS[0], kernel_size=4, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(WIDTHS[0], WIDTHS[1], kernel_size=4, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(map_size(size)[0] * map_size(size)[1] * WIDTHS[1], HIDDEN),
        )
        # A linear layer on [features, one-hot] is the sum of one on each: the class's share is
        # added to the image's, which is computed once for all classes.
        self.class_share = nn.Linear(classes, HIDDEN, bias=False) if classes else None
        self.mean = nn.Linear(HIDDEN, latent_dim)
        self.log_variance = nn.Linear(HIDDEN, latent_dim)

    def forward(self, images: Tensor) -> Gaussian:
        """q(z|x): (B, C, H, W) to two tensors (B, D)."""
        return self._heads(self.trunk(images))

    def given_class(self, images: Tensor, labels: Tensor) -> Gaussian:
        """q(z|x, y) of one class per image: (B, C, H, W) and (B,) to two tensors (B, D)."""
        assert self.class_share is not None
        return self._heads(self.trunk(images) + self.class_share.weight.T[labels])

    def given_each_class(self, images: Tensor) -> Gaussian:
        """q(z|x, y) of every class: (B, C, H, W) to two tensors (B, K, D)."""
        assert self.class_share is not None
        return self._heads(self.trunk(images)[:, None] + self.class_share.weight.T)

    def _heads(self, hidden: Tensor) -> Gaussian:
        hidden = hidden.relu()
        return self.mean(hidden), self.log_variance(hidden)


def class_head(latent_dim: int, classes: int) -> nn.Sequential:
    """p(y|z): codes (..., D) to logits (..., K)."""
    return nn.Sequential(nn.Linear(latent_dim, 128), nn.ReLU(), nn.Linear(128, classes))


def map_size(size: tuple[int, int]) -> tuple[int, int]:
    """(H, W) of the feature map of images of `size`.

    Raises:
        ModelError: a side is not a multiple of four.
    """
    if size[0] % 4 or size[1] % 4:
        raise ModelError(
            f"images of {size[0]}x{size[1]} pixels cannot be halved twice",
            where="settings.input_size",
            remedy=f"set it to {4 * math.ceil(max(size) / 4)}: images are then resized",
        )
    return size[0] // 4, size[1] // 4


def sample(posterior: Gaussian, n: int, generator: torch.Generator | None) -> Tensor:
    """`n` reparameterised samples, (n, ..., D), differentiable in both parameters."""
    mean, log_variance = posterior
    noise = torch.randn((n, *mean.shape), generator=generator, device=mean.device, dtype=mean.dtype)
    return mean + (0.5 * log_variance).exp() * noise


def kl_to_standard(posterior: Gaussian) -> Tensor:
    """KL divergence in nats from N(0, I), shape (...)."""
    mean, log_variance = posterior
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(dim=-1)


def log_ratio_to_standard(codes: Tensor, posterior: Gaussian) -> Tensor:
    """log N(z; 0, I) - log N(z; posterior) in nats, shape (...); the constants cancel."""
    mean, log_variance = posterior
    standardised = (codes - mean).square() * (-log_variance).exp()
    return 0.5 * (standardised + log_variance - codes.square()).sum(dim=-1)


def log_mean_probability(logits: Tensor, dim: int = 0) -> Tensor:
    """log of the mean of softmax(logits) over `dim`; (n, ..., K) to (..., K)."""
    return functional.log_softmax(logits, dim=-1).logsumexp(dim) - math.log(logits.shape[dim])
