"""Fixed budgets: FGSM and PGD step by step, and how many images are left, against the libraries."""

from __future__ import annotations

import copy

import libraries
import pytest
import torch
from torch.nn import functional

from assay.attacks.apgd import APGD
from assay.attacks.fgsm import FGSM
from assay.attacks.pgd import PGD
from assay.attacks.victim import Victim

# Radii at which each network keeps some of its images and loses others.
RADII = {
    "standard": {"linf": 0.08, "l2": 1.0},
    "robust": {"linf": 0.3, "l2": 2.0},
    "binary": {"linf": 0.03, "l2": 0.5},
}
NETWORKS = list(RADII)
# Half a point of robust accuracy: one image of 256, none of 128.
HALF_A_POINT = 0.005


def in_double(subject):
    """The network in double precision, which tells the sign of all but a few gradients."""
    module = copy.deepcopy(subject.module).double()
    return lambda images: module(images.double())


def gradient(subject, images):
    """Of the cross-entropy, as anybody would write it, in double precision."""
    leaf = images.double().requires_grad_()
    loss = functional.cross_entropy(in_double(subject)(leaf), subject.labels, reduction="sum")
    (of_ball,) = torch.autograd.grad(loss, leaf)
    return of_ball


def watched(subject):
    """A victim in double precision that keeps the images that it sees, and the list of them."""
    decision = in_double(subject)
    asked = []

    def logits(images, generator):
        asked.append(images.detach().clone())
        return decision(images)

    victim = Victim(
        logits=logits,
        classes=subject.classes,
        shape=(1, 28, 28),
        device="cpu",
        max_batch=len(subject.images),
    )
    return victim, asked


def assert_steps(subject, before, after, epsilon, length, norm):
    """`after` is one step of PGD from `before`, to 1e-5 in every pixel.

    Where a gradient is smaller than double precision can tell from zero, its sign is anybody's
    guess: such pixels may also be where the opposite sign leads. One in a thousand at most.
    """
    of_ball = gradient(subject, before)
    origin = subject.images.double()
    if norm == "linf":
        direction = of_ball.sign()
    else:
        direction = of_ball / of_ball.flatten(1).norm(dim=1).clamp_min(1e-300)[:, None, None, None]
    moved = before + length * direction
    if norm == "linf":
        moved = moved.clamp(origin - epsilon, origin + epsilon)
    else:
        change = moved - origin
        size = change.flatten(1).norm(dim=1)[:, None, None, None]
        moved = origin + change * (epsilon / size.clamp_min(1e-300)).clamp_max(1.0)
    wrong = (after - moved.clamp(0, 1)).abs() > 1e-5
    if norm == "linf":
        doubtful = of_ball.abs() < 1e-12 * of_ball.abs().amax(dim=(1, 2, 3), keepdim=True)
        assert (doubtful & (of_ball != 0)).float().mean() < 0.001
        wrong &= ~doubtful
    assert not wrong.any()


@pytest.mark.parametrize("subject", NETWORKS, indirect=True)
def test_fgsm_is_one_signed_step_in_every_pixel(subject):
    epsilon = RADII[subject.name]["linf"]
    victim, _ = watched(subject)
    generator = torch.Generator().manual_seed(0)
    images = FGSM()(victim, subject.images, subject.labels, [epsilon], generator).images[0]
    assert_steps(subject, subject.images, images, epsilon, epsilon, "linf")


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("subject", NETWORKS, indirect=True)
def test_every_step_of_pgd_from_a_given_start_is_the_textbook_s(subject, norm):
    epsilon, steps, seed = RADII[subject.name][norm], 10, 3
    length = 2.5 * epsilon / steps
    victim, asked = watched(subject)
    attack = PGD(norm=norm, steps=steps, step=length, as_published=True)
    generator = torch.Generator().manual_seed(seed)
    images = attack(victim, subject.images, subject.labels, [epsilon], generator).images[0]
    _, *iterates = asked[: steps + 1]
    assert len(iterates) == steps
    assert (iterates[0] - subject.images).abs().max() > epsilon / 100, "the start is random"
    assert (subject.lengths(iterates[0], norm) <= epsilon + 1e-6).all()
    if norm == "linf":
        drawn = torch.rand(subject.images.shape, generator=torch.Generator().manual_seed(seed))
        start = (subject.images + (2 * drawn - 1) * epsilon).clamp(0, 1)
        torch.testing.assert_close(iterates[0], start, atol=1e-6, rtol=0)
    for before, after in zip(iterates, [*iterates[1:], images], strict=True):
        assert_steps(subject, before, after, epsilon, length, norm)


