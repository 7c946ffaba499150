"""The attack of Szegedy et al.: box-constrained L-BFGS on distance plus weighted loss."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
import torch
from scipy.optimize import Bounds, minimize
from torch import Tensor
from torch.nn import functional

from assay.attacks.arguments import check_at_least, check_positive, check_target
from assay.attacks.best_so_far import BestSoFar, with_smallest_weights
from assay.attacks.losses import targeted_cross_entropy, without
from assay.attacks.minimal import MinimalNorm
from assay.attacks.queries import Queries

_WORST = 1e4


@dataclass(frozen=True, kw_only=True)
class LBFGS(MinimalNorm):
    """Minimises |x - x0|^2 - c * log p over [0, 1], for the smallest weight c that succeeds.

    p is the probability of the target or, without a target, of all classes but the true one.
    Between rounds each image's c grows tenfold until an iterate is misclassified, then it is
    bisected. The closest misclassified iterate of all rounds is kept.

    Args:
        target: ``none``, or the class to drive an image to, see `Attack`.
        binary_steps: rounds, at least 1.
        steps: iterations of the optimiser per round, at least 1.
        initial_weight: c of the first round, above 0.

    Example:
        >>> LBFGS(steps=50).binary_steps
        9
    """

    norm: ClassVar[str] = "l2"
    source: ClassVar[str] = "Szegedy et al. 2014, arXiv:1312.6199"
    differences: ClassVar[tuple[str, ...]] = (
        "all images are one problem for scipy's L-BFGS-B: the sum of their objectives, which share "
        "no variable, each with its own c, so that an evaluation is one batched pass; curvature "
        "estimate and line search are therefore shared",
        "the distance is squared, as in the implementations that followed",
        "untargeted by default, with log(1 - p_y) in the place of log p_t",
        "c is bisected in a fixed number of rounds; every iterate counts, not only the minimiser",
    )

    target: str | int = "none"  # pyrefly: ignore[bad-override]
    binary_steps: int = 9
    steps: int = 100
    initial_weight: float = 1e-2

    def __post_init__(self) -> None:
        super().__post_init__()
        check_target(self.target)
        check_at_least(1, binary_steps=self.binary_steps, steps=self.steps)
        check_positive(initial_weight=self.initial_weight)

    @property
    def gradient_passes(self) -> int:
        return self.binary_steps * self.steps * self.eot_samples

    def _minimal_norm(self, queries: Queries) -> Tensor:
        minimise = partial(self._round, queries)
        return with_smallest_weights(queries, self.binary_steps, self.initial_weight, minimise)

    def _round(self, queries: Queries, weight: Tensor, best: BestSoFar) -> Tensor:
        """One minimisation with weights (n,): the images with a misclassified iterate (n,)."""
        origin, start = queries.images, queries.images.double()
        rows = torch.arange(len(origin), device=origin.device)
        succeeded = torch.zeros_like(rows, dtype=torch.bool)
        loss = _log_elsewhere if queries.targets is None else targeted_cross_entropy

        def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
            exact = torch.from_numpy(flat).to(origin.device).view_as(origin)
            x = exact.to(origin.dtype)
            value, logits, loss_gradient = queries.gradient(x, rows, loss, targets=queries.targets)
            succeeded.logical_or_(best.note(x, rows, logits))
            # In double precision, since the optimiser stops where the sum no longer falls.
            change = exact - start
            # One image whose loss is not finite must not take the sum with it.
            total = change.square().sum() - (weight * value.clamp_min(-_WORST)).double().sum()
            gradient = 2 * change - weight[:, None, None, None] * loss_gradient
            return total.item(), gradient.flatten().cpu().numpy()

        minimize(
            objective,
            start.flatten().cpu().numpy(),
            jac=True,
            method="L-BFGS-B",
            bounds=Bounds(0.0, 1.0),
            options={"maxiter": self.steps, "ftol": 1e-6},
        )
        return succeeded


def _log_elsewhere(logits: Tensor, labels: Tensor) -> Tensor:
    """log(1 - softmax(z)_y), exact where softmax(z)_y rounds to 0 or 1: (B,)."""
    others = without(logits, labels).logsumexp(dim=1)
    return functional.logsigmoid(others - logits.gather(1, labels[:, None]).squeeze(1))
