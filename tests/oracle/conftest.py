"""What the comparisons with public libraries attack: real images and three networks.

The MNIST networks have half the channels of TRADES' SmallCNN, so that the libraries, which ask them
most of the passes, fit into minutes of two cores.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import cached_property

import pytest
import torch
from torch import Tensor, nn

from assay.attacks.attack import Attack
from assay.attacks.result import Perturbed
from assay.attacks.victim import Victim
from assay.foundation.resources import ROOT

# The networks, their training and the libraries' adapters are the benchmarks' own.
sys.path.insert(0, str(ROOT / "benchmarks"))
from victims import mnist_tensors, pneumonia_tensors, trained

IMAGES = 256
WIDTH = 16


@dataclass(frozen=True)
class Subject:
    """A network and the test images, of the first 256, that it gets right.

    Attributes:
        name: ``standard``, ``robust`` or ``binary``.
        module: in evaluation mode.
        images: (N, 1, 28, 28) in [0, 1].
        labels: (N,).
    """

    name: str
    module: nn.Module
    images: Tensor
    labels: Tensor

    @classmethod
    def of(cls, name: str, module: nn.Module, images: Tensor, labels: Tensor) -> Subject:
        with torch.no_grad():
            right = module(images).argmax(dim=1) == labels
        return cls(name, module, images[right], labels[right])

    @cached_property
    def classes(self) -> int:
        return self.module[-1].out_features

    def first(self, count: int) -> Subject:
        """The same network with fewer images, where 256 would take too long."""
        return Subject(self.name, self.module, self.images[:count], self.labels[:count])

    def victim(self) -> Victim:
        return Victim.from_module(self.module, classes=self.classes, shape=(1, 28, 28))

    def attacked(self, attack: Attack, epsilon: float, seed: int = 0) -> Perturbed:
        generator = torch.Generator().manual_seed(seed)
        return attack(self.victim(), self.images, self.labels, [epsilon], generator)

    def misclassified(self, found: Tensor) -> Tensor:
        """Which images (N, 1, 28, 28), made from `images`, the network gets wrong: (N,)."""
        with torch.no_grad():
            return self.module(found).argmax(dim=1) != self.labels

    def lengths(self, found: Tensor, norm: str) -> Tensor:
        """How far images (N, 1, 28, 28) are from those they were made from: (N,)."""
        change = (found - self.images).flatten(1)
        return change.abs().amax(dim=1) if norm == "linf" else change.norm(dim=1)

    def survivors(self, found: Tensor, norm: str, epsilon: float) -> int:
        """How many images stay right; what a library puts outside the ball does not count."""
        inside = self.lengths(found, norm) <= epsilon + 1e-5
        return int((~(self.misclassified(found) & inside)).sum())


@pytest.fixture(scope="session", autouse=True)
def _fixed_threads():
    """Two threads, whatever the machine has: their number shows in sums, and so in weights."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def digits(mirror) -> dict[str, tuple[Tensor, Tensor]]:
    """12,000 training and 256 test images of MNIST."""
    parts = {"train": mnist_tensors("train", 12_000), "test": mnist_tensors("test", IMAGES)}
    if None in parts.values():
        pytest.skip(f"{mirror} has no MNIST")
    return parts


@pytest.fixture(scope="session")
def standard(digits) -> Subject:
    x, y = digits["train"]
    return Subject.of("standard", trained(x[:6000], y[:6000], 3, width=WIDTH), *digits["test"])


@pytest.fixture(scope="session")
def robust(digits) -> Subject:
    """Fast adversarial training at 0.35: about 0.8 of its images survive 40 steps of PGD at 0.3."""
    return Subject.of(
        "robust", trained(*digits["train"], 5, width=WIDTH, epsilon=0.35), *digits["test"]
    )


@pytest.fixture(scope="session")
def binary(mirror) -> Subject:
    """Two classes: pneumonia or not."""
    train, test = pneumonia_tensors("train"), pneumonia_tensors("test")
    if train is None:
        pytest.skip(f"{mirror} has no PneumoniaMNIST")
    module = trained(*train, 4, classes=2, width=8)
    return Subject.of("binary", module, test[0][:IMAGES], test[1][:IMAGES])


@pytest.fixture
def subject(request) -> Subject:
    """A network by name, for tests that are parametrised over networks."""
    return request.getfixturevalue(request.param)
