"""Natural perturbations against their definitions."""

import numpy as np
import pytest
import torch
from skimage.color import hsv2rgb, rgb2hsv
from toys import generator

from assay.attacks.natural import (
    Brightness,
    BrightnessStandard,
    Contrast,
    ContrastStandard,
    GaussianNoise,
)
from assay.attacks.victim import Victim
from assay.foundation.errors import AttackError


def perturbed(attack, images, epsilons, seed=0):
    """Through a victim that is always right, so that every image is perturbed."""
    victim = Victim(
        logits=lambda x, g: torch.tensor([[1.0, 0.0]]).repeat(len(x), 1),
        classes=2,
        shape=images.shape[1:],
        device="cpu",
    )
    labels = torch.zeros(len(images), dtype=torch.long)
    return attack(victim, images, labels, epsilons, generator(seed)).images


@pytest.fixture
def colour():
    return torch.rand(6, 3, 8, 8, generator=generator(5))


@pytest.fixture
def grey():
    return torch.rand(6, 1, 8, 8, generator=generator(6))


def test_published_brightness_multiplies(grey):
    result = perturbed(Brightness(), grey, [1.3])[0]
    np.testing.assert_allclose(result, np.clip(1.3 * grey.numpy(), 0, 1), atol=1e-6)


def test_published_contrast_stretches_around_the_mean_of_the_whole_image(colour):
    x = colour.numpy()
    mean = x.mean(axis=(1, 2, 3), keepdims=True)
    result = perturbed(Contrast(), colour, [4.0])[0]
    np.testing.assert_allclose(result, np.clip(4 * (x - mean) + mean, 0, 1), atol=1e-5)


def test_standard_brightness_adds_to_the_value_of_hsv(colour):
    colour[0, :, 0, 0] = 0.0  # black has no hue and becomes grey
    for severity, c in enumerate((0.05, 0.1, 0.15, 0.2, 0.3), start=1):
        hsv = rgb2hsv(colour.numpy(), channel_axis=1)
        hsv[:, 2] = np.clip(hsv[:, 2] + c, 0, 1)
        result = perturbed(BrightnessStandard(), colour, [severity])[0]
        np.testing.assert_allclose(result, hsv2rgb(hsv, channel_axis=1), atol=1e-5)


def test_standard_brightness_adds_to_grey_images(grey):
    result = perturbed(BrightnessStandard(), grey, [5])[0]
    np.testing.assert_allclose(result, np.clip(grey.numpy() + 0.3, 0, 1), atol=1e-6)


def test_standard_contrast_shrinks_around_the_mean_of_each_channel(colour):
    x = colour.numpy()
    mean = x.mean(axis=(2, 3), keepdims=True)
    result = perturbed(ContrastStandard(), colour, [4])[0]
    np.testing.assert_allclose(result, np.clip(0.3 * (x - mean) + mean, 0, 1), atol=1e-5)


def test_noise_has_the_stated_deviation_and_one_draw_serves_all():
    grey = torch.full((20, 1, 32, 32), 0.5)
    small, large = perturbed(GaussianNoise(), grey, [0.04, 0.08]) - 0.5
    assert small.std().item() == pytest.approx(0.04, rel=0.02)
    torch.testing.assert_close(large, 2 * small, rtol=0, atol=1e-6)


@pytest.mark.parametrize("severity", [6, 1.5])
def test_a_severity_that_does_not_exist_is_refused(grey, severity):
    with pytest.raises(AttackError, match="no severity of ContrastStandard; use whole numbers"):
        perturbed(ContrastStandard(), grey, [severity])
