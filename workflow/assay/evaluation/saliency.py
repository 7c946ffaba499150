"""Saliency maps of decisions, before and after an attack, and whether they peak at the lesion."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from captum.attr import IntegratedGradients, Saliency
from scipy.ndimage import gaussian_filter
from torch import Tensor

from assay.attacks.attack import Attack
from assay.evaluation.trained import on_device
from assay.foundation.progress import progress
from assay.foundation.seeds import seed_for
from assay.models.base import Classifier

METHODS = ("gradient", "integrated_gradients")
# Points between a black image and the image, at which gradients are taken (Gauss-Legendre).
INTEGRATED_STEPS = 16
# Images of which maps are made, at most, where lesions are known; elsewhere only those shown.
MAPPED_IMAGES = 60
# Smoothing of a map, in pixels of an image of 224 (Rodriguez et al. 2022).
BLUR = 5 / 224


def compute_saliency(
    model: Classifier,
    images: np.ndarray,
    labels: np.ndarray,
    indices: np.ndarray,
    attack: Attack,
    epsilons: Sequence[float],
    *,
    masks: np.ndarray | None = None,
    shown: int = 6,
    device: torch.device | str,
    seed: int,
) -> dict[str, np.ndarray]:
    """Saliency maps, features and decisions of images as they are and attacked at some radii.

    A map is the magnitude of what the pixels contribute to the logit of the decided class, summed
    over channels and smoothed; maps come from captum.

    Args:
        model: a deterministic classifier; put into evaluation mode.
        images: (N, C, H, W) uint8, memory-mapped or not.
        labels: (N,) classes.
        indices: (M,) which of them.
        attack: what perturbs them.
        epsilons: E radii.
        masks: (N, 1, H, W) uint8, 1 inside a lesion, or None.
        shown: how many images' pictures and maps are kept, taken from the classes in turn.
        device: where to compute.
        seed: of the attack.

    Returns:
        With V = 1 + E versions of an image, the unperturbed one first, and the first S of M images
        shown: ``images`` (V, S, C, H, W), ``maps/<method>`` (V, S, H, W), ``predictions`` (V, M),
        ``features`` (V, M, F), ``labels`` (M,), ``samples`` (M,), ``epsilons`` (V,); and with
        masks, of the first :data:`MAPPED_IMAGES` images, where they have a lesion (else NaN),
        ``pointing/<method>`` (V, P): 1 where the map's maximum lies in the lesion,
        ``mass/<method>`` (V, P): the share of the map within it, and ``lesion_share`` (P,): the
        lesion's share of the image, which is what chance finds.
    """
    model = model.to(device).eval().requires_grad_(False)
    indices = _in_turn(indices, labels)
    x = on_device(images[indices], device)
    y = torch.from_numpy(labels[indices].astype(np.int64)).to(device)
    generator = torch.Generator(device).manual_seed(seed_for("saliency", seed))
    found = attack(model.victim(device), x, y, list(epsilons), generator).images
    versions = [x, *found]
    stored: dict[str, list[np.ndarray]] = {}

    def store(name: str, values: Tensor | np.ndarray) -> None:
        stored.setdefault(name, []).append(np.asarray(values))

    saliency_targets = shown if masks is None else max(shown, MAPPED_IMAGES)
    lesions = None if masks is None else masks[indices[:saliency_targets], 0].astype(bool)
    for version in progress(versions, desc="saliency", unit="version"):
        predictions, features = _looked(model, version)
        store("images", version[:shown].cpu())
        store("predictions", predictions.cpu())
        store("features", features.cpu().half())
        for method in METHODS:
            maps = saliency_maps(
                model, version[:saliency_targets], predictions[:saliency_targets], method
            )
            store(f"maps/{method}", maps[:shown].astype(np.float16))
            if lesions is not None:
                pointing, mass = at_lesions(maps, lesions)
                store(f"pointing/{method}", pointing)
                store(f"mass/{method}", mass)
    arrays = {name: np.stack(values) for name, values in stored.items()}
    if lesions is not None:
        share = lesions.mean(axis=(1, 2))
        arrays["lesion_share"] = np.where(share > 0, share, np.nan)
    return {
        **arrays,
        "labels": labels[indices],
        "samples": indices,
        "epsilons": np.array([0.0, *epsilons]),
    }


def saliency_maps(model: Classifier, images: Tensor, classes: Tensor, method: str) -> np.ndarray:
    """Smoothed maps of what pixels contribute to the logits of `classes`.

    Args:
        model: frozen, in evaluation mode.
        images: (B, C, H, W) in [0, 1].
        classes: (B,) whose logits are differentiated.
        method: ``gradient`` (Simonyan et al. 2014) or ``integrated_gradients`` (Sundararajan et al.
            2017, from a black image).

    Returns:
        (B, H, W) float, at least 0.
    """
    parts = []
    for piece, target in zip(
        images.split(model.max_batch), classes.split(model.max_batch), strict=True
    ):
        leaf = piece.detach().clone().requires_grad_()
        if method == "gradient":
            values = Saliency(model.logits).attribute(leaf, target=target)
        else:
            values = IntegratedGradients(model.logits).attribute(
                leaf, target=target, n_steps=INTEGRATED_STEPS, internal_batch_size=model.max_batch
            )
        parts.append(values.detach().abs().sum(dim=1).cpu())
    maps = torch.cat(parts).numpy()
    return gaussian_filter(maps, sigma=(0, BLUR * maps.shape[1], BLUR * maps.shape[2]))


def at_lesions(maps: np.ndarray, lesions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Whether maps (B, H, W) peak inside lesions (B, H, W) bool, and their share inside.

    The pointing game of Zhang et al. 2016 without its tolerance, and the energy-based one of Wang
    et al. 2020.

    Returns:
        (B,) each, NaN where an image has no lesion; a map of zeros points nowhere.
    """
    flat, inside = maps.reshape(len(maps), -1), lesions.reshape(len(maps), -1)
    total = flat.sum(axis=1)
    peak = flat.argmax(axis=1)
    hit = np.where(total > 0, inside[np.arange(len(flat)), peak], False).astype(float)
    mass = np.divide((flat * inside).sum(axis=1), total, out=np.zeros(len(flat)), where=total > 0)
    there = inside.any(axis=1)
    return np.where(there, hit, np.nan), np.where(there, mass, np.nan)


@torch.no_grad()
def _looked(model: Classifier, images: Tensor) -> tuple[Tensor, Tensor]:
    """Decisions (B,) and features (B, F)."""
    pieces = images.split(model.max_batch)
    logits = torch.cat([model.logits(piece) for piece in pieces])
    return logits.argmax(dim=1), torch.cat([model.features(piece).float() for piece in pieces])


def _in_turn(indices: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """`indices` with the classes in turn, so that the first few show all of them."""
    own = labels[indices]
    place = np.empty(len(indices), int)
    for label in np.unique(own):
        place[own == label] = np.arange((own == label).sum())
    return indices[np.lexsort((own, place))]
