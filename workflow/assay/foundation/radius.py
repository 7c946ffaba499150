"""Radii of perturbations: a number that keeps the text it was written as."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from assay.foundation.errors import AssayError, ConfigError
from assay.foundation.numbers import number


class Radius(float):
    """A radius (or a severity) with its label, such as ``8/255``, ``0.3`` or ``1.5``.

    It is the float that its label means, so two radii are equal if and only if these floats are:
    nothing compares radii with a tolerance. As a text it is its label; arithmetic gives floats.

    Args:
        value: a text, or a number, whose label is then the shortest text that means it.
        where: the file and key, or the argument, for the message.
        error: the class of the error.

    Raises:
        AssayError: `value` is no finite number; of class `error`.

    Example:
        >>> str(Radius("8/255")), Radius("8/255") == 8 / 255, str(Radius(8 / 255)), str(Radius(0.3))
        ('8/255', True, '8/255', '0.3')
    """

    __slots__ = ("label",)
    label: str

    def __new__(
        cls, value: object, where: str = "radius", error: type[AssayError] = ConfigError
    ) -> Radius:
        self = super().__new__(cls, number(value, where, error))
        if isinstance(value, Radius):
            self.label = value.label
        else:
            self.label = "".join(value.split()) if isinstance(value, str) else _shortest(self)
        return self

    # A float's are a number; ours keep what was written.
    def __getnewargs__(self) -> tuple[str]:  # pyrefly: ignore[bad-override]
        return (self.label,)

    def __str__(self) -> str:
        return self.label

    def __format__(self, form: str) -> str:
        return format(float(self) if form[-1:] in tuple("eEfFgGn%") else self.label, form)


class Labels:
    """The labels of the radii of a study: what to write for a number of a column ``epsilon``.

    Args:
        radii: the radii as they are written; of equal ones the first counts.

    Example:
        >>> Labels(["16/255", 0.1])(16 / 255), Labels([])(0.5)
        ('16/255', '0.5')
    """

    def __init__(self, radii: Iterable[object] = ()) -> None:
        self._labels: dict[float, str] = {}
        for radius in map(Radius, radii):
            self._labels.setdefault(float(radius), radius.label)

    def __call__(self, epsilon: float) -> str:
        """The label of a number: as the study writes it, else the shortest text that means it."""
        return self._labels.get(float(epsilon)) or _shortest(float(epsilon))


def plain(value: Any) -> Any:
    """`value` with floats in the place of radii, at any depth: fit for the parameters of a job.

    What is pickled for a job, and the digests of parameters, must not depend on a class.

    Example:
        >>> plain({"epsilons": [Radius("1/2")]})
        {'epsilons': [0.5]}
    """
    if isinstance(value, Mapping):
        return {key: plain(part) for key, part in value.items()}
    if isinstance(value, list):
        return [plain(part) for part in value]
    return float(value) if isinstance(value, Radius) else value


def labels_in(value: Any) -> list[str]:
    """The labels of the radii in `value`, at any depth, each once and in order of appearance.

    Example:
        >>> labels_in({"epsilons": [Radius("8/255"), Radius(0.3)], "radii": [Radius("8/255")]})
        ['8/255', '0.3']
    """
    if isinstance(value, Radius):
        return [value.label]
    parts = value.values() if isinstance(value, Mapping) else value
    if not isinstance(parts, Iterable) or isinstance(parts, str):
        return []
    return list(dict.fromkeys(label for part in parts for label in labels_in(part)))


def _shortest(value: float) -> str:
    """The shortest of a decimal of six digits and a multiple of a grey level that means `value`.

    A number that neither means is rounded: nobody wrote it, so it is no radius that was asked for.
    """
    plain = f"{value:.6g}"
    levels = f"{round(value * 255, 2):g}/255"
    exact = [text for text in (plain, levels) if number(text, "radius") == value]
    return min(exact, key=len, default=plain)
