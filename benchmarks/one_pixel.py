"""The one-pixel attack against public libraries: equal budgets, one run, contenders interleaved.

MNIST is read from the mirror that
the environment variable ASSAY_DATA names; without one, scikit-learn's digits stand in.

    PYTHONPATH=workflow python benchmarks/one_pixel.py [--rounds 5] [--images 8] [--threads 2]
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import libraries
import torch
from adapters import versions
from common import interleaved, machine, ratio, table, write_section
from libraries import GENERATIONS, POPULATION
from torch import Tensor, nn
from victims import BATCH, images_and_labels, trained

from assay.attacks.losses import margin
from assay.attacks.one_pixel import OnePixel
from assay.attacks.victim import Victim


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
    rivals = libraries.one_pixel(model)
    attacks = {
        "assay": lambda x, y: attack(victim, x, y, [1], torch.Generator().manual_seed(0)).images[0],
        **rivals,
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
    best = min(rivals, key=lambda name: statistics.median(seconds[name]))
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
        f"{versions()}.\n\n"
        f"{table(header, rows)}\n"
    )
    write_section("one_pixel", text)
    print(text)


if __name__ == "__main__":
    main()
