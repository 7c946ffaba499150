"""What tests of suites share: entries of attacks, and a run with the settings that they leave."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from assay.attacks.victim import Victim
from assay.evaluation.suite import run_suite

SHAPE, CLASSES = (1, 6, 6), 3


def entry(name: str, implementation: str, epsilons: list[float], **settings: Any) -> dict:
    """A catalogue entry of an attack, as a plan hands it to a suite."""
    return {
        "name": name,
        "implementation": f"assay.attacks.{implementation}",
        "settings": settings,
        "norm": "none" if name == "clean" else "linf",
        "epsilons": epsilons,
        "samples": None,
        "code": name,
    }


CLEAN = entry("clean", "clean:Clean", [0.0])
FGSM = entry("fgsm", "fgsm:FGSM", [0.02, 0.2])
PGD = entry("pgd_linf", "pgd:PGD", [0.02, 0.2], steps=4)


def images_and_labels(victim: Victim, n: int, wrong: int) -> tuple[np.ndarray, np.ndarray]:
    """Random images (n, C, H, W) uint8, and classes (n,) of which the victim gets `wrong` wrong."""
    images = np.random.default_rng(0).integers(0, 256, (n, *SHAPE), dtype=np.uint8)
    pixels = torch.from_numpy(images).float() / 255
    labels = victim.logits(pixels, torch.Generator()).argmax(1).numpy()
    labels[:wrong] = (labels[:wrong] + 1) % CLASSES
    victim.forwards = 0
    return images, labels


def run_on(victim: Victim, data: tuple[np.ndarray, np.ndarray], attacks, **options):
    """`run_suite` on images and labels; `options` replace settings, and name at least `work`."""
    ids = {"dataset": "toy", "split": "kfold_0", "model": "net", "suite": "mixed"}
    settings = {"ids": ids, "indices": np.arange(len(data[1])), "chunk": 16, "repeats": 5,
                "examples": 4, "key": "k", **options}  # fmt: skip
    return run_suite(victim, *data, attacks=attacks, **settings)
