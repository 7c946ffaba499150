"""Attacks against public libraries: one victim, one budget, one run, contenders interleaved.

Needs ``torchattacks`` and ``adversarial-robustness-toolbox``. MNIST is read from the mirror that the
environment variable ASSAY_DATA names; without one, scikit-learn's digits stand in.

    PYTHONPATH=workflow python benchmarks/attacks.py [--rounds 5] [--images 24] [--threads 2]
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torchattacks
from art.attacks.evasion import PixelAttack
from art.estimators.classification import PyTorchClassifier
from common import interleaved, machine, mnist, ratio, table, write_section
from torch import Tensor, nn
from torch.nn import functional

from assay.attacks.base import Attack
from assay.attacks.fgsm import FGSM
from assay.attacks.one_pixel import OnePixel
from assay.attacks.pgd import PGD
from assay.attacks.victim import Victim

BATCH = 128
# ART fixes its population: 399 members for the three variables of one grey pixel.
POPULATION, GENERATIONS = 399, 10


class SmallCNN(nn.Sequential):
    """The MNIST network of TRADES (Zhang et al. 2019): four convolutions, three dense layers."""

    def __init__(self):
        super().__init__(
            nn.Conv2d(1, 32, 3),
            nn.ReLU(),
            nn.Conv2d(32, 32, 3),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3),
            nn.ReLU(),
            nn.Conv2d(64, 64, 3),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(1024, 200),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(200, 200),
            nn.ReLU(),
            nn.Linear(200, 10),
        )


@dataclass(frozen=True)
class Race:
    """One attack by several libraries at the same budget.

    Attributes:
        title: what is attacked with, and the budget.
        attack: ours.
        epsilon: its budget.
        images: how many images; None: all there are.
        rivals: by name, ``(images, labels) -> images``.
    """

    title: str
    attack: Attack
    epsilon: float
    images: int | None
    rivals: dict[str, Callable[[Tensor, Tensor], Tensor]]


def images_and_labels() -> tuple[Tensor, Tensor, Tensor, Tensor, str]:
    """Training and test images (N, 1, 28, 28) in [0, 1], labels, and what they are."""
    if mnist("train") is not None:
        (x, y), (tx, ty) = mnist("train"), mnist("test")
        x, y, source = x[:12000], y[:12000], "MNIST"
        tensors = [torch.from_numpy(np.array(part)) for part in (x, y, tx[:2000], ty[:2000])]
        return tensors[0].float() / 255, tensors[1], tensors[2].float() / 255, tensors[3], source
    from sklearn.datasets import load_digits

    digits = load_digits()
    x = torch.from_numpy(digits.images[:, None] / 16).float()
    x, y = functional.interpolate(x, size=(28, 28)), torch.from_numpy(digits.target)
    return x[:1200], y[:1200], x[1200:], y[1200:], "scikit-learn's digits, enlarged"


def trained(x: Tensor, y: Tensor, epochs: int) -> SmallCNN:
    """A SmallCNN after a short training."""
    torch.manual_seed(0)
    model = SmallCNN()
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(BATCH):
            loss = functional.cross_entropy(model(x[rows]), y[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return model.eval()


def races(model: nn.Module, images: int) -> list[Race]:
    """What is compared."""
    art = PyTorchClassifier(
        model,
        loss=nn.CrossEntropyLoss(),
        input_shape=(1, 28, 28),
        nb_classes=10,
        clip_values=(0.0, 1.0),
        device_type="cpu",
    )
    pixel = PixelAttack(art, th=1, es=1, max_iter=GENERATIONS)

    def art_pixel(x: Tensor, y: Tensor) -> Tensor:
        np.random.seed(0)  # noqa: NPY002 - the library draws from the global state
        return torch.from_numpy(pixel.generate(x.numpy(), y.numpy()))

    one = torchattacks.OnePixel(
        model, pixels=1, steps=GENERATIONS, popsize=POPULATION, inf_batch=BATCH
    )
    ours = OnePixel(
        population=POPULATION,
        generations=GENERATIONS,
        strategy="best1bin",
        weight=(0.5, 1.0),
        crossover=1.0,
        objective="probability",
    )
    return [
        Race(
            f"One pixel, population {POPULATION}, {GENERATIONS} generations",
            ours,
            1,
            images,
            {"torchattacks": one, "ART": art_pixel},
        ),
        Race("FGSM, ε 0.1", FGSM(), 0.1, None, {"torchattacks": torchattacks.FGSM(model, 0.1)}),
        Race(
            "PGD L∞, ε 0.1, 40 steps",
            PGD(steps=40, step=0.01),
            0.1,
            2 * BATCH,
            {"torchattacks": torchattacks.PGD(model, 0.1, 0.01, 40)},
        ),
    ]


def measure(race: Race, model: nn.Module, x: Tensor, y: Tensor, rounds: int) -> list[list[str]]:
    """Rows of the table: images/s and images broken by each library, and time over the floor."""
    x, y = x[: race.images], y[: race.images]
    victim = Victim.from_module(model, classes=10, shape=(1, 28, 28), max_batch=BATCH)
    results: dict[str, Tensor] = {}

    def ours() -> None:
        victim.forwards = victim.backwards = 0
        generator = torch.Generator().manual_seed(0)
        results["assay"] = race.attack(victim, x, y, [race.epsilon], generator).images[0]

    def rival(name: str) -> Callable[[], None]:
        def run() -> None:
            torch.manual_seed(0)
            results[name] = race.rivals[name](x, y)

        return run

    ours()
    floor = passes(model, x, y, victim.forwards, victim.backwards)
    contenders = {"assay": ours, "floor": floor, **{name: rival(name) for name in race.rivals}}
    seconds = interleaved(contenders, rounds, warm_up=False)
    best = min(race.rivals, key=lambda name: statistics.median(seconds[name]))
    rows = []
    for name in ("assay", *race.rivals):
        with torch.inference_mode():
            broken = int((model(results[name].float()).argmax(1) != y).sum())
        rows.append(
            [
                race.title if name == "assay" else "",
                name,
                f"{len(x) / statistics.median(seconds[name]):.2f}",
                f"{broken} of {len(x)}",
                f"{ratio(seconds[best], seconds['assay']):.2f}" if name == "assay" else "",
                f"{ratio(seconds['assay'], seconds['floor']):.2f}" if name == "assay" else "",
            ]
        )
    return rows


def passes(model: nn.Module, x: Tensor, y: Tensor, forwards: int, backwards: int) -> Callable:
    """The bare passes that an attack needed, in batches, with nothing around them."""
    frozen = {name: tensor.detach() for name, tensor in model.state_dict().items()}
    batch = x[torch.arange(BATCH) % len(x)]
    labels = y[torch.arange(BATCH) % len(y)]

    def call(images: Tensor) -> Tensor:
        return torch.func.functional_call(model, frozen, (images,))

    def run() -> None:
        for start in range(0, backwards, BATCH):
            leaf = batch[: backwards - start].requires_grad_()
            loss = functional.cross_entropy(call(leaf), labels[: len(leaf)], reduction="sum")
            torch.autograd.grad(loss, leaf)
        alone = forwards - backwards
        with torch.inference_mode():
            for start in range(0, alone, BATCH):
                call(batch[: alone - start])

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=24, help="for the one-pixel attacks")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    x, y, test_x, test_y, source = images_and_labels()
    model = trained(x, y, arguments.epochs)
    with torch.inference_mode():
        right = model(test_x).argmax(1) == test_y
    test_x, test_y = test_x[right][:512], test_y[right][:512]
    rows = [
        row
        for race in races(model, arguments.images)
        for row in measure(race, model, test_x, test_y, arguments.rounds)
    ]
    header = ["attack", "library", "images/s", "broken", "× best rival", "time / bare passes"]
    text = (
        "## Attacks\n\n"
        f"SmallCNN (clean accuracy {right.float().mean():.3f}) on {source}, images that it gets "
        f"right, batches of {BATCH}; {machine()}. Contenders ran interleaved, "
        f"{arguments.rounds} rounds; images/s is the median, ratios are medians of the rounds' "
        "ratios. Libraries: torchattacks "
        f"{torchattacks.__version__}, ART {_version('adversarial-robustness-toolbox')}. "
        "One-pixel attacks have equal populations, generations, mutation (best1bin, weight drawn "
        "from 0.5 to 1) and success criterion (misclassified). *Time / bare passes* divides by the "
        "time of exactly the network passes that the attack made, with nothing around them.\n\n"
        f"{table(header, rows)}\n"
    )
    write_section("attacks", text)
    print(text)


def _version(package: str) -> str:
    from importlib.metadata import version

    return version(package)


if __name__ == "__main__":
    main()
