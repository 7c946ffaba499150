"""Locks, the Makefile and the Containerfile agree, and name what there is."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from pathspec import PathSpec

from assay import __version__
from assay.foundation.resources import ROOT

CUDA = re.compile(r"(nvidia|cuda|triton)(-|$)")


def pins(name):
    """The requirements of a lock file by name, those that it includes as well."""
    found = {}
    for line in (ROOT / "envs" / name).read_text().splitlines():
        if line.startswith("-r "):
            found |= pins(line.removeprefix("-r ").strip())
        elif line and not line.startswith("#"):
            requirement = Requirement(line)
            found[requirement.name.lower().replace("_", "-")] = requirement
    return found


def test_the_locks_for_cpu_and_cuda_differ_in_cuda_s_libraries_alone():
    cpu, cuda = pins("requirements-cpu.lock"), pins("requirements-cuda.lock")
    assert {name for name in cuda if CUDA.match(name)} >= {"nvidia-cublas", "triton"}
    assert cpu.keys() == {name for name in cuda if not CUDA.match(name)}
    for name, requirement in cpu.items():
        plain = re.sub(r"\+cpu$", "", str(requirement.specifier))
        assert plain == str(cuda[name].specifier), name
    marked = {name for name, found in cpu.items() if str(found.specifier).endswith("+cpu")}
    assert marked == {"torch", "torchvision"}
    assert all(SpecifierSet(str(found.specifier)) for found in cuda.values())


def test_every_lock_pins_exactly():
    for path in (ROOT / "envs").glob("*.lock"):
        for requirement in pins(path.name).values():
            assert re.fullmatch(r"==[^,*]+", str(requirement.specifier)), (path.name, requirement)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), "-r envs/requirements-cuda.lock"),
        (
            ("TORCH_INDEX=https://cpu.example/simple",),
            "--extra-index-url https://cpu.example/simple -r envs/requirements-cpu.lock",
        ),
    ],
)
def test_make_setup_installs_for_the_index_that_is_named(tmp_path, arguments, expected):
    command = ["make", "--dry-run", f"VENV={tmp_path}/venv", *arguments, "setup"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert f"--disable-pip-version-check {expected}\n" in done.stdout


def test_every_file_that_repeats_the_version_has_that_of_the_package():
    found = {
        "workflow/rules/common.smk": r'^VERSION = "(.+?)"',
        "pyproject.toml": r'^fallback_version = "(.+?)\.dev0"',
        "CITATION.cff": r"^version: (.+)$",
        "CHANGELOG.md": r"^## (\S+)",
        "docs/installation.md": r'path="workflow/Snakefile", tag="v(.+?)"',
    }
    for file, pattern in found.items():
        text = (ROOT / file).read_text("utf-8")
        assert re.search(pattern, text, re.MULTILINE)[1] == __version__, file


def test_a_tagged_commit_has_the_version_of_its_tag():
    command = ["git", "tag", "--points-at", "HEAD", "v*"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    tags = done.stdout.split() if done.returncode == 0 else []
    if not tags:
        pytest.skip("no tag of a version points at this commit")
    assert tags == [f"v{__version__}"]


def instructions():
    """The Containerfile as (instruction, words), lines joined and comments dropped."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Containerfile").read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\\\n", " ", text).splitlines()
    return [tuple(line.split(None, 1)) for line in lines if line.strip()]


def test_the_image_has_two_targets_and_no_root():
    stages = [words for kind, words in instructions() if kind == "FROM"]
    assert [stage.rpartition(" ")[2] for stage in stages] == ["base", "cpu", "cuda"]
    users = [words for kind, words in instructions() if kind == "USER"]
    assert users == ["1000"]
    python = next(words for kind, words in instructions() if kind == "ARG" and "BASE=" in words)
    version = re.search(r"python:([\d.]+)", python)[1]
    needed = re.search(r'requires-python = "(.+?)"', (ROOT / "pyproject.toml").read_text())[1]
    assert version in SpecifierSet(needed)
    assert f"python={version}" in (ROOT / "envs/torch.yaml").read_text()
    # Of both targets the environment is made by make, so from the locks.
    assert sum("make setup" in words for kind, words in instructions() if kind == "RUN") == 2


def test_the_image_holds_what_an_installation_and_a_demo_need():
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    # Of a container's builder a pattern starts at the top, where git's may be anywhere.
    anchored = [re.sub(r"^(!?)(?![!*#])", r"\1/", line) for line in lines]
    spec = PathSpec.from_lines("gitignore", anchored)

    def excluded(path):
        return any(spec.match_file(part) for part in (path, *path.parents))

    assert ("COPY", "--chown=assay:assay . .") in instructions()

    for pattern in ("Makefile", "README.md", "Snakefile", "pyproject.toml", "setup.py", "LICENSE",
                    "config/**/*", "docs/glossary.md", "envs/*", "profiles/**/*", "report/*.*",
                    "report/captions/*",
                    "workflow/**/*.py", "workflow/**/*.smk", "workflow/**/*.yaml"):  # fmt: skip
        found = [path.relative_to(ROOT) for path in ROOT.glob(pattern) if path.is_file()]
        assert found, pattern
        assert not [path for path in found if excluded(path)], pattern
    assert excluded(Path("report/workstation/index.html"))
    assert excluded(Path(".venv/bin/python"))


def test_the_containerfile_passes_its_linter():
    linter = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which(
        "hadolint"
    )
    if not linter:
        pytest.skip("hadolint is not installed")
    done = subprocess.run(
        [linter, "Containerfile"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
