"""Public attack libraries behind one call: ``(images, labels) -> images``, at a given budget.

Each function is an attack and returns the libraries that have it. Minimal-norm attacks return the
closest misclassified image found, or the clean image. secml-torch also wraps Foolbox and adv-lib.
Those two are called directly. Of secml-torch, only its native attacks are called.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import partial

import foolbox
import numpy as np

# Imported before adv-lib: it puts a substitute where visdom, a server for plots, is not installed.
import secmlt.adv.evasion  # noqa: F401
import torch
import torchattacks
from adapters import (
    BATCH,
    SEED,
    Baseline,
    by_adv_lib,
    by_art,
    by_autoattack_code,
    by_foolbox,
    by_secml,
    by_torchattacks,
    seeded,
)
from adv_lib import attacks as adv
from art.attacks.evasion import (
    BoundaryAttack,
    CarliniL2Method,
    DeepFool,
    FastGradientMethod,
    PixelAttack,
    ProjectedGradientDescent,
    SquareAttack,
)
from pyautoattack import AutoAttack
from pyautoattack import square as pyautoattack_square
from pyautoattack.autopgd_base import APGDAttack, APGDAttack_targeted
from pyautoattack.fab_pt import FABAttack_PT
from secmlt.adv.backends import Backends
from secmlt.adv.evasion.ddn import DDN as SecmlDDN
from secmlt.adv.evasion.pgd import PGD as SecmlPGD
from torch import Tensor, nn

PYAUTOATTACK_NORM = {"linf": "Linf", "l2": "L2"}
NUMBER = {"linf": float("inf"), "l2": 2.0}
# ART fixes its population: 399 members for the three variables of one grey pixel.
POPULATION, GENERATIONS = 399, 10


def fgsm(model: nn.Module, epsilon: float) -> dict[str, Baseline]:
    """adv-lib has none. One step of its PGD evaluates and returns the image before the step."""
    return {
        "torchattacks": by_torchattacks(torchattacks.FGSM(model, eps=epsilon)),
        "foolbox": by_foolbox(
            model, foolbox.attacks.LinfFastGradientAttack(random_start=False), epsilon
        ),
        "ART": by_art(model, lambda a: FastGradientMethod(a, eps=epsilon, batch_size=BATCH)),
    }


def pgd(
    model: nn.Module,
    norm: str,
    epsilon: float,
    *,
    steps: int,
    step: float,
    random_start: bool = True,
) -> dict[str, Baseline]:
    common = {"eps": epsilon, "alpha": step, "steps": steps, "random_start": random_start}
    if norm == "linf":
        ours, theirs, number = torchattacks.PGD, foolbox.attacks.LinfPGD, np.inf
    else:
        ours, theirs, number = torchattacks.PGDL2, foolbox.attacks.L2PGD, 2
    runs = {
        "torchattacks": by_torchattacks(ours(model, **common)),
        "foolbox": by_foolbox(
            model, theirs(abs_stepsize=step, steps=steps, random_start=random_start), epsilon
        ),
        "ART": by_art(
            model,
            lambda a: ProjectedGradientDescent(
                a,
                norm=number,
                eps=epsilon,
                eps_step=step,
                max_iter=steps,
                num_random_init=int(random_start),
                batch_size=BATCH,
                verbose=False,
            ),
        ),
    }
    runs["secml-torch"] = by_secml(
        model,
        partial(
            SecmlPGD,
            perturbation_model=norm,
            epsilon=epsilon,
            num_steps=steps,
            step_size=step,
            random_start=random_start,
            backend=Backends.NATIVE,
        ),
    )
    if norm == "linf":
        attack = partial(
            adv.pgd_linf,
            model,
            ε=epsilon,
            steps=steps,
            absolute_step_size=step,
            random_init=random_start,
        )
        runs["adv-lib"] = by_adv_lib(attack)
    return runs


def deepfool(model: nn.Module, norm: str, *, steps: int) -> dict[str, Baseline]:
    """torchattacks and ART have L2 only. torchattacks attacks one image at a time."""
    advlib = by_adv_lib(partial(adv.df, model, steps=steps, norm=NUMBER[norm]))
    if norm == "linf":
        attack = foolbox.attacks.LinfDeepFoolAttack(steps=steps)
        return {"foolbox": by_foolbox(model, attack, None), "adv-lib": advlib}
    return {
        "torchattacks": by_torchattacks(torchattacks.DeepFool(model, steps=steps)),
        "foolbox": by_foolbox(model, foolbox.attacks.L2DeepFoolAttack(steps=steps), None),
        "ART": by_art(
            model,
            lambda a: DeepFool(a, max_iter=steps, epsilon=0.02, batch_size=BATCH, verbose=False),
        ),
        "adv-lib": advlib,
    }


def carlini_wagner(
    model: nn.Module, *, binary_steps: int, steps: int, step: float, constant: float
) -> dict[str, Baseline]:
    """Foolbox's is `foolbox_carlini_wagner`, with the clean images where it found nothing."""
    found_by_foolbox = foolbox_carlini_wagner(
        model, binary_steps=binary_steps, steps=steps, step=step, constant=constant
    )

    def run(x: Tensor, y: Tensor) -> Tensor:
        found = found_by_foolbox(x, y)
        return torch.where(found.flatten(1).any(dim=1)[:, None, None, None], found, x)

    return {
        "foolbox": replace(found_by_foolbox, run=run),
        "adv-lib": by_adv_lib(
            partial(
                adv.carlini_wagner_l2,
                model,
                learning_rate=step,
                initial_const=constant,
                binary_search_steps=binary_steps,
                max_iterations=steps,
            )
        ),
        "ART": by_art(
            model,
            lambda a: CarliniL2Method(
                a,
                binary_search_steps=binary_steps,
                max_iter=steps,
                learning_rate=step,
                initial_const=constant,
                batch_size=BATCH,
                verbose=False,
            ),
        ),
    }


