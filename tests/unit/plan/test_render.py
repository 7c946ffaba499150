"""A report is made again from what is kept with it: in a fresh clone, without torch, in seconds."""

import shutil
import subprocess
import sys
import time
from pathlib import Path

import factory
import pandas as pd
import pytest

from assay.analysis.kept import FILES, keep_study
from assay.analysis.page import render_page
from assay.foundation.errors import AssayError
from assay.foundation.kept import KeptOutcomes
from assay.plan.command import main
from assay.plan.configuration import ROOT, read_configuration
from assay.plan.plan import make_plan
from assay.plan.render import earlier_code, render
from assay.plan.targets import ANALYSES

SCALE, STUDY = "workstation", "millner2024"
# Python with assay, but without what trains and attacks.
WITHOUT_TORCH = """
import sys

class NotInstalled:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "torchvision", "captum"):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, NotInstalled())
from assay.plan.command import main
sys.exit(main(sys.argv[1:]))
"""
COMMITTED = sorted(ROOT.glob(f"report/*/*/{FILES[0]}"))
TRACKED = [path for path in COMMITTED if path.parts[-3] not in ("demo", "smoke")]


def command(*arguments):
    """Runs ``assay`` in a process of its own that has no torch."""
    return subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, *map(str, arguments)],
        cwd=ROOT / "workflow", capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """The kept files of a made-up run of a real study, with the paths that the plan gives."""
    folder = tmp_path_factory.mktemp("run")
    plan = make_plan(read_configuration({"scale": SCALE, "studies": STUDY}))
    models = ("gbz_as_coded", "gbz")
    made = factory.write_run(folder / "made", models=models, folds=2, per_fold=24)
    wanted = plan.manifest(STUDY)
    manifest = {**wanted, "reported": []}
    ids = ("dataset", "split", "model", "suite")
    for kind in ("outcomes", "models", "features", "leakage"):
        sources = {tuple(item.get(name) for name in ids): item for item in made[kind]}
        manifest[kind] = [
            item for item in wanted[kind] if tuple(item.get(name) for name in ids) in sources
        ]
        for item in manifest[kind]:
            source = sources[tuple(item.get(name) for name in ids)]
            for member in source.keys() - set(ids):
                target = folder / item[member]
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source[member], target)
    with pytest.MonkeyPatch.context() as patch:
        # The plan's paths are relative to the workflow's folder.
        patch.chdir(folder)
        keep_study(manifest, plan.brief(STUDY), folder / "kept" / STUDY)
    return folder / "kept"


def csv_files(folder):
    return {path.relative_to(folder).as_posix(): path for path in folder.rglob("*.csv")}
