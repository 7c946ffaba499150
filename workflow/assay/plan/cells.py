"""The items of a run table: networks, attack jobs, and what is measured of networks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

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


class Measured(NamedTuple):
    """One measurement of one trained model."""

    dataset: str
    split: str
    model: str
    measurement: str


def trained_for(models: Mapping[str, Nested], model: str) -> list[str]:
    """The models that are trained so that `model` can decide, in the order of their training."""
    chain = [models[model].get("shares_weights_with") or model]
    while first := models[chain[0]]["init_from"]:
        chain.insert(0, models[first].get("shares_weights_with") or first)
    return chain


def unique(items: Iterable) -> tuple:
    return tuple(dict.fromkeys(items))