def foolbox_carlini_wagner(
    model: nn.Module, *, binary_steps: int, steps: int, step: float, constant: float
) -> Baseline:
    """Foolbox's C&W returns black images where it found nothing.

    If the network misclassifies a black image, Foolbox counts it as a success.
    """
    return by_foolbox(
        model,
        foolbox.attacks.L2CarliniWagnerAttack(
            binary_search_steps=binary_steps, steps=steps, stepsize=step, initial_const=constant
        ),
        None,
    )


def ddn(model: nn.Module, *, steps: int) -> dict[str, Baseline]:
    return {
        "foolbox": by_foolbox(model, foolbox.attacks.DDNAttack(steps=steps), None),
        # Without the rounding to 256 grey levels that it does by default and nobody else does.
        "adv-lib": by_adv_lib(partial(adv.ddn, model, steps=steps, levels=None)),
        "secml-torch": by_secml(
            model, partial(SecmlDDN, num_steps=steps, eps_init=1.0, backend=Backends.NATIVE)
        ),
    }


def boundary(model: nn.Module, *, steps: int) -> dict[str, Baseline]:
    """Foolbox also searches for a start: the line search takes up to 51 queries per image.

    ART counts up to 40 queries as one step.
    """
    return {
        "foolbox": by_foolbox(model, foolbox.attacks.BoundaryAttack(steps=steps), None),
        "ART": by_art(
            model,
            lambda a: BoundaryAttack(
                a, targeted=False, max_iter=max(1, steps // 40), verbose=False
            ),
        ),
    }


def square(
    model: nn.Module,
    norm: str,
    epsilon: float,
    *,
    queries: int,
    rescale: bool = False,
    seed: int = SEED,
) -> dict[str, Baseline]:
    """ART always rescales the schedule, and it repeats queries with known results."""
    name = PYAUTOATTACK_NORM[norm]
    return {
        "pyautoattack": by_autoattack_code(
            pyautoattack_square.SquareAttack(
                model,
                norm=name,
                eps=epsilon,
                n_queries=queries,
                resc_schedule=rescale,
                seed=seed,
                device="cpu",
            ).perturb
        ),
        "torchattacks": by_autoattack_code(
            torchattacks.Square(
                model,
                norm=name,
                eps=epsilon,
                n_queries=queries,
                resc_schedule=rescale,
                seed=seed,
            )
        ),
        "ART": by_art(
            model,
            lambda a: SquareAttack(
                a,
                norm=np.inf if norm == "linf" else 2,
                eps=epsilon,
                max_iter=queries,
                batch_size=BATCH,
                verbose=False,
            ),
        ),
    }


def apgd(
    model: nn.Module, norm: str, epsilon: float, *, steps: int, loss: str
) -> dict[str, Baseline]:
    """`loss`: ``ce``, ``dlr``."""
    name = PYAUTOATTACK_NORM[norm]
    return {
        "pyautoattack": by_autoattack_code(
            APGDAttack(
                model,
                n_iter=steps,
                norm=name,
                eps=epsilon,
                seed=SEED,
                loss=loss,
                device="cpu",
                logger=logging.getLogger("auto-attack"),
            ).perturb
        ),
        "torchattacks": by_autoattack_code(
            torchattacks.APGD(model, norm=name, eps=epsilon, steps=steps, seed=SEED, loss=loss)
        ),
        "adv-lib": by_adv_lib(
            partial(
                adv.apgd, model, eps=epsilon, norm=NUMBER[norm], n_iter=steps, loss_function=loss
            )
        ),
    }


def apgd_targeted(
    model: nn.Module, norm: str, epsilon: float, *, steps: int, targets: int
) -> dict[str, Baseline]:
    name = PYAUTOATTACK_NORM[norm]
    return {
        "pyautoattack": by_autoattack_code(
            APGDAttack_targeted(
                model,
                n_iter=steps,
                norm=name,
                eps=epsilon,
                seed=SEED,
                n_target_classes=targets,
                device="cpu",
                logger=logging.getLogger("auto-attack"),
            ).perturb
        ),
        "torchattacks": by_autoattack_code(
            torchattacks.APGDT(
                model, norm=name, eps=epsilon, steps=steps, seed=SEED, n_classes=targets + 1
            )
        ),
        "adv-lib": by_adv_lib(
            partial(
                adv.apgd_targeted,
                model,
                eps=epsilon,
                norm=NUMBER[norm],
                n_iter=steps,
                num_targets=targets,
            )
        ),
    }


def fab(
    model: nn.Module, norm: str, epsilon: float, *, steps: int, targets: int | None
) -> dict[str, Baseline]:
    """`targets` None: untargeted. Success within `epsilon` ends the search for an image.

    adv-lib has no such radius. It continues to search for the closest image.
    """
    name = PYAUTOATTACK_NORM[norm]
    return {
        "pyautoattack": by_autoattack_code(
            FABAttack_PT(
                model,
                norm=name,
                n_iter=steps,
                eps=epsilon,
                seed=SEED,
                targeted=targets is not None,
                n_target_classes=targets or 9,
                device="cpu",
            ).perturb
        ),
        "torchattacks": by_autoattack_code(
            torchattacks.FAB(
                model,
                norm=name,
                eps=epsilon,
                steps=steps,
                seed=SEED,
                multi_targeted=targets is not None,
                n_classes=(targets or 9) + 1,
            )
        ),
        "adv-lib": by_adv_lib(
            partial(
                adv.fab,
                model,
                norm=NUMBER[norm],
                n_iter=steps,
                restarts=targets,
                targeted_restarts=targets is not None,
            )
        ),
    }


def fab_closest(
    model: nn.Module, norm: str, *, steps: int, targets: int | None
) -> dict[str, Baseline]:
    """pyautoattack's FAB without a budget. Its `perturb` skips targets after a success."""
    attack = FABAttack_PT(
        model, norm=PYAUTOATTACK_NORM[norm], n_iter=steps, seed=SEED, device="cpu"
    )

    def run(x: Tensor, y: Tensor) -> Tensor:
        if targets is None:
            return attack.attack_single_run(x, y)
        closest, distance = x.clone(), torch.full((len(x),), torch.inf)
        for attack.target_class in range(2, targets + 2):
            found = attack.attack_single_run(x, y, is_targeted=True)
            change = (found - x).flatten(1)
            length = change.abs().amax(1) if norm == "linf" else change.norm(dim=1)
            better = (length > 0) & (length < distance)
            closest[better], distance[better] = found[better], length[better]
        return closest

    return {"pyautoattack": by_autoattack_code(run)}


def autoattack(
    model: nn.Module,
    norm: str,
    epsilon: float,
    *,
    steps: int = 100,
    queries: int = 5000,
    attacks: list[str] | None = None,
    batch: int = BATCH,
) -> Baseline:
    """pyautoattack's standard version, or some of its attacks. The budget can be reduced."""
    ensemble = AutoAttack(model, norm=PYAUTOATTACK_NORM[norm], eps=epsilon, seed=SEED)
    for member in (ensemble.apgd, ensemble.apgd_targeted):
        # The check points, too, follow from the number of steps, but only in its constructor.
        fresh = APGDAttack(model, eps=epsilon, n_iter=steps)
        for name in ("n_iter", "n_iter_2", "n_iter_min", "size_decr"):
            setattr(member, name, getattr(fresh, name))
    ensemble.fab.n_iter = steps
    ensemble.square.n_queries = queries
    ensemble.attacks_to_run = attacks or ensemble.attacks_to_run

    def run(x: Tensor, y: Tensor) -> Tensor:
        images, _ = ensemble.run_standard_evaluation(x, y, batch_size=batch)
        return images

    return Baseline(
        seeded(run),
        f"{batch} images at once; a pass over the clean images and one after each attack",
        tells=True,
    )


def one_pixel(model: nn.Module) -> dict[str, Baseline]:
    return {
        "torchattacks": by_torchattacks(
            torchattacks.OnePixel(
                model, pixels=1, steps=GENERATIONS, popsize=POPULATION, inf_batch=BATCH
            )
        ),
        "ART": by_art(model, lambda a: PixelAttack(a, th=1, es=1, max_iter=GENERATIONS)),
    }
