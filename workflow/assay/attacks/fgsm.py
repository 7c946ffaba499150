"""The fast gradient sign method: one gradient, one step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from assay.attacks.arguments import check_target
from assay.attacks.attack import Attack
from assay.attacks.losses import check_loss, loss_called
from assay.attacks.queries import Queries


@dataclass(frozen=True, kw_only=True)
class FGSM(Attack):
    """x' = clip(x + epsilon * sign(grad_x L(x, y)), 0, 1).

    With a `target` it is the one-step target class method (Kurakin et al. 2017, arXiv:1611.01236):
    the loss is the target's log probability.

    One gradient serves all epsilons. It is a formula, not a search: a success at a small radius
    need not be one at a larger radius, and is reported as it is.

    Args:
        loss: ``cross_entropy``, ``margin``, ``dlr`` or ``training`` (what the model was trained
            with).
        target: see `Attack`.

    Example:
        >>> print(FGSM(loss="margin"))  # doctest: +NORMALIZE_WHITESPACE
        FGSM(target='none', as_published=False, eot_samples=1, own_samples=True,
             first_view=False, views=None, loss='margin')
    """

    norm: ClassVar[str] = "linf"
    source: ClassVar[str] = "Goodfellow, Shlens, Szegedy 2015, arXiv:1412.6572"
    differences: ClassVar[tuple[str, ...]] = (
        "runs on every view of a defence and takes the worst case, image by image",
    )
    access: ClassVar[str] = "white_box"
    nested: ClassVar[bool] = False

    loss: str = "cross_entropy"
    target: str | int = "none"  # pyrefly: ignore[bad-override]

    def __post_init__(self) -> None:
        super().__post_init__()
        check_target(self.target)
        check_loss(self.loss, targeted=self.target != "none")

    @property
    def gradient_passes(self) -> int:
        return self.eot_samples

    def _prepare(self, queries: Queries) -> Tensor:
        rows = torch.arange(len(queries.images), device=queries.images.device)
        loss = loss_called(self.loss, targeted=queries.targets is not None)
        _, _, gradient = queries.gradient(queries.images, rows, loss, targets=queries.targets)
        return gradient.sign_()

    def _search(self, queries: Queries, epsilon: float, shared: Tensor) -> Tensor:
        return queries.images + epsilon * shared
