"""Numbers as people write them: ``8/255``, ``1e-3``, ``0.3``."""

from __future__ import annotations

import math
import re
from fractions import Fraction
from typing import SupportsFloat

from assay.foundation.errors import AssayError, ConfigError

_FRACTION = re.compile(r"\s*([^/\s]+)\s*/\s*([^/\s]+)\s*")

# Exponents that no float has; written out, their powers of ten would fill the memory.
_ENDLESS = re.compile(r"e[+-]?\d{4}", re.IGNORECASE)


def number(value: object, where: str, error: type[AssayError] = ConfigError) -> float:
    """A finite number that may be written as a text.

    Args:
        value: an int or float (of Python, NumPy, torch), or a text such as ``"8/255"``, ``"1e-3"``.
        where: the file and key, or the argument, for the message.
        error: the class of the error.

    Returns:
        The nearest float; a quotient is rounded once.

    Raises:
        AssayError: `value` is no finite number; of class `error`.

    Example:
        >>> number("8/255", "epsilons") == 8 / 255, number("1e-3", "epsilons")
        (True, 0.001)
    """
    try:
        if isinstance(value, bool):
            raise TypeError
        if isinstance(value, str):
            if _ENDLESS.search(value):
                raise ValueError
            quotient = _FRACTION.fullmatch(value)
            parts = quotient.groups() if quotient else (value.strip(),)
            exact = [Fraction(part) for part in parts]
            found = float(exact[0] / exact[1] if quotient else exact[0])
        elif isinstance(value, SupportsFloat):
            found = float(value)
        else:
            raise TypeError
    except (TypeError, ValueError, ZeroDivisionError, OverflowError, RuntimeError):
        found = math.nan
    if not math.isfinite(found):
        raise error(
            f"{value!r} is not a finite number",
            where=where,
            remedy="write it as 0.03, 1e-3 or 8/255",
        )
    return found
