"""Kinds of tables and figures are files: what is in the folder is a kind, and nothing else."""

import subprocess
import sys
from pathlib import Path

import pytest

from assay.foundation.digest import code_digest
from assay.foundation.errors import ConfigError
from assay.report.kinds import code_of, kind_of, kinds

PACKAGE = Path(__file__).resolve().parents[3] / "workflow/assay"
HEAVY = ("matplotlib", "scipy.stats", "sklearn", "statsmodels", "jinja2", "torch")


@pytest.mark.parametrize("part", ["tables", "figures"])
def test_each_file_is_a_kind_of_its_name(part):
    folder = PACKAGE / "report" / part / "kinds"
    assert list(kinds(part)) == sorted(
        path.stem for path in folder.glob("*.py") if path.stem != "__init__"
    )


def test_kinds_are_planned_without_what_draws_them():
    code = (
        "import sys; from assay.report.kinds import kinds; kinds('tables'), kinds('figures');"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=PACKAGE.parent, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_a_kind_that_there_is_not_is_an_error_with_those_that_there_are():
    with pytest.raises(ConfigError, match=r"unknown kind of table 'pie'.*'accuracy', .*'trend'"):
        kind_of("tables", {"kind": "pie", "title": "Mine"})


def test_what_a_study_shows_decides_which_code_its_drawings_depend_on():
    study = {
        "tables": {"one": {"kind": "cost"}, "two": {"kind": "cost"}},
        "figures": {"three": {"kind": "examples"}},
    }
    assert code_of(study) == [
        "assay.report.figures.kinds.examples",
        "assay.report.tables.kinds.cost",
    ]
    assert len({code_digest(name) for name in code_of(study)}) == 2
