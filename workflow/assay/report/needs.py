"""What tables and figures read beside accuracies: example images, measurements, printed numbers.

A kind's function ``needs(spec)`` returns these. The plan checks that a study stores them and
derives from them what is stored of which images. Which attacks, models and data sets an entry shows
is said by the types of its keys already (`assay.report.spec`).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Examples:
    """Example images of one attack on some models.

    A report keeps those of the attack and models that an entry names by the keys ``attack`` and
    ``model`` or ``models``.

    Attributes:
        attack: its id.
        models: ids of the models that it attacks.
    """

    attack: str
    models: tuple[str, ...]


@dataclass(frozen=True)
class Measured:
    """A measurement of trained models.

    Attributes:
        measurement: its id in config/catalogue/measurements.yaml.
        models: ids of the models.
        key: the key of the entry that names them.
        attack: id of the attack whose example images are measured, if it is of these.
    """

    measurement: str
    models: tuple[str, ...]
    key: str
    attack: str | None = None


@dataclass(frozen=True)
class Bases:
    """The base networks of some wrappers, evaluated on the same data sets.

    Attributes:
        models: ids of the wrappers.
        key: the key of the entry that names them.
    """

    models: tuple[str, ...]
    key: str


@dataclass(frozen=True)
class Setting:
    """A setting that is a number in the entries of some models.

    Attributes:
        name: a key of ``settings`` in config/catalogue/models.yaml.
        models: ids of the models.
        key: the key of the entry that names them.
        placed: ids of models for which the entry gives a value itself.
    """

    name: str
    models: tuple[str, ...]
    key: str
    placed: tuple[str, ...] = ()


@dataclass(frozen=True)
class PrintedNumbers:
    """Numbers that a paper prints."""


Need = Bases | Examples | Measured | PrintedNumbers | Setting
