"""Small models whose robustness is known on paper, and the attacks that the tests go through."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from assay.attacks.apgd import APGD
from assay.attacks.attack import Attack
from assay.attacks.autoattack import AutoAttack
from assay.attacks.boundary import Boundary
from assay.attacks.carlini_wagner import CarliniWagner
from assay.attacks.catalogue import make_attack, read_catalogue
from assay.attacks.clean import Clean
from assay.attacks.corruptions import (
    JPEG,
    Brightness,
    BrightnessStandard,
    Contrast,
    ContrastStandard,
    DefocusBlur,
    Gamma,
    GaussianNoise,
    GaussianNoiseStandard,
    ImpulseNoise,
    MotionBlur,
    Pixelate,
    Rotation,
    ShotNoise,
    Translation,
)
from assay.attacks.ddn import DDN
from assay.attacks.deepfool import DeepFool
from assay.attacks.fab import FAB
from assay.attacks.fgsm import FGSM
from assay.attacks.lbfgs import LBFGS
from assay.attacks.one_pixel import OnePixel
from assay.attacks.pgd import PGD
from assay.attacks.random_search import GaussianNoiseSearch, RandomDirection
from assay.attacks.score_based import ScoreBasedPGD
from assay.attacks.square import Square
from assay.attacks.victim import Victim

SHAPE = (1, 6, 6)


class Linear(nn.Module):
    """Logits (0, w . (x - 1/2)): the boundary is |w . (x - 1/2)| / |w| away, in the dual norm."""

    def __init__(self, shape: tuple[int, int, int] = SHAPE, seed: int = 0):
        super().__init__()
        weight = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
        weight[:, 2, 3] = 4.0  # one pixel decides much
        self.weight = nn.Parameter(weight + 0.3)
        self.dropout = nn.Dropout(0.5)  # tells training mode from evaluation

    def margin(self, images: Tensor) -> Tensor:
        return ((self.dropout(images) - 0.5) * self.weight).flatten(1).sum(1)

    def forward(self, images: Tensor) -> Tensor:
        margin = self.margin(images)
        return torch.stack([torch.zeros_like(margin), margin], dim=1)


class Band(nn.Module):
    """Quadratic in an image's mean m: class 0 where |m - 1/2| < 0.05, class 1 on both sides."""

    def forward(self, images: Tensor) -> Tensor:
        distance = images.flatten(1).mean(1) - 0.5
        return torch.stack([torch.zeros_like(distance), distance**2 - 0.05**2], dim=1)


