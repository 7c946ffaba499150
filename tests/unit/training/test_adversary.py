"""Adversarial training: its inner attack against a straightforward one, and what it trains."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from assay.foundation.errors import TrainingError
from assay.models.cnn import CNN
from assay.training.adversary import Adversary
from assay.training.loop import train

SHAPE = (1, 28, 28)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return CNN(classes=3, shape=SHAPE)


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(1)
    return torch.rand(6, *SHAPE, generator=generator), torch.tensor([0, 1, 2, 0, 1, 2])


@pytest.mark.parametrize(("norm", "epsilon"), [("linf", 0.1), ("l2", 1.5)])
def test_every_step_is_projected_gradient_ascent(model, batch, norm, epsilon):
    images, labels = batch
    found = Adversary(norm=norm, epsilon=epsilon, steps=4)(
        model, images, labels, torch.Generator().manual_seed(3)
    )
    # The same by hand, in evaluation mode and from the same start.
    generator = torch.Generator().manual_seed(3)
    if norm == "linf":
        change = (2 * torch.rand(images.shape, generator=generator) - 1) * epsilon
    else:
        change = torch.randn(images.shape, generator=generator)
        change /= change.flatten(1).norm(dim=1)[:, None, None, None]
        change *= epsilon * torch.rand(len(images), generator=generator)[:, None, None, None]
    x = (images + change).clamp(0, 1)
    model.eval()
    for _ in range(4):
        x = x.detach().requires_grad_()
        functional.cross_entropy(model.logits(x), labels, reduction="sum").backward()
        gradient = x.grad
        if norm == "linf":
            x = x.detach() + 2.5 * epsilon / 4 * gradient.sign()
            x = images + (x - images).clamp(-epsilon, epsilon)
        else:
            gradient = gradient / gradient.flatten(1).norm(dim=1)[:, None, None, None]
            change = x.detach() + 2.5 * epsilon / 4 * gradient - images
            length = change.flatten(1).norm(dim=1)[:, None, None, None]
            x = images + change * (epsilon / length).clamp(max=1)
        x = x.clamp(0, 1)
    # Signs of gradients that are nearly zero may differ by rounding.
    assert (found - x).abs().gt(1e-4).float().mean() < 0.01
    change = found - images
    length = change.abs().amax() if norm == "linf" else change.flatten(1).norm(dim=1).max()
    assert length <= epsilon + 1e-5
    assert found.min() >= 0
    assert found.max() <= 1


def test_it_leaves_mode_statistics_gradients_and_images_alone(model, batch):
    images, labels = batch
    kept = images.clone()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.train()
    Adversary(norm="linf", epsilon=0.1)(model, images, labels, torch.Generator().manual_seed(0))
    assert model.training
    assert torch.equal(images, kept)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(item.grad is None for item in model.parameters())


def test_it_raises_the_loss_of_every_image(model, batch):
    images, labels = batch
    found = Adversary(norm="linf", epsilon=0.2)(
        model, images, labels, torch.Generator().manual_seed(0)
    )
    model.eval()
    with torch.no_grad():
        losses = [
            functional.cross_entropy(model.logits(x), labels, reduction="none")
            for x in (images, found)
        ]
    assert (losses[1] > losses[0]).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"norm": "l1", "epsilon": 0.1}, "'l1' is not a norm.*use linf or l2"),
        ({"norm": "linf", "epsilon": 0.0}, "epsilon 0.0 and 10 steps leave every image unchanged"),
        ({"norm": "linf", "epsilon": 0.1, "steps": 0}, "0 steps leave every image unchanged"),
        ({"norm": "linf"}, "epsilon"),
        ({"norm": "linf", "epsilon": 0.1, "radius": 1}, "radius"),
    ],
)
def test_impossible_settings_are_named(settings, message):
    with pytest.raises(TrainingError, match=message):
        Adversary.of(settings)


def test_no_settings_mean_no_adversary():
    assert Adversary.of(None) is None


def stripes(n):
    """Images of two classes, told apart by weak stripes and, more robustly, by brightness."""
    rng = np.random.default_rng(0)
    labels = np.arange(n) % 2
    images = rng.integers(90, 110, size=(n, *SHAPE))
    images[:, :, ::2] += np.where(labels == 1, 12, -12)[:, None, None, None]
    images[:, :, :10, :10] += np.where(labels == 1, 90, -60)[:, None, None, None]
    return images.clip(0, 255).astype(np.uint8), labels


def test_training_against_it_makes_a_network_that_withstands_it(tmp_path):
    images, labels = stripes(80)
    adversary = {"norm": "linf", "epsilon": 0.12, "steps": 4}
    adam = {"optimizer": {"name": "Adam", "lr": 0.002}}
    after, histories = {}, {}
    for name, settings in (
        ("plain", {}),
        ("hardened", {"objective": "madry", "adversary": adversary}),
    ):
        torch.manual_seed(0)
        model = CNN(classes=2, shape=SHAPE, dropout=0.0)
        result = train(
            model, images, labels, np.arange(64), np.arange(64, 80),
            {"epochs": 12, "batch_size": 16, **adam, **settings},
            work=tmp_path / name, names=(name,),
        )  # fmt: skip
        histories[name] = result.history
        model.eval()
        pixels = torch.from_numpy(images[64:]).float() / 255
        truth = torch.from_numpy(labels[64:])
        found = Adversary.of(adversary)(model, pixels, truth, torch.Generator().manual_seed(0))
        with torch.no_grad():
            after[name] = (model.logits(found).argmax(1) == truth).float().mean().item()
    assert after["hardened"] > after["plain"] + 0.2
    assert "val_clean_accuracy" not in histories["plain"]
    last = histories["hardened"].iloc[-1]
    assert last.val_clean_accuracy >= last.val_accuracy
    assert not math.isnan(last.val_accuracy)
