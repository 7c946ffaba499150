"""Removes the locks that a killed run of Snakemake has left in a folder.

Usage: python workflow/scripts/free_locks.py [folder]

Snakemake locks what a run reads and writes, and only that run removes the locks: after kill -9 or a
power failure they stay and block every later run. This script removes them if no process of this
machine (a run, or a job of an ended run) is active in the folder. An active run keeps its locks,
so that Snakemake refuses a second one. The script does not see runs on other machines that share
the folder: check these first, and then use `snakemake --unlock`.
"""

import argparse
import os
import sys
from pathlib import Path


def live_processes(folder: Path, processes: Path = Path("/proc")) -> list[int]:
    """The processes of Snakemake, runs and their jobs, that work in a folder."""
    found = []
    for process in processes.glob("[0-9]*"):
        try:
            works_here = (process / "cwd").readlink() == folder.resolve()
            if works_here and b"snakemake" in (process / "cmdline").read_bytes():
                found.append(int(process.name))
        except OSError:
            continue  # it has ended meanwhile, or is another user's, as then its locks are
    return sorted(found)


def main(folder: Path) -> str:
    """Frees the folder if that is safe; says what was done, if there was anything to do."""
    # The locks come before the look: their runs are seen if they live, and a run that starts later
    # makes locks of its own, which are not among these.
    locks = [
        lock
        for lock in (folder / ".snakemake/locks").glob("*.lock")
        if lock.stat().st_uid == os.getuid()
    ]
    if not locks:
        return ""
    live = live_processes(folder)
    if live:
        return f"a run is active in this folder and keeps its locks (processes {live})\n"
    for lock in locks:
        lock.unlink(missing_ok=True)
    return "removed the locks of a killed run; its finished files are kept\n"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=Path())
    sys.stdout.write(main(parser.parse_args().folder))
