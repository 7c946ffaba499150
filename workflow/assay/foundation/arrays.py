"""Files of arrays that follow a schema: names, types, dimensions and meanings, checked.

A schema maps the name of an array to its type, its dimensions and its meaning. Types are those of
numpy, or ``integer`` or ``float`` for any of that family. Dimensions are words; a word stands for
the same length in the whole file, a number for itself. A name with a word in braces, such as
``{attack}/images``, stands for any number of arrays; so does a dimension with one, such as
``{attack}.image``, which has one length per attack.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

import numpy as np

from assay.foundation.errors import MeasurementError
from assay.foundation.provenance import FIELD
from assay.foundation.suggestions import did_you_mean

Schema = Mapping[str, tuple[str, str, str]]
# Types that a schema names by family.
_FAMILIES = {"integer": "iu", "float": "f"}
_PLACE = re.compile(r"\{(\w+)\}")


class Column(NamedTuple):
    """What a schema says of one array of a file.

    Attributes:
        key: the name in the schema, with its placeholders.
        dtype: a type of numpy, or ``integer`` or ``float``.
        dimensions: their words, those with placeholders filled in.
    """

    key: str
    dtype: str
    dimensions: tuple[str, ...]


def column(name: str, schema: Schema) -> Column | None:
    """What a schema says of the array of a name; None if it has no such array.

    Example:
        >>> schema = {"{attack}/labels": ("integer", "{attack}.image", "classes")}
        >>> column("pgd/labels", schema).dimensions
        ('pgd.image',)
    """
    for key, (dtype, dimensions, _) in schema.items():
        parts = _PLACE.split(key)  # texts, and between them the words of placeholders
        pattern = "".join(
            f"(?P<{part}>[^/]+)" if number % 2 else re.escape(part)
            for number, part in enumerate(parts)
        )
        if found := re.fullmatch(pattern, name):
            words = dimensions.format(**found.groupdict())
            return Column(key, dtype, tuple(words.split()))
    return None


def check_arrays(
    arrays: Mapping[str, np.ndarray],
    schema: Schema,
    where: Any,
    *,
    optional: Collection[str] = (),
    exact: bool = True,
) -> None:
    """Checks that arrays are those of a schema.

    Args:
        arrays: by name; the provenance among them is no array of the schema.
        schema: what each array must be.
        where: the file or the code that the arrays come from, for the error.
        optional: names of the schema that may be missing; those with placeholders always may.
        exact: whether types must be those of the schema; else only their family: thumbnails have
            fewer digits.

    Raises:
        MeasurementError: an array is unknown or missing, or has another type or shape.

    Example:
        >>> check_arrays({"a": np.zeros(3)}, {"a": ("float64", "image", "…")}, "here")
    """
    lengths: dict[str, tuple[int, str]] = {}
    for name, array in arrays.items():
        if name == FIELD:
            continue
        found = column(name, schema)
        if found is None:
            raise MeasurementError(
                f"there is no array '{name}' in the schema",
                where=where,
                remedy=did_you_mean(name, schema, f"it has {', '.join(schema)}"),
            )
        if not _is(np.asarray(array).dtype, found.dtype, exact):
            raise MeasurementError(
                f"'{name}' has type {np.asarray(array).dtype}",
                where=where,
                remedy=f"the schema says {found.dtype}",
            )
        _check_shape(name, np.shape(array), found.dimensions, lengths, where)
    for key in schema:
        if key not in arrays and key not in optional and not _PLACE.search(key):
            raise MeasurementError(
                f"the array '{key}' is missing", where=where, remedy=f"it holds: {schema[key][2]}"
            )


def _is(found: np.dtype, wanted: str, exact: bool) -> bool:
    if wanted in _FAMILIES:
        return found.kind in _FAMILIES[wanted]
    return found == wanted if exact else found.kind == np.dtype(wanted).kind


def _check_shape(
    name: str,
    shape: tuple[int, ...],
    dimensions: tuple[str, ...],
    lengths: dict[str, tuple[int, str]],
    where: Any,
) -> None:
    wanted = " x ".join(dimensions) or "a single number"
    if len(shape) != len(dimensions):
        raise MeasurementError(
            f"'{name}' has shape {shape}", where=where, remedy=f"the schema says {wanted}"
        )
    for length, word in zip(shape, dimensions, strict=True):
        other, owner = lengths.setdefault(word, (int(word) if word.isdecimal() else length, name))
        if length != other:
            raise MeasurementError(
                f"'{name}' has shape {shape}, but '{word}' is {other}"
                + (f" in '{owner}'" if owner != name else ""),
                where=where,
                remedy=f"the schema says {wanted}",
            )


def read_arrays(
    path: Path | str, schema: Schema | None = None, *, optional: Collection[str] = ()
) -> dict[str, np.ndarray]:
    """The arrays of an ``.npz`` file, without its provenance.

    Args:
        path: of the file.
        schema: what the arrays must be; None where nothing is known of them. Types are compared by
            family.
        optional: names of the schema that may be missing.

    Raises:
        MeasurementError: the file is missing or damaged, or does not follow the schema.
    """
    try:
        with np.load(path) as stored:
            arrays = {name: stored[name] for name in stored.files if name != FIELD}
    except (OSError, ValueError, BadZipFile, EOFError) as error:
        raise MeasurementError(
            f"cannot be read ({error})", where=path, remedy="delete it; the next run makes it again"
        ) from error
    if schema is not None:
        check_arrays(arrays, schema, path, optional=optional, exact=False)
    return arrays
