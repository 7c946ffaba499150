"""Attacks by name: from an entry of ``config/catalogue/attacks.yaml`` to a value."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from assay.attacks.attack import Attack
from assay.foundation.entries import read_entries
from assay.foundation.errors import AttackError
from assay.foundation.numbers import number
from assay.foundation.registry import load_value
from assay.foundation.resources import resource
from assay.foundation.suggestions import did_you_mean

CATALOGUE = resource("config/catalogue/attacks.yaml")


def make_attack(entry: Mapping[str, Any]) -> Attack:
    """The attack that a catalogue entry describes.

    Args:
        entry: ``implementation`` (``module:Class``), ``settings`` (the class's keywords) and
            ``norm``; ``name`` for messages.

    Raises:
        AttackError: the class is no attack, a setting is unknown or impossible, or the norm is not
            the attack's.
        ConfigError: there is no such implementation.
    """
    name = entry.get("name", entry["implementation"])
    kind, settings = load_value(entry, Attack, "attack", AttackError)
    attack = kind(**settings)
    if entry["norm"] != attack.norm:
        raise AttackError(
            f"norm is '{entry['norm']}', but the attack's is '{attack.norm}'",
            where=f"attack '{name}' norm",
            remedy=f"write norm: {attack.norm}",
        )
    return attack


def read_catalogue(path: Path = CATALOGUE) -> dict[str, dict[str, Any]]:
    """The entries of an attack catalogue by name, each with its ``name``; budgets are numbers."""
    entries = read_entries(path.name, yaml.safe_load(path.read_text("utf-8")))
    for name, entry in entries.items():
        for part in (entry, *entry.get("for_datasets", {}).values()):
            if "epsilons" in part:
                part["epsilons"] = [
                    number(value, f"{path.name}: {name}") if isinstance(value, str) else value
                    for value in part["epsilons"]
                ]
    return {name: {"name": name, **entry} for name, entry in entries.items()}


def attack_named(name: str, **settings: Any) -> tuple[Attack, list[float]]:
    """A catalogue entry as an attack, with its epsilons.

    Args:
        name: of the entry.
        settings: in place of the entry's own.

    Raises:
        AttackError: there is no such entry or setting.
    """
    entries = read_catalogue()
    if name not in entries:
        raise AttackError(
            f"there is no attack '{name}'",
            where=CATALOGUE.name,
            remedy=did_you_mean(name, entries, "python -m assay.attacks --list shows all"),
        )
    entry = entries[name]
    entry["settings"] = {**entry["settings"], **settings}
    return make_attack(entry), entry["epsilons"]


def catalogue_rows() -> list[dict[str, str]]:
    """Facts about each entry for readers: name, norm, access, gradient passes, source."""
    rows = []
    for name, entry in read_catalogue().items():
        attack = make_attack(entry)
        rows.append(
            {
                "name": name,
                "title": entry["title"],
                "norm": attack.norm,
                "access": attack.access,
                "gradient passes": str(attack.gradient_passes or "-"),
                "source": entry["source"],
            }
        )
    return rows
