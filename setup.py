"""The part of the build that pyproject.toml cannot say: the project's files become package data.

`config/`, rules, scripts, schemas, captions, style and profiles stay where they are in the
repository. The build of a wheel copies them into the package, to `assay/project/`, in the same
layout. `assay.foundation.resources` finds them there.
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).parent
SHIPPED = (
    "Snakefile",
    "config/**/*",
    "docs/glossary.md",
    "envs/*.yaml",
    "profiles/**/*",
    "report/*.*",
    "report/captions/*",
    "workflow/Snakefile",
    "workflow/rules/*",
    "workflow/schemas/*",
    "workflow/scripts/*.py",
)


def shipped() -> list[Path]:
    """The files to copy, relative to the repository."""
    found = (path for pattern in SHIPPED for path in sorted(HERE.glob(pattern)))
    return [path.relative_to(HERE) for path in found if path.is_file()]


class BuildWithProject(build_py):
    """Puts the project's files into the package; an editable install reads them in place."""

    def run(self) -> None:
        # What an earlier build has left is not in the repository any more, perhaps.
        shutil.rmtree(Path(self.build_lib) / "assay", ignore_errors=True)
        super().run()
        if not self.editable_mode:
            for target, source in self._copied().items():
                self.mkpath(str(Path(target).parent))
                self.copy_file(source, target)

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        return [*super().get_outputs(include_bytecode), *self._copied()]

    def get_source_files(self) -> list[str]:
        return [*super().get_source_files(), *map(str, shipped())]

    def _copied(self) -> dict[str, str]:
        folder = Path(self.build_lib) / "assay/project"
        return {str(folder / path): str(HERE / path) for path in shipped()}


setup(cmdclass={"build_py": BuildWithProject})
