"""The one-pixel attack against public libraries: equal budgets, one run, libraries interleaved.

All runs are timed under both accountings (see `accounting`), with one thread and with two. MNIST is
read from the mirror that the environment variable ASSAY_DATA names. Without a mirror,
scikit-learn's digits are the substitute.

    PYTHONPATH=workflow python benchmarks/one_pixel.py [--rounds 5] [--images 8] [--threads 1 2]
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import libraries
import torch
from accounting import ACCOUNTINGS, OURS, SAME_WORK, accounts, strongest_gain, timed
from adapters import versions
from common import machine, ratio, table, write_section
from libraries import GENERATIONS, POPULATION
from torch import Tensor, nn
from victims import BATCH, images_and_labels, trained

from assay.attacks.losses import margin
from assay.attacks.one_pixel import OnePixel
from assay.attacks.victim import Victim


def measure(
    model: nn.Module, x: Tensor, y: Tensor, rounds: int, threads: list[int]
) -> list[list[str]]:
    """A row per library: images/s, forward passes, misclassified images, ratios of time."""
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
    runs = accounts(attack, victim, model, libraries.one_pixel(model), x, y, 1)
    passes, misclassified = {}, {}
    for name, run in runs[SAME_WORK].items():
        victim.forwards = 0
        with counted(model) as count:
            found = run(x, y)
        passes[name] = victim.forwards if name == OURS else count()
        with torch.inference_mode():
            misclassified[name] = int((model(found).argmax(1) != y).sum())
    blank = {"forward": bare(victim, x, passes[OURS])}
    seconds = {}
    for number in threads:
        torch.set_num_threads(number)
        seconds[number] = timed(runs, list(passes), blank, x, y, rounds)
    rows = []
    for name in passes:
        speeds = [
            " / ".join(
                f"{len(x) / statistics.median(seconds[number][account][name]):.2f}"
                for number in threads
            )
            for account in ACCOUNTINGS
        ]
        rows.append(
            [name, *speeds, f"{passes[name] / len(x):.0f}", f"{misclassified[name]} of {len(x)}"]
        )
        rows[-1] += _against(seconds) if name == OURS else ["", "", ""]
    return rows


def _against(seconds: dict[int, dict]) -> list[str]:
    """Ratios of assay to the fastest library, per accounting, and to the bare passes.

    Each cell has one value per number of threads.
    """
    cells = []
    for account in ACCOUNTINGS:
        found = [strongest_gain(each[account]) for each in seconds.values()]
        cells.append(" / ".join(f"{value:.2f}" for value in found))
    over = [ratio(each[SAME_WORK][OURS], each["bare"]["forward"]) for each in seconds.values()]
    return [*cells, " / ".join(f"{value:.2f}" for value in over)]


@contextmanager
def counted(model: nn.Sequential) -> Iterator[Callable[[], int]]:
    """Counts images in forward passes of `model`. A library may call its layers one by one."""
    seen: list[int] = []
    hook = model[-1].register_forward_hook(lambda layer, given, logits: seen.append(len(logits)))
    try:
        yield lambda: sum(seen)
    finally:
        hook.remove()


def bare(victim: Victim, x: Tensor, forwards: int) -> Callable[[], None]:
    """The forward passes that the attack made, in full batches, without any other work."""
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
    parser.add_argument("--images", type=int, default=8, help="number of images to attack")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--epochs", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads[-1])
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
    budget = arguments.rounds, arguments.threads
    rows = [
        [images if row[0] == "assay" else "", *row]
        for images, chosen in sets.items()
        for row in measure(model, test_x[chosen], test_y[chosen], *budget)
    ]
    header = ["images", "library", "images/s as called", "images/s, same work"]
    header += ["passes per image", "misclassified"]
    header += ["× fastest as called", "× fastest, same work", "time / bare passes"]
    threads = " / ".join(str(number) for number in arguments.threads)
    text = (
        "## One-pixel attack\n\n"
        f"SmallCNN (clean accuracy {right.float().mean():.3f}) on {source}, {arguments.images} "
        "correctly classified test images per set. The first ones represent all such images. The "
        "least certain ones have the smallest margin, so that attacks can succeed. "
        f"Batches of {BATCH}; {machine()}. Equal population ({POPULATION}), "
        f"generations ({GENERATIONS}), mutation (best1bin, weight sampled from 0.5 to 1) and "
        "success criterion (a misclassification ends the search for an image). "
        f"{arguments.rounds} rounds, libraries interleaved. The two accountings are those of the "
        f"section on attacks. Numbers with a slash are for {threads} threads. Images/s is the "
        "median, ratios are medians of the ratios per round. *Time / bare passes* divides the time "
        "by that of exactly the forward passes that the attack made, through the same function in "
        "full batches, without any other work. "
        f"{versions()}.\n\n"
        f"{table(header, rows)}\n"
    )
    write_section("one_pixel", text)
    print(text)


if __name__ == "__main__":
    main()
