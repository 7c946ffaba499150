"""What a study's entry of a table or figure says: types that carry meaning, frozen specifications.

A kind's file states its keys in a dataclass ``Spec``. The type of a field says what its values
refer to (:data:`ModelId`, :data:`AttackItem`, :data:`Cells` …). From these types come the schema of
studies and the tables of keys, the checks that a study names only what it runs, and what is left
of an entry where a scale excludes something. Nothing guesses from a key's name.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Annotated, Any, NamedTuple, Protocol, TypeVar, get_args, get_origin

from assay.analysis.attack_set import NORM, SINGLE, SUITE, AttackSet
from assay.foundation.keys import ABSENT, Key, Written, fields_of, key
from assay.foundation.radius import Radius


class Refers(Enum):
    """What a value of an entry refers to."""

    MODEL = "model"
    DATASET = "data set"
    SCHEME = "split scheme"
    ATTACK = "attack"
    # The attacks of a worst case, by what names them.
    SUITE = "suite"
    NORM = "norm"
    FILE = "file of printed numbers"
    # Radii of the attacks that stand beside them: each must be run, or some of the list.
    RADIUS = "radius"
    SOME_RADII = "radii"
    # Of the attack of saliency maps, which stands elsewhere in the study.
    RADIUS_OF_MAPS = "radius of maps"


# The measurement whose attack is that of the figures of maps.
MAPS = "saliency"
# The worst case of a reference to attacks (:class:`AttackSet`).
WORST_CASES = {Refers.ATTACK: SINGLE, Refers.SUITE: SUITE, Refers.NORM: NORM}

ModelId = Annotated[str, Refers.MODEL]
DatasetId = Annotated[str, Refers.DATASET]
SchemeId = Annotated[str, Refers.SCHEME]
AttackId = Annotated[str, Refers.ATTACK]
ReportedFile = Annotated[str, Refers.FILE]


@dataclass(frozen=True, kw_only=True)
class WorstCase:
    """The worst case over attacks: ``{suite: thesis_linf}`` or ``{norm: linf}``."""

    suite: Annotated[
        str,
        Refers.SUITE,
        key("an id of config/catalogue/suites.yaml; the worst case over its attacks"),
    ] = ABSENT
    norm: Annotated[
        str, Refers.NORM, key("the worst case over all attacks of this norm (linf, l2, l0)")
    ] = ABSENT


AttackItem = Annotated[
    AttackSet,
    Written(AttackId | WorstCase),
    key("an attack id, or {suite: id} or {norm: linf}, a worst case over attacks", least=1, most=1),
]


@dataclass(frozen=True, kw_only=True)
class WrittenCell:
    """An attack at a radius, as a file says it."""

    attack: Annotated[
        str,
        Refers.ATTACK,
        key("an id of config/catalogue/attacks.yaml (of a sweep: a cell for each entry)"),
    ] = ABSENT
    suite: Annotated[
        str,
        Refers.SUITE,
        key(
            "in place of attack: an id of config/catalogue/suites.yaml; the worst case over its "
            "attacks"
        ),
    ] = ABSENT
    norm: Annotated[
        str,
        Refers.NORM,
        key("in place of attack: the worst case over all attacks of this norm (linf, l2, l0)"),
    ] = ABSENT
    attacks: Annotated[
        list[AttackItem],
        key("in place of attack: several of them, a cell for each, all with this epsilon"),
    ] = ABSENT
    epsilon: Annotated[
        Radius,
        Refers.RADIUS,
        key(
            "one of the epsilons of the attack, or `threat`: those of the data sets shown, in the "
            "attack's norm; default all",
            ge=0,
        ),
    ] = ABSENT


class Cell(NamedTuple):
    """An attack, or a worst case, at one radius or at all that were run (None)."""

    attacks: AttackSet
    epsilon: float | None = None

    @classmethod
    def of(cls, item: Cell | AttackSet | Mapping[str, Any]) -> Cell:
        """From what a file says, or from an attack set at all its radii."""
        if isinstance(item, Cell):
            return item
        epsilon = item.get("epsilon") if isinstance(item, Mapping) else None
        return cls(AttackSet.of(item), None if epsilon is None else float(epsilon))


AttackAtRadius = Annotated[Cell, Written(WrittenCell)]
Cells = Annotated[list[AttackAtRadius], key("rows: attack and epsilon", least=1)]
# Of tables:
Datasets = Annotated[list[DatasetId], key("data sets shown; default all of the grid", least=1)]
Models = Annotated[list[ModelId], key("columns; default all models of the grid", least=1)]
Schemes = Annotated[
    list[SchemeId],
    key(
        "split schemes that are compared, or shown one by one; ids of config/catalogue/splits.yaml",
        least=1,
    ),
]
Model = Annotated[ModelId, key("the one model shown")]
Reported = Annotated[
    ReportedFile, key("a file of config/reported/ with printed numbers to show beside")
]
# Of figures:
Shown = Annotated[
    list[DatasetId], key("data sets shown; default all of the grid, or the first one", least=1)
]
Drawn = Annotated[
    list[ModelId],
    key("models shown; default of accuracy_curves: those of the headline", least=1),
]
Attack = Annotated[AttackId, key("the one attack shown")]
Attacks = Annotated[
    list[AttackItem],
    key("attacks shown, and worst cases over several: {suite: thesis_linf}, {norm: linf}", least=1),
]
Rows = Annotated[int, key("images shown, at least 1; default 6", ge=1)]
Radii = Annotated[
    list[Annotated[Radius, Key(gt=0)]],
    Refers.SOME_RADII,
    key("radii drawn, if they were run; default all", least=1),
]
RadiusOfMaps = Annotated[
    Radius,
    Refers.RADIUS_OF_MAPS,
    key(
        "the one radius shown, or the nearest stored one, or `threat`: that of the data set shown; "
        "default the largest",
        gt=0,
    ),
]
_FOR_EACH = key(
    "name, then a list of values: one table or figure for each of them, or for each combination of "
    "several lists. {name} in the id and in texts is the value, {name.key} what it has at a key"
)


@dataclass(frozen=True, kw_only=True)
class TableSpec:
    """What every table's entry may say; the ``Spec`` of a kind adds its own keys."""

    kind: Annotated[str, key("kind of table")]
    title: Annotated[str, key("heading")]
    caption: Annotated[str, key("what the table shows and how to read it")] = ""
    for_each: Annotated[dict, _FOR_EACH] = ABSENT


