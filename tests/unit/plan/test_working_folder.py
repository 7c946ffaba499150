"""``assay init`` and ``assay run``, as far as they need no run."""

import importlib.util
import sys

import pytest

from assay.foundation.errors import AssayError
from assay.foundation.resources import ROOT, from_here, resource
from assay.plan.command import main
from assay.plan.working_folder import make_folder, snakemake_command

PACKAGED = ["--snakefile", str(ROOT / "Snakefile")]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], [*PACKAGED, "--cores", "all"]),
        (["-n", "outcomes"], [*PACKAGED, "--cores", "all", "-n", "outcomes"]),
        (["--cores", "2"], [*PACKAGED, "--cores", "2"]),
        (["--cores=2"], [*PACKAGED, "--cores=2"]),
        (["-c1"], [*PACKAGED, "-c1"]),
        (["--config", "scale=smoke"], [*PACKAGED, "--cores", "all", "--config", "scale=smoke"]),
        (["--profile", "profiles/slurm"], [*PACKAGED, "--profile", "profiles/slurm"]),
        (["-s", "other", "-j4"], ["-s", "other", "-j4"]),
    ],
)
def test_a_run_has_cores_and_a_snakefile(tmp_path, monkeypatch, arguments, expected):
    monkeypatch.chdir(tmp_path)
    assert snakemake_command(arguments) == [sys.executable, "-m", "snakemake", *expected]


@pytest.mark.parametrize("own", ["Snakefile", "workflow/Snakefile"])
def test_a_snakefile_of_the_folder_comes_first(tmp_path, monkeypatch, own):
    monkeypatch.chdir(tmp_path)
    (tmp_path / own).parent.mkdir(exist_ok=True)
    (tmp_path / own).touch()
    assert "--snakefile" not in snakemake_command([])


def test_a_run_without_snakemake_says_what_is_missing(monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert main(["run", "-n"]) == 1
    message = capsys.readouterr().err
    assert message.startswith("error: ")
    assert "Snakemake is not installed for this Python; install assay" in message
    assert message.count("\n") == 1


def test_init_writes_a_folder_that_says_how_to_go_on(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["init", "my study"]) == 0
    assert "cd 'my study' && assay run" in capsys.readouterr().out
    made = {path.relative_to(tmp_path / "my study").as_posix() for path in tmp_path.rglob("*")}
    assert {"Snakefile", "README.md", "config/config.yaml", "config/studies", "config/scales",
            "config/reported", "profiles/default/config.yaml"} <= made  # fmt: skip


def test_init_changes_nothing_where_a_file_is_or_cannot_be_written(tmp_path):
    (tmp_path / "Snakefile").write_text("mine")
    with pytest.raises(AssayError, match=r"Snakefile: the file exists already; name a new folder"):
        make_folder(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["Snakefile"]
    with pytest.raises(AssayError, match="cannot be written"):
        make_folder(tmp_path / "Snakefile")


def test_shipped_files_are_named_relative_in_their_own_folder_and_absolute_elsewhere(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(ROOT)
    assert from_here(resource("report/assay.mplstyle")) == "report/assay.mplstyle"
    monkeypatch.chdir(tmp_path)
    assert from_here(resource("report/assay.mplstyle")) == f"{ROOT}/report/assay.mplstyle"
