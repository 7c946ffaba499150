"""assay away from its checkout: an installed wheel, a module of another workflow, odd folders."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml
from filelock import FileLock
from installed import Installed, install

from assay import __version__
from assay.foundation.outcomes import read_outcomes
from assay.foundation.provenance import read_provenance
from assay.foundation.resources import ROOT

# One process: what they share is a run, which another process would only wait for.
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("installed")]

ODD = "my \"best\" prøject [x] 'ü' {y}"
STUDY = "millner2024"


@pytest.fixture(scope="session")
def installed(tmp_path_factory, copy_project) -> Installed:
    """The project's wheel in a fresh environment, once for all processes."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "popen-gw" in base.name else base
    folder = base / "installed/environment"
    with FileLock(base / "installed.lock"):
        if not (folder / "done").exists():
            shutil.rmtree(folder.parent, ignore_errors=True)
            made = install(copy_project(folder.parent / "project").folder, folder)
            # Nothing of the checkout is left to be found by chance.
            shutil.rmtree(folder.parent / "project")
            (made.folder / "done").touch()
    return Installed(folder)


@pytest.fixture(scope="session")
def away(tmp_path_factory, installed) -> Path:
    """A folder of `assay init` with a finished run at scale smoke; do not change it."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "popen-gw" in base.name else base
    folder = base / "away" / ODD
    with FileLock(base / "away.lock"):
        if not (folder / "done").exists():
            shutil.rmtree(folder.parent, ignore_errors=True)
            folder.parent.mkdir()
            installed.assay("init", folder, cwd=base)
            installed.assay("run", "--config", "scale=smoke", cwd=folder)
            (folder / "done").touch()
    return folder


@pytest.fixture(scope="session")
def all_jobs(tmp_path_factory, copy_project) -> int:
    """How many jobs scale smoke has in a checkout, started in its own folder."""
    project = copy_project(tmp_path_factory.mktemp("checkout") / "project")
    return sum(project.planned().values()) - 1


def jobs(done) -> int:
    """How many jobs a dry run plans."""
    assert done.returncode == 0, done.stdout[-3000:]
    found = re.findall(r"^total +(\d+)$", done.stdout, re.MULTILINE)
    return int(found[0]) - 1 if found else 0  # without the target of them all


def test_only_the_wheel_can_be_imported_and_it_has_every_file(installed, tmp_path):
    code = "import assay, sys; print(assay.__file__); print(*sys.path, sep='\\n')"
    lines = installed.run("-c", code, cwd=tmp_path).stdout.splitlines()
    assert lines[0].startswith(str(installed.folder))
    assert not any(Path(line) == ROOT or ROOT / "workflow" in Path(line, "x").parents
                   for line in lines)  # fmt: skip
    project = Path(lines[0]).parent / "project"
    for pattern in (
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
    ):
        for path in filter(Path.is_file, ROOT.glob(pattern)):
            copy = project / path.relative_to(ROOT)
            assert copy.read_bytes() == path.read_bytes(), path


def test_commands_of_the_package_work_in_an_empty_folder(installed, tmp_path):
    # The copy that the wheel is made from has no tag.
    assert installed.assay("--version", cwd=tmp_path).stdout == f"assay {__version__}.dev0\n"
    plan = installed.assay("plan", "--scale", "smoke", cwd=tmp_path).stdout
    assert "run_suite" in plan
    assert "recorded jobs" in plan
    listed = installed.run("-m", "assay.attacks", "--list", cwd=tmp_path).stdout
    assert "autoattack_standard_linf" in listed
    unknown = installed.assay("plan", "--scale", "smok", cwd=tmp_path, check=False)
    assert unknown.returncode == 1
    assert "did you mean 'smoke'?" in unknown.stdout
    assert list(tmp_path.iterdir()) == []


def test_the_library_example_of_the_readme_works_with_the_wheel(installed, tmp_path):
    page = (ROOT / "README.md").read_text()
    example = re.search(r"```python\n(.*?evaluate\(.*?)```", page, re.DOTALL)
    start = (
        "import torch\n"
        "model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 2)).eval()\n"
        "images, labels = torch.rand(4, 1, 8, 8), torch.tensor([0, 1, 0, 1])\n"
    )
    printed = installed.run("-c", start + example[1], cwd=tmp_path).stdout
    assert "pgd_linf" in printed


def test_a_run_from_an_empty_odd_folder_is_that_of_the_checkout(away, smoke):
    assert (away / "report/smoke/index.html").stat().st_size > 0
    found = sorted((away / "results/smoke/outcomes").rglob("*.parquet"))
    assert len(found) == len(list((smoke.folder / "results/smoke/outcomes").rglob("*.parquet"))) > 0
    for path in found:
        other = smoke.folder / path.relative_to(away)
        pd.testing.assert_frame_equal(read_outcomes(path), read_outcomes(other), check_exact=True)
        assert read_provenance(path)["code"] == read_provenance(other)["code"]
    for name in ("accuracy.csv", "mcnemar.csv"):
        place = f"report/smoke/{STUDY}/statistics/{name}"
        assert (away / place).read_bytes() == (smoke.folder / place).read_bytes()
    assert {path.name for path in away.iterdir() if not path.name.startswith(".")} == {
        "Snakefile", "README.md", "config", "profiles", "results", "report", "done",
    }  # fmt: skip


def test_a_second_run_there_has_nothing_to_do(away, installed):
    again = installed.snakemake("--dry-run", "--config", "scale=smoke", cwd=away)
    assert "Nothing to be done" in again.stdout
    # What jobs in environments of their own may import of this one: assay, and no other package.
    assert [path.name for path in (away / ".snakemake/package").iterdir()] == ["assay"]


def test_the_report_of_snakemake_finds_its_captions_there(away, installed, tmp_path):
    report = tmp_path / "report.html"
    installed.snakemake("--report", report, "--config", "scale=smoke", cwd=away)
    text = report.read_text("utf-8")
    # The caption of the whole page, with the scale of the run; one of its categories.
    assert re.search(r"record of the run at scale.{0,60}smoke<", text, re.DOTALL)
    assert "Reported vs reproduced" in text


def test_assay_init_replaces_nothing(installed, tmp_path):
    (tmp_path / "config").mkdir()
    (tmp_path / "config/config.yaml").write_text("scale: smoke\n")
    done = installed.assay("init", tmp_path, cwd=tmp_path, check=False)
    assert done.returncode == 1
    assert re.fullmatch(r"error: .*config\.yaml: the file exists already; .*\n", done.stdout)
    assert [path.name for path in tmp_path.rglob("*")] == ["config", "config.yaml"]
    (tmp_path / "file").touch()
    done = installed.assay("init", "file", cwd=tmp_path, check=False)
    assert re.fullmatch(r"error: .*\n", done.stdout)


def test_studies_scales_entries_and_printed_numbers_of_one_s_own_lie_beside_theirs(
    installed, tmp_path
):
    installed.assay("init", tmp_path / ODD, cwd=tmp_path)
    config = tmp_path / ODD / "config"
    study = (ROOT / f"config/studies/{STUDY}.yaml").read_text()
    printed = yaml.safe_load(study)["reported"]["files"][0]
    shutil.copy(ROOT / "config/reported" / printed, config / "reported/mine.csv")
    (config / "studies/mine.yaml").write_text(study.replace(printed, "mine.csv"))
    scale = (ROOT / "config/scales/smoke.yaml").read_text().replace("splits: 2", "splits: 1")
    scale = scale.replace("medical_mnist: phantom", "medical_mnist: my_phantom")
    (config / "scales/mine.yaml").write_text(scale)
    phantom = yaml.safe_load((ROOT / "config/catalogue/datasets.yaml").read_text())["phantom"]
    own = {"scale": "mine", "studies": ["mine"], "catalogue": {"datasets": {"my_phantom": phantom}}}
    (config / "config.yaml").write_text(yaml.safe_dump(own))
    done = installed.assay("run", "--dry-run", cwd=config.parent)
    assert jobs(done) > 20
    assert "config/reported/mine.csv" in done.stdout
    assert "results/mine/data/my_phantom/images.npy" in done.stdout


MODULE = """
module assay:
    snakefile: {snakefile}
    config: {config}
    {more}
