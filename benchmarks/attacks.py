"""The one-pixel attack against public libraries: equal budgets, one run, contenders interleaved.

Needs ``torchattacks`` and ``adversarial-robustness-toolbox``. MNIST is read from the mirror that
the environment variable ASSAY_DATA names; without one, scikit-learn's digits stand in.

    PYTHONPATH=workflow python benchmarks/attacks.py [--rounds 5] [--images 8] [--threads 2]
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version

import numpy as np
import torch
import torchattacks
from art.attacks.evasion import PixelAttack
from art.estimators.classification import PyTorchClassifier
from common import interleaved, machine, mnist, ratio, table, write_section
from torch import Tensor, nn
from torch.nn import functional

from assay.attacks.losses import margin
from assay.attacks.one_pixel import OnePixel
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


def rivals(model: nn.Module) -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
    """The libraries' attacks, ``(images, labels) -> images``."""
    art = PyTorchClassifier(
        model,
        loss=nn.CrossEntropyLoss(),
        input_shape=(1, 28, 28),
        nb_classes=10,
        clip_values=(0.0, 1.0),
        device_type="cpu",
    )
    pixel = PixelAttack(art, th=1, es=1, max_iter=GENERATIONS)

    def by_art(x: Tensor, y: Tensor) -> Tensor:
        np.random.seed(0)  # noqa: NPY002 - the library draws from the global state
        return torch.from_numpy(pixel.generate(x.numpy(), y.numpy())).float()

    one = torchattacks.OnePixel(
        model, pixels=1, steps=GENERATIONS, popsize=POPULATION, inf_batch=BATCH
    )
    return {"torchattacks": one, "ART": by_art}


def measure(model: nn.Module, x: Tensor, y: Tensor, rounds: int) -> list[list[str]]:
    """A row per library: images/s, forward passes, images broken, time against the others."""
    victim = Victim.from_module(model, classes=10, shape=(1, 28, 28), max_batch=BATCH)
    # The libraries' settings: best1bin, weight drawn from (0.5, 1), every gene from the mutant.
    attack = OnePixel(
        population=POPULATION,
        generations=GENERATIONS,
        strategy="best1bin",
        weight=(0.5, 1.0),
        crossover=1.0,
        objective="probability",
    )
    libraries = rivals(model)
    attacks = {
        "assay": lambda x, y: attack(victim, x, y, [1], torch.Generator().manual_seed(0)).images[0],
        **libraries,
    }
    # The first run, which also warms up, tells what each breaks and how often it asks the model.
    passes, broken = {}, {}
    for name, run in attacks.items():
        torch.manual_seed(0)
        with counted(model) as count:
            found = run(x, y)
        passes[name] = victim.forwards if name == "assay" else count()
        with torch.inference_mode():
            broken[name] = int((model(found).argmax(1) != y).sum())
    contenders = {name: partial(run, x, y) for name, run in attacks.items()}
    contenders["bare passes"] = bare(victim, x, passes["assay"])
    contenders["bare passes"]()
    seconds = interleaved(contenders, rounds, warm_up=False)
    best = min(libraries, key=lambda name: statistics.median(seconds[name]))
    rows = []
    for name in attacks:
        against = [
            f"{ratio(seconds[best], seconds['assay']):.2f}",
            f"{ratio(seconds['assay'], seconds['bare passes']):.2f}",
        ]
        rows.append(
            [
                name,
                f"{len(x) / statistics.median(seconds[name]):.2f}",
                f"{passes[name] / len(x):.0f}",
                f"{broken[name]} of {len(x)}",
                *(against if name == "assay" else ["", ""]),
            ]
        )
    return rows


@contextmanager
def counted(model: nn.Sequential) -> Iterator[Callable[[], int]]:
    """Counts the images that pass through `model`; a library may call its layers one by one."""
    seen: list[int] = []
    hook = model[-1].register_forward_hook(lambda layer, given, logits: seen.append(len(logits)))
    try:
        yield lambda: sum(seen)
    finally:
        hook.remove()


def bare(victim: Victim, x: Tensor, forwards: int) -> Callable[[], None]:
    """The forward passes that the attack needed, in full batches, with nothing around them."""
    (view,) = victim.views.values()
    batch, generator = x[torch.arange(BATCH) % len(x)], torch.Generator()

    def run() -> None:
        with torch.inference_mode():
            for start in range(0, forwards, BATCH):
                view.logits(batch[: forwards - start], generator)

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=8, help="to be attacked")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    x, y, test_x, test_y, source = images_and_labels()
    model = trained(x, y, arguments.epochs)
    with torch.inference_mode():
        logits = model(test_x)
        right = logits.argmax(1) == test_y
        lead = margin(logits, test_y).neg().masked_fill(~right, torch.inf)
    sets = {
        "the first": right.nonzero().squeeze(1)[: arguments.images],
        "the least certain": lead.argsort()[: arguments.images],
    }
    rows = [
        [images if row[0] == "assay" else "", *row]
        for images, chosen in sets.items()
        for row in measure(model, test_x[chosen], test_y[chosen], arguments.rounds)
    ]
    header = ["images", "library", "images/s", "passes per image", "broken"]
    header += ["× the better rival", "time / bare passes"]
    text = (
        "## One-pixel attack\n\n"
        f"SmallCNN (clean accuracy {right.float().mean():.3f}) on {source}, {arguments.images} "
        "test images that it gets right: the first ones, which stand for all, and those it is "
        "least certain of, on which success shows; "
        f"batches of {BATCH}; {machine()}. Equal population ({POPULATION}), "
        f"generations ({GENERATIONS}), mutation (best1bin, weight drawn from 0.5 to 1) and success "
        f"criterion (misclassified, which ends an image's search). {arguments.rounds} rounds, "
        "contenders interleaved; images/s is the median, ratios are medians of the rounds' "
        "ratios. *Time / bare passes* divides by the time of exactly the forward passes that the "
        "attack made, through the same function in full batches, with nothing around them. "
        f"torchattacks {version('torchattacks')}, ART "
        f"{version('adversarial-robustness-toolbox')}.\n\n"
        f"{table(header, rows)}\n"
    )
    write_section("attacks", text)
    print(text)


if __name__ == "__main__":
    main()
