"""Attacks without gradients against the libraries' at equal numbers of queries."""

from __future__ import annotations

from math import sqrt
from statistics import fmean, variance

import libraries
import pytest
import torch
from test_fixed_budget import HALF_A_POINT
from test_minimal_norm import assert_as_close

from assay.attacks.boundary import Boundary
from assay.attacks.square import Square

SEEDS = 3
RADII = {
    "standard": {"linf": 0.15, "l2": 2.5},
    "robust": {"linf": 0.35, "l2": 3.0},
    "binary": {"linf": 0.08, "l2": 1.5},
}


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("subject", list(RADII), indirect=True)
def test_square_leaves_no_more_images_than_any_library(subject, norm):
    """Means of three seeds on 128 images, within half a point and twice their difference's error.

    Seeds alone make two to five images of difference. torchattacks' and ART's, the same algorithm,
    are left out for their time.
    """
    subject, epsilon, queries = subject.first(128), RADII[subject.name][norm], 150
    ours, theirs = [], []
    for seed in range(SEEDS):
        misclassified = subject.attacked(
            Square(norm=norm, queries=queries), epsilon, seed
        ).misclassified[0]
        ours.append(int((~misclassified).sum()))
        runs = libraries.square(subject.module, norm, epsilon, queries=queries, seed=seed)
        found = runs["pyautoattack"](subject.images, subject.labels)
        theirs.append(subject.survivors(found, norm, epsilon))
    error = sqrt((variance(ours) + variance(theirs)) / SEEDS)
    allowed = HALF_A_POINT * len(subject.images) + 2 * error
    assert fmean(ours) <= fmean(theirs) + allowed, f"{ours} left, {theirs} by pyautoattack"
    assert max(ours) < len(subject.images)


@pytest.mark.parametrize("subject", ["standard", "robust"], indirect=True)
def test_boundary_is_as_close_as_foolbox_s(subject):
    """On 64 images."""
    subject = subject.first(64)
    runs = libraries.boundary(subject.module, steps=300)
    runs.pop("ART")
    assert_as_close(subject, Boundary(steps=300), "l2", runs)


def test_boundary_finds_a_start_for_images_where_foolbox_gives_up(binary):
    subject = binary.first(64)
    runs = libraries.boundary(subject.module, steps=50)
    with pytest.raises(ValueError, match="init_attack failed"):
        runs["foolbox"](subject.images, subject.labels)
    result = subject.attacked(Boundary(steps=300), 28.0)
    assert result.misclassified.all()


def test_art_s_boundary_attack_hands_doubles_to_a_network_of_floats(standard):
    subject = standard.first(4)
    run = libraries.boundary(subject.module, steps=50)["ART"]
    with pytest.raises(RuntimeError, match=r"Input type \(double\)"):
        run(subject.images, subject.labels)
    assert subject.attacked(Boundary(steps=50), 28.0).misclassified.all()
    assert torch.get_default_dtype() == torch.float32
