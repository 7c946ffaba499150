"""The name of a split: the scheme that divides a data set, and which of its divisions this is."""

from __future__ import annotations

from typing import NamedTuple


class Split(NamedTuple):
    """One division of a data set; as a text ``{scheme}_{index}``, its id in paths and columns.

    Attributes:
        scheme: id of the split scheme, such as ``kfold``.
        index: which of the scheme's splits, from 0.

    Example:
        >>> split = Split.of("random_once_0")
        >>> split.scheme, split.index, split.is_first, str(split)
        ('random_once', 0, True, 'random_once_0')
    """

    scheme: str
    index: int

    @classmethod
    def of(cls, split_id: str) -> Split:
        """The split of an id.

        Raises:
            ValueError: the id does not end in an underscore and a whole number.
        """
        scheme, _, index = str(split_id).rpartition("_")
        if not scheme or not index.isdecimal():
            raise ValueError(f"'{split_id}' is no split: its id is {{scheme}}_{{index}}")
        return cls(scheme, int(index))

    @property
    def is_first(self) -> bool:
        """Whether it is the first of its scheme, the one that figures of single images show."""
        return self.index == 0

    def __str__(self) -> str:
        return f"{self.scheme}_{self.index}"