use rule * from assay{renamed}
"""


@pytest.mark.parametrize(
    ("snakefile", "settings", "parts"),
    [
        ("Snakefile", "scale: smoke", {"config": "config"}),
        ("workflow/Snakefile", "scale: smoke", {"config": "config"}),
        ("workflow/Snakefile", "b: {a: 1}\nassay: {scale: smoke}", {"config": 'config["assay"]'}),
        (
            "workflow/Snakefile",
            "b: {a: 1}",
            {"config": '{"scale": "smoke"}', "renamed": " as assay_*"},
        ),
        ("workflow/Snakefile", "scale: smoke", {"config": "config", "more": 'prefix: "a folder"'}),
    ],
    ids=["at the top", "whole configuration", "a section of it", "renamed rules", "prefix"],
)
def test_a_module_of_another_workflow_plans_the_same_jobs(
    tmp_path, all_jobs, snakefile, settings, parts
):
    (tmp_path / "config").mkdir()
    (tmp_path / "config/config.yaml").write_text(settings)
    words = {"snakefile": repr(str(ROOT / snakefile)), "renamed": "", "more": "", **parts}
    text = 'configfile: "config/config.yaml"\n' + MODULE.format(**words)
    (tmp_path / "Snakefile").write_text(text)
    assert jobs(snakemake("--dry-run", cwd=tmp_path)) == all_jobs


def snakemake(*arguments, cwd, **options):
    """Snakemake of this environment, whose assay is the checkout's."""
    command = [sys.executable, "-m", "snakemake", "--cores", "1", *map(str, arguments)]
    return subprocess.run(
        command, cwd=cwd, text=True, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options,
    )  # fmt: skip


