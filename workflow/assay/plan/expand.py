"""Studies as they are read from studies as they are written.

``defaults`` gives keys to all tables or figures of a kind, ``for_each`` makes one table or figure
for each item of its lists, the id of a sweep stands for all its entries, and ``epsilon: threat`` is
the radius of the data sets shown.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple, get_args, get_origin

from assay.analysis.attack_set import AttackSet
from assay.foundation.errors import ConfigError
from assay.foundation.keys import fields_of
from assay.foundation.sources import Keys, Source, laid_over, place
from assay.plan.keys import schema
from assay.plan.validation import Nested, unknown
from assay.report.kinds import PARTS, kinds
from assay.report.spec import MAPS, Refers, WrittenCell, resolved
from assay.report.tables.headline import Headline

THREAT = "threat"
_PLACEHOLDER = re.compile(r"\{(\w+)(?:\.(\w+))?\}")


class Library(NamedTuple):
    """What a study needs to know of the catalogues.

    Attributes:
        sweeps: the ids of each sweep's entries, by the sweep's id.
        norms: the norm of each attack, and of the worst cases that tables may name.
        threats: radii by norm of each data set that has some.
    """

    sweeps: Mapping[str, Sequence[str]]
    norms: Callable[[AttackSet], str | None]
    threats: Mapping[str, Mapping[str, Sequence[float]]]


class Expanded(NamedTuple):
    """A study, and where what it says is written.

    Attributes:
        tree: the study without ``defaults``, ``for_each``, sweeps and threats.
        sources: for each table and figure, by part and name, what makes it, the last on top.
        rest: what says all else.
    """

    tree: Nested
    sources: dict[tuple[str, str], list[Source]]
    rest: Source

    def at(self, *keys: Any, by: Keys = ()) -> str:
        """The file and the keys at which what stands at `keys` of the tree is written."""
        if keys[:2] in self.sources:
            return place(self.sources[keys[:2]], *keys[2:], by=by)
        return place([self.rest], *keys, by=by)


def expanded(source: Source, library: Library) -> Expanded:
    """A study from what its file says.

    Raises:
        ConfigError: a default that no kind reads, a placeholder without a value, a radius of a
            data set that has none.
    """
    defaults = _defaults(source)
    tree = {key: value for key, value in source.tree.items() if key != "defaults"}
    grid = tree.get("grid") if isinstance(tree.get("grid"), list) else []
    everywhere = [d for block in grid if isinstance(block, Mapping) for d in _listed(block)]
    found: dict[tuple[str, str], list[Source]] = {}
    for part in PARTS:
        if not isinstance(tree.get(part), Mapping):
            continue
        items: Nested = {}
        for written in tree[part]:
            written_there = source.below(part, written)
            assert written_there is not None
            for name, item in _each(written_there, written):
                if name in items:
                    raise ConfigError(
                        f"there are two {part} of the name '{name}'",
                        where=item.at(),
                        remedy="put a placeholder that tells them apart into the name",
                    )
                below = defaults.get(part, ())
                sources = [*_of_kind(below, part, item), item]
                whole = laid_over(sources)
                sets = _listed(whole) if isinstance(whole, Mapping) else []
                resolve = _Radii(library, sets or everywhere, _saliency(source))
                keys = _Keys.of_item(part, whole)
                found[part, name] = [_resolved(one, library, resolve, keys) for one in sources]
                items[name] = laid_over(found[part, name])
        tree[part] = items
    head = source._replace(tree=tree)
    if isinstance(tree.get("headline"), Mapping):
        resolve = _Radii(library, everywhere, None)
        own = source.below("headline")
        assert own is not None
        headline = _resolved(own, library, resolve, _Keys.of(Headline))
        tree["headline"] = headline.tree
        head = source._replace(tree=tree, moved=_above(headline, source.keys, "headline"))
    return Expanded(tree, found, head)


def _above(source: Source, keys: Keys, *path: Any) -> tuple[tuple[Keys, Keys], ...]:
    """Where what stands below `path` of a file is written."""
    return tuple(((*keys, *path, *start), to) for start, to in source.moved)


def _saliency(source: Source) -> Any:
    """What a study says of its saliency maps, if it has some."""
    found = source.below("measurements", MAPS)
    return found.tree if found else None


def _listed(tree: Mapping[str, Any]) -> list[str]:
    """The data sets that a block or an item names."""
    names = tree.get("datasets", [])
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []


def _kinds(part: str) -> dict[str, list[str]]:
    """The keys that each kind of table or figure reads."""
    entry = schema("study")["properties"][part]["additionalProperties"]
    return {
        branch["if"]["properties"]["kind"]["const"]: branch["then"]["propertyNames"]["enum"]
        for branch in entry["allOf"]
    }


def _defaults(source: Source) -> dict[str, Source]:
    """The defaults of each part, by kind; checked, since what no item reads is never complained of.

    Raises:
        ConfigError: a part, a kind or a key that there is not.
    """
    found = {}
    for part in _mapping(source.below("defaults")):
        if part not in PARTS:
            raise unknown("part of a study", part, PARTS, source.at("defaults"))
        known = _kinds(part)
        for kind, keys in _mapping(source.below("defaults", part)).items():
            if kind != "*" and kind not in known:
                raise unknown(f"kind of {part}", kind, known, source.at("defaults", part))
            read = known.get(kind) or list(
                dict.fromkeys(k for keys in known.values() for k in keys)
            )
            for key in _mapping(source.below("defaults", part, kind)):
                if key not in read or key in ("kind", "for_each"):
                    where = source.at("defaults", part, kind)
                    raise unknown("key that they read", key, read, where)
        own = source.below("defaults", part)
        assert own is not None
        found[part] = own
    return found


def _mapping(source: Source | None) -> Mapping[str, Any]:
    if source is None:
        return {}
    if not isinstance(source.tree, Mapping):
        raise ConfigError("must be keys with values", where=source.at(), remedy="write key: value")
    return source.tree


def _of_kind(defaults: Source | tuple[()], part: str, item: Source) -> Iterator[Source]:
    """The defaults for an item: those of all kinds that its kind reads, then those of its kind."""
    kind = item.tree.get("kind") if isinstance(item.tree, Mapping) else None
    if not defaults or not isinstance(kind, str):
        return
    if every := defaults.below("*"):
        read = _kinds(part).get(kind, ())
        yield every._replace(tree={key: v for key, v in every.tree.items() if key in read})
    if own := defaults.below(kind):
        yield own


def _each(item: Source, name: str) -> Iterator[tuple[str, Source]]:
    """The tables or figures that an item of a study makes, by name."""
    if not isinstance(item.tree, Mapping) or "for_each" not in item.tree:
        yield name, item
        return
    lists = item.tree["for_each"]
    good = isinstance(lists, Mapping) and all(isinstance(v, list) and v for v in lists.values())
    if not (good and lists):
        raise ConfigError(
            "is not lists of items",
            where=item.at("for_each"),
            remedy="write a name with a list of its values, such as {dataset: [mnist, svhn]}",
        )
    rest = {key: value for key, value in item.tree.items() if key != "for_each"}
    for chosen in itertools.product(*(range(len(values)) for values in lists.values())):
        values = _Values(item, dict(zip(lists, chosen, strict=True)))
        tree, moved = values.fill(rest, ())
        made, _ = values.fill(name, ())
        yield str(made), item._replace(tree=tree, moved=tuple(moved))


class _Values:
    """One choice of the items of ``for_each``: what its placeholders stand for."""

    def __init__(self, item: Source, chosen: Mapping[str, int]):
        self._item, self._chosen = item, chosen

    def fill(self, value: Any, keys: Keys) -> tuple[Any, list[tuple[Keys, Keys]]]:
        """`value` with placeholders filled, and where those that are whole values are written."""
        moved: list[tuple[Keys, Keys]] = []
        if isinstance(value, Mapping):
            result: Any = {}
            for key, part in value.items():
                result[key], below = self.fill(part, (*keys, key))
                moved += below
            return result, moved
        if isinstance(value, list):
            result = []
            for number, part in enumerate(value):
                filled, below = self.fill(part, (*keys, number))
                result.append(filled)
                moved += below
            return result, moved
        if not isinstance(value, str):
            return value, moved
        if whole := _PLACEHOLDER.fullmatch(value):
            filled, at = self._value(whole, keys)
            return filled, [(keys, at)]
        return _PLACEHOLDER.sub(lambda found: str(self._value(found, keys)[0]), value), moved

    def _value(self, found: re.Match, keys: Keys) -> tuple[Any, Keys]:
        """What a placeholder stands for, and where that is written."""
        name, field = found.groups()
        if name not in self._chosen:
            raise unknown("item of for_each", name, self._chosen, self._item.at(*keys))
        number = self._chosen[name]
        value = self._item.tree["for_each"][name][number]
        path = ("for_each", name, number)
        if field is not None:
            if not isinstance(value, Mapping) or field not in value:
                known = list(value) if isinstance(value, Mapping) else []
                raise unknown(f"key of '{name}'", field, known, self._item.at(*path))
            value, path = value[field], (*path, field)
        return value, self._item.written(*path)


class _Radii:
    """The radii that ``epsilon: threat`` means in one table or figure."""

    def __init__(self, library: Library, datasets: Sequence[str], saliency: Any):
        self._library, self._datasets = library, datasets
        self._saliency_attack = saliency.get("attack") if isinstance(saliency, Mapping) else None

    def of_cell(self, cell: Mapping[str, Any], where: str) -> list[float]:
        """Those of all data sets that are shown, in the norm of the cell's attack."""
        return self._of(AttackSet.of(cell, where), where)

    def of_figure(self, where: str) -> float:
        """The one of a figure of saliency maps."""
        found = self._of(AttackSet.of(str(self._saliency_attack)), where)
        if len(found) > 1:
            raise ConfigError(
                f"the data sets shown have several radii ({', '.join(map(str, found))})",
                where=where,
                remedy="write the radius, or show one data set",
            )
        return found[0]

    def _of(self, attack: AttackSet, where: str) -> list[float]:
        norm = self._library.norms(attack)
        found = [
            radius
            for dataset in self._datasets
            for radius in self._library.threats.get(dataset, {}).get(str(norm), ())
        ]
        if not found:
            names = ", ".join(dict.fromkeys(self._datasets))
            raise ConfigError(
                f"no data set shown ({names}) has a radius in the norm of '{attack}'",
                where=where,
                remedy="write the radius, or give a data set one (threats in "
                "config/catalogue/datasets.yaml)",
            )
        return list(dict.fromkeys(found))


