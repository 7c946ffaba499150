"""Each view of a victim as a route of its own, searched on all images, and their worst case.

By default, an attack searches view n only on images on which views before n failed. That is the
cheapest way to the worst case, but the rows then show which view came first, not which is stronger.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from assay.attacks.arguments import bad_setting
from assay.attacks.attack import Attack
from assay.attacks.result import STORED, Perturbed
from assay.attacks.victim import Victim

WORST, EACH = "worst", "each"
ROUTES = (WORST, EACH)
Run = Callable[[Victim, str], Perturbed]


def attack_routes(
    attack: Attack, victim: Victim, labels: Tensor, routes: str, repeats: int, run: Run
) -> dict[str, Perturbed]:
    """The worst case over views, under the name "", and with ``each`` every view's own result.

    Args:
        attack: that is run.
        victim: what is attacked.
        labels: (N,) true classes of the images.
        routes: ``worst`` or ``each``.
        repeats: repeated evaluations of a stochastic victim.
        run: ``(victim, route) -> result`` attacks the images through the views of a victim, with
            the same randomness each time: equal views then give equal results.

    Raises:
        AttackError: `routes` is neither.
    """
    check_routes(routes)
    names = attack.searched_views(victim)
    if routes == WORST or names == [""]:
        return {"": run(victim, "")}
    results = {}
    for name in names:
        one = victim.through(name)
        results[name] = run(one, name)
        victim.forwards += one.forwards
        victim.backwards += one.backwards
    passes = victim.passes_of_decision(repeats)
    return {"": worst_of(list(results.values()), labels, passes), **results}


def worst_of(results: Sequence[Perturbed], labels: Tensor, clean_passes: int = 0) -> Perturbed:
    """The worst case, per image and epsilon, over results of one attack on the same images.

    The first result that is misclassified counts, otherwise that of the lowest score of the true
    class. Passes are added up.

    Args:
        results: at the same epsilons.
        labels: (N,) true classes.
        clean_passes: forward passes that every result counts and the worst case counts once.
    """
    worst = results[0].copy()
    views = worst.views
    own = labels.to(worst.scores.device)[None, :, None].expand(len(worst.epsilons), -1, 1)
    silent = worst.silent_success
    for other in results[1:]:
        hurts = other.scores.gather(2, own) < worst.scores.gather(2, own)
        better = ~worst.misclassified & (other.misclassified | hurts.squeeze(2))
        shifted = torch.where(other.view > 0, other.view + len(views) - 1, 0)
        for name in STORED:
            value = shifted if name == "view" else getattr(other, name)
            getattr(worst, name)[better] = value[better]
        worst.counts.add_(other.counts)
        silent = silent | other.silent_success
        views = (*views, *other.views[1:])
    worst.forwards.sub_(clean_passes * (len(results) - 1))
    return dataclasses.replace(worst, views=views, silent_success=silent & ~worst.misclassified)


def check_routes(routes: str) -> None:
    """Raises AttackError unless `routes` says how views are searched."""
    if routes not in ROUTES:
        raise bad_setting("routes", f"'{routes}' is unknown", f"use {' or '.join(ROUTES)}")
