"""CBR-LargeT and the residual networks for CIFAR-10: sizes as in the public code, and shapes."""

import pytest
import torch
from torch import nn

from assay.foundation.errors import ModelError
from assay.models.cbr import CBRLargeT
from assay.models.cifar_resnet import CifarResNet
from assay.models.keras_like import he_normal

# Weights of the public code's networks on 224x224 colour images with 2 and with 4 classes; Keras
# counts the running means and variances.
KERAS = {
    ("cbr", 2): 8_540_610,
    ("cbr", 4): 8_541_636,
    (8, 2): 84_290,
    (20, 2): 280_066,
    (32, 2): 475_842,
    (50, 2): 769_506,
    (8, 4): 90_564,
    (20, 4): 286_340,
    (32, 4): 482_116,
    (50, 4): 775_780,
}


def network(which, classes=2, shape=(3, 224, 224)):
    if which == "cbr":
        return CBRLargeT(classes=classes, shape=shape)
    return CifarResNet(classes=classes, shape=shape, depth=which)


@pytest.mark.parametrize(("which", "classes"), KERAS)
def test_as_many_weights_as_the_public_code_s_networks(which, classes):
    model = network(which, classes)
    kept = [buffer for name, buffer in model.named_buffers() if "running" in name]
    counted = sum(part.numel() for part in [*model.parameters(), *kept])
    assert counted == KERAS[which, classes]


@pytest.mark.parametrize("which", ["cbr", 8, 20, 32, 50])
def test_depth_is_the_number_of_weighted_layers_without_shortcuts(which):
    model = network(which)
    layers = [
        name
        for name, part in model.named_modules()
        if isinstance(part, nn.Conv2d | nn.Linear) and not name.endswith("shortcut")
    ]
    assert len(layers) == model.depth == {"cbr": 6}.get(which, which)


def test_flops_are_twice_the_multiplications():
    model = CifarResNet(classes=2, shape=(1, 16, 16), depth=8)
    stem, first = 9 * 16 * 256, 2 * 9 * 16 * 16 * 256
    second = (9 * 16 * 32 + 9 * 32 * 32 + 16 * 32) * 64
    third = (9 * 32 * 64 + 9 * 64 * 64 + 32 * 64) * 16
    assert model.train().facts()["flops"] == 2 * (stem + first + second + third + 64 * 2)
    assert model.training
    assert CBRLargeT(classes=2, shape=(3, 224, 224)).facts()["flops"] == 2 * (
        49 * (3 * 32 * 218**2 + 32 * 64 * 102**2 + 64 * 128 * 44**2 + 128 * 256 * 15**2)
        + 49 * 256 * 512
        + 512 * 2
    )


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 64, 48), (1, 96, 96)])
@pytest.mark.parametrize("which", ["cbr", 8])
def test_images_of_any_size_and_channels_fit(which, shape):
    model = (
        CBRLargeT(classes=3, shape=shape, padding="same")
        if which == "cbr"
        else CifarResNet(classes=3, shape=shape, depth=8)
    ).eval()
    assert model.logits(torch.rand(2, *shape)).shape == (2, 3)


def test_small_images_vanish_in_valid_convolutions_and_the_error_names_the_twin():
    with pytest.raises(ModelError, match=r"96x96 pixels are too small.*217.*cbr_larget_same"):
        CBRLargeT(classes=2, shape=(1, 96, 96))
    assert CBRLargeT(classes=2, shape=(1, 217, 217)).features(torch.rand(2, 1, 217, 217)).shape == (
        2,
        512,
    )


def test_depths_between_the_family_s_are_refused():
    with pytest.raises(ModelError, match=r"settings\.depth.*18 layers"):
        CifarResNet(classes=2, shape=(1, 32, 32), depth=18)


def test_the_training_loss_holds_the_kernels_squares_and_the_validation_accuracy_does_not_care():
    model = CifarResNet(classes=2, shape=(1, 16, 16), depth=8, l2=0.5)
    images, labels = torch.rand(4, 1, 16, 16), torch.tensor([0, 1, 0, 1])
    plain = CifarResNet(classes=2, shape=(1, 16, 16), depth=8, l2=0.0)
    plain.load_state_dict(model.state_dict())
    squares = sum(
        float(part.weight.detach().square().sum())
        for part in model.modules()
        if isinstance(part, nn.Conv2d)
    )
    gap = (
        model.training_loss(images, labels)["total"] - plain.training_loss(images, labels)["total"]
    )
    torch.testing.assert_close(gap, torch.full((4,), 0.5 * squares), rtol=1e-4, atol=1e-4)


def test_he_s_weights_have_his_variance_and_no_tails():
    layer = nn.Linear(500, 400)
    he_normal(layer)
    assert layer.weight.std().item() == pytest.approx((2 / 500) ** 0.5, rel=0.01)
    assert layer.weight.abs().max() < 2.3 * (2 / 500) ** 0.5
    assert not layer.bias.any()