class _Keys(NamedTuple):
    """The keys of a kind that name lists of cells, lists of attacks, and a radius of maps."""

    cells: tuple[str, ...] = ()
    attacks: tuple[str, ...] = ()
    radii: tuple[str, ...] = ()

    @classmethod
    def of_item(cls, part: str, item: Any) -> _Keys:
        """Those of a table or figure; none of one of a kind that there is not."""
        name = item.get("kind") if isinstance(item, Mapping) else None
        kind = kinds(part).get(name) if isinstance(name, str) else None
        return cls.of(kind.Spec) if kind else cls()

    @classmethod
    @cache
    def of(cls, spec: type) -> _Keys:
        """Those of a specification, by the types of its fields."""
        cells, attacks, radii = [], [], []
        for name, hint in fields_of(spec).items():
            marks, form = resolved(hint, [])
            members = get_args(form)[0] if get_origin(form) is list else None
            if resolved(members, {})[1] is WrittenCell:
                cells.append(name)
            elif Refers.ATTACK in resolved(members, "")[0]:
                attacks.append(name)
            elif Refers.RADIUS_OF_MAPS in marks:
                radii.append(name)
        return cls(tuple(cells), tuple(attacks), tuple(radii))


def _resolved(source: Source, library: Library, radii: _Radii, keys: _Keys) -> Source:
    """What a source says of an item, with sweeps and threats in full."""
    if not isinstance(source.tree, Mapping):
        return source
    tree = dict(source.tree)
    lists = (*keys.cells, *keys.attacks)
    moved = [pair for pair in source.moved if pair[0][:1] not in {(key,) for key in lists}]
    for key in lists:
        if not isinstance(tree.get(key), list):
            continue
        parts: list[Any] = []
        for number, part in enumerate(tree[key]):
            at = source.at(key, number, "epsilon")
            cells = key in keys.cells
            made = _cells(part, library, radii, at) if cells else _members(part, library)
            for one in made:
                moved.append(((key, len(parts)), source.written(key, number)))
                parts.append(one)
        tree[key] = parts
    for key in keys.radii:
        if tree.get(key) == THREAT:
            tree[key] = radii.of_figure(source.at(key))
    return source._replace(tree=tree, moved=tuple(moved))


def _members(name: Any, library: Library) -> Sequence[Any]:
    return library.sweeps.get(name, [name]) if isinstance(name, str) else [name]


def _cells(cell: Any, library: Library, radii: _Radii, where: str) -> Iterator[Any]:
    """What a cell means: one for each attack, each entry of a sweep and each radius of a threat."""
    if not isinstance(cell, Mapping):
        yield cell
        return
    threat = cell.get("epsilon") == THREAT
    rest = {key: value for key, value in cell.items() if key not in ("attacks", "epsilon")}
    names = cell.get("attacks", [cell["attack"]] if "attack" in cell else [{}])
    for name in names if isinstance(names, list) else [names]:
        for one in _members(name, library):
            item = one if isinstance(one, Mapping) else {"attack": one}
            made = {**rest, **item}
            if not all(isinstance(value, str) for value in item.values()):
                yield made  # the schema complains
                continue
            for epsilon in radii.of_cell(made, where) if threat else [cell.get("epsilon")]:
                yield made if epsilon is None else {**made, "epsilon": epsilon}
