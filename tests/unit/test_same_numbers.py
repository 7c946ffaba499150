"""The comparison of two reports sees a changed number and nothing that is measured or renamed."""

import runpy

import pytest

from assay.foundation.resources import ROOT


@pytest.fixture
def compare(tmp_path):
    script = runpy.run_path(str(ROOT / "tests/same_numbers.py"))

    def compare(before, after, **renamed):
        script["RENAMED"].clear()
        script["RENAMED"].update(renamed)
        for name, text in (("before", before), ("after", after)):
            (tmp_path / name).mkdir(exist_ok=True)
            (tmp_path / name / "table.csv").write_text(text)
        return script["main"](tmp_path / "before", tmp_path / "after")

    return compare


def test_equal_numbers_are_equal_whatever_their_time_and_last_digits(compare, capsys):
    before = "model,p,seconds\nx,0.0891272503610569,3\n"
    assert compare(before, "model,p,seconds\nx,0.0891272503610571,9\n") == 0
    assert "1 tables compared, 0 differ" in capsys.readouterr().out


@pytest.mark.parametrize(
    "after", ["model,p\nx,0.0892\n", "model,p\ny,0.0891\n", "model,q\nx,0.0891\n", "model,p\n"]
)
def test_another_number_name_column_or_row_is_told(compare, capsys, after):
    assert compare("model,p\nx,0.0891\n", after) == 1
    assert "table.csv: " in capsys.readouterr().out


def test_names_that_a_change_gives_are_followed(compare):
    before = "model,broken\nall linf,0.1\n"
    after = "model,misclassified\nworst case linf,0.1\n"
    names = {"broken": "misclassified", "all linf": "worst case linf"}
    assert compare(before, after, **names) == 0
    assert compare(before, after) == 1


def test_names_of_worst_cases_are_followed_into_their_column(compare):
    before = "suite,attack,norm,epsilon,p\na,all a,l2,0.003921569,1\n,worst case l2,l2,1.5,2\n"
    after = "suite,attack,worst_case,norm,epsilon,p\n"
    right = f"{after}a,,suite,l2,0.00392156862745098,1\n,,norm,l2,1.5,2\n"
    assert compare(before, right) == 0
    assert compare(before, right.replace("suite,l2", "norm,l2")) == 1
    assert compare(before, right.replace("1.5,2", "1.5,3")) == 1
