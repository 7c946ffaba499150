"""Reads and checks every configuration file; the only place that knows where they lie.

A configuration is the user's ``config/config.yaml`` (with the command line's ``--config`` on top),
the catalogues, one scale and the chosen studies. Files are checked against the closed JSON schemas
of ``workflow/schemas/``, which also hold the defaults; names are checked against the catalogues.
Every complaint names the file, the key and the remedy.
"""

from __future__ import annotations

import copy
import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from assay.foundation.errors import ConfigError

ROOT = Path(__file__).resolve().parents[3]
CATALOGUES = ("datasets", "splits", "models", "attacks", "suites")
Tree = dict[str, Any]


@dataclass(frozen=True)
class Configuration:
    """Everything that decides what runs, checked, with the scale's overrides applied.

    Attributes:
        settings: the keys of ``config/config.yaml``.
        scale: the chosen scale's file; its name is ``settings["scale"]``.
        catalogue: for each of :data:`CATALOGUES`, entry by id.
        unscaled: the same without the scale's overrides.
        studies: study files by id, names as written (stand-ins not yet applied).
        root: the folder that holds ``config/``.
    """

    settings: Tree
    scale: Tree
    catalogue: dict[str, dict[str, Tree]]
    unscaled: dict[str, dict[str, Tree]]
    studies: dict[str, Tree]
    root: Path = field(default=ROOT)

    def entry_on(self, kind: str, name: str, dataset: str) -> Tree:
        """A catalogue entry as it is on one data set: its ``for_datasets`` put in.

        The scale's overrides lie on top of both, so that a scale's cut holds on every data set.
        """
        changes = self.scale["overrides"].get(kind, {})
        entry: Tree = {}
        for layer in (self.unscaled[kind][name], changes.get("*", {}), changes.get(name, {})):
            own = {key: value for key, value in layer.items() if key != "for_datasets"}
            entry = merged(merged(entry, own), layer.get("for_datasets", {}).get(dataset, {}))
        return entry

    def entry(self, kind: str, name: str, where: str) -> Tree:
        """One catalogue entry.

        Raises:
            ConfigError: there is none of that name; the message suggests the nearest.
        """
        entries = self.catalogue[kind]
        if name not in entries:
            raise unknown(
                kind.removesuffix("s"), name, entries, where, f"config/catalogue/{kind}.yaml"
            )
        return entries[name]


def read_configuration(
    overrides: Mapping[str, Any] | None = None, root: Path = ROOT
) -> Configuration:
    """Reads all configuration files below `root` and checks them.

    Args:
        overrides: top-level keys of ``config/config.yaml`` given on the command line.
        root: the folder that holds ``config/`` (and maybe its own ``workflow/schemas``).

    Raises:
        ConfigError: with file, key and remedy.
    """
    settings = {**_yaml(root / "config/config.yaml"), **(overrides or {})}
    if isinstance(settings.get("studies"), str):
        settings["studies"] = [name.strip() for name in settings["studies"].split(",")]
    settings = _checked(settings, "config", "config/config.yaml")
    scale_name = settings["scale"]
    scales = _stems(root / "config/scales")
    if scale_name not in scales:
        raise unknown("scale", scale_name, scales, "config/config.yaml: scale", "config/scales/")
    scale_file = f"config/scales/{scale_name}.yaml"
    scale = _checked(_yaml(root / scale_file), "scale", scale_file)
    catalogue, unscaled = {}, {}
    for kind in CATALOGUES:
        file = f"config/catalogue/{kind}.yaml"
        written = _yaml(root / file)
        for extra in settings["catalogue"].get(kind, {}):
            written[extra] = settings["catalogue"][kind][extra]
        _check_names(written, file)
        unscaled[kind] = _checked(written, kind, file)
        overrides_here = scale["overrides"].get(kind, {})
        catalogue[kind] = _overridden(unscaled[kind], overrides_here, kind, scale_file)
        catalogue[kind] = _checked(catalogue[kind], kind, file)
    configuration = Configuration(settings, scale, catalogue, unscaled, {}, root)
    _check_by_dataset(configuration)
    known = _stems(root / "config/studies")
    studies = {}
    for name in settings["studies"]:
        if name not in known:
            raise unknown("study", name, known, "config/config.yaml: studies", "config/studies/")
        file = f"config/studies/{name}.yaml"
        studies[name] = _checked(_yaml(root / file), "study", file)
        for part in ("tables", "figures"):
            _check_names(studies[name][part], f"{file}: {part}")
    return replace(configuration, studies=studies)


def _check_by_dataset(configuration: Configuration) -> None:
    """What an entry changes for a data set must name one, and leave an entry that is right."""
    for kind in ("models", "attacks"):
        for name, entry in configuration.catalogue[kind].items():
            for dataset in entry["for_datasets"]:
                place = f"config/catalogue/{kind}.yaml: {name}.for_datasets"
                configuration.entry("datasets", dataset, place)
                changed = configuration.entry_on(kind, name, dataset)
                _checked({name: changed}, kind, f"{place}.{dataset}, as")


