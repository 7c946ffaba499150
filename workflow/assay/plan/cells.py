"""The items of a run table: networks, attack jobs, and what is measured of networks."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import NamedTuple, TypeVar

from assay.plan.validation import Nested


class Training(NamedTuple):
    """One trained network: a model on one split of one data set."""

    dataset: str
    split: str
    model: str


class Cell(NamedTuple):
    """One attack job: a suite on one trained model."""

    dataset: str
    split: str
    model: str
    suite: str

    @property
    def network(self) -> Training:
        """The trained model that is attacked."""
        return Training(self.dataset, self.split, self.model)


class Measured(NamedTuple):
    """One measurement of one trained model."""

    dataset: str
    split: str
    model: str
    measurement: str

    @property
    def network(self) -> Training:
        """The trained model that is measured."""
        return Training(self.dataset, self.split, self.model)


def trained_for(models: Mapping[str, Nested], model: str) -> list[str]:
    """The models that are trained so that `model` can decide, in the order of their training."""
    order: list[str] = []

    def visit(name: str) -> None:
        owner = models[name].get("shares_weights_with") or name
        for first in waits_for(models[owner]).values():
            visit(first)
        if owner not in order:
            order.append(owner)

    visit(model)
    return order


def waits_for(entry: Nested) -> dict[str, str]:
    """The models whose weights a training waits for, by the key that names each.

    Example:
        >>> waits_for({"init_from": "cnn", "needs": {"base": "abs"}})
        {'init_from': 'cnn', 'needs.base': 'abs'}
    """
    start = entry.get("init_from")
    needs = {f"needs.{role}": name for role, name in (entry.get("needs") or {}).items()}
    return ({"init_from": start} if start else {}) | needs


def with_needs(models: Mapping[str, Nested], name: str) -> Nested:
    """An entry with the entries of the models that it needs in place of their names."""
    entry = models[name]
    needs = {
        role: {"name": needed, **with_needs(models, needed)}
        for role, needed in (entry.get("needs") or {}).items()
    }
    return {**entry, "needs": needs}


T = TypeVar("T", bound=Hashable)


def unique(items: Iterable[T]) -> tuple[T, ...]:
    """The items without repeats, in the order of their first places."""
    return tuple(dict.fromkeys(items))
