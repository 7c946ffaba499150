"""The rows of the speed table: an attack in assay and in other libraries, a budget, a bar."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import libraries
from adapters import Baseline
from torch import nn

from assay.attacks.apgd import APGD
from assay.attacks.attack import Attack
from assay.attacks.autoattack import AutoAttack
from assay.attacks.boundary import Boundary
from assay.attacks.carlini_wagner import CarliniWagner
from assay.attacks.ddn import DDN
from assay.attacks.deepfool import DeepFool
from assay.attacks.fab import FAB
from assay.attacks.fgsm import FGSM
from assay.attacks.pgd import PGD
from assay.attacks.square import Square

LINF, L2 = 0.3, 2.0
SIGNS = {"linf": "L∞", "l2": "L2"}
# No two images are farther apart.
EVERYWHERE = {"linf": 1.0, "l2": 28.0}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One comparison.

    Attributes:
        title: the name of the row in the table, with the budget.
        network: ``standard`` or ``robust``. Fixed budgets use the robust network. There most images
            stay correctly classified, so a fast pass saves more time than an early stop.
        norm: ``linf`` or ``l2``.
        epsilon: radius, or None for minimal-norm attacks.
        attack: the attack of assay.
        rivals: makes the runs of the other libraries for a network.
        images: number of images that are attacked at once.
        rounds: number of rounds. Every library runs once per round.
        bar: the lowest accepted ratio of images/s to the fastest library, under both accountings.
        floor: the highest accepted ratio of time to the time of the bare passes, or None.
    """

    title: str
    network: str
    norm: str
    epsilon: float | None = None
    attack: Attack
    rivals: Callable[[nn.Module], dict[str, Baseline]]
    images: int
    rounds: int = 5
    bar: float
    floor: float | None = None

    @property
    def radius(self) -> float:
        return EVERYWHERE[self.norm] if self.epsilon is None else self.epsilon


def _single(name: str, build: Callable[[nn.Module], Baseline]):
    return lambda model: {name: build(model)}


def _without(name: str, build: Callable[[nn.Module], dict[str, Baseline]]):
    """All libraries except one that would run for hours."""
    return lambda model: {key: run for key, run in build(model).items() if key != name}


