"""Saliency maps against a linear network's weights, and the pointing game on drawn lesions."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import nn

from assay.evaluation.measurements.base import Data, measured
from assay.evaluation.measurements.saliency import METHODS, Saliency, at_lesions
from assay.foundation.errors import MeasurementError
from assay.models.base import Classifier

SIDE = 12
FGSM = {"implementation": "assay.attacks.fgsm:FGSM", "norm": "linf"}


class Linear(Classifier):
    """Logits are products with the pixels."""

    max_batch = 4

    def __init__(self):
        super().__init__(classes=3, shape=(2, SIDE, SIDE))
        self.layer = nn.Linear(2 * SIDE * SIDE, 3)

    def features(self, images):
        return images.flatten(1)

    def logits(self, images, generator=None):
        return self.layer(self.features(images))


@pytest.fixture
def model():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Linear().eval().requires_grad_(False)


def data(n=10):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (n, 2, SIDE, SIDE), dtype=np.uint8)
    return images, rng.integers(0, 3, n)


def test_maps_are_a_linear_networks_weights_and_their_products_with_the_pixels(model):
    images = torch.rand(6, 2, SIDE, SIDE)
    classes = torch.tensor([0, 1, 2, 0, 1, 2])
    weights = model.layer.weight.view(3, 2, SIDE, SIDE)[classes]
    for method, values in (("gradient", weights), ("integrated_gradients", weights * images)):
        expected = values.abs().sum(dim=1).numpy()
        expected = gaussian_filter(expected, sigma=(0, 5 / 224 * SIDE, 5 / 224 * SIDE))
        found = Saliency().maps(model, images, classes, method)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


class Noisy(Linear):
    stochastic = True

    def logits(self, images, generator=None):
        logits = super().logits(images)
        return logits + torch.randn(logits.shape, generator=generator)


def test_a_random_model_gives_the_same_maps_again_whatever_the_global_state_is():
    images, labels = data(40)
    torch.manual_seed(5)
    network = Noisy().eval()
    found = []
    for state, seed in ((1, 1), (2, 1), (1, 2)):
        torch.manual_seed(state)
        before = torch.get_rng_state()
        given = Data(images=images, labels=labels, indices=np.arange(40), attack=FGSM,
                     epsilons=[0.1], seed=seed)  # fmt: skip
        found.append(measured(Saliency(), network, given)["predictions"])
        assert torch.equal(torch.get_rng_state(), before)
    np.testing.assert_array_equal(found[0], found[1])
    assert (found[0] != found[2]).any()


def test_a_map_points_where_its_maximum_is():
    maps = np.zeros((4, 5, 5))
    maps[0, 1, 1] = maps[1, 4, 4] = maps[2, 1, 1] = 1.0
    maps[1, 1, 1] = 0.5
    lesions = np.zeros((4, 5, 5), bool)
    lesions[[0, 1, 3], :2, :2] = True
    pointing, mass = at_lesions(maps, lesions)
    np.testing.assert_array_equal(pointing, [1, 0, np.nan, 0])
    np.testing.assert_allclose(mass, [1, 1 / 3, np.nan, 0])


def test_looking_at_images_and_their_attacked_versions(model):
    images, labels = data()
    masks = np.zeros((10, 1, SIDE, SIDE), np.uint8)
    masks[:8, 0, :3, :4] = 1
    indices = np.arange(2, 10)
    given = Data(images=images, labels=labels, indices=indices, masks=masks, shown=3, attack=FGSM,
                 epsilons=[0.05, 0.1])  # fmt: skip
    found = measured(Saliency(), model, given)
    assert found["epsilons"].tolist() == [0, 0.05, 0.1]
    assert sorted(found["samples"]) == indices.tolist()
    assert len(set(found["labels"][:3])) == 3, "the images shown are of all classes"
    assert found["images"].shape == (3, 3, 2, SIDE, SIDE)
    assert found["features"].shape == (3, 8, 2 * SIDE * SIDE)
    for method in METHODS:
        assert found[f"maps/{method}"].shape == (3, 3, SIDE, SIDE)
        assert found[f"pointing/{method}"].shape == found[f"mass/{method}"].shape == (3, 8)
    plain = images[found["samples"]] / 255
    np.testing.assert_allclose(found["images"][0], plain[:3], atol=1e-6)
    for version, epsilon in ((1, 0.05), (2, 0.1)):
        change = np.abs(found["images"][version] - plain[:3])
        assert change.max() <= epsilon + 1e-6
    truth = model.logits(torch.from_numpy(plain).float()).argmax(dim=1)
    assert found["predictions"][0].tolist() == truth.tolist()
    without = found["samples"] >= 8
    assert np.isnan(found["lesion_share"]).tolist() == without.tolist()
    assert found["lesion_share"][~without] == pytest.approx(12 / SIDE**2)


def test_without_masks_nothing_points_anywhere(model):
    images, labels = data()
    given = Data(images=images, labels=labels, indices=np.arange(4), attack=FGSM, epsilons=[0.1])
    found = measured(Saliency(methods=["gradient"]), model, given)
    assert "maps/gradient" in found
    assert "maps/integrated_gradients" not in found
    assert not any(name.startswith(("pointing", "mass", "lesion")) for name in found)


def test_a_method_that_there_is_not_is_one_line():
    with pytest.raises(MeasurementError, match=r"setting 'methods': 'grad' is no method; use grad"):
        Saliency(methods=["grad"])