def assert_no_more_left(subject, attack, norm, epsilon, runs):
    """`attack` leaves no more images than the best library does, but for half a point."""
    left = int((~subject.attacked(attack, epsilon).misclassified[0]).sum())
    theirs = {
        name: subject.survivors(run(subject.images, subject.labels), norm, epsilon)
        for name, run in runs.items()
    }
    allowed = HALF_A_POINT * len(subject.images)
    assert left <= min(theirs.values()) + allowed, f"{left} left, {theirs} by the libraries"
    assert left < len(subject.images), "the radius is large enough to tell attacks from nothing"


@pytest.mark.parametrize("subject", NETWORKS, indirect=True)
def test_fgsm_leaves_no_more_images_than_any_library(subject):
    epsilon = RADII[subject.name]["linf"]
    runs = libraries.fgsm(subject.module, epsilon)
    assert_no_more_left(subject, FGSM(), "linf", epsilon, runs)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("subject", NETWORKS, indirect=True)
def test_pgd_leaves_no_more_images_than_any_library(subject, norm):
    """ART's, the same algorithm again, is left out for its time."""
    epsilon, steps = RADII[subject.name][norm], 40
    step = 2.5 * epsilon / steps
    runs = libraries.pgd(subject.module, norm, epsilon, steps=steps, step=step)
    runs.pop("ART")
    attack = PGD(norm=norm, steps=steps, step=step)
    assert_no_more_left(subject, attack, norm, epsilon, runs)


@pytest.mark.parametrize("loss", ["cross_entropy", "dlr"])
@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("subject", ["standard", "robust"], indirect=True)
def test_apgd_leaves_no_more_images_than_any_library(subject, norm, loss):
    """torchattacks' copy of pyautoattack's code is left out for its time."""
    epsilon, steps = RADII[subject.name][norm], 40
    name = {"cross_entropy": "ce", "dlr": "dlr"}[loss]
    runs = libraries.apgd(subject.module, norm, epsilon, steps=steps, loss=name)
    runs.pop("torchattacks")
    attack = APGD(norm=norm, steps=steps, loss=loss)
    assert_no_more_left(subject, attack, norm, epsilon, runs)


@pytest.mark.parametrize("subject", ["standard", "robust"], indirect=True)
def test_targeted_apgd_leaves_no_more_images_than_any_library(subject):
    """On 64 images and 20 steps: nine targets cost nine runs."""
    subject, epsilon = subject.first(64), RADII[subject.name]["linf"]
    runs = libraries.apgd_targeted(subject.module, "linf", epsilon, steps=20, targets=9)
    runs.pop("torchattacks")
    attack = APGD(steps=20, loss="dlr", targets=9)
    assert_no_more_left(subject, attack, "linf", epsilon, runs)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_apgd_with_cross_entropy_is_as_strong_with_two_classes(binary, norm):
    epsilon = RADII["binary"][norm]
    runs = libraries.apgd(binary.module, norm, epsilon, steps=50, loss="ce")
    attack = APGD(norm=norm, steps=50)
    assert_no_more_left(binary, attack, norm, epsilon, runs)


@pytest.mark.parametrize("targets", [None, 1])
def test_apgd_with_dlr_works_with_two_classes_where_libraries_have_no_third_logit(binary, targets):
    subject, epsilon = binary.first(64), RADII["binary"]["linf"]
    if targets is None:
        runs = libraries.apgd(subject.module, "linf", epsilon, steps=10, loss="dlr")
    else:
        runs = libraries.apgd_targeted(subject.module, "linf", epsilon, steps=10, targets=targets)
    for run in runs.values():
        # adv-lib asks for the three largest logits, the others index the third from the end.
        with pytest.raises(
            (IndexError, RuntimeError), match=r"index (-3 is|k) out of (bounds|range)"
        ):
            run(subject.images, subject.labels)
    # With two classes the cross-entropy grows with the margin: the libraries' own run decides.
    theirs = libraries.apgd(subject.module, "linf", epsilon, steps=50, loss="ce")
    attack = APGD(steps=50, loss="dlr", targets=targets)
    assert_no_more_left(subject, attack, "linf", epsilon, theirs)
