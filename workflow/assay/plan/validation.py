"""Completes and checks values by the closed schemas; each complaint names file, key and remedy."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import jsonschema

from assay.foundation.errors import ConfigError
from assay.foundation.numbers import number
from assay.foundation.radius import Radius
from assay.foundation.suggestions import did_you_mean
from assay.plan.keys import schema as schema_of_file

Nested = dict[str, Any]
# Types of JSON in the words of YAML's users.
_KINDS = {
    "object": "keys with values",
    "array": "a list",
    "string": "a text",
    "number": "a number",
    "integer": "a whole number",
    "boolean": "true or false",
}


def checked(value: Nested, schema_name: str, where: Callable[..., str]) -> Nested:
    """`value` with the schema's defaults, or the first complaint about it.

    Args:
        value: what the files say.
        schema_name: of the schema that it follows.
        where: gives the file and place of the value at some keys.
    """
    value = completed(value, schema_name, where)
    check(value, schema_name, where)
    return value


def completed(value: Nested, schema_name: str, where: Callable[..., str]) -> Nested:
    """`value` with the schema's defaults, and with numbers where the schema expects them."""
    value = copy.deepcopy(value)
    schema = schema_of_file(schema_name)
    _fill(value, schema, schema)
    return _with_numbers(value, schema, schema, where)


def check(value: Nested, schema_name: str, where: Callable[..., str]) -> None:
    schema = schema_of_file(schema_name)
    errors = sorted(
        jsonschema.Draft202012Validator(schema).iter_errors(value),
        key=lambda error: -len(error.path),
    )
    for error in errors:
        raise _complaint(error, where, schema)


def _fill(value: Any, schema: Nested, root: Nested) -> None:
    """Sets the schema's defaults in place; follows properties, items and local references."""
    schema = _referred(schema, root)
    if isinstance(value, dict):
        for key, part in schema.get("properties", {}).items():
            if key not in value and "default" in part:
                value[key] = copy.deepcopy(part["default"])
            if key in value:
                _fill(value[key], part, root)
        extra = schema.get("additionalProperties")
        if isinstance(extra, dict):
            for key in value.keys() - schema.get("properties", {}).keys():
                _fill(value[key], extra, root)
    elif isinstance(value, list) and isinstance(schema.get("items"), dict):
        for item in value:
            _fill(item, schema["items"], root)


def _with_numbers(value: Any, schema: Nested, root: Nested, where: Callable[..., str]) -> Any:
    """`value` with texts such as ``8/255`` read where the schema has numbers alone."""
    schema = _referred(schema, root)
    if isinstance(value, dict):
        known, extra = schema.get("properties", {}), schema.get("additionalProperties")
        extra = extra if isinstance(extra, dict) else {}
        return {
            key: _with_numbers(part, known.get(key, extra), root, partial(where, key))
            for key, part in value.items()
        }
    if isinstance(value, list):
        items = schema.get("items", {})
        return [_with_numbers(part, items, root, partial(where, k)) for k, part in enumerate(value)]
    if schema.get("format") == "radius" and isinstance(value, str | int | float):
        return value if isinstance(value, bool) else Radius(value, where())
    kinds = schema.get("type", ())
    kinds = {kinds} if isinstance(kinds, str) else set(kinds)
    if kinds & {"number", "integer"} and "string" not in kinds:
        whole = "number" not in kinds
        try:
            return as_number(value, where, whole=whole)
        except ConfigError:
            if not whole:
                raise
    return value  # of what should be a whole number the schema's complaint says more


def as_number(value: Any, where: Callable[..., str], *, whole: bool) -> Any:
    """`value` as a number if it is a text such as ``8/255``; the same within a list.

    Raises:
        ConfigError: the text is no number.
    """
    if isinstance(value, list):
        return [as_number(part, partial(where, k), whole=whole) for k, part in enumerate(value)]
    odd = isinstance(value, float) and (whole or not math.isfinite(value))
    if not (isinstance(value, str) or odd):
        return value
    found = number(value, where())
    if not whole:
        return found
    if found != int(found):
        raise ConfigError(f"{value!r} is not a whole number", where=where(), remedy="round it")
    return int(value if isinstance(value, str) and value.strip().isdigit() else found)


def _referred(schema: Nested, root: Nested) -> Nested:
    """`schema`, or what it refers to."""
    while "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rsplit("/", 1)[-1]]
    return schema


def _complaint(
    error: jsonschema.ValidationError, where: Callable[..., str], schema: Nested
) -> ConfigError:
    path = tuple(error.absolute_path)
    place = where(*path)
    if error.validator == "additionalProperties":
        known = list(error.schema.get("properties", {}))
        extra = sorted(set(error.instance) - set(known), key=str)[0]
        remedy = did_you_mean(extra, known, f"known keys are {', '.join(known)}")
        return ConfigError(f"unknown key '{extra}'", where=where(*path, by=(extra,)), remedy=remedy)
    if error.validator == "required":
        missing = next(key for key in error.validator_value if key not in error.instance)
        # A key that only some kinds need stands in a branch of the schema, behind `then`.
        reason = f" (kind: {error.instance['kind']})" if _conditional(error) else ""
        return ConfigError(
            f"the key '{missing}' is missing{reason}",
            where=place,
            remedy=_described(error, schema, missing),
        )
    if error.validator == "enum":
        options = ", ".join(str(option) for option in error.validator_value)
        remedy = did_you_mean(error.instance, error.validator_value, f"use one of {options}")
        return ConfigError(f"'{error.instance}' is not allowed", where=place, remedy=remedy)
    if error.validator == "pattern" and "examples" in error.schema:
        options = ", ".join(error.schema["examples"])
        return ConfigError(
            f"'{error.instance}' is not allowed", where=place, remedy=f"write for example {options}"
        )
    remedy = error.schema.get("description") if isinstance(error.schema, dict) else None
    if error.validator == "type" and error.instance is None:
        kinds = error.validator_value
        remedy = remedy or _KINDS[kinds if isinstance(kinds, str) else kinds[0]]
        return ConfigError("is empty", where=place, remedy=f"expected: {remedy}")
    return ConfigError(error.message, where=place, remedy=f"expected: {remedy}" if remedy else None)


def _conditional(error: jsonschema.ValidationError) -> bool:
    return "then" in error.absolute_schema_path and "kind" in error.instance


def _described(error: jsonschema.ValidationError, schema: Nested, key: str) -> str | None:
    """What the innermost part of the schema that describes a key says about it."""
    text, part = None, schema
    for step in error.absolute_schema_path:  # references are not among its steps
        if isinstance(part, dict):
            part = _referred(part, schema)
            text = part.get("properties", {}).get(key, {}).get("description", text)
        part = part[step]
    return f"it says: {text}" if text else None


def unknown(
    kind: str, name: object, known: Iterable[str], where: str, place: str | None = None
) -> ConfigError:
    """The error for a name that does not exist, with the nearest known name.

    Args:
        kind: what should have that name.
        name: as it is written.
        known: the names that exist.
        where: the file and key at which it is written.
        place: where the known names are listed, if not there.

    Example:
        >>> print(unknown("model", "cn", ["cnn"], "mine.yaml: models.0", "models.yaml"))
        mine.yaml: models.0: there is no model 'cn'; did you mean 'cnn'? (see models.yaml)
    """
    known = sorted(known)
    remedy = did_you_mean(name, known, f"known are {', '.join(known) or 'none'}")
    see = f" (see {place})" if place else ""
    return ConfigError(f"there is no {kind} '{name}'", where=where, remedy=f"{remedy}{see}")
