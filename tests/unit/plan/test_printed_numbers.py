"""The printed numbers that come with assay: columns, radii, and what tells rows apart."""

import csv

import pytest

from assay.foundation.numbers import number
from assay.foundation.radius import Radius
from assay.foundation.reported import COLUMNS, read_reported
from assay.foundation.resources import ROOT
from assay.plan.configuration import read_configuration

FILES = sorted((ROOT / "config/reported").glob("*.csv"))
# What a number is, rather than how the paper qualifies it.
FACTS = [name for name in COLUMNS if name not in ("value", "std", "remark", "note")]


def rows(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def radii_in(tree):
    """The radii of attacks, at any depth of a catalogue."""
    for key, value in tree.items():
        if key == "epsilons":
            yield from value
        elif isinstance(value, dict):
            yield from radii_in(value)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_file_has_every_column_and_no_two_rows_with_the_same_facts(path):
    found = rows(path)
    assert list(found[0]) == list(COLUMNS)
    facts = [tuple(row[name] for name in FACTS) for row in found]
    assert len(set(facts)) == len(facts)
    assert len(read_reported([path])) == len(found)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_no_fact_of_a_column_is_left_in_a_name_or_a_note(path):
    for row in rows(path):
        assert row["metric"].replace("_", "").replace("ci95", "").replace("L2", "").isalpha()
        assert not row["attack"].endswith("?")
        assert f"{row['setting']}={row['level']}" not in row["note"].split("; ")
        assert not row["note"].startswith(("eps=", ";"))


def test_every_radius_is_its_decimal_at_the_precision_of_the_print():
    printed = [row for path in FILES for row in rows(path) if row["radius"]]
    assert len(printed) > 400
    for row in printed:
        digits = len(row["epsilon"].partition(".")[2])
        assert f"{Radius(row['radius']):.{digits}f}" == row["epsilon"], row


def test_a_printed_radius_is_exactly_a_configured_one_or_far_from_all():
    attacks = read_configuration({}).catalogue["attacks"]
    configured = {number(value, "radius") for value in radii_in(attacks)}
    exact = 0
    for label in {row["radius"] for path in FILES for row in rows(path)} - {""}:
        radius = Radius(label)
        near = {value for value in configured if abs(value - radius) < 1e-4 * radius}
        assert near <= {float(radius)}, f"{label} is nearly {near}"
        exact += bool(near)
    assert exact > 10
