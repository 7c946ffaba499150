"""Inference of API-Net: all classes and images in one batch, against a loop over the classes.

The loop does what the public code does, at the published setting (ten classes, eight steps): a
class at a time, gradients of the weights too. This project contains no file of that code. Beside
it: what an attack's step through the search costs if it goes on from the step before, and what an
update of adversarial training costs. `bare` is the time of exactly the passes that are needed,
with frozen weights, in the same batches, without any other work.

All implementations are interleaved in one run. Weights are random: no time depends on them. Success
of attacks is measured on a network that is trained for a minute.

    PYTHONPATH=workflow python benchmarks/image_search.py [--rounds 3] [--threads 2]
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
from collections.abc import Callable
from functools import partial

import torch
from common import interleaved, machine, ratio, table, write_section
from torch import Tensor
from torch.nn import functional
from victims import images_and_labels

from assay.attacks.losses import margin
from assay.attacks.pgd import PGD
from assay.models.api import Api
from assay.models.base import Classifier, placed
from assay.models.small_images import CifarResNet18, SmallCNN
from assay.training.objective import Batch, make_objective

STEPS, STEP, RADIUS = 8, 0.01, 12 / 255
ADVERSARY = {"norm": "linf", "epsilon": 0.3, "steps": 10}
ATTACKED, ATTACK_STEPS = 64, 20
TRAINED, UPDATES = 4000, 400


def network(name: str, *, as_public: bool = False) -> Classifier:
    """A network with random weights, in evaluation mode; as public code has it, in torch's layout
    and with gradients of the weights.
    """
    torch.manual_seed(0)
    if name == "SmallCNN":
        made: Classifier = SmallCNN(classes=10, shape=(1, 28, 28))
        torch.nn.init.normal_(made.head.weight, std=0.1)  # it starts at zero
    else:
        made = CifarResNet18(classes=10, shape=(3, 32, 32), width=16)
    return made.eval() if as_public else placed(made, torch.device("cpu")).eval()


def defence(base: Classifier, **settings) -> Api:
    """API around a base, frozen as an attack has it."""
    settings = {"radius": RADIUS, "step": STEP, "steps": STEPS, **settings}
    model = Api(base=base, classes=10, shape=base.shape, **settings)
    return model.eval().requires_grad_(False)


def loop(base: Classifier, x: Tensor) -> Tensor:
    """The same scores, a class at a time; `base` takes gradients of its weights."""
    scores = []
    for c in range(10):
        target = torch.full((len(x),), c)
        z = x + 0.001 * torch.randn_like(x)
        for _ in range(STEPS):
            z = z.detach().requires_grad_()
            functional.cross_entropy(base.logits(z), target).backward()
            assert z.grad is not None
            z = z.detach() - STEP * z.grad.sign()
            z = torch.clamp(torch.min(torch.max(z, x - RADIUS), x + RADIUS), 0, 1)
        with torch.no_grad():
            scores.append(functional.log_softmax(base.logits(z), dim=1)[:, c])
    return torch.stack(scores, dim=1)


def passes(base: Classifier, x: Tensor, at_once: int) -> None:
    """Exactly the passes of the search, in its batches."""
    for piece in x.split(max(1, at_once // 10)):
        repeated = piece.repeat_interleave(10, 0)
        for _ in range(STEPS):
            leaf = repeated.clone().requires_grad_()
            logits = base.logits(leaf)
            torch.autograd.grad(logits, leaf, torch.ones_like(logits))
        with torch.no_grad():
            base.logits(repeated)


def inference(rounds: int) -> str:
    """Times of a decision, as a table."""
    rows = []
    for name in ("SmallCNN", "ResNet-18, width 16"):
        frozen, plain = network(name).requires_grad_(False), network(name, as_public=True)
        model = defence(frozen)
        at_once = model.search.limits.codes_at_once
        for count in (100, 1):
            x = torch.rand(count, *frozen.shape)
            runs = {
                "assay": partial(model.logits, x, torch.Generator()),
                "loop": partial(loop, plain, x),
                "bare": partial(passes, frozen, x, at_once),
            }
            seconds = interleaved(runs, rounds)
            rows.append(
                [
                    name,
                    count,
                    *(f"{1000 * statistics.median(seconds[run]) / count:.1f}" for run in runs),
                    f"{ratio(seconds['loop'], seconds['assay']):.2f}",
                    "1.3" if count > 1 else "2.5",
                    f"{ratio(seconds['assay'], seconds['bare']):.2f}",
                ]
            )
    header = ["network", "images", "assay, ms per image", "loop", "bare", "× loop", "bar"]
    return table([*header, "time / bare (bar 1.10)"], rows)


def at_once(rounds: int) -> str:
    """Times of a decision on 100 images by how many changed images are searched at once."""
    counts = (10, 40, 80, 160, 320, 1000)
    rows = []
    for name in ("SmallCNN", "ResNet-18, width 16"):
        base = network(name)
        x = torch.rand(100, *base.shape)
        runs = {
            count: partial(defence(base, codes_at_once=count).logits, x, torch.Generator())
            for count in counts
        }
        seconds = interleaved(runs, rounds)
        rows.append([name, *(f"{10 * statistics.median(seconds[count]):.1f}" for count in counts)])
    return table(["ms per image, searched at once", *map(str, counts)], rows)


def trained(x: Tensor, y: Tensor) -> Classifier:
    """A network that a short adversarial training has made somewhat robust."""
    model = network("SmallCNN").train()
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    generator = torch.Generator().manual_seed(0)
    for update in range(UPDATES):
        objective = make_objective(
            {"name": "madry"}, {**ADVERSARY, "epsilon": min(0.3, 0.3 * update / 200 + 0.05)}
        )
        rows = torch.randint(len(x), (64,), generator=generator)
        (step,) = objective.updates(model, Batch(x[rows], y[rows], generator))
        optimiser.zero_grad()
        step.loss.backward()
        optimiser.step()
    return model.eval()


def attack(rounds: int) -> str:
    """Times and successes of PGD through the search, going on from the step before or anew."""
    train_x, train_y, test_x, test_y, _ = images_and_labels()
    base = trained(train_x[:TRAINED], train_y[:TRAINED])
    x, y = test_x[:ATTACKED], test_y[:ATTACKED]
    warm = defence(base, noise=0.0)
    cold = defence(base, noise=0.0)
    # No remembered image is ever near enough.
    cold.search = dataclasses.replace(
        cold.search, limits=dataclasses.replace(cold.search.limits, near=-1.0)
    )
    rows = []
    for epsilon in (0.1, 0.2, 0.3):
        found = {}
        for name, model in (("goes on", warm), ("anew", cold)):
            victim = model.victim().through("through_model")
            pgd = PGD(steps=ATTACK_STEPS, step=0.02, loss="margin")
            result = pgd(victim, x, y, [epsilon], torch.Generator().manual_seed(0))
            found[name] = int(result.misclassified.sum())
        rows.append([epsilon, found["goes on"], found["anew"]])
    seconds = interleaved(
        {name: step_of(model, x, y) for name, model in (("goes on", warm), ("anew", cold))}, rounds
    )
    share = ratio(seconds["goes on"], seconds["anew"])
    header = ["ε", f"misclassified of {ATTACKED}, goes on", "anew"]
    return (
        f"A step that goes on takes {share:.2f} of the time of one that searches anew (bar 0.5)."
        f"\n\n{table(header, rows)}"
    )


def step_of(model: Api, x: Tensor, y: Tensor) -> Callable[[], object]:
    """Four gradients of an attack that has begun before, each at images that have moved."""
    victim, generator = model.victim(), torch.Generator().manual_seed(0)
    view = victim.views["through_model"]

    def run() -> None:
        for moves in range(4):
            moved = (x + 0.01 * moves).clamp(0, 1)
            victim.gradient(view, moved, y, margin, generator)

    run()
    return run


def training(rounds: int) -> str:
    """Times of an update by the bare passes of its inner steps and its loss."""
    x, y = torch.rand(128, 1, 28, 28), torch.randint(10, (128,))
    rows = []
    for name, extra in (("madry", 1), ("trades", 3)):
        model = network("SmallCNN").train()
        objective = make_objective({"name": name}, ADVERSARY)

        def update(model: Classifier = model, objective=objective) -> None:
            (step,) = objective.updates(model, Batch(x, y, torch.Generator()))
            torch.autograd.grad(step.loss, list(model.parameters()))

        def bare(model: Classifier = model, extra: int = extra) -> None:
            for number in range(ADVERSARY["steps"] + extra):
                inner = number < ADVERSARY["steps"]
                model.requires_grad_(not inner).train(not inner)
                leaf = x.clone().requires_grad_()
                loss = model.logits(leaf).logsumexp(1).sum()
                torch.autograd.grad(loss, [leaf] if inner else [*model.parameters()])

        seconds = interleaved({"update": update, "bare": bare}, rounds)
        rows.append([name, extra, f"{ratio(seconds['update'], seconds['bare']):.2f}"])
    return table(["objective", "passes beside the inner steps", "time / bare (bar 1.10)"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    write_section(
        "image_search",
        f"""## Inference of API-Net

Ten classes, {STEPS} steps. {machine()}; {options.rounds} rounds, implementations interleaved,
medians of ratios. *Loop* does what the public code does: a class at a time, in torch's default
memory layout, with gradients of the weights. *Bare* is the time of exactly the passes of the search
with frozen weights, in the same batches. Random weights.

{inference(options.rounds)}

{at_once(options.rounds)}

PGD L∞ through the search, {ATTACK_STEPS} steps on {ATTACKED} images of MNIST, against a network
after {UPDATES} adversarial updates. {attack(options.rounds)}

An update of adversarial training with {ADVERSARY["steps"]} inner steps, SmallCNN, 128 images. Bare
passes are forward and backward: the inner ones in evaluation mode with frozen weights, the others
in training mode with gradients of the weights.

{training(options.rounds)}
""",
    )


if __name__ == "__main__":
    main()
