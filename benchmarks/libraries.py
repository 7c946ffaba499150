"""Public attack libraries behind one call: ``(images, labels) -> images``, at a given budget.

A function per attack; it returns the libraries that have the attack. Every run starts from the same
seed. Minimal-norm attacks return the closest broken image found, or the image itself.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from importlib.metadata import version

import foolbox
import numpy as np
import torch
import torchattacks
from art.attacks.evasion import (
    BoundaryAttack,
    CarliniL2Method,
    DeepFool,
    FastGradientMethod,
    PixelAttack,
    ProjectedGradientDescent,
    SquareAttack,
)
from art.estimators.classification import PyTorchClassifier
from pyautoattack import AutoAttack
from pyautoattack import square as pyautoattack_square
from pyautoattack.autopgd_base import APGDAttack, APGDAttack_targeted
from pyautoattack.fab_pt import FABAttack_PT
from torch import Tensor, nn

Run = Callable[[Tensor, Tensor], Tensor]

SEED = 0
BATCH = 128
NAMES = {
    "foolbox": "foolbox",
    "torchattacks": "torchattacks",
    "ART": "adversarial-robustness-toolbox",
    "pyautoattack": "pyautoattack",
}
PYAUTOATTACK_NORM = {"linf": "Linf", "l2": "L2"}
# ART fixes its population: 399 members for the three variables of one grey pixel.
POPULATION, GENERATIONS = 399, 10


def versions() -> str:
    """The libraries with their versions, for a sentence."""
    return ", ".join(f"{name} {version(package)}" for name, package in NAMES.items())


def _seeded(run: Run) -> Run:
    def seeded(x: Tensor, y: Tensor) -> Tensor:
        torch.manual_seed(SEED)
        np.random.seed(SEED)  # noqa: NPY002 - libraries draw from the global state
        return run(x, y).detach()

    return seeded


def _foolbox(model: nn.Module, attack: foolbox.Attack, epsilon: float | None) -> Run:
    """`epsilon` None: the closest broken image."""
    wrapped = foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu")
    logging.getLogger("root").setLevel(logging.ERROR)

    def run(x: Tensor, y: Tensor) -> Tensor:
        _, images, success = attack(wrapped, x, y, epsilons=epsilon)
        # Where its C&W finds nothing it returns black images, which a network may call wrong.
        return images if epsilon else torch.where(success[:, None, None, None], images, x)

    return _seeded(run)


def _art(model: nn.Module, build: Callable[[PyTorchClassifier], object]) -> Run:
    """`build` makes the attack from ART's classifier."""
    classes = next(p for name, p in reversed(list(model.named_parameters()))).shape[0]
    attack = build(
        PyTorchClassifier(
            model,
            loss=nn.CrossEntropyLoss(),
            input_shape=(1, 28, 28),
            nb_classes=classes,
            clip_values=(0.0, 1.0),
            device_type="cpu",
        )
    )

    def run(x: Tensor, y: Tensor) -> Tensor:
        return torch.from_numpy(attack.generate(x.numpy(), y.numpy())).float()

    return _seeded(run)


def fgsm(model: nn.Module, epsilon: float) -> dict[str, Run]:
    return {
        "torchattacks": _seeded(torchattacks.FGSM(model, eps=epsilon)),
        "foolbox": _foolbox(
            model, foolbox.attacks.LinfFastGradientAttack(random_start=False), epsilon
        ),
        "ART": _art(model, lambda a: FastGradientMethod(a, eps=epsilon, batch_size=BATCH)),
    }


