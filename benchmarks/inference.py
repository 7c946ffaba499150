"""Inference of ABS: all classes and images in one pass, against a loop over the classes.

The loops predict as the public ABS code does, at equal settings: 8,000 cached candidates of each
class, then 49 updates of Adam with one decoder after the other. They differ in how they compare
candidates with an image (`LOOPS`). An earlier version of that code subtracts. Its newest version
computes one matrix product, ||x||^2 - 2 x.g + ||g||^2. Ratios are against the fastest loop. This
project contains no file of that code.

All implementations are interleaved in one run. Memory is measured in separate processes. MNIST is
read from the mirror that the environment variable ASSAY_DATA names. Without a mirror,
scikit-learn's digits are the substitute.

    PYTHONPATH=workflow python benchmarks/inference.py [--rounds 3] [--images 100] [--threads 2]
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import torch
from common import interleaved, machine, peak_memory, ratio, table, write_section
from torch import Tensor, nn
from victims import images_and_labels

from assay.models.synthesis import AnalysisBySynthesis

SETTINGS = {
    "classes": 10,
    "shape": (1, 28, 28),
    "adversarial": False,
    "discriminative": False,
    "variational": False,
    "layout": "abs_bethgelab",
    "candidates": 8000,
    "start_at_encoder": False,
    "steps": 49,
    "radius": 5.0,
    "final_samples": 1,
    "dropout": 0.0,
}
TRAINED, EPOCHS = 20_000, 3
GROWN = 20  # images of which the table of growing costs is made
# By what they compute: a matrix product, images compared at a time, weights that take gradients.
LOOPS = {
    "loop over classes: subtraction, 8 images at a time, gradients of weights": (False, 8, True),
    "loop over classes: matrix product, 8 images at a time, gradients of weights": (True, 8, True),
    "loop over classes: matrix product, all images at once": (True, None, False),
}
COMPARED = 1000  # images whose decisions are compared with and without the early end


def abs_model(state: dict[str, Tensor] | None = None, **changes) -> AnalysisBySynthesis:
    """ABS with the sizes of the public networks, in evaluation mode."""
    torch.manual_seed(0)
    model = AnalysisBySynthesis(**{**SETTINGS, **changes}).eval().requires_grad_(False)
    if state is not None:
        model.load_state_dict(state)
    return model


def trained(x: Tensor, y: Tensor) -> dict[str, Tensor]:
    """The weights of ABS after a short training."""
    model = abs_model().train().requires_grad_(True)
    optimiser = torch.optim.Adam(model.parameters(), lr=2e-3)
    generator = torch.Generator().manual_seed(0)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(x), generator=generator).split(256):
            loss = model.training_loss(x[rows], y[rows], generator)["total"].mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return model.state_dict()


class ClassLoop:
    """The same prediction by a loop over ten separate decoders.

    Args:
        model: the model with the settings and weights.
        product: whether a matrix product compares the candidates. Otherwise each candidate is
            subtracted, and the squares are summed one axis after the other.
        piece: number of images that are compared with all candidates at a time. None: all.
        weights: whether the weights of the decoders also get gradients and a mask clips the codes.
    """

    def __init__(self, model: AnalysisBySynthesis, product: bool, piece: int | None, weights: bool):
        self.steps, self.rate, self.radius = model.steps, model.rate, model.radius
        self.product, self.piece, self.weights = product, piece, weights
        self.decoders = [_single(model, k).requires_grad_(weights) for k in range(model.classes)]
        drawn = torch.randn(
            int(model.candidates / 0.9),
            model.latent_dim,
            generator=torch.Generator().manual_seed(0),
        )
        self.codes = drawn[drawn.norm(dim=1).argsort()[: model.candidates].sort().values]
        with torch.no_grad():
            self.images = torch.stack(
                [
                    torch.cat([decoder(part[:, :, None, None]) for part in self.codes.split(500)])
                    for decoder in self.decoders
                ]
            )
        self.flat = self.images.flatten(0, 1).flatten(1)
        self.lengths = self.flat.square().sum(dim=1)

    def __call__(self, x: Tensor) -> Tensor:
        codes = torch.cat([self.nearest(piece) for piece in x.split(self.piece or len(x))])
        codes = codes.requires_grad_()
        optimiser = torch.optim.Adam([codes], lr=self.rate)
        for step in range(self.steps + 1):
            energies = []
            for k, decoder in enumerate(self.decoders):
                made = decoder(codes[:, k, :, None, None])
                energies.append(self.error(made, x) + 0.5 * codes[:, k].square().sum(dim=1))
            energy = torch.stack(energies, dim=1)
            if step == self.steps:
                return -energy.detach()
            optimiser.zero_grad()
            energy.sum().backward()
            optimiser.step()
            self._clip(codes.data)

    def error(self, made: Tensor, x: Tensor) -> Tensor:
        """Squared distance of images (.., C, H, W)."""
        if not self.weights:
            return (made - x).square().flatten(-3).sum(dim=-1)
        squares = (made - x) ** 2
        for axis in (-1, -2, -3):
            squares = squares.sum(dim=axis, keepdim=True)
        return squares[..., 0, 0, 0]

    def _clip(self, codes: Tensor) -> None:
        if not self.weights:
            codes *= (self.radius / codes.norm(dim=2, keepdim=True)).clamp_max(1.0)
            return
        squared = (codes**2).sum(dim=2, keepdim=True).expand_as(codes)
        far = squared > self.radius**2
        shorter = (codes[far] ** 2 / squared[far] * self.radius**2).sqrt()
        # With its signs, which the public code loses: that changes decisions, not time.
        codes[far] = shorter * codes[far].sign()

    @torch.no_grad()
    def nearest(self, x: Tensor) -> Tensor:
        if self.product:
            flat = x.flatten(1)
            product = flat @ self.flat.T
            error = flat.square().sum(dim=1, keepdim=True) - 2 * product + self.lengths
            error = error.unflatten(1, self.images.shape[:2])
        else:
            error = self.error(self.images[None], x[:, None, None])
        energy = error + 0.5 * self.codes.square().sum(dim=1)
        return self.codes[energy.argmin(dim=2)]


def _single(model: AnalysisBySynthesis, k: int) -> nn.Module:
    """The decoder of class k as a separate network, layer by layer as in the public code."""
    alone = abs_model(classes=1).decoders
    for layer in alone.layers:
        if isinstance(layer, nn.ELU):
            layer.inplace = False
    for mine, theirs in zip(
        [*alone.parameters(), *alone.buffers()],
        [*model.decoders.parameters(), *model.decoders.buffers()],
        strict=True,
    ):
        mine.data.copy_(theirs.chunk(model.classes)[k] if theirs.ndim else theirs)
    return alone.layers


def passes(model: AnalysisBySynthesis, x: Tensor) -> None:
    """Exactly the passes of the search without the early end, without any other work."""
    codes = torch.zeros(len(x), model.classes, model.latent_dim)
    for _ in range(model.steps):
        leaf = codes.clone().requires_grad_()
        made = model.decoders(leaf)
        torch.autograd.grad(made, leaf, made.detach())
    with torch.no_grad():
        model.decoders(codes)
    kept = torch.zeros(model.candidates * model.classes, x[0].numel())
    with torch.no_grad():
        for part in kept.split(model.classes * 250):
            x.flatten(1) @ part.T


def grown(state: dict[str, Tensor], images: Tensor, threads: int, baseline: str) -> float:
    """The largest growth of a process in MiB while it builds its candidates and predicts."""
    torch.set_num_threads(threads)
    model = abs_model(state, stop_early=False)
    with peak_memory() as memory:
        decide = model.logits if baseline == "assay" else ClassLoop(model, *LOOPS[baseline])
        decide(images)
    return memory["megabytes"]


def seconds_of(run: Callable[[], object]) -> float:
    """Seconds that a run takes."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def growth(state: dict[str, Tensor], x: Tensor) -> str:
    """How the cost of a prediction grows, as a table."""
    rows = []
    for name, cases in {
        "classes": [{"classes": k} for k in (2, 5, 10, 20)],
        "candidates": [{"candidates": n} for n in (500, 2000, 8000, 16000)],
        "steps": [{"steps": n} for n in (0, 12, 25, 49, 98)],
    }.items():
        for case in cases:
            own = None if "classes" in case else state
            model = abs_model(own, stop_early=False, **case)
            first = seconds_of(partial(model.logits, x[:1]))
            later = seconds_of(partial(model.logits, x))
            rows.append(
                [
                    name,
                    next(iter(case.values())),
                    f"{first:.2f}",
                    f"{1000 * later / len(x):.0f}",
                ]
            )
    return table(["what grows", "to", "seconds until the first prediction", "ms per image"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    train_x, train_y, test_x, test_y, what = images_and_labels()
    train_x, train_y = train_x[:TRAINED], train_y[:TRAINED]
    began = time.perf_counter()
    state = trained(train_x, train_y)
    training = time.perf_counter() - began
    x = test_x[: options.images]
    whole, early = abs_model(state, stop_early=False), abs_model(state)
    loops = {name: ClassLoop(whole, *settings) for name, settings in LOOPS.items()}
    memory = {}
    for name in ("assay", *loops):
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            memory[name] = pool.submit(grown, state, x, options.threads, name).result()
    rows = []
    for label, batch in ((f"{len(x)} images at once", x), ("a single image", x[:1])):
        runs = {
            "assay": partial(whole.logits, batch),
            "assay, early end": partial(early.logits, batch),
            **{name: partial(loop, batch) for name, loop in loops.items()},
            "bare passes": partial(passes, whole, batch),
        }
        seconds = interleaved(runs, options.rounds)
        strongest = min(loops, key=lambda name: statistics.median(seconds[name]))
        for name in list(runs)[:-1]:
            steps = {"assay, early end": float(early.search(batch).steps.float().mean())}
            rows.append(
                [
                    label,
                    name,
                    f"{statistics.median(seconds[name]) / len(batch):.3f}",
                    f"{steps.get(name, whole.steps):.1f}",
                    f"{ratio(seconds[name], seconds['bare passes']):.2f}",
                    f"{ratio(seconds[strongest], seconds[name]):.2f}",
                    f"{memory[name]:.0f}" if name in memory else "",
                ]
            )
    compared, truth = test_x[:COMPARED], test_y[:COMPARED]
    decisions = [
        torch.cat([model.logits(part) for part in compared.split(100)]).argmax(dim=1)
        for model in (whole, early)
    ]
    equal = (decisions[0] == decisions[1]).float().mean()
    right = [(said == truth).float().mean() for said in decisions]
    alike = [loop(x).argmax(dim=1) == decisions[0][: len(x)] for loop in loops.values()]
    same = min(float(rows.float().mean()) for rows in alike)
    header = ["batch", "implementation", "s per image", "steps", "time / bare"]
    header += ["× fastest loop", "MiB"]
    write_section(
        "inference",
        f"""## Inference of ABS

The networks of the public ABS code (latent 8, ten classes, 8,000 candidates, 49 updates), trained
here for {EPOCHS} epochs on {len(train_x):,} images of {what} ({training:.0f} s). {machine()};
{options.rounds} rounds, implementations interleaved, medians. *Steps* is the mean over images.
*Time / bare* divides the time by that of exactly the passes without an early end (49 forward and
backward, one forward, the matrix product with the candidates). *MiB* is the largest growth of a
process while it builds its candidates and predicts {len(x)} images. The loops are written after the
public ABS code. This project contains no file of that code. Its newest version compares all
candidates with an image by one matrix product. An earlier version subtracted them, eight images at
a time. The ratio is against the fastest loop. All loops make the same prediction as assay on at
least {same:.1%} of {len(x)} images.
With and without the early end {equal:.1%} of {len(compared):,} predictions are equal (accuracy
{right[0]:.3f} without, {right[1]:.3f} with).

{table(header, rows)}

How the cost grows, {min(GROWN, len(x))} images at once, without an early end, one run each:

{growth(state, x[:GROWN])}
""",
    )


if __name__ == "__main__":
    main()
