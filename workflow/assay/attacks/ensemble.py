"""Several attacks as one: each continues with the images on which the earlier ones failed."""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from assay.attacks.attack import Attack, Inputs, Store
from assay.attacks.queries import Queries
from assay.attacks.result import Perturbed


@dataclass(frozen=True, kw_only=True)
class Ensemble(Attack):
    """Runs its members in order, each on the images that are still correct at some epsilon.

    A misclassified image keeps the perturbation and the name of the member that succeeded
    (``member/view`` in `Perturbed.views`). Members draw from generators of their own, seeded in
    advance, so that a run which was resumed gives what an undisturbed one gives. What the ensemble
    itself sets (`as_published`, `first_view`, `views`, `eot_samples`,
    `own_samples`) holds for every member.
    """

    access: ClassVar[str] = "white_box"
    adds_up: ClassVar[bool] = True

    @property
    @abstractmethod
    def members(self) -> Mapping[str, Attack]:
        """The attacks, by name, in their order."""

    @property
    def searches(self) -> dict[str, Attack]:
        """The members as they run: with the ensemble's own settings."""
        return {
            name: dataclasses.replace(
                member,
                as_published=self.as_published or member.as_published,
                first_view=self.first_view or member.first_view,
                views=member.views if member.searches_no_view else self.views or member.views,
                own_samples=self.own_samples and member.own_samples,
                eot_samples=max(self.eot_samples, member.eot_samples),
            )
            for name, member in self.members.items()
        }

    @property
    def most_eot_samples(self) -> int:
        return max(member.most_eot_samples for member in self.searches.values())

    @property
    def gradient_passes(self) -> int:
        return sum(member.gradient_passes for member in self.searches.values())

    def _search_all(
        self, inputs: Inputs, so_far: Perturbed | None, store: Store | None
    ) -> Perturbed:
        generator, members = inputs.generator, self.searches
        sampled = torch.randint(
            2**62, (len(members),), generator=generator, device=generator.device
        ).tolist()
        result = so_far
        for (name, member), seed in zip(members.items(), sampled, strict=True):
            stored = None if store is None else store.load(name)
            if stored is None:
                before = 1 if result is None else len(result.views)
                stored = member(
                    inputs.victim,
                    inputs.images,
                    inputs.labels,
                    inputs.epsilons,
                    torch.Generator(device=generator.device).manual_seed(seed),
                    repeats=inputs.repeats,
                    clean=inputs.clean,
                    so_far=result,
                )
                named = [f"{name}/{view}" for view in stored.views[before:]]
                stored = dataclasses.replace(stored, views=(*stored.views[:before], *named))
                if store is not None:
                    store.save(name, stored)
            # A file knows no device.
            result = stored.to(inputs.images.device)
        assert result is not None  # there are members
        return result

    def _search(self, queries: Queries, epsilon: float, shared: Tensor | None) -> Tensor:
        raise AssertionError("the members of an ensemble run, not the ensemble itself")
