"""What is attacked: a true decision, and the differentiable views an adversary may use on it.

An undefended network has one view, itself. A defence that hides its gradient ships the views that
defeat it (an expectation over its randomness, a differentiable surrogate, a frozen latent). Attacks
search on every view; only the true decision decides success.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from assay.attacks.decision import Decision, ModuleDecision, as_decision, logits_of
from assay.foundation.errors import AttackError


@dataclass(frozen=True)
class View:
    """A differentiable way to query a victim.

    Attributes:
        logits: ``(images (B, C, H, W) in [0, 1], generator) -> (B, K)``, differentiable in the
            images; a function of images alone and a torch module become one. A generative model
            gives log p(x, y) or log p(y | x), whose argmax decides.
        training_loss: ``(images, labels (B,), generator) -> (B,)``, the loss that the model was
            trained with, per image, or None. Only attacks that copy a publication use it.
        passes: network passes that one evaluation costs, e.g. the samples of an expectation that
            repeats the whole network. It scales the counters, nothing else.
        eot_samples: independent evaluations per query. The loss and its gradient are means over
            them, the logits the log of the mean softmax (Athalye et al. 2018, arXiv:1707.07397).
        reconstructions: ``(images, generator) -> (B, K, C, H, W)`` in [0, 1], what a generative
            model makes of an image under each class; None where there is no such thing.
        deterministic: whether all evaluations of an image in one pass give the same logits, so that
            one of them is the mean over any number.
    """

    logits: Decision
    training_loss: Callable[[Tensor, Tensor, torch.Generator], Tensor] | None = None
    passes: int = 1
    eot_samples: int = 1
    reconstructions: Decision | None = None
    deterministic: bool = False

    def __post_init__(self):
        object.__setattr__(self, "logits", as_decision(self.logits, "view 'logits'"))


class Victim:
    """A classifier under attack. It counts the image passes that are spent on it.

    Args:
        logits: the true decision, ``(images (B, C, H, W) in [0, 1], generator) -> (B, K)``;
            preprocessing happens inside. A function of images alone and a torch module become one.
        classes: K, at least 2.
        shape: (C, H, W) of an image.
        device: where images have to be, and generators too.
        views: what an adversary may differentiate, by name, the defence's own forward pass first:
            a `View`, a function or a module each. None: the decision itself, as ``model``.
        stochastic: whether two calls of `logits` on one image may differ.
        repeated_logits: ``(images, n, generator) -> (n, B, K)``, n independent decisions, for a
            model that can make them for less than n calls of `logits`.
        log_px: ``(images, generator) -> (B,)``, log p(x) in nats, for a model that has one.
        max_batch: images per pass; None: what suits the device. May be lowered at any time.

    Attributes:
        forwards, backwards: image passes since the start, each view's weighted by its `passes`.
        logits_type: the type of the logits that the model returned last; all are used as float32.

    Example:
        >>> victim = Victim.from_module(
        ...     nn.Flatten().eval(), classes=4, shape=(1, 2, 2), device="cpu"
        ... )
        >>> victim.logits(torch.zeros(3, 1, 2, 2), torch.Generator()).shape, victim.forwards
        (torch.Size([3, 4]), 3)
    """

    def __init__(
        self,
        *,
        logits: Decision,
        classes: int,
        shape: tuple[int, int, int],
        device: torch.device | str,
        views: Mapping[str, View] | None = None,
        stochastic: bool = False,
        repeated_logits: Callable[[Tensor, int, torch.Generator], Tensor] | None = None,
        log_px: Decision | None = None,
        max_batch: int | None = None,
    ):
        if classes < 2:
            raise AttackError(
                f"a decision needs two classes, not {classes}", where="victim 'classes'"
            )
        if max_batch is not None and max_batch < 1:
            raise AttackError(f"{max_batch} is not a batch size", where="victim 'max_batch'")
        if views is not None and not views:
            raise AttackError("no view to search on", where="victim 'views'", remedy="pass None")
        self.classes, self.shape, self.device = classes, tuple(shape), torch.device(device)
        self.stochastic = stochastic
        self._logits = as_decision(logits, "victim 'logits'", self.device)
        self._repeated_logits, self._log_px = repeated_logits, log_px
        self.max_batch = max_batch or suitable_batch(self.device)
        self.views = {name: as_view(view) for name, view in (views or {}).items()}
        if views is None:
            self.views = {"model": self.decision}
        self.has_log_px = log_px is not None
        self.logits_type = torch.float32
        self.forwards = self.backwards = 0

    @classmethod
    def from_module(
        cls,
        module: nn.Module,
        *,
        classes: int,
        shape: tuple[int, int, int],
        device: torch.device | str = "cpu",
        max_batch: int | None = None,
    ) -> Victim:
        """The victim that any deterministic torch module is, with the weights it has now.

        The module itself is not modified.

        Raises:
            AttackError: a part of the module is in training mode, where dropout and batch
                statistics make another function of it.
        """
        return cls(
            logits=ModuleDecision(module, torch.device(device)),
            classes=classes,
            shape=shape,
            device=device,
            max_batch=max_batch,
        )

    def through(self, view: str) -> Victim:
        """This victim with one of its views alone, and with counters that start at zero.

        Any other name leaves the views as they are: some attacks query the decision alone.
        """
        one = copy.copy(self)
        one.views = {view: self.views[view]} if view in self.views else self.views
        one.forwards = one.backwards = 0
        return one

    @property
    def decision(self) -> View:
        """The true decision as a view, for attacks that query nothing else."""
        return View(self._logits, deterministic=not self.stochastic)

    def passes_of_decision(self, repeats: int) -> int:
        """Forward passes per image of a decision: repeated if stochastic, and log p(x)."""
        return (repeats if self.stochastic else 1) + self.has_log_px

    def is_decision(self, view: View) -> bool:
        """Whether one query of `view` equals the true decision on an image."""
        return view.logits == self._logits and not self.stochastic and view.eot_samples == 1

    def logits(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """The true decision on (B, C, H, W) images: (B, K) logits, without gradient."""
        return self.forward(self.decision, images, generator)

    def repeated_logits(self, images: Tensor, n: int, generator: torch.Generator) -> Tensor:
        """n independent decisions on (B, C, H, W) images: (n, B, K) logits, without gradient."""
        if not len(images):
            return images.new_zeros((n, 0, self.classes))  # not every network takes an empty batch
        if self._repeated_logits is None:
            return torch.stack([self.logits(images, generator) for _ in range(n)])
        pieces = []
        with torch.no_grad():
            for piece in images.split(self.max_batch):
                repeated = self._repeated_logits(piece.clone(), n, generator).float()
                if repeated.shape != (n, len(piece), self.classes):
                    raise _wrong_shape("repeated_logits", repeated, (n, len(piece), self.classes))
                pieces.append(repeated)
        self.forwards += n * len(images)
        return torch.cat(pieces, dim=1)

    def log_px(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """log p(x) in nats of (B, C, H, W) images: (B,), NaN if the model has none."""
        if self._log_px is None or not len(images):
            return torch.full((len(images),), torch.nan, device=images.device)
        with torch.no_grad():
            pieces = [self._log_px(p.clone(), generator) for p in images.split(self.max_batch)]
        self.forwards += len(images)
        return torch.cat(pieces)

    def forward(self, view: View, images: Tensor, generator: torch.Generator) -> Tensor:
        """The output of `view` for (B, C, H, W) images: (B, K) logits, without gradient."""
        if not len(images):
            return images.new_zeros((0, self.classes))
        with torch.no_grad():  # inference mode would forbid a search at test time its own gradients
            pieces = [
                _mean_over_samples(self._evaluate(view, piece, generator), view.eot_samples)
                for piece in images.split(self._piece(view, len(images)))
            ]
        self.forwards += view.passes * len(images)
        return torch.cat(pieces)

    def gradient(
        self,
        view: View,
        images: Tensor,
        labels: Tensor,
        loss: Callable[..., Tensor] | None,
        generator: torch.Generator,
        targets: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None, Tensor]:
        """One pass through `view` and back to the images, and to nothing but the images.

        Args:
            view: where to differentiate.
            images: (B, C, H, W) in [0, 1].
            labels: (B,) class indices, handed to the loss.
            loss: ``(logits (B, K), labels (B,)) -> (B,)``; None: the view's own training loss.
            generator: the randomness of a noisy view.
            targets: (B,) class indices, handed to the loss as its third argument; None: no third.

        Returns:
            The loss (B,), the logits (B, K) of the same pass (None for the training loss, which
            does not return them) and the gradient of the loss (B, C, H, W), zero where the view has
            cut the graph. None of them is checked for finiteness.
        """
        losses, logits, gradients = [], [], []
        classes = (labels,) if targets is None else (labels, targets)
        size = self._piece(view, len(images))
        for piece, *truth in zip(
            images.split(size), *(part.split(size) for part in classes), strict=True
        ):
            with torch.enable_grad():
                leaf = piece.detach().requires_grad_()
                if loss is None:
                    assert view.training_loss is not None
                    value = view.training_loss(leaf.clone(), truth[0], generator).float()
                else:
                    sampled = self._evaluate(view, leaf, generator)
                    value = loss(sampled, *(part.repeat(view.eot_samples) for part in truth))
                    if view.eot_samples > 1:
                        value = value.unflatten(0, (view.eot_samples, -1)).mean(dim=0)
                    logits.append(_mean_over_samples(sampled.detach(), view.eot_samples))
            gradient = None
            if value.requires_grad:
                (gradient,) = torch.autograd.grad(value.sum(), leaf, allow_unused=True)
            losses.append(value.detach())
            gradients.append(torch.zeros_like(piece) if gradient is None else gradient)
        self.forwards += view.passes * len(images)
        self.backwards += view.passes * len(images)
        return torch.cat(losses), torch.cat(logits) if logits else None, torch.cat(gradients)

    def jacobian(
        self,
        view: View,
        images: Tensor,
        labels: Tensor,
        classes: Tensor,
        generator: torch.Generator,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """One pass through `view` and, for each of m classes k, one back from z_k - z_y.

        The graph is kept between the backward passes: measured 1.6 times as fast for nine classes
        as images that are repeated for each class, which need a forward pass for each.

        Args:
            view: where to differentiate.
            images: (B, C, H, W) in [0, 1].
            labels: (B,) class indices y.
            classes: (B, m) class indices k, m at least 1.
            generator: the randomness of a noisy view; all classes share the same sample.

        Returns:
            The gaps z_k - z_y (B, m), the logits (B, K) and the gaps' gradients (B, m, C, H, W),
            zero where the view has cut the graph. None of them is checked for finiteness.
        """
        gaps, logits, gradients = [], [], []
        size = self._piece(view, len(images))
        for piece, truth, others in zip(
            images.split(size), labels.split(size), classes.split(size), strict=True
        ):
            with torch.enable_grad():
                leaf = piece.detach().requires_grad_()
                sampled = self._evaluate(view, leaf, generator)
                own = sampled.gather(1, truth.repeat(view.eot_samples)[:, None])
                value = sampled.gather(1, others.repeat(view.eot_samples, 1)) - own
                value = value.unflatten(0, (view.eot_samples, -1)).mean(dim=0)
                sums = value.sum(dim=0)
            gap_gradients = piece.new_zeros(*others.shape, *piece.shape[1:])
            for k in range(len(sums) if value.requires_grad else 0):
                (gradient,) = torch.autograd.grad(
                    sums[k], leaf, retain_graph=k + 1 < len(sums), allow_unused=True
                )
                if gradient is not None:
                    gap_gradients[:, k] = gradient
            gaps.append(value.detach())
            logits.append(_mean_over_samples(sampled.detach(), view.eot_samples))
            gradients.append(gap_gradients)
        self.forwards += view.passes * len(images)
        self.backwards += view.passes * classes.numel()
        return torch.cat(gaps), torch.cat(logits), torch.cat(gradients)

    def reconstruct(self, view: View, images: Tensor, generator: torch.Generator) -> Tensor:
        """Reconstructions of (B, C, H, W) images by `view`, one per class: (B, K, C, H, W) in [0,
        1].

        Raises:
            AttackError: the view has no reconstructions.
        """
        if view.reconstructions is None:
            raise AttackError(
                "the view has no class-wise reconstructions",
                where="victim",
                remedy="use this attack on generative models with one reconstruction per class",
            )
        with torch.no_grad():
            size = self._piece(view, len(images))
            pieces = [view.reconstructions(p.clone(), generator) for p in images.split(size)]
        self.forwards += view.passes * len(images)
        return torch.cat(pieces).clamp(0.0, 1.0)

    def _piece(self, view: View, n: int) -> int:
        """Images per pass of n: all EOT samples fit the batch, and no small rest remains."""
        most = max(1, self.max_batch // view.eot_samples)
        return max(1, math.ceil(n / math.ceil(n / most))) if n else 1

    def _evaluate(self, view: View, images: Tensor, generator: torch.Generator) -> Tensor:
        """(samples * B, K) float32 logits, sample by sample; the model may write to its input."""
        images = (
            images.clone() if view.eot_samples == 1 else images.repeat(view.eot_samples, 1, 1, 1)
        )
        logits = logits_of(view.logits(images, generator))
        if logits.shape != (len(images), self.classes):
            raise _wrong_shape("logits", logits, (len(images), self.classes))
        self.logits_type = logits.dtype
        return logits.to(self.device, torch.float32)


def as_view(given: View | nn.Module | Callable) -> View:
    """`given` as a view: itself, or the view through a module or a function of images."""
    return given if isinstance(given, View) else View(given)


def suitable_batch(device: torch.device) -> int:
    """Images per pass that run fast on a device and fit its memory.

    On a CPU the activations of more leave the cache, and their memory is mapped again for each
    pass: measured 1.1 to 1.3 times the time per image at 128.
    """
    return 64 if device.type == "cpu" else 128


def _mean_over_samples(logits: Tensor, eot_samples: int) -> Tensor:
    """(samples * B, K) logits to the log of their mean softmax, (B, K)."""
    if eot_samples == 1:
        return logits
    log_scores = logits.log_softmax(dim=1).unflatten(0, (eot_samples, -1))
    return log_scores.logsumexp(dim=0) - math.log(eot_samples)


def _wrong_shape(what: str, found: Tensor, expected: tuple[int, ...]) -> AttackError:
    return AttackError(
        f"the model returned {what} of shape {tuple(found.shape)}, not {expected}", where="victim"
    )
