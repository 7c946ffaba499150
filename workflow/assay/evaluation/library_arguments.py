"""The arguments of `evaluate` as it needs them, or an error that names which is unusable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from assay.attacks.attack import Attack
from assay.foundation.errors import AttackError
from assay.foundation.numbers import number

Epsilon = float | str


def usable_arrays(images: Any, labels: Any) -> tuple[Tensor, Tensor]:
    """Copies of images (N, C, H, W) and labels (N,) as tensors, or an error that names which."""
    if isinstance(images, np.ndarray):
        if images.dtype.kind not in "fiub":
            raise wrong_argument("images", f"an array of {images.dtype} holds no images")
        images = torch.from_numpy(np.ascontiguousarray(images))
    if not isinstance(images, Tensor):
        raise wrong_argument(
            "images", f"a {type(images).__name__} is no tensor",
            "pass a float tensor (N, C, H, W) in [0, 1], e.g. torch.stack(images)",
        )  # fmt: skip
    if images.ndim != 4 or not len(images):
        remedy = "add a dimension: images[None]" if images.ndim == 3 else None
        raise wrong_argument("images", f"shape {tuple(images.shape)} is not (N, C, H, W)", remedy)
    if images.shape[1] > 4 and images.shape[3] <= 4:
        raise wrong_argument(
            "images", f"shape {tuple(images.shape)} has its channels last",
            "pass images.permute(0, 3, 1, 2)",
        )  # fmt: skip
    if not isinstance(labels, Tensor):
        try:
            labels = torch.as_tensor(np.asarray(labels))
        except (TypeError, ValueError) as error:
            raise wrong_argument(
                "labels", "they are no numbers", "pass one class 0, 1, ... each"
            ) from error
    if labels.ndim == 2 and len(labels) == len(images):
        single = labels.shape[1] == 1
        raise wrong_argument(
            "labels", f"shape {tuple(labels.shape)} is not one class per image",
            "pass labels.flatten()" if single else "pass labels.argmax(1) of one-hot rows",
        )  # fmt: skip
    if labels.shape != (len(images),):
        raise wrong_argument("labels", f"shape {tuple(labels.shape)} for {len(images)} images")
    return images.detach().clone(), labels.detach().clone()


def usable_budgets(attacks: Any, epsilons: Any) -> dict[str, list[float]]:
    """The budgets of each attack as numbers, or an error that names the argument."""
    if not isinstance(attacks, Mapping) or not attacks:
        raise wrong_argument(
            "attacks", f"a {type(attacks).__name__} is no mapping from names to attacks",
            "pass for example {'pgd': PGD()}",
        )  # fmt: skip
    for name, attack in attacks.items():
        if not isinstance(attack, Attack):
            what = getattr(attack, "__name__", None) or repr(attack)
            remedy = f"pass {what}()" if isinstance(attack, type) else "see attack_named"
            raise wrong_argument("attacks", f"'{name}': {what} is no attack", remedy)
    if isinstance(epsilons, Mapping):
        for name in epsilons:
            if name not in attacks:
                raise wrong_argument(
                    "epsilons", f"there is no attack '{name}'", f"use {', '.join(attacks)}"
                )
        for name in attacks:
            if name not in epsilons:
                raise wrong_argument(
                    "epsilons", f"no budget is given for '{name}'", f"add '{name}': [...]"
                )
    budgets = {}
    for name in attacks:
        given = epsilons[name] if isinstance(epsilons, Mapping) else epsilons
        several = isinstance(given, Sequence | np.ndarray | Tensor) and not isinstance(given, str)
        several = several and getattr(given, "ndim", 1) == 1
        budgets[name] = [
            number(value, "argument 'epsilons'", AttackError)
            for value in (given if several else [given])
        ]
        if not budgets[name]:
            raise wrong_argument("epsilons", "no budget is given")
        if min(budgets[name]) < 0:
            raise wrong_argument(
                "epsilons", f"{min(budgets[name])} is not a budget", "use numbers >= 0"
            )
    return budgets


def usable_shape(predicted: Tensor, n: int) -> int:
    """K of logits (n, K), or an error that states what the model returned instead."""
    if predicted.ndim == 1 or predicted.shape == (n, 1):
        raise wrong_argument(
            "model", f"it returned one number per image, {tuple(predicted.shape)}",
            "return two logits, e.g. torch.stack([torch.zeros_like(z), z], dim=1)",
        )  # fmt: skip
    if predicted.ndim != 2 or len(predicted) != n or predicted.is_complex():
        raise wrong_argument(
            "model", f"it returned {predicted.dtype} {tuple(predicted.shape)} for {n} images",
            f"return logits ({n}, K)",
        )  # fmt: skip
    return predicted.shape[1]


def wrong_argument(argument: str, what: str, remedy: str | None = None) -> AttackError:
    return AttackError(what, where=f"argument '{argument}'", remedy=remedy)
