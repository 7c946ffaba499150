"""What networks have in common whose publication trained them with Keras."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor, nn

# Keras keeps 0.99 of the running statistics and adds 1e-3 to a variance.
BATCH_NORM = {"momentum": 0.01, "eps": 1e-3}
# Standard deviation of a standard normal cut off at two, which Keras' He initialiser undoes.
_CUT = 0.87962566103423978


def he_normal(layer: nn.Conv2d | nn.Linear) -> None:
    """Weights from a normal of variance 2 / fan-in, cut off at two deviations; biases of 0."""
    deviation = math.sqrt(2.0 / layer.weight[0].numel()) / _CUT
    nn.init.trunc_normal_(layer.weight, std=deviation, a=-2 * deviation, b=2 * deviation)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def glorot_uniform(layer: nn.Conv2d | nn.Linear) -> None:
    """Weights uniform within sqrt(6 / (fan-in + fan-out)); biases of 0."""
    nn.init.xavier_uniform_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def squared_kernels(module: nn.Module) -> Tensor:
    """The sum of all squared weights of convolutions, a scalar."""
    kernels = [part.weight for part in module.modules() if isinstance(part, nn.Conv2d)]
    total: Any = sum(kernel.square().sum() for kernel in kernels)
    return total
