"""``assay check``: the checks that every model passes, on one that the command line names."""

from __future__ import annotations

import argparse
from functools import partial
from typing import Any

import yaml

from assay.foundation.errors import ConfigError
from assay.foundation.registry import load
from assay.plan.cells import with_needs
from assay.plan.configuration import read_configuration
from assay.plan.outside import (
    FILES,
    LIBRARIES,
    OPTIONS,
    as_built,
    check_outside,
    check_sources,
)
from assay.plan.validation import Nested, unknown

# Named by its text: it needs torch, which the plan does not import.
REPORT = "assay.evaluation.entries:report"


def add_check(commands: argparse._SubParsersAction) -> None:
    """Adds the command to those of ``assay``."""
    check = commands.add_parser(
        "check",
        help="check whether a model can be evaluated: shapes, randomness, gradients, weights",
        description=(
            "Builds a model and runs the checks that every model of assay passes, on random "
            "images. Prints a line for each check, and what to do where one fails. The exit "
            "status is 0 if none fails, else 1."
        ),
    )
    check.add_argument(
        "model", nargs="?",
        help="module:Name of a class, function or module (the working folder is searched first), "
        "or an entry of the catalogue",
    )  # fmt: skip
    check.add_argument("--torchscript", metavar="FILE", help="a file that torch.jit.save wrote")
    check.add_argument("--exported", metavar="FILE", help="a file that torch.export.save wrote")
    check.add_argument("--torchvision", metavar="NAME", help="a network of torchvision")
    check.add_argument("--timm", metavar="NAME", help="a network of timm")
    check.add_argument(
        "--shape", type=int, nargs=3, required=True, metavar=("C", "H", "W"),
        help="channels, height and width of the images",
    )  # fmt: skip
    check.add_argument("--classes", type=int, required=True, help="number of classes")
    check.add_argument(
        "--setting", action="append", default=[], metavar="KEY=VALUE",
        help="a keyword argument of the class; repeat the option for more",
    )  # fmt: skip
    check.add_argument("--weights", metavar="FILE", help="a state dict of the network")
    check.add_argument("--mean", type=float, nargs="+", help="normalisation inside the model")
    check.add_argument("--std", type=float, nargs="+", help="normalisation inside the model")
    check.add_argument("--input-size", type=int, help="side to which images are resized")
    check.add_argument(
        "--output", choices=("logits", "probabilities"), help="what the network returns"
    )


def run_check(chosen: argparse.Namespace) -> tuple[str, bool]:
    """The text of the command's result, and whether no check failed.

    Raises:
        AssayError: the model cannot be named so, or cannot be built.
    """
    name, entry = _named(chosen)
    return load(REPORT)(name, entry, classes=chosen.classes, shape=tuple(chosen.shape))


def _named(chosen: argparse.Namespace) -> tuple[str, Nested]:
    """The model's name, and its entry as jobs take it."""
    if chosen.model and ":" not in chosen.model:
        return chosen.model, _of_catalogue(chosen)
    entry: Nested = {"settings": dict(map(_setting, chosen.setting)), "weights": None}
    given = {"implementation": chosen.model, "output": chosen.output}
    given |= {key: getattr(chosen, key) for key in (*FILES, *LIBRARIES)}
    given["input_size"] = chosen.input_size
    if chosen.mean or chosen.std:
        given["normalisation"] = {"mean": chosen.mean or [0.0], "std": chosen.std or [1.0]}
    entry |= {key: value for key, value in given.items() if value is not None}
    if chosen.weights:
        entry["weights"] = {"format": "state_dict", "file": chosen.weights}
    check_sources(entry, _where)
    name = next(str(entry[key]) for key in ("implementation", *FILES, *LIBRARIES) if key in entry)
    # Whether a class is one that assay trains is seen when it is built.
    check_outside(as_built({**entry, "trained": False}), _where)
    return name, as_built(entry)


def _of_catalogue(chosen: argparse.Namespace) -> Nested:
    """The entry that the command line names, and says nothing else about."""
    name, configuration = chosen.model, read_configuration()
    entries = configuration.unscaled["models"]
    if name not in entries:
        raise unknown("model", name, entries, "command line", "config/catalogue/")
    for option in ("setting", "weights", "mean", "std", *OPTIONS, *FILES, *LIBRARIES):
        if getattr(chosen, option, None):
            raise ConfigError(
                f"'{name}' is an entry of the catalogue, which has settings of its own",
                where=f"command line: --{option.replace('_', '-')}",
                remedy="take the option out, or change the entry in config/config.yaml",
            )
    check_outside(entries[name], partial(configuration.where, "models", name))
    return with_needs(entries, name)


def _setting(text: str) -> tuple[str, Any]:
    key, sign, value = text.partition("=")
    if not sign:
        raise ConfigError(
            f"'{text}' is no setting", where="command line: --setting", remedy="write KEY=VALUE"
        )
    return key, yaml.safe_load(value)


def _where(*keys: Any, by: tuple[Any, ...] = ()) -> str:
    return f"command line: {'.'.join(map(str, keys))}" if keys else "command line"
