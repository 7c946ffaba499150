"""Real images, and networks trained on them, for the benchmarks and for tests/oracle."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch
from common import mnist
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional

BATCH = 128
RATE = 5e-3


class SmallCNN(nn.Sequential):
    """The MNIST network of TRADES (Zhang et al. 2019): four convolutions, three dense layers.

    Args:
        classes: K.
        width: channels of the first convolution. All layers scale with it. TRADES has 32.
    """

    def __init__(self, classes: int = 10, width: int = 32):
        hidden = 25 * width // 4
        super().__init__(
            nn.Conv2d(1, width, 3),
            nn.ReLU(),
            nn.Conv2d(width, width, 3),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(width, 2 * width, 3),
            nn.ReLU(),
            nn.Conv2d(2 * width, 2 * width, 3),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(32 * width, hidden),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, classes),
        )


def mnist_tensors(part: str, count: int | None = None) -> tuple[Tensor, Tensor] | None:
    """The first MNIST images (N, 1, 28, 28) in [0, 1] and labels. None without a mirror."""
    found = mnist(part)
    if found is None:
        return None
    images, labels = (torch.from_numpy(np.array(values[:count])) for values in found)
    return images.float() / 255, labels


def images_and_labels() -> tuple[Tensor, Tensor, Tensor, Tensor, str]:
    """Training and test images (N, 1, 28, 28) in [0, 1], labels, and a name for them."""
    train, test = mnist_tensors("train", 12_000), mnist_tensors("test", 2000)
    if train is not None and test is not None:
        return *train, *test, "MNIST"
    digits = load_digits()
    x = torch.from_numpy(digits.images[:, None] / 16).float()
    x, y = functional.interpolate(x, size=(28, 28)), torch.from_numpy(digits.target)
    return x[:1200], y[:1200], x[1200:], y[1200:], "scikit-learn's digits, enlarged"


def pneumonia_tensors(part: str) -> tuple[Tensor, Tensor] | None:
    """PneumoniaMNIST images (N, 1, 28, 28) in [0, 1] and labels 0 or 1. None without a mirror."""
    file = Path(os.environ.get("ASSAY_DATA", ""), "medmnist", "pneumoniamnist.npz")
    if not file.is_file():
        return None
    with np.load(file) as arrays:
        images = torch.from_numpy(arrays[f"{part}_images"])[:, None].float() / 255
        return images, torch.from_numpy(arrays[f"{part}_labels"]).squeeze(1).long()


def trained(
    x: Tensor,
    y: Tensor,
    epochs: int,
    *,
    classes: int = 10,
    width: int = 32,
    epsilon: float = 0.0,
) -> SmallCNN:
    """A SmallCNN after a short training. Equal input gives an equal network.

    Adam with a one-cycle learning rate, no dropout. With an epsilon, each update follows one
    signed gradient step of 1.25 epsilon from a uniform start in the L-infinity ball (fast
    adversarial training, Wong, Rice, Kolter 2020, arXiv:2001.03994). The ball grows over the first
    40 % of the updates.
    """
    updates = epochs * -(-len(x) // BATCH)
    # Channels innermost: about 1.3 times as fast on a CPU.
    x = x.to(memory_format=torch.channels_last)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = SmallCNN(classes, width).to(memory_format=torch.channels_last).eval()
        optimiser = torch.optim.Adam(model.parameters(), lr=RATE)
        rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=updates)
        batches = (rows for _ in range(epochs) for rows in torch.randperm(len(x)).split(BATCH))
        for update, rows in enumerate(batches, start=1):
            images, labels = x[rows], y[rows]
            if epsilon:
                radius = epsilon * min(1.0, update / (0.4 * updates))
                images = _one_step(model, images, labels, radius)
            loss = functional.cross_entropy(model(images), labels)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            rate.step()
    return model.to(memory_format=torch.contiguous_format)


def _one_step(model: nn.Module, images: Tensor, labels: Tensor, radius: float) -> Tensor:
    start = images + radius * (2 * torch.rand_like(images) - 1)
    start = start.clamp_(0, 1).requires_grad_()
    (gradient,) = torch.autograd.grad(functional.cross_entropy(model(start), labels), start)
    moved = start.detach() + 1.25 * radius * gradient.sign()
    return moved.clamp(images - radius, images + radius).clamp_(0, 1)
