"""Entries of a catalogue from what files write: variants, sweeps, and what a class says itself.

``extends`` names another entry, of which an entry takes everything but the title. ``sweep`` makes
one entry for each value of a setting. What the class of an attack states (its norm, its source,
its default settings) need not be written. ``threat`` gives the radii on data sets that have none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from assay.foundation.errors import AssayError, ConfigError
from assay.foundation.outline import outline
from assay.foundation.sources import Source, laid_over, merged
from assay.foundation.suggestions import did_you_mean

ATTACK = "assay.attacks.attack:Attack"
# An entry's own: a variant would say it of itself too.
_OWN = ("title", "extends", "sweep")
_VALUES = (str, int, float)
# Where attacks and models say their radii, and at which key: beside them ``threat`` may stand.
RADII = (((), "epsilons"), (("training", "adversary"), "epsilon"))
# What ``threat`` is where an attack runs at the radii of a data set beside its own.
ALSO = "also"


@dataclass(frozen=True)
class WrittenEntry:
    """What files say about one entry.

    Attributes:
        names: the ids that an override may use for it, the most general first: its own, or its
            sweep's and its own.
        parts: what the files say, the last on top, each with the number of its file.
        own: the number of the first file that names it.
    """

    names: tuple[str, ...]
    parts: tuple[tuple[int, Source], ...]
    own: int


def written_entries(files: Sequence[Source]) -> dict[str, WrittenEntry]:
    """The entries of a catalogue by id, in the order of the files.

    A variant takes what the file that writes ``extends``, and the files below it, say of the other
    entry: a user's change to an entry does not reach the variants that come with assay.

    Args:
        files: what each file says, entries by id; the last lies on top.

    Raises:
        ConfigError: an entry extends what is not there, or itself; a sweep is not one.

    Example:
        >>> tree = {"a": {"title": "{eot_samples} samples", "sweep": {"eot_samples": [1, 5]}}}
        >>> list(written_entries([Source("attacks.yaml", (), tree)]))
        ['a_1', 'a_5']
    """
    raw: dict[str, list[tuple[int, Source]]] = {}
    for number, file in enumerate(files):
        for name in file.tree:
            entry = file.below(name)
            assert entry is not None
            raw.setdefault(name, []).append((number, entry))
    sweeps = {name: found for name in raw if (found := _sweep(raw[name]))}
    # Of values that a file above has taken away nothing is left.
    gone = {
        f"{name}_{_id(value)}"
        for name in sweeps
        for _, source in raw[name]
        if isinstance(source.tree, Mapping) and source.tree.get("sweep")
        for value, _ in _swept(name, source)
    }
    members: dict[str, WrittenEntry] = {}
    for name, (number, source) in sweeps.items():
        template = _parts(name, raw, len(files), ())
        for value, swept in _swept(name, source):
            member = f"{name}_{_id(value)}"
            filled = [(n, _filled(part, *swept.tree["settings"].items())) for n, part in template]
            over = raw.get(member, [])
            for _, part in over:
                if isinstance(part.tree, Mapping) and part.tree.keys() & {"extends", "sweep"}:
                    raise ConfigError(
                        "an entry of a sweep extends nothing and has no sweep",
                        where=part.at(),
                        remedy=f"write it for the whole sweep ({name})",
                    )
            parts = sorted([*filled, (number, swept), *over], key=lambda item: item[0])
            members[member] = WrittenEntry((name, member), tuple(parts), raw[name][0][0])
    found: dict[str, WrittenEntry] = {}
    for name, parts in raw.items():
        if name in sweeps:
            found |= {m: made for m, made in members.items() if made.names[0] == name}
        elif name not in members and name not in gone:
            whole = tuple(_parts(name, raw, len(files), ()))
            found[name] = WrittenEntry((name,), whole, parts[0][0])
    return found


def _parts(
    name: str, raw: Mapping[str, Sequence[tuple[int, Source]]], files: int, seen: tuple[str, ...]
) -> list[tuple[int, Source]]:
    """What the first so many files say about an entry, that which it extends first."""
    own = [(number, source) for number, source in raw[name] if number < files]
    found = []
    number, source = next(
        ((n, s) for n, s in reversed(own) if isinstance(s.tree, Mapping) and "extends" in s.tree),
        (0, None),
    )
    if source:
        other = source.tree["extends"]
        if other in (*seen, name):
            raise ConfigError(
                f"'{name}' extends itself ({' extends '.join([*seen, name, str(other)])})",
                where=source.at("extends"),
                remedy="name another entry",
            )
        if not isinstance(other, str) or other not in raw or raw[other][0][0] > number:
            raise ConfigError(
                f"there is no entry '{other}' to extend",
                where=source.at("extends"),
                remedy=did_you_mean(other, raw, "name an entry of the same file"),
            )
        for layer, part in _parts(other, raw, number + 1, (*seen, name)):
            found.append((layer, _without(part, _OWN)))
    return [*found, *((layer, _threatened(_without(part, _OWN[1:]))) for layer, part in own)]


def _threatened(source: Source) -> Source:
    """With radii and ``threat`` as two keys, whichever of the two a file writes.

    Radii without a threat, as a file writes them, hold on every data set.
    """
    for path, key in RADII:
        part = source.below(*path)
        if not part or not isinstance(part.tree, Mapping) or not part.tree.keys() & {"threat", key}:
            continue
        threat, radii, moved = part.tree.get("threat"), part.tree.get(key), source.moved
        if key not in part.tree:
            radii, moved = threat, (*moved, ((*path, key), part.written("threat")))
        elif isinstance(radii, list) and "threat" in radii:
            threat, radii = ALSO, [radius for radius in radii if radius != "threat"]
        filled: Any = {"threat": threat, key: radii}
        for step in reversed(path):
            filled = {step: filled}
        source = source._replace(tree=merged(source.tree, filled), moved=moved)
    return source


def _without(source: Source, keys: Iterable[str]) -> Source:
    if not isinstance(source.tree, Mapping):
        return source
    return source._replace(tree={k: v for k, v in source.tree.items() if k not in keys})


def _sweep(parts: Iterable[tuple[int, Source]]) -> tuple[int, Source] | None:
    """What decides on the values of a sweep."""
    holding = [item for item in parts if isinstance(item[1].tree, Mapping)]
    return next((item for item in reversed(holding) if item[1].tree.get("sweep")), None)


def _swept(name: str, source: Source) -> Iterable[tuple[Any, Source]]:
    """Each value of a sweep, with what it makes of the entry."""
    sweep = source.tree["sweep"]
    values = next(iter(sweep.values())) if isinstance(sweep, Mapping) and len(sweep) == 1 else None
    if not (isinstance(values, list) and values and all(isinstance(v, _VALUES) for v in values)):
        raise ConfigError(
            "is not a sweep",
            where=source.at("sweep"),
            remedy="write one setting with a list of its values, such as {eot_samples: [1, 5]}",
        )
    (setting,) = sweep
    for number, value in enumerate(values):
        tree = {"settings": {setting: value}, "sweep_of": name, "level": value}
        at = source.written("sweep", setting, number)
        moved = ((("settings", setting), at), (("level",), at))
        yield value, Source(source.file, source.keys, tree, moved)


def _filled(source: Source, *values: tuple[str, Any]) -> Source:
    """The texts of an entry with values in place of their names in braces."""

    def filled(value: Any) -> Any:
        if isinstance(value, str):
            for name, level in values:
                value = value.replace(f"{{{name}}}", str(level))
            return value
        return [filled(part) for part in value] if isinstance(value, list) else value

    if not isinstance(source.tree, Mapping):
        return source
    return source._replace(tree={key: filled(part) for key, part in source.tree.items()})


def _id(value: Any) -> str:
    return re.sub("[^a-z0-9]+", "_", str(value).lower()).strip("_")


def with_class(entry: Mapping[str, Any]) -> dict[str, Any]:
    """An attack's entry with what its class states: norm, source and default settings.

    Args:
        entry: of the catalogue; without a class that is known, it stays as it is.

    Example:
        >>> found = with_class({"implementation": "assay.attacks.pgd:PGD", "norm": "l2"})
        >>> found["settings"]["norm"], found["settings"]["steps"], found["source"][:12]
        ('l2', 40, 'Madry et al.')
    """
    try:
        known = outline(entry["implementation"])
        common = outline(ATTACK).arguments
        settings = {**(entry.get("settings") or {})}
    except (AssayError, KeyError, AttributeError, TypeError, ValueError):
        return dict(entry)  # what is wrong with it is reported where it is used
    found = dict(entry)
    if "norm" in known.arguments and "norm" in entry:
        settings.setdefault("norm", entry["norm"])
    for name in known.arguments:
        if name not in common and name in known.values:
            settings.setdefault(name, _listed(known.values[name]))
    found["settings"] = settings
    norm = settings.get("norm", known.values.get("norm"))
    for key, value in (("norm", norm), ("source", known.values.get("source"))):
        if value is not None:
            found.setdefault(key, value)
    return found


def _listed(value: Any) -> Any:
    """A value as a file would write it."""
    return [_listed(part) for part in value] if isinstance(value, tuple | list) else value


def is_trained(model: Mapping[str, Any]) -> bool:
    """Whether assay trains the network of a model's entry; others come with their weights.

    Example:
        >>> is_trained({"weights": None}), is_trained({"weights": None, "trained": False})
        (True, False)
    """
    return not model.get("weights") and model.get("trained", True)


def runs_on(access: str, model: Mapping[str, Any]) -> bool:
    """Whether an attack runs on a model, by what it needs to see and by the model's entry.

    Example:
        >>> runs_on("reconstructions", {"family": "discriminative"})
        False
        >>> runs_on("white_box", {"family": "discriminative"})
        True
    """
    return access != "reconstructions" or model["family"] == "generative"


def read_entries(file: str, tree: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The entries of attacks that one file alone makes, by id."""
    return {
        name: with_class(laid_over(source for _, source in entry.parts))
        for name, entry in written_entries([Source(file, (), tree)]).items()
    }


def members_of(entries: Mapping[str, Mapping[str, Any]]) -> dict[str, list[str]]:
    """The ids of each sweep's entries, in the order of their values, by the sweep's id."""
    found: dict[str, list[str]] = {}
    for name, entry in entries.items():
        if entry.get("sweep_of"):
            found.setdefault(entry["sweep_of"], []).append(name)
    return found


def named(names: Iterable[str], sweeps: Mapping[str, Sequence[str]]) -> list[str]:
    """Names of attacks with the entries of a sweep in its place."""
    return [member for name in names for member in sweeps.get(name, [name])]
