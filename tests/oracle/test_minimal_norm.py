"""Minimal norm: success and median distance against the best library."""

from __future__ import annotations

import libraries
import pytest
import torch
from torch import nn

from assay.attacks.carlini_wagner import CarliniWagner
from assay.attacks.ddn import DDN
from assay.attacks.deepfool import DeepFool
from assay.attacks.fab import FAB
from assay.attacks.victim import Victim

# No image is farther from another one: nothing that was found is moved into a ball.
EVERYWHERE = {"linf": 1.0, "l2": 28.0}
FARTHER = 1.02


def summary(misclassified, lengths):
    """Successes, and the median over all images, where no success is infinitely far."""
    return int(misclassified.sum()), float(lengths.masked_fill(~misclassified, torch.inf).median())


def assert_as_close(subject, attack, norm, runs):
    """`attack` succeeds no less often than any library, and no farther away than the closest."""
    result = subject.attacked(attack, EVERYWHERE[norm])
    ours = summary(result.misclassified[0], getattr(result, norm)[0])
    theirs = {}
    for name, run in runs.items():
        found = run(subject.images, subject.labels)
        theirs[name] = summary(subject.misclassified(found), subject.lengths(found, norm))
    said = f"(successes, median distance) {ours} against {theirs}"
    assert ours[0] >= max(successes for successes, _ in theirs.values()), said
    assert ours[1] <= FARTHER * min(median for _, median in theirs.values()), said
    assert ours[1] < torch.inf, "half of the images are broken at all"


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("subject", ["standard", "robust", "binary"], indirect=True)
def test_deepfool_is_as_close_as_any_library_s(subject, norm):
    """On 32 images: the libraries ask for every class's gradient by itself.

    torchattacks, one image at a time, joins in where there are two classes.
    """
    subject = subject.first(32)
    runs = libraries.deepfool(subject.module, norm, steps=50)
    if subject.classes > 2:
        runs.pop("torchattacks", None)
    assert_as_close(subject, DeepFool(norm=norm, steps=50), norm, runs)


@pytest.mark.parametrize("subject", ["standard", "robust", "binary"], indirect=True)
def test_ddn_is_as_close_as_foolbox_s(subject):
    """On 128 images."""
    subject = subject.first(128)
    runs = libraries.ddn(subject.module, steps=80)
    assert_as_close(subject, DDN(steps=80), "l2", runs)


@pytest.mark.parametrize("subject", ["standard", "robust", "binary"], indirect=True)
def test_carlini_wagner_is_as_close_as_foolbox_s(subject):
    """On 64 images, at the rate that 100 steps need. ART's own searches cost 40 times as many."""
    subject, steps = subject.first(64), {"binary_steps": 5, "steps": 100}
    runs = libraries.carlini_wagner(subject.module, **steps, step=0.1, constant=1e-2)
    runs.pop("ART")
    attack = CarliniWagner(**steps, rate=0.1, initial_weight=1e-2)
    assert_as_close(subject, attack, "l2", runs)


def test_foolbox_s_carlini_wagner_passes_black_images_off_as_found(standard):
    """Two steps that go nowhere break most digits, says Foolbox: a black image is no such digit."""
    subject = standard.first(32)
    run = libraries.foolbox_carlini_wagner(
        subject.module, binary_steps=1, steps=2, step=1e-6, constant=1e-2
    )
    found = run(subject.images, subject.labels)
    black = (found == 0).flatten(1).all(dim=1)
    assert black.float().mean() > 0.5
    assert subject.misclassified(found)[black].all()
    attack = CarliniWagner(binary_steps=1, steps=2, rate=1e-6)
    assert not subject.attacked(attack, EVERYWHERE["l2"]).misclassified.any()


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("subject", ["standard", "robust", "binary"], indirect=True)
def test_fab_is_as_close_as_pyautoattack_s(subject, norm):
    """On 64 images and 20 steps: pyautoattack asks for every class's gradient."""
    subject = subject.first(64)
    runs = libraries.fab_closest(subject.module, norm, steps=20, targets=None)
    assert_as_close(subject, FAB(norm=norm, steps=20), norm, runs)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("subject", ["standard", "robust"], indirect=True)
def test_targeted_fab_is_as_close_as_pyautoattack_s(subject, norm):
    """On 32 images and 20 steps: nine targets cost nine runs."""
    subject = subject.first(32)
    runs = libraries.fab_closest(subject.module, norm, steps=20, targets=9)
    assert_as_close(subject, FAB(norm=norm, steps=20, targets=9), norm, runs)


class Plane(nn.Module):
    """Logits (0, w . (x - 1/2)), through the middle of the images."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(784, generator=torch.Generator().manual_seed(5)))

    def forward(self, images):
        margins = (images.flatten(1) - 0.5) @ self.weight
        return torch.stack([torch.zeros_like(margins), margins], dim=1)


@pytest.fixture
def plane():
    """A linear model of two classes, grey images, their labels and distances, in both norms."""
    module = Plane().eval()
    images = 0.4 + 0.2 * torch.rand(64, 1, 28, 28, generator=torch.Generator().manual_seed(6))
    with torch.no_grad():
        logits, weight = module(images), module.weight
        margins = logits[:, 1].abs()
        distances = {"linf": margins / weight.abs().sum(), "l2": margins / weight.norm()}
    return module, images, logits.argmax(dim=1), distances


@pytest.mark.parametrize("targets", [None, 1])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_fab_finds_the_plane_of_two_classes_where_pyautoattack_fails(plane, norm, targets):
    module, images, labels, distances = plane
    # Untargeted it works; targeted it looks for the ninth class of two.
    if targets:
        run = libraries.fab(module, norm, 1e-6, steps=5, targets=9)["pyautoattack"]
        with pytest.raises(IndexError, match="index -3 is out of bounds"):
            run(images, labels)
    victim = Victim.from_module(module, classes=2, shape=(1, 28, 28))
    attack = FAB(norm=norm, steps=20, targets=targets)
    result = attack(victim, images, labels, [EVERYWHERE[norm]], torch.Generator().manual_seed(0))
    assert result.misclassified.all()
    assert getattr(result, norm)[0].median() <= FARTHER * distances[norm].median()
    assert getattr(result, norm)[0].median() >= distances[norm].median()
