"""What a cell of the page's tables says, and what it is sorted by."""

import math

import pytest

from assay.report.page_cells import Cell, Column, Table, number_cell, p_cell, value_of


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.953", 0.953),
        ("+0.224", 0.224),
        ("−0.259", -0.259),
        ("-0.259", -0.259),
        ("1,496", 1496.0),
        ("834,930,688", 834930688.0),
        ("2,000.5", 2000.5),
        ("12.5%", 0.125),
        ("12.5 %", 0.125),
        ("8/255", 8 / 255),
        ("3 of 30", 0.1),
        ("0.997 ± 0.003 [0.991, 0.999]", 0.997),
        ("+0.012 [−0.001, +0.025]", 0.012),
        ("0.967 [0.886, 0.991] (n = 60)", 0.967),
        ("0.967 n = 60", 0.967),
        ("0.917 ab", 0.917),
        ("0.917 †", 0.917),
        ("835 M", 835e6),
        ("1.2 G", 1.2e9),
        ("1e-05", 1e-5),
        ("∞", math.inf),
        ("−∞", -math.inf),
    ],
)
def test_a_number_is_read_from_the_text_that_shows_it(text, value):
    assert value_of(text) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize(
    "text",
    ["", "–", "not run", "n.s.", "yes", "5-fold", "64x64", "71 / 14.5 / 14.5", "3/0", "2024-05-06",
     "PGD L∞ ε = 8/255", "10 random splits", "0.943 to 0.953", "1,5"],
)  # fmt: skip
def test_words_and_gaps_are_no_numbers(text):
    assert value_of(text) is None


def test_a_bound_stands_on_its_side_of_the_number():
    assert value_of("< 0.001") == value_of("<0.001") < 0.001 < value_of("> 0.001")
    assert value_of("< 0.001") > 0.000999


def test_a_missing_number_is_sorted_last_and_words_by_themselves():
    assert [Cell.of(text).data for text in ("0.5", "not run", "–", "", "yes", "∞")] == [
        "0.5",
        "",
        "",
        "",
        None,
        "Infinity",
    ]


def test_a_cell_of_a_frame_keeps_the_number_that_its_text_rounds():
    assert number_cell(0.123456789).text == "0.123"
    assert float(number_cell(0.123456789).data) == 0.123456789
    assert (number_cell(float("nan")).text, number_cell(float("nan")).data) == ("", "")
    assert (p_cell(3e-9).text, float(p_cell(3e-9).data)) == ("< 0.001", 3e-9)
    assert (p_cell(float("nan")).text, p_cell(float("nan")).data) == ("–", "")


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["0.5", "not run"], "number"),
        (["0.5", "–", "1,000"], "number"),
        (["not run", "not run"], "number"),
        (["", ""], "short"),
        (["0.5", "n.s."], "short"),
        (["sound", "not run"], "badge"),
        (["weak", "pass"], "badge"),
        (["a sentence that is much longer than a column of short words would ever be"], "sentence"),
    ],
)
def test_a_gap_never_changes_how_a_column_is_set(cells, kind):
    assert Column.of("A", map(Cell.of, cells)).kind == kind


def test_a_value_beside_words_makes_no_column_of_numbers():
    table = Table.of("id", "T", "", ["Split"], [[Cell("pooled", 0)], [Cell("split 1", 1)]])
    assert table.columns[0].kind == "short"
    assert [row[0].data for row in table.rows] == ["0", "1"]
