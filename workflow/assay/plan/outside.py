"""Entries of models from outside: how they are built, and what is wrong with them before a run.

A user writes where a network comes from (:data:`SOURCES`). All of them are built by one function,
:data:`NETWORK`, so that no job knows the difference.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from assay.foundation.digest import PACKAGE, code_digest
from assay.foundation.errors import AssayError, ConfigError
from assay.foundation.files import digest_file
from assay.foundation.outline import Outline, outside_outline
from assay.foundation.places import below_home
from assay.foundation.sources import Source
from assay.foundation.suggestions import did_you_mean, nearest
from assay.plan.validation import Nested, unknown

NETWORK = "assay.models.outside:network"
CLASSIFIER = "assay.models.base:Classifier"
# Keys of an entry that say where a network comes from.
FILES, LIBRARIES = ("torchscript", "exported"), ("torchvision", "timm")
SOURCES = ("implementation", *FILES, *LIBRARIES)
# Keys of an entry that say how a network from outside takes its images and answers.
OPTIONS = ("normalisation", "input_size", "output")
# What a class or function from outside is given beside its settings (assay.models.loading).
GIVEN = ("self", "classes", "num_classes", "n_classes", "shape")
# How the libraries mark the functions that build a network of a name.
_REGISTERED = re.compile(r"^@register_model\b.*?^def (\w+)", re.MULTILINE | re.DOTALL)


def untrained_source(source: Source) -> Source:
    """What a file says about a model, with ``trained: false`` for ``training: none``."""
    if not isinstance(source.tree, Mapping) or source.tree.get("training") != "none":
        return source
    rest = {key: value for key, value in source.tree.items() if key != "training"}
    moved = (*source.moved, (("trained",), source.written("training")))
    return source._replace(tree={**rest, "trained": False}, moved=moved)


def check_sources(entry: Nested, where: Callable[..., str]) -> None:
    """An entry says in one way where its network comes from.

    Raises:
        ConfigError: in none or in several, or a class of this package has keys of others.
    """
    given = [key for key in SOURCES if key in entry]
    if not given:
        raise ConfigError(
            "the key 'implementation' is missing",
            where=where(),
            remedy=f"write one of {', '.join(SOURCES)}",
        )
    if given[1:]:
        raise ConfigError(
            f"{' and '.join(given)} are given", where=where(given[1]), remedy="keep one of them"
        )
    own = [key for key in OPTIONS if key in entry]
    if own and not _is_from_outside(entry):
        raise ConfigError(
            "the classes of this package prepare their images themselves",
            where=where(own[0]),
            remedy="take the key out",
        )


def as_built(entry: Nested) -> Nested:
    """A checked entry as its jobs take it: one from outside is built by :data:`NETWORK`.

    Example:
        >>> found = as_built({"torchscript": "mine.pt", "settings": {}, "weights": None})
        >>> found["implementation"], found["settings"], found["trained"]
        ('assay.models.outside:network', {'torchscript': 'mine.pt'}, False)
    """
    if not _is_from_outside(entry):
        return entry
    moved = {key: entry[key] for key in (*SOURCES, *OPTIONS) if key in entry}
    rest = {key: value for key, value in entry.items() if key not in moved}
    if entry["settings"]:
        moved["arguments"] = entry["settings"]
    if "implementation" not in moved or entry["weights"]:
        rest["trained"] = False
    return {**rest, "implementation": NETWORK, "settings": moved}


def is_outside(entry: Nested) -> bool:
    """Whether an entry is one from outside, as :func:`as_built` made it."""
    return entry["implementation"] == NETWORK


def contents(entry: Nested) -> dict[str, str | None]:
    """Digests of what an entry names outside this package: code and files, as they are now.

    Of what is not there (:func:`check_outside` reports it) the digest is None.
    """
    found: dict[str, str | None] = {}
    if is_outside(entry) and (code := entry["settings"].get("implementation")):
        try:
            found[code] = code_digest(code)
        except AssayError:
            found[code] = None
    for file in _files(entry).values():
        path = below_home(file)
        found[file] = _digest(path, path.stat().st_mtime_ns) if path.is_file() else None
    return found


def check_outside(entry: Nested, where: Callable[..., str]) -> None:
    """Code and files that an entry names are there, and fit together as far as a plan can tell.

    Raises:
        ConfigError: with file, key and remedy.
    """
    for key, file in _files(entry).items():
        _check_file(file, where(*key.split(".")))
    weights = entry["weights"] or {}
    if weights and ("file" in weights) != (weights["format"] == "state_dict"):
        needed = "file" if weights["format"] == "state_dict" else "folder"
        raise ConfigError(
            f"the format {weights['format']} needs a {needed}",
            where=where("weights"),
            remedy=f"write {needed} in place of {'folder' if needed == 'file' else 'file'}",
        )
    if not is_outside(entry):
        return
    settings = entry["settings"]
    if "implementation" in settings:
        _check_implementation(entry, where)
    for key in FILES:
        if key in settings and weights:
            raise ConfigError(
                "the network's file holds its weights", where=where("weights"),
                remedy="take the key out",
            )  # fmt: skip
    for key in LIBRARIES:
        if key in settings:
            _check_library(key, settings[key], where(key))
            if not weights:
                raise ConfigError(
                    f"the network '{settings[key]}' has no weights",
                    where=where(key),
                    remedy="name the file of its state dict: weights: {file: ...}",
                )


def _is_from_outside(entry: Nested) -> bool:
    module = str(entry.get("implementation", "")).partition(":")[0]
    return module.split(".")[0] != PACKAGE


def _files(entry: Nested) -> dict[str, str]:
    """The files that an entry names, by their keys."""
    found = {}
    if is_outside(entry):
        found = {key: entry["settings"][key] for key in FILES if key in entry["settings"]}
    weights = entry["weights"] or {}
    return {**found, **({"weights.file": weights["file"]} if "file" in weights else {})}


@cache
def _digest(path: Path, changed: int) -> str:
    return digest_file(path)


def _check_file(file: str, where: str) -> None:
    path = below_home(file)
    if path.is_file():
        return
    there = [str(place) for place in path.parent.glob("*") if place.is_file()]
    otherwise = "paths are relative to the working folder"
    raise ConfigError(
        f"there is no file '{file}'", where=where, remedy=did_you_mean(str(path), there, otherwise)
    )


def _check_implementation(entry: Nested, where: Callable[..., str]) -> None:
    specification = entry["settings"]["implementation"]
    try:
        found = outside_outline(specification)
    except AssayError as error:
        place = error.where or where("implementation")
        raise ConfigError(error.what, where=place, remedy=error.remedy) from error
    if found is None:
        return
    known = [name for name in found.arguments if name not in GIVEN]
    for setting in entry["settings"].get("arguments", {}) if found.whole else ():
        if setting not in known:
            owner = where("settings", by=(setting,))
            raise unknown(f"setting of {found.name}", setting, known, owner, specification)
    if _is_plain_class(found) and entry.get("trained", True) and not entry["weights"]:
        raise ConfigError(
            f"{found.name} is no Classifier, and assay trains no other class",
            where=where("implementation"),
            remedy="write training: none, and name its weights (weights: {file: ...}); or inherit "
            f"from {CLASSIFIER}",
        )


def _is_plain_class(found: Outline) -> bool:
    return bool(found.lineage) and CLASSIFIER not in found.lineage


def _check_library(library: str, name: str, where: str) -> None:
    spec = importlib.util.find_spec(library)
    if spec is None and library == "timm":
        raise ConfigError("timm is not installed", where=where, remedy="pip install timm")
    if spec is None or not spec.origin:
        return
    known = _registered(Path(spec.origin).parent / "models")
    if known and name.partition(".")[0] not in known:
        near = nearest(name, known)
        raise ConfigError(
            f"{library} has no network '{name}'",
            where=where,
            remedy=f"did you mean '{near}'?" if near else f"it has {len(known)}",
        )


@cache
def _registered(folder: Path) -> frozenset[str]:
    """The names of networks that a library's source registers."""
    texts = (path.read_text(encoding="utf-8") for path in folder.glob("*.py"))
    return frozenset(name for text in texts for name in _REGISTERED.findall(text))


def shown_sources(entry: Mapping[str, Any]) -> str:
    """Where an entry from outside comes from, in words: ``torchvision resnet18``."""
    return ", ".join(
        f"{key} {entry['settings'][key]}" for key in SOURCES if key in entry["settings"]
    )
