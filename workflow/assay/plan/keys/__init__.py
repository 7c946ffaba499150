"""What each configuration file may say: one dataclass per file.

A kind of table or figure has its keys in its own file (`assay.report.kinds`).

The JSON schemas of ``workflow/schemas/`` and the tables of keys in ``config/README.md`` are made
from these dataclasses by ``python -m assay.plan.keys``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from inspect import getdoc
from typing import Any

import yaml

from assay.foundation.outline import outline
from assay.foundation.resources import resource
from assay.plan.keys.attacks import Attack
from assay.plan.keys.build import Schema, array_table, file_schema, key_table, kind_table
from assay.plan.keys.config import Config
from assay.plan.keys.datasets import Dataset
from assay.plan.keys.measurements import Measurement
from assay.plan.keys.models import Model
from assay.plan.keys.scale import Scale
from assay.plan.keys.splits import Split
from assay.plan.keys.study import Study
from assay.plan.keys.suites import Suite
from assay.report.kinds import kinds

# By schema: what a file holds, the files' name, and what they are.
FILES: Mapping[str, tuple[Any, str, str]] = {
    "config": (Config, "config/config.yaml", "The settings that a user edits."),
    "scale": (Scale, "config/scales/*.yaml", "How much of each study runs."),
    "study": (
        Study,
        "config/studies/*.yaml",
        "The comparisons of a study, its tables and its figures.",
    ),
    "datasets": (
        dict[str, Dataset],
        "config/catalogue/datasets.yaml",
        "The data sets; one entry per id.",
    ),
    "splits": (
        dict[str, Split],
        "config/catalogue/splits.yaml",
        "Ways to divide a data set into training, validation and test subsets.",
    ),
    "models": (
        dict[str, Model],
        "config/catalogue/models.yaml",
        "The classifiers, their training and their sources.",
    ),
    "attacks": (
        dict[str, Attack],
        "config/catalogue/attacks.yaml",
        "The attacks and corruptions; one entry per name.",
    ),
    "suites": (
        dict[str, Suite],
        "config/catalogue/suites.yaml",
        "Named lists of attacks; one job runs one suite on one trained model.",
    ),
    "measurements": (
        dict[str, Measurement],
        "config/catalogue/measurements.yaml",
        "Measurements of trained models beside attacks; one entry per id.",
    ),
}


@cache
def schema(name: str) -> Schema:
    """The JSON schema of a kind of file, one of :data:`FILES`.

    Example:
        >>> schema("config")["properties"]["seed"]["default"]
        1
    """
    return file_schema(*FILES[name])


def documents() -> dict[str, str]:
    """The files that are made from the dataclasses, as they must be, by their path."""
    found = {
        f"workflow/schemas/{name}.schema.yaml": "# Made by `python -m assay.plan.keys`.\n"
        + yaml.safe_dump(_plain(schema(name)), sort_keys=False, allow_unicode=True, width=100)
        for name in FILES
    }
    for page in ("config/README.md", "docs/measurements.md"):
        found[page] = re.sub(
            r"(<!-- (keys|kinds|arrays) (\w+) -->\n).*?(?=<!-- /\2 -->)",
            lambda match: match[1] + _table(match[2], match[3]),
            resource(page).read_text("utf-8"),
            flags=re.DOTALL,
        )
    return found


def _table(what: str, name: str) -> str:
    if what == "arrays":
        entries = yaml.safe_load(resource("config/catalogue/measurements.yaml").read_text("utf-8"))
        return array_table(outline(entries[name]["implementation"]).values["arrays"])
    if what == "kinds":
        # The first paragraph of the documentation of a kind's keys is what it shows.
        shows = {
            kind: " ".join((getdoc(module.Spec) or "").split("\n\n")[0].split()).replace("``", "`")
            for kind, module in kinds(name).items()
        }
        return kind_table(schema("study")["properties"][name]["additionalProperties"], shows)
    found = schema(name)
    return key_table(found if "properties" in found else found["additionalProperties"])


def _plain(value: Any) -> Any:
    """A copy that shares no part with another: YAML would write an alias for it."""
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, list | tuple) else value