@pytest.mark.parametrize("snakefile", ["Snakefile", "workflow/Snakefile"])
def test_another_working_directory_needs_no_configuration(tmp_path, all_jobs, snakefile):
    place = ("--snakefile", ROOT / snakefile, "--directory", tmp_path / ODD)
    done = snakemake("--dry-run", *place, "--config", "scale=smoke", cwd=tmp_path)
    assert jobs(done) == all_jobs
    leaks = "results/smoke/splits/phantom/kfold_0.leakage.csv"
    done = snakemake("--quiet", "all", *place, "--config", "scale=smoke", "--", leaks, cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    assert (tmp_path / ODD / leaks).is_file()


def test_a_checkout_may_have_an_odd_name_but_no_braces(tmp_path, copy_project):
    project = copy_project(tmp_path / "my \"best\" prøject [x] 'ü'")
    assert project.planned()["run_suite"] > 10
    project.folder.rename(tmp_path / "{x}")
    done = snakemake("--dry-run", "--config", "scale=smoke", cwd=tmp_path / "{x}")
    assert done.returncode == 1
    assert "move assay to a folder without" in done.stdout
    assert "Traceback" not in done.stdout


@pytest.fixture(scope="session")
def hosted(tmp_path_factory, copy_project) -> dict[str, str]:
    """Variables with which Snakemake has already fetched version v1 of ``owner/assay``."""
    base = tmp_path_factory.mktemp("hosted")
    project = copy_project(base / "project").folder
    cache = base / "cache/snakemake/snakemake/source-cache/snakemake-git-cache"
    clone = cache / "github.com/owner/assay"
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org"]
    for command in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "-m", "all"],
                    ["tag", "v1"], ["clone", "--quiet", "--bare", ".", str(clone)]):  # fmt: skip
        subprocess.run([*git, *command], cwd=project, check=True)
    shutil.rmtree(project)
    return {"XDG_CACHE_HOME": str(base / "cache")}


def test_the_module_that_the_deployment_tool_writes_runs_with_the_installed_package(
    tmp_path, installed, hosted, all_jobs
):
    (tmp_path / "config").mkdir()
    (tmp_path / "workflow").mkdir()
    (tmp_path / "config/config.yaml").write_text("scale: smoke\n")
    snakefile = 'github("owner/assay", path="workflow/Snakefile", tag="v1")'
    words = {"snakefile": snakefile, "config": "config", "more": "", "renamed": ""}
    text = 'configfile: "config/config.yaml"\n' + MODULE.format(**words)
    (tmp_path / "workflow/Snakefile").write_text(text)
    assert jobs(installed.snakemake("--dry-run", cwd=tmp_path, env=hosted)) == all_jobs
    leaks = "results/smoke/splits/phantom/kfold_0.leakage.csv"
    installed.snakemake("--cores", "1", "--", leaks, cwd=tmp_path, env=hosted)
    installed.snakemake("--report", "report.html", "--", leaks, cwd=tmp_path, env=hosted)
    assert "leakage" in (tmp_path / "report.html").read_text("utf-8")
    # Without the package, one line says what is missing.
    (package,) = installed.folder.glob("lib/python*/site-packages/assay")
    code = (
        "import sys; from snakemake.cli import main; "
        f"sys.path.remove({str(package.parent)!r}); main(['--dry-run'])"
    )
    done = installed.run("-c", code, cwd=tmp_path, env=hosted, check=False)
    assert done.returncode == 1
    assert "the Python package assay is not installed" in done.stdout
    assert "Traceback" not in done.stdout


APPTAINER = """#!/usr/bin/env bash
echo "$*" >> "$CALLS"
[ "$1" = --version ] && { echo "apptainer version 1.3.0"; exit; }
until [ "${1##*/}" = bash ] || [ "${1##*/}" = sh ]; do shift; done
exec "$@"
"""


def test_jobs_run_in_the_container_that_the_configuration_names(tmp_path):
    """What stands in for apptainer runs the command that it is given, outside of any container."""
    (tmp_path / "bin").mkdir()
    for name in ("apptainer", "singularity"):
        (tmp_path / "bin" / name).write_text(APPTAINER)
        (tmp_path / "bin" / name).chmod(0o755)
    (tmp_path / "assay.sif").touch()
    # Of a container Snakemake takes the `python` on its path.
    places = [tmp_path / "bin", Path(sys.executable).parent, os.environ["PATH"]]
    path = os.pathsep.join(map(str, places))
    options = {"cwd": tmp_path, "env": {**os.environ, "PATH": path, "CALLS": f"{tmp_path}/calls"}}
    leaks = "results/smoke/splits/phantom/kfold_0.leakage.csv"
    start = ("--snakefile", ROOT / "Snakefile", "--sdm", "apptainer", "--config", "scale=smoke")
    done = snakemake(*start, "--", leaks, **options)
    assert done.returncode == 1
    assert "config/config.yaml: container: no image is named for --sdm apptainer" in done.stdout
    done = snakemake(*start, "container=assay.sif", "--", leaks, **options)
    assert done.returncode == 0, done.stdout
    calls = [line for line in (tmp_path / "calls").read_text().splitlines() if "exec" in line]
    assert len(calls) == 2
    assert all("assay.sif" in line and ".py" in line for line in calls)
