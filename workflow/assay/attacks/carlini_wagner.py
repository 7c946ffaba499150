"""The L2 attack of Carlini and Wagner: Adam in the space of arctanh, a bisected weight."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from assay.attacks.arguments import bad_setting, check_at_least, check_positive, check_target
from assay.attacks.best_so_far import BestSoFar, with_smallest_weights
from assay.attacks.losses import margin, target_margin
from assay.attacks.minimal import MinimalNorm
from assay.attacks.queries import Queries

# Images are scaled towards grey by this factor, so that black and white have a finite arctanh.
_INSIDE = 0.999999
# A round checks this often which images still make progress.
_CHECKS = 5
# The share by which the loss has to fall between checks: of a misclassified image, of another.
_PROGRESS, _PROGRESS_CORRECT = 1e-4, 1e-2
# How many times as fast as hitherto an image that is still correct may approach the boundary.
_PATIENCE = 2
_DECAY, _SECOND_DECAY, _FLOOR = 0.9, 0.999, 1e-8


@dataclass(frozen=True, kw_only=True)
class CarliniWagner(MinimalNorm):
    """Minimises |x - x0|^2 + c * max(z_y - max_{k != y} z_k + confidence, 0) over x = s(2 w).

    s is the logistic function, hence 2 x - 1 = tanh(w). With a target t the difference is that of
    max_{k != t} z_k and z_t. Adam restarts at x0 in every round; between rounds each image's c
    grows tenfold until an iterate is misclassified, then it is bisected. The closest misclassified
    iterate of all rounds is kept.

    Where the second term is flat its gradient needs no backward pass. Which images that concerns is
    guessed from the last two iterates: where the guess is "flat", a forward pass checks it first.
    The iterates are the same, whatever was guessed.

    Args:
        target: ``none``, or the class to drive an image to, see `Attack`.
        binary_steps: rounds, at least 1.
        steps: steps of Adam per round, at least 1.
        rate: Adam's step length in the space of w, above 0.
        initial_weight: c of the first round, above 0.
        confidence: logit margin that the loss asks for, at least 0. A smaller margin is a success,
            too.
        abort_early: an image leaves a round when a fifth of the steps hardly lowered the loss, or,
            while no iterate is misclassified, so little that the boundary is out of reach. Images
            whose grey pixels are few start slowly; turn it off where they matter.

    Example:
        >>> CarliniWagner(binary_steps=9, steps=1000).rate
        0.01
    """

    norm: ClassVar[str] = "l2"
    source: ClassVar[str] = "Carlini, Wagner 2017, arXiv:1608.04644"
    differences: ClassVar[tuple[str, ...]] = (
        "untargeted by default",
        "5 rounds of 100 steps from c = 0.01 instead of 9 rounds of 10,000 from 0.001",
        "whether a round is aborted is decided image by image",
        "an iterate below the confidence is a success if the decision is wrong",
    )

    target: str | int = "none"  # pyrefly: ignore[bad-override]
    binary_steps: int = 5
    steps: int = 100
    rate: float = 1e-2
    initial_weight: float = 1e-2
    confidence: float = 0.0
    abort_early: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_target(self.target)
        check_at_least(1, binary_steps=self.binary_steps, steps=self.steps)
        check_positive(rate=self.rate, initial_weight=self.initial_weight)
        if self.confidence < 0:
            raise bad_setting(
                "confidence",
                "a negative one accepts images that are not misclassified",
            )

    @property
    def gradient_passes(self) -> int:
        return self.binary_steps * self.steps * self.eot_samples

    def _minimal_norm(self, queries: Queries) -> Tensor:
        minimise = partial(self._round, queries)
        return with_smallest_weights(queries, self.binary_steps, self.initial_weight, minimise)

    def _round(self, queries: Queries, weight: Tensor, best: BestSoFar) -> Tensor:
        """One minimisation with weights (n,): the images with a misclassified iterate (n,)."""
        runs = _Runs(queries.images, weight)
        succeeded = torch.zeros(len(weight), dtype=torch.bool, device=weight.device)
        every = -(-self.steps // _CHECKS)
        for step in range(self.steps):
            x = torch.sigmoid(2 * runs.w)
            margins, logits, margin_gradient = self._margins(queries, x, runs)
            succeeded[runs.rows] |= best.note(x, runs.rows, logits)
            change = x - runs.origin
            shortfall = (self.confidence - margins).clamp_min(0.0)
            runs.note(change.square().flatten(1).sum(dim=1) + runs.weight * shortfall, shortfall)
            weighted = runs.weight[:, None, None, None] * margin_gradient
            gradient = (2 * change).sub_(weighted).mul_(x).mul_(2 * (1 - x))
            runs.step(gradient, margins, step + 1, self.rate)
            if self.abort_early and step and step % every == 0:
                runs.keep(runs.promising(succeeded[runs.rows], (self.steps - step) / every))
                if not len(runs.rows):
                    break
        return succeeded

    def _margins(self, queries: Queries, x: Tensor, runs: _Runs) -> tuple[Tensor, Tensor, Tensor]:
        """Margin (m,), logits (m, K) and the margin's gradient (m, C, H, W), zero where it is
        flat."""
        rows = runs.rows
        classes = (queries.labels if queries.targets is None else queries.targets)[rows]
        margin_of = margin if queries.targets is None else target_margin
        margin_gradient = torch.zeros_like(x)
        flat = runs.expected_margin() > self.confidence
        if not flat.any():
            margins, logits, margin_gradient = queries.gradient(x, rows, margin_of, labels=classes)
        else:
            margins = x.new_empty(len(x))
            seen = flat.nonzero().squeeze(1)
            seen_logits = queries.logits(x[seen], rows[seen])
            margins[seen] = margin_of(seen_logits, classes[seen])
            logits = seen_logits.new_empty(len(x), seen_logits.shape[1])
            logits[seen] = seen_logits
            flat[seen] = margins[seen] > self.confidence
            rest = (~flat).nonzero().squeeze(1)
            if len(rest):
                margins[rest], logits[rest], margin_gradient[rest] = queries.gradient(
                    x[rest], rows[rest], margin_of, labels=classes[rest]
                )
        margin_gradient[margins > self.confidence] = 0.0
        return margins, logits, margin_gradient


class _Runs:
    """The images that are still in a round, and the state of Adam for each of them.

    Attributes:
        rows: (m,) the images of `queries`.
        weight: (m,) c.
        w: (m, C, H, W) half the log odds of the iterate.
        origin: (m, C, H, W) what distances are measured from.
    """

    def __init__(self, images: Tensor, weight: Tensor):
        self.rows = torch.arange(len(images), device=images.device)
        self.weight = weight
        self.w = torch.logit(0.5 + _INSIDE * (images - 0.5)) / 2
        self.origin = torch.sigmoid(2 * self.w)
        self._mean, self._square = torch.zeros_like(images), torch.zeros_like(images)
        # Every run starts correctly classified, far from where the loss is flat.
        self._margin, self._rise = torch.full_like(weight, -torch.inf), torch.zeros_like(weight)
        # Lowest so far, and at the last check: the loss along Adam's path is not monotone.
        self._loss = self._loss_checked = torch.full_like(weight, torch.inf)
        self._shortfall = self._shortfall_checked = torch.full_like(weight, torch.inf)

    def expected_margin(self) -> Tensor:
        """(m,) the margin of the next iterate, extrapolated from the last two."""
        return self._margin + self._rise

    def note(self, loss: Tensor, shortfall: Tensor) -> None:
        """Stores an iterate's loss (m,) and how much it lacks of the margin (m,)."""
        self._loss = torch.minimum(self._loss, loss)
        self._shortfall = torch.minimum(self._shortfall, shortfall)

    def promising(self, succeeded: Tensor, checks_left: float) -> Tensor:
        """Which runs (m,) still make progress, given which are misclassified (m,)."""
        gain = self._shortfall_checked - self._shortfall
        within_reach = self._shortfall <= _PATIENCE * checks_left * gain
        going = self._loss <= (1 - _PROGRESS) * self._loss_checked
        going &= (
            succeeded | within_reach | (self._loss <= (1 - _PROGRESS_CORRECT) * self._loss_checked)
        )
        self._loss_checked, self._shortfall_checked = self._loss, self._shortfall
        return going

    def step(self, gradient: Tensor, margins: Tensor, number: int, rate: float) -> None:
        """Adam's step number 1, 2, ... from iterates with these margins (m,); overwrites
        `gradient`."""
        self._rise = torch.where(self._margin.isfinite(), margins - self._margin, 0.0)
        self._margin = margins
        self._mean.lerp_(gradient, 1 - _DECAY)
        self._square.lerp_(gradient.square_(), 1 - _SECOND_DECAY)
        scale = (self._square / (1 - _SECOND_DECAY**number)).sqrt_().add_(_FLOOR)
        self.w = self.w.addcdiv(self._mean, scale, value=-rate / (1 - _DECAY**number))

    def keep(self, chosen: Tensor) -> None:
        """Drops the runs that are not chosen (m,)."""
        if not chosen.all():
            for name, value in vars(self).items():
                setattr(self, name, value[chosen])
