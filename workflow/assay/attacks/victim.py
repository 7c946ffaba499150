"""What is attacked: a true decision, and the differentiable views an adversary may use on it.

An undefended network has one view, itself. A defence that hides its gradient ships the views that
defeat it (an expectation over its randomness, a differentiable surrogate, a frozen latent). Attacks
search on every view; only the true decision judges.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from assay.foundation.errors import AttackError

Decision = Callable[[Tensor, torch.Generator], Tensor]


@dataclass(frozen=True)
class View:
    """A differentiable way to look at a victim.

    Attributes:
        logits: ``(images (B, C, H, W) in [0, 1], generator) -> (B, K)``, differentiable in the
            images. A generative model gives log p(x, y) or log p(y | x), whose argmax decides.
        training_loss: ``(images, labels (B,), generator) -> (B,)``, the loss that the model was
            trained with, per image, or None. Only attacks that copy a publication use it.
        passes: network passes that one evaluation costs, e.g. the draws of an expectation that
            repeats the whole network. It scales the counters, nothing else.
    """

    logits: Decision
    training_loss: Callable[[Tensor, Tensor, torch.Generator], Tensor] | None = None
    passes: int = 1


class Victim:
    """A classifier under attack. It counts the image passes that are spent on it.

    Args:
        logits: the true decision, ``(images (B, C, H, W) in [0, 1], generator) -> (B, K)``;
            preprocessing happens inside.
        classes: K, at least 2.
        shape: (C, H, W) of an image.
        device: where images have to be, and generators too.
        views: what an adversary may differentiate, by name, the defence's own forward pass first.
            None: the decision itself, as the view ``model``.
        stochastic: whether two calls of `logits` on one image may differ.
        draws: ``(images, n, generator) -> (n, B, K)``, n independent decisions, for a model that
            can make them for less than n calls of `logits`.
        log_px: ``(images, generator) -> (B,)``, log p(x) in nats, for a model that has one.
        max_batch: images per pass; more rarely runs faster on a CPU (the activations leave its
            cache) and may not fit a GPU. May be lowered at any time.

    Attributes:
        forwards, backwards: image passes since the start, each view's weighted by its `passes`.

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
        draws: Callable[[Tensor, int, torch.Generator], Tensor] | None = None,
        log_px: Decision | None = None,
        max_batch: int = 128,
    ):
        if classes < 2:
            raise AttackError(
                f"a decision needs two classes, not {classes}", where="victim 'classes'"
            )
        if max_batch < 1:
            raise AttackError(f"{max_batch} is not a batch size", where="victim 'max_batch'")
        if views is not None and not views:
            raise AttackError("no view to search on", where="victim 'views'", remedy="pass None")
        self.classes, self.shape, self.device = classes, tuple(shape), torch.device(device)
        self.stochastic, self.max_batch = stochastic, max_batch
        self.views = dict(views) if views is not None else {"model": View(logits)}
        self.has_log_px = log_px is not None
        self.forwards = self.backwards = 0
        self._logits, self._draws, self._log_px = logits, draws, log_px

    @classmethod
    def from_module(
        cls,
        module: nn.Module,
        *,
        classes: int,
        shape: tuple[int, int, int],
        device: torch.device | str = "cpu",
        max_batch: int = 128,
    ) -> Victim:
        """The victim that any deterministic torch module is, with the weights it has now.

        The module itself stays untouched.

        Raises:
            AttackError: a part of the module is in training mode, where dropout and batch
                statistics make another function of it.
        """
        if any(part.training for part in module.modules()):
            raise AttackError(
                "the model is in training mode", where="module", remedy="call .eval() first"
            )
        return cls(
            logits=_frozen(module, torch.device(device)),
            classes=classes,
            shape=shape,
            device=device,
            max_batch=max_batch,
        )

    def is_decision(self, view: View) -> bool:
        """Whether a single look through `view` is the final word on an image."""
        return view.logits == self._logits and not self.stochastic

    def logits(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """The true decision on (B, C, H, W) images: (B, K) logits, without gradient."""
        return self.forward(View(self._logits), images, generator)

    def draws(self, images: Tensor, n: int, generator: torch.Generator) -> Tensor:
        """n independent decisions on (B, C, H, W) images: (n, B, K) logits, without gradient."""
        if self._draws is None:
            return torch.stack([self.logits(images, generator) for _ in range(n)])
        pieces = []
        with torch.inference_mode():
            for piece in images.split(self.max_batch):
                drawn = self._draws(piece, n, generator)
                if drawn.shape != (n, len(piece), self.classes):
                    raise _wrong_shape("draws", drawn, (n, len(piece), self.classes))
                pieces.append(drawn)
        self.forwards += n * len(images)
        return torch.cat(pieces, dim=1)

    def log_px(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """log p(x) in nats of (B, C, H, W) images: (B,), NaN if the model has none."""
        if self._log_px is None:
            return torch.full((len(images),), torch.nan, device=images.device)
        with torch.inference_mode():
            pieces = [self._log_px(piece, generator) for piece in images.split(self.max_batch)]
        self.forwards += len(images)
        return torch.cat(pieces)

    def forward(self, view: View, images: Tensor, generator: torch.Generator) -> Tensor:
        """What `view` says about (B, C, H, W) images: (B, K) logits, without gradient."""
        with torch.inference_mode():
            pieces = [
                self._checked(view.logits(piece, generator), len(piece))
                for piece in images.split(self.max_batch)
            ]
        self.forwards += view.passes * len(images)
        # Joined outside inference mode, the result is an ordinary tensor that may be written to.
        return torch.cat(pieces)

    def gradient(
        self,
        view: View,
        images: Tensor,
        labels: Tensor,
        loss: Callable[[Tensor, Tensor], Tensor] | None,
        generator: torch.Generator,
    ) -> tuple[Tensor, Tensor | None, Tensor]:
        """One pass through `view` and back to the images, and to nothing but the images.

        Args:
            view: where to differentiate.
            images: (B, C, H, W) in [0, 1].
            labels: (B,) class indices, handed to the loss.
            loss: ``(logits (B, K), labels (B,)) -> (B,)``; None: the view's own training loss.
            generator: the randomness of a noisy view.

        Returns:
            The loss (B,), the logits (B, K) of the same pass (None for the training loss, which
            does not say them) and the gradient of the loss (B, C, H, W), zero where the view has
            cut the graph. None of them is checked for finiteness.
        """
        losses, logits, gradients = [], [], []
        for piece, truth in zip(
            images.split(self.max_batch), labels.split(self.max_batch), strict=True
        ):
            with torch.enable_grad():
                leaf = piece.detach().requires_grad_()
                if loss is None:
                    value = view.training_loss(leaf, truth, generator)
                else:
                    said = self._checked(view.logits(leaf, generator), len(piece))
                    value = loss(said, truth)
                    logits.append(said.detach())
            slope = None
            if value.requires_grad:
                (slope,) = torch.autograd.grad(value.sum(), leaf, allow_unused=True)
            losses.append(value.detach())
            gradients.append(torch.zeros_like(piece) if slope is None else slope)
        self.forwards += view.passes * len(images)
        self.backwards += view.passes * len(images)
        return torch.cat(losses), torch.cat(logits) if logits else None, torch.cat(gradients)

    def _checked(self, logits: Tensor, n: int) -> Tensor:
        if logits.shape != (n, self.classes):
            raise _wrong_shape("logits", logits, (n, self.classes))
        return logits


def _frozen(module: nn.Module, device: torch.device) -> Decision:
    """`module` as a function of images alone: its parameters take part in no graph."""
    if isinstance(module, torch.jit.ScriptModule):
        return lambda images, generator: module(images)
    named = dict(module.named_parameters()) | dict(module.named_buffers())
    state = {name: tensor.detach().to(device) for name, tensor in named.items()}
    if device.type == "cpu":
        # Convolutions then keep the channels innermost: measured 1.3 to 1.6 times as fast. `to`
        # sets the strides of a grey image's filters too, where `contiguous` returns them as is.
        state = {
            name: tensor.to(memory_format=torch.channels_last) if tensor.ndim == 4 else tensor
            for name, tensor in state.items()
        }
    return lambda images, generator: torch.func.functional_call(module, state, (images,))


def _wrong_shape(what: str, found: Tensor, expected: tuple[int, ...]) -> AttackError:
    return AttackError(
        f"the model returned {what} of shape {tuple(found.shape)}, not {expected}", where="victim"
    )
