"""What a study measures of trained models beside attacks: its jobs, what they read, and checks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING

from assay.foundation.errors import ConfigError
from assay.foundation.outline import Outline, outline
from assay.foundation.radius import plain
from assay.foundation.split import Split
from assay.plan.cells import Cell, Measured, unique
from assay.plan.check_entries import checked_class
from assay.plan.configuration import Configuration
from assay.plan.validation import Nested

if TYPE_CHECKING:
    from assay.plan.plan import Plan

# What a class may need, each with the keys of a study that say it.
NEEDS = {"attack": ("attack", "epsilons"), "examples": ("attacks",)}
# Words for these keys in errors.
_WORDS = {
    "attack": "attack: an id of config/catalogue/attacks.yaml",
    "epsilons": "epsilons: [radii of the attack]",
    "attacks": "attacks: [ids of config/catalogue/attacks.yaml]",
}


def measured_networks(
    study: Nested, cells: Iterable[Cell], configuration: Configuration
) -> tuple[Measured, ...]:
    """The measurements of a study, one item per network, in the order of the study."""
    networks = unique(cell.network for cell in cells)
    entries = configuration.catalogue["measurements"]
    return tuple(
        Measured(*network, name)
        for name, wanted in study["measurements"].items()
        for network in networks
        if network.model in wanted["models"]
        and (entries[name]["splits"] == "all" or Split.of(network.split).is_first)
    )


def reads(plan: Plan, item: Measured) -> Nested:
    """What a measurement reads beside the model and the images.

    Of several studies that measure the same network the first decides on the attack; example images
    are those of all.

    Returns:
        ``attack``, its entry with its name, or nothing; ``epsilons``; and ``examples``, pairs of
        suite and attack.
    """
    suites = plan.configuration.catalogue["suites"]
    wanted = [
        (study, study.study["measurements"][item.measurement])
        for study in plan.studies.values()
        if item in study.measurements
    ]
    found: Nested = {"attack": {}, "epsilons": [], "examples": []}
    first = wanted[0][1]
    if "attack" in first:
        entry = plan.entry("attacks", first["attack"], item.dataset)
        found["attack"] = {"name": first["attack"], **entry}
        found["epsilons"] = plain(sorted(set(entry["epsilons"]).intersection(first["epsilons"])))
    pairs = unique(
        (cell.suite, attack)
        for study, spec in wanted
        for cell in study.cells
        if cell.network == item.network
        for attack in suites[cell.suite]["attacks"]
        if attack in spec.get("attacks", ())
    )
    found["examples"] = [list(pair) for pair in pairs]
    return found


def check_measurements(
    study: Nested, configuration: Configuration, where: Callable[..., str]
) -> None:
    """A study names measurements that there are, and says what each needs and no more.

    Raises:
        ConfigError: it does not, or an entry is not that of a measurement.
    """
    for name, wanted in study["measurements"].items():
        at = partial(where, "measurements", name)
        entry = configuration.entry("measurements", name, where("measurements"))
        found = checked_class(
            "measurements", entry, partial(configuration.where, "measurements", name)
        )
        for need, keys in NEEDS.items():
            needed = need in found.values["needs"]
            allowed = needed or need in found.values["may_need"]
            for key in keys:
                if needed and key not in wanted:
                    raise ConfigError(
                        f"the measurement '{name}' needs the key '{key}'",
                        where=at(),
                        remedy=f"write {_WORDS[key]}",
                    )
                if key in wanted and not allowed:
                    raise ConfigError(
                        f"the measurement '{name}' reads no '{key}'",
                        where=at(key),
                        remedy="take the key out",
                    )
        _check_files(name, entry, found, configuration)


def _check_files(name: str, entry: Nested, found: Outline, configuration: Configuration) -> None:
    for setting in found.values["files"]:
        if not entry["settings"].get(setting):
            raise ConfigError(
                f"the measurement '{name}' needs a file, which settings.{setting} does not name",
                where=configuration.where("measurements", name, "settings"),
                remedy=f"write catalogue: {{measurements: {{{name}: {{settings: {{{setting}: path"
                "}}}} in config/config.yaml",
            )


def named_files(entry: Nested) -> dict[str, str]:
    """The files that a measurement's settings name, as written, by setting."""
    settings = entry["settings"]
    named = outline(entry["implementation"]).values["files"]
    return {name: settings[name] for name in named if settings.get(name)}


def published(entry: Nested) -> Nested:
    """A measurement's entry without paths of this machine, which no report shows."""
    files = named_files(entry)
    settings = {key: value for key, value in entry["settings"].items() if key not in files}
    return {**entry, "settings": settings}
