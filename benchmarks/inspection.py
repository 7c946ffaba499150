"""What the inspection of a model costs beside the attack that follows it: PGD of 40 steps.

    python benchmarks/inspection.py

Both work on the same 256 images of a network that no image leaves early: the perturbations are too
small to fool it. Each is timed twice, in turn, and the fastest counts.
"""

from __future__ import annotations

import sys
import time
from functools import partial

import torch
from torch import nn
from torchvision.models import resnet18

from assay.attacks.pgd import PGD
from assay.attacks.victim import Victim
from assay.evaluation.inspection import inspect_victim

IMAGES, ROUNDS, RADIUS = 256, 2, 1e-6
BOUND_S = 2.0  # of the inspection of a small network


def small_cnn() -> nn.Module:
    """Four convolutions and two linear layers on 1x28x28, the network of Madry et al. 2018."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(64 * 49, 1024), nn.ReLU(), nn.Linear(1024, 10),
    )  # fmt: skip


NETWORKS = {
    "SmallCNN, 1x28x28": (small_cnn, (1, 28, 28)),
    "ResNet18, 3x32x32": (lambda: resnet18(num_classes=10), (3, 32, 32)),
}


def seconds(work) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def main() -> None:
    for name, (network, shape) in NETWORKS.items():
        torch.manual_seed(0)
        victim = Victim.from_module(network().eval(), classes=10, shape=shape)
        images = torch.rand(IMAGES, *shape)
        labels = victim.logits(images, torch.Generator()).argmax(1)
        attack, looks, attacks = PGD(steps=40), [], []
        for _ in range(ROUNDS):
            looks.append(seconds(partial(inspect_victim, victim, images)))
            generator = torch.Generator().manual_seed(1)
            work = partial(attack, victim, images, labels, [RADIUS], generator)
            attacks.append(seconds(work))
        passes = inspect_victim(victim, images).passes
        share = min(looks) / min(attacks)
        sys.stdout.write(
            f"{name}: inspection {min(looks):.3f} s (bound {BOUND_S:.0f} s; {passes} passes), "
            f"PGD-40 on {IMAGES} images {min(attacks):.2f} s, {share:.2%}\n"
        )


if __name__ == "__main__":
    main()
