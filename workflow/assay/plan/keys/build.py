"""JSON schemas and tables of keys from the dataclasses that state what a file may say.

`assay.foundation.keys` says how they state it.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING
from typing import Annotated, Any, Literal, get_args, get_origin

from assay.foundation.keys import ABSENT, Key, Written, fields_of
from assay.foundation.radius import Radius

Schema = dict[str, Any]


_SIMPLE = {str: "string", int: "integer", float: "number", bool: "boolean", dict: "object"}


def schema_of(kind: Any) -> Schema:
    """The JSON schema of a type: a dataclass, a union of dataclasses, a list, a mapping …

    A dataclass with ``OPEN = True`` lets other keys through; ``ONE_OF`` lists pairs of keys of
    which one is needed. A union of dataclasses has a field that is another ``Literal`` in each: it
    decides which keys are needed and which are read.

    Example:
        >>> from assay.foundation.keys import key
        >>> schema_of(list[Annotated[int, key("images", ge=1)]])
        {'type': 'array', 'items': {'type': 'integer', 'minimum': 1, 'description': 'images'}}
    """
    if get_origin(kind) is Annotated:
        inner, *marks = get_args(kind)
        forms = [mark.form for mark in marks if isinstance(mark, Written)]
        found = schema_of(forms[0] if forms else inner)
        for mark in marks:
            if isinstance(mark, Key):
                found = _marked(found, mark)
        return found
    if get_origin(kind) in (typing.Union, types.UnionType):
        parts = [part for part in get_args(kind) if part is not type(None)]
        found = _choice(parts) if all(map(dataclasses.is_dataclass, parts)) else _either(parts)
        return _or_null(found) if len(parts) < len(get_args(kind)) else found
    if get_origin(kind) is Literal:
        return {"enum": list(get_args(kind))}
    if get_origin(kind) is list:
        return {"type": "array", "items": schema_of(get_args(kind)[0])}
    if get_origin(kind) is dict:
        return {"type": "object", "additionalProperties": schema_of(get_args(kind)[1])}
    if dataclasses.is_dataclass(kind):
        return _object(kind)
    if kind is Radius:
        return {"type": "number", "format": "radius"}
    return {"type": _SIMPLE[kind]}


def file_schema(kind: Any, title: str, description: str) -> Schema:
    """The schema of a whole file."""
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return {**head, "title": title, "description": description, **schema_of(kind)}


def _object(kind: Any) -> Schema:
    hints, needed, properties = fields_of(kind), [], {}
    for field in dataclasses.fields(kind):
        if field.name not in hints:
            continue
        properties[field.name] = schema_of(hints[field.name])
        default = field.default
        if field.default_factory is not MISSING:
            default = field.default_factory()
        if default is MISSING:
            needed.append(field.name)
        elif default is not ABSENT:
            properties[field.name]["default"] = {} if dataclasses.is_dataclass(default) else default
    found: Schema = {"type": "object", "additionalProperties": False}
    if getattr(kind, "OPEN", False):
        del found["additionalProperties"]
    if needed:
        found["required"] = needed
    found["properties"] = properties
    if rules := _rules(kind):
        found["allOf"] = rules
    return found


def _rules(kind: Any) -> list[Schema]:
    """Of two keys of which one is needed, the second is where the first is missing."""
    pairs = getattr(kind, "ONE_OF", ())
    return [{"if": {"not": {"required": [a]}}, "then": {"required": [b]}} for a, b in pairs]


def _choice(kinds: Sequence[Any]) -> Schema:
    """One object with the keys of several dataclasses, of which the first key chooses one."""
    if len(kinds) == 1:
        return _object(kinds[0])
    objects = [_object(kind) for kind in kinds]
    choosing = next(
        name
        for name, schema in objects[0]["properties"].items()
        if len(schema.get("enum", ())) == 1
    )
    properties: Schema = {}
    for part in objects:
        for name, schema in part["properties"].items():
            properties.setdefault(name, schema)
    names = [name for part in objects for name in part["properties"][choosing]["enum"]]
    properties[choosing] = {**properties[choosing], "enum": names}
    shared = [n for n in objects[0]["required"] if all(n in part["required"] for part in objects)]
    branches = []
    for part in objects:
        value = part["properties"][choosing]["enum"][0]
        known = sorted(part["properties"], key=lambda name: name != choosing)
        then: Schema = {"propertyNames": {"enum": known}}
        if own := [name for name in part["required"] if name not in shared]:
            then = {"required": own, **then}
        other = {
            name: schema
            for name, schema in part["properties"].items()
            if name != choosing and schema != properties[name]
        }
        if other:
            then["properties"] = other
        if "allOf" in part:
            then["allOf"] = part["allOf"]
        condition = {"required": [choosing], "properties": {choosing: {"const": value}}}
        branches.append({"if": condition, "then": then})
    return {
        "type": "object",
        "additionalProperties": False,
        "required": shared,
        "properties": properties,
        "allOf": branches,
    }


def _either(kinds: Sequence[Any]) -> Schema:
    """The schema of a value that may be of several simple types."""
    found: Schema = {"type": []}
    for kind in kinds:
        part = schema_of(kind)
        found["type"].append(part.pop("type"))
        found |= part
    if len(found["type"]) == 1:
        found["type"] = found["type"][0]
    return found


def _or_null(schema: Schema) -> Schema:
    if "enum" in schema:
        return {**schema, "enum": [*schema["enum"], None]}
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    return {**schema, "type": [*kinds, "null"]}


_BOUNDS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}


def _marked(schema: Schema, mark: Key) -> Schema:
    found = dict(schema)
    for name, word in _BOUNDS.items():
        if getattr(mark, name) is not None:
            found[word] = getattr(mark, name)
    if mark.pattern:
        found |= {"pattern": mark.pattern, "examples": list(mark.examples)}
    listed = "array" in found.get("type", ())
    for bound, word in ((mark.least, "min"), (mark.most, "max")):
        if bound is not None:
            found[f"{word}{'Items' if listed else 'Properties'}"] = bound
    if mark.unique:
        found["uniqueItems"] = True
    return {**found, "description": mark.description} if mark.description else found


def rows(schema: Schema, prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """Key, meaning and default of each key below a schema; keys in keys are joined by dots.

    Example:
        >>> next(rows({"properties": {"seed": {"description": "a number", "default": 1}}}))
        ('seed', 'a number', '`1`')
    """
    needed = schema.get("required", ())
    for name, part in schema.get("properties", {}).items():
        default = "required" if name in needed else _shown(part.get("default"))
        yield f"{prefix}{name}", part.get("description", ""), default
        yield from rows(part, f"{prefix}{name}.")
        if "properties" in part.get("items", {}):
            yield from rows(part["items"], f"{prefix}{name}[].")


def _shown(default: Any) -> str:
    if default in (None, {}, [], ""):
        return ""
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def key_table(schema: Schema) -> str:
    """The keys of a schema as a Markdown table."""
    lines = ["| key | what it does | default |", "| --- | --- | --- |"]
    for name, text, default in rows(schema):
        message = text.replace("|", "\\|")
        lines.append(f"| `{name}` | {message} | {default} |")
    return "\n".join(lines) + "\n"


def kind_table(schema: Schema, shows: Mapping[str, str]) -> str:
    """The kinds of table or figure with the keys that each needs, and those that it may have.

    Args:
        schema: that of an entry.
        shows: what each kind shows.
    """
    lines = ["| kind | shows | needs | may have |", "| --- | --- | --- | --- |"]
    everywhere = {*schema["required"], "caption", "for_each"}
    for branch in schema["allOf"]:
        (chosen,) = branch["if"]["properties"].values()
        needed = branch["then"].get("required", [])
        known = branch["then"]["propertyNames"]["enum"]
        further = [name for name in known if name not in {*needed, *everywhere}]
        cells = [", ".join(f"`{name}`" for name in names) for names in (needed, further)]
        name = chosen["const"]
        lines.append(f"| `{name}` | {shows[name]} | {cells[0]} | {cells[1]} |")
    return "\n".join(lines) + "\n"


def array_table(arrays: Mapping[str, tuple[str, str, str]]) -> str:
    """The arrays of a measurement as a Markdown table.

    Example:
        >>> print(array_table({"radii": ("float32", "image", "certified radius")}).splitlines()[2])
        | `radii` | float32 | image | certified radius |
    """
    lines = ["| array | type | dimensions | meaning |", "| --- | --- | --- | --- |"]
    for name, (dtype, dimensions, meaning) in arrays.items():
        shape = " × ".join(dimensions.split()) or "a single number"
        lines.append(f"| `{name}` | {dtype} | {shape} | {meaning} |")
    return "\n".join(lines) + "\n"
