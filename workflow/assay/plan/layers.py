"""Folders that hold a ``config/``, laid over each other, and what each of their files says.

assay brings a configuration along; the working folder may hold another ``config/``, with files of
the same names or of its own. Of two scales, studies or files of printed numbers of one name the
later counts. ``config.yaml`` and the catalogues are merged key by key, and every key is known by
the file that it stands in, so that a complaint names a file that its reader can edit.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any, NamedTuple

from assay.foundation.resources import ROOT as BUNDLED


@dataclass(frozen=True)
class Layers:
    """Where configuration files are looked for.

    Attributes:
        folders: folders that may hold a ``config/``, the first at the bottom. The last is the
            user's: the working folder, which paths in the configuration are relative to.

    Example:
        >>> Layers.here().find("config/studies/millner2024.yaml").name
        'millner2024.yaml'
    """

    folders: tuple[Path, ...]

    @classmethod
    def here(cls, user: Path | str = "") -> Layers:
        """The configuration that comes with assay, and that of `user` (the working folder)."""
        user = Path(user).resolve()
        return cls(tuple(dict.fromkeys([BUNDLED, user])))

    @property
    def user(self) -> Path:
        return self.folders[-1]

    def files(self, name: str) -> list[Path]:
        """The files of that name, for example ``config/config.yaml``, the lowest first."""
        paths = [folder / name for folder in self.folders]
        return [path for path in paths if path.exists() or path.is_symlink()]

    def find(self, name: str) -> Path | None:
        """The file of that name that counts; None if there is none."""
        return next(reversed(self.files(name)), None)

    def names(self, folder: str, ending: str = ".yaml") -> list[str]:
        """The names, without `ending`, of the files in a folder such as ``config/scales``."""
        found = {path for place in self.files(folder) for path in place.glob(f"*{ending}")}
        return sorted({path.name.removesuffix(ending) for path in found})

    def told(self, path: Path | str) -> str:
        """A path as the user knows it: below the working folder relative to it, else absolute."""
        path = self.user / path
        return str(path.relative_to(self.user) if path.is_relative_to(self.user) else path)


class Source(NamedTuple):
    """What one file says about something.

    Attributes:
        file: the file as the user knows it, or another place such as ``--config``.
        keys: the keys that lead there in the file.
        tree: what stands there.
    """

    file: str
    keys: tuple[Any, ...]
    tree: Any

    def below(self, *keys: Any) -> Source | None:
        """What the same file says below some keys; None if it lacks one of them."""
        tree = self.tree
        for key in keys:
            if not _holds(tree, key):
                return None
            tree = tree[key]
        return Source(self.file, (*self.keys, *keys), tree)

    def at(self, *keys: Any) -> str:
        """The file and the keys to a place in it, as a complaint names them."""
        path = ".".join(str(key) for key in (*self.keys, *keys))
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


def place(sources: Iterable[Source], *keys: Any, by: tuple[Any, ...] = ()) -> str:
    """Which file, and where in it, decides what stands at `keys` of sources laid over each other.

    Args:
        sources: the last on top.
        keys: to the place; of keys that no file has, the file with the most of them is named.
        by: further keys that decide on the file and are not told.
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
