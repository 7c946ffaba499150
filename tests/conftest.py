"""What tests share: the data mirror, a copy of the project, a finished smoke run."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from filelock import FileLock
from howto import Followed, follower

ROOT = Path(__file__).resolve().parents[1]
# Files of unit tests that take long although their tests are few.
LONG = ("test_adding", "test_render", "test_real_data", "test_kept", "test_laboratory")
# What `Project.prolong` makes longer; its training's weights lie beside it.
PROLONGED = "results/smoke/outcomes/phantom/kfold_0/gbz_as_coded/linf_whitebox.parquet"


def _left_out(folder: str, names: list[str]) -> set[str]:
    """What a copy of the project does without: environments, caches and what runs have made."""
    if Path(folder) == ROOT / "results":
        return set(names) - {"README.md"}
    if Path(folder) == ROOT / "report":
        return {name for name in names if (ROOT / "config/scales" / f"{name}.yaml").is_file()}
    hidden = {name for name in names if name.startswith(".") and Path(folder) == ROOT}
    return {name for name in names if name == "__pycache__" or name.endswith(".egg-info")} | (
        hidden - {".snakemake-workflow-catalog.yml"}
    )


@pytest.fixture(scope="session")
def mirror() -> Path:
    """The folder of real data sets; tests that need it are skipped where it is missing."""
    place = os.environ.get("ASSAY_DATA")
    if not place:
        pytest.skip("ASSAY_DATA does not name a mirror of the real data sets")
    return Path(place).resolve()


@dataclass(frozen=True)
class Project:
    """A copy of the project in which tests may run snakemake and edit files."""

    folder: Path

    def snakemake(self, *arguments: str, check: bool = True, env: dict | None = None):
        """Runs snakemake at scale smoke; returns the finished process with its output as text."""
        command = [sys.executable, "-m", "snakemake", "--cores", "2", *arguments]
        if "--config" not in command:
            command += ["--config", "scale=smoke"]
        run = subprocess.run(
            command,
            cwd=self.folder,
            text=True,
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(env or {})},
        )
        if check and run.returncode:
            pytest.fail(f"{' '.join(command)} ended with {run.returncode}:\n{run.stdout[-6000:]}")
        return run

    def start(self, target: str, **options) -> subprocess.Popen:
        """Starts a silent run at scale smoke that goes on while the test does."""
        command = [sys.executable, "-m", "snakemake", "--cores", "2", "--config", "scale=smoke"]
        return subprocess.Popen(
            [*command, "--", target],
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **options,
        )

    def planned(self, *arguments: str) -> dict[str, int]:
        """Jobs by rule that a dry run plans; nothing to do is an empty dictionary."""
        lines = self.snakemake("--quiet", "host", "--dry-run", *arguments).stdout.splitlines()
        jobs = {}
        if "Job stats:" in lines:
            for line in lines[lines.index("Job stats:") + 3 :]:
                if not line.strip():
                    break
                rule, count = line.split()
                jobs[rule] = int(count)
        jobs.pop("total", None)
        return jobs

    def edit(self, file: str, old: str, new: str) -> None:
        """Replaces the first `old` in a file of the copy; fails when it is not there."""
        path = self.folder / file
        text = path.read_text(encoding="utf-8")
        assert old in text, f"{file} does not hold {old!r}"
        path.write_text(text.replace(old, new, 1), encoding="utf-8")

    def prolong(self) -> Project:
        """Makes training and attack of one model long enough to be stopped in their midst."""
        scale = "config/scales/smoke.yaml"
        self.edit(scale, "chunk: 24", "chunk: 4")
        self.edit(
            scale,
            "gbz_as_coded: {settings: {input_size: 32}}",
            "gbz_as_coded: {settings: {input_size: 68}, training: {epochs: 40}}",
        )
        self.edit(
            scale,
            "pgd_linf: {epsilons: [0.03, 0.1], settings: {steps: 3",
            "pgd_linf: {epsilons: [0.03, 0.1], settings: {steps: 50",
        )
        self.edit(
            "workflow/assay/training/loop.py",
            "checkpoint_every_s: float = 60.0",
            "checkpoint_every_s: float = 0.5",
        )
        return self

    def twin(self, folder: Path) -> Project:
        """A second copy with results, reports and Snakemake's records, times kept."""
        records = self.folder / ".snakemake"

        # They come and go while another process looks at this copy.
        def passing(place: str, names: list[str]) -> set[str]:
            return {"log", "locks"} & set(names) if Path(place) == records else set()

        shutil.copytree(
            self.folder, folder, symlinks=True, copy_function=shutil.copy2, ignore=passing
        )
        return Project(folder)


@pytest.fixture(scope="session")
def copy_project() -> Callable[[Path], Project]:
    """Copies the project's files, without what runs have left in it, to a folder."""

    def copy(folder: Path) -> Project:
        shutil.copytree(ROOT, folder, ignore=_left_out, symlinks=True)
        return Project(folder)

    return copy


@pytest.fixture
def project(tmp_path, copy_project) -> Project:
    """A fresh copy of the project for one test."""
    return copy_project(tmp_path / "project")


@pytest.fixture
def follow(tmp_path, copy_project) -> Callable[[str], Followed]:
    """Follows a page on adding something in a copy of the project: see tests/howto.py."""

    def copy(folder: Path) -> None:
        copy_project(folder)
        # Pages draw from the outcomes that are kept with a report.
        shutil.copytree(ROOT / "report/workstation", folder / "report/workstation")

    return follower(ROOT, copy, tmp_path / "followed")


@pytest.fixture(scope="session")
def made_once(tmp_path_factory, copy_project) -> Callable[..., Project]:
    """Copies of the project that several processes of pytest-xdist share."""
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent

    def once(name: str, make: Callable[[Project], object]) -> Project:
        folder, done = base / name / "project", base / name / "done"
        with FileLock(base / f"{name}.lock"):
            if not done.exists():
                shutil.rmtree(folder, ignore_errors=True)
                make(copy_project(folder))
                done.touch()
        return Project(folder)

    return once


@pytest.fixture(scope="session")
def smoke(made_once) -> Project:
    """A copy of the project with a finished run at scale smoke; do not change it (see `twin`)."""
    return made_once("smoke", Project.snakemake)


@pytest.fixture
def finished(smoke, tmp_path) -> Project:
    """A copy of the finished smoke run that one test may change."""
    return smoke.twin(tmp_path / "project")


@pytest.fixture(scope="session")
def undisturbed(made_once) -> Project:
    """One longer training and attack that nothing has stopped; do not change it (see `twin`)."""
    return made_once("undisturbed", lambda project: project.prolong().snakemake(PROLONGED))


def pytest_configure() -> None:
    """Lets Ctrl-C work where a shell starts the tests in its background, with SIGINT ignored."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


# xdist reads the groups in a hook of its own, which would otherwise come before this one.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Quick tests first: a broken unit is told before the workflow is run.

    There is one SLURM, whose long test comes before the workflow's many, and one browser: the
    tests of either stay in one process.
    """
    order = {"unit": 0, "oracle": 1, "cluster": 2, "workflow": 3, "browser": 4}
    # Examples in docstrings, of workflow/assay, are units.
    kinds = {
        item: item.path.relative_to(ROOT / "tests").parts[0]
        for item in items
        if item.path.is_relative_to(ROOT / "tests")
    }
    for item, kind in kinds.items():
        if kind in ("cluster", "browser"):
            item.add_marker(pytest.mark.xdist_group(kind))
    # Long files of few tests come first, else one process would end with them alone.
    items.sort(key=lambda item: (order.get(kinds.get(item), 0), item.path.stem not in LONG))
