"""Checks of what a study shows: its tables, figures and printed numbers speak of what runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from assay.analysis.accuracy import BALLS
from assay.analysis.attack_set import KEYS, NORM, SINGLE, SUITE, AttackSet
from assay.foundation.errors import ConfigError
from assay.foundation.reported import read_reported
from assay.foundation.split import Split
from assay.plan.cells import Cell, unique
from assay.plan.configuration import Configuration
from assay.plan.exclusions import names_in, sets_in
from assay.plan.validation import Nested, unknown


def check_cells(study: Nested, where: str) -> None:
    """Each cell of the headline and of a table names one attack, or one worst case."""
    for key, value in _walk({part: study[part] for part in ("headline", "tables")}):
        if key[-1] == "cells" and isinstance(value, list):
            for number, cell in enumerate(value):
                AttackSet.of(cell, f"{where}: {'.'.join(map(str, key))}.{number}")


def check_references(
    study: Nested, cells: Iterable[Cell], configuration: Configuration, where: Callable[..., str]
) -> None:
    """Tables, figures and the ledger may only speak of what the grid runs and papers print."""
    datasets = {cell.dataset for cell in cells}
    schemes = {Split.of(cell.split).scheme for cell in cells}
    models = {cell.model for cell in cells}
    attacks = _known_attacks(cells, configuration)
    files, catalogue = study["reported"]["files"], configuration.catalogue_file("attacks")
    for number, file in enumerate(files):
        known = [f"{name}.csv" for name in configuration.layers.names("config/reported", ".csv")]
        if file not in known:
            place = where("reported", "files", number)
            raise unknown("file of printed numbers", file, known, place, "config/reported/")
    check_sweeps(study["reported"], configuration, where)
    for key, value in _walk(
        {k: v for k, v in study.items() if k not in ("grid", "substitutes", "excluded")}
    ):
        name = key[-1]
        place = where(*key)
        if (key[0] in ("tables", "figures") and len(key) == 2) or (
            key[0] == "reported" and len(key) > 2
        ):
            continue  # a name that the study gives, or a word of the paper
        if name in ("models", "model", "features", "reconstructions", "importance", "within"):
            for model in names_in(value):
                if model not in models:
                    raise unknown("model in the grid called", model, models, place, "the grid")
        elif name == "schemes" or key == ("reported", "splits"):
            for scheme in names_in(value):
                if scheme not in schemes:
                    raise unknown(
                        "split scheme in the grid called", scheme, schemes, place, "the grid"
                    )
        elif name == "datasets":
            for dataset in names_in(value):
                if dataset not in datasets:
                    raise unknown(
                        "data set in the grid called", dataset, datasets, place, "the grid"
                    )
        elif name in KEYS:
            _check_attacks([_siblings(study, key)], attacks, configuration, place)
        elif name in ("attacks", "published", "corrected"):
            # What a study maps to attacks are words of the paper.
            named = value.values() if key[0] == "reported" else [value]
            _check_attacks(named, attacks, configuration, place)
        elif name == "reported" and isinstance(value, str) and value not in files:
            raise unknown("file of the study called", value, files, place, "its reported.files")
        elif name == "radii":
            figure = _siblings(study, key)
            shown = figure.get("attacks", [figure[name] for name in KEYS if name in figure])
            _check_attacks(shown, attacks, configuration, place)
            budgets = [_budgets(one, attacks, datasets, configuration) for one in sets_in(shown)]
            if (known := set().union(*budgets)).isdisjoint(value):
                raise ConfigError(
                    "none of these radii is run",
                    where=place,
                    remedy=f"the attacks' epsilons are {', '.join(map(str, sorted(known)))} "
                    f"(see {catalogue} and the scale's overrides)",
                )
        elif name == "epsilon" or key == ("saliency", "epsilons"):
            # A figure of maps shows the attack that the maps are of.
            owner = (study["saliency"] if key[0] == "figures" else _siblings(study, key)) or {}
            if not KEYS.keys() & owner.keys():
                continue  # :func:`check_figures` says what is missing
            _check_attacks([owner], attacks, configuration, place)
            found = AttackSet.of(owner)
            known = _budgets(found, attacks, datasets, configuration)
            for wanted in value if isinstance(value, list) else [value]:
                if wanted not in known:
                    raise ConfigError(
                        f"{_found(found)} is not run at epsilon {wanted}",
                        where=place,
                        remedy=f"its epsilons are {', '.join(map(str, sorted(known)))} "
                        f"(see {catalogue} and the scale's overrides)",
                    )


def check_sweeps(reported: Nested, configuration: Configuration, where: Callable[..., str]) -> None:
    """A sweep of printed numbers is one of a setting that a file has, with an entry per level."""
    files = [configuration.layers.find(f"config/reported/{file}") for file in reported["files"]]
    rows = read_reported(files)
    levels = rows[rows["setting"] != ""].groupby("setting")["level"].unique()
    attacks = configuration.catalogue["attacks"]
    for setting, sweep in reported.get("sweeps", {}).items():
        place = where("reported", "sweeps", setting)
        if setting not in levels:
            raise unknown("setting in its files called", setting, levels, place, "reported.files")
        members = level_entries(sweep, attacks)
        if not members:
            known = {entry.get("sweep_of") for entry in attacks.values()} - {None}
            file = configuration.catalogue_file("attacks")
            raise unknown("sweep of attacks called", sweep, known, place, file)
        if lacking := [level for level in levels[setting] if level not in members]:
            raise ConfigError(
                f"the sweep '{sweep}' has no entry for {setting} {', '.join(lacking)}",
                where=place,
                remedy=f"add it to its values, now {', '.join(members)}",
            )


def level_entries(sweep: str, attacks: Mapping[str, Nested]) -> dict[str, str]:
    """The entries of a sweep by the value of the setting that it varies, as a text."""
    members = {name: entry for name, entry in attacks.items() if entry.get("sweep_of") == sweep}
    return {str(entry["level"]): name for name, entry in members.items()}


def _known_attacks(
    cells: Iterable[Cell], configuration: Configuration
) -> dict[AttackSet, list[str]]:
    """The attack sets that a study may name, each with its attacks."""
    catalogue = configuration.catalogue
    found: dict[AttackSet, list[str]] = {}
    for suite in unique(cell.suite for cell in cells):
        members = catalogue["suites"][suite]["attacks"]
        found[AttackSet(SUITE, suite)] = members
        for attack in members:
            found[AttackSet.of(attack)] = [attack]
            norm = catalogue["attacks"][attack]["norm"]
            # Natural changes have no ball.
            if norm in BALLS and attack not in found.setdefault(AttackSet(NORM, norm), []):
                found[AttackSet(NORM, norm)].append(attack)
    return found


def _check_attacks(
    named: Iterable[Any], known: Iterable[AttackSet], configuration: Configuration, place: str
) -> None:
    """The grid runs the attacks that a study names by some items."""
    wanted = next((one for item in named for one in sets_in(item) if one not in known), None)
    if wanted is None:
        return
    kinds = {SINGLE: "attack", SUITE: "suite", NORM: "norm of attacks"}
    old = {_old_name(one): one for one in known if one.worst_case}
    if not wanted.worst_case and wanted.name in old:
        key, name = next(iter(old[wanted.name].item.items()))
        raise ConfigError(
            f"'{wanted.name}' is no attack", where=place, remedy=f"write {{{key}: {name}}}"
        )
    raise unknown(
        f"{kinds[wanted.worst_case]} in the grid called",
        wanted.name,
        [one.name for one in known if one.worst_case == wanted.worst_case],
        place,
        configuration.catalogue_file("attacks" if wanted.worst_case == NORM else "suites"),
    )


def _old_name(attacks: AttackSet) -> str:
    """What a study called a worst case before it had a key of its own."""
    return f"{'all' if attacks.worst_case == SUITE else 'worst case'} {attacks.name}"


def _found(attacks: AttackSet) -> str:
    """An attack set in an error's words."""
    if not attacks.worst_case:
        return f"attack '{attacks.name}'"
    return f"the worst case over {attacks.worst_case} '{attacks.name}'"


