"""The L2 attack of Carlini and Wagner: Adam in the space of arctanh, a bisected weight."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from assay.attacks.base import Probe, bad_setting, check_target
from assay.attacks.losses import margin
from assay.attacks.minimal import MinimalNorm
from assay.attacks.nearest import Bisection, Nearest

# Images are scaled towards grey by this factor, so that black and white have a finite arctanh.
_INSIDE = 0.999999
# A round checks this often which images still make progress.
_CHECKS = 5
# The share by which the loss has to fall between checks: of a misclassified image, of another.
_PROGRESS, _PROGRESS_UNBROKEN = 1e-4, 1e-2
# How many times as fast as hitherto an unbroken image may still approach the boundary.
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

    target: str = "none"
    binary_steps: int = 5
    steps: int = 100
    rate: float = 1e-2
    initial_weight: float = 1e-2
    confidence: float = 0.0
    abort_early: bool = True

    def __post_init__(self) -> None:
        check_target(self.target)
        for name in ("binary_steps", "steps"):
            if getattr(self, name) < 1:
                raise bad_setting(name, f"{getattr(self, name)} is too few", "use at least 1")
        for name in ("rate", "initial_weight"):
            if getattr(self, name) <= 0:
                raise bad_setting(name, f"{getattr(self, name)} is not positive")
        if self.confidence < 0:
            raise bad_setting(
                "confidence",
                "a negative one accepts images that are not misclassified",
            )

    @property
    def gradient_passes(self) -> int:
        return self.binary_steps * self.steps * self.draws

    def _closest(self, probe: Probe) -> Tensor:
        nearest = Nearest(probe)
        weights = Bisection(len(probe.images), self.initial_weight, probe.images.device)
        for _ in range(self.binary_steps):
            weights.note(self._round(probe, weights.weight, nearest))
        return nearest.images

    def _round(self, probe: Probe, weight: Tensor, nearest: Nearest) -> Tensor:
        """One minimisation with weights (n,): the images with a misclassified iterate (n,)."""
        runs = _Runs(probe.images, weight)
        broke = torch.zeros(len(weight), dtype=torch.bool, device=weight.device)
        every = -(-self.steps // _CHECKS)
        for step in range(self.steps):
            x = torch.sigmoid(2 * runs.w)
            lead, logits, slope = self._look(probe, x, runs)
            broke[runs.rows] |= nearest.note(x, runs.rows, logits)
            change = x - runs.origin
            shortfall = (self.confidence - lead).clamp_min(0.0)
            runs.note(change.square().flatten(1).sum(dim=1) + runs.weight * shortfall, shortfall)
            weighted = runs.weight[:, None, None, None] * slope
            gradient = (2 * change).sub_(weighted).mul_(x).mul_(2 * (1 - x))
            runs.step(gradient, lead, step + 1, self.rate)
            if self.abort_early and step and step % every == 0:
                runs.keep(runs.promising(broke[runs.rows], (self.steps - step) / every))
                if not len(runs.rows):
                    break
        return broke

    def _look(self, probe: Probe, x: Tensor, runs: _Runs) -> tuple[Tensor, Tensor, Tensor]:
        """Margin (m,), logits (m, K) and the margin's gradient (m, C, H, W), zero where it is
        flat."""
        rows = runs.rows
        classes = (probe.labels if probe.targets is None else probe.targets)[rows]
        leads = _lead_over if probe.targets is None else _lead_of
        slope = torch.zeros_like(x)
        flat = runs.expected_lead() > self.confidence
        if not flat.any():
            lead, logits, slope = probe.gradient(x, rows, leads, labels=classes)
        else:
            lead = x.new_empty(len(x))
            seen = flat.nonzero().squeeze(1)
            said = probe.logits(x[seen], rows[seen])
            lead[seen] = leads(said, classes[seen])
            logits = said.new_empty(len(x), said.shape[1])
            logits[seen] = said
            flat[seen] = lead[seen] > self.confidence
            rest = (~flat).nonzero().squeeze(1)
            if len(rest):
                lead[rest], logits[rest], slope[rest] = probe.gradient(
                    x[rest], rows[rest], leads, labels=classes[rest]
                )
        slope[lead > self.confidence] = 0.0
        return lead, logits, slope


class _Runs:
    """The images that are still in a round, and the state of Adam for each of them.

    Attributes:
        rows: (m,) the images of the probe.
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
        self._lead, self._rise = torch.full_like(weight, -torch.inf), torch.zeros_like(weight)
        # Lowest so far, and at the last check: the loss along Adam's path is not monotone.
        self._loss = self._loss_checked = torch.full_like(weight, torch.inf)
        self._shortfall = self._shortfall_checked = torch.full_like(weight, torch.inf)

    def expected_lead(self) -> Tensor:
        """(m,) the margin of the next iterate, extrapolated from the last two."""
        return self._lead + self._rise

    def note(self, loss: Tensor, shortfall: Tensor) -> None:
        """Stores an iterate's loss (m,) and how much it lacks of the margin (m,)."""
        self._loss = torch.minimum(self._loss, loss)
        self._shortfall = torch.minimum(self._shortfall, shortfall)

    def promising(self, broke: Tensor, checks_left: float) -> Tensor:
        """Which runs (m,) still make progress, given which are misclassified (m,)."""
        gain = self._shortfall_checked - self._shortfall
        within_reach = self._shortfall <= _PATIENCE * checks_left * gain
        going = self._loss <= (1 - _PROGRESS) * self._loss_checked
        going &= (
            broke | within_reach | (self._loss <= (1 - _PROGRESS_UNBROKEN) * self._loss_checked)
        )
        self._loss_checked, self._shortfall_checked = self._loss, self._shortfall
        return going

    def step(self, gradient: Tensor, lead: Tensor, number: int, rate: float) -> None:
        """Adam's step number 1, 2, ... from iterates with these margins (m,); overwrites
        `gradient`."""
        self._rise = torch.where(self._lead.isfinite(), lead - self._lead, 0.0)
        self._lead = lead
        self._mean.lerp_(gradient, 1 - _DECAY)
        self._square.lerp_(gradient.square_(), 1 - _SECOND_DECAY)
        scale = (self._square / (1 - _SECOND_DECAY**number)).sqrt_().add_(_FLOOR)
        self.w = self.w.addcdiv(self._mean, scale, value=-rate / (1 - _DECAY**number))

    def keep(self, chosen: Tensor) -> None:
        """Drops the runs that are not chosen (m,)."""
        if not chosen.all():
            for name, value in vars(self).items():
                setattr(self, name, value[chosen])


def _lead_over(logits: Tensor, labels: Tensor) -> Tensor:
    """How far the best other class is ahead of the true one."""
    return margin(logits, labels)


def _lead_of(logits: Tensor, targets: Tensor) -> Tensor:
    """How far the target is ahead of the best other class."""
    return -margin(logits, targets)
