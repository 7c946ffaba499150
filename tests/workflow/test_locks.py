"""What Snakemake does with locks, and what is done about it, on a workflow of one rule."""

import os
import signal
import subprocess
import sys
import time

import pytest

from assay.foundation.resources import ROOT

pytestmark = pytest.mark.slow

SNAKEFILE = 'rule wait:\n    output: "done.txt"\n    shell: "sleep {seconds}; touch {{output}}"\n'
RUN = [sys.executable, "-m", "snakemake", "--cores", "1", "--quiet", "rules", "host"]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "Snakefile").write_text(SNAKEFILE.format(seconds=60))
    return tmp_path


def run(folder, *command):
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_a_killed_run_goes_on_after_its_locks_are_freed_and_a_live_one_keeps_them(folder):
    free = [sys.executable, str(ROOT / "workflow/scripts/free_locks.py")]
    first = subprocess.Popen(RUN, cwd=folder, stderr=subprocess.DEVNULL, start_new_session=True)
    while not list((folder / ".snakemake/locks").glob("*.output.lock")):
        assert first.poll() is None, "it was over before a second one could begin"
        time.sleep(0.05)
    code, message = run(folder, *free)
    assert (code, "keeps its locks" in message) == (0, True)
    code, message = run(folder, *RUN)
    assert code
    assert "LockException" in message, "a second run is refused while the first is alive"
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    assert "LockException" in run(folder, *RUN)[1], "Snakemake itself does not notice the death"
    assert "removed the locks" in run(folder, *free)[1]
    (folder / "Snakefile").write_text(SNAKEFILE.format(seconds=0))
    assert run(folder, *RUN, "--rerun-incomplete")[0] == 0
    assert (folder / "done.txt").is_file()
