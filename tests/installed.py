"""The wheel of this project in an environment of its own, for tests."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

PIP = ("-m", "pip", "--quiet", "--disable-pip-version-check")


@dataclass(frozen=True)
class Installed:
    """An environment in which assay is installed, and nothing of the checkout can be imported."""

    folder: Path

    @property
    def python(self) -> Path:
        return self.folder / "bin/python"

    def run(self, *arguments: str | Path, cwd: Path, check: bool = True, env: dict | None = None):
        """Runs this environment's Python; returns the process with its output as text."""
        done = subprocess.run(
            [self.python, *arguments],
            cwd=cwd,
            env={**_clean(), **(env or {})},
            text=True,
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert not check or done.returncode == 0, done.stdout[-4000:]
        return done

    def assay(self, *arguments: str | Path, cwd: Path, check: bool = True):
        return self.run(self.folder / "bin/assay", *arguments, cwd=cwd, check=check)

    def snakemake(self, *arguments: str | Path, cwd: Path, check: bool = True, **options):
        return self.run("-m", "snakemake", *arguments, cwd=cwd, check=check, **options)


def install(project: Path, folder: Path) -> Installed:
    """Builds the wheel of `project` and installs it, without its dependencies, in `folder`.

    The dependencies are those of this Python: a path to them, whose own ``.pth`` files, and so an
    editable install of the checkout, are not read.
    """
    wheels = folder.parent / "wheels"
    build = [sys.executable, *PIP, "wheel", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*build, "--wheel-dir", wheels, project], check=True, env=_clean())
    venv.create(folder, clear=True, symlinks=True)
    made = Installed(folder)
    put = [sys.executable, *PIP, "--python", made.python, "install", "--no-deps", "--no-index"]
    subprocess.run([*put, *wheels.glob("assay-*.whl")], check=True, env=_clean())
    (own,) = folder.glob("lib/python*/site-packages")
    places = [place for place in sys.path if place.endswith("site-packages")]
    (own / "dependencies.pth").write_text("\n".join(places) + "\n")
    return made


def _clean() -> dict[str, str]:
    """This process's environment, without what shows it the checkout."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
