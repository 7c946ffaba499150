"""Checks a catalogue entry of a model from outside, before anything expensive runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from assay.evaluation.check import Result, Subject
from assay.evaluation.conformance import CHECKS, GRADIENT
from assay.foundation.entries import is_trained
from assay.foundation.errors import ModelError
from assay.models.base import Classifier, build
from assay.models.importers import import_weights
from assay.models.outside import Outside


def check_entry(
    name: str,
    entry: Mapping[str, Any],
    *,
    classes: int,
    shape: tuple[int, int, int],
    mirror: Path | None = None,
) -> list[Result]:
    """Builds the model of an entry with its weights, and runs every check on it.

    Args:
        name: the entry's id, for messages.
        entry: of the catalogue.
        classes: number of classes.
        shape: (C, H, W) of the images.
        mirror: the folder of archives.

    Returns:
        A result for each check. What an evaluation does not need may have failed; the report of the
        evaluation says so, too.

    Raises:
        ModelError: the model cannot be built, or a check failed that an evaluation needs; the
            message names the entry, and the remedy.
    """
    model = built(name, entry, classes=classes, shape=shape, mirror=mirror)
    trained = is_trained(entry)
    if trained and not any(item.requires_grad for item in model.parameters()):
        raise ModelError(
            "the network has no weights that assay can train",
            where=_place(name),
            remedy="write training: none, and name its weights (weights: {file: ...})",
        )
    subject = Subject(
        model, lambda: build(name, entry, classes=classes, shape=shape, seed=1), trains=trained
    )
    results = [check.run(subject) for check in CHECKS]
    allowed = {GRADIENT} if entry.get("no_gradient") else set()
    for result in results:
        if result.status == "fail" and result.needed and result.check not in allowed:
            raise ModelError(
                f"not so: {result.check}: {result.what}", where=_place(name), remedy=result.remedy
            )
    return results


def report(
    name: str, entry: Mapping[str, Any], *, classes: int, shape: tuple[int, int, int]
) -> tuple[str, bool]:
    """The checks of a model in words, a line each, as ``assay check`` prints them.

    Args:
        name: of the model, for messages.
        entry: as in the catalogue: ``implementation``, ``settings``, ``weights``.
        classes: number of classes.
        shape: (C, H, W) of the images.

    Returns:
        The text, and whether no check failed.

    Raises:
        ModelError: the model cannot be built.
    """
    model = built(name, entry, classes=classes, shape=shape)
    trains = is_trained(entry) and not isinstance(model, Outside)
    subject = Subject(
        model, lambda: build(name, entry, classes=classes, shape=shape, seed=1), trains
    )
    results = [check.run(subject) for check in CHECKS]
    count = dict.fromkeys(("pass", "skip", "fail"), 0)
    for result in results:
        count[result.status] += 1
    summary = f"{count['pass']} passed, {count['skip']} skipped, {count['fail']} failed"
    return "\n".join([*map(str, results), "", f"{name}: {summary}"]) + "\n", not count["fail"]


def built(
    name: str,
    entry: Mapping[str, Any],
    *,
    classes: int,
    shape: tuple[int, int, int],
    mirror: Path | None = None,
) -> Classifier:
    """The model of an entry in evaluation mode, with the weights that the entry names."""
    model = build(name, entry, classes=classes, shape=shape)
    if entry["weights"]:
        try:
            import_weights(model, **entry["weights"], mirror=mirror)
        except ModelError as error:
            place = _place(name) if error.where is None else f"{_place(name)}: {error.where}"
            raise ModelError(error.what, where=place, remedy=error.remedy) from error
    return model.eval()


def _place(name: str) -> str:
    return f"model '{name}'"
