"""Keys of an entry of ``config/catalogue/measurements.yaml``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from assay.foundation.keys import ABSENT, key
from assay.plan.keys.shared import CLASS, Differences, Extends

_SPLITS = "all, or first (the first split of each scheme)"


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """A measurement of trained models."""

    title: Annotated[str, key("name in reports")]
    implementation: Annotated[
        str,
        key(
            "the class, 'module:Name'",
            pattern=CLASS,
            examples=("assay.evaluation.measurements.features:Features",),
        ),
    ]
    extends: Extends = ABSENT
    splits: Annotated[Literal["all", "first"], key(f"splits that are measured: {_SPLITS}")] = "all"
    kept: Annotated[
        Literal["all", "first"],
        key(f"measured splits whose arrays are kept with the report: {_SPLITS}"),
    ] = "all"
    settings: Annotated[dict, key("keyword arguments of the class")] = field(default_factory=dict)
    source: Annotated[str, key("publication of the measure")]
    differences: Differences = field(default_factory=list)
