"""Checks of the settings and the arguments of attacks: one line that names what is wrong."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from assay.attacks.victim import Victim
from assay.foundation.errors import AttackError

TARGETS = ("none", "runner_up", "least_likely")


def check_norm(norm: str, name: str, known: Sequence[str] = ("linf", "l2")) -> None:
    """Raises AttackError unless the attack called `name` has the norm."""
    if norm not in known:
        raise bad_setting("norm", f"'{norm}' is not a norm of {name}", f"use {' or '.join(known)}")


def check_target(target: str | int) -> None:
    """Raises AttackError unless `target` is a rule that names a target, or a class.

    Example:
        >>> check_target(1)
        >>> check_target(-1)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        assay.foundation.errors.AttackError: attack setting 'target': -1 is no target class; use ...
    """
    is_class = isinstance(target, int) and not isinstance(target, bool) and target >= 0
    if not is_class and target not in TARGETS:
        raise bad_setting(
            "target",
            f"{target!r} is no target class",
            f"use {', '.join(TARGETS)}, or a class from 0",
        )


def check_views(views: Sequence[str]) -> None:
    """Raises AttackError unless `views` is a list or a tuple of names, at least one.

    Example:
        >>> check_views(())  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        assay.foundation.errors.AttackError: attack setting 'views': () names no view; write a ...
    """
    named = isinstance(views, list | tuple) and all(isinstance(v, str) and v for v in views)
    if not (named and views):
        raise bad_setting(
            "views",
            f"{views!r} names no view",
            "write a list of names such as [base_model], or null for all views",
        )


def check_at_least(least: float, **settings: float) -> None:
    """Raises AttackError where one of an attack's settings is too small.

    Example:
        >>> check_at_least(1, steps=0)
        Traceback (most recent call last):
        assay.foundation.errors.AttackError: attack setting 'steps': 0 is too few; use at least 1
    """
    for name, value in settings.items():
        if value < least:
            raise bad_setting(name, f"{value} is too few", f"use at least {least}")


def check_positive(**settings: float) -> None:
    """Raises AttackError where one of an attack's settings is not above 0."""
    for name, value in settings.items():
        if value <= 0:
            raise bad_setting(name, f"{value} is not positive", "use more than 0")


def bad_setting(name: str, what: str, remedy: str | None = None) -> AttackError:
    """The error for an impossible setting of an attack."""
    return AttackError(what, where=f"attack setting '{name}'", remedy=remedy)


def usable_input(
    victim: Victim, images: Tensor, labels: Tensor, epsilons: Sequence[float], repeats: int
) -> tuple[Tensor, Tensor]:
    """Images and labels on the victim's device, or an AttackError that names the argument."""

    def wrong(where: str, what: str, remedy: str | None = None) -> AttackError:
        return AttackError(what, where=f"argument '{where}'", remedy=remedy)

    if not images.is_floating_point():
        raise wrong("images", f"{images.dtype} is not floating point", "divide 8-bit images by 255")
    if images.ndim != 4 or tuple(images.shape[1:]) != victim.shape:
        raise wrong(
            "images", f"shape {tuple(images.shape)} is not (N, {', '.join(map(str, victim.shape))})"
        )
    if not len(images):
        raise wrong("images", "the batch is empty")
    # The comparison is false for NaN, too.
    if not (images.amin() >= 0 and images.amax() <= 1):
        raise wrong("images", "values outside [0, 1]", "scale them; normalise inside the model")
    if labels.shape != (len(images),) or labels.is_floating_point():
        raise wrong("labels", f"{labels.dtype} {tuple(labels.shape)} is not one class per image")
    if labels.min() < 0 or labels.max() >= victim.classes:
        raise wrong("labels", f"a class outside 0 … {victim.classes - 1}")
    if not len(epsilons):
        raise wrong("epsilons", "no budget is given")
    for epsilon in epsilons:
        if not 0 <= epsilon < float("inf"):
            raise wrong("epsilons", f"{epsilon} is not a budget", "use finite numbers >= 0")
    if repeats < 1:
        raise wrong("repeats", f"{repeats} repeats are too few")
    return images.to(victim.device, torch.float32), labels.to(victim.device, torch.int64)
