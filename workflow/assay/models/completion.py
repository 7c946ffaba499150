"""Estimates of a matrix of which some entries are unknown, for many matrices at once.

Every estimator takes ``observed`` (N, m, n), values in [-1, 1] with zeros where nothing is known,
and ``mask`` (N, m, n), true where something is. It returns (N, m, n) in [-1, 1], and raises a
ModelError if values are not finite. Matrices are decomposed by the eigenvalues of their smaller
Gram matrix, all of them together.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from assay.foundation.errors import ModelError

log = logging.getLogger(__name__)

Estimator = Callable[..., Tensor]
# Batches of this process that were decomposed in double precision.
_fallbacks = itertools.count(1)


def rank_projection(observed: Tensor, mask: Tensor, *, kept: float = 0.8) -> Tensor:
    """The projection to the first singular vectors, over the share of known entries.

    This is what the public code of ME-Net (Y. Yang et al., ICML 2019, arXiv:1905.11971) computes as
    "USVT"; it has no threshold. Of the 32 singular values of a CIFAR-10 image it keeps 25.

    Args:
        observed: (N, m, n), zero where unknown.
        mask: (N, m, n).
        kept: the share of the singular values that stays, in (0, 1]; rounded down, at least one.

    Example:
        >>> whole = torch.ones(1, 4, 6) / 2
        >>> rank_projection(whole, torch.ones(1, 4, 6) > 0).sub(whole).abs().max() < 1e-5
        tensor(True)
    """
    rank = max(1, int(kept * min(observed.shape[-2:])))
    share = _share(mask)
    return _of_rows(
        observed,
        lambda values: torch.where(
            torch.arange(values.shape[-1], device=values.device) >= values.shape[-1] - rank,
            1 / share,
            0.0,
        ),
    ).clamp(-1, 1)


def usvt(observed: Tensor, mask: Tensor, *, slack: float = 0.02) -> Tensor:
    """Universal singular value thresholding (S. Chatterjee, Annals of Statistics 2015).

    Singular values below (2 + slack) * sqrt(n * share), n the longer side, count as noise.

    Args:
        observed: (N, m, n), zero where unknown.
        mask: (N, m, n).
        slack: above 0; the paper's eta.

    Example:
        >>> whole = torch.ones(1, 40, 60)
        >>> usvt(whole, torch.ones(1, 40, 60) > 0).sub(whole).abs().max() < 1e-4
        tensor(True)
    """
    share = _share(mask)
    threshold = (2 + slack) * (max(observed.shape[-2:]) * share).sqrt()
    return _of_rows(
        observed, lambda values: torch.where(values >= threshold, 1 / share, 0.0)
    ).clamp(-1, 1)


def soft_impute(
    observed: Tensor,
    mask: Tensor,
    *,
    shrinkage: float = 1 / 50,
    steps: int = 100,
    tolerance: float = 1e-3,
) -> Tensor:
    """Soft-thresholded singular values for the unknown entries, until these stay (Soft-Impute).

    R. Mazumder, T. Hastie, R. Tibshirani, JMLR 2010, as the public code of ME-Net has it. Known
    entries stay as they are. A matrix leaves the iteration as soon as it has converged.

    Args:
        observed: (N, m, n), zero where unknown.
        mask: (N, m, n).
        shrinkage: how much singular values shrink, as a share of the largest of `observed`.
        steps: at most.
        tolerance: of the relative change of the unknown entries.

    Example:
        >>> whole = torch.ones(1, 4, 6) / 2
        >>> mask = torch.ones(1, 4, 6) > 0
        >>> mask[0, 1, 2] = False
        >>> soft_impute(whole * mask, mask).sub(whole).abs().max() < 0.02
        tensor(True)
    """
    whole = observed.clone()
    live = torch.arange(len(whole), device=whole.device)
    amount = None
    for _ in range(steps):
        values, vectors = _decomposed(whole[live])
        if amount is None:
            amount = shrinkage * values[:, -1:]
        found = _scaled(whole[live], vectors, _shrunk(values, amount[live]))
        unknown = ~mask[live]
        before = whole[live]
        change = ((found - before) * unknown).flatten(1).norm(dim=1)
        size = (before * unknown).flatten(1).norm(dim=1)
        whole[live] = torch.where(unknown, found, before)
        # From zeros the first change is all there is.
        live = live[(change >= tolerance * size) & (change > 0)]
        if not len(live):
            break
    return whole.clamp(-1, 1)


def nuclear_norm(
    observed: Tensor, mask: Tensor, *, weight: float = 1.0, steps: int = 200
) -> Tensor:
    """The X that minimises weight * |X|_* + |mask * (X - observed)|_F^2, by proximal steps.

    The objective of ME-Net, whose public code gives it to a general solver.

    Args:
        observed: (N, m, n), zero where unknown.
        mask: (N, m, n).
        weight: of the nuclear norm, the sum of the singular values.
        steps: at most; a step changes less than 0.001 after about 200.

    Example:
        >>> known = torch.ones(1, 4, 6) > 0
        >>> found = nuclear_norm(torch.ones(1, 4, 6) / 2, known)
        >>> round(float(found.mean()), 3)  # the one singular value shrinks by weight / 2
        0.398
    """
    found = torch.zeros_like(observed)
    for _ in range(steps):
        filled = torch.where(mask, observed, found)
        values, vectors = _decomposed(filled)
        found = _scaled(
            filled, vectors, _shrunk(values, torch.full_like(values[:, :1], weight / 2))
        )
    return found.clamp(-1, 1)


def projected(matrices: Tensor, onto: Tensor) -> Tensor:
    """Matrices (N, m, n), projected to the singular vectors of the shorter side of others.

    Singular values below a thousandth of the largest do not count.

    Example:
        >>> onto = torch.ones(1, 2, 3)  # of rank one
        >>> projected(torch.tensor([[[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]]]), onto).round(decimals=3)
        tensor([[[2., 2., 2.],
                 [2., 2., 2.]]])
    """
    with torch.no_grad():
        values, vectors = _decomposed(onto)
        # Squares of singular values lose half of the digits.
        factors = (values > 1e-3 * values[:, -1:].clamp_min(1e-12)).to(values)
    return _scaled(matrices, vectors, factors)


ESTIMATORS: Mapping[str, Estimator] = {
    "rank": rank_projection,
    "usvt": usvt,
    "soft_impute": soft_impute,
    "nuclear_norm": nuclear_norm,
}


def _share(mask: Tensor) -> Tensor:
    """The share of known entries of each matrix, (N, 1); one entry at least counts as known."""
    return mask.flatten(1).float().mean(dim=1, keepdim=True).clamp_min(1 / mask[0].numel())


def _shrunk(values: Tensor, amount: Tensor | float) -> Tensor:
    """What soft thresholding multiplies singular values by."""
    return (1 - amount / values.clamp_min(1e-12)).clamp_min(0)


def _of_rows(matrices: Tensor, factors: Callable[[Tensor], Tensor]) -> Tensor:
    """Matrices with each singular value multiplied by what `factors` makes of all of them."""
    values, vectors = _decomposed(matrices)
    return _scaled(matrices, vectors, factors(values))


def _decomposed(matrices: Tensor) -> tuple[Tensor, Tensor]:
    """Singular values (N, k), ascending, and the singular vectors (N, k, k) of the shorter side.

    Raises:
        ModelError: a matrix has values that are not finite.
    """
    short = matrices if matrices.shape[-2] <= matrices.shape[-1] else matrices.mT
    gram = short @ short.mT
    try:
        squares, vectors = torch.linalg.eigh(gram)
    except torch.linalg.LinAlgError as error:
        if not matrices.isfinite().all():
            raise ModelError(
                "images with values that are not finite cannot be completed",
                where="matrix completion",
                remedy="check what produces them",
            ) from error
        # In single precision the decomposition may not converge; in double it does.
        log.warning(
            "%s; matrices of this batch are decomposed in double precision (%d batches so far)",
            error, next(_fallbacks),
        )  # fmt: skip
        squares, vectors = (part.to(gram) for part in torch.linalg.eigh(gram.double()))
    return squares.clamp_min(0).sqrt(), vectors


def _scaled(matrices: Tensor, vectors: Tensor, factors: Tensor) -> Tensor:
    """U diag(factors) U^T A, or A U diag(factors) U^T where the columns are the shorter side."""
    middle = (vectors * factors[:, None]) @ vectors.mT
    tall = matrices.shape[-2] > matrices.shape[-1]
    return matrices @ middle if tall else middle @ matrices
