"""``assay init``: a folder for one's own studies. ``assay run``: the workflow, by Snakemake."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from assay.foundation.errors import AssayError
from assay.foundation.resources import PACKAGE, resource

TEMPLATE = PACKAGE / "plan/folder"
# Empty at first: a study, a scale, the numbers of a paper.
OWN = ("config/studies", "config/scales", "config/reported")
# Whoever names one of these has said how many jobs run at a time.
_JOBS = ("-c", "--cores", "-j", "--jobs", "-e", "--executor", "--profile")


def make_folder(folder: Path) -> list[Path]:
    """Writes what a folder needs in which ``assay run`` or ``snakemake`` shall start.

    Args:
        folder: made if it is not there; what is in it stays.

    Returns:
        The written files.

    Raises:
        AssayError: a file is there already, or the folder cannot be written. Nothing is changed.
    """
    sources = {
        folder / path.relative_to(TEMPLATE): path
        for path in sorted(TEMPLATE.rglob("*"))
        if path.is_file()
    }
    for profile in sorted(resource("profiles").glob("*/config.yaml")):
        sources[folder / "profiles" / profile.parent.name / profile.name] = profile
    for target in sources:
        if target.exists():
            raise AssayError(
                "the file exists already", where=target, remedy="name a new folder, or remove it"
            )
    try:
        for place in OWN:
            (folder / place).mkdir(parents=True, exist_ok=True)
        for target, source in sources.items():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
    except OSError as error:
        raise AssayError(
            f"cannot be written ({error.strerror})",
            where=error.filename or folder,
            remedy="name a folder in which you may write",
        ) from error
    return list(sources)


def snakemake_command(arguments: Sequence[str]) -> list[str]:
    """The command that runs assay's workflow in the working folder.

    A ``Snakefile`` of the working folder is used if there is one, else the one of the package.

    Raises:
        AssayError: Snakemake is not installed.

    Example:
        >>> snakemake_command(["-n"])[-3:]
        ['--cores', 'all', '-n']
    """
    if importlib.util.find_spec("snakemake") is None:
        raise AssayError(
            "Snakemake is not installed for this Python",
            where=sys.executable,
            remedy="install assay with its dependencies (docs/installation.md)",
        )
    command = [sys.executable, "-m", "snakemake"]
    chosen = any(word.startswith(("-s", "--snakefile")) for word in arguments)
    if not chosen and not Path("Snakefile").is_file() and not Path("workflow/Snakefile").is_file():
        command += ["--snakefile", str(resource("Snakefile"))]
    if not any(_names(word, option) for word in arguments for option in _JOBS):
        command += ["--cores", "all"]
    return [*command, *arguments]


def _names(word: str, option: str) -> bool:
    """Whether a word of a command line is this option, maybe with its value."""
    if option.startswith("--"):
        return word == option or word.startswith(f"{option}=")
    return word.startswith(option) and not word.startswith("--")


def run(arguments: Sequence[str]) -> NoReturn:
    """Becomes the process of Snakemake, so that Ctrl-C and exit status are its own."""
    command = snakemake_command(arguments)
    os.execv(command[0], command)