def pgd(
    model: nn.Module,
    norm: str,
    epsilon: float,
    *,
    steps: int,
    step: float,
    random_start: bool = True,
) -> dict[str, Run]:
    common = {"eps": epsilon, "alpha": step, "steps": steps, "random_start": random_start}
    if norm == "linf":
        ours, theirs, number = torchattacks.PGD, foolbox.attacks.LinfPGD, np.inf
    else:
        ours, theirs, number = torchattacks.PGDL2, foolbox.attacks.L2PGD, 2
    return {
        "torchattacks": _seeded(ours(model, **common)),
        "foolbox": _foolbox(
            model, theirs(abs_stepsize=step, steps=steps, random_start=random_start), epsilon
        ),
        "ART": _art(
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


def deepfool(model: nn.Module, norm: str, *, steps: int) -> dict[str, Run]:
    """ART's keeps to one image at a time; it is left to tests."""
    if norm == "linf":
        return {"foolbox": _foolbox(model, foolbox.attacks.LinfDeepFoolAttack(steps=steps), None)}
    return {
        "torchattacks": _seeded(torchattacks.DeepFool(model, steps=steps)),
        "foolbox": _foolbox(model, foolbox.attacks.L2DeepFoolAttack(steps=steps), None),
        "ART": _art(
            model,
            lambda a: DeepFool(a, max_iter=steps, epsilon=0.02, batch_size=BATCH, verbose=False),
        ),
    }


def carlini_wagner(
    model: nn.Module, *, binary_steps: int, steps: int, step: float, constant: float
) -> dict[str, Run]:
    """Foolbox's is `foolbox_carlini_wagner`, with the images themselves where it found nothing."""
    found_by_foolbox = foolbox_carlini_wagner(
        model, binary_steps=binary_steps, steps=steps, step=step, constant=constant
    )

    def by_foolbox(x: Tensor, y: Tensor) -> Tensor:
        found = found_by_foolbox(x, y)
        return torch.where(found.flatten(1).any(dim=1)[:, None, None, None], found, x)

    return {
        "foolbox": by_foolbox,
        "ART": _art(
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
) -> Run:
    """It returns black images where it found nothing, and counts those that are wrong as broken."""
    return _foolbox(
        model,
        foolbox.attacks.L2CarliniWagnerAttack(
            binary_search_steps=binary_steps, steps=steps, stepsize=step, initial_const=constant
        ),
        None,
    )


def ddn(model: nn.Module, *, steps: int) -> dict[str, Run]:
    return {"foolbox": _foolbox(model, foolbox.attacks.DDNAttack(steps=steps), None)}


def boundary(model: nn.Module, *, steps: int) -> dict[str, Run]:
    """Foolbox also spends 51 queries on a start; ART counts up to 40 queries as one step."""
    return {
        "foolbox": _foolbox(model, foolbox.attacks.BoundaryAttack(steps=steps), None),
        "ART": _art(
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
) -> dict[str, Run]:
    """ART's always rescales the schedule, and asks several times for what it knows."""
    name = PYAUTOATTACK_NORM[norm]
    return {
        "pyautoattack": _seeded(
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
        "torchattacks": _seeded(
            torchattacks.Square(
                model,
                norm=name,
                eps=epsilon,
                n_queries=queries,
                resc_schedule=rescale,
                seed=seed,
            )
        ),
        "ART": _art(
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


def apgd(model: nn.Module, norm: str, epsilon: float, *, steps: int, loss: str) -> dict[str, Run]:
    """`loss`: ``ce``, ``dlr``."""
    name = PYAUTOATTACK_NORM[norm]
    return {
        "pyautoattack": _seeded(
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
        "torchattacks": _seeded(
            torchattacks.APGD(model, norm=name, eps=epsilon, steps=steps, seed=SEED, loss=loss)
        ),
    }


def apgd_targeted(
    model: nn.Module, norm: str, epsilon: float, *, steps: int, targets: int
) -> dict[str, Run]:
    name = PYAUTOATTACK_NORM[norm]
    return {
        "pyautoattack": _seeded(
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
        "torchattacks": _seeded(
            torchattacks.APGDT(
                model, norm=name, eps=epsilon, steps=steps, seed=SEED, n_classes=targets + 1
            )
        ),
    }


def fab(
    model: nn.Module, norm: str, epsilon: float, *, steps: int, targets: int | None
) -> dict[str, Run]:
    """`targets` None: untargeted. `epsilon` is the ball that ends an image's search."""
    name = PYAUTOATTACK_NORM[norm]
    return {
        "pyautoattack": _seeded(
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
        "torchattacks": _seeded(
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
    }


def fab_closest(model: nn.Module, norm: str, *, steps: int, targets: int | None) -> dict[str, Run]:
    """pyautoattack's FAB without a budget, where `perturb` leaves out targets after a success."""
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

    return {"pyautoattack": _seeded(run)}


def autoattack(
    model: nn.Module,
    norm: str,
    epsilon: float,
    *,
    steps: int = 100,
    queries: int = 5000,
    attacks: list[str] | None = None,
    batch: int = BATCH,
) -> Run:
    """pyautoattack's standard version, or some of its parts, at a budget that may be shortened."""
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

    return _seeded(run)


def one_pixel(model: nn.Module) -> dict[str, Run]:
    return {
        "torchattacks": _seeded(
            torchattacks.OnePixel(
                model, pixels=1, steps=GENERATIONS, popsize=POPULATION, inf_batch=BATCH
            )
        ),
        "ART": _art(model, lambda a: PixelAttack(a, th=1, es=1, max_iter=GENERATIONS)),
    }