@dataclass(frozen=True, kw_only=True)
class FigureSpec:
    """What every figure's entry may say; the ``Spec`` of a kind adds its own keys.

    Attributes:
        excluded_models: titles of models of the entry that the scale leaves out; from the plan.
    """

    kind: Annotated[str, key("kind of figure")]
    title: Annotated[str, key("heading")]
    caption: Annotated[str, key("what the figure shows and how to read it")] = ""
    for_each: Annotated[dict, _FOR_EACH] = ABSENT
    excluded_models: list[str] = field(default_factory=list, metadata={"internal": True})


class HasCaption(Protocol):
    """An entry with words of its own below what it shows."""

    @property
    def caption(self) -> str: ...


class HasModels(Protocol):
    """An entry that may name models."""

    @property
    def models(self) -> list[str]: ...


class HasDatasets(Protocol):
    """An entry that may name data sets."""

    @property
    def datasets(self) -> list[str]: ...


class HasCells(Protocol):
    """An entry that may name attacks at radii."""

    @property
    def cells(self) -> list[Cell]: ...


class HasRadii(Protocol):
    """An entry that may name the radii that it draws."""

    @property
    def radii(self) -> list[Radius]: ...


class HasReported(Protocol):
    """An entry that may name a file of printed numbers."""

    @property
    def reported(self) -> str: ...


S = TypeVar("S")


def spec_of(kind: type[S], written: Mapping[str, Any]) -> S:
    """The frozen specification that an entry, which the schema has checked, says.

    Args:
        kind: a dataclass, such as the ``Spec`` of a kind.
        written: keys and values. A key that is missing is :data:`ABSENT`, which is false.

    Example:
        >>> spec_of(WorstCase, {"norm": "linf"})
        WorstCase(suite=ABSENT, norm='linf')
    """
    hints = typing.get_type_hints(kind, include_extras=True)
    found = {}
    for one in dataclasses.fields(kind):  # type: ignore[arg-type]
        if one.name in written:
            found[one.name] = _read(hints[one.name], written[one.name])
        elif one.default is dataclasses.MISSING and one.default_factory is dataclasses.MISSING:
            found[one.name] = ABSENT
    return kind(**found)


