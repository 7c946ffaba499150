"""A study without what its scale excludes, and without what would show nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from assay.analysis.attack_set import KEYS, SUITE, AttackSet
from assay.foundation.errors import ConfigError
from assay.plan.configuration import Configuration
from assay.plan.validation import Nested


def without_excluded(study: Nested, configuration: Configuration) -> Nested:
    """The study, less the left-out data sets, models, suites and parts, wherever it names them.

    Tables, figures and columns that show nothing else go with them; so do the paper's words for
    them. The words and the grid as written stand under ``excluded``, so that the ledger says
    "not run" and whether it is the scale that leaves them out.

    Raises:
        ConfigError: a name is not in the catalogue, or nothing is left.
    """
    place = f"{configuration.scale_file()}: exclude"
    gone = {**configuration.scale["exclude"]}
    parts = [*gone.pop("parts"), *({kind: names} for kind, names in gone.items())]
    for part in parts:
        for kind, names in part.items():
            for name in names:
                configuration.entry(kind, name, f"{place}.{kind}")
    if not any(names for part in parts for names in part.values()):
        return study
    grid = study["grid"]
    for part in parts:
        grid = [rest for block in grid for rest in _without(block, part)]
    if not grid:
        raise ConfigError("it removes the whole grid of the study", where=place)
    suites = configuration.catalogue["suites"]
    # A scale may also shorten a suite. What no suite of the study has is no loss, but a mistake.
    ran, every = (
        {attack for suite in _named(blocks, "suites") for attack in attacks_of(suite, known)}
        for blocks, known in ((grid, suites), (study["grid"], configuration.unscaled["suites"]))
    )
    lost = {
        kind: {*gone[kind], *_named(study["grid"], kind)} - _named(grid, kind)
        for kind in ("datasets", "models")
    }
    lost["attacks"] = every - ran
    shown = {
        part: {name: rest for name, spec in study[part].items() if (rest := _rest(spec, lost))}
        for part in ("tables", "figures")
    }
    unseen = _pairs(study["grid"], suites) - _pairs(grid, suites)
    shown["figures"] = {
        name: rest
        for name, spec in shown["figures"].items()
        if (rest := _without_unseen(spec, unseen))
    }
    models = configuration.catalogue["models"]
    for name, spec in shown["figures"].items():
        # A figure says whom it does not show.
        absent = [m for m in study["figures"][name].get("models", ()) if m in lost["models"]]
        if absent:
            shown["figures"][name] = {
                **spec,
                "excluded_models": [models[m]["title"] for m in absent],
            }
    words = {
        kind: {
            word: named
            for word, named in study["reported"][kind].items()
            if lost[kind].isdisjoint(sets_in(named) if kind == "attacks" else names_in(named))
        }
        for kind in lost
    }
    listed = {
        part: [model for model in study[part] if model not in lost["models"]]
        for part in ("features", "reconstructions", "importance")
    }
    listed["saliency"] = study["saliency"] and _rest(study["saliency"], lost)
    headline = {**study["headline"], **_lists(study["headline"], lost)}
    reported = {**study["reported"], **words}
    excluded = {
        kind: {word: named for word, named in study["reported"][kind].items() if word not in kept}
        for kind, kept in words.items()
    }
    excluded["grid"] = [
        {
            "datasets": block["datasets"],
            "models": block["models"],
            "attacks": [
                attacks.item for suite in block["suites"] for attacks in attacks_of(suite, suites)
            ],
        }
        for block in study["grid"]
    ]
    return {
        **study, **shown, **listed, "grid": grid, "reported": reported, "headline": headline,
        "excluded": excluded,
    }  # fmt: skip


def _without(block: Nested, part: Mapping[str, list[str]]) -> list[Nested]:
    """The block less its cells that are in all of the part's lists, as blocks again."""
    if block["splits"] not in part.get("splits", [block["splits"]]):
        return [block]
    rest = []
    for kind in (kind for kind in part if kind != "splits"):
        outside = [name for name in block[kind] if name not in part[kind]]
        if outside:
            rest.append({**block, kind: outside})
        block = {**block, kind: [name for name in block[kind] if name in part[kind]]}
        if not block[kind]:
            break
    return rest


def _pairs(grid: Iterable[Nested], suites: Mapping[str, Nested]) -> set[tuple[str, str]]:
    """The models of a grid with the attacks that run on them."""
    return {
        (model, attack)
        for block in grid
        for model in block["models"]
        for suite in block["suites"]
        for attack in suites[suite]["attacks"]
    }


def _without_unseen(figure: Nested, unseen: set[tuple[str, str]]) -> Nested | None:
    """A figure of one attack without the models that it does not run on; None if none is left."""
    attack = figure.get("attack")
    if (figure.get("model"), attack) in unseen:
        return None
    if attack is None or "models" not in figure:
        return figure
    models = [model for model in figure["models"] if (model, attack) not in unseen]
    return {**figure, "models": models} if models else None


def _named(grid: list[Nested], kind: str) -> set[str]:
    return {name for block in grid for name in block[kind]}


def _rest(spec: Nested, lost: Mapping[str, set]) -> Nested | None:
    """What is left of a table or figure; None where one of its lists has lost everything."""
    lists = _lists(spec, lost)
    alone = {"dataset": "datasets", "model": "models"}
    if not all(lists.values()) or any(spec.get(key) in lost[kind] for key, kind in alone.items()):
        return None
    if "attack" in spec and AttackSet.of(spec["attack"]) in lost["attacks"]:
        return None
    rest = {**spec, **lists}
    if "within" in spec:
        families = {
            title: [name for name in names if name not in lost["models"]]
            for title, names in spec["within"].items()
        }
        # Two networks have no trend.
        rest["within"] = {title: names for title, names in families.items() if len(names) > 2}
    return rest


def _lists(spec: Nested, lost: Mapping[str, set]) -> Nested:
    """The lists of names and cells in a specification, shortened."""
    lists = {
        kind: [name for name in spec[kind] if name not in lost[kind]]
        for kind in ("datasets", "models")
        if kind in spec
    }
    for part in ("attacks", "cells"):
        if part in spec:
            lists[part] = [one for one in spec[part] if AttackSet.of(one) not in lost["attacks"]]
    return lists


def attacks_of(suite: str, suites: Mapping[str, Nested]) -> list[AttackSet]:
    """A suite's attacks one by one, and its worst case over them."""
    return [*map(AttackSet.of, suites[suite]["attacks"]), AttackSet(SUITE, suite)]


def sets_in(value: Any) -> Iterable[AttackSet]:
    """The attack sets in a value that may be an item, a list of items or a mapping to items."""
    if isinstance(value, Mapping) and not KEYS.keys() & value.keys():
        return [found for part in value.values() for found in sets_in(part)]
    return map(AttackSet.of, value) if isinstance(value, list) else [AttackSet.of(value)]


def names_in(value: Any) -> Iterable[str]:
    """The names in a value that may be one, a list of them or a mapping to them."""
    if isinstance(value, Mapping):
        return [name for part in value.values() for name in names_in(part)]
    return value if isinstance(value, list) else [value]
