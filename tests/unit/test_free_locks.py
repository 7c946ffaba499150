"""Locks of a run are removed only where nothing of the run is alive."""

import runpy
import subprocess
import sys

import pytest

from assay.foundation.resources import ROOT

free_locks = runpy.run_path(str(ROOT / "workflow/scripts/free_locks.py"))["main"]


@pytest.fixture
def folder(tmp_path):
    """A folder in which a run has locked what it reads and writes."""
    locks = tmp_path / "project/.snakemake/locks"
    locks.mkdir(parents=True)
    for name in ("0.input.lock", "0.output.lock"):
        (locks / name).write_text("a.txt\n")
    return tmp_path / "project"


@pytest.fixture
def start():
    """Starts processes that sleep in a folder under a command line of one's choice."""
    running = []

    def sleeper(folder, *arguments):
        code = "import time; print(flush=True); time.sleep(60)"
        command = [sys.executable, "-c", code, *arguments]
        running.append(subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE))
        running[-1].stdout.readline()
        return running[-1]

    yield sleeper
    for process in running:
        process.kill()
        process.communicate()


def locks(folder):
    return sorted(path.name for path in (folder / ".snakemake/locks").iterdir())


@pytest.mark.parametrize("what", ["snakemake", ".snakemake/scripts/tmp1.train_model.py"])
def test_locks_stay_while_a_run_or_one_of_its_jobs_lives(folder, start, what):
    process = start(folder, what)
    message = free_locks(folder)
    assert f"keeps its locks (processes [{process.pid}])" in message
    assert locks(folder) == ["0.input.lock", "0.output.lock"]
    process.kill()
    process.wait()
    assert "removed the locks of a killed run" in free_locks(folder)
    assert locks(folder) == []


def test_what_works_elsewhere_or_is_no_run_keeps_no_lock(folder, start, tmp_path):
    start(tmp_path, "snakemake")
    start(folder, "an editor")
    assert "removed" in free_locks(folder)
    assert locks(folder) == []


def test_a_folder_without_locks_is_left_in_silence(tmp_path):
    assert free_locks(tmp_path) == ""
    assert list(tmp_path.iterdir()) == []


def test_the_demo_frees_its_folder_before_it_runs():
    recipe = (ROOT / "Makefile").read_text().split("\ndemo:")[1].split("\n\n")[0]
    assert recipe.index("free_locks.py") < recipe.index("snakemake --cores")
    assert "--unlock" not in recipe, "it would take the locks of a live run"
