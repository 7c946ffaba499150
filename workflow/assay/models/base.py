"""What every model of the catalogue offers, and how one is built, saved and loaded."""

from __future__ import annotations

import copy
import dataclasses
import inspect
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from assay.attacks.victim import Victim, View, suitable_batch
from assay.foundation.errors import ModelError
from assay.foundation.files import atomic_path
from assay.foundation.registry import load


class Classifier(nn.Module, ABC):
    """An image classifier: a true decision, its training loss, and views for adversaries.

    Images are always float, shape (B, C, H, W), range [0, 1]; resizing and normalisation happen
    inside the model. Randomness comes from the generator that is passed in (on the images'
    device), never from torch's global state; dropout is the only exception.

    Args:
        classes: number of classes K.
        shape: (C, H, W) of the images.

    Attributes:
        stochastic: whether two calls of :meth:`logits` on one image may differ.
        max_batch: how many images fit comfortably into one forward and backward pass.
        pretrained: which published weights training starts from, or ``None``: random ones.
        awaits: which weights have to be loaded before the model is of any use, or ``None``.
        log_px: ``(images, generator) -> (B,)`` log density of the images in nats, or ``None``
            where the model has none.
        needs_every_class: whether a class without a training image leaves a part untrained.
        remembers: how many training images of each class :meth:`remember` takes, as a rule none.
        depth: weighted layers between image and logits, of a plain network; else ``None``.
        channels_last: whether a CPU is faster with the channels of its filters innermost.
    """

    stochastic: bool = False
    max_batch: int = 128
    pretrained: str | None = None
    awaits: str | None = None
    log_px: Any = None
    needs_every_class: bool = False
    remembers: int = 0
    depth: int | None = None
    channels_last: bool = True

    def __init__(self, *, classes: int, shape: tuple[int, int, int]):
        super().__init__()
        channels, height, width = map(int, shape)
        self.classes, self.shape = int(classes), (channels, height, width)

    @abstractmethod
    def logits(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """The true decision, (B, K): its argmax is the prediction, its softmax the confidence."""

    @abstractmethod
    def features(self, images: Tensor) -> Tensor:
        """The deterministic representation before the last decision, (B, F)."""

    def repeated_logits(
        self, images: Tensor, n: int, generator: torch.Generator | None = None
    ) -> Tensor:
        """`n` independent evaluations of :meth:`logits`, (n, B, K), at the lowest cost."""
        if not self.stochastic:
            return self.logits(images, generator).expand(n, -1, -1)
        return torch.stack([self.logits(images, generator) for _ in range(n)])

    def views(self) -> dict[str, View]:
        """The differentiable functions that attacks search on, by name.

        Those of a model that is not `stochastic` count as deterministic.
        """
        return {"model": View(self.logits)}

    def training_loss(
        self, images: Tensor, labels: Tensor, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """What training minimises.

        Returns:
            Parts by name, each (B,), one value per image: ``total`` (what is minimised),
            ``accuracy`` (1 where the prediction is right; absent where training predicts
            nothing), and whatever else is worth a curve.
        """
        return self.loss_of(self.logits(images, generator), labels)

    def loss_of(self, logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Cross-entropy of logits (B, K) and what :meth:`penalty` adds; parts (B,) as of
        :meth:`training_loss`.
        """
        loss = functional.cross_entropy(logits, labels, reduction="none")
        penalty = self.penalty()
        total = loss if penalty is None else loss + penalty
        return {"total": total, "accuracy": correct(logits, labels)}

    def penalty(self) -> Tensor | None:
        """What the weights alone add to the loss of each image, a scalar; None: nothing."""
        return None

    def validation_loss(
        self, images: Tensor, labels: Tensor, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """As :meth:`training_loss`, but ``accuracy`` is that of the true decision."""
        return self.training_loss(images, labels, generator)

    def explain(
        self, images: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Why the decision falls: what each class makes of images (B, C, H, W).

        Returns:
            The classes' reconstructions (B, K, C, H, W) and their log-likelihoods (B, K), up to a
            constant of the image.

        Raises:
            ModelError: the model has no reconstruction per class.
        """
        raise ModelError("the model has no reconstruction per class", where=type(self).__name__)

    def certified_radius(
        self, images: Tensor, labels: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """How far (L2) each image may be moved without another decision, (B,); 0 if it is wrong.

        Raises:
            ModelError: the model has no certificate.
        """
        raise ModelError("the model has no certificate", where=type(self).__name__)

    def remember(self, images: Tensor, labels: Tensor) -> None:
        """Keeps training images for decisions, in buffers: they are saved with the weights.

        The job that trains a model calls it before anything else, also where there is nothing to
        train. So the images are of the training subset of the split at hand.

        Args:
            images: (N, C, H, W) uint8, at most `remembers` of each class.
            labels: (N,) their classes.

        Raises:
            ModelError: a class has no image.
        """

    def diverges(self, means: Mapping[str, float]) -> str | None:
        """What is wrong with a training whose epoch ended at these mean parts of the loss.

        Returns:
            A clause such as "the discriminator has won", or None where training may go on.
        """
        return None

    def victim(self, device: torch.device | str = "cpu") -> Victim:
        """A frozen copy of this model in evaluation mode, ready to be attacked.

        It is a copy, so neither the attacks nor the move to `device` touch this model.

        Raises:
            ModelError: the model still awaits its weights.
        """
        self.require_weights()
        device = torch.device(device)
        model = placed(copy.deepcopy(self), device).eval().requires_grad_(False)
        return Victim(
            logits=model.logits,
            classes=self.classes,
            shape=self.shape,
            device=device,
            views={
                name: dataclasses.replace(
                    view, deterministic=view.deterministic or not self.stochastic
                )
                for name, view in model.views().items()
            },
            stochastic=self.stochastic,
            repeated_logits=model.repeated_logits,
            log_px=model.log_px,
            max_batch=min(self.max_batch, suitable_batch(device)),
        )

    @property
    def weights_module(self) -> nn.Module:
        """The module whose parts a file of weights from outside names."""
        return self

    def require_weights(self) -> None:
        """Raises an error instead of using random weights where published ones are required.

        Raises:
            ModelError: the model still awaits its weights.
        """
        if self.awaits:
            raise ModelError(
                f"the model was built without its weights ({self.awaits})",
                where=type(self).__name__,
                remedy="pass pretrained_weights, or load_weights first",
            )

    def facts(self) -> dict[str, Any]:
        """Facts about the network itself for ``model.json``."""
        sizes = [(item.numel(), item.requires_grad) for item in self.parameters()]
        plain = {} if self.depth is None else {"depth": self.depth, "flops": self._flops()}
        return {
            **plain,
            "parameters": sum(size for size, _ in sizes),
            "trainable_parameters": sum(size for size, trained in sizes if trained),
            "stochastic": self.stochastic,
            "pretrained": self.pretrained is not None,
            "pretrained_reason": self.pretrained or "every weight starts at random",
        }

    def _flops(self) -> int:
        """Multiplications and additions of convolutions and linear layers for one image."""
        image = next(self.parameters()).new_zeros(1, *self.shape)
        training = self.training
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            self.eval().logits(image)
        self.train(training)
        return counter.get_total_flops()


def placed(model: Classifier, device: torch.device) -> Classifier:
    """`model`, moved to `device`, its filters laid out as it computes fastest there.

    With the channels innermost a CPU trains the networks here 1.1 to 1.3 times as fast, and attacks
    take 0.77 to 1.0 of the time; the very wide filters of CBR-LargeT are the exception.
    """
    if device.type == "cpu" and model.channels_last:
        # torch takes both together, of which its types know nothing.
        moved: Any = model
        return moved.to(device, memory_format=torch.channels_last)
    return model.to(device)


def correct(logits: Tensor, labels: Tensor) -> Tensor:
    """1.0 where the argmax of `logits` (B, K) is the label (B,), else 0.0; shape (B,)."""
    return (logits.detach().argmax(dim=-1) == labels).float()


def resized(images: Tensor, size: tuple[int, int]) -> Tensor:
    """`images` (B, C, H, W) at `size` (H, W), bilinear; unchanged where they have that size."""
    if tuple(images.shape[-2:]) == tuple(size):
        return images
    return functional.interpolate(images, size=size, mode="bilinear", align_corners=False)


def build(
    name: str,
    entry: Mapping[str, Any],
    *,
    classes: int,
    shape: tuple[int, int, int],
    pretrained_weights: Path | None = None,
    seed: int = 0,
    needs: Mapping[str, Classifier] | None = None,
) -> Classifier:
    """The model that a catalogue entry describes.

    Args:
        name: the entry's id, for messages.
        entry: ``implementation`` (``module:Class``), ``settings`` (the class's keywords) and
            ``needs`` (by role, the entry of each model that the class takes, with its ``name``).
        classes: number of classes.
        shape: (C, H, W) of the images.
        pretrained_weights: file with published weights for entries with ``pretrained: true`` (see
            :mod:`assay.models.pretrained`); ``None`` if own weights will be loaded.
        seed: decides the random initial weights; torch's global state is left as it was.
        needs: trained models by role; None: they are built without weights, which are then loaded
            with those of the model. Roles that the class has no argument for are left; a function
            with an argument ``needs`` gets all of them.

    Raises:
        ModelError: a setting is unknown or impossible, or published weights cannot be read.
    """
    place = f"model '{name}'"
    implementation = load(entry["implementation"])
    settings = dict(entry.get("settings") or {})
    given = {"self", "classes", "shape", "pretrained_weights", "needs"}
    arguments = inspect.signature(implementation).parameters
    known = [key for key in arguments if key not in given]
    for key in settings:
        if key not in known:
            raise ModelError(
                f"unknown key '{key}'",
                where=f"{place}: settings",
                remedy=f"known keys are {', '.join(known) or 'none'}",
            )
    if settings.get("pretrained"):
        settings["pretrained_weights"] = pretrained_weights
    takes_all = "needs" in arguments
    roles = [role for role in entry.get("needs") or {} if takes_all or role in known]
    if needs is None:
        needs = {
            role: build(item["name"], item, classes=classes, shape=shape)
            for role in roles
            for item in (entry["needs"][role],)
        }
    models = {role: needs[role] for role in roles}
    settings |= {"needs": models} if takes_all else models
    if "base" in known and "base" not in settings:
        raise ModelError(
            "the model needs another one", where=place, remedy="write needs: {base: ...}"
        )
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return implementation(classes=classes, shape=shape, **settings)
    except ModelError as error:
        where = f"{place}: {error.where}" if error.where else place
        raise ModelError(error.what, where=where, remedy=error.remedy) from error


def build_needs(
    entry: Mapping[str, Any],
    files: Iterable[Path | str],
    *,
    classes: int,
    shape: tuple[int, int, int],
) -> dict[str, Classifier]:
    """The models that an entry needs, by role, with their weights.

    Args:
        entry: as :func:`build` takes it.
        files: the weights of each, in the order of the roles.
        classes: number of classes.
        shape: (C, H, W) of the images.

    Raises:
        ModelError: weights cannot be read.
    """
    found = {}
    for (role, item), file in zip(entry["needs"].items(), files, strict=True):
        found[role] = build(item["name"], item, classes=classes, shape=shape)
        load_weights(found[role], file)
    return found


def choice(key: str, value: str, options: tuple[str, ...]) -> str:
    """`value`, checked to be one of `options`.

    Raises:
        ModelError: it is not; the message names the key and the options.
    """
    if value not in options:
        raise ModelError(
            f"'{value}' is not allowed",
            where=f"settings.{key}",
            remedy=f"use one of {', '.join(options)}",
        )
    return value


def save_weights(weights: nn.Module | Mapping[str, Tensor], path: Path | str) -> None:
    """Writes a model's weights, or a state dict, to `path` as safetensors, atomically."""
    state = weights.state_dict() if isinstance(weights, nn.Module) else weights
    with atomic_path(path) as temporary:
        save_file(
            {key: value.detach().cpu().contiguous() for key, value in state.items()}, temporary
        )


def load_weights(model: Classifier, path: Path | str) -> None:
    """Reads weights written by :func:`save_weights` into `model`.

    Raises:
        ModelError: the file is missing, damaged, or of another architecture.
    """
    try:
        state = load_file(path)
    except (OSError, safetensors.SafetensorError) as error:
        raise ModelError(
            f"the weights cannot be read ({error})",
            where=path,
            remedy="delete the file; the next run trains the model again",
        ) from error
    own = model.state_dict()
    wrong = sorted(own.keys() ^ state.keys()) or [
        f"{key} {tuple(state[key].shape)} instead of {tuple(own[key].shape)}"
        for key in own
        if state[key].shape != own[key].shape
    ]
    if wrong:
        shown = ", ".join(wrong[:3]) + (f" and {len(wrong) - 3} more" if len(wrong) > 3 else "")
        raise ModelError(
            f"the weights are of another architecture (differing: {shown})",
            where=path,
            remedy="delete the file; the next run trains the model again",
        )
    model.load_state_dict(state)
    model.awaits = None
