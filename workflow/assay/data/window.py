"""Deep grey images to 8 bits, through a window that the entry of the data set names."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from assay.foundation.errors import ConfigError

_REMEDY = (
    "give {level: 40, width: 400} in the units of the images, or {percentiles: [0.5, 99.5]} of "
    "each image"
)


@dataclass(frozen=True)
class Window:
    """Which values become black and white; what lies between is linear.

    Attributes:
        low: the value that becomes 0, or its percentile among the pixels of an image.
        high: the value that becomes 255, likewise.
        percentiles: whether `low` and `high` are percentiles.
    """

    low: float
    high: float
    percentiles: bool = False

    @classmethod
    def of(cls, setting: Any, where: str) -> Window | None:
        """The window that a setting describes: ``{level, width}`` or ``{percentiles}``.

        Args:
            setting: as in the entry; None: no window.
            where: names the setting in messages.

        Raises:
            ConfigError: it is none of the two, or empty.

        Example:
            >>> Window.of({"level": 40, "width": 400}, "window")
            Window(low=-160.0, high=240.0, percentiles=False)
        """
        if setting is None:
            return None
        keys = set(setting) if isinstance(setting, Mapping) else None
        if keys == {"level", "width"}:
            level, width = setting["level"], setting["width"]
            if _numbers(level, width) and width > 0:
                return cls(level - width / 2, level + width / 2)
        elif keys == {"percentiles"}:
            ends = setting["percentiles"]
            if isinstance(ends, list | tuple) and len(ends) == 2 and _numbers(*ends):
                low, high = ends
                if 0 <= low < high <= 100:
                    return cls(low, high, percentiles=True)
        raise ConfigError(f"{setting!r} is no window", where=where, remedy=_REMEDY)

    def apply(
        self, values: np.ndarray, *, inverted: bool = False, padding: np.ndarray | None = None
    ) -> np.ndarray:
        """The image in 8 bits.

        Args:
            values: (H, W) of any type, finite.
            inverted: whether small values are bright, as in MONOCHROME1.
            padding: (H, W) bool, pixels outside of the picture: they become black, and do not
                count for percentiles.

        Returns:
            (H, W) uint8.
        """
        values = values.astype(np.float64)
        inside = values if padding is None else values[~padding]
        low, high = self.low, self.high
        if self.percentiles:
            low, high = np.percentile(inside, (low, high)) if inside.size else (0, 0)
        grey = (values - low) / (high - low) if high > low else np.zeros_like(values)
        pixels = np.rint(255 * grey.clip(0, 1)).astype(np.uint8)
        if inverted:
            pixels = 255 - pixels
        if padding is not None:
            pixels[padding] = 0
        return pixels


def _numbers(*values: Any) -> bool:
    return all(
        isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        for value in values
    )
