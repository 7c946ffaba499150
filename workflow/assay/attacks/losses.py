"""What a search climbs: losses per image, larger where the victim is closer to being wrong.

All take logits (B, K) with K >= 2 and labels (B,) and return (B,). The targeted forms in `TARGETED`
also take targets (B,), wrong classes, and are larger where the victim is closer to saying the
target.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from assay.foundation.errors import AttackError

# exp(-88) is the smallest normal float32: beyond it the gradient of a cross-entropy is zero.
SATURATED = 80.0


def without(logits: Tensor, classes: Tensor) -> Tensor:
    """Logits (B, K) with -inf at the classes (B,)."""
    own = torch.zeros_like(logits, dtype=torch.bool).scatter_(1, classes[:, None], True)
    return logits.masked_fill(own, -torch.inf)


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """-log softmax(z)_y, as softplus(logsumexp_{j != y} z_j - z_y).

    Written like this its gradient stays exact where softmax(z)_y rounds to 1 (a margin of 17) and
    the textbook form loses the part of z_y. From a margin of -`SATURATED` on, where any softmax
    underflows to a gradient of zero, it continues linearly: the direction is unchanged and larger
    is still closer.
    """
    behind = without(logits, labels).logsumexp(dim=1) - _at(logits, labels)
    return torch.where(behind > -SATURATED, F.softplus(behind), behind + SATURATED)


def margin(logits: Tensor, labels: Tensor) -> Tensor:
    """max_{j != y} z_j - z_y, positive exactly where the decision is wrong.

    Its gradient does not vanish where the softmax is saturated, and it works from two classes up.
    """
    return without(logits, labels).amax(dim=1) - _at(logits, labels)


def zero_masked_margin(logits: Tensor, labels: Tensor) -> Tensor:
    """max_j (1 - [j = y]) z_j - z_y, the margin as Madry et al.'s MNIST code writes it.

    Wrong where all other logits are negative, as log-probabilities are: the maximum is then the 0
    in the place of the true class, and what is left, -z_y, knows no other class. With a positive
    logit of another class it is the margin. For comparisons with publications that use it.

    Example:
        >>> logits, labels = torch.tensor([[-1.0, -3.0], [1.0, 3.0]]), torch.tensor([0, 0])
        >>> zero_masked_margin(logits, labels), margin(logits, labels)
        (tensor([1., 2.]), tensor([-2.,  2.]))
    """
    others = torch.ones_like(logits).scatter_(1, labels[:, None], 0.0)
    return (others * logits).amax(dim=1) - _at(logits, labels)


def target_margin(logits: Tensor, targets: Tensor) -> Tensor:
    """z_t - max_{j != t} z_j, positive exactly where the decision is the target."""
    return -margin(logits, targets)


def dlr(logits: Tensor, labels: Tensor) -> Tensor:
    """The margin over z_(1) - z_(3), the logits in falling order: blind to their scale.

    Croce, Hein 2020, arXiv:2003.01690. Two classes have no third logit; the margin replaces it.
    """
    if logits.shape[1] < 3:
        return margin(logits, labels)
    top = logits.topk(3, dim=1).values
    return margin(logits, labels) / (top[:, 0] - top[:, 2]).clamp_min(1e-12)


def targeted_cross_entropy(logits: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
    """log softmax(z)_t, as finely computed as `cross_entropy`; the labels play no part."""
    return -cross_entropy(logits, targets)


def targeted_margin(logits: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
    """z_t - z_y, positive where the target beats the true class."""
    return _at(logits, targets) - _at(logits, labels)


def targeted_dlr(logits: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
    """(z_t - z_y) over z_(1) - (z_(3) + z_(4)) / 2; with fewer than four classes z_t - z_y."""
    if logits.shape[1] < 4:
        return targeted_margin(logits, labels, targets)
    top = logits.topk(4, dim=1).values
    spread = top[:, 0] - (top[:, 2] + top[:, 3]) / 2
    return targeted_margin(logits, labels, targets) / spread.clamp_min(1e-12)


Loss = Callable[..., Tensor]
# (logits (B, K), labels (B,)) -> (B,), and with targets (B,) as the third argument.
LOSSES: dict[str, Loss] = {
    "cross_entropy": cross_entropy,
    "margin": margin,
    "dlr": dlr,
    "zero_masked_margin": zero_masked_margin,
}
TARGETED: dict[str, Loss] = {
    "cross_entropy": targeted_cross_entropy,
    "margin": targeted_margin,
    "dlr": targeted_dlr,
}


# The view's own loss, which is no function of the logits.
TRAINING = "training"


def loss_called(name: str, *, targeted: bool) -> Loss | None:
    """A loss by its name; None for the view's own, `TRAINING`."""
    return None if name == TRAINING else (TARGETED if targeted else LOSSES)[name]


def check_loss(name: str, *, targeted: bool = False, of_logits: bool = False) -> None:
    """Raises AttackError unless `name` is a loss, or one with a targeted form, or of logits."""
    known = TARGETED if targeted else LOSSES if of_logits else (*LOSSES, TRAINING)
    if name not in known:
        raise AttackError(
            f"there is no {'targeted ' if targeted else ''}loss '{name}'",
            where="attack setting 'loss'",
            remedy=f"use one of {', '.join(known)}",
        )


def _at(logits: Tensor, classes: Tensor) -> Tensor:
    return logits.gather(1, classes[:, None]).squeeze(1)
