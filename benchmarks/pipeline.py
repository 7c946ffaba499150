"""How long users wait for planning, for data and for a report, each beside a bound.

    PYTHONPATH=workflow python benchmarks/pipeline.py

The time is CPU time of all processes of a step, which other work on the machine changes little. A
copy of the project runs scale smoke first; that run itself is not measured. Medical MNIST is
prepared where the environment variable ASSAY_DATA names a mirror.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from common import machine, table, write_section

ROOT = Path(__file__).resolve().parents[1]
COPIED = ("Snakefile", "config", "profiles", "workflow", "envs", "docs", "report", "pyproject.toml")
PLAN = """
from assay.plan.configuration import read_configuration
from assay.plan.plan import make_plan
plan = make_plan(read_configuration({"scale": "paper"}))
for cell in plan.cells:
    plan.suite(cell.suite, cell.dataset, cell.model)
"""
PREPARE = """
import sys
from pathlib import Path
from assay.data.prepare import prepare
from assay.plan.configuration import read_configuration
entry = read_configuration({"scale": "paper"}).catalogue["datasets"]["medical_mnist"]
target, mirror = Path(sys.argv[1]), Path(sys.argv[2])
prepare("medical_mnist", entry, target, mirror=mirror, cache=target.parent / "cache", seed=0)
"""


def cpu_seconds(step: Callable[[], object]) -> float:
    """CPU seconds of the processes that `step` starts and waits for."""

    def spent() -> float:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    before = spent()
    step()
    return spent() - before


def python(folder: Path, *arguments: str) -> None:
    """Runs Python in a folder, with the package of that folder; stops at the first failure."""
    environment = {**os.environ, "PYTHONPATH": str(folder / "workflow"), "MPLBACKEND": "Agg"}
    command = [sys.executable, *arguments]
    run = subprocess.run(
        command, cwd=folder, env=environment, text=True, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    if run.returncode:
        sys.exit(f"{' '.join(command)} ended with {run.returncode}:\n{run.stdout[-3000:]}")


def project(folder: Path) -> Path:
    """A copy of the project without what runs have left in it."""
    folder.mkdir()
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            hidden = shutil.ignore_patterns("__pycache__", "*.egg-info", "smoke", "demo")
            shutil.copytree(source, folder / name, ignore=hidden)
        else:
            shutil.copy2(source, folder / name)
    return folder


def steps(folder: Path) -> dict[str, tuple[Callable[[], object], float]]:
    """Each step with its bound in CPU seconds; later steps read what earlier ones have made."""
    run = partial(python, folder)
    snakemake = partial(run, "-m", "snakemake", "--quiet", "all", "--cores", "2")
    smoke, paper = ("--config", "scale=smoke"), ("--config", "scale=paper")

    def draw() -> None:
        shutil.rmtree(folder / "report/smoke")
        snakemake("tables", "figures", "statistics", *smoke)

    render = ("-m", "assay.plan.command", "render", "--scale", "workstation", "--out", "again")
    found = {
        "plan of the whole paper scale, in Python": (partial(run, "-c", PLAN), 5.0),
        "dry run of one study at paper scale": (
            partial(snakemake, "--dry-run", *paper, "studies=[millner2024]"),
            10.0,
        ),
        "tables, figures and statistics of scale smoke, of finished outcomes": (draw, 60.0),
        "`assay render` of the committed reports": (partial(run, *render), 60.0),
    }
    if "ASSAY_DATA" in os.environ:
        mirror = str(Path(os.environ["ASSAY_DATA"]).resolve())
        prepare = partial(run, "-c", PREPARE, str(folder / "medical_mnist"), mirror)
        found["preparation of Medical MNIST (58,954 images)"] = prepare, 90.0
    return found


def main() -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = project(Path(place) / "project")
        python(
            folder, "-m", "snakemake", "--cores", "2", "--quiet", "all", "--config", "scale=smoke"
        )
        rows = []
        for name, (step, bound) in steps(folder).items():
            seconds = cpu_seconds(step)
            rows.append(
                [name, f"{seconds:.1f}", f"{bound:.0f}", "yes" if seconds < bound else "no"]
            )
    write_section(
        "pipeline",
        f"""## Waiting times

CPU seconds of all processes of a step, one run each, beside a bound that the step should keep on a
machine of today. No test asserts these bounds. {machine()}.

{table(["step", "CPU seconds", "bound", "kept"], rows)}
""",
    )


if __name__ == "__main__":
    main()