def images_for(module: nn.Module, n: int = 48, shape=SHAPE, seed: int = 1):
    """Images well inside [0, 1] and what the module makes of them: (n, C, H, W), (n,)."""
    images = 0.3 + 0.4 * torch.rand((n, *shape), generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        return images, module(images).argmax(1)


def victim_of(module: nn.Module, **options) -> Victim:
    return Victim.from_module(module.eval(), classes=2, shape=SHAPE, **options)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@dataclass(frozen=True)
class Case:
    """An attack, budgets to try it at, and one at which the linear toy's accuracy must drop."""

    attack: Attack
    epsilons: tuple[float, ...]
    breaks_at: float | None
    random: bool = False


# Differential evolution as scipy sets it.
SCIPY = {"strategy": "best1bin", "weight": (0.5, 1.0), "crossover": 0.7}
CASES = {
    "clean": Case(Clean(), (0.0,), None),
    "fgsm": Case(FGSM(), (0.0, 0.02, 0.1), 0.1),
    "fgsm_margin": Case(FGSM(loss="margin"), (0.0, 0.1), 0.1),
    "fgsm_as_published": Case(FGSM(loss="training", as_published=True), (0.0, 0.1), 0.1),
    "pgd_linf": Case(PGD(steps=5, restarts=3), (0.0, 0.02, 0.1), 0.1, random=True),
    "pgd_linf_margin": Case(PGD(steps=5, loss="margin"), (0.0, 0.1), 0.1, random=True),
    "pgd_l2": Case(PGD(norm="l2", steps=5, restarts=2), (0.0, 0.1, 0.5), 0.5, random=True),
    "pgd_as_published": Case(
        PGD(steps=12, step=0.01, random_start=False, loss="training", as_published=True),
        (0.0, 0.1),
        0.1,
    ),
    "one_pixel": Case(OnePixel(population=16, generations=5), (0, 1, 3), 1, random=True),
    "one_pixel_probability": Case(
        OnePixel(
            population=16,
            generations=5,
            **SCIPY,
            objective="probability",
        ),
        (0, 1),
        1,
        random=True,
    ),
    "one_pixel_as_published": Case(
        OnePixel(
            population=9,
            generations=8,
            **SCIPY,
            objective="inverted",
            tolerance=0.01,
            as_published=True,
        ),
        (0, 1),
        None,
        random=True,
    ),
    "brightness": Case(Brightness(), (1.0, 1.3, 2.0), 1.3),
    "contrast": Case(Contrast(), (1.0, 2.0, 4.0), 4.0),
    "brightness_standard": Case(BrightnessStandard(), (0, 1, 5), 5),
    "contrast_standard": Case(ContrastStandard(), (0, 1, 5), 5),
    "gaussian_noise": Case(GaussianNoise(), (0.0, 0.1, 0.3), 0.3, random=True),
    "fgsm_runner_up": Case(FGSM(target="runner_up"), (0.0, 0.1), 0.1),
    "fgsm_dlr": Case(FGSM(loss="dlr"), (0.0, 0.1), 0.1),
    "bim": Case(PGD(steps=5, random_start=False, relative_step=1.0), (0.0, 0.02, 0.1), 0.1),
    "momentum_pgd": Case(
        PGD(steps=5, random_start=False, relative_step=1.0, momentum=1.0), (0.0, 0.1), 0.1
    ),
    "cw_linf": Case(PGD(steps=5, loss="margin", confidence=50.0), (0.0, 0.1), 0.1, random=True),
    "pgd_least_likely": Case(
        PGD(steps=5, restarts=2, target="least_likely"), (0.0, 0.02, 0.1), 0.1, random=True
    ),
    "pgd_eot": Case(PGD(steps=5, eot_samples=3), (0.0, 0.1), 0.1, random=True),
    "gaussian_noise_standard": Case(GaussianNoiseStandard(), (0, 1, 5), 5, random=True),
    "shot_noise": Case(ShotNoise(), (0, 1, 5), 5, random=True),
    "impulse_noise": Case(ImpulseNoise(), (0, 1, 5), 5, random=True),
    "defocus_blur": Case(DefocusBlur(), (0, 1, 5), 5),
    "motion_blur": Case(MotionBlur(), (0, 1, 5), 5, random=True),
    "gamma": Case(Gamma(), (0, 1, 5), 5),
    "jpeg": Case(JPEG(), (0, 1, 5), 5),
    "pixelate": Case(Pixelate(), (0, 1, 5), 5),
    "rotation": Case(Rotation(), (0, 1, 5), 5, random=True),
    "translation": Case(Translation(), (0, 1, 5), 5, random=True),
    "apgd_ce": Case(APGD(steps=10, restarts=2), (0.0, 0.02, 0.1), 0.1, random=True),
    "apgd_l2": Case(APGD(norm="l2", steps=10, loss="margin"), (0.0, 0.1, 0.5), 0.5, random=True),
    "apgd_t": Case(APGD(steps=10, loss="dlr", targets=9), (0.0, 0.1), 0.1, random=True),
    "fab_linf": Case(FAB(steps=10), (0.0, 0.02, 0.1), 0.1),
    "fab_l2": Case(FAB(norm="l2", steps=10), (0.0, 0.1, 0.5), 0.5),
    "fab_t": Case(FAB(steps=10, targets=9), (0.0, 0.1), 0.1),
    "autoattack": Case(AutoAttack(steps=5, queries=20), (0.0, 0.02, 0.1), 0.1, random=True),
    "autoattack_rand": Case(
        AutoAttack(version="rand", norm="l2", steps=5, expectation=2), (0.0, 0.5), 0.5, random=True
    ),
    "deepfool_linf": Case(DeepFool(), (0.0, 0.02, 0.1), 0.1),
    "deepfool_l2": Case(DeepFool(norm="l2"), (0.0, 0.1, 0.5), 0.5),
    "ddn": Case(DDN(steps=40), (0.0, 0.1, 0.5), 0.5),
    "ddn_least_likely": Case(DDN(steps=40, target="least_likely"), (0.0, 0.5), 0.5),
    "carlini_wagner": Case(CarliniWagner(steps=40), (0.0, 0.1, 0.5), 0.5),
    "carlini_wagner_runner_up": Case(CarliniWagner(steps=40, target="runner_up"), (0.0, 0.5), 0.5),
    "lbfgs": Case(LBFGS(), (0.0, 0.1, 0.5), 0.5),
    "lbfgs_runner_up": Case(LBFGS(target="runner_up"), (0.0, 0.5), 0.5),
    "square_linf": Case(Square(queries=60, restarts=2), (0.0, 0.02, 0.1), 0.1, random=True),
    "square_l2": Case(Square(norm="l2", queries=60), (0.0, 0.1, 0.5), 0.5, random=True),
    "square_least_likely": Case(
        Square(queries=60, target="least_likely"), (0.0, 0.1), 0.1, random=True
    ),
    "boundary": Case(Boundary(steps=150), (0.0, 0.3, 0.5), 0.5, random=True),
    "nes_pgd_linf": Case(ScoreBasedPGD(steps=8, queries=20), (0.0, 0.02, 0.1), 0.1, random=True),
    "nes_pgd_l2": Case(
        ScoreBasedPGD(norm="l2", steps=8, queries=40), (0.0, 0.1, 0.5), 0.5, random=True
    ),
    "spsa_pgd_linf": Case(
        ScoreBasedPGD(estimator="spsa", steps=8, queries=20, smoothing=0.01),
        (0.0, 0.1),
        0.1,
        random=True,
    ),
    "gaussian_noise_search": Case(
        GaussianNoiseSearch(deviations=60), (0.0, 0.5, 2.0), 2.0, random=True
    ),
    "random_direction_linf": Case(
        RandomDirection(directions=50), (0.0, 0.02, 0.1), 0.1, random=True
    ),
    "random_direction_l2": Case(
        RandomDirection(norm="l2", directions=50), (0.0, 0.5), 0.5, random=True
    ),
}

# At which budgets a class of the catalogue is tried that has no case above.
BUDGETS = {"linf": (0.0, 0.02, 0.1), "l2": (0.0, 0.1, 0.5), "l0": (0, 1, 3), "severity": (0, 1, 5)}


def own_cases() -> Iterator[tuple[str, Case]]:
    """A case for each class of the catalogue without one above: its first entry, as it stands."""
    tried = {type(case.attack) for case in CASES.values()}
    for name, entry in read_catalogue().items():
        attack = make_attack(entry)
        # The toys have no reconstructions.
        if type(attack) not in tried and attack.access != "reconstructions":
            tried.add(type(attack))
            budgets = BUDGETS[attack.norm]
            breaks_at = None if entry.get("role") == "control" else budgets[-1]
            yield name, Case(attack, budgets, breaks_at, random=_differs(attack, budgets[-1]))


def _differs(attack: Attack, epsilon: float) -> bool:
    """Whether another generator gives other images."""
    module = Linear().eval()
    images, labels = images_for(module, n=8)
    one, other = (
        attack(victim_of(module), images, labels, [epsilon], generator(seed)).images
        for seed in (0, 1)
    )
    return not torch.equal(one, other)


CASES.update(own_cases())
