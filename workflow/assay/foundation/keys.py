"""How a dataclass says which keys a file may have: what a key means, and which values it takes.

A field without a default is required. A field whose default is :data:`ABSENT` may be left out, and
is then not filled in. All else that a reader or a schema must know of a field is in the marks of
its ``Annotated`` type.
"""

from __future__ import annotations

import dataclasses
import typing
from dataclasses import dataclass
from typing import Any


class _Absent:
    """The default of a key that is not filled in; false, as an empty list or text is."""

    def __repr__(self) -> str:
        return "ABSENT"

    def __bool__(self) -> bool:
        return False

    def __copy__(self) -> _Absent:
        return self

    def __deepcopy__(self, memo: dict) -> _Absent:
        return self


ABSENT: Any = _Absent()


@dataclass(frozen=True, kw_only=True)
class Key:
    """What a key means and which values it takes.

    Attributes:
        description: what it does, for tables of keys and for error messages.
        ge, gt, le, lt: bounds of a number.
        pattern: regular expression of a text, with `examples` for error messages.
        least, most: bounds of a list's length; `least` also of a mapping's.
        unique: whether no value may appear twice in a list.
    """

    description: str = ""
    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None
    pattern: str | None = None
    examples: tuple[str, ...] = ()
    least: int | None = None
    most: int | None = None
    unique: bool = False


@dataclass(frozen=True)
class Written:
    """A mark of a type that a file writes in another form.

    Attributes:
        form: the type of what is written.
    """

    form: Any


def key(description: str, **bounds: Any) -> Key:
    """A :class:`Key` with its description first."""
    return Key(description=description, **bounds)


def fields_of(kind: Any) -> dict[str, Any]:
    """The keys of a dataclass, each with its annotated type.

    A field whose metadata say ``internal`` is no key: code fills it in, not a file.
    """
    hints = typing.get_type_hints(kind, include_extras=True)
    return {
        field.name: hints[field.name]
        for field in dataclasses.fields(kind)
        if not field.metadata.get("internal")
    }
