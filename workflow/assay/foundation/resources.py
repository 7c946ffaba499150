"""The files that come with the package: configuration, schemas, rules, scripts, style, captions.

In a checkout they lie in the repository, beside the package. In an installed wheel they are data
of the package: ``setup.py`` copies them there, in the same layout. No other module contains the
difference. What a user writes and what a run makes lies in the working folder, never here.
"""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path

PACKAGE = Path(str(files("assay"))).resolve()
_INSTALLED = PACKAGE / "project"
# The folder of `Snakefile`, `config/`, `workflow/`, `report/` and `profiles/`.
ROOT = _INSTALLED if _INSTALLED.is_dir() else PACKAGE.parents[1]


def resource(path: str) -> Path:
    """A file or folder that comes with the package, by its path in the repository.

    Example:
        >>> resource("config/catalogue/attacks.yaml").name
        'attacks.yaml'
    """
    return ROOT / path


def from_here(path: Path) -> str:
    """An absolute path as Snakemake's rules name it: relative in the working folder, else absolute.

    So a copied or moved checkout names its files as before, and runs nothing again.
    """
    here = Path.cwd()
    return (path.relative_to(here) if path.is_relative_to(here) else path).as_posix()


def share_package() -> None:
    """Lets processes that this one starts import assay, also from a conda environment.

    An installed package lies among all others of its Python. Those must not reach an environment
    that has its own: only a link to this package does.
    """
    folder = PACKAGE.parent
    if ROOT == _INSTALLED:
        folder = Path(".snakemake/package").absolute()
        folder.mkdir(parents=True, exist_ok=True)
        link, new = folder / PACKAGE.name, folder / f"{PACKAGE.name}.{os.getpid()}"
        new.symlink_to(PACKAGE, target_is_directory=True)
        new.replace(link)  # several jobs start at once
    others = [place for place in os.environ.get("PYTHONPATH", "").split(os.pathsep) if place]
    others = [place for place in others if place != str(folder)]
    os.environ["PYTHONPATH"] = os.pathsep.join([str(folder), *others])
