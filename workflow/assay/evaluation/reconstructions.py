"""Reconstructions of example images by generative classifiers, and certified radii."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import torch
from torch import Tensor

from assay.evaluation.trained import on_device
from assay.foundation.progress import progress
from assay.foundation.seeds import seed_for
from assay.models.base import Classifier


def certify(
    model: Classifier,
    images: np.ndarray,
    labels: np.ndarray,
    indices: np.ndarray,
    *,
    device: torch.device | str,
    seed: int,
) -> np.ndarray:
    """The certified L2 radius of each image, (M,); 0 where the unperturbed decision is wrong.

    Args:
        model: with a certificate; put into evaluation mode.
        images: (N, C, H, W) uint8, memory-mapped or not.
        labels: (N,) classes.
        indices: (M,) which of them.
        device: where to compute.
        seed: of the noise of a randomised search.

    Raises:
        ModelError: the model has no certificate.
    """
    model = model.to(device).eval().requires_grad_(False)
    parts = np.array_split(indices, max(1, -(-len(indices) // model.max_batch)))
    generator = torch.Generator(device).manual_seed(seed_for("certify", seed))
    radii = []
    for part in progress(parts, desc="certify", unit="batch"):
        truth = torch.from_numpy(labels[part].astype(np.int64)).to(device)
        radii.append(
            model.certified_radius(on_device(images[part], device), truth, generator).cpu()
        )
    return torch.cat(radii).numpy()


def explain(
    model: Classifier,
    examples: Iterable[tuple[str, Mapping[str, np.ndarray]]],
    *,
    device: torch.device | str,
    seed: int,
) -> dict[str, np.ndarray]:
    """Reconstructions of example images by each class, before and after attacks.

    Of several budgets an image is shown at the smallest one that succeeded, or at the largest.

    Args:
        model: with a reconstruction per class; put into evaluation mode.
        examples: names of attacks, each with the arrays of its suite's file of example images.
        device: where to compute.
        seed: of the noise of a randomised search.

    Returns:
        Per attack, m images (before, after) and K classes: ``<attack>/images`` (2, m, C, H, W),
        ``<attack>/reconstructions`` (2, m, K, C, H, W), ``<attack>/log_likelihoods`` (2, m, K),
        ``<attack>/predictions`` (2, m), as the outcomes have them, ``<attack>/labels`` (m,) and
        ``<attack>/epsilons`` (m,).

    Raises:
        ModelError: the model has no reconstruction per class.
    """
    model = model.to(device).eval().requires_grad_(False)
    found = {}
    for attack, stored in examples:
        labels, epsilons = stored["labels"], stored[f"{attack}/epsilons"]
        predicted = stored[f"{attack}/predictions"]
        order = np.argsort(epsilons)
        misclassified = (predicted != labels)[order]
        which = order[
            np.where(misclassified.any(axis=0), misclassified.argmax(axis=0), len(order) - 1)
        ]
        # A cap keeps an attack from some of its suite's images.
        rows = np.flatnonzero(predicted[which, np.arange(len(labels))] >= 0)
        which = which[rows]
        pairs = np.stack([stored["clean/images"][rows], stored[f"{attack}/images"][which, rows]])
        generator = torch.Generator(device).manual_seed(seed_for("explain", attack, seed))
        made = [model.explain(_pixels(images, device), generator) for images in pairs]
        found |= {
            f"{attack}/images": pairs,
            f"{attack}/reconstructions": torch.stack([one for one, _ in made]).half().cpu().numpy(),
            f"{attack}/log_likelihoods": torch.stack([one for _, one in made]).cpu().numpy(),
            f"{attack}/predictions": np.stack(
                [stored["clean/predictions"][0, rows], predicted[which, rows]]
            ),
            f"{attack}/labels": labels[rows],
            f"{attack}/epsilons": epsilons[which],
        }
    return found


def _pixels(images: np.ndarray, device: torch.device | str) -> Tensor:
    return torch.from_numpy(images.astype(np.float32)).to(device)
