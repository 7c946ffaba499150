"""What a reader skips in a data set: counted by reason, logged in one line, recorded."""

from __future__ import annotations

import logging
from typing import Any

log = logging.getLogger(__name__)


class Skipped:
    """Counts of what is not read.

    Example:
        >>> left = Skipped()
        >>> left.add("no image", "ill/notes.txt")
        >>> left.record()
        [{'why': 'no image', 'number': 1, 'example': 'ill/notes.txt'}]
    """

    def __init__(self) -> None:
        self._found: dict[str, tuple[int, str]] = {}

    def add(self, why: str, name: str, number: int = 1) -> None:
        """Counts a file or folder, or the `number` of files in it."""
        if number:
            count, example = self._found.get(why, (0, name))
            self._found[why] = count + number, example

    def tell(self, where: object) -> None:
        """Logs everything in one line, if there is anything."""
        if self._found:
            parts = (f"{n} {why} ('{name}')" for why, (n, name) in self._found.items())
            log.warning("%s: left out are %s", where, ", ".join(parts))

    def record(self, *, examples: bool = True) -> list[dict[str, Any]]:
        """What ``dataset.json`` keeps.

        Args:
            examples: whether to name one of each; names of files may carry those of patients.
        """
        return [
            {"why": why, "number": number, **({"example": name} if examples else {})}
            for why, (number, name) in self._found.items()
        ]
