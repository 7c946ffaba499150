"""Folders that hold a ``config/``, laid over each other.

assay brings a configuration along; the working folder may hold another ``config/``, with files of
the same names or of its own. Of two scales, studies or files of printed numbers of one name the
later counts. ``config.yaml`` and the catalogues are merged key by key, and every key is known by
the file that it stands in, so that a complaint names a file that its reader can edit.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

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

    def known(self, name: str) -> Path:
        """The file of that name that counts, where there is one."""
        return self.files(name)[-1]

    def names(self, folder: str, ending: str = ".yaml") -> list[str]:
        """The names, without `ending`, of the files in a folder such as ``config/scales``."""
        found = {path for place in self.files(folder) for path in place.glob(f"*{ending}")}
        return sorted({path.name.removesuffix(ending) for path in found})

    def shown_path(self, path: Path | str) -> str:
        """A path as the user knows it: below the working folder relative to it, else absolute."""
        path = self.user / path
        return str(path.relative_to(self.user) if path.is_relative_to(self.user) else path)
