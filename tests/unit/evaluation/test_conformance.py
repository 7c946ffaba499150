"""The checks of a model: sound ones pass, and each fault fails the check that names it."""

import numpy as np
import pytest
import torch
from torch import nn

from assay.evaluation.conformance import CHECKS, check_classifier
from assay.foundation.errors import ModelError
from assay.models.base import Classifier

SHAPE, CLASSES = (3, 6, 6), 4


class Linear(Classifier):
    """A sound model, from which the faulty ones differ in one method each."""

    def __init__(self, **options):
        super().__init__(classes=CLASSES, shape=SHAPE)
        self.layer = nn.Linear(108, CLASSES)

    def features(self, images):
        return images.flatten(1)

    def logits(self, images, generator=None):
        return self.layer(images.flatten(1))


class WrongShape(Linear):
    def logits(self, images, generator=None):
        return super().logits(images)[:, :2]


class NotFinite(Linear):
    def logits(self, images, generator=None):
        return super().logits(images) / 0


class FlatFeatures(Linear):
    def features(self, images):
        return images


class SecretNoise(Linear):
    def logits(self, images, generator=None):
        logits = super().logits(images)
        return logits + torch.randn(logits.shape, generator=generator)


class GlobalNoise(Linear):
    stochastic = True

    def logits(self, images, generator=None):
        logits = super().logits(images)
        return logits + torch.randn(logits.shape)


class WritesImages(Linear):
    def logits(self, images, generator=None):
        return super().logits(images.mul_(0.5))


class Adapts(Linear):
    def __init__(self):
        super().__init__()
        self.register_buffer("seen", torch.zeros(()))

    def logits(self, images, generator=None):
        self.seen.add_(len(images))
        return super().logits(images)


class AdaptsBesideNaN(Linear):
    def __init__(self):
        super().__init__()
        self.register_buffer("seen", torch.tensor([torch.nan, 0.0]))

    def logits(self, images, generator=None):
        self.seen[1] += len(images)
        return super().logits(images)


class RollsDice(Linear):
    def logits(self, images, generator=None):
        np.random.default_rng()  # touches nothing that others share
        np.random.rand()  # noqa: NPY002
        return super().logits(images)


class StaysInTraining(Linear):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(3)

    def eval(self):
        return self

    def logits(self, images, generator=None):
        return super().logits(self.norm(images))


class LooksAtNeighbours(Linear):
    def logits(self, images, generator=None):
        logits = super().logits(images)
        return logits - logits.mean(0) * (len(images) > 1)


class Probabilities(Linear):
    def logits(self, images, generator=None):
        return super().logits(images).softmax(1)


class CutGraph(Linear):
    def logits(self, images, generator=None):
        return super().logits(images.detach())


class WrongGradient(Linear):
    def logits(self, images, generator=None):
        logits = super().logits(images)
        return 2 * logits.detach() - logits


class BatchLoss(Linear):
    def training_loss(self, images, labels, generator=None):
        return {name: value.mean()[None] for name, value in super().training_loss(
            images, labels, generator).items()}  # fmt: skip


class UnsavedPart(Linear):
    def __init__(self):
        super().__init__()
        self.mixed = torch.randn(CLASSES, CLASSES)

    def logits(self, images, generator=None):
        return super().logits(images) @ self.mixed


FAULTS = {
    WrongShape: "one for each class and image",
    NotFinite: "logits are finite",
    FlatFeatures: "repeated decisions and features",
    SecretNoise: "random exactly if",
    GlobalNoise: "global random state",
    WritesImages: "images stay as they are",
    RollsDice: "global random state",
    Adapts: "neither weights nor buffers",
    AdaptsBesideNaN: "neither weights nor buffers",
    StaysInTraining: "training mode",
    LooksAtNeighbours: "images beside it",
    Probabilities: "not probabilities",
    CutGraph: "a gradient of some view",
    WrongGradient: "finite differences",
    BatchLoss: "per image",
    UnsavedPart: "built again",
}


def failed(model):
    results = check_classifier(model, classes=CLASSES, shape=SHAPE, raises=False)
    assert len(results) == len(CHECKS)
    return [result for result in results if result.status == "fail"]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda kind: kind.__name__)
def test_a_fault_fails_the_check_that_names_it(fault):
    found = failed(fault)
    assert any(FAULTS[fault] in result.check for result in found), found
    assert all(result.what and result.remedy for result in found)


def test_a_wrong_gradient_does_not_lower_the_true_class():
    assert "a step against" in " ".join(result.check for result in failed(WrongGradient))


def test_a_sound_class_passes_every_check():
    assert not failed(Linear)
    results = check_classifier(Linear, classes=CLASSES, shape=SHAPE)
    assert {result.status for result in results} == {"pass"}


def test_a_plain_module_passes_and_is_not_asked_how_it_is_trained():
    network = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(108, CLASSES))
    results = check_classifier(network, classes=CLASSES, shape=SHAPE)
    skipped = [result for result in results if result.status == "skip"]
    assert [result.what for result in skipped] == [
        "assay does not train it", "it cannot be built again",
    ]  # fmt: skip
    assert network.training


def test_a_failure_is_an_error_that_names_the_model_the_fault_and_the_remedy():
    with pytest.raises(ModelError, match=r"CutGraph: not so: a gradient of .*missing or .*bpda"):
        check_classifier(CutGraph, classes=CLASSES, shape=SHAPE)
