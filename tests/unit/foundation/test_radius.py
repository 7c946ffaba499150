"""A radius keeps its label, equals the float it means and nothing beside it."""

import copy
import json
import math
import pickle

import numpy as np
import pytest

from assay.foundation.errors import ConfigError
from assay.foundation.radius import Labels, Radius, labels_in, plain


@pytest.mark.parametrize("label", ["8/255", "0.1/255", "0.3", "1.5", "1e-3", "7/256", "60.0"])
def test_a_radius_is_printed_as_it_is_written(label):
    radius = Radius(label)
    copies = [radius, Radius(radius), copy.deepcopy(radius), pickle.loads(pickle.dumps(radius))]
    assert [str(each) for each in copies] == [label] * 4
    assert f"{radius} {radius:>9}" == f"{label} {label:>9}"


def test_radii_are_equal_only_if_their_floats_are():
    assert Radius("8/255") == 8 / 255 == Radius("16/510")
    assert len({Radius("8/255"), Radius("16/510"), 8 / 255}) == 1
    assert Radius("8/255") != math.nextafter(8 / 255, 1)
    assert Radius("8/255") != 0.0313725
    assert (np.array([8 / 255, 0.03]) == Radius("8/255")).tolist() == [True, False]


def test_a_number_finds_its_label_again():
    for label in ("8/255", "0.01/255", "0.07/255", "255/255", "0.04", "0.000123", "12.75"):
        value = float(Radius(label))
        assert float(Radius(Radius(value).label)) == value
    numbers = [8 / 255, 1.0, float(Radius("0.1/255")), math.pi]
    assert [Radius(value).label for value in numbers] == ["8/255", "1", "0.1/255", "3.14159"]


def test_a_study_says_how_its_radii_are_written():
    labels = Labels([Radius("7/256"), "2/20", 0.1])
    assert [labels(x) for x in (7 / 256, 0.1, 8 / 255)] == ["7/256", "2/20", "8/255"]


def test_a_radius_is_stored_as_a_number():
    assert json.loads(json.dumps([Radius("8/255")])) == [8 / 255]
    assert np.array([Radius("8/255")]).dtype == float


@pytest.mark.parametrize("wrong", ["eight", "8/0", "", None, float("nan"), True])
def test_what_is_no_number_is_no_radius(wrong):
    with pytest.raises(ConfigError, match=r"attacks.yaml: mine.*not a finite number"):
        Radius(wrong, "attacks.yaml: mine")


def test_what_a_job_is_given_holds_no_radius_and_the_labels_are_kept_beside_it():
    tree = {"epsilons": [Radius("8/255"), Radius("8/255")], "cells": [{"epsilon": Radius(1)}]}
    given = plain(tree)
    assert given == tree
    found = [*given["epsilons"], given["cells"][0]["epsilon"]]
    assert {type(value) for value in found} == {float}
    assert labels_in([tree, "text", None]) == ["8/255", "1"]