def _read(kind: Any, value: Any) -> Any:
    """A value as its type says it."""
    if get_origin(kind) is Annotated:
        return _read(get_args(kind)[0], value)
    if kind in (AttackSet, Cell):
        return kind.of(value)
    if get_origin(kind) is list:
        return [_read(get_args(kind)[0], one) for one in value]
    if get_origin(kind) is dict:
        return {name: _read(get_args(kind)[1], one) for name, one in value.items()}
    if dataclasses.is_dataclass(kind) and isinstance(value, Mapping):
        return spec_of(kind, value)  # type: ignore[arg-type]
    return value


class Reference(NamedTuple):
    """A value that refers to something.

    Attributes:
        refers: to what.
        value: as it is written.
        keys: where it is, below the entry.
        beside: what stands beside it: the references of the mapping that it is in.
    """

    refers: Refers
    value: Any
    keys: tuple[Any, ...]
    beside: Sequence[Reference]

    @property
    def attacks(self) -> AttackSet | None:
        """The attack or worst case that it names, if it names one."""
        if self.refers not in WORST_CASES:
            return None
        return AttackSet(WORST_CASES[self.refers], self.value)


def references(kind: Any, written: Any) -> list[Reference]:
    """All that a written value refers to, by the types of its parts.

    Args:
        kind: a type, such as the ``Spec`` of a kind of figure.
        written: the value as a file says it.

    Example:
        >>> found = references(Models, ["cnn", "gbz"])
        >>> [(one.refers.value, one.value, one.keys) for one in found]
        [('model', 'cnn', (0,)), ('model', 'gbz', (1,))]
    """
    beside: list[Reference] = []
    beside += _references(kind, written, (), beside)
    return beside


def _references(
    kind: Any, value: Any, keys: tuple[Any, ...], beside: Sequence[Reference]
) -> Iterator[Reference]:
    marks, kind = resolved(kind, value)
    for mark in marks:
        if isinstance(mark, Refers):
            yield Reference(mark, value, keys, beside)
    if get_origin(kind) is list:
        for number, part in enumerate(value):
            yield from _references(get_args(kind)[0], part, (*keys, number), beside)
    elif get_origin(kind) is dict:
        for name, part in value.items():
            yield from _references(get_args(kind)[1], part, (*keys, name), beside)
    elif dataclasses.is_dataclass(kind):
        own: list[Reference] = []
        for name, hint in fields_of(kind).items():
            if name in value:
                own += _references(hint, value[name], (*keys, name), own)
        yield from own


def resolved(kind: Any, value: Any) -> tuple[list[Any], Any]:
    """The marks of a type, and the type in which a file writes a value of it.

    Of a union that is the part that the value fits; None if it fits none.

    Example:
        >>> resolved(AttackItem, {"norm": "linf"})[1].__name__, resolved(AttackItem, "pgd")[1]
        ('WorstCase', <class 'str'>)
    """
    marks: list[Any] = []
    while True:
        if get_origin(kind) is Annotated:
            own = get_args(kind)[1:]
            marks += own
            forms = [mark.form for mark in own if isinstance(mark, Written)]
            kind = forms[0] if forms else get_args(kind)[0]
        elif get_origin(kind) in (typing.Union, types.UnionType):
            kind = next((part for part in get_args(kind) if _fits(part, value)), None)
        else:
            return marks, kind


def _fits(kind: Any, value: Any) -> bool:
    """Whether a part of a union is the one that a value is of."""
    kind = resolved(kind, value)[1]
    if isinstance(value, Mapping):
        return dataclasses.is_dataclass(kind) or get_origin(kind) is dict
    if isinstance(value, list):
        return get_origin(kind) is list
    return isinstance(kind, type) and isinstance(value, kind)
