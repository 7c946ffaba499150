"""Whether a generative classifier's importance samples suffice (diagnostic D34)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from assay.evaluation.trained import on_device
from assay.foundation.errors import ModelError
from assay.foundation.progress import progress
from assay.foundation.seeds import seed_for
from assay.models.base import Classifier
from assay.models.latent import effective_share


def importance_health(
    model: Classifier,
    images: np.ndarray,
    labels: np.ndarray,
    indices: np.ndarray,
    *,
    device: torch.device | str,
    seed: int,
    sweep: Sequence[int] = (1, 10, 100),
) -> dict[str, np.ndarray]:
    """Effective sample sizes, and what more or fewer importance samples estimate.

    The estimates of one image are nested: those of n samples use the first n of the largest number.

    Args:
        model: that decides by importance sampling; put into evaluation mode.
        images: (N, C, H, W) uint8, memory-mapped or not.
        labels: (N,) classes.
        indices: (M,) which of them.
        device: where to compute.
        seed: of the samples.
        sweep: S numbers of samples, at least 1 each.

    Returns:
        ``per_decision`` () and ``sweep`` (S,), int64: how many samples a decision takes, and which
        numbers were tried.
        ``effective`` (M,): the effective sample size of the decided class at `samples`, as a share
        of it in (0, 1]. For each number tried: ``share`` (S, M), the same at that number; and in
        nats ``log_px`` (S, M) estimates of log p(x),
        ``log_pxy`` (S, M) of log p(x, y) at the label, and ``prediction`` (S, M) int64, the
        decision. ``labels`` (M,) int64.

    Raises:
        ModelError: the model takes no importance samples.
    """
    if not hasattr(model, "importance_terms"):
        raise ModelError("the model takes no importance samples", where=type(model).__name__)
    model = model.to(device).eval().requires_grad_(False)
    samples = int(getattr(model, "samples", 1))
    most = max(*sweep, samples)
    generator = torch.Generator(device).manual_seed(seed_for("importance", seed))
    truth = torch.from_numpy(labels[indices].astype(np.int64)).to(device)
    parts = np.array_split(np.arange(len(indices)), max(1, -(-len(indices) // model.max_batch)))
    found: dict[str, list[Tensor]] = {}
    for part in progress(parts, desc="importance", unit="batch"):
        pixels = on_device(images[indices[part]], device)
        terms = model.importance_terms(pixels, most, generator)
        for name, value in _estimates(terms, truth[part], samples, sweep).items():
            found.setdefault(name, []).append(value.cpu())
    return {
        "per_decision": np.int64(samples),
        "sweep": np.asarray(sweep, np.int64),
        "labels": labels[indices].astype(np.int64),
        **{name: torch.cat(values, dim=-1).numpy() for name, values in found.items()},
    }


def _estimates(
    terms: Tensor, labels: Tensor, samples: int, sweep: Sequence[int]
) -> dict[str, Tensor]:
    """Of terms (n, B, K) and labels (B,): what `importance_health` returns per image."""
    first = terms[:samples]
    decided = first.logsumexp(dim=0).argmax(dim=1).expand(samples, -1)[..., None]
    joint = torch.stack([terms[:n].logsumexp(dim=0) - math.log(n) for n in sweep])
    own = labels.expand(len(sweep), -1)[..., None]
    return {
        "effective": effective_share(first.gather(2, decided).squeeze(2)),
        "share": torch.stack([_share(terms[:n], joint[s]) for s, n in enumerate(sweep)]),
        "log_px": joint.logsumexp(dim=2),
        "log_pxy": joint.gather(2, own).squeeze(2),
        "prediction": joint.argmax(dim=2),
    }


def _share(terms: Tensor, joint: Tensor) -> Tensor:
    """(B,) the effective share of terms (n, B, K) for the class that joint (B, K) decides on."""
    decided = joint.argmax(dim=1).expand(len(terms), -1)[..., None]
    return effective_share(terms.gather(2, decided).squeeze(2))
