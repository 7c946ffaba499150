"""A study without what its scale excludes, and without what would show nothing else."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import is_dataclass
from types import NoneType
from typing import Any, NamedTuple, get_args, get_origin

from assay.analysis.attack_set import KEYS, SUITE, AttackSet
from assay.foundation.errors import ConfigError
from assay.foundation.keys import Key, fields_of
from assay.plan.configuration import Configuration
from assay.plan.keys import study as keys
from assay.plan.validation import Nested
from assay.report.kinds import PARTS, kind_of
from assay.report.spec import WORST_CASES, Refers, references, resolved


def without_excluded(study: Nested, configuration: Configuration) -> Nested:
    """The study without the excluded data sets, models, suites and parts, wherever it names them.

    Tables, figures and columns that show nothing else go with them; so do the paper's words for
    them. The words and the grid as written stand under ``excluded``, so that the ledger says
    "not run" and whether it is the scale that excludes them.

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
    lost: dict[str, set[Any]] = {
        kind: {*gone[kind], *_named(study["grid"], kind)} - _named(grid, kind)
        for kind in ("datasets", "models")
    }
    lost["attacks"] = every - ran
    gone = _Excluded(lost["models"], lost["datasets"], lost["attacks"])
    shown = {
        part: {
            name: rest
            for name, spec in study[part].items()
            if (rest := gone.rest(kind_of(part, spec).Spec, spec)) is not EMPTY
        }
        for part in PARTS
    }
    unseen = _pairs(study["grid"], suites) - _pairs(grid, suites)
    titles = {name: entry["title"] for name, entry in configuration.catalogue["models"].items()}
    for name, spec in [*shown["figures"].items()]:
        kind = kind_of("figures", spec).Spec
        rest = _without_unseen(kind, spec, unseen)
        # A figure says whom it does not show.
        absent = [
            titles[one.value]
            for one in references(kind, study["figures"][name])
            if one.refers is Refers.MODEL and one.value in lost["models"]
        ]
        if rest is EMPTY:
            del shown["figures"][name]
        else:
            shown["figures"][name] = {**rest, "excluded_models": absent} if absent else rest
    words = {
        kind: {
            word: named
            for word, named in study["reported"][kind].items()
            if lost[kind].isdisjoint(sets_in(named) if kind == "attacks" else names_in(named))
        }
        for kind in lost
    }
    rest = {key: value for key, value in study.items() if key not in ("grid", "reported", *PARTS)}
    listed = gone.rest(keys.Study, rest)
    variants = study["reported"].get("variants", {})
    left = gone.rest(fields_of(keys.PrintedNumbers)["variants"], variants)
    reported = {**study["reported"], **words, "variants": left}
    excluded: Nested = {
        kind: {word: named for word, named in study["reported"][kind].items() if word not in kept}
        for kind, kept in words.items()
    }
    excluded["variants"] = {} if left == variants else variants
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
        **study, **listed, **shown, "grid": grid, "reported": reported, "excluded": excluded,
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


def _without_unseen(kind: Any, figure: Nested, unseen: set[tuple[str, str]]) -> Any:
    """A figure of one attack without the models that it does not run on, maybe EMPTY."""
    found = references(kind, figure)
    attack = next(
        (one.value for one in found if one.refers is Refers.ATTACK and len(one.keys) == 1), None
    )
    hidden = [one for one in found if one.refers is Refers.MODEL and (one.value, attack) in unseen]
    for key in dict.fromkeys(one.keys[0] for one in hidden):
        left = [name for name in figure[key] if (name, attack) not in unseen]
        if isinstance(figure[key], str) or not left:
            return EMPTY
        figure = {**figure, key: left}
    return figure


def _named(grid: list[Nested], kind: str) -> set[str]:
    return {name for block in grid for name in block[kind]}


class _Empty:
    """What is left of a value that names nothing but what is excluded."""


EMPTY: Any = _Empty()


class _Excluded(NamedTuple):
    """What a scale takes out of a study."""

    models: Container[str]
    datasets: Container[str]
    attacks: Container[AttackSet]

    def rest(self, kind: Any, value: Any) -> Any:
        """What is left of a value, by its type: :data:`EMPTY` if it would show nothing.

        A list that needs a member is empty where all of them are gone, or too few are left. A
        mapping only loses its empty members. An object is empty where one of its keys is.
        """
        marks, form = resolved(kind, value)
        if any(isinstance(mark, Refers) and self._lost(mark, value) for mark in marks):
            return EMPTY
        least = max((mark.least or 0 for mark in marks if isinstance(mark, Key)), default=0)
        if get_origin(form) is list:
            parts = (self.rest(get_args(form)[0], part) for part in value)
            left = [part for part in parts if part is not EMPTY]
            return EMPTY if len(left) < least and len(left) < len(value) else left
        if get_origin(form) is dict:
            members = {name: self.rest(get_args(form)[1], part) for name, part in value.items()}
            return {name: part for name, part in members.items() if part is not EMPTY}
        if is_dataclass(form):
            hints = fields_of(form)
            members = {
                name: self._member(hints[name], part) if name in hints else part
                for name, part in value.items()
            }
            return EMPTY if EMPTY in members.values() else members
        return value

    def _member(self, kind: Any, value: Any) -> Any:
        """What is left of the value of a key; null, where the key may be that, of an empty one."""
        left = self.rest(kind, value)
        return None if left is EMPTY and resolved(kind, None)[1] is NoneType else left

    def _lost(self, refers: Refers, value: Any) -> bool:
        if refers in WORST_CASES:
            return AttackSet(WORST_CASES[refers], value) in self.attacks
        names = {Refers.MODEL: self.models, Refers.DATASET: self.datasets}
        return refers in names and value in names[refers]


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