def unknown(kind: str, name: object, known: Iterable[str], where: str, place: str) -> ConfigError:
    """The error for a name that is in no catalogue, with the nearest known name."""
    known = sorted(known)
    near = difflib.get_close_matches(str(name), known, n=1)
    remedy = f"did you mean '{near[0]}'?" if near else f"known are {', '.join(known) or 'none'}"
    return ConfigError(
        f"there is no {kind} '{name}'", where=where, remedy=f"{remedy} (see {place})"
    )


def merged(base: Any, change: Any) -> Any:
    """`change` laid over `base`: mappings key by key, everything else replaced."""
    if isinstance(base, Mapping) and isinstance(change, Mapping):
        result = dict(base)
        for key, value in change.items():
            result[key] = merged(base.get(key), value)
        return result
    return copy.deepcopy(change)


def _overridden(entries: Tree, overrides: Tree, kind: str, where: str) -> Tree:
    """Entries with a scale's overrides; the key ``"*"`` stands for every entry."""
    for name in overrides:
        if name != "*" and name not in entries:
            raise unknown(
                kind.removesuffix("s"),
                name,
                entries,
                f"{where}: overrides.{kind}",
                f"config/catalogue/{kind}.yaml",
            )
    return {
        name: merged(merged(entry, overrides.get("*", {})), overrides.get(name, {}))
        for name, entry in entries.items()
    }


def _yaml(path: Path) -> Tree:
    shown = "/".join(path.parts[-3:]) if path.parent.name != "config" else f"config/{path.name}"
    try:
        value = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except OSError as error:
        raise ConfigError(
            "the file cannot be read", where=shown, remedy="restore it from the repository"
        ) from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise ConfigError(
            f"is not valid YAML{line} ({getattr(error, 'problem', error)})", where=shown
        ) from error
    if not isinstance(value, dict):
        raise ConfigError("must hold a mapping of keys to values", where=shown)
    return value


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
    """A safe loader that refuses a key written twice instead of dropping the first."""

    def construct_mapping(self, node, deep=False):
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key '{key}' appears twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


def _stems(folder: Path) -> list[str]:
    """Names of the files of a folder, which name scales and studies."""
    stems = sorted(path.stem for path in folder.glob("*.yaml"))
    _check_names(stems, f"config/{folder.name}/")
    return stems


def _check_names(names: Iterable[str], where: str) -> None:
    """Names become folders and words of command lines, also of a scheduler's."""
    for name in names:
        if not re.fullmatch("[a-z0-9_]+", str(name)):
            raise ConfigError(
                f"'{name}' cannot be a name",
                where=where,
                remedy="use lower-case letters, digits and underscores",
            )


@cache
def _schema(name: str) -> Tree:
    return yaml.safe_load((ROOT / f"workflow/schemas/{name}.schema.yaml").read_text("utf-8"))


def _checked(value: Tree, schema_name: str, where: str) -> Tree:
    """`value` with the schema's defaults, or the first complaint about it."""
    value = copy.deepcopy(value)
    schema = _schema(schema_name)
    _fill(value, schema, schema)
    errors = sorted(
        jsonschema.Draft202012Validator(schema).iter_errors(value),
        key=lambda error: -len(error.path),
    )
    for error in errors:
        raise _complaint(error, where, schema)
    return value


def _fill(value: Any, schema: Tree, root: Tree) -> None:
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


def _referred(schema: Tree, root: Tree) -> Tree:
    """`schema`, or what it refers to."""
    while "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rsplit("/", 1)[-1]]
    return schema


def _complaint(error: jsonschema.ValidationError, where: str, schema: Tree) -> ConfigError:
    path = ".".join(str(part) for part in error.absolute_path)
    place = f"{where}: {path}" if path else where
    if error.validator == "additionalProperties":
        known = list(error.schema.get("properties", {}))
        extra = sorted(set(error.instance) - set(known), key=str)[0]
        near = difflib.get_close_matches(str(extra), known, n=1)
        remedy = f"did you mean '{near[0]}'?" if near else f"known keys are {', '.join(known)}"
        return ConfigError(f"unknown key '{extra}'", where=place, remedy=remedy)
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
        near = difflib.get_close_matches(str(error.instance), map(str, error.validator_value), n=1)
        remedy = f"did you mean '{near[0]}'?" if near else f"use one of {options}"
        return ConfigError(f"'{error.instance}' is not allowed", where=place, remedy=remedy)
    remedy = error.schema.get("description") if isinstance(error.schema, dict) else None
    return ConfigError(error.message, where=place, remedy=f"expected: {remedy}" if remedy else None)


def _conditional(error: jsonschema.ValidationError) -> bool:
    return "then" in error.absolute_schema_path and "kind" in error.instance


def _described(error: jsonschema.ValidationError, schema: Tree, key: str) -> str | None:
    """What the innermost part of the schema that describes a key says about it."""
    text, part = None, schema
    for step in error.absolute_schema_path:  # references are not among its steps
        if isinstance(part, dict):
            part = _referred(part, schema)
            text = part.get("properties", {}).get(key, {}).get("description", text)
        part = part[step]
    return f"it says: {text}" if text else None