def table_rows(quick: bool) -> dict[str, Row]:
    """All rows by name. `quick` tests them with budgets that are too small for a measurement."""

    def amount(full: int, small: int) -> int:
        return small if quick else full

    fixed_budget = partial(Row, network="robust", norm="linf", epsilon=LINF)
    rows: dict[str, Row] = {}
    for batch, bar in ((128, 1.1), (512, 1.8)):
        images = amount(batch, batch // 32)
        rows[f"fgsm_{batch}"] = fixed_budget(
            title=f"FGSM, {images} images at once",
            attack=FGSM(),
            rivals=partial(libraries.fgsm, epsilon=LINF),
            images=images,
            rounds=amount(25, 2),
            bar=bar,
            floor=1.10,
        )
        for norm, epsilon in (("linf", LINF), ("l2", L2)):
            steps = amount(40, 3)
            length = 2.5 * epsilon / steps
            rows[f"pgd_{norm}_{batch}"] = Row(
                title=f"PGD {SIGNS[norm]}, {steps} steps from the image, {images} at once",
                network="robust",
                norm=norm,
                epsilon=epsilon,
                attack=PGD(norm=norm, steps=steps, step=length, random_start=False),
                rivals=partial(
                    libraries.pgd,
                    norm=norm,
                    epsilon=epsilon,
                    steps=steps,
                    step=length,
                    random_start=False,
                ),
                images=images,
                rounds=5 if batch == 128 else 3,
                bar=bar,
                floor=1.10,
            )
    images, steps = amount(128, 4), amount(50, 5)
    for norm, bar in (("l2", 4.0), ("linf", 2.0)):
        rows[f"deepfool_{norm}"] = Row(
            title=f"DeepFool {SIGNS[norm]}, {steps} steps",
            network="standard",
            norm=norm,
            attack=DeepFool(norm=norm, steps=steps),
            rivals=partial(libraries.deepfool, norm=norm, steps=steps),
            images=images,
            rounds=3,
            bar=bar,
        )
    binary_steps, steps = amount(5, 2), amount(100, 5)
    rows["carlini_wagner"] = Row(
        title=f"C&W L2, {binary_steps} × {steps}",
        network="standard",
        norm="l2",
        attack=CarliniWagner(binary_steps=binary_steps, steps=steps, rate=0.1, initial_weight=1e-2),
        rivals=_without(
            "ART",
            partial(
                libraries.carlini_wagner,
                binary_steps=binary_steps,
                steps=steps,
                step=0.1,
                constant=1e-2,
            ),
        ),
        images=images,
        rounds=3,
        bar=1.8,
    )
    steps = amount(80, 10)
    rows["ddn"] = Row(
        title=f"DDN, {steps} steps",
        network="standard",
        norm="l2",
        attack=DDN(steps=steps),
        rivals=partial(libraries.ddn, steps=steps),
        images=images,
        bar=1.3,
    )
    steps = amount(300, 20)
    rows["boundary"] = Row(
        title=f"Boundary, {steps} steps",
        network="standard",
        norm="l2",
        attack=Boundary(steps=steps),
        rivals=partial(libraries.boundary, steps=steps),
        images=images,
        rounds=3,
        bar=1.8,
    )
    queries = amount(500, 20)
    for batch in (128, 512):
        images = amount(batch, batch // 32)
        rows[f"square_{batch}"] = fixed_budget(
            title=f"Square L∞, {queries} queries, schedule rescaled, {images} images at once",
            attack=Square(queries=queries, rescale_schedule=True),
            rivals=partial(
                libraries.square, norm="linf", epsilon=LINF, queries=queries, rescale=True
            ),
            images=images,
            rounds=3 if batch == 128 else 2,
            bar=1.6,
        )
    images = amount(128, 4)
    steps = amount(100, 5)
    common = {"norm": "linf", "epsilon": LINF, "steps": steps}
    for name, loss, theirs in (("CE", "cross_entropy", "ce"), ("DLR", "dlr", "dlr")):
        rows[f"apgd_{theirs}"] = fixed_budget(
            title=f"APGD-{name} L∞, {steps} steps",
            attack=APGD(steps=steps, loss=loss),
            rivals=partial(libraries.apgd, **common, loss=theirs),
            images=images,
            rounds=3,
            bar=1.0,
            floor=1.08,
        )
    images = amount(64, 4)
    rows["apgd_t"] = fixed_budget(
        title=f"APGD-T L∞, 9 × {steps} steps",
        attack=APGD(steps=steps, loss="dlr", targets=9),
        rivals=partial(libraries.apgd_targeted, **common, targets=9),
        images=images,
        rounds=3,
        bar=1.0,
        floor=1.08,
    )
    rows["fab_t"] = fixed_budget(
        title=f"FAB-T L∞, 9 × {steps} steps",
        attack=FAB(steps=steps, targets=9, stop_within=True),
        rivals=partial(libraries.fab, **common, targets=9),
        images=images,
        rounds=2,
        bar=2.0,
    )
    queries = amount(5000, 20)
    # 250 images are the batch that pyautoattack takes by itself.
    for images, rounds in ((32, 2), (250, 1)):
        batch = amount(images, images // 16)
        rows[f"autoattack_{images}"] = fixed_budget(
            title=f"AutoAttack standard, {steps} steps, {queries} queries, {batch} images at once",
            attack=AutoAttack(steps=steps, queries=queries),
            rivals=_single(
                "pyautoattack",
                partial(
                    libraries.autoattack,
                    norm="linf",
                    epsilon=LINF,
                    steps=steps,
                    queries=queries,
                    batch=batch,
                ),
            ),
            images=batch,
            rounds=rounds,
            bar=2.0,
        )
    return rows
