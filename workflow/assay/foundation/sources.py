"""What files say about one thing, laid over each other, and where each value is written.

A value keeps the file and the key that it stands in, also where an entry was made from another one
(:mod:`assay.foundation.entries`), so that an error message names what its reader can edit.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from functools import reduce
from typing import Any, NamedTuple

Keys = tuple[Any, ...]


class Source(NamedTuple):
    """What one file says about something.

    Attributes:
        file: the file as the user knows it, or another place such as ``--config``.
        keys: the keys that lead there in the file.
        tree: what stands there.
        moved: pairs of keys in `tree` and the keys in the file at which their value is written, of
            values that do not stand where `keys` lead.
    """

    file: str
    keys: Keys
    tree: Any
    moved: tuple[tuple[Keys, Keys], ...] = ()

    def below(self, *keys: Any) -> Source | None:
        """What the same file says below some keys; None if it lacks one of them."""
        tree = self.tree
        for key in keys:
            if not _holds(tree, key):
                return None
            tree = tree[key]
        moved = tuple((k[len(keys) :], to) for k, to in self.moved if k[: len(keys)] == keys != k)
        return Source(self.file, self.written(*keys), tree, moved)

    def written(self, *keys: Any) -> Keys:
        """The keys in the file at which the value at `keys` is written."""
        for length in range(len(keys), -1, -1):
            for start, to in self.moved:
                if start == keys[:length]:
                    return (*to, *keys[length:])
        return (*self.keys, *keys)

    def at(self, *keys: Any) -> str:
        """The file and the keys to a place in it, as a complaint names them."""
        path = ".".join(str(key) for key in self.written(*keys))
        return f"{self.file}: {path}" if path else self.file


def _holds(tree: Any, key: Any) -> bool:
    if isinstance(tree, Mapping):
        return key in tree
    return isinstance(tree, list) and isinstance(key, int) and key < len(tree)


def merged(base: Any, change: Any) -> Any:
    """`change` laid over `base`: mappings key by key, everything else replaced."""
    if isinstance(base, Mapping) and isinstance(change, Mapping):
        result = dict(base)
        for key, value in change.items():
            result[key] = merged(base.get(key), value)
        return result
    return copy.deepcopy(change)


def laid_over(sources: Iterable[Source]) -> Any:
    """What all sources say together, the last on top."""
    return reduce(merged, (source.tree for source in sources), {})


def place(sources: Iterable[Source], *keys: Any, by: Keys = ()) -> str:
    """Which file, and where in it, decides what stands at `keys` of sources laid over each other.

    Args:
        sources: the last on top.
        keys: to the place; of keys that no file has, the file with the most of them is named.
        by: further keys that decide on the file and are not named.
    """
    sources, wanted = list(sources), (*keys, *by)
    for length in range(len(wanted), -1, -1):
        for source in reversed(sources):
            if source.below(*wanted[:length]):
                return source.at(*keys)
    raise ValueError("no source is given")


def changes(tree: Any, base: Any) -> Any:
    """What `tree` says beyond `base`: a mapping without the keys that are equal in both."""
    if not (isinstance(tree, Mapping) and isinstance(base, Mapping)):
        return tree
    return {
        key: changes(value, base.get(key))
        for key, value in tree.items()
        if key not in base or value != base[key]
    }
