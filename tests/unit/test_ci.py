"""Continuous integration cannot be green without having met a browser and a SLURM."""

import os
import re
import shutil
import subprocess
import sys

import pytest
import yaml

from assay.foundation.resources import ROOT

PACKAGES = {
    "slurmctld": "slurmctld",
    "slurmd": "slurmd",
    "sbatch": "slurm-client",
    "munged": "munge",
    "rsync": "rsync",
}


@pytest.fixture
def path(tmp_path):
    """A PATH on which there are the tools that a shell needs, and a SLURM, but no browser."""
    for name in ("bash", "dirname", "env"):
        (tmp_path / name).symlink_to(shutil.which(name))
    for name in PACKAGES:
        tool(tmp_path, name)
    return tmp_path


def tool(path, name, *lines):
    (path / name).write_text("\n".join(["#!/usr/bin/env bash", *lines, ""]))
    (path / name).chmod(0o755)


def integrate(path):
    tool(path, "make", 'echo "make $* with ${ASSAY_BROWSER:-no} browser, ${ASSAY_SLURM:-no} SLURM"')
    command = [str(path / "bash"), str(ROOT / ".ci/run")]
    return subprocess.run(
        command, env={"PATH": str(path)}, capture_output=True, text=True, check=False
    )


def test_without_a_browser_and_the_right_to_install_one_nothing_runs(path):
    tool(path, "id", "echo 1000")
    done = integrate(path)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("chromium missing")


@pytest.mark.parametrize(("command", "package"), PACKAGES.items())
def test_without_a_part_of_slurm_or_rsync_it_is_named_and_nothing_runs(path, command, package):
    tool(path, "chromium")
    tool(path, "id", "echo 1000")
    (path / command).unlink()
    done = integrate(path)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith(f"{package} missing")


def test_a_browser_that_cannot_be_installed_ends_the_run(path):
    tool(path, "id", "echo 0")
    tool(path, "apt-get", '[ "$1" = update ]')
    done = integrate(path)
    assert done.returncode == 1
    assert done.stdout == ""


@pytest.mark.parametrize("browser", ["chromium", "chromium-browser"])
def test_with_a_browser_lint_and_tests_run_and_tests_must_use_it(path, browser):
    tool(path, browser)
    done = integrate(path)
    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        "make lint with required browser, required SLURM",
        "make test with required browser, required SLURM",
    ]


@pytest.mark.parametrize(
    ("wanted", "code", "outcome"), [("", 0, "1 skipped"), ("required", 1, "1 error")]
)
def test_browser_tests_without_a_browser_skip_at_a_desk_and_fail_in_integration(
    path, wanted, code, outcome
):
    report = ROOT / "report/workstation"
    environment = {**os.environ, "PATH": str(path), "ASSAY_REPORT": str(report)}
    name = "tests/browser/test_report.py::test_every_figure_of_every_study_is_shown_and_decodes"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", name],
        cwd=ROOT,
        env={**environment, "ASSAY_BROWSER": wanted},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code
    assert outcome in done.stdout


def test_the_hooks_of_pre_commit_are_the_linters_of_make_lint():
    command = ["make", "--dry-run", "--old-file=.venv/.dev", "lint"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    # Which folders are searched for a linter's helpers differs.
    linters = [
        re.sub(r"^(env )?PATH=\S+ ", "", line)
        for line in done.stdout.splitlines()
        if line.startswith((".venv/bin/", "PATH=")) and " pip " not in line
    ]
    (local,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    hooks = [re.sub(r"^env PATH=\S+ ", "", hook["entry"]) for hook in local["hooks"]]
    assert len(linters) > 5
    assert hooks == linters
    assert {hook["language"] for hook in local["hooks"]} == {"system"}  # versions are the lock's


def test_integration_elsewhere_runs_the_same_in_the_python_of_the_image():
    (job,) = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"].values()
    assert job["steps"][-1]["run"] == ".ci/run"
    base = re.search(r"BASE=python:([\d.]+)", (ROOT / "Containerfile").read_text())[1]
    assert job["container"].startswith(f"python:{base}-")


def test_every_form_for_an_issue_is_well_formed():
    for path in (ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml"):
        form = yaml.safe_load(path.read_text())
        if path.stem != "config":
            assert {"name", "description", "body"} <= form.keys(), path.name
            assert all({"type", "attributes"} <= part.keys() for part in form["body"]), path.name


def test_tests_of_one_group_stay_in_one_process(tmp_path):
    (tmp_path / "test_group.py").write_text(
        "import os, pytest\n"
        "pytestmark = pytest.mark.xdist_group('one')\n"
        "@pytest.mark.parametrize('place', range(4))\n"
        "def test_where(place, worker_id):\n"
        f"    open({str(tmp_path / 'workers')!r}, 'a').write(worker_id + '\\n')\n"
    )
    command = [sys.executable, "-m", "pytest", "-n", "2", "--dist", "loadgroup", str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    workers = (tmp_path / "workers").read_text().split()
    assert len(workers) == 4
    assert len(set(workers)) == 1
