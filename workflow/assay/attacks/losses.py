"""What a search climbs: losses per image, larger where the victim is closer to being wrong."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from assay.foundation.errors import AttackError


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """-log softmax(z)_y for logits z (B, K) and labels y (B,): (B,)."""
    return F.cross_entropy(logits, labels, reduction="none")


def margin(logits: Tensor, labels: Tensor) -> Tensor:
    """max_{j != y} z_j - z_y, positive exactly where the decision is wrong: (B,).

    Its gradient does not vanish where the softmax is saturated, and it works from two classes up.
    """
    own = torch.zeros_like(logits, dtype=torch.bool).scatter_(1, labels[:, None], True)
    others = logits.masked_fill(own, -torch.inf).amax(dim=1)
    return others - logits.gather(1, labels[:, None]).squeeze(1)


# "training" is the view's own loss: no function of the logits, hence None.
LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor] | None] = {
    "cross_entropy": cross_entropy,
    "margin": margin,
    "training": None,
}


def check_loss(name: str) -> None:
    """Raises AttackError unless `name` is a loss."""
    if name not in LOSSES:
        raise AttackError(
            f"there is no loss '{name}'",
            where="attack setting 'loss'",
            remedy=f"use one of {', '.join(LOSSES)}",
        )