def _budgets(
    attacks: AttackSet,
    known: Mapping[AttackSet, list[str]],
    datasets: Iterable[str],
    configuration: Configuration,
) -> set[float]:
    """The epsilons of an attack set on any of some data sets.

    All attacks of a suite must be run at an epsilon of its worst case; of a norm, one must be.
    """
    together = set.union if attacks.worst_case == NORM else set.intersection
    return set().union(
        *(
            together(
                *(
                    set(configuration.entry_on("attacks", name, on)["epsilons"])
                    for name in known[attacks]
                )
            )
            for on in datasets
        )
    )


def check_figures(
    study: Nested, cells: Iterable[Cell], configuration: Configuration, where: Callable[..., str]
) -> None:
    """Figures of stored images and features need these to be stored."""
    suites = configuration.catalogue["suites"]
    for name, figure in study["figures"].items():
        place = partial(where, "figures", name)
        if figure["kind"] == "ledger_dumbbell" and not study["reported"]["files"]:
            raise ConfigError(
                "the study has no printed numbers to show",
                where=place("kind"),
                remedy="name their files in the study's key reported.files, or take the figure out",
            )
        if figure["kind"] == "latent_pca" and figure["model"] not in study["features"]:
            raise ConfigError(
                f"no features of '{figure['model']}' are stored",
                where=place("model"),
                remedy=f"add it to the study's key features (now: {study['features']})",
            )
        if figure["kind"] == "reconstructions" and figure["model"] not in study["reconstructions"]:
            raise ConfigError(
                f"no reconstructions of '{figure['model']}' are stored",
                where=place("model"),
                remedy="add it to the study's key reconstructions "
                f"(now: {study['reconstructions']})",
            )
        if figure["kind"] in ("saliency", "decision_regions"):
            saliency_targets = (study["saliency"] or {"models": []})["models"]
            for model in figure["models"]:
                if model not in saliency_targets:
                    raise ConfigError(
                        f"no saliency maps of '{model}' are stored",
                        where=place("models"),
                        remedy="add it to the study's key saliency.models "
                        f"(now: {saliency_targets})",
                    )
        if figure["kind"] not in ("examples", "compared_examples", "reconstructions"):
            continue
        for model in figure.get("models", [figure.get("model")]):
            if any(
                cell.model == model and figure["attack"] in suites[cell.suite]["attacks"]
                for cell in cells
            ):
                continue
            raise ConfigError(
                f"'{figure['attack']}' does not attack '{model}' in the grid",
                where=place("attack"),
                remedy="choose an attack of the suites that run on this model",
            )
        if not configuration.scale["evaluation"]["examples"]:
            raise ConfigError(
                "no example images are stored at this scale",
                where=place(),
                remedy=f"raise evaluation.examples in {configuration.scale_file()}",
            )


def _walk(value: Any, path: tuple = ()) -> Iterable[tuple[tuple, Any]]:
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield (*path, key), part
            yield from _walk(part, (*path, key))
    elif isinstance(value, list):
        for index, part in enumerate(value):
            yield from _walk(part, (*path, index))


def _siblings(tree: Any, path: tuple) -> Any:
    """The mapping in which the last key of a path stands."""
    for step in path[:-1]:
        tree = tree[step]
    return tree
