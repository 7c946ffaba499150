"""Several attacks as one: each continues with the images on which the earlier ones failed."""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from assay.attacks.arguments import usable_input
from assay.attacks.attack import Attack
from assay.attacks.prediction import Prediction, evaluate_images
from assay.attacks.queries import Queries
from assay.attacks.result import Perturbed
from assay.attacks.victim import Victim


class Store(Protocol):
    """Where the state after each member is stored, so that a stopped run continues from there."""

    def load(self, member: str) -> Perturbed | None:
        """What was saved after a member, or None."""

    def save(self, member: str, result: Perturbed) -> None:
        """Stores the state after a member."""


@dataclass(frozen=True, kw_only=True)
class Ensemble(Attack):
    """Runs its members in order, each on the images that are still correct at some epsilon.

    A misclassified image keeps the perturbation and the name of the member that succeeded
    (``member/view`` in `Perturbed.views`). Members draw from generators of their own, seeded in
    advance, so that a run which was resumed gives what an undisturbed one gives.
    """

    access: ClassVar[str] = "white_box"
    adds_up: ClassVar[bool] = True

    @property
    @abstractmethod
    def members(self) -> Mapping[str, Attack]:
        """The attacks, by name, in their order."""

    @property
    def gradient_passes(self) -> int:
        return sum(member.gradient_passes for member in self.members.values())

    def __call__(
        self,
        victim: Victim,
        images: Tensor,
        labels: Tensor,
        epsilons: Sequence[float],
        generator: torch.Generator,
        *,
        repeats: int = 20,
        clean: Prediction | None = None,
        so_far: Perturbed | None = None,
        store: Store | None = None,
    ) -> Perturbed:
        """Attacks images with every member; see `Attack.__call__`.

        Args:
            victim, images, labels, epsilons, generator, repeats, clean, so_far: as there.
            store: keeps the state after each member; None: nowhere.
        """
        images, labels = usable_input(victim, images, labels, epsilons, repeats)
        if clean is None:
            clean = evaluate_images(victim, images, labels, generator, repeats=repeats)
        members = self.members
        sampled = torch.randint(
            2**62, (len(members),), generator=generator, device=generator.device
        ).tolist()
        result = so_far
        for (name, member), seed in zip(members.items(), sampled, strict=True):
            stored = None if store is None else store.load(name)
            if stored is None:
                before = 1 if result is None else len(result.views)
                stored = member(
                    victim,
                    images,
                    labels,
                    epsilons,
                    torch.Generator(device=generator.device).manual_seed(seed),
                    repeats=repeats,
                    clean=clean,
                    so_far=result,
                )
                named = [f"{name}/{view}" for view in stored.views[before:]]
                stored = dataclasses.replace(stored, views=(*stored.views[:before], *named))
                if store is not None:
                    store.save(name, stored)
            result = stored
        assert result is not None  # there are members
        return result

    def _search(self, queries: Queries, epsilon: float, shared: Tensor | None) -> Tensor:
        raise AssertionError("the members of an ensemble run, not the ensemble itself")
