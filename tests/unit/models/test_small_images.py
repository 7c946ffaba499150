"""Networks for MNIST, CIFAR-10 and SVHN: sizes, initial weights and recipes as in the papers."""

import pytest
import torch
from torch import nn

from assay.foundation.errors import ModelError
from assay.models.small_images import CifarResNet18, LeNet, SmallCNN
from assay.plan.configuration import read_configuration
from assay.training.optimisation import optimiser, scheduler

CATALOGUE = read_configuration().unscaled["models"]
MNIST, CIFAR = (1, 28, 28), (3, 32, 32)


def weights(model):
    return sum(part.numel() for part in model.parameters())


@pytest.mark.parametrize(
    ("kind", "shape", "counted"),
    [
        (CifarResNet18, CIFAR, 11_173_962),
        (CifarResNet18, MNIST, 11_172_810),
        (SmallCNN, MNIST, 312_202),
        (SmallCNN, CIFAR, 427_978),
        (LeNet, MNIST, 44_426),
        (LeNet, CIFAR, 62_006),
    ],
)
def test_as_many_weights_as_in_the_papers(kind, shape, counted):
    model = kind(classes=10, shape=shape).eval()
    assert weights(model) == counted
    assert model.logits(torch.rand(2, *shape)).shape == (2, 10)


@pytest.mark.parametrize("kind", [CifarResNet18, SmallCNN, LeNet])
def test_depth_is_the_number_of_weighted_layers_without_shortcuts(kind):
    model = kind(classes=10, shape=CIFAR)
    layers = [
        name
        for name, part in model.named_modules()
        if isinstance(part, nn.Conv2d | nn.Linear) and "downsample" not in name
    ]
    assert len(layers) == model.depth


def test_a_width_scales_every_stage():
    narrow = CifarResNet18(classes=10, shape=CIFAR, width=8).eval()
    assert narrow.features(torch.rand(2, *CIFAR)).shape == (2, 64)
    assert weights(narrow) == 176_402
    with pytest.raises(ModelError, match=r"settings\.width: 0 channels .*use 1 or more"):
        CifarResNet18(classes=10, shape=CIFAR, width=0)


def test_the_maps_are_halved_three_times_and_no_pooling_comes_first():
    maps = CifarResNet18(classes=10, shape=CIFAR, width=4).trunk[:-2]
    assert maps(torch.rand(1, *CIFAR)).shape == (1, 32, 4, 4)
    assert not any(isinstance(part, nn.MaxPool2d) for part in maps.modules())


def test_the_last_layer_of_small_cnn_starts_at_zero_and_its_convolutions_without_bias():
    model = SmallCNN(classes=10, shape=MNIST).eval()
    assert not model.logits(torch.rand(3, *MNIST)).any()
    first = model.trunk[0]
    assert not first.bias.any()
    # Kaiming's deviation for nine values that enter a rectifier.
    assert first.weight.detach().std() == pytest.approx((2 / 9) ** 0.5, rel=0.15)


@pytest.mark.parametrize("kind", [SmallCNN, LeNet])
def test_images_of_which_nothing_is_left_are_refused(kind):
    kind(classes=2, shape=(1, 16, 16))
    with pytest.raises(ModelError, match=r"images of 28x15 pixels .*at least 16x16"):
        kind(classes=2, shape=(1, 28, 15))


@pytest.mark.parametrize(
    ("name", "falls", "first"),
    [("resnet18_cifar", (40, 50), [1 / 3, 5 / 9, 7 / 9, 1]), ("small_cnn", (54,), [1]),
     ("lenet", (54,), [1])],
)  # fmt: skip
def test_rates_follow_the_published_recipe(name, falls, first):
    training = CATALOGUE[name]["training"]
    optimised = optimiser([nn.Parameter(torch.ones(1))], training["optimizer"])
    schedule = scheduler(optimised, training["scheduler"], training["epochs"])
    base = training["optimizer"]["lr"]
    for epoch in range(training["epochs"]):
        factor = first[min(epoch, len(first) - 1)] * 0.1 ** sum(epoch >= fall for fall in falls)
        assert optimised.param_groups[0]["lr"] == pytest.approx(base * factor), epoch
        optimised.step()
        schedule.step()
