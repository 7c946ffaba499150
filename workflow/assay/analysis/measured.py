"""Measurements as the analysis reads them: by the schema that their class declares."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from assay.analysis.brief import StudyBrief
from assay.foundation.arrays import Schema, read_arrays
from assay.foundation.errors import AssayError
from assay.foundation.outline import outline


class Declared(NamedTuple):
    """What a class of measurements says of its arrays.

    Attributes:
        arrays: type, dimensions and meaning of each, see :mod:`assay.foundation.arrays`.
        optional: names of those that may be missing.
    """

    arrays: Schema
    optional: tuple[str, ...]


def declared(study: StudyBrief, measurement: str) -> Declared | None:
    """The schema of a study's measurement, read from its source: torch is not needed.

    Args:
        study: as the plan gives it to the analysis, with the entries of its measurements.
        measurement: an id.

    Returns:
        None where the study does not know the measurement, or its class is no longer there.
    """
    entry = study.measurements.get(measurement, {})
    try:
        found = outline(entry["implementation"]).values
        return Declared(found["arrays"], tuple(found["optional"]))
    except (AssayError, KeyError):
        return None


def read_measured(path: Path | str, study: StudyBrief, measurement: str) -> dict[str, np.ndarray]:
    """The arrays of a measurement, checked against its schema where one is known.

    Args:
        path: of the file.
        study: as the plan gives it to the analysis.
        measurement: an id.

    Raises:
        MeasurementError: the file is missing or damaged, or does not follow the schema.
    """
    known = declared(study, measurement)
    if known is None:
        return read_arrays(path)
    return read_arrays(path, known.arrays, optional=known.optional)
