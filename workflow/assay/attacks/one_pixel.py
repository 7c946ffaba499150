"""The one-pixel attack: differential evolution over pixel positions and values.

All images evolve together. A generation breeds one trial per member of every population still
alive, and evaluates them in batches that fit the cache: the clean images are copied into one
reused buffer and the trials' pixels are written over them. A batch holds members of many images,
so that batches stay full while images leave, and nothing loops over images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from assay.attacks.arguments import bad_setting, check_at_least
from assay.attacks.attack import Attack
from assay.attacks.losses import cross_entropy, margin
from assay.attacks.queries import Queries
from assay.foundation.errors import AttackError

# What the evolution minimises; `inverted` is the sign error of a publication's code.
OBJECTIVES = {
    "probability": lambda logits, labels: (-cross_entropy(logits, labels)).exp(),
    "margin": lambda logits, labels: -margin(logits, labels),
    "inverted": lambda logits, labels: -(-cross_entropy(logits, labels)).exp(),
}
STRATEGIES = ("rand1", "best1bin")


@dataclass(frozen=True, kw_only=True)
class OnePixel(Attack):
    """Changes epsilon pixels (1, 3, 5, …) so that a population's best member fools the victim.

    A member is, per pixel, a row and a column in [0, 1) of the image's size and a value in [0, 1]
    per channel. A trial replaces its parent if its objective is not larger. An image leaves as
    soon as one of its members is misclassified.

    Args:
        population: members per image, at least 4.
        generations: rounds of trials after the first population.
        strategy: mutants are ``rand1``: a + F (b - c), or ``best1bin``: best + F (b - c), of
            distinct other members.
        weight: F, or (low, high) to sample it for each image and generation.
        crossover: probability that a coordinate comes from the mutant; one always does.
        objective: ``probability`` of the true class, ``margin`` z_y - max_{j != y} z_j (the same
            aim without the softmax's saturation), or ``inverted``, the negative probability.
        tolerance: end an image's search once the standard deviation of its population's
            objectives is at most this share of their mean's size (scipy's rule); None: never.

    Example:
        >>> OnePixel(population=100, generations=20).strategy
        'rand1'
    """

    norm: ClassVar[str] = "l0"
    source: ClassVar[str] = "Su, Vargas, Sakurai 2019, arXiv:1710.08864"
    differences: ClassVar[tuple[str, ...]] = (
        "untargeted; the search for an image ends at the first misclassified member",
        "the first population is a Latin hypercube instead of uniform positions, Gaussian values",
        "a coordinate that leaves its range is sampled again",
        "values are real numbers in [0, 1] instead of 8-bit integers",
        "all trials of a generation see the same parents (deferred updating)",
    )

    population: int = 400
    generations: int = 100
    strategy: str = "rand1"
    weight: float | tuple[float, float] = 0.5
    crossover: float = 1.0
    objective: str = "margin"
    tolerance: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        weights = self.weight if isinstance(self.weight, Sequence) else (self.weight,) * 2
        if len(weights) != 2 or not 0 < weights[0] <= weights[1]:
            raise bad_setting("weight", f"{self.weight} is no weight", "use one, or [low, high]")
        if isinstance(self.weight, Sequence):
            object.__setattr__(self, "weight", tuple(weights))
        if self.objective not in OBJECTIVES:
            known = f"use {', '.join(OBJECTIVES)}"
            raise bad_setting("objective", f"'{self.objective}' is unknown", known)
        if self.strategy not in STRATEGIES:
            known = f"use {' or '.join(STRATEGIES)}"
            raise bad_setting("strategy", f"'{self.strategy}' is unknown", known)
        check_at_least(4, population=self.population)  # a mutant needs three other members
        check_at_least(0, generations=self.generations)
        if not 0 <= self.crossover <= 1:
            raise bad_setting("crossover", f"{self.crossover} is not a probability", "use 0 … 1")

    def _search(self, queries: Queries, epsilon: float, shared: Tensor | None) -> Tensor:
        if epsilon != int(epsilon):
            raise AttackError(
                f"{epsilon} is not a number of pixels",
                where="argument 'epsilons'",
                remedy="use whole numbers",
            )
        n, channels, _, _ = queries.images.shape
        found = queries.images.clone()
        live = torch.arange(n, device=found.device)
        members = self._first_members(queries, int(epsilon) * (2 + channels))
        objectives = members.new_empty(0)
        for generation in range(self.generations + 1):
            trials = members if generation == 0 else self._breed(queries, members, objectives)
            values, misclassified = self._evaluate(queries, live, trials)
            if generation == 0:
                objectives = values
            else:
                better = values <= objectives
                members = torch.where(better[:, :, None], trials, members)
                objectives = torch.where(better, values, objectives)
            last = generation == self.generations
            leaving = torch.full_like(live, last, dtype=torch.bool)
            chosen = self._member(members, objectives)
            if not self.as_published and misclassified.any():
                # The trial itself, not its parent: a misclassification outweighs the objective.
                hit = misclassified.any(dim=1)
                winner = self._member(trials, values.masked_fill(~misclassified, torch.inf))
                hit[hit.clone()] = queries.confirm(
                    paint(queries.images[live[hit]], winner[hit]), live[hit]
                )
                chosen = torch.where(hit[:, None], winner, chosen)
                leaving |= hit
            if self.tolerance is not None:
                spread = objectives.std(dim=1, correction=0)
                leaving |= spread <= self.tolerance * objectives.mean(dim=1).abs()
            if leaving.any():
                gone = live[leaving]
                found[gone] = paint(queries.images[gone], chosen[leaving])
                stay = ~leaving
                live, members, objectives = live[stay], members[stay], objectives[stay]
            if not len(live):
                break
        return found

    def _first_members(self, queries: Queries, genes: int) -> Tensor:
        """(n, P, D) in [0, 1): every coordinate has one member in each of P equal strata."""
        shape = (len(queries.images), self.population, genes)
        strata = queries.uniform(*shape).argsort(dim=1)
        return (strata + queries.uniform(*shape)) / self.population

    def _breed(self, queries: Queries, members: Tensor, objectives: Tensor) -> Tensor:
        """One trial for every member (n, P, D)."""
        n, population, genes = members.shape
        a, b, c = distinct_others(queries, n, population)
        if self.strategy == "best1bin":
            base = self._member(members, objectives)[:, None]
        else:
            base = _take(members, a)
        weight = self.weight
        if isinstance(weight, tuple):
            low, high = weight
            weight = (low + (high - low) * queries.uniform(n))[:, None, None]
        mutants = base + weight * (_take(members, b) - _take(members, c))
        if self.crossover < 1:
            crossed = queries.uniform(n, population, genes) < self.crossover
            kept = (queries.uniform(n, population, 1) * genes).long()
            crossed.scatter_(2, kept, True)
            mutants = torch.where(crossed, mutants, members)
        outside = (mutants < 0) | (mutants >= 1)
        return torch.where(outside, queries.uniform(n, population, genes), mutants)

    def _evaluate(self, queries: Queries, live: Tensor, members: Tensor) -> tuple[Tensor, Tensor]:
        """Objective (n, P) of every member, and whether the view misclassifies it (n, P)."""
        n, population, genes = members.shape
        rows = live.repeat_interleave(population)
        objective = OBJECTIVES[self.objective]
        buffer = torch.empty_like(queries.images[:1]).repeat(min(queries.batch, len(rows)), 1, 1, 1)
        values, misclassified = [], []
        for piece, painted in zip(
            rows.split(queries.batch),
            members.view(n * population, genes).split(queries.batch),
            strict=True,
        ):
            batch = buffer[: len(piece)]
            torch.index_select(queries.images, 0, piece, out=batch)
            logits = queries.logits(paint(batch, painted), piece)
            labels = queries.labels[piece]
            values.append(objective(logits, labels))
            misclassified.append(logits.argmax(dim=1) != labels)
        return torch.cat(values).view(n, -1), torch.cat(misclassified).view(n, -1)

    @staticmethod
    def _member(members: Tensor, objectives: Tensor) -> Tensor:
        """The member (n, D) with the smallest objective in each population."""
        best = objectives.argmin(dim=1)
        return members[torch.arange(len(members), device=members.device), best]


def paint(images: Tensor, members: Tensor) -> Tensor:
    """Writes each member's pixels (m, D) into its image (m, C, H, W), in place."""
    m, channels, height, width = images.shape
    flat = images.view(m, channels, height * width)
    # One pixel after the other: when two fall together, the later one wins on every device.
    for pixel in members.view(m, -1, 2 + channels).unbind(dim=1):
        row = (pixel[:, 0] * height).long().clamp_(max=height - 1)
        column = (pixel[:, 1] * width).long().clamp_(max=width - 1)
        place = (row * width + column)[:, None, None].expand(-1, channels, 1)
        flat.scatter_(2, place, pixel[:, 2:, None])
    return images


def distinct_others(queries: Queries, n: int, population: int) -> list[Tensor]:
    """Three members (n, P) for each member of each population, all different, none itself."""
    own = torch.arange(population, device=queries.images.device).expand(n, -1)
    taken = [own]
    for _ in range(3):
        left = population - len(taken)
        sampled = (queries.uniform(n, population) * left).long().clamp_(max=left - 1)
        # The sampled-th member among those not yet taken: step over the taken ones, in order.
        for used in torch.stack(taken).sort(dim=0).values:
            sampled = sampled + (sampled >= used)
        taken.append(sampled)
    return taken[1:]


def _take(members: Tensor, which: Tensor) -> Tensor:
    """members[i, which[i, p]] for members (n, P, D) and indices (n, P)."""
    return members.gather(1, which[:, :, None].expand(-1, -1, members.shape[2]))
