"""How each public attack library is called, and what that call computes.

A `Baseline` is a call ``(images, labels) -> images`` with a description of what it computes. Every
call starts from the same seed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version

import foolbox
import numpy as np
import torch
from art.estimators.classification import PyTorchClassifier
from secmlt.models.pytorch.base_pytorch_nn import BasePyTorchClassifier
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

Run = Callable[[Tensor, Tensor], Tensor]

SEED = 0
BATCH = 128
NAMES = {
    "foolbox": "foolbox",
    "torchattacks": "torchattacks",
    "ART": "adversarial-robustness-toolbox",
    "pyautoattack": "pyautoattack",
    "adv-lib": "adv-lib",
    "secml-torch": "secml-torch",
}


@dataclass(frozen=True)
class Baseline:
    """A library's attack as its users call it.

    Attributes:
        run: ``(images, labels) -> images``, each (N, C, H, W) in [0, 1].
        computes: what the call computes. Readers see from it what was timed.
        tells: whether the call itself computes which images are misclassified. If so, no further
            pass is needed.
    """

    run: Run
    computes: str
    tells: bool = False

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        return self.run(x, y)


def versions() -> str:
    """The libraries with their versions, as a part of a sentence."""
    return ", ".join(f"{name} {version(package)}" for name, package in NAMES.items())


def seeded(run: Run) -> Run:
    def from_seed(x: Tensor, y: Tensor) -> Tensor:
        torch.manual_seed(SEED)
        np.random.seed(SEED)  # noqa: NPY002 - libraries draw from the global state
        return run(x, y).detach()

    return from_seed


def by_torchattacks(attack: Run) -> Baseline:
    return Baseline(
        seeded(attack),
        "the whole batch at once; returns the images of its search, without predictions",
    )


def by_autoattack_code(run: Run) -> Baseline:
    """The single attacks of pyautoattack, and the copies of them in torchattacks."""
    return Baseline(
        seeded(run),
        "predicts the clean images in a separate pass and attacks the correctly classified ones at "
        "once; returns images, without predictions",
    )


def by_foolbox(model: nn.Module, attack: foolbox.Attack, epsilon: float | None) -> Baseline:
    """`epsilon` None: the closest misclassified image."""
    wrapped = foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu")
    logging.getLogger("root").setLevel(logging.ERROR)

    def run(x: Tensor, y: Tensor) -> Tensor:
        _, images, success = attack(wrapped, x, y, epsilons=epsilon)
        # Where its C&W finds nothing it returns black images, which a network may call wrong.
        return images if epsilon else torch.where(success[:, None, None, None], images, x)

    return Baseline(
        seeded(run),
        "the whole batch at once, through EagerPy; ends with a pass over its result and returns "
        "which images are misclassified",
        tells=True,
    )


def by_art(model: nn.Module, build: Callable[[PyTorchClassifier], object]) -> Baseline:
    """`build` makes the attack from ART's classifier."""
    classes = next(p for name, p in reversed(list(model.named_parameters()))).shape[0]
    attack = build(
        PyTorchClassifier(
            model,
            loss=nn.CrossEntropyLoss(),
            input_shape=(1, 28, 28),
            nb_classes=classes,
            clip_values=(0.0, 1.0),
            device_type="cpu",
        )
    )

    def run(x: Tensor, y: Tensor) -> Tensor:
        return torch.from_numpy(attack.generate(x.numpy(), y.numpy())).float()

    return Baseline(
        seeded(run),
        f"NumPy arrays in and out, {BATCH} images at a time where the attack has batches; returns "
        "images, without predictions",
    )


def by_adv_lib(run: Run) -> Baseline:
    """`run` is one of adv-lib's functions with its budget."""
    return Baseline(
        seeded(run),
        "the whole batch at once; evaluates each iterate in the pass that also gives its gradient "
        "(never the result of the last step of PGD and DDN) and returns a misclassified iterate, "
        "or the clean image if there is none",
        tells=True,
    )


def by_secml(model: nn.Module, build: Callable[[], Callable]) -> Baseline:
    """`build` makes a native attack of secml-torch.

    Each run builds the attack again, because the constraint of DDN keeps its last batch.
    """
    wrapped = BasePyTorchClassifier(model)

    def run(x: Tensor, y: Tensor) -> Tensor:
        batches = DataLoader(TensorDataset(x, y), batch_size=len(x))
        found = [images for images, _ in build()(wrapped, batches)]
        return torch.cat(found)

    return Baseline(
        seeded(run),
        "secml-torch's own (native) search on the whole batch, from a DataLoader to a DataLoader; "
        "returns the images with the highest loss (PGD, never the result of the last step) or the "
        "closest misclassified ones (DDN), without predictions",
    )
